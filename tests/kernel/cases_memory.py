"""Rewrites of rules that count or remember: limits, lists, and tests whose answer changes with time or content."""

import time
from collections.abc import Callable

from ruleaudit.diagnostics import FixClass
from ruleaudit.results import DifferenceKind as Kind
from tests.kernel import packets
from tests.kernel.lab import CLIENT, SERVER, Lab
from tests.kernel.rewrite import ESTABLISHED, Case, errors, filtered, notrack, wrong

_SIZE = 2_000_000


def _large(lab: Lab) -> None:
    lab.serve_tcp("server", 80, size=_SIZE)


def _complete(lab: Lab) -> bool:
    return lab.download("client", SERVER) == _SIZE


def _echo(lab: Lab) -> None:
    lab.serve_tcp("server", 80, size=0)


def _words(*words: bytes, pause: float = 0) -> Callable[[Lab], object]:
    return lambda lab: lab.talk("client", SERVER, *words, pause=pause)


def _web(*rules: str, raw: str = "") -> str:
    return raw + filtered("-A INPUT -i lo -j ACCEPT\n", errors("INPUT"), ESTABLISHED, *rules)


def _same(id: str, *rules: str) -> tuple[str, str, str]:
    """The rewrite that only adds the raw table."""
    return id, _web(*rules), _web(*rules, raw=notrack(80))


_LIMIT = "-m limit --limit 25/minute --limit-burst 10 -j ACCEPT\n"
_OPEN = "-A INPUT -p tcp --dport 80 -j ACCEPT\n"
_TWIN = f"-A INPUT -p tcp --dport 80 --syn {_LIMIT}-A INPUT -p tcp --dport 80 ! --syn -j ACCEPT\n"
_HASH = "-m hashlimit --hashlimit-above 10/min --hashlimit-burst 10 --hashlimit-mode srcip --hashlimit-name web"
_RECENT = "-A INPUT -p tcp --dport 80 -m recent --set --name WEB\n"
_RECENT_DROP = "-A INPUT -p tcp --dport 80 -m recent --update --seconds 60 --hitcount 10 --name WEB -j DROP\n"
_COPIED = "-A INPUT -p tcp --dport 80 --syn -m limit --limit 1/hour --limit-burst 3 -j ACCEPT\n"


def _ecn(lab: Lab) -> None:
    _large(lab)
    lab.hosts["client"].sysctl("net.ipv4.tcp_ecn", 1)
    lab.hosts["client"].sysctl("net.ipv4.tcp_ecn_fallback", 0)


def _echo_udp(lab: Lab) -> None:
    lab.serve_udp("server", 443)


def _questions(lab: Lab) -> bool:
    return all(lab.udp("client", SERVER, 443, sport=4000, patience=0.1) == "ok" for _ in range(12))


def _knock(lab: Lab) -> tuple[str, ...]:
    """Knock on 7777, connect, and say something before and after the list forgets us."""
    lab.udp("client", SERVER, 7777, patience=0.05)
    return lab.talk("client", SERVER, b"early", b"late", pause=2.3)


#: an office that closes soon, once it is loaded
_HOURS = "-m time --timestart 00:00:00 --timestop 23:59:59"


def _closing(text: str) -> str:
    start, end = time.gmtime(time.time() - 3600), time.gmtime(time.time() + 2)
    hours = f"--timestart {time.strftime('%H:%M:%S', start)} --timestop {time.strftime('%H:%M:%S', end)}"
    return text.replace(_HOURS, f"-m time {hours}")


def _connections(count: int) -> Callable[[Lab], object]:
    return lambda lab: [lab.tcp("client", SERVER, 80, patience=0.2) for _ in range(count)].count("ok")


def _blacklist(lab: Lab) -> None:
    lab.serve_tcp("server", 80)
    lab.run("server", "ipset", "create", "flooders", "hash:ip", "timeout", "60")


_LISTED = filtered(
    "-A INPUT -m set --match-set flooders src -j DROP\n",
    "-A INPUT -m conntrack --ctstate NEW -m hashlimit --hashlimit-above 20/sec --hashlimit-mode srcip "
    "--hashlimit-name flood -j SET --add-set flooders src\n",
    ESTABLISHED,
    _OPEN,
)
_FLOODER = "10.9.0.77"


def _flood(lab: Lab) -> bool:
    """After a burst of openings, is their source in the list?"""
    burst = [packets.tcp(_FLOODER, 2000 + n, SERVER, 80, "S") for n in range(200)]
    lab.send("client", "c0", ("server", "s0"), *burst)
    listed = _FLOODER in lab.run("server", "ipset", "list", "flooders")
    lab.run("server", "ipset", "flush", "flooders")
    return listed


def _guests(lab: Lab) -> None:
    _echo(lab)
    lab.run("server", "ipset", "create", "guests", "hash:ip", "timeout", "2")


def _guest(lab: Lab) -> tuple[str, ...]:
    lab.run("server", "ipset", "add", "guests", CLIENT, "timeout", "2", "-exist")
    return lab.talk("client", SERVER, b"early", b"late", pause=2.3)


_ALL_OK = ("ok", "ok", "ok")
_LATE = ("ok", "ok", "silence")
_EFFECT = wrong(Kind.EFFECT)
#: a test that the opening passed once, and that each later packet has to pass as well
_BREAKS = wrong(Kind.BREAKS)

