"""Rewrites and the answers about untracked flows: ICMP errors to, through and from a host, and its refusals."""

from collections.abc import Callable
from socket import SOCK_STREAM

from ruleaudit.results import DifferenceKind as Kind
from tests.kernel import packets
from tests.kernel.lab import BEHIND, CLIENT, SERVER, Lab
from tests.kernel.rewrite import ESTABLISHED, Case, errors, filtered, notrack, notrack_forwarded, wrong

_INVALID = "-A {} -m conntrack --ctstate INVALID -j DROP\n"
_RESET = "-A INPUT -p tcp --dport 80 -j REJECT --reject-with tcp-reset\n"
_RESETS_LEAVE = "-A OUTPUT ! -o lo -p tcp --sport 80 --tcp-flags RST RST -j ACCEPT\n"


def _tcp(lab: Lab) -> str:
    return lab.tcp("client", SERVER, 80)


def _udp(port: int) -> Callable[[Lab], object]:
    return lambda lab: lab.udp("client", SERVER, port)


# -- a host that rejects ---------------------------------------------------------------------------

_REJECTS = filtered(_RESET, _INVALID.format("OUTPUT"), coming="ACCEPT")
_REJECTS_CURED = filtered(
    _RESET,
    _RESETS_LEAVE,
    "-A OUTPUT -p icmp --icmp-type 3 -j ACCEPT\n",
    _INVALID.format("OUTPUT"),
    coming="ACCEPT",
)
_ANSWERS_NOTRACKED = (
    notrack(80)[: -len("COMMIT\n")]
    + "-A OUTPUT -p icmp --icmp-type 3 -j CT --notrack\n-A OUTPUT -p tcp --tcp-flags RST RST -j CT --notrack\nCOMMIT\n"
)
_UDP = notrack(7, protocol="udp")
_ECHO = "-A INPUT -p udp --dport 7 -j ACCEPT\n"
_QUIET = filtered(ESTABLISHED, _ECHO, _INVALID.format("OUTPUT"))
_QUIET_CURED = filtered(errors("INPUT"), ESTABLISHED, _ECHO, errors("OUTPUT"), _INVALID.format("OUTPUT"))
_UDP_REJECTS = "-A INPUT -p udp --dport 7 -j REJECT\n"


def _turned_away(states: str) -> str:
    """One network is told no, another may come in; both rules ask for the state."""
    return filtered(
        errors("INPUT"),
        ESTABLISHED,
        f"-A INPUT -s 10.9.0.0/24 -p tcp --dport 80 -m conntrack --ctstate {states} -j REJECT "
        "--reject-with tcp-reset\n",
        "-A INPUT -p tcp --dport 80 -m conntrack --ctstate NEW,UNTRACKED -j ACCEPT\n".replace(
            "NEW,UNTRACKED", "NEW" if states == "NEW" else "NEW,UNTRACKED"
        ),
    )


_SILENT = filtered(
    ESTABLISHED,
    "-A INPUT -s 10.9.0.0/24 -p tcp --dport 80 -m conntrack --ctstate NEW -j REJECT --reject-with tcp-reset\n",
    "-A INPUT ! -s 10.9.0.0/24 -p tcp --dport 80 -j ACCEPT\n",
)

# -- a router that has to say what does not fit ---------------------------------------------------

_WEB = "-A FORWARD -p tcp --dport 80 -j ACCEPT\n-A FORWARD -p tcp --sport 80 ! --syn -j ACCEPT\n"
_PASS = errors("FORWARD") + _INVALID.format("FORWARD")
_FORWARD = "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n"
_RAW = notrack_forwarded(80, BEHIND)


def _router(output: str, policy: str = "ACCEPT") -> str:
    return filtered(errors("INPUT"), _PASS, _FORWARD, _WEB, output, coming="ACCEPT", going=policy)


_OWN_DROP = _router(_INVALID.format("OUTPUT"))
_OWN_DROP_CURED = _router(errors("OUTPUT") + _INVALID.format("OUTPUT"))
_OWN_POLICY = _router("-A OUTPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n", "DROP")


def _narrow() -> Lab:
    return Lab(router=True, narrow=1280)


def _large(lab: Lab) -> None:
    lab.serve_tcp("server", 80, size=100_000)


def _download(lab: Lab) -> bool:
    return lab.download("client", BEHIND) == 100_000


def _through(cure: str) -> str:
    return filtered(errors("INPUT"), cure, _FORWARD, _WEB, coming="ACCEPT")


def _passing_error(lab: Lab) -> list[tuple[int, int]]:
    """A hop behind the client's router is too narrow for the server's packet: does the server learn it?"""
    open_connection = lab.open_socket("client", SOCK_STREAM)
    with open_connection, lab.icmp_errors("server") as seen:
        open_connection.connect((BEHIND, 80))
        port = open_connection.getsockname()[1]
        about = packets.tcp(BEHIND, 80, CLIENT, port, "A")
        lab.send("client", "c0", ("router", "r0"), packets.too_big(CLIENT, BEHIND, about))
    return seen


def _to_the_host(lab: Lab) -> list[tuple[int, int]]:
    open_connection = lab.open_socket("client", SOCK_STREAM)
    with open_connection, lab.icmp_errors("server") as seen:
        open_connection.connect((SERVER, 80))
        port = open_connection.getsockname()[1]
        about = packets.tcp(SERVER, 80, CLIENT, port, "A")
        lab.send("client", "c0", ("server", "s0"), packets.too_big(CLIENT, SERVER, about))
    return seen


