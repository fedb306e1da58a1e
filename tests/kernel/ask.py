"""A question to a service of a lab, and what is left of it in the connection table."""

from dataclasses import dataclass

from tests.kernel.lab import PATIENCE, Lab

#: seconds until a first segment that was lost has been sent again and answered. Who is refused by ICMP while connect()
#: still holds the socket hears of it no sooner (net/ipv6/tcp_ipv6.c, tcp_v6_err)
SENT_AGAIN = 2.5


@dataclass(frozen=True)
class Ask:
    """A question to a service: what its client sees, before and after; `freed`: no entry is left of it after."""

    to: str
    port: int
    seen: str = "ok"
    protocol: str = "tcp"
    freed: bool = False
    by: str = "client"
    source: str = ""

    def answer(self, lab: Lab) -> str:
        patience = PATIENCE if self.seen == "silence" else SENT_AGAIN
        if self.protocol == "udp":
            return lab.udp(self.by, self.to, self.port, patience=patience)
        return lab.tcp(self.by, self.to, self.port, source=self.source, patience=patience)

    def entries(self, lab: Lab, host: str) -> list[str]:
        """What is left of it in the table of a host; what that host has asked itself is somebody else's."""
        words = (f"src={self.source}",) if self.source else ()
        found = [x for x in lab.entries(host, f"dst={self.to}", f"dport={self.port}", *words) if x[:3] == self.protocol]
        return [x for x in found if self.by == host or f"src={self.to} dst={self.to}" not in x]
