"""Rewrites beside NAT, TPROXY and nat-type chains, and on a router."""

from collections.abc import Callable

from ruleaudit.diagnostics import FixClass
from ruleaudit.results import DifferenceKind as Kind
from tests.kernel import packets
from tests.kernel.lab import BEHIND, CLIENT, OUTSIDE, SERVER, Lab
from tests.kernel.rewrite import ESTABLISHED, Case, errors, filtered, notrack, notrack_forwarded, wrong

# -- REDIRECT -------------------------------------------------------------------------------------

_REDIRECT = "*nat\n-A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8080\nCOMMIT\n"
_REDIRECTED = _REDIRECT + filtered(ESTABLISHED, "-A INPUT -p tcp --dport 8080 -j ACCEPT\n")


def _both_ports(lab: Lab) -> tuple[str, str]:
    return lab.tcp("client", SERVER, 80), lab.tcp("client", SERVER, 8080)


# -- a masquerading router with services of its own -----------------------------------------------

_LOCAL_IN, _LOCAL_OUT = "! -i lo -m addrtype --dst-type LOCAL ", "! -o lo -m addrtype --src-type LOCAL "


def _router(masquerade: str, *services: str) -> str:
    protocols = ("-p tcp ", "-p udp ") if masquerade else ("",)
    lines = "".join(f"-A POSTROUTING -o r1 {p}-j MASQUERADE{masquerade}\n" for p in protocols)
    return f"*nat\n{lines}COMMIT\n" + filtered(
        ESTABLISHED,
        *services,
        "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n",
        "-A FORWARD -i r0 -o r1 -j ACCEPT\n",
    )


def _local(port: int, protocol: str = "tcp") -> str:
    return notrack(port, protocol=protocol, way_in=_LOCAL_IN, way_out=_LOCAL_OUT)


def _inside_and_out(lab: Lab) -> None:
    lab.serve_udp("server", 123)
    lab.serve_udp("server", 7)
    lab.serve_tcp("server", 80)
    lab.serve_udp("router", 51820)
    lab.serve_udp("router", 123)
    for port in (80, 8443):
        lab.serve_tcp("router", port)


def _udp_from(port: int, to: int, own: int) -> Callable[[Lab], object]:
    """The service from the Internet, and a LAN client that asks a server there from a source port of its choice."""
    return lambda lab: (lab.udp("server", OUTSIDE, own), lab.udp("client", BEHIND, to, sport=port))


def _tcp_from(port: int, own: int) -> Callable[[Lab], object]:
    return lambda lab: (lab.tcp("server", OUTSIDE, own), lab.tcp("client", BEHIND, 80, sport=port))


_OK = ("ok", "ok")
_LOST = ("ok", "silence")
_NTP = _router("", "-A INPUT -p udp --dport 123 -j ACCEPT\n")
_WIREGUARD = _router("", "-A INPUT -p udp --dport 51820 -j ACCEPT\n")
_PANEL = _router("", "-A INPUT -p tcp --dport 8443 -j ACCEPT\n")
_WEB = "-A INPUT -p tcp --dport 80 -j ACCEPT\n"

# -- a router whose rule loses its NEW test -------------------------------------------------------

_MAIL = "10.9.1.25"
_MAIL_RAW = notrack_forwarded(25, _MAIL)


def _mail(state: str, raw: str = "") -> str:
    return (
        f"{raw}*nat\n-A POSTROUTING -s 10.9.0.0/24 ! -d {_MAIL} -o r1 -j MASQUERADE\nCOMMIT\n*filter\n"
        f":FORWARD DROP [0:0]\n{errors('FORWARD')}"
        "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n"
        f"-A FORWARD -i r0 -p tcp {state}-j ACCEPT\n"
        f"-A FORWARD -s {_MAIL} -p tcp --sport 25 ! --syn -j ACCEPT\n"
        # a reply may come in on any side
        f"-A FORWARD -d {_MAIL} -p tcp --dport 25 ! --syn -m conntrack --ctstate UNTRACKED -j ACCEPT\nCOMMIT\n"
    )


def _mail_server(lab: Lab) -> None:
    lab.serve_tcp("server", 80)
    lab.run("server", "ip", "address", "add", f"{_MAIL}/24", "dev", "s0")
    lab.serve_tcp("server", 25, address=_MAIL)


def _leak(lab: Lab) -> tuple[str, str, int]:
    """Two connections, and how many strays leave with the private address of the LAN."""
    with lab.wire("server", "s0") as seen:
        strays = [packets.tcp(CLIENT, 4444 + n, BEHIND, 80, flags) for n, flags in enumerate(("FA", "SA", "R"))]
        lab.send("client", "c0", ("router", "r0"), *strays)
    private = [p for p in seen if p[9] == 6 and p[12:16] == bytes((10, 9, 0, 1)) and p[16:20] != bytes((10, 9, 1, 25))]
    return lab.tcp("client", BEHIND, 80), lab.tcp("client", _MAIL, 25), len(private)


# -- TPROXY ---------------------------------------------------------------------------------------

_TPROXY = (
    "*mangle\n-A PREROUTING -i s0 -p tcp -m socket --transparent -j MARK --set-mark 1\n"
    "-A PREROUTING -i s0 -p tcp --dport 80 -m addrtype ! --dst-type LOCAL -j TPROXY --on-port 80 --tproxy-mark 1\n"
    "COMMIT\n" + filtered(errors("INPUT"), "-A INPUT -m conntrack --ctstate INVALID -j DROP\n", ESTABLISHED, _WEB)
)


