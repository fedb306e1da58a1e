"""From haproxy.cfg to what HAProxy listens on and connects to (model.proxy), section by section.

Keywords that open no socket are read over, known or not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ruleaudit.model import from_haproxy_proxies as proxies
from ruleaudit.model.from_haproxy_lines import Lines
from ruleaudit.model.from_haproxy_proxies import Settings
from ruleaudit.model.proxy import Listener, Place, Proxy, Remark, Target
from ruleaudit.source import SourceFile
from ruleaudit.syntax import haproxy
from ruleaudit.syntax import haproxy_address as addresses
from ruleaudit.syntax.haproxy import Line, Section

LOCALPEER = "HAPROXY_LOCALPEER"


def proxy_of(sources: Sequence[SourceFile], environment: Mapping[str, str], host: str = "") -> Proxy:
    """What HAProxy does with some files, read in this order.

    `environment`: the variables that it has; `host`: its host's name, which tells its own line among the peers, unless
    HAPROXY_LOCALPEER or `localpeer` does. Nothing is raised: what is wrong is a remark.
    """
    return _Reader({LOCALPEER: host, **environment}).read(sources)


class _Reader:
    """The files one after the other: variables and defaults of one hold in the next."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.listeners: list[Listener] = []
        self.targets: list[Target] = []
        self.remarks: list[Remark] = []
        self.sections: list[proxies.Section] = []
        self.defaults: dict[str, Settings] = {}
        self.last = Settings()
        self.mailers: dict[str, list[Target]] = {}

    def read(self, sources: Sequence[SourceFile]) -> Proxy:
        for source in sources:
            document = haproxy.read(source, self.environment)
            self.environment = document.environment
            for problem in document.problems:
                kind = "refused" if problem.refused else "unknown"
                here = source.position(problem.span.start).line
                self.remarks.append(Remark(kind, Place(source.path, here, source.line(here).strip()), problem.message))
            for section in document.sections:
                lines = Lines(source, section, self.remarks)
                self._section(section, lines)
        self._proxies()
        order = {source.path: number for number, source in enumerate(sources)}
        remarks = sorted(dict.fromkeys(self.remarks), key=lambda r: (order.get(r.place.path, 0), r.place.line))
        listeners, targets = tuple(dict.fromkeys(self.listeners)), tuple(dict.fromkeys(self.targets))
        return Proxy(tuple(source.path for source in sources), listeners, targets, tuple(remarks))

    def _proxies(self) -> None:
        """What the frontends and backends come to, when all are known."""
        self.targets += proxies.targets(self.sections, self.mailers)
        for section in self.sections:
            if not section.settings.disabled:
                self.listeners += section.listeners
            # what is wrong in a disabled one keeps HAProxy from starting all the same
            self.remarks += [r for r in section.lines.remarks if r.kind == "refused" or not section.settings.disabled]

    def _section(self, section: Section, lines: Lines) -> None:
        match section.kind:
            case "global":
                self._global(lines)
            case "defaults":
                self._defaults(section, lines)
            case "frontend" | "backend" | "listen":
                settings = self._inherited(section.head, 2, self.last, lines)
                self.sections.append(proxies.read(replace(lines, remarks=[]), settings))
            case "peers":
                self._peers(section, lines)
            case "log-forward":
                self._log_forward(lines)
            case "mailers":
                found = [t for line in lines.of("mailer") for t in lines.targets(line, 2, addresses.TARGET)]
                self.mailers[section.head.text(1)] = found
            case "resolvers":
                self._resolvers(lines)
            case "ring":
                for line in lines.of("server"):
                    self.targets += lines.targets(line, 2, addresses.SERVER)
            case "program":
                lines.say("note", section.head, "starts another program; what that connects to is not known")
            case "":
                for line in lines.of("bind", "dgram-bind", "server", "server-template", "peer"):
                    lines.say("unknown", line, "in a section of unknown kind: left out")

    def _global(self, lines: Lines) -> None:
        for line in lines.of("stats", "log"):
            if line.text(0) == "log":
                self.targets += lines.log(line)
            elif line.text(1) == "socket":
                self.listeners += lines.listeners(line, 2)

    def _defaults(self, section: Section, lines: Lines) -> None:
        head = section.head
        name, at = ("", 1) if head.text(1) == "from" and len(head.words) == 3 else (head.text(1), 2)
        found = proxies.read(lines, self._inherited(head, at, Settings(), lines))
        self.targets += found.others
        self.defaults[name] = self.last = found.settings

    def _inherited(self, head: Line, at: int, otherwise: Settings, lines: Lines) -> Settings:
        """The settings that a section begins with: those of the section behind `from`, or else `otherwise`."""
        name = head.text(at + 1)
        if head.text(at) == "from" and name not in self.defaults:
            lines.say("refused", head, f'there is no defaults section "{name}" before this line')
        return replace(self.defaults.get(name, otherwise) if head.text(at) == "from" else otherwise)

    def _peers(self, section: Section, lines: Lines) -> None:
        local = self.environment.get(LOCALPEER, "")
        names = [line.text(1) for line in lines.of("peer", "server")]
        if any(lines.of("disabled")):
            return
        if local not in names:
            # HAProxy drops a section that it is no part of
            message = f'none of the peers is called "{local}", as this host is; {LOCALPEER}=NAME tells which it is'
            lines.say("unknown", section.head, message)
            return
        for line in section.lines:
            match line.text(0):
                case "bind":
                    self.listeners += lines.listeners(line, 1)
                case "peer" if line.text(1) == local:
                    self.listeners += lines.listeners(line, 2)
                case "peer" | "server" if line.text(1) != local:
                    self.targets += lines.targets(line, 2, addresses.SERVER)
                case "log":
                    self.targets += lines.log(line)

    def _log_forward(self, lines: Lines) -> None:
        for line in lines.section.lines:
            match line.text(0):
                case "bind":
                    self.listeners += lines.listeners(line, 1)
                case "dgram-bind":
                    self.listeners += lines.listeners(line, 1, addresses.RECEIVER)
                case "log":
                    self.targets += lines.log(line)

    def _resolvers(self, lines: Lines) -> None:
        for line in lines.of("nameserver", "parse-resolv-conf"):
            if line.text(0) == "nameserver":
                self.targets += lines.targets(line, 2, addresses.NAMESERVER)
            else:
                lines.say("note", line, "the name servers of /etc/resolv.conf: not looked up")
