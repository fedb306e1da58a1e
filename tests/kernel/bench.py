"""A router that takes whole rulesets, and shows what each packet meets on its way through them.

The kernel's trace shows the rules of nft and iptables-nft. Of iptables-legacy it shows whether a packet is still there
after each table, and with which mark; how often each rule was met is in its counters.
"""

import re
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from ruleaudit.model.fields import Family, State
from tests.kernel import packets
from tests.kernel.kernel_trace import Event, Listener
from tests.kernel.lab import BEHIND, BEHIND6, CLIENT, CLIENT6, ROUTER, ROUTER6, Lab
from tests.kernel.random_iptables import TABLES, Whole
from tests.kernel.random_packets import prepare
from tests.kernel.realising import ASKED, BEFORE, Sent, Wires, numbered
from tests.kernel.sender import mac

PROGRAMS = ("nft", "iptables-nft", "iptables-legacy")
#: the packet behind the others, and one that is asked what conntrack says of it
LAST, PROBE = 60000, 59999
_FIRST = (
    *(f"ip ttl {ASKED} meta nftrace set 1", f"ip id {LAST} drop", f"ip ttl != {{ {ASKED}, {BEFORE} }} drop"),
    f"ip6 hoplimit {ASKED} meta nftrace set 1",
    *(f"ip6 flowlabel {LAST} drop", f"ip6 hoplimit != {{ {ASKED}, {BEFORE} }} drop"),
)
_END = 2147483000
#: where a packet is looked at between the tables of iptables-legacy
_BETWEEN = {
    "prerouting": {"raw": -299, "mangle": -149, "nat": -99},
    "input": {"mangle": -149, "filter": 1, "security": 51, "nat": 101},
    "forward": {"mangle": -149, "filter": 1, "security": 51},
    "output": {"raw": -299, "mangle": -149, "nat": -99, "filter": 1, "security": 51},
    "postrouting": {"mangle": -149, "nat": 101},
}
_COUNTED = re.compile(r"^\[(\d+):\d+\] -A (\S+)")


class Refused(Exception):
    """The kernel, or the program that loads it, does not take the ruleset."""


