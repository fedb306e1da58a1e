"""From the tree of an nft ruleset to the model: one ruleset for each address family that it speaks of.

Tables of family inet belong to both; netdev's and inet's ingress chains stand before everything else in prerouting, for
their devices. Tables of bridge and arp see no packet that this model follows, and are left out.
"""

import re
from dataclasses import dataclass, field

from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.model.condition import Interface, any_of
from ruleaudit.model.fields import Family, Field, Hook
from ruleaudit.model.from_nftables_conditions import Conditions, Contents
from ruleaudit.model.from_nftables_rule import RuleReader
from ruleaudit.model.ruleset import NOWHERE, Accept, Chain, Drop, Jump, Match, Rule, Ruleset, Table
from ruleaudit.source import Span
from ruleaudit.syntax import nft_tree as tree

_FAMILIES = {Family.IPV4: ("ip", "inet", "netdev"), Family.IPV6: ("ip6", "inet", "netdev")}
_HOOKS = {hook.value: hook for hook in Hook}
#: ingress comes before the first chain of prerouting, whatever its priority is
_INGRESS = -1_000_000_000
#: a text that is on one line, as it is
_ONE_BLANK = re.compile(r"(?:[!-\[\]-~]++ ?)++(?<! )\Z")
#: objects whose declaration alone makes the kernel track (facts section 2)
_TRACKING_OBJECTS = ("ct helper", "ct timeout", "ct expectation")


@dataclass(frozen=True, slots=True)
class Lowered:
    """The rulesets of a document, and what was found wrong or not understood on the way."""

    rulesets: tuple[Ruleset, ...]
    findings: tuple[Finding, ...]


def lower(document: tree.NftDocument) -> Lowered:
    """The model of a document."""
    findings = [
        Finding("RA001", "syntax", Severity.ERROR if p.refused else Severity.WARNING, p.message, p.span, p.hint)
        for p in document.problems
    ]
    families = [f for f in Family if _speaks_of(document, f)] or [Family.IPV4]
    rulesets = []
    unread: dict[tuple[int, str], Finding] = {}
    for family in families:
        lowering = _Lowering(document, family)
        rulesets.append(lowering.ruleset())
        for finding in lowering.findings:
            unread.setdefault((finding.span.start, finding.message), finding)
    # a mistake that was told is not told again as a test that is not understood
    told = [f.span.start for f in findings if f.severity is Severity.ERROR]
    opaque = [f for f in unread.values() if not any(f.span.start <= at < f.span.end for at in told)]
    found = sorted([*findings, *opaque], key=lambda f: (f.span.start, f.span.end))
    return Lowered(tuple(rulesets), tuple(found))


def _speaks_of(document: tree.NftDocument, family: Family) -> bool:
    return any(t.family == "inet" or t.family == family.value for t in document.tables)


@dataclass
class _Lowering:
    document: tree.NftDocument
    family: Family
    findings: list[Finding] = field(default_factory=list)

    def ruleset(self) -> Ruleset:
        tables = [t for t in self.document.tables if t.family in _FAMILIES[self.family]]
        made = {f"{t.family} {t.name}": self._table(t) for t in tables}
        tracks = tuple(o.span for t in tables if t.family != "netdev" for o in t.objects if o.kind in _TRACKING_OBJECTS)
        language = "nft-json" if self.document.json else "nft"
        partial = self.document.partial
        unread = dict.fromkeys(self.document.unread)
        why = "finds nothing here; what it brings in elsewhere was not looked at"
        notes = tuple(f'include "{pattern}" {why}' for pattern in unread)
        return Ruleset(self.document.source, language, self.family, made, partial, notes, tracks)

    def _table(self, table: tree.Table) -> Table:
        name = f"{table.family} {table.name}"
        written = {
            s.name
            for c in table.chains.values()
            for r in c.rules
            for s in r.statements
            if isinstance(s, tree.SetUpdate)
        }
        contents = Contents(name, table.sets, written)
        reader = RuleReader(self.family, Conditions(self.family, contents), self._text, table)
        chains: dict[str, Chain] = {}
        for chain in table.chains.values():
            rules = tuple(made for rule in chain.rules for made in self._rules(reader, name, chain.name, rule))
            hook = None if table.dormant else _HOOKS.get(chain.hook)
            policy = Drop() if chain.policy == "drop" else Accept()
            line = self.document.source.position(chain.span.start).line
            nat = chain.kind == "nat" and hook is not None
            chains[chain.name] = Chain(chain.name, name, rules, hook, chain.priority, policy, nat, chain.span, line)
            if chain.hook == "ingress" and not table.dormant:
                begun = _from_devices(chains[chain.name], chain.devices)
                chains[begun.name] = begun
        return Table(name, chains, table.span)

    def _text(self, rule: tree.Rule, span: Span) -> str:
        """As written, on one line; JSON says nothing in these words."""
        if self.document.json:
            return ""
        start, end = rule.span.start, rule.span.end
        if len(rule.text) == end - start and start <= span.start and span.end <= end:  # it is its text as it stands
            text = rule.text[span.start - start : span.end - start]
            if _ONE_BLANK.match(text):
                return text
        else:
            text = self.document.source.slice(span)
        return " ".join(text.replace("\\\n", " ").split())

    def _rules(self, reader: RuleReader, table: str, chain: str, rule: tree.Rule) -> list[Rule]:
        source = self.document.source
        place = source.position(rule.span.start)
        path = place.path if source.number_at(rule.span.start) else ""
        made = []
        for part in reader.parts(rule):
            understood = part.understood
            for match in part.matches:
                if not match.understood:
                    understood = False
                    self._not_understood(rule, match)
            # what the text does not say by itself: defines, the contents of sets, the part of a map
            variant = f"{part.label.strip()} {hash((rule.normal, tuple([m.condition for m in part.matches]))):x}"
            made.append(
                Rule(
                    chain, table, place.line, rule.span, rule.text, part.matches, part.effects, part.verdict,
                    part.consumers, understood, variant, path,
                )
            )  # fmt: skip
        return made

    def _not_understood(self, rule: tree.Rule, match: Match) -> None:
        message = match.reason or "this test is not understood"
        span = Span(rule.span.start + match.place[0], rule.span.start + match.place[1])
        self.findings.append(Finding("RA002", "not-understood", Severity.WARNING, message, span))


def _from_devices(chain: Chain, devices: tuple[str, ...]) -> Chain:
    """A base chain of prerouting that leads the packets of some devices into an ingress chain."""
    name = f"{chain.name} (ingress)"
    assert chain.span is not None and chain.line is not None
    of_them = any_of([Interface(Field.IIF, f"{d[:-1]}+" if d.endswith("*") else d) for d in devices])
    test = Match("", NOWHERE, of_them)

    def leading(verdict: Jump | Drop) -> Rule:
        text = f"iifname {{ {', '.join(devices)} }}"
        return Rule(name, chain.table, chain.line or 0, chain.span or rule_span, text, (test,), (), verdict)

    rule_span = chain.span
    rules = [leading(Jump(chain.name))]
    if isinstance(chain.policy, Drop):
        rules.append(leading(Drop()))
    priority = max(_INGRESS, _INGRESS + chain.priority)
    return Chain(name, chain.table, tuple(rules), Hook.PREROUTING, priority, span=chain.span, line=chain.line)