def _intercept(lab: Lab) -> None:
    lab.serve_tcp("server", 80, transparent=True)
    lab.run("client", "ip", "route", "add", "10.5.5.0/24", "via", SERVER)
    lab.run("server", "ip", "rule", "add", "fwmark", "1", "lookup", "100")
    lab.run("server", "ip", "route", "add", "local", "default", "dev", "lo", "table", "100")
    server = lab.hosts["server"]
    server.sysctl("net.ipv4.ip_forward", 1)
    for device in ("all", "s0", "lo"):
        server.sysctl(f"net.ipv4.conf.{device}.rp_filter", 0)


def _own_and_intercepted(lab: Lab) -> tuple[str, str]:
    return lab.tcp("client", SERVER, 80), lab.tcp("client", "10.5.5.5", 80)


# -- a mark set in a nat-type chain ---------------------------------------------------------------

_MARKED = f"*nat\n-A PREROUTING -s {CLIENT} -p tcp --dport 80 -j MARK --set-mark 7\nCOMMIT\n"


def _marked(states: str, raw: str = "") -> str:
    return (
        _MARKED
        + raw
        + filtered(
            "-A INPUT -m mark --mark 7 -j DROP\n",
            ESTABLISHED,
            f"-A INPUT -p tcp --dport 80 -m conntrack --ctstate {states} -j ACCEPT\n",
        )
    )


def _routed() -> Lab:
    return Lab(router=True)


CASES = (
    Case(
        "a04-redirect",
        _REDIRECTED,
        notrack(8080, way_in=_LOCAL_IN) + _REDIRECTED,
        prepare=lambda lab: lab.serve_tcp("server", 8080),
        probe=_both_ports,
        sees=(_OK, ("silence", "ok")),
        wrong=wrong(Kind.BREAKS),
        answer="nothing-to-free",
    ),
    Case(
        "a04-masquerade-ntp",
        _NTP,
        _local(123, "udp") + _NTP,
        lab=_routed,
        host="router",
        prepare=_inside_and_out,
        probe=_udp_from(123, 123, 123),
        sees=(_OK, _LOST),
        wrong=wrong(Kind.BREAKS),
        answer="nothing-to-free",
    ),
    Case(
        "a04-masquerade-wireguard",
        _WIREGUARD,
        _local(51820, "udp") + _WIREGUARD,
        lab=_routed,
        host="router",
        prepare=_inside_and_out,
        probe=_udp_from(51820, 7, 51820),
        sees=(_OK, _LOST),
        wrong=wrong(Kind.BREAKS),
        answer="nothing-to-free",
    ),
    Case(
        "a04-masquerade-8443",
        _PANEL,
        _local(8443) + _PANEL,
        lab=_routed,
        host="router",
        prepare=_inside_and_out,
        probe=_tcp_from(8443, 8443),
        sees=(_OK, _LOST),
        wrong=wrong(Kind.BREAKS),
        answer="nothing-to-free",
    ),
    Case(
        "a04-masquerade-80",
        _router("", _WEB),
        _local(80) + _router("", errors("INPUT"), _WEB),
        lab=_routed,
        host="router",
        prepare=_inside_and_out,
        probe=_tcp_from(40000, 80),
        sees=(_OK, _OK),
        free=(f"dst={OUTSIDE}", f"src={OUTSIDE}"),
    ),
    Case(
        "a04-masquerade-high-ports-only",
        _router(" --to-ports 1024-65535", _WEB),
        _local(80) + _router(" --to-ports 1024-65535", errors("INPUT"), _WEB),
        lab=_routed,
        host="router",
        prepare=_inside_and_out,
        probe=_tcp_from(80, 80),
        sees=(_OK, _OK),
        free=(f"dst={OUTSIDE}", f"src={OUTSIDE}"),
    ),
    Case(
        "a11-rule-that-loses-new",
        _mail("-m conntrack --ctstate NEW "),
        _mail("", _MAIL_RAW),
        lab=_routed,
        host="router",
        prepare=_mail_server,
        probe=_leak,
        sees=(("ok", "ok", 0), ("ok", "ok", 3)),
        wrong=wrong(Kind.STRAY),
        loosens=FixClass.RELAXING,
        answer="nothing-to-free",
    ),
    Case(
        "a11-rule-that-learns-untracked",
        _mail("-m conntrack --ctstate NEW "),
        _mail("-m conntrack --ctstate NEW,UNTRACKED ", _MAIL_RAW),
        lab=_routed,
        host="router",
        prepare=_mail_server,
        probe=_leak,
        sees=(("ok", "ok", 0), ("ok", "ok", 0)),
        free=(f"dst={_MAIL}",),
        answer="nothing-to-free",
    ),
    Case(
        "a15-tproxy-output-not-narrowed",
        _TPROXY,
        notrack(80, way_in=_LOCAL_IN) + _TPROXY,
        prepare=_intercept,
        probe=_own_and_intercepted,
        sees=(_OK, _LOST),
        wrong=wrong(Kind.HALF_TRACKED),
    ),
    Case(
        "a15-tproxy-both-narrowed",
        _TPROXY,
        notrack(80, way_in=_LOCAL_IN, way_out=_LOCAL_OUT) + _TPROXY,
        prepare=_intercept,
        probe=_own_and_intercepted,
        sees=(_OK, _OK),
        free=(f"dst={SERVER}", "dport=80"),
    ),
    Case(
        "k03-mark-in-a-nat-chain",
        _marked("NEW"),
        _marked("NEW,UNTRACKED", notrack(80)),
        prepare=lambda lab: lab.serve_tcp("server", 80),
        probe=lambda lab: lab.tcp("client", SERVER, 80),
        sees=("silence", "ok"),
        wrong=wrong(Kind.OPENS),
        loosens=FixClass.RELAXING,
        answer="nothing-to-free",
    ),
)
