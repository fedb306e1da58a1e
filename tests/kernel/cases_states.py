"""Rewrites of rules that ask for the state: in accepts, refusals, marks and jumps."""

import time
from collections.abc import Callable
from socket import (
    IP_ADD_MEMBERSHIP,
    IP_MULTICAST_IF,
    IPPROTO_IP,
    SO_REUSEPORT,
    SOCK_DGRAM,
    SOL_SOCKET,
    inet_aton,
)

from ruleaudit.diagnostics import FixClass
from ruleaudit.results import DifferenceKind as Kind
from tests.kernel import packets
from tests.kernel.lab import CLIENT, SERVER, Lab
from tests.kernel.rewrite import ESTABLISHED, Case, errors, filtered, notrack, wrong

_OPEN = "-A INPUT -p tcp --dport 80 -j ACCEPT\n"
_ERRORS = errors("INPUT")


def _new(states: str = "NEW") -> str:
    return f"-A INPUT -p tcp --dport 80 -m conntrack --ctstate {states} -j ACCEPT\n"


def _web(lab: Lab) -> None:
    lab.serve_tcp("server", 80)


def _echo(lab: Lab) -> None:
    lab.serve_tcp("server", 80, size=0)


def _tcp(lab: Lab) -> str:
    return lab.tcp("client", SERVER, 80)


def _words(*words: bytes) -> Callable[[Lab], object]:
    return lambda lab: lab.talk("client", SERVER, *words)


# -- a03: the way back hangs on a mark that a state test sets -------------------------------------

_MARKS = (
    "*mangle\n-A OUTPUT -p tcp --sport 80 -m conntrack --ctstate ESTABLISHED{} -j MARK --set-mark 1\nCOMMIT\n"
    + filtered(_ERRORS, ESTABLISHED, _OPEN)
)

_MARKS_LEARN = notrack(80) + _MARKS.format("").replace(
    "COMMIT\n", "-A OUTPUT -p tcp --sport 80 ! --syn -m conntrack --ctstate UNTRACKED -j MARK --set-mark 1\nCOMMIT\n", 1
)


def _second_way(lab: Lab) -> None:
    """The client has an address that the server reaches only with mark 1."""
    _web(lab)
    server = lab.hosts["server"]
    lab.run("client", "ip", "address", "add", "10.77.0.1/32", "dev", "lo")
    for line in (
        "link add d0 type veth peer name d1",
        "link set d1 up",
        "address add 10.66.0.1/24 dev d0",
        "link set d0 up",
        "route add 10.77.0.0/24 dev d0",
        "rule add fwmark 1 lookup 100",
        f"route add 10.77.0.0/24 via {CLIENT} dev s0 table 100",
    ):
        lab.run("server", "ip", *line.split())
    for device in ("all", "s0"):
        server.sysctl(f"net.ipv4.conf.{device}.rp_filter", 0)


def _from_second(lab: Lab) -> str:
    return lab.tcp("client", SERVER, 80, source="10.77.0.1")


# -- a05: datagrams that nobody answers -----------------------------------------------------------


def _log(states: str, *, freed: bool) -> str:
    return (notrack(514, protocol="udp") if freed else "") + filtered(
        _ERRORS, ESTABLISHED, f"-A INPUT -p udp --dport 514 -m conntrack --ctstate {states} -j ACCEPT\n", going="DROP"
    )


def _sink(states: str, *, freed: bool) -> str:
    """Nothing may open a connection to port 514."""
    return (notrack(514, protocol="udp") if freed else "") + filtered(
        f"-A INPUT -m conntrack --ctstate {states} -j ACCEPT\n", going="DROP"
    )


def _received(lab: Lab) -> int:
    """How many of three datagrams reach a log server."""
    with lab.open_socket("server", SOCK_DGRAM) as daemon, lab.open_socket("client", SOCK_DGRAM) as sender:
        daemon.bind(("", 514))
        daemon.settimeout(0.2)
        for _ in range(3):
            sender.sendto(b"<13>hello", (SERVER, 514))
        got = 0
        try:
            while daemon.recv(100):
                got += 1
        except TimeoutError:
            return got
        return got


