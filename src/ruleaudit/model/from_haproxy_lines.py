"""One line of haproxy.cfg: the sockets that it opens, or what it connects to, and what is to be said about it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ruleaudit.model.proxy import Listener, Place, Remark, Target
from ruleaudit.source import SourceFile
from ruleaudit.syntax import haproxy_address as addresses
from ruleaudit.syntax.haproxy import Line, Section
from ruleaudit.syntax.haproxy_address import Wanted, address, expanded
from ruleaudit.syntax.refusal import Refused

_SYSLOG = 514
#: the words behind the address of `bind` that take another one; the others of HAProxy take none
_VALUES = frozenset((
    "accept-netscaler-cip", "alpn", "backlog", "ca-file", "ca-ignore-err", "ca-sign-file", "ca-sign-pass",
    "ca-verify-file", "cc", "ciphers", "ciphersuites", "client-sigalgs", "crl-file", "crt", "crt-ignore-err",
    "crt-list", "curves", "default-crt", "ecdhe", "expose-fd", "gid", "group", "guid-prefix", "id", "idle-ping",
    "interface", "label", "level", "maxconn", "mode", "mss", "name", "namespace", "nbconn", "nice", "npn",
    "ocsp-update", "process", "proto", "quic-cc-algo", "quic-socket", "severity-output", "shards", "sigalgs",
    "ssl-max-ver", "ssl-min-ver", "tcp-md5sig", "tcp-ut", "thread", "tls-ticket-keys", "uid", "user", "verify",
))  # fmt: skip
USESRC = "usesrc: connections leave with another address than this host's; they are no service of it"
TRANSPARENT = "transparent: takes connections to other hosts' addresses; they are no service of this host"


@dataclass(frozen=True)
class Lines:
    """The lines of one section of a file; `remarks` grow as they are read."""

    source: SourceFile
    section: Section
    remarks: list[Remark] = field(default_factory=list)

    def of(self, *keywords: str) -> Iterator[Line]:
        """Those that begin with some keywords."""
        return (line for line in self.section.lines if line.text(0) in keywords)

    def place(self, line: Line, words: int = 2) -> Place:
        text = " ".join(word.text for word in line.words[:words])
        return Place(self.source.path, self.source.position(line.span.start).line, text)

    def say(self, kind: str, line: Line, message: str) -> None:
        self.remarks.append(Remark(kind, self.place(line), message))

    # -- addresses -------------------------------------------------------------------------------------

    def address(self, line: Line, at: int, wanted: Wanted) -> addresses.Place | None:
        """The address that is word `at`; None where there is none of the network, or it is not understood."""
        if at >= len(line.words):
            self.say("refused", line, f"{line.text(0)} without an address")
            return None
        return self.named(line, line.text(at), wanted, line.words[at].unset)

    def named(self, line: Line, text: str, wanted: Wanted, unset: tuple[str, ...] = ()) -> addresses.Place | None:
        """An address that a line names somewhere."""
        text, more = expanded(text, line.environment)
        if unset or more:
            names = list(dict.fromkeys((*unset, *more)))
            are = "is" if len(names) == 1 else "are"
            self.say("unknown", line, f"{', '.join(names)} {are} not set in the environment: left out")
            return None
        try:
            return address(text, wanted)
        except Refused as error:
            self.say("refused", line, error.message)
            return None

    # -- what it connects to ---------------------------------------------------------------------------

    def target(self, line: Line, place: addresses.Place, foreign: bool = False) -> Target:
        """What a line connects to; 0.0.0.0 is wherever the client wanted to go."""
        if place.name:
            self.say(
                "note",
                line,
                f"{place.name}: a host name, whose address is not known here: what goes there stays tracked",
            )
        port = place.ports[0] if place.ports else None
        host = place.host if place.host is not None and int(place.host) else None
        where = self.place(line, 4 if line.text(0) == "server-template" else 3)
        return Target(host, port, place.protocol, where, place.name, foreign)

    def targets(self, line: Line, at: int, wanted: Wanted) -> list[Target]:
        """The same, of the address that is word `at`; none where it has none of the network."""
        place = self.address(line, at, wanted)
        return [] if place is None else [self.target(line, place)]

    def log(self, line: Line) -> list[Target]:
        """The target of a `log` line; `log global` names none, rings have theirs in their own section."""
        aim = line.text(1)
        if len(line.words) < 3 or aim in ("stdout", "stderr") or aim.startswith(("ring@", "backend@")):
            return []
        place = self.address(line, 1, addresses.LOG)
        if place is None:
            return []
        return [self.target(line, place if place.ports else replace(place, ports=(_SYSLOG, _SYSLOG)))]

    # -- where it listens ------------------------------------------------------------------------------

    def listeners(self, line: Line, at: int, wanted: Wanted = addresses.BIND) -> list[Listener]:
        """The sockets of a line whose word `at` is a list of addresses, with options behind it."""
        if at >= len(line.words):
            self.say("refused", line, f"{line.text(0)} without an address")
            return []
        options = _options([word.text for word in line.words[at + 1 :]])
        if "namespace" in options:
            self.say("note", line, f"listens in the network namespace {options['namespace']}: left out")
            return []
        foreign = "transparent" in options
        where = self.place(line, at + 1)
        interface = options.get("interface", "")
        sockets = []
        for text in dict.fromkeys(filter(None, line.text(at).split(","))):
            place = self.named(line, text, wanted, line.words[at].unset)
            if place is None or place.ports is None:
                continue
            if place.name:
                self.say("unknown", line, f"{place.name}: a host name, whose address is not known here")
            both = place.host is not None and place.host.version == 6 and not int(place.host)
            both = both and "v6only" not in options
            sockets += [
                Listener(place.host, port, place.protocol, where, place.name, interface, both, foreign)
                for port in range(place.ports[0], place.ports[1] + 1)
            ]
        if foreign and sockets:
            self.say("conflict", line, TRANSPARENT)
        return sockets


def _options(words: Sequence[str]) -> dict[str, str]:
    """The options behind an address, with their values."""
    found: dict[str, str] = {}
    at = 0
    while at < len(words):
        valued = words[at] in _VALUES
        found[words[at]] = words[at + 1] if valued and at + 1 < len(words) else ""
        at += 1 + valued
    return found
