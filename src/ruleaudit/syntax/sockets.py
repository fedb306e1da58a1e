"""The sockets that listen on a host, from the text of `ss -lntup`, or of `netstat -lntup`.

One socket is one line that begins with its kind (`tcp`) or, where ss was asked for one kind only, with its state
(`LISTEN`, `UNCONN`). What -e, -i and -m say of it stands behind it, in the same line or in indented ones. A terminal or
a mail may have broken any line between two words.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from ruleaudit.source import SourceFile, Span
from ruleaudit.syntax import services
from ruleaudit.syntax.addresses import numeric
from ruleaudit.syntax.problem import Problem
from ruleaudit.syntax.refusal import Refused

Address = IPv4Address | IPv6Address

_PROTOCOLS = {"tcp": "tcp", "tcp6": "tcp", "udp": "udp", "udp6": "udp"}
#: what ss lists too when it is asked for more
_OTHER_KINDS = ("raw", "raw6", "sctp", "dccp", "icmp6", "mptcp", "ti_st", "ti_dg", "v_str", "v_dgr", "xdp", "p_raw",
                "p_dgr", "nl", "u_str", "u_dgr", "u_seq", "unix", "udplite", "udplit", "???")  # fmt: skip
#: of ss when it names no kind: only TCP listens, a UDP socket that is bound and not connected is UNCONN
_LISTENING = {"LISTEN": "tcp", "UNCONN": "udp"}
_STATES = ("ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSE-WAIT", "LAST-ACK",
           "CLOSING", "CLOSED", "UNKNOWN", "NEW-SYN-RECV", "BOUND-INACTIVE")  # fmt: skip
_HEADINGS = ("Netid", "State", "Recv-Q", "Proto", "Active", "(Not", "(No")
#: behind the peer's address: `users:((`, `uid:0`, `cgroup:/…`, of netstat `812/sshd`
_USERS = re.compile(r'\("((?:[^"\\]|\\.)*)",')
_UNIT = re.compile(r"\bcgroup:\S*/([^/\s]+)\.(?:service|socket)\b")
_NETSTAT_PROGRAM = re.compile(r"\d+/(\S+?):?")
#: what netstat leaves of an address and its port
_NETSTAT_WIDTH = 23


@dataclass(frozen=True, slots=True)
class Socket:
    """One socket that waits for connections or datagrams.

    address    None: any, of both families
    interface  the device that it is bound to; empty: any
    programs   who holds it, as far as the list tells; of systemd also the unit
    """

    protocol: str
    address: Address | None
    port: int
    interface: str
    programs: tuple[str, ...]
    span: Span


def read(source: SourceFile) -> tuple[tuple[Socket, ...], tuple[Problem, ...]]:
    """The listening sockets of a list, in its order, and what was not understood: `refused` for a socket that may
    listen, not so for a line that looks like no socket at all.
    """
    sockets: list[Socket] = []
    problems: list[Problem] = []
    records, strange = _records(source.text)
    problems += strange
    # ss of before 2017 wrote `*:80` for IPv4 and `:::80` for IPv6; the later ones bracket IPv6
    old = re.search(r"^\s*(?:\w+\s+)?(?:LISTEN|UNCONN)\s.*\s:::\d", source.text, re.MULTILINE) is not None
    for span, text in records:
        try:
            sockets += _socket(span, text.split(), text, old)
        except Refused as error:
            problems.append(Problem(span, error.message, error.hint))
    if not sockets and not any(p.refused for p in problems):
        what = "no socket that listens is listed" if records else "no list of sockets"
        problems.insert(0, Problem(Span(0, 0), what, "give the output of ss -lntup"))
    return tuple(sockets), tuple(problems)


def _records(text: str) -> tuple[list[tuple[Span, str]], list[Problem]]:
    """The text of each socket, its broken lines put together, and the lines that belong to none."""
    records: list[tuple[Span, str]] = []
    strange: list[Problem] = []
    heading = False
    for span, line in _lines(text):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        known = (*_PROTOCOLS, *_OTHER_KINDS, *_LISTENING, *_STATES)
        if words[0] in known:
            records.append((span, line.strip()))
            heading = False
        elif words[0] in _HEADINGS or heading:
            heading = True  # it may be broken, too
        elif records and (line[0].isspace() or len(records[-1][1].split()) < 5 or _goes_on(words[0])):
            start, before = records[-1]
            records[-1] = (Span(start.start, span.end), f"{before} {line.strip()}")
        else:
            message = f'unexpected "{line.strip()[:40]}": expected a socket, as ss -lntup prints it'
            strange.append(Problem(span, message, refused=False))
    return records, strange


def _lines(text: str) -> Iterator[tuple[Span, str]]:
    at = 0
    for raw in text.split("\n"):
        yield Span(at, at + len(raw)), raw.rstrip("\r")
        at += len(raw) + 1


def _goes_on(word: str) -> bool:
    """A word that stands behind the addresses of a socket."""
    return word.startswith(("users:", "uid:", "ino:", "sk:", "cgroup:", "v6only:", "timer:", "skmem:", "<->"))


def _socket(span: Span, words: list[str], text: str, old: bool) -> Iterator[Socket]:
    """The socket of one record; none if it does not listen."""
    kind = words[0] if words[0] in (*_PROTOCOLS, *_OTHER_KINDS) else ""
    if kind in _OTHER_KINDS:
        return
    if kind and len(words) > 1 and words[1].isdigit():
        yield from _of_netstat(span, kind, words)
        return
    state, *rest = words[1:] if kind else words
    if state not in _LISTENING:
        return
    if len(rest) < 4 or not (rest[0].isdigit() and rest[1].isdigit()):
        raise Refused(f'"{text[:60]}" is not the whole line of a socket', text)
    address, port, interface = _place(rest[2], _PROTOCOLS.get(kind, _LISTENING[state]))
    if address is None and old and rest[2].startswith("*"):
        address = IPv4Address(0)
    elif isinstance(address, IPv6Address) and not int(address) and (old or "v6only:0" in rest):
        # a socket on :: serves IPv4 too unless it is v6only. ss shows that one as [::], the other one as *
        address = None
    tail = " ".join(rest[4:])
    programs = (*_USERS.findall(tail), *_UNIT.findall(tail))
    protocol = _PROTOCOLS.get(kind, _LISTENING[state])
    yield Socket(protocol, address, port, interface, tuple(dict.fromkeys(programs)), span)


def _of_netstat(span: Span, kind: str, words: list[str]) -> Iterator[Socket]:
    """`tcp6 0 0 :::80 :::* LISTEN 812/nginx`; netstat does not say whether a socket on :: serves IPv4 too: it may."""
    if len(words) < 5:
        raise Refused(f'"{" ".join(words)[:60]}" is not the whole line of a socket', words[0])
    local, rest = words[3], words[5:]
    listens = rest[:1] == ["LISTEN"] if kind.startswith("tcp") else rest[:1] != ["ESTABLISHED"]
    if not listens:
        return
    if kind.endswith("6") and len(local) == _NETSTAT_WIDTH:
        raise Refused(f'"{local}" may be cut off by netstat', local, "give the output of ss -lntup, or of netstat -W")
    address, port, interface = _place(local, _PROTOCOLS[kind])
    if isinstance(address, IPv6Address) and not int(address):
        address = None
    held = next((m[1] for m in map(_NETSTAT_PROGRAM.fullmatch, rest) if m), "")
    yield Socket(_PROTOCOLS[kind], address, port, interface, (held,) if held else (), span)


def _place(word: str, protocol: str) -> tuple[Address | None, int, str]:
    """`[fe80::1]%eth0:546` as address, port and interface. Raises Refused."""
    host, colon, name = word.rpartition(":")
    if not colon:
        raise Refused(f'"{word}" is not an address and a port', word)
    host, _, interface = host.partition("%")
    if interface.endswith("]"):
        host, interface = f"{host}]", interface[:-1]
    port = services.port(name, {"tcp": 6, "udp": 17}[protocol])
    return _address(host), port, interface


def _address(host: str) -> Address | None:
    """None for `*`; a mapped address (`[::ffff:192.0.2.1]`) is the IPv4 address that the socket serves."""
    if host == "*":
        return None
    four = numeric(host, 32) if host.count(".") == 3 and ":" not in host else None
    if four is not None:
        return IPv4Address(four)
    six = numeric(host.removeprefix("[").removesuffix("]"), 128)
    if six is None:
        raise Refused(f'"{host}" is not an address', host, "ss -n prints numbers")
    found = IPv6Address(six)
    return found.ipv4_mapped or found