# -- a07: in by one interface, out by another -----------------------------------------------------


def _bound(raw: str, output: str = "") -> str:
    return raw + filtered(_ERRORS, f"-A INPUT -i s0 -p tcp --dport 80 -j ACCEPT\n{ESTABLISHED}", output)


_BY_S0 = notrack(80, way_in="-i s0 ", way_out="-o s0 ")
_IN_BY_S0 = notrack(80, way_in="-i s0 ")
_INVALID_OUT = "-A OUTPUT -m conntrack --ctstate INVALID -j DROP\n"


def _two_cables(lab: Lab) -> None:
    _web(lab)
    lab.link(("client", "c1", "10.9.1.1", "fd09:1::1"), ("server", "s1", "10.9.1.2", "fd09:1::2"))
    for host, devices in (("client", ("all", "c0", "c1")), ("server", ("all", "s0", "s1"))):
        for device in devices:
            lab.hosts[host].sysctl(f"net.ipv4.conf.{device}.rp_filter", 0)
    lab.run("client", "ip", "address", "add", "10.77.0.1/32", "dev", "lo")
    lab.run("server", "ip", "route", "add", "10.77.0.0/24", "via", "10.9.1.1", "dev", "s1")


def _entries_of_second(lab: Lab) -> tuple[str, int]:
    return _from_second(lab), len(lab.entries("server", "src=10.77.0.1"))


# -- a08: what is untracked by nature -------------------------------------------------------------

_NEIGHBOURS = "".join(f"-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j ACCEPT\n" for kind in (135, 136))
_ERRORS6 = "".join(f"-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j ACCEPT\n" for kind in (1, 2, 3, 4))


def _ipv6(established: str, *more: str, raw: str = "") -> str:
    return raw + filtered(
        "-A INPUT -i lo -j ACCEPT\n",
        f"-A INPUT -m conntrack --ctstate {established} -j ACCEPT\n",
        _NEIGHBOURS,
        *more,
        _OPEN,
    )


def _advertised(lab: Lab) -> None:
    for device in ("all", "s0"):
        lab.hosts["server"].sysctl(f"net.ipv6.conf.{device}.accept_ra", 2)


def _rogue(lab: Lab) -> bool:
    """Does the server take an address from whoever advertises a prefix?"""
    advertisement = packets.router_advertisement("fe80::99", "2001:db8:bad::")
    lab.send("client", "c0", bytes.fromhex("333300000001"), advertisement)
    time.sleep(0.2)
    taken = "2001:db8:bad:" in lab.run("server", "ip", "-6", "address", "show", "dev", "s0")
    lab.run("server", "ip", "-6", "address", "flush", "dev", "s0", "scope", "global", "dynamic")
    return taken


# -- a09: local clients ---------------------------------------------------------------------------


def _local(lab: Lab) -> tuple[str, str, str]:
    return lab.tcp("server", "127.0.0.1", 80), lab.tcp("server", SERVER, 80), _tcp(lab)


_LO = "-A INPUT -i lo -j ACCEPT\n"
_INVALID_IN = "-A INPUT -m conntrack --ctstate INVALID -j DROP\n"
#: name, rules before the ESTABLISHED accept, rules of OUTPUT, what a local client sees under the recipe without `! lo`
_LOOPBACK = (
    ("lo-accepted-first", _LO, "", ("ok", "ok", "ok")),
    ("127-accepted", "-A INPUT -s 127.0.0.0/8 -j ACCEPT\n", "", ("ok", "silence", "ok")),
    ("lo-not-accepted", "", "", ("silence", "silence", "ok")),
    ("output-drops-invalid", _LO, _INVALID_OUT, ("silence", "silence", "ok")),
    ("lo-accepted-after-invalid-drop", _INVALID_IN + _LO, "", ("ok", "ok", "ok")),
)
_THREE = ("ok", "ok", "ok")


