"""The frontends, backends, listen and defaults sections of haproxy.cfg, and which of them reach each other."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ruleaudit.model.from_haproxy_lines import TRANSPARENT, USESRC, Lines
from ruleaudit.model.from_haproxy_server import Options, server_options
from ruleaudit.model.proxy import Listener, Remark, Target
from ruleaudit.syntax import haproxy_address as addresses
from ruleaudit.syntax.haproxy import Line


@dataclass
class Settings:
    """What a section has from its defaults section, and passes on if it is one.

    backend   of default_backend
    mailers   the section of mailers that alerts go to
    server    the options of default-server
    checks    the lines `tcp-check connect` and `http-check connect`
    foreign   connections to servers leave with another host's address
    """

    disabled: bool = False
    backend: str = ""
    mailers: str = ""
    server: Options = field(default_factory=Options)
    checks: tuple[Line, ...] = ()
    foreign: bool = False


@dataclass
class Section:
    """One section.

    servers   with what is to be added to the port of the client's connection; None: it has a port of its own
    others    what it connects to besides: checks, logs
    backends  those of use_backend, and the line
    dynamic   a rule whose backend is known only when a request comes
    """

    kind: str
    name: str
    lines: Lines
    settings: Settings
    listeners: list[Listener] = field(default_factory=list)
    servers: list[tuple[Target, int | None]] = field(default_factory=list)
    others: list[Target] = field(default_factory=list)
    backends: dict[str, Line] = field(default_factory=dict)
    dynamic: Line | None = None

    def note(self, message: str) -> None:
        self.lines.say("note", self.lines.section.head, message)


def read(lines: Lines, settings: Settings) -> Section:
    """What a section says on top of its settings, which change with it."""
    head = lines.section.head
    section = Section(head.text(0), head.text(1), lines, settings)
    if section.kind != "defaults":
        if len(head.words) < 2:
            lines.say("refused", head, f"a {section.kind} without a name")
        if len(head.words) > 2 and head.text(2) != "from":
            lines.say("refused", head, "an address behind the name: HAProxy takes it no more, it wants a bind line")
            if section.kind != "backend":
                section.listeners += lines.listeners(head, 2)
    for line in lines.section.lines:
        _line(section, line)
    return section


def _line(section: Section, line: Line) -> None:
    lines, settings = section.lines, section.settings
    match line.text(0):
        case "bind" | "server" | "server-template" | "dispatch" | "use_backend" if section.kind == "defaults":
            lines.say("refused", line, f"{line.text(0)} is not for a defaults section")
        case "bind" if section.kind == "backend":
            lines.say("refused", line, "bind is not for a backend")
        case "bind":
            section.listeners += lines.listeners(line, 1)
        case "dgram-bind":
            section.listeners += lines.listeners(line, 1, addresses.RECEIVER)
        case "server" | "server-template" if section.kind != "frontend":
            _server(section, line)
        case "default-server":
            settings.server = _options(lines, line, 1, settings.server)
        case "dispatch":
            section.others += lines.targets(line, 1, addresses.TARGET)
        case "log":
            section.others += lines.log(line)
        case "disabled" | "enabled":
            settings.disabled = line.text(0) == "disabled"
        case "default_backend" | "use_backend":
            _backend(section, line)
        case "source":
            settings.foreign = "usesrc" in [word.text for word in line.words]
            if settings.foreign:
                lines.say("conflict", line, USESRC)
        case "tcp-check" | "http-check" if line.text(1) == "connect":
            settings.checks = (*settings.checks, line)
        case "option" if line.text(1) == "transparent":
            lines.say("conflict", line, TRANSPARENT)
        case "email-alert" if line.text(1) == "mailers":
            settings.mailers = line.text(2)
        case "http-request" | "tcp-request":
            if any(word.text.startswith("set-dst") for word in line.words[1:4]):
                lines.say("note", line, "sets where connections go when a request comes: not known here")


def _backend(section: Section, line: Line) -> None:
    name = line.text(1)
    if "%" in name or (name != line.text(0) and any(word.unset for word in line.words[1:2])):
        section.dynamic = line
    elif line.text(0) == "default_backend":
        section.settings.backend = name
    else:
        section.backends.setdefault(name, line)


# -- servers ------------------------------------------------------------------------------------------


def _server(section: Section, line: Line) -> None:
    lines = section.lines
    at = 2 + (line.text(0) == "server-template")
    place = lines.address(line, at, addresses.SERVER)
    options = _options(lines, line, at + 1, section.settings.server)
    if place is None:
        return
    if options.namespace:
        lines.say("note", line, f"connects from the network namespace {options.namespace}: left out")
        return
    foreign = section.settings.foreign if options.foreign is None else options.foreign
    target = lines.target(line, place, foreign)
    through = _other(lines, line, options.socks4, addresses.TARGET)
    if through is not None:
        section.others.append(lines.target(line, through))
    else:
        section.servers.append((target, None if place.ports else place.offset))
    if options.check and not (through is not None and options.check_via_socks4):
        section.others += (end for end in _checks(section, line, options, target) if end.port is not None)
    if options.agent_check and options.agent_port:
        agent = _other(lines, line, options.agent_address or options.address, addresses.CHECK)
        aim = target if agent is None else lines.target(line, agent, foreign)
        section.others.append(replace(aim, port=options.agent_port))


def _checks(section: Section, line: Line, options: Options, target: Target) -> Iterator[Target]:
    """Where the health checks of a server go."""
    lines = section.lines
    other = _other(lines, line, options.address, addresses.CHECK)
    base = target if other is None else lines.target(line, other, target.foreign)
    base = replace(base, port=options.port or base.port or target.port)
    if not section.settings.checks:
        yield base
    for check in section.settings.checks:
        words = [word.text for word in check.words]
        asked = {key: value for key, value in zip(words, words[1:], strict=False) if key in ("addr", "port")}
        end = _other(lines, check, asked.get("addr", ""), addresses.CHECK)
        aim = base if end is None else replace(lines.target(line, end, target.foreign), port=base.port)
        yield replace(aim, port=_number(asked["port"])) if "port" in asked else aim


def _options(lines: Lines, line: Line, at: int, before: Options) -> Options:
    found = server_options([word.text for word in line.words[at:]], before)
    if found.usesrc:
        lines.say("conflict", line, USESRC)
    return found


def _other(lines: Lines, line: Line, text: str, wanted: addresses.Wanted) -> addresses.Place | None:
    return lines.named(line, text, wanted) if text else None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536 else None


# -- all sections together ----------------------------------------------------------------------------


def targets(sections: Sequence[Section], mailers: Mapping[str, Sequence[Target]]) -> Iterator[Target]:
    """What all of them connect to: the ports of some servers are those of the frontends that reach them.

    What hangs on other sections is said in the remarks of each.
    """
    enabled = [section for section in sections if not section.settings.disabled]
    feeding = _feeding(enabled, {section.name for section in sections if section.kind != "frontend"})
    for section in enabled:
        yield from section.others
        ports: dict[int, None] = {}
        for frontend in feeding.get(id(section), ()):
            ports.update(dict.fromkeys(listener.port for listener in frontend.listeners))
        for server, offset in section.servers:
            yield from [server] if offset is None else _with_ports(section, server, offset, ports)
        if section.kind == "backend" and section.servers and id(section) not in feeding:
            section.note(f"no frontend reaches backend {section.name}")
    for name in dict.fromkeys(section.settings.mailers for section in enabled):
        yield from mailers.get(name, ())


def _feeding(enabled: Sequence[Section], known: set[str]) -> dict[int, list[Section]]:
    """The frontends that reach each section with servers; backends that are not `known` are said."""
    behind = {section.name: section for section in enabled if section.kind != "frontend"}
    feeding: dict[int, list[Section]] = {}
    for section in enabled:
        if section.kind == "backend":
            continue
        wanted = dict(section.backends)
        if section.settings.backend:
            wanted.setdefault(section.settings.backend, section.lines.section.head)
        for name, line in wanted.items():
            if name not in known:
                section.lines.say("refused", line, f'there is no backend "{name}"')
        reached = {id(behind[name]): behind[name] for name in wanted if name in behind}
        if section.dynamic is not None:
            message = "the backend is known when a request comes: it may be any of them"
            section.lines.say("note", section.dynamic, message)
            reached |= {id(one): one for one in behind.values() if one.kind == "backend"}
        if section.kind == "listen":
            reached[id(section)] = section
        for number in reached:
            feeding.setdefault(number, []).append(section)
    return feeding


def _with_ports(section: Section, server: Target, offset: int, ports: Iterable[int]) -> Iterator[Target]:
    """A server at the ports of the frontends."""
    found = [port + offset for port in ports if 0 < port + offset < 65536]
    if not found:
        message = "its port is that of the client's connection, and no frontend with a known port reaches it"
        section.lines.remarks.append(Remark("unknown", server.place, message))
        yield server
    for port in found:
        yield replace(server, port=port)
