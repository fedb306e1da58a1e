"""Rewrites that leave alone what this host opens itself: its replies, the errors about it, and who may open back."""

from ruleaudit.diagnostics import FixClass
from ruleaudit.results import DifferenceKind as Kind
from tests.kernel.lab import CLIENT, SERVER, Lab
from tests.kernel.rewrite import ESTABLISHED, Case, errors, filtered, wrong

_NOTHING = "nothing-to-free"
_LAN_MAY_OPEN = "-A INPUT -s 10.9.0.0/24 -m conntrack --ctstate NEW -j ACCEPT\n"
_REPLY = "-A INPUT {}-p {} --sport {} {}-m conntrack --ctstate UNTRACKED -j ACCEPT\n"
_TCP_REPLY = _REPLY.format(f"-s {CLIENT} ", "tcp", 8080, "! --syn ")


def _notrack(port: int, *, protocol: str = "tcp", address: str = f" {CLIENT}") -> str:
    """A raw table that leaves connections of this host to a server untracked, both ways."""
    there, back = (f" {side}{address}" if address else "" for side in ("-d", "-s"))
    return (
        f"*raw\n-A OUTPUT ! -o lo{there} -p {protocol} --dport {port} -j CT --notrack\n"
        f"-A PREROUTING ! -i lo{back} -p {protocol} --sport {port} -j CT --notrack\nCOMMIT\n"
    )


def _serving(lab: Lab) -> None:
    lab.serve_tcp("client", 8080)


def _asks(lab: Lab) -> str:
    return lab.tcp("server", CLIENT, 8080)


def _told_that_nobody_is_there(lab: Lab) -> str:
    return lab.udp("server", CLIENT, 9)


def _listening(lab: Lab) -> None:
    lab.serve_udp("server", 9000)


def _opens_back(lab: Lab) -> str:
    return lab.udp("client", SERVER, 9000, sport=53)


_UDP_REPLY = _REPLY.format(f"-s {CLIENT} ", "udp", 53, "")

CASES = (
    Case(
        "out-with-its-replies",
        filtered(ESTABLISHED),
        _notrack(8080) + filtered(errors("INPUT"), _TCP_REPLY, ESTABLISHED),
        _asks,
        ("ok", "ok"),
        prepare=_serving,
        free=("dport=8080",),
        answer=_NOTHING,
    ),
    Case(
        "out-without-its-replies",
        filtered(ESTABLISHED),
        _notrack(8080) + filtered(errors("INPUT"), ESTABLISHED),
        _asks,
        ("ok", "silence"),
        prepare=_serving,
        wrong=wrong(Kind.BREAKS),
        answer=_NOTHING,
    ),
    # that the server's host may open connections to any port here makes no service of these ports
    Case(
        "out-without-its-replies-from-a-lan-that-may-open",
        filtered(ESTABLISHED, _LAN_MAY_OPEN),
        _notrack(8080) + filtered(errors("INPUT"), ESTABLISHED, _LAN_MAY_OPEN),
        _asks,
        ("ok", "silence"),
        prepare=_serving,
        wrong=wrong(Kind.BREAKS),
        answer=_NOTHING,
    ),
    Case(
        "out-without-the-errors-about-it",
        filtered(ESTABLISHED),
        _notrack(9, protocol="udp") + filtered(_REPLY.format(f"-s {CLIENT} ", "udp", 9, ""), ESTABLISHED),
        _told_that_nobody_is_there,
        ("refused", "silence"),
        wrong=wrong(Kind.ICMP_ERRORS),
        answer=_NOTHING,
    ),
    Case(
        "out-and-the-server-may-open-back",
        filtered(ESTABLISHED),
        _notrack(53, protocol="udp") + filtered(errors("INPUT"), _UDP_REPLY, ESTABLISHED),
        _opens_back,
        ("silence", "ok"),
        prepare=_listening,
        wrong=wrong(Kind.REVERSED),
        loosens=FixClass.REVERSED,
        answer=_NOTHING,
    ),
    Case(
        "out-and-anybody-may-open-back",
        filtered(ESTABLISHED),
        _notrack(53, protocol="udp", address="")
        + filtered(errors("INPUT"), _REPLY.format("", "udp", 53, ""), ESTABLISHED),
        _opens_back,
        ("silence", "ok"),
        prepare=_listening,
        wrong=wrong(Kind.OPENS),
        loosens=FixClass.RELAXING,
        answer=_NOTHING,
    ),
)