def _loopback() -> list[Case]:
    cases = []
    for name, first, output, sees in _LOOPBACK:
        old = filtered(first, ESTABLISHED, _OPEN, output)
        new = filtered(_ERRORS, first, ESTABLISHED, _OPEN, errors("OUTPUT") if output else "", output)
        cases.append(
            Case(
                f"a09-{name}",
                old,
                notrack(80) + new,
                _local,
                (_THREE, _THREE),
                _web,
                free=(f"src={CLIENT}", "dport=80"),
            )
        )
        if sees != _THREE:
            careless = notrack(80, way_in="", way_out="") + new
            cases.append(
                Case(f"a09-{name}-careless", old, careless, _local, (_THREE, sees), _web, wrong=wrong(Kind.BREAKS))
            )
    return cases


# -- a12: whose packet is it ----------------------------------------------------------------------


def _guarded(reply: str, raw: str = "", more: str = "") -> str:
    return raw + filtered(
        _ERRORS,
        _OPEN,
        more,
        "-A OUTPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n",
        reply,
        coming="ACCEPT",
        going="DROP",
    )


def _daemon(lab: Lab) -> None:
    lab.serve_tcp("server", 80, user=65534)


_OWNER = "-A OUTPUT -m owner --uid-owner 65534 -j ACCEPT\n"
_REPLIES = "-A OUTPUT -p tcp --sport 80 ! --syn -m conntrack --ctstate UNTRACKED -j ACCEPT\n"

# -- a18 ------------------------------------------------------------------------------------------

_ONE_SIDED = "*raw\n-A PREROUTING ! -i lo -p tcp --dport 80 -j CT --notrack\n{}COMMIT\n"
_SET = "-m set --match-set guests {}"
_NAMESERVER = filtered(
    _ERRORS,
    ESTABLISHED,
    "-A INPUT -p udp --dport 53 -j ACCEPT\n",
    "-A OUTPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n{}",
    going="DROP",
)


def _five(lab: Lab) -> tuple[list[str], int]:
    return [_tcp(lab) for _ in range(5)], 0


def _guests(lab: Lab) -> None:
    _web(lab)
    lab.run("server", "ipset", "create", "guests", "hash:net")
    lab.run("server", "ipset", "add", "guests", "10.9.0.0/24")


def _names(lab: Lab) -> None:
    lab.serve_udp("server", 53)


def _named(lab: Lab) -> str:
    return lab.udp("client", SERVER, 53)


def _asked_from_53(lab: Lab) -> tuple[str, str]:
    """The service works; and may the host ask others from its service's port?"""
    served = _named(lab)
    lab.forget("server")
    with lab.open_socket("client", SOCK_DGRAM) as other, lab.open_socket("server", SOCK_DGRAM) as asking:
        other.bind(("", 4000))
        asking.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)  # the port is free for this test only beside the listener
        asking.bind((SERVER, 53))
        try:
            asking.sendto(b"?", (CLIENT, 4000))
            other.recv(10)
        except OSError:
            return served, "silence"
        return served, "ok"


def _other_address(lab: Lab) -> None:
    lab.run("server", "ip", "address", "add", "10.9.0.3/24", "dev", "s0")
    lab.serve_udp("server", 53, address="10.9.0.3", answer_from=SERVER)


def _unconnected(lab: Lab) -> bool:
    """A question to one address that is answered from another."""
    with lab.open_socket("client", SOCK_DGRAM) as asking:
        asking.sendto(b"?", ("10.9.0.3", 53))
        try:
            return bool(asking.recv(10))
        except TimeoutError:
            return False


_DNS = filtered(ESTABLISHED, "-A INPUT -p udp --dport 53 -j ACCEPT\n")
_DNS_ERRORS = filtered(_ERRORS, ESTABLISHED, "-A INPUT -p udp --dport 53 -j ACCEPT\n")

# -- a22: the state test sits on the jump ---------------------------------------------------------


