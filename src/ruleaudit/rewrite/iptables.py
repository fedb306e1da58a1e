"""Edits of an iptables-save file: the smallest text, in the author's own style (design section 6, point 7)."""

from dataclasses import dataclass, field

from ruleaudit.model.fields import Family
from ruleaudit.model.ruleset import Rule
from ruleaudit.results import Change
from ruleaudit.source import Edit, Span
from ruleaudit.syntax.iptables import Document, RuleLine

_STATE_OPTIONS = ("--ctstate", "--state")


@dataclass
class Editor:
    """Collects the changes to one file; each insertion keeps its order at its place."""

    document: Document
    family: Family
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.end = self.document.newline
        rules = [line for line in self.document.lines if isinstance(line, RuleLine)]
        words = {word for line in rules for word in line.text.split()}
        self.counters = bool(rules) and rules[0].counters is not None and all(line.body for line in rules)
        self.old_state = "--state" in words and "--ctstate" not in words
        self.notrack = "NOTRACK" if "NOTRACK" in words and "CT" not in words else "CT --notrack"
        self._extended: set[int] = set()

    # -- words -------------------------------------------------------------------------------------

    def state(self, states: str) -> str:
        """A state test as this file writes it."""
        return f"-m state --state {states}" if self.old_state else f"-m conntrack --ctstate {states}"

    def icmp(self, kind: int, code: int | None = None) -> str:
        """A match on an ICMP type of this family."""
        what = str(kind) if code is None else f"{kind}/{code}"
        if self.family is Family.IPV4:
            return f"-p icmp -m icmp --icmp-type {what}"
        return f"-p ipv6-icmp -m icmp6 --icmpv6-type {what}"

    # -- changes -----------------------------------------------------------------------------------

    def untracked_too(self, rule: Rule, topic: str, reason: str) -> bool:
        """Add UNTRACKED to the states that a rule asks for; False when it has no state test that can take it."""
        line = self._line(rule)
        for option in line.options if line else ():
            if option.name in _STATE_OPTIONS and not option.negated and option.values:
                word = option.values[0]
                if "UNTRACKED" in word.value.upper().split(",") or word.span.start in self._extended:
                    return True
                self._extended.add(word.span.start)
                quoted = word.text[-1:] in "\"'" and len(word.text) > 1
                at = word.span.end - quoted
                self.changes.append(Change(Edit(Span(at, at), ",UNTRACKED"), topic, reason))
                return True
        return False

    def syn_only(self, rule: Rule, topic: str, reason: str) -> bool:
        """Let a TCP rule match opening packets only."""
        line = self._line(rule)
        for option in line.options if line else ():
            if option.name in ("-j", "--jump", "-g", "--goto"):
                at = option.span.start
                self.changes.append(Change(Edit(Span(at, at), "-m tcp --syn "), topic, reason))
                return True
        return False

    def before(self, rule: Rule, text: str, topic: str, reason: str) -> None:
        """Insert a rule before another one, in the same chain."""
        line = self._line(rule)
        self._insert(line.span.start if line else rule.span.start, rule.chain, text, topic, reason)

    def raw(self, rules: list[tuple[str, str]], topic: str, reason: str) -> None:
        """Put rules first into raw chains; a missing raw table is added behind the last table."""
        section = next((t for t in self.document.sections if t.table.name == "raw"), None)
        if section is None:
            # tables are committed one by one: the accepts come first, then what makes them necessary
            commits = [t.commit for t in self.document.sections if t.commit is not None]
            at = commits[-1].span.end
            zero = "[0:0] " if self.counters else ""
            lines = ["*raw", ":PREROUTING ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]"]
            lines += [f"{zero}-A {chain} {text}" for chain, text in rules]
            block = "".join(line + self.end for line in (*lines, "COMMIT"))
            self.changes.append(Change(Edit(Span(at, at), block), topic, reason))
            return
        for chain, text in rules:
            first = next((line for line in section.rules if line.chain == chain), None)
            last = section.chains[-1] if section.chains else section.table
            at = first.span.start if first else section.rules[0].span.start if section.rules else last.span.end
            self._insert(at, chain, text, topic, reason)

    def _insert(self, at: int, chain: str, text: str, topic: str, reason: str) -> None:
        zero = "[0:0] " if self.counters else ""
        new = f"{zero}-A {chain} {text}{self.end}"
        if any(c.edit == Edit(Span(at, at), new) for c in self.changes):
            return
        self.changes.append(Change(Edit(Span(at, at), new), topic, reason))

    def _line(self, rule: Rule) -> RuleLine | None:
        return self.document.rule_line_at(rule.span.start)