class Bench:
    """The lab, its wires and its ears; use it as a context manager."""

    def __init__(self) -> None:
        self.legacy: set[Family] = set()  #: where iptables-legacy holds rules

    def __enter__(self) -> Self:
        self.lab = Lab(router=True)
        self.lab.__enter__()
        prepare(self.lab)
        router = self.lab.hosts["router"]
        router.sysctl("net.netfilter.nf_conntrack_checksum", 1)
        router.sysctl("net.netfilter.nf_conntrack_tcp_be_liberal", 1)
        for device in ("all", "r0", "r1"):
            router.sysctl(f"net.ipv4.conf.{device}.accept_redirects", 0)
        self._know_the_neighbours()
        self.listener = Listener(router)
        self.listener.__enter__()
        self.wires = Wires(self.lab)
        self.wires.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wires.__exit__()
        self.listener.__exit__()
        self.lab.close()

    def _know_the_neighbours(self) -> None:
        """Everybody is behind the client or the server: what is sent to nobody waits, and fills buffers."""
        lab = self.lab
        for network, by, device, host, end in (
            ("10.9.0.0/24", CLIENT, "r0", "client", "c0"), ("10.9.1.0/24", BEHIND, "r1", "server", "s0"),
            ("fd09::/64", CLIENT6, "r0", "client", "c0"), ("fd09:1::/64", BEHIND6, "r1", "server", "s0"),
        ):  # fmt: skip
            with lab.hosts[host].inside():
                link = mac(end).hex(":")
            version = "-6" if ":" in by else "-4"
            lab.run("router", "ip", version, "neigh", "replace", by, "lladdr", link, "dev", device, "nud", "permanent")
            lab.run("router", "ip", version, "route", "del", network, "dev", device)
            lab.run("router", "ip", version, "route", "add", network, "via", by, "dev", device, "onlink")

    # -- rulesets

    def clear(self, program: str, family: Family, *, exchange: bool) -> None:
        """Nothing is loaded but what watches, and what lets connections come about."""
        for other in self.legacy:
            self._restore("iptables-legacy", other, _EMPTY)
        self.legacy = {family} if program == "iptables-legacy" else set()
        self._nft("flush ruleset\n" + _watch(program == "iptables-legacy") + (_PRELUDE if exchange else ""))
        self.lab.run("router", "ipset", "destroy", check=False)
        self.lab.forget("router")

    def load(self, program: str, family: Family, whole: Whole, *, exchange: bool) -> None:
        """The ruleset; raises Refused. The entries stay."""
        away = "delete table inet prelude\n" if exchange else ""
        try:
            if whole.sets:
                self.lab.run("router", "ipset", "restore", text=whole.sets)
            if program == "nft":
                self._nft(f"{whole.text}\n{away}")
            elif program == "nft-json":
                self.lab.run("router", "nft", "-j", "-f", "-", text=whole.text)
                self._nft(away)
            else:
                self._restore(program, family, whole.text)
                self._nft(away)
        except RuntimeError as error:
            raise Refused(str(error).partition("\n*")[0]) from error

    def _nft(self, text: str) -> None:
        if text:
            self.lab.run("router", "nft", "-f", "-", text=text)

    def _restore(self, program: str, family: Family, text: str) -> None:
        word = program.replace("iptables", "ip6tables" if family is Family.IPV6 else "iptables")
        self.lab.run("router", f"{word}-restore", text=text)

    def counters(self, family: Family) -> dict[tuple[str, str], list[int]]:
        """How often each rule of iptables-legacy was met, by table and chain."""
        word = "ip6tables" if family is Family.IPV6 else "iptables"
        found: dict[tuple[str, str], list[int]] = {}
        table = ""
        for line in self.lab.run("router", f"{word}-legacy-save", "-c").splitlines():
            if line.startswith("*"):
                table = line[1:]
            elif counted := _COUNTED.match(line):
                found.setdefault((table, counted[2]), []).append(int(counted[1]))
        return found

    # -- packets

    def send(self, family: Family, some: Sequence[Sent]) -> dict[int, list[Event]]:
        """What is heard of packets."""
        for one in some:
            self.wires.send(one)
        self.wires.send(_signal(family, LAST))
        return self.listener.packets(LAST)

    def wait_for_silence(self, family: Family) -> None:
        """Conntrack looks at packets no more: what used it is let go a little later."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            heard = self.send(family, [_signal(family, PROBE)])
            if not any(e.state is State.NEW for e in heard[PROBE]):
                return
            time.sleep(0.005)
        raise TimeoutError("conntrack is still on")


def _signal(family: Family, number: int) -> Sent:
    source, to = ("2001:db8::99", ROUTER6) if family is Family.IPV6 else ("198.51.100.99", ROUTER)
    return Sent(numbered(packets.udp(source, 9, to, 9), number), "r0", to)


_EMPTY = "".join(
    f"*{table}\n" + "".join(f":{chain} ACCEPT [0:0]\n" for chain in chains) + "COMMIT\n"
    for table, chains in TABLES.items()
)
_PRELUDE = (
    "table inet prelude {\nchain tracking {\ntype filter hook forward priority 0;\nct state new\n}\n"
    # an entry that was made without NAT would still meet the nat chains with its errors
    + "".join(
        f"chain nat_{hook} {{\ntype nat hook {hook} priority {priority};\n}}\n"
        for hook, priority in (("prerouting", -100), ("input", 100), ("output", -100), ("postrouting", 100))
    )
    + "}\n"
)


def _watch(between: bool) -> str:
    """The table that turns tracing on, drops what the router says by itself, and sees who comes to the end."""
    lines = ["table inet watch {"]
    for hook in ("prerouting", "output"):
        lines += [f"chain first_{hook} {{", f"type filter hook {hook} priority -500;", *_FIRST, "}"]
        lines += [f"chain tracked_{hook} {{", f"type filter hook {hook} priority -199;", "}"]
    for hook in ("input", "forward", "postrouting"):
        lines += [f"chain end_{hook} {{", f"type filter hook {hook} priority {_END};", "}"]
    for hook, tables in _BETWEEN.items() if between else ():
        for table, priority in tables.items():
            lines += [f"chain {hook}_{table} {{", f"type filter hook {hook} priority {priority};", "}"]
    return "\n".join([*lines, "}", ""])