def _jump(states: str, raw: str = "", first: str = "", out: str = "") -> str:
    return raw + filtered(
        first,
        ESTABLISHED,
        "-A INPUT -i lo -j ACCEPT\n",
        _INVALID_IN,
        f"-A INPUT -p tcp --syn -m conntrack --ctstate {states} -j SERVICES\n",
        "-A INPUT -p tcp -j REJECT --reject-with tcp-reset\n",
        "-A SERVICES -p tcp --dport 80 -j ACCEPT\n",
        "-A SERVICES -p tcp --dport 443 -j ACCEPT\n",
        out,
        "-A OUTPUT -o lo -j ACCEPT\n",
        "-A OUTPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n",
        _INVALID_OUT,
        going="DROP",
    ).replace("*filter\n", "*filter\n:SERVICES - [0:0]\n", 1)


_BOTH = (
    "*raw\n"
    + "".join(
        f"-A {line} -p tcp -m multiport --{side}ports 80,443 -j CT --notrack\n"
        for line, side in (("PREROUTING ! -i lo", "d"), ("OUTPUT ! -o lo", "s"))
    )
    + "COMMIT\n"
)
_ACCEPTED = "-A INPUT -p tcp -m multiport --dports 80,443 -m conntrack --ctstate UNTRACKED -j ACCEPT\n"
_ANSWERED = (
    "-A OUTPUT -p tcp -m multiport --sports 80,443 -m conntrack --ctstate UNTRACKED -m tcp ! --syn -j ACCEPT\n"
    + errors("OUTPUT")
)


def _everyone(lab: Lab) -> tuple[object, ...]:
    """A client, local clients, an open port without a listener, a closed port, the host from its service's port."""
    return (
        lab.download("client", SERVER) == 100_000,
        lab.tcp("server", "127.0.0.1", 80),
        lab.tcp("server", SERVER, 80),
        lab.tcp("client", SERVER, 443),
        lab.tcp("client", SERVER, 81),
        lab.tcp("server", CLIENT, 9999, sport=443),
    )


def _large(lab: Lab) -> None:
    lab.serve_tcp("client", 9999)
    lab.serve_tcp("server", 80, size=100_000)


_AS_BEFORE = (True, "ok", "ok", "refused", "refused", "silence")

# -- 17: content, blocklists, states before conntrack ---------------------------------------------

_CONTENT = "-A INPUT -p tcp --dport 80 -m conntrack --ctstate ESTABLISHED -m string --string EVIL --algo bm -j DROP\n"


def _blocked(states: str) -> str:
    return f"-A INPUT -s {CLIENT} -m conntrack --ctstate {states} -j DROP\n"


def _early(test: str) -> str:
    """A drop before conntrack has looked, and a host that accepts its own."""
    return f"*raw\n-A PREROUTING {test} -j DROP\nCOMMIT\n" + _HOST


_HOST = filtered(_LO, ESTABLISHED, _new())
#: the host hears its own announcements (mDNS): the looped copy comes in by the real interface, with the tag of OUTPUT
_GROUP_OPEN = filtered(_LO, ESTABLISHED, "-A INPUT -p udp --dport 5353 -j ACCEPT\n")
_GROUP_EARLY = "*raw\n-A PREROUTING ! -i lo -p udp -m conntrack ! --ctstate INVALID -j DROP\nCOMMIT\n" + _GROUP_OPEN


def _looped(lab: Lab) -> bool:
    membership = inet_aton("224.0.0.251") + inet_aton(SERVER)
    with lab.open_socket("server", SOCK_DGRAM) as hearing, lab.open_socket("server", SOCK_DGRAM) as saying:
        hearing.bind(("", 5353))
        hearing.setsockopt(IPPROTO_IP, IP_ADD_MEMBERSHIP, membership)
        saying.setsockopt(IPPROTO_IP, IP_MULTICAST_IF, inet_aton(SERVER))
        saying.sendto(b"here I am", ("224.0.0.251", 5353))
        try:
            return bool(hearing.recv(100))
        except TimeoutError:
            return False


_OPENS = wrong(Kind.OPENS)