CASES = (
    Case(
        *_same("a01-limit-behind-established", f"-A INPUT -p tcp --dport 80 {_LIMIT}"),
        prepare=_large,
        probe=_complete,
        sees=(True, False),
        wrong=_BREAKS,
    ),
    Case(
        "a01-limit-on-syn",
        _web(f"-A INPUT -p tcp --dport 80 {_LIMIT}"),
        _web(_TWIN, raw=notrack(80)),
        prepare=_large,
        probe=_complete,
        sees=(True, True),
        free=("dport=80",),
    ),
    Case(
        "a10-limit-on-syn-ecn",
        _web(f"-A INPUT -p tcp --dport 80 {_LIMIT}"),
        _web(_TWIN, raw=notrack(80)),
        prepare=_ecn,
        probe=_complete,
        sees=(True, True),
        free=("dport=80",),
    ),
    Case(
        "a01-udp-limit",
        _web("-A INPUT -p udp --dport 443 -m conntrack --ctstate NEW -m limit --limit 1/s --limit-burst 5 -j ACCEPT\n"),
        _web(
            "-A INPUT -p udp --dport 443 -m limit --limit 1/s --limit-burst 5 -j ACCEPT\n",
            raw=notrack(443, protocol="udp"),
        ),
        prepare=_echo_udp,
        probe=_questions,
        sees=(True, False),
        wrong=_BREAKS,
        answer="nothing-to-free",
    ),
    Case(
        *_same("a01-hashlimit-behind-established", f"-A INPUT -p tcp --dport 80 {_HASH} -j DROP\n", _OPEN),
        prepare=_large,
        probe=_complete,
        sees=(True, False),
        wrong=_BREAKS,
        answer="rewrite",
    ),
    Case(
        *_same("a01-recent-behind-established", _RECENT, _RECENT_DROP, _OPEN),
        prepare=_large,
        probe=_complete,
        sees=(True, False),
        wrong=_BREAKS,
        answer="rewrite",
    ),
    Case(
        *_same(
            "a02-port-knocking",
            "-A INPUT -p udp --dport 7777 -m recent --set --name KNOCK -j DROP\n",
            "-A INPUT -p tcp --dport 80 -m recent --rcheck --seconds 2 --name KNOCK -j ACCEPT\n",
        ),
        prepare=_echo,
        probe=_knock,
        sees=(_ALL_OK, _LATE),
        wrong=_BREAKS,
        answer="rewrite",
    ),
    Case(
        *_same(
            "a02-string-behind-established",
            "-A INPUT -p tcp --dport 80 -m string --algo bm --string EVIL -j DROP\n",
            _OPEN,
        ),
        prepare=_echo,
        probe=_words(b"good", b"EVIL"),
        sees=(_ALL_OK, _LATE),
        wrong=_BREAKS,
    ),
    Case(
        "a02-tcpmss-without-new",
        _web("-A INPUT -p tcp --dport 80 -m conntrack --ctstate NEW -m tcpmss ! --mss 536:65535 -j DROP\n", _OPEN),
        _web("-A INPUT -p tcp --dport 80 -m tcpmss ! --mss 536:65535 -j DROP\n", _OPEN, raw=notrack(80)),
        prepare=_echo,
        probe=_words(b"good"),
        sees=(("ok", "ok"), ("ok", "silence")),
        wrong=_BREAKS,
    ),
    Case(
        *_same("a02-length-behind-established", "-A INPUT -p tcp --dport 80 -m length --length 40:60 -j ACCEPT\n"),
        prepare=_echo,
        probe=_words(b"a", b"b" * 200),
        sees=(_ALL_OK, _LATE),
        wrong=_BREAKS,
    ),
    Case(
        *_same("a02-office-hours", f"-A INPUT -p tcp --dport 80 {_HOURS} -j ACCEPT\n"),
        prepare=_echo,
        probe=_words(b"early", b"late", pause=3.1),
        sees=(_ALL_OK, _LATE),
        wrong=_BREAKS,
        at_load=_closing,
        answer="rewrite",
    ),
    Case(
        *_same("a02-set-that-forgets", "-A INPUT -p tcp --dport 80 -m set --match-set guests src -j ACCEPT\n"),
        prepare=_guests,
        probe=_guest,
        sees=(_ALL_OK, _LATE),
        wrong=_BREAKS,
        loosens=FixClass.ASSUMING,
        assumption="static-sets",
    ),
    Case(
        "a21-blacklist-write-lost",
        _LISTED,
        notrack(80) + _LISTED,
        prepare=_blacklist,
        probe=_flood,
        sees=(True, False),
        wrong=_EFFECT,
        loosens=FixClass.RELAXING,
        answer="nothing-to-free",
    ),
    Case(
        "k16-limit-copied",
        filtered(_COPIED, "-A INPUT -p tcp --dport 80 ! --syn -j ACCEPT\n"),
        filtered(_COPIED, _COPIED, "-A INPUT -p tcp --dport 80 ! --syn -j ACCEPT\n"),
        prepare=lambda lab: lab.serve_tcp("server", 80),
        probe=_connections(7),
        sees=(3, 6),
        wrong=_EFFECT,
        answer="nothing-needs-tracking",
    ),
)
