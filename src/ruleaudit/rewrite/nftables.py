"""Edits of an nft ruleset: the smallest text, in the author's own style and place (design section 6, point 7).

Notrack rules go first into chains of raw priority that are there, else into two new chains of the table whose rule
accepts the flow. A state test learns `untracked`, a verdict map on the state gets an element of its own for it.
Edits of included files are edits like all others here; `written_out` makes one text of them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ruleaudit.model.condition import Values
from ruleaudit.model.fields import Family, Field
from ruleaudit.model.ruleset import Rule
from ruleaudit.results.suggestion import Change
from ruleaudit.rewrite.bundle import Group
from ruleaudit.rewrite.flows import Candidate, port_texts
from ruleaudit.rewrite.narrowing import address_text
from ruleaudit.source import Edit, Span
from ruleaudit.syntax.nft_tree import (
    Braces,
    Chain,
    Concat,
    Element,
    Match,
    NftDocument,
    Selector,
    SetName,
    Several,
    Table,
    Value,
    Verdict,
    VerdictMap,
    Word,
)
from ruleaudit.syntax.nft_tree import Rule as Written

#: where notrack works: behind defragmentation, before conntrack (facts section 9)
_RAW = range(-399, -200)
#: the hooks of both directions of a flow, and what narrows each to this host's own addresses (or to others')
_WAYS = {
    "in": (("prerouting", "fib daddr type local"), ("output", "fib saddr type local")),
    "out": (("output", "fib saddr type local"), ("prerouting", "fib daddr type local")),
    "forward": (("prerouting", "fib daddr type != local"), ("prerouting", "fib daddr type != local")),
}
SYN = "tcp flags & (fin | syn | rst | ack) == syn"
NOT_SYN = "tcp flags & (fin | syn | rst | ack) != syn"
_ERRORS = {
    Family.IPV4: {3: "destination-unreachable", 11: "time-exceeded", 12: "parameter-problem"},
    Family.IPV6: {1: "destination-unreachable", 2: "packet-too-big", 3: "time-exceeded", 4: "parameter-problem"},
}


@dataclass
class Editor:
    """Collects the changes to one text.

    separate    notrack rules go into a table of their own, whatever chains there are
    """

    document: NftDocument
    separate: bool = False
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        text = "\n".join(part.text for part, _ in self.document.source.parts())
        self.text = text
        self.end = "\r\n" if "\r\n" in text else "\n"
        self.named = "iifname" in text or "oifname" in text
        self.raw = "-300" if re.search(r"priority\s+-?\d", text) else "raw"
        self._extended: set[int] = set()
        self._errors: dict[tuple[int, Family], tuple[int, set[int]]] = {}
        self._rules = {
            rule.span: (table, chain, rule)
            for table in self.document.tables
            for chain in table.chains.values()
            for rule in chain.rules
        }

    # -- state tests -----------------------------------------------------------------------------

    def untracked_too(self, rule: Rule, topic: str, reason: str) -> bool:
        """Let a test of the state hold for untracked packets too; False when the rule has none that can."""
        found = self._rules.get(rule.span)
        for statement in found[2].statements if found else ():
            match statement:
                case Match(left, operator, right) if _is_state(left) and operator in ("", "=="):
                    return self._state_too(left, operator, right, topic, reason)
                case VerdictMap(key, given) if any(_is_state(k) for k in _parts(key)):
                    return self._element_too(found[0] if found else None, rule, key, given, topic, reason)
        return False

    def _state_too(self, left: Value, operator: str, right: Value, topic: str, reason: str) -> bool:
        if right.span.start in self._extended or "untracked" in _names(right):
            return True
        slice_ = self.document.source.slice
        match right:
            case Braces(elements) if elements and slice_(right.span).startswith("{"):
                at, text = elements[-1].span.end, ", untracked"
            case Word() | Several() if not slice_(right.span).startswith("$"):
                if operator == "==":
                    whole = Span(left.span.end, right.span.end)
                    self._extended.add(right.span.start)
                    self._change(whole, f" {{ {slice_(right.span)}, untracked }}", topic, reason)
                    return True
                spaced = isinstance(right, Several) and ", " in slice_(right.span)
                at, text = right.span.end, ", untracked" if spaced else ",untracked"
            case _:
                return False
        self._extended.add(right.span.start)
        self._change(Span(at, at), text, topic, reason)
        return True

    def _element_too(self, table: Table | None, rule: Rule, key: Value, given: Value, topic: str, reason: str) -> bool:
        """An element for untracked packets beside that of a rule for new ones, with its verdict."""
        elements: Sequence[Element] = given.elements if isinstance(given, Braces) else ()
        if isinstance(given, SetName) and table is not None and given.name in table.sets:
            elements = table.sets[given.name].elements
        place = next((n for n, part in enumerate(_parts(key)) if _is_state(part)), 0)
        own = {rule.place_of(match) for match in rule.matches}
        for element in elements:
            mine = _parts(element.key)[place]
            if not (isinstance(mine, Word) and mine.text == "new" and isinstance(element.data, Verdict)):
                continue
            if element.span.start in self._extended or element.span not in own:
                continue
            self._extended.add(element.span.start)
            text = self.document.source.slice(element.span)
            start = mine.span.start - element.span.start
            twin = text[:start] + "untracked" + text[mine.span.end - element.span.start :]
            line = self._line_up_to(element.span.start)
            separator = " " if line.strip() else f"{self.end}{line}"
            self._change(Span(element.span.end, element.span.end), f",{separator}{twin}", topic, reason)
        return any(e.span.start in self._extended for e in elements)

    def syn_only(self, rule: Rule, topic: str, reason: str) -> bool:
        """Let a TCP rule match opening packets only: before whatever counts them."""
        counting = next((m for m in rule.matches if m.memory), None)
        if counting is None:
            return False
        at = rule.place_of(counting).start
        self._change(Span(at, at), f"{SYN} ", topic, reason)
        return True

    # -- accepts ---------------------------------------------------------------------------------

    def accept_untracked(
        self, place: Rule, flows: Sequence[Candidate], topic: str, reason: str, *, reply: bool, not_syn: bool
    ) -> None:
        """Before a rule, accept what is untracked of some flows, or of their replies; of TCP, without the openings."""
        for text in _matches(flows, reply=reply, flags=NOT_SYN if not_syn else ""):
            self._before(place, f"{text} ct state untracked accept", topic, reason)

    def accept_resets(self, place: Rule, flows: Sequence[Candidate], topic: str, reason: str) -> None:
        """Before a rule, accept the resets that this host answers with."""
        for text in _matches(flows, reply=flows[0].kind.name != "out", flags="tcp flags & rst == rst"):
            self._before(place, f"{text} accept", topic, reason)

    def accept_errors(self, place: Rule, family: Family, kind: int, code: int | None, topic: str, reason: str) -> None:
        """Before a rule, accept an ICMP type; types without codes are one rule."""
        header = "icmp" if family is Family.IPV4 else "icmpv6"
        if code is not None:
            self._before(place, f"{header} type {kind} {header} code {code} accept", topic, reason)
            return
        index, kinds = self._errors.setdefault((place.span.start, family), (len(self.changes), set()))
        kinds.add(kind)
        del self.changes[index : index + 1]
        topic = f"{header} {', '.join(map(str, sorted(kinds)))}"
        self._before(place, f"{header} type {self._types(family, kinds)} accept", topic, reason)
        self.changes.insert(index, self.changes.pop())

    def _types(self, family: Family, kinds: set[int]) -> str:
        names = [_ERRORS[family].get(kind, str(kind)) for kind in sorted(kinds)]
        return names[0] if len(names) == 1 else f"{{ {', '.join(names)} }}"

    # -- notrack ---------------------------------------------------------------------------------

    def leave_untracked(self, groups: Sequence[Group], topic: str, reason: str) -> None:
        """Put the notrack rules of both directions first into chains of raw priority."""
        for family in dict.fromkeys(self._family_of(b.flow) for group in groups for b in group.bundles):
            wanted: dict[str, list[str]] = {"prerouting": [], "output": []}
            for group in groups:
                mine = [b.flow for b in group.bundles if self._family_of(b.flow) == family]
                for hook, text in self._notracks(group, mine) if mine else ():
                    wanted[hook].append(text)
            self._in_family(family, {hook: texts for hook, texts in wanted.items() if texts}, topic, reason)

    def _family_of(self, flow: Candidate) -> str:
        """The family of the table whose rule accepts a flow; where a policy does, of one that filters its packets."""
        if flow.rule is not None:
            return flow.rule.table.split()[0]
        spoken = {table.family for table in self.document.tables} & {"ip", "ip6", "inet"}
        if len(spoken) < 2 and "inet" not in spoken:
            # of the other family nothing is said, and nothing proved
            return spoken.pop() if spoken else "ip"
        hosts = flow.narrowed.hosts
        own = "ip" if hosts and hosts[0].version == 4 else "ip6"
        return own if hosts and not self._table_of("inet") and self._table_of(own) else "inet"

    def _in_family(self, family: str, wanted: dict[str, list[str]], topic: str, reason: str) -> None:
        missing: dict[str, list[str]] = {}
        for hook, texts in wanted.items():
            chain = None if self.separate else self._raw_chain(family, hook)
            if chain is None:
                missing[hook] = texts
            else:
                self._first_in(chain, texts, topic, reason)
        if missing:
            self._new_chains(family, missing, topic, reason)

    def _raw_chain(self, family: str, hook: str) -> tuple[Table, Chain] | None:
        """A chain that is there already, at a priority where notrack works, for all packets of the family."""
        for table in self.document.tables:
            if table.family not in (family, "inet") or table.dormant:
                continue
            for chain in table.chains.values():
                if chain.hook == hook and chain.priority in _RAW and chain.kind != "nat":
                    return table, chain
        return None

    def _first_in(self, found: tuple[Table, Chain], texts: Sequence[str], topic: str, reason: str) -> None:
        table, chain = found
        inside = [r for r in chain.rules if not r.command]
        if inside:
            for text in texts:
                self._before_written(table, chain, inside[0], text, topic, reason)
        elif chain.body is not None:
            self._at_end(chain.body, texts, topic, reason)
        else:
            for text in reversed(texts):
                self._append(f"insert rule {table.family} {table.name} {chain.name} {text}", topic, reason)

    def _new_chains(self, family: str, wanted: dict[str, list[str]], topic: str, reason: str) -> None:
        """Two chains in the table of the flow, or in a table of their own."""
        table = self._table_of(family)
        if self.separate or table is None:
            name = unused("no_tracking", {t.name for t in self.document.tables if t.family == family})
            chains = [self._chain(hook, hook, texts) for hook, texts in wanted.items()]
            self._append(self._written_table(family, name, chains), topic, reason)
            return
        if table.body is not None and self.document.source.number_at(table.body.start):
            # only included files write it out, and this file may add to it as well
            chains = [
                self._chain(unused(f"raw_{hook}", {*table.chains}), hook, texts) for hook, texts in wanted.items()
            ]
            self._append(self._written_table(family, table.name, chains), topic, reason)
            return
        for hook, texts in wanted.items():
            name = unused(f"raw_{hook}", {*table.chains})
            if table.body is None:
                declared = f"{{ type filter hook {hook} priority {self.raw}; policy accept; }}"
                self._append(f"add chain {family} {table.name} {name} {declared}", topic, reason)
                for text in texts:
                    self._append(f"add rule {family} {table.name} {name} {text}", topic, reason)
            else:
                lines = self._chain(name, hook, texts)
                self._at_end(table.body, ["", *lines], topic, reason)

    def _table_of(self, family: str) -> Table | None:
        """The table of a family that filters."""
        tables = [t for t in self.document.tables if t.family == family and not t.dormant]
        return next((t for t in tables if any(c.hook in ("input", "forward") for c in t.chains.values())), None)

    def _chain(self, name: str, hook: str, texts: Sequence[str]) -> list[str]:
        inside = [f"type filter hook {hook} priority {self.raw}; policy accept;", *texts]
        return [f"chain {name} {{", *(f"{self._indent}{line}" for line in inside), "}"]

    def _written_table(self, family: str, name: str, chains: Sequence[Sequence[str]]) -> str:
        inside = (f"{self._indent}{line}" for chain in chains for line in chain)
        return self.end.join([f"table {family} {name} {{", *inside, "}"])

    @property
    def _indent(self) -> str:
        """What a level of blocks is set in by."""
        found = re.search(r"^([ \t]+)(?:chain|set|map)\b", self.text, re.M)
        return found[1] if found else "    "

    def _notracks(self, group: Group, flows: Sequence[Candidate]) -> Iterator[tuple[str, str]]:
        """The hooks, and the rule for each."""
        not_lo = {"prerouting": "iif", "output": "oif"}
        (hook, own), (hook_back, own_back) = _WAYS[group.direction]
        unicast = ["fib daddr type unicast"] if group.unicast else []
        there = _matches(flows, types=[own] if group.local else [])
        back = _matches(flows, reply=True, types=[*([own_back] if group.local else []), *unicast])
        for at, texts in ((hook, there), (hook_back, back)):
            side = f'{not_lo[at]}{"name" if self.named else ""} != "lo"'
            yield from ((at, f"{side} {text} notrack") for text in texts)

    # -- text ------------------------------------------------------------------------------------

    def _before(self, rule: Rule, text: str, topic: str, reason: str) -> None:
        found = self._rules.get(rule.span)
        if found is not None:
            self._before_written(*found, text, topic, reason)

    def _before_written(self, table: Table, chain: Chain, rule: Written, text: str, topic: str, reason: str) -> None:
        at = rule.span.start
        line_start = self._line_start(at)
        before = self._line_up_to(at)
        head = before[before.rfind(";") + 1 :]
        if rule.command:
            self._before_command(table, chain, rule, head, text, topic, reason)
        elif before.strip():
            self._change(Span(at, at), f"{text}; ", topic, reason)
        else:
            above = self._above_comments(line_start)
            self._change(Span(above, above), f"{before}{text}{self.end}", topic, reason)

    def _before_command(
        self, table: Table, chain: Chain, rule: Written, head: str, text: str, topic: str, reason: str
    ) -> None:
        """A command of its own; a rule that is inserted ends up in front of what was inserted before."""
        at = rule.span.start - len(head)
        words = head.split()
        inserted = "insert" in words
        if {"index", "position", "handle"} & {*words} or not words:
            words = ["insert" if inserted else "add", "rule", table.family, table.name, chain.name]
        command = f"{' '.join(words)} {text}"
        line_start = self._line_start(at)
        if inserted:
            part, base = self.document.source.file_at(at)
            end = part.text.find("\n", rule.span.end - base)
            at = base + (len(part.text) if end < 0 else end + 1)
            self._change(Span(at, at), f"{command}{self.end}", topic, reason)
        elif at > line_start:
            self._change(Span(at, at), f" {command};", topic, reason)
        else:
            above = self._above_comments(line_start)
            indent = head[: len(head) - len(head.lstrip())]
            self._change(Span(above, above), f"{indent}{command}{self.end}", topic, reason)

    def _line_start(self, at: int) -> int:
        part, base = self.document.source.file_at(at)
        return base + part.text.rfind("\n", 0, at - base) + 1

    def _line_up_to(self, at: int) -> str:
        """The part of a line that stands before an offset in it."""
        part, base = self.document.source.file_at(at)
        return part.text[self._line_start(at) - base : at - base]

    def _above_comments(self, line_start: int) -> int:
        """The start of the comment lines that stand right above a line, and belong to it."""
        part, base = self.document.source.file_at(line_start)
        while line_start > base:
            previous = self._line_start(line_start - 1)
            line = part.text[previous - base : line_start - base].strip()
            if not line.startswith("#") or line.startswith("#!"):
                break
            line_start = previous
        return line_start

    def _at_end(self, body: Span, lines: Sequence[str], topic: str, reason: str) -> None:
        """Lines at the end of a block, one level deeper than its closing brace."""
        part, base = self.document.source.file_at(body.end)
        text = part.text
        line_start = self._line_start(body.end)
        closing = self._line_up_to(body.end)
        if closing.strip() or line_start <= body.start:
            # the block ends on the line that it begins on
            at = body.start + len(text[body.start - base : body.end - base].rstrip())
            joined = "".join(f" {line}" if line.endswith(("{", "}")) else f" {line};" for line in lines if line)
            separator = "" if text[body.start - base : at - base].strip()[-1:] in ("", ";", "}") else ";"
            end = " " if at == body.end else ""
            self._change(Span(at, at), f"{separator}{joined}{end}", topic, reason)
            return
        joined = "".join(f"{closing}{self._indent}{line}{self.end}" if line else self.end for line in lines)
        self._change(Span(line_start, line_start), joined, topic, reason)

    def _append(self, text: str, topic: str, reason: str) -> None:
        whole = self.document.source.text
        at = len(whole)
        begin = "" if whole.endswith("\n") else self.end
        self._change(Span(at, at), f"{begin}{text}{self.end}", topic, reason)

    def _change(self, span: Span, text: str, topic: str, reason: str) -> None:
        edit = Edit(span, text)
        if not any(c.edit == edit for c in self.changes):
            self.changes.append(Change(edit, topic, reason))


def unused(name: str, taken: set[str]) -> str:
    number, found = 2, name
    while found in taken:
        found, number = f"{name}{number}", number + 1
    return found


def _is_state(value: Value) -> bool:
    return isinstance(value, Selector) and value.text == "ct state"


def _parts(value: Value) -> tuple[Value, ...]:
    return value.parts if isinstance(value, Concat) else (value,)


def _names(value: Value) -> set[str]:
    match value:
        case Word(text):
            return {text}
        case Several(parts):
            return {name for part in parts for name in _names(part)}
        case Braces(elements):
            return {name for element in elements for name in _names(element.key)}
        case _:
            return set()


def _matches(
    flows: Sequence[Candidate], *, reply: bool = False, types: Sequence[str] = (), flags: str = ""
) -> list[str]:
    """The tests for flows that differ in their ports only: a set of the plain ones, and those that are named."""
    if not flows:
        return []
    protocol = flows[0].protocol
    sides = flows[0].narrowed.texts(reply=reply)
    narrowed = flows[0].narrowed
    side, other = ("s", "d") if reply else ("d", "s")
    hosts = [address_text(host) for host in narrowed.hosts]
    if hosts:
        family = "ip" if narrowed.hosts[0].version == 4 else "ip6"
        sides.insert(0, f"{family} {side}addr {_one_of(hosts)}")
    tests: list[str] = []
    plain: set[tuple[int, int]] = set()
    for flow in flows:
        named = _named_ports(flow)
        if named is None:
            plain.update(flow.ports)
        elif (text := _mirrored(named) if reply else named) not in tests:
            tests.append(text)
    if plain:
        tests.insert(0, f"{protocol} {side}port {_one_of(port_texts(sorted(plain)))}")
    more = [f"{protocol} {other}port {narrowed.clients[0]}-{narrowed.clients[1]}"] if narrowed.clients else []
    more += [flags] if flags and protocol == "tcp" else []
    return [" ".join([*sides, *types, test, *more]) for test in tests]


def _one_of(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{{ {', '.join(values)} }}"


def _named_ports(flow: Candidate) -> str | None:
    """The rule's own test of the port where it names a set or a define, and asks for nothing else."""
    for match in flow.rule.matches if flow.rule is not None else ():
        words = match.text.split()
        if len(words) >= 3 and words[:2] == [flow.protocol, "dport"] and ("@" in match.text or "$" in match.text):
            parts = match.condition.items if hasattr(match.condition, "items") else (match.condition,)
            if Values(Field.DPORT, flow.ports) in parts:
                return match.text
    return None


def _mirrored(text: str) -> str:
    return text.replace("dport", "sport", 1)
