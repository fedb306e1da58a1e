"""What a case of the rewrite tables is: a ruleset, a rewrite of it, and what a client sees under both."""

from collections.abc import Callable
from dataclasses import dataclass

from ruleaudit.diagnostics import FixClass
from ruleaudit.results import DifferenceKind
from tests.kernel.lab import Lab

ESTABLISHED = "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n"


def nothing(lab: Lab) -> None:
    """No preparation."""


@dataclass(frozen=True)
class Case:
    """One rewrite, right or wrong, as the kernel shows it.

    prepare  servers and settings, before any ruleset is loaded
    probe    what tells the two rulesets apart, if anything does
    sees     the probe's answer under `old` and under `new`; the same for a right rewrite
    wrong    the kinds of difference that `verify` must name as the reason; empty: the rewrite is right
    loosens  the class of these differences; None: no rewrite may have them
    free     words of the connection table's lines that no entry may hold under a right `new`
    answer   what `suggest --all` answers for `old`
    suggested  the probe's answer under the suggestion, where the client sees no change but the table does
    assumption the id of the assumption that the suggestion prints, and that the probe does not keep to
    at_load  the text as it is loaded, where it depends on the time of day
    """

    id: str
    old: str
    new: str
    probe: Callable[[Lab], object]
    sees: tuple[object, object]
    prepare: Callable[[Lab], None] = nothing
    wrong: frozenset[DifferenceKind] = frozenset()
    loosens: FixClass | None = None
    free: tuple[str, ...] = ()
    answer: str = "rewrite"
    suggested: object = None
    assumption: str | None = None
    host: str = "server"
    six: bool = False
    lab: Callable[[], Lab] = Lab
    at_load: Callable[[str], str] = str

    @property
    def right(self) -> bool:
        return not self.wrong


def wrong(*kinds: DifferenceKind) -> frozenset[DifferenceKind]:
    """The kinds of difference that make a rewrite wrong."""
    return frozenset(kinds)


def filtered(*rules: str, coming: str = "DROP", through: str = "DROP", going: str = "ACCEPT") -> str:
    """A filter table with the policies of INPUT, FORWARD and OUTPUT."""
    policies = f":INPUT {coming} [0:0]\n:FORWARD {through} [0:0]\n:OUTPUT {going} [0:0]\n"
    return f"*filter\n{policies}{''.join(rules)}COMMIT\n"


def notrack(
    *ports: int, protocol: str = "tcp", way_in: str = "! -i lo ", way_out: str = "! -o lo ", hook: str = "OUTPUT"
) -> str:
    """A raw table that leaves a host's services untracked, both ways; on a router the hook is PREROUTING."""
    there = "".join(f"-A PREROUTING {way_in}-p {protocol} --dport {p} -j CT --notrack\n" for p in ports)
    back = "".join(f"-A OUTPUT {way_out}-p {protocol} --sport {p} -j CT --notrack\n" for p in ports)
    return f"*raw\n{there}{back}COMMIT\n"


def errors(chain: str) -> str:
    """The accepts of the ICMP errors that concern a connection."""
    return "".join(f"-A {chain} -p icmp --icmp-type {kind} -j ACCEPT\n" for kind in (3, 11, 12))


def notrack_forwarded(port: int, address: str) -> str:
    """A router's raw table that leaves a service behind it untracked, both ways, and its own connections alone."""
    through = "-A PREROUTING -m addrtype ! --dst-type LOCAL -p tcp"
    return (
        f"*raw\n{through} -d {address} --dport {port} -j CT --notrack\n"
        f"{through} -s {address} --sport {port} -j CT --notrack\nCOMMIT\n"
    )
