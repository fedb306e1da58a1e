"""From the tree of an iptables-save file to the model: tables, chains, policies and rules, and what is wrong with them.

Commands are carried out in the order of the file, as iptables-restore does: `-A` appends, `-I` inserts, `-D` deletes,
`-N`
makes a chain, `-F` empties one, `-P` sets a policy. Every error of the file is reported in one run.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.model.fields import Family, Hook
from ruleaudit.model.from_iptables_options import BASE_CHAINS, NOT_TESTED, Complaint
from ruleaudit.model.from_iptables_places import misplaced
from ruleaudit.model.from_iptables_rule import Reading, RuleReader, specification
from ruleaudit.model.ruleset import IPTABLES_HOOKS, Accept, Chain, Drop, Goto, Jump, Rule, Ruleset, Table
from ruleaudit.source import Span
from ruleaudit.syntax.iptables import ChainLine, CommandLine, Document, RuleLine, TableLine
from ruleaudit.syntax.refusal import did_you_mean
from ruleaudit.syntax.shapes import words

if TYPE_CHECKING:
    from ruleaudit.model.ipset import IpSet

_TO_CHAIN = (Jump, Goto)
_VERDICTS = ("ACCEPT", "DROP", "RETURN", "QUEUE")
_TABLE_OPTION = re.compile(r"[ \t]*(?:-t|--table)[ \t]+(?P<table>\S+)[ \t]+")
_WRITTEN_SET = re.compile(r"--(?:add|del)-set[ \t]+(\S+)")
_BLANKS = re.compile(r"[ \t]+")


@dataclass(frozen=True, slots=True)
class Lowered:
    """The model of a file, and what was found wrong or not understood on the way."""

    ruleset: Ruleset
    findings: tuple[Finding, ...]


_ACCEPT = Accept()


@dataclass(slots=True)
class _ChainInProgress:
    name: str
    policy: Accept | Drop = _ACCEPT
    line: ChainLine | None = None
    span: Span | None = None
    rules: list[Rule] = field(default_factory=list)


@dataclass(slots=True)
class _TableInProgress:
    name: str
    span: Span
    chains: dict[str, _ChainInProgress]


def lower(document: Document, family: Family, sets: "Mapping[str, IpSet]" = MappingProxyType({})) -> Lowered:
    """The model of a document for one family; `sets` are the ipsets whose contents are known."""
    return _Lowering(document, family, sets).lower()


class _Lowering:
    """The state of carrying out a file, line by line."""

    def __init__(self, document: Document, family: Family, sets: "Mapping[str, IpSet]") -> None:
        self.document = document
        self.source = document.source
        self.family = family
        # what the rules themselves put into a set, or take out, cannot be known
        written = set(_WRITTEN_SET.findall(self.source.text))
        self.reader = RuleReader(family, _unwritten(sets, written))
        self.findings: list[Finding] = []
        self.tables: dict[str, _TableInProgress] = {}
        self.table: _TableInProgress | None = None
        self.partial = False
        self.after_rule = True  #: of a listing: the next -P begins a table

    def lower(self) -> Lowered:
        number = 0
        for problem in self.document.problems:
            self._error(problem.message, problem.span, problem.hint, problem.refused)
        for number, line in enumerate(self.document.lines, 1):
            if type(line) is RuleLine:
                self._rule(line, number)
            elif isinstance(line, TableLine):
                self._begin_table(line)
            elif isinstance(line, ChainLine):
                self._chain(line)
            elif isinstance(line, CommandLine):
                self._command(line)
        for table in self.tables.values():
            for message, span in misplaced(table.name, {n: c.rules for n, c in table.chains.items()}):
                self._error(message, span, NOT_TESTED)
        tables = {t.name: self._finished(t) for t in self.tables.values()}
        partial = self.partial or "filter" not in tables or self._calls_a_chain_elsewhere(tables)
        self.findings.sort(key=lambda f: (f.span.start, f.span.end))
        known = tuple(sorted(self.reader.meanings.known_sets))
        ruleset = Ruleset(self.source, "iptables-save", self.family, tables, partial, known_sets=known)
        return Lowered(ruleset, tuple(self.findings))

    def _calls_a_chain_elsewhere(self, tables: dict[str, Table]) -> bool:
        return any(
            isinstance(rule.verdict, _TO_CHAIN) and rule.verdict.chain not in table.chains
            for table in tables.values()
            for chain in table.chains.values()
            for rule in chain.rules
        )

    # -- findings

    def _error(self, message: str, span: Span, hint: str = "", refused: bool = True) -> None:
        severity = Severity.ERROR if refused else Severity.WARNING
        self.findings.append(Finding("RA001", "syntax", severity, message, span, hint))

    def _complain(self, complaint: Complaint, base: int) -> None:
        span = Span(base + complaint.place[0], base + complaint.place[1])
        if complaint.refused:
            self._error(complaint.message, span, complaint.hint)
        else:
            self.findings.append(
                Finding("RA002", "not-understood", Severity.WARNING, complaint.message, span, complaint.hint)
            )

    # -- structure

    def _begin_table(self, line: TableLine) -> None:
        name = line.name
        place = Span(line.span.start + 1, line.span.start + 1 + len(name))
        if name not in IPTABLES_HOOKS:
            self._error(f'unknown table "{name}"', place, did_you_mean(name, IPTABLES_HOOKS))
            self.table = _TableInProgress(name, line.span, {})
            return
        known = self.tables.get(name)
        if known is not None and any(chain.rules for chain in known.chains.values()):
            earlier = self.source.position(known.span.start).line
            message = f"table {name} was there before (line {earlier}): iptables-restore keeps this one only"
            self._error(message, place, refused=False)
        chains = {chain: _ChainInProgress(chain) for chain in IPTABLES_HOOKS[name]}
        self.table = self.tables[name] = _TableInProgress(name, line.span, chains)

    def _chain(self, line: ChainLine) -> None:
        table = self.table
        if table is None:
            return
        at = self.source.text.index(line.name, line.span.start + 1)
        place = Span(at, at + len(line.name))
        base = line.name in IPTABLES_HOOKS.get(table.name, {})
        chain = table.chains.setdefault(line.name, _ChainInProgress(line.name))
        if not base:
            self._check_name(line.name, chain.line, place)
        chain.rules.clear()
        chain.line, chain.span = line, line.span
        if not line.policy:
            return
        policy_at = self.source.text.index(line.policy, place.end)
        policy_place = Span(policy_at, policy_at + len(line.policy))
        if line.policy == "ACCEPT":
            chain.policy = Accept()
        elif line.policy == "DROP":
            chain.policy = Drop()
        elif line.policy != "-":
            self._error(f'unknown policy "{line.policy}"', policy_place, did_you_mean(line.policy, ("ACCEPT", "DROP")))
        if not base:
            chain.policy = Accept()
            if line.name in BASE_CHAINS and table.name in IPTABLES_HOOKS:
                chains = ", ".join(IPTABLES_HOOKS[table.name])
                message = f"table {table.name} has no chain {line.name}: it has {chains}; nothing would be sent here"
                self._error(message, place, refused=False)
            elif line.policy in ("ACCEPT", "DROP"):
                message = f"chain {line.name} is no base chain: it has no policy (-); iptables-legacy refuses it"
                self._error(message, policy_place, refused=False)

    def _check_name(self, name: str, earlier: ChainLine | None, place: Span) -> None:
        """What a user chain may be called."""
        if earlier is not None:
            line = self.source.position(earlier.span.start).line
            message = f"chain {name} is there twice (line {line}): iptables-legacy refuses the table"
            self._error(message, place, refused=False)
        elif len(name.encode("utf-8", "surrogateescape")) > 28:
            self._error(f'chain name "{name}" is too long: at most 28 bytes', place)
        elif name in _VERDICTS or name[0] in "-!":
            self._error(f'a chain cannot be called "{name}"', place)

    def _command(self, line: CommandLine) -> None:
        if self.document.listing:
            self._listed_command(line)
        table = self.table
        arguments = line.arguments
        text = self.source.slice(line.span).rstrip("\r\n")
        whole = Span(line.span.start, line.span.start + len(text))
        self.partial = self.partial or line.command in ("-F", "-X", "-E", "-Z")
        if table is None:
            return
        name = arguments[0] if arguments else None
        chain = table.chains.get(name) if name else None
        match line.command:
            case "-N" if name:
                if chain is not None:
                    self._error(f"chain {name} exists already", whole)
                table.chains.setdefault(name, _ChainInProgress(name, span=line.span))
            case "-P" if (
                len(arguments) == 2
                and name in IPTABLES_HOOKS.get(table.name, {})
                and chain is not None
                and (arguments[1] in ("ACCEPT", "DROP"))
            ):
                chain.policy = Accept() if arguments[1] == "ACCEPT" else Drop()
            case "-P":
                self._error("-P needs a base chain and ACCEPT or DROP", whole)
            case "-F":
                for flushed in [chain] if chain is not None else table.chains.values() if name is None else []:
                    flushed.rules.clear()
            case "-X" if name and chain is None:
                self._error(f"there is no chain {name} here, unless it is loaded with --noflush", whole, refused=False)
            case "-X" if name and any(_leads_to(name, r) for c in table.chains.values() for r in c.rules):
                self._error(f"chain {name} cannot be deleted: rules jump to it", whole)
            case "-X":
                base = IPTABLES_HOOKS.get(table.name, {})
                for old in [name] if name else [c for c in table.chains if c not in base]:
                    table.chains.pop(old, None)
            case "-E" if len(arguments) == 2 and chain is not None:
                table.chains = {(arguments[1] if n == name else n): c for n, c in table.chains.items()}
                chain.name = arguments[1]
            case "-Z":
                pass
            case "-L" | "-S":
                self._error(f"{line.command} prints rules: it changes nothing here", whole, refused=False)
            case _:
                self._error(f"{line.command} cannot be carried out here", whole)

    # -- what iptables -S prints: commands without tables

    def _listed_command(self, line: CommandLine) -> None:
        """Each table begins with the policies of its base chains, which say which one it is."""
        if line.table:
            self._listed_table(line.table, line.span)
        elif self.table is None or (line.command == "-P" and self.after_rule):
            self._listed_table(self._table_with_policies(line), line.span)
        self.after_rule = line.command != "-P"

    def _table_with_policies(self, first: CommandLine) -> str:
        chains: list[str] = []
        for line in self.document.lines[self.document.lines.index(first) :]:
            if isinstance(line, RuleLine) or (isinstance(line, CommandLine) and (line.command != "-P" or line.table)):
                break
            if isinstance(line, CommandLine):
                chains += line.arguments[:1]
        order = ("filter", "nat", "mangle", "raw")
        return next((t for t in order if set(chains) == set(IPTABLES_HOOKS[t])), None) or next(
            (t for t in order if set(chains) <= set(IPTABLES_HOOKS[t])), "filter"
        )

    def _listed_table(self, name: str, span: Span) -> None:
        if name in self.tables:
            self.table = self.tables[name]
        else:
            self._begin_table(TableLine(Span(span.start, span.start), name))

    def _listed_rule(self, text: str, span: Span) -> str:
        """The rule without its -t, in place."""
        self.after_rule = True
        found = _TABLE_OPTION.match(text)
        if self.table is None or found:
            self._listed_table(found["table"] if found else "filter", span)
        return " " * found.end() + text[found.end() :] if found else text

    # -- rules

    def _rule(self, line: RuleLine, number: int) -> None:
        text = self._listed_rule(line.text, line.span) if self.document.listing else line.text
        table = self.table
        name = table.name if table is not None else "filter"
        base = line.start + line.body if line.body else line.start
        read = self.reader.read(name, text)
        for complaint in read.complaints:
            self._complain(complaint, base)
        if table is None or read.skipped:
            return
        chain = table.chains.get(line.chain)
        if chain is None:
            self._missing_chain(table, line)
            chain = table.chains.setdefault(line.chain, _ChainInProgress(line.chain))
        rule = _rule(line, number, name, read, base, text)
        if isinstance(rule.verdict, _TO_CHAIN) and rule.verdict.chain in IPTABLES_HOOKS.get(name, {}):
            at_name = self.source.text.rindex(rule.verdict.chain, rule.span.start, rule.span.end)
            place = Span(at_name, at_name + len(rule.verdict.chain))
            self._error(f"{rule.verdict.chain} is a base chain: no rule can jump to it", place)
        rules = chain.rules
        at = read.position
        match line.command:
            case "-A":
                rules.append(rule)
            case "-I":
                if at is not None and at > len(rules) + 1:
                    self._no_such_rule(line, at, len(rules))
                rules.insert(max((at or 1) - 1, 0), rule)
            case "-R" if at is not None and 0 < at <= len(rules):
                rules[at - 1] = rule
            case "-D" if at is not None and 0 < at <= len(rules):
                del rules[at - 1]
            case "-D" if at is None:
                wanted = specification(text)
                same = next((i for i, r in enumerate(rules) if specification(r.text) == wanted), None)
                if same is not None:
                    del rules[same]
                else:
                    self.partial = True
                    message = f"chain {line.chain} has no such rule here, unless it is loaded with --noflush"
                    self._error(message, line.text_span, refused=False)
            case "-D" | "-R":
                self._no_such_rule(line, at or 0, len(rules))
            case _:
                pass

    def _no_such_rule(self, line: RuleLine, position: int, size: int) -> None:
        """A fragment for --noflush may mean the rules that are there already."""
        self.partial = True
        message = f"chain {line.chain} has {size} rules here: no rule {position}, unless it is loaded with --noflush"
        self._error(message, line.text_span, refused=False)

    def _missing_chain(self, table: _TableInProgress, line: RuleLine) -> None:
        at = base = line.span.start + line.body
        found = self.source.text.find(line.chain, base + 2)
        if found >= 0:
            at = found
        place = Span(at, at + len(line.chain))
        if table.name not in IPTABLES_HOOKS:
            return
        if line.chain in BASE_CHAINS:
            chains = ", ".join(IPTABLES_HOOKS[table.name])
            self._error(f"table {table.name} has no chain {line.chain}: it has {chains}", place)
            return
        self.partial = True
        self._error(
            f'chain "{line.chain}" does not exist in table {table.name}', place, did_you_mean(line.chain, table.chains)
        )

    def _finished(self, table: _TableInProgress) -> Table:
        hooks = IPTABLES_HOOKS.get(table.name, {})
        chains: dict[str, Chain] = {}
        for chain in table.chains.values():
            hook: Hook | None = None
            priority = 0
            if chain.name in hooks:
                hook, priority = hooks[chain.name]
            rules = tuple(chain.rules)
            line = self.source.position(chain.span.start).line if chain.span else None
            nat = table.name == "nat" and hook is not None
            chains[chain.name] = Chain(
                chain.name, table.name, rules, hook, priority, chain.policy, nat, chain.span, line
            )
        return Table(table.name, chains, table.span)


def _rule(line: RuleLine, number: int, table: str, read: Reading, base: int, text: str) -> Rule:
    stripped = text.strip(" \t")
    normal = stripped if "  " not in stripped and "\t" not in stripped else _collapsed(stripped)
    start = base if stripped is text else base + text.index(stripped)
    span = Span(start, start + len(stripped))
    return Rule(
        line.chain, table, number, span, normal, read.matches, read.effects, read.verdict, read.consumers,
        read.understood,
    )  # fmt: skip


def _leads_to(chain: str, rule: Rule) -> bool:
    return isinstance(rule.verdict, _TO_CHAIN) and rule.verdict.chain == chain


def _unwritten(sets: "Mapping[str, IpSet]", written: set[str]) -> "Mapping[str, IpSet]":
    """The sets that no rule writes to, nor to a member of them."""
    return {n: s for n, s in sets.items() if not written.intersection((n, *s.members))}


def _collapsed(text: str) -> str:
    """Blanks outside of quotes as one space."""
    if '"' not in text:
        return _BLANKS.sub(" ", text)
    return " ".join(words(text).text)