CASES = (
    Case(
        "a03-mark-by-state",
        _MARKS.format(""),
        notrack(80) + _MARKS.format(""),
        _from_second,
        ("ok", "silence"),
        _second_way,
        wrong=wrong(Kind.BREAKS),
        answer="nothing-to-free",
    ),
    Case(
        "a03-mark-learns-untracked",
        _MARKS.format(""),
        _MARKS_LEARN,
        _from_second,
        ("ok", "ok"),
        _second_way,
        free=("dport=80",),
        answer="nothing-to-free",
    ),
    Case(
        "a05-accept-forgotten",
        _log("NEW", freed=False),
        _log("NEW", freed=True),
        _received,
        (3, 0),
        wrong=wrong(Kind.BREAKS),
    ),
    Case(
        "a05-accepted",
        _log("NEW", freed=False),
        _log("NEW,UNTRACKED", freed=True),
        _received,
        (3, 3),
        free=("dport=514",),
    ),
    Case(
        "a05-opened",
        _sink("ESTABLISHED", freed=False),
        _sink("ESTABLISHED,UNTRACKED", freed=True),
        _received,
        (0, 3),
        wrong=_OPENS,
        loosens=FixClass.RELAXING,
        answer="nothing-needs-tracking",
    ),
    Case(
        "a07-both-interfaces",
        _bound(""),
        _bound(_BY_S0),
        _entries_of_second,
        (("ok", 1), ("ok", 1)),
        _two_cables,
        wrong=wrong(Kind.HALF_TRACKED),
        suggested=("ok", 0),
    ),
    Case(
        "a07-both-interfaces-invalid-drop",
        _bound("", _INVALID_OUT),
        _bound(_BY_S0, errors("OUTPUT") + _INVALID_OUT),
        _from_second,
        ("ok", "silence"),
        _two_cables,
        wrong=wrong(Kind.HALF_TRACKED),
    ),
    Case(
        "a07-way-in-only",
        _bound(""),
        _bound(_IN_BY_S0),
        _from_second,
        ("ok", "ok"),
        _two_cables,
        free=("src=10.77.0.1",),
    ),
    Case(
        "a07-way-in-only-invalid-drop",
        _bound("", _INVALID_OUT),
        _bound(_IN_BY_S0, errors("OUTPUT") + _INVALID_OUT),
        _from_second,
        ("ok", "ok"),
        _two_cables,
        free=("src=10.77.0.1",),
    ),
    Case(
        "a08-blanket-untracked",
        _ipv6("ESTABLISHED,RELATED"),
        _ipv6("ESTABLISHED,RELATED,UNTRACKED", raw=notrack(80)),
        _rogue,
        (False, True),
        _advertised,
        six=True,
        wrong=_OPENS,
        loosens=FixClass.RELAXING,
    ),
    Case(
        "a08-own-port-only",
        _ipv6("ESTABLISHED,RELATED"),
        _ipv6("ESTABLISHED,RELATED", _ERRORS6, raw=notrack(80)),
        _rogue,
        (False, False),
        _advertised,
        six=True,
    ),
    *_loopback(),
    Case(
        "a12-reply-by-owner",
        _guarded(_OWNER),
        _guarded(_OWNER, notrack(80)),
        _tcp,
        ("ok", "silence"),
        _daemon,
        wrong=wrong(Kind.BREAKS),
    ),
    Case(
        "a12-reply-by-port",
        _guarded(_OWNER),
        _guarded(_REPLIES + errors("OUTPUT") + _OWNER, notrack(80)),
        _tcp,
        ("ok", "ok"),
        _daemon,
        free=("dport=80",),
    ),
    Case(
        "a18-one-sided-repaired",
        _ONE_SIDED.format("") + filtered(_ERRORS, ESTABLISHED, _OPEN),
        _ONE_SIDED.format("-A OUTPUT ! -o lo -p tcp --sport 80 -j CT --notrack\n")
        + filtered(_ERRORS, ESTABLISHED, _OPEN),
        _five,
        ((["ok"] * 5, 0), (["ok"] * 5, 0)),
        _web,
        free=("dport=80",),
        answer="nothing-to-free",
    ),
    Case(
        "a18-set-mirrored",
        filtered(ESTABLISHED, f"-A INPUT -p tcp --dport 80 {_SET.format('src')} -j ACCEPT\n"),
        "*raw\n"
        f"-A PREROUTING ! -i lo -p tcp --dport 80 {_SET.format('src')} -j CT --notrack\n"
        f"-A OUTPUT ! -o lo -p tcp --sport 80 {_SET.format('dst')} -j CT --notrack\nCOMMIT\n"
        + filtered(_ERRORS, ESTABLISHED, f"-A INPUT -p tcp --dport 80 {_SET.format('src')} -j ACCEPT\n"),
        _tcp,
        ("ok", "ok"),
        _guests,
        free=("dport=80",),
    ),
    Case(
        "a18-udp-reply-accepted",
        _NAMESERVER.format(""),
        notrack(53, protocol="udp")
        + _NAMESERVER.format(
            errors("OUTPUT") + "-A OUTPUT -p udp --sport 53 -m conntrack --ctstate UNTRACKED -j ACCEPT\n"
        ),
        _named,
        ("ok", "ok"),
        _names,
        wrong=wrong(Kind.REVERSED),
        loosens=FixClass.REVERSED,
        answer="nothing-to-free",
    ),
    Case(
        "a17-answered-from-another-address",
        _DNS,
        notrack(53, protocol="udp") + _DNS_ERRORS,
        _unconnected,
        (True, True),
        _other_address,
        free=("dport=53",),
    ),
    Case(
        "a22-untracked-on-the-jump",
        _jump("NEW"),
        _jump("NEW,UNTRACKED", _BOTH, "", _ANSWERED),
        _everyone,
        (_AS_BEFORE, (False, *_AS_BEFORE[1:])),
        _large,
        wrong=wrong(Kind.BREAKS),
    ),
    Case(
        "a22-rule-of-its-own",
        _jump("NEW"),
        _jump("NEW", _BOTH, _ERRORS + _ACCEPTED, _ANSWERED),
        _everyone,
        (_AS_BEFORE, _AS_BEFORE),
        _large,
        free=(f"src={CLIENT}", "dport=80"),
    ),
    Case(
        "k01-content-filter",
        filtered(_CONTENT, ESTABLISHED, _new()),
        notrack(80) + filtered(_ERRORS, _CONTENT, ESTABLISHED, _new("NEW,UNTRACKED")),
        _words(b"good", b"EVIL"),
        (("ok", "ok", "silence"), ("ok", "ok", "ok")),
        _echo,
        wrong=_OPENS,
        loosens=FixClass.RELAXING,
        answer="nothing-to-free",
    ),
    Case(
        "k06-blocklist-forgotten",
        filtered(ESTABLISHED, _blocked("NEW"), _new()),
        notrack(80) + filtered(_ERRORS, ESTABLISHED, _blocked("NEW"), _new("NEW,UNTRACKED")),
        _tcp,
        ("silence", "ok"),
        _web,
        wrong=_OPENS,
        loosens=FixClass.RELAXING,
    ),
    Case(
        "k06-blocklist-holds",
        filtered(ESTABLISHED, _blocked("NEW"), _new()),
        notrack(80) + filtered(_ERRORS, ESTABLISHED, _blocked("NEW,UNTRACKED"), _new("NEW,UNTRACKED")),
        _tcp,
        ("silence", "silence"),
        _web,
    ),
    Case(
        "k12-invalid-before-conntrack",
        _HOST,
        _early("! -i lo -m conntrack --ctstate INVALID"),
        _local,
        (_THREE, ("ok", "ok", "silence")),
        _web,
        wrong=wrong(Kind.BREAKS),
    ),
    Case(
        "k12-valid-before-conntrack",
        _HOST,
        _early("! -i lo -p tcp -m conntrack ! --ctstate INVALID"),
        _local,
        (_THREE, _THREE),
        _web,
    ),
    Case(
        "k12-valid-before-conntrack-on-lo",
        _HOST,
        _early("-p tcp -m conntrack ! --ctstate INVALID"),
        _local,
        (_THREE, ("silence", "silence", "ok")),
        _web,
        wrong=wrong(Kind.BREAKS),
    ),
    Case(
        "k12-valid-before-conntrack-looped", _GROUP_OPEN, _GROUP_EARLY, _looped, (True, False), wrong=wrong(Kind.BREAKS)
    ),
)
