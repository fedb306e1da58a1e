"""Rulesets in both languages that leave one direction, both or none untracked, before the filters that people write.

They are those of facts section 4, for a host and for a router.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Host:
    """A ruleset in both languages: rules of raw and filter, policies, and the same for nft."""

    name: str
    raw: str = ""
    filters: str = ""
    policies: tuple[str, str] = ("DROP", "ACCEPT")
    into: str = "INPUT"

    @property
    def iptables(self) -> str:
        into, out = self.policies
        raw = f"*raw\n{self.raw}COMMIT\n" if self.raw else ""
        return f"{raw}*filter\n:{self.into} {into} [0:0]\n:OUTPUT {out} [0:0]\n{self.filters}COMMIT\n"


_IN, _OUT = "-A INPUT", "-A OUTPUT"
_PRE = "-A PREROUTING -p tcp -m tcp --dport 80 -j CT --notrack\n-A PREROUTING -p udp --dport 53 -j CT --notrack\n"
_POST = "-A OUTPUT -p tcp -m tcp --sport 80 -j CT --notrack\n-A OUTPUT -p udp --sport 53 -j CT --notrack\n"
_KNOWN = f"{_IN} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
_STRAYS = f"{_IN} -m conntrack --ctstate INVALID -j DROP\n"
_NEW = (
    f"{_IN} -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT\n"
    f"{_IN} -p udp -m udp --dport 53 -m conntrack --ctstate NEW -j ACCEPT\n"
)
_PORTS = f"{_IN} -p tcp -m tcp --dport 80 -j ACCEPT\n{_IN} -p udp -m udp --dport 53 -j ACCEPT\n"
_OUT_KNOWN = f"{_OUT} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
_OUT_STRAYS = f"{_OUT} -m conntrack --ctstate INVALID -j DROP\n"
_ERRORS = f"{_IN} -p icmp -m icmp --icmp-type 3 -j ACCEPT\n"
_OUT_DROP = ("DROP", "DROP")

#: facts section 4: which NOTRACK, which filter; the name says both
HOSTS = tuple(
    Host(f"{where}, {what}", raw, filters, policies)
    for where, raw in (("tracked", ""), ("in only", _PRE), ("out only", _POST), ("both", _PRE + _POST))
    for what, filters, policies in (
        ("known and new", _KNOWN + _NEW, ("DROP", "ACCEPT")),
        ("known and ports", _KNOWN + _PORTS, ("DROP", "ACCEPT")),
        ("no strays in", _STRAYS + _KNOWN + _PORTS, ("DROP", "ACCEPT")),
        ("known alone out", _KNOWN + _PORTS + _OUT_KNOWN, _OUT_DROP),
        ("no strays out", _ERRORS + _KNOWN + _PORTS + _OUT_STRAYS, ("DROP", "ACCEPT")),
    )
)

_TO, _FROM = (f"-A PREROUTING -p tcp -m tcp --{x}port 80 -j CT --notrack\n" for x in "ds")
_THROUGH = f"{_KNOWN}{_PORTS}".replace("-A INPUT", "-A FORWARD")
_REPLIES = "-A FORWARD -p tcp -m tcp --sport 80 -j ACCEPT\n"
ROUTERS = tuple(
    Host(f"router, {where}, {what}", raw, filters, ("DROP", "ACCEPT"), "FORWARD")
    for where, raw in (("tracked", ""), ("there only", _TO), ("both", _TO + _FROM), ("back elsewhere", _TO + _POST))
    for what, filters in (("known and ports", _THROUGH), ("both ports", _THROUGH + _REPLIES))
)

_NFT = """table inet filter {{
	chain raw_in {{
		type filter hook prerouting priority raw
		{raw_in}
	}}
	chain raw_out {{
		type filter hook output priority raw
		{raw_out}
	}}
	chain input {{
		type filter hook {hook} priority filter; policy {into};
		{input}
	}}
	chain output {{
		type filter hook output priority filter; policy {out};
		{output}
	}}
}}
"""
_WORDS = {
    "-p tcp -m tcp --dport 80": "tcp dport 80", "-p tcp -m tcp --sport 80": "tcp sport 80",
    "-p udp --dport 53": "udp dport 53", "-p udp --sport 53": "udp sport 53",
    "-p udp -m udp --dport 53": "udp dport 53",
    "-p icmp -m icmp --icmp-type 3": "icmp type destination-unreachable",
    "-m conntrack --ctstate RELATED,ESTABLISHED": "ct state related,established",
    "-m conntrack --ctstate INVALID": "ct state invalid", "-m conntrack --ctstate NEW": "ct state new",
    "-j ACCEPT": "accept", "-j DROP": "drop", "-j CT --notrack": "notrack",
}  # fmt: skip


def in_nft(host: Host) -> str:
    """The same ruleset in nft's language."""

    def rules(text: str, chain: str) -> str:
        lines = [line.removeprefix(f"-A {chain} ") for line in text.splitlines() if line.startswith(f"-A {chain} ")]
        out = []
        for line in lines:
            for words, said in sorted(_WORDS.items(), key=lambda pair: -len(pair[0])):
                line = line.replace(words, said)
            out.append(line)
        return "\n\t\t".join(out)

    into, out = (policy.lower() for policy in host.policies)
    return _NFT.format(
        raw_in=rules(host.raw, "PREROUTING"),
        raw_out=rules(host.raw, "OUTPUT"),
        hook=host.into.lower(),
        input=rules(host.filters, host.into),
        output=rules(host.filters, "OUTPUT"),
        into=into,
        out=out,
    )