def _mangled(cure: str, *, freed: bool) -> str:
    states = "NEW,UNTRACKED" if freed else "NEW"
    return (
        (notrack(80) if freed else "")
        + f"*mangle\n{cure}{_INVALID.format('PREROUTING')}COMMIT\n"
        + filtered(
            errors("INPUT"), ESTABLISHED, f"-A INPUT -p tcp --dport 80 -m conntrack --ctstate {states} -j ACCEPT\n"
        )
    )


def _web(lab: Lab) -> None:
    lab.serve_tcp("server", 80)


_TOLD = [(3, 4)]

CASES = (
    Case(
        "a06-reset-of-reject",
        _REJECTS,
        notrack(80) + _REJECTS,
        _tcp,
        ("refused", "silence"),
        wrong=wrong(Kind.REFUSAL),
        answer="nothing-needs-tracking",
    ),
    Case(
        "a19-answers-notracked",
        _REJECTS,
        _ANSWERS_NOTRACKED + _REJECTS,
        _tcp,
        ("refused", "silence"),
        wrong=wrong(Kind.REFUSAL),
        answer="nothing-needs-tracking",
    ),
    Case(
        "a19-answers-accepted",
        _REJECTS,
        notrack(80) + _REJECTS_CURED,
        _tcp,
        ("refused", "refused"),
        answer="nothing-needs-tracking",
    ),
    Case("a13-no-listener", _QUIET, _UDP + _QUIET, _udp(7), ("refused", "silence"), wrong=wrong(Kind.ICMP_ERRORS)),
    Case("a13-no-listener-cured", _QUIET, _UDP + _QUIET_CURED, _udp(7), ("refused", "refused")),
    Case(
        "a13-udp-reject",
        filtered(_UDP_REJECTS, _INVALID.format("OUTPUT"), coming="ACCEPT"),
        _UDP + filtered(_UDP_REJECTS, _INVALID.format("OUTPUT"), coming="ACCEPT"),
        _udp(7),
        ("refused", "silence"),
        wrong=wrong(Kind.ICMP_ERRORS),
        answer="nothing-needs-tracking",
    ),
    Case(
        "a13-udp-reject-cured",
        filtered(_UDP_REJECTS, _INVALID.format("OUTPUT"), coming="ACCEPT"),
        _UDP + filtered(_UDP_REJECTS, errors("OUTPUT"), _INVALID.format("OUTPUT"), coming="ACCEPT"),
        _udp(7),
        ("refused", "refused"),
        answer="nothing-needs-tracking",
    ),
    Case(
        "a13-open-output",
        filtered(_UDP_REJECTS, "-A OUTPUT -m conntrack --ctstate ESTABLISHED\n", coming="ACCEPT"),
        _UDP + filtered(_UDP_REJECTS, "-A OUTPUT -m conntrack --ctstate ESTABLISHED\n", coming="ACCEPT"),
        _udp(7),
        ("refused", "refused"),
        answer="nothing-needs-tracking",
    ),
    Case(
        "a13-reset-becomes-silence",
        _SILENT,
        notrack(80) + _SILENT.replace(ESTABLISHED, errors("INPUT") + ESTABLISHED),
        _tcp,
        ("refused", "silence"),
        prepare=_web,
        wrong=wrong(Kind.REFUSAL),
    ),
    Case(
        "a13-reset-stays",
        _turned_away("NEW"),
        notrack(80) + _turned_away("NEW,UNTRACKED"),
        _tcp,
        ("refused", "refused"),
        prepare=_web,
    ),
    Case(
        "a06b-open-output",
        _router(""),
        _RAW + _router(""),
        _download,
        (True, True),
        lab=_narrow,
        host="router",
        prepare=_large,
        free=("dport=80",),
    ),
    Case(
        "a06b-invalid-drop-in-output",
        _OWN_DROP,
        _RAW + _OWN_DROP,
        _download,
        (True, False),
        lab=_narrow,
        host="router",
        prepare=_large,
        wrong=wrong(Kind.ICMP_ERRORS),
    ),
    Case(
        "a06b-own-errors-accepted",
        _OWN_DROP,
        _RAW + _OWN_DROP_CURED,
        _download,
        (True, True),
        lab=_narrow,
        host="router",
        prepare=_large,
        free=("dport=80",),
    ),
    Case(
        "a06b-output-policy-drop",
        _OWN_POLICY,
        _RAW + _OWN_POLICY,
        _download,
        (True, False),
        lab=_narrow,
        host="router",
        prepare=_large,
        wrong=wrong(Kind.ICMP_ERRORS),
    ),
    Case(
        "a17-errors-not-forwarded",
        _through(""),
        _RAW + _through(""),
        _passing_error,
        (_TOLD, []),
        lab=lambda: Lab(router=True),
        host="router",
        prepare=_web,
        wrong=wrong(Kind.ICMP_ERRORS),
    ),
    Case(
        "a17-errors-forwarded",
        _through(""),
        _RAW + _through(errors("FORWARD")),
        _passing_error,
        (_TOLD, _TOLD),
        lab=lambda: Lab(router=True),
        host="router",
        prepare=_web,
        free=("dport=80",),
    ),
    Case(
        "k05-invalid-drop-in-mangle",
        _mangled("", freed=False),
        _mangled("", freed=True),
        _to_the_host,
        (_TOLD, []),
        prepare=_web,
        wrong=wrong(Kind.ICMP_ERRORS),
    ),
    Case(
        "k05-errors-accepted-in-both",
        _mangled("", freed=False),
        _mangled(errors("PREROUTING"), freed=True),
        _to_the_host,
        (_TOLD, _TOLD),
        prepare=_web,
        free=("dport=80",),
    ),
)
