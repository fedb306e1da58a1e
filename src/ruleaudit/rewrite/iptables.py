"""Edits of an iptables-save file: the smallest text, in the author's own style (design section 6, point 7)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ruleaudit.model.fields import Family
from ruleaudit.model.ruleset import Rule
from ruleaudit.results.suggestion import Change
from ruleaudit.rewrite.bundle import Group
from ruleaudit.rewrite.flows import Candidate
from ruleaudit.source import Edit, Span
from ruleaudit.syntax.iptables import Document, RuleLine

_STATE_OPTIONS = ("--ctstate", "--state")
_COMING, _GOING = ("PREROUTING", "! -i lo"), ("OUTPUT", "! -o lo")
#: the raw chains of both directions of a flow, and what narrows each to this host's own addresses (or to others')
_WAYS = {
    "in": ((*_COMING, "--dst-type LOCAL"), (*_GOING, "--src-type LOCAL")),
    "out": ((*_GOING, "--src-type LOCAL"), (*_COMING, "--dst-type LOCAL")),
    "forward": ((*_COMING, "! --dst-type LOCAL"), (*_COMING, "! --dst-type LOCAL")),
}


@dataclass
class Editor:
    """Collects the changes to one file; each insertion keeps its order at its place."""

    document: Document
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.end = self.document.newline
        rules = [line for line in self.document.lines if isinstance(line, RuleLine)]
        words = {word for line in rules for word in line.text.split()}
        self.counters = bool(rules) and rules[0].counters is not None and all(line.body for line in rules)
        self.old_state = "--state" in words and "--ctstate" not in words
        self.notrack = "NOTRACK" if "NOTRACK" in words and "CT" not in words else "CT --notrack"
        self._extended: set[int] = set()

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

    def accept_untracked(
        self, place: Rule, flows: Sequence[Candidate], topic: str, reason: str, *, reply: bool, not_syn: bool
    ) -> None:
        """Before a rule, accept what is untracked of some flows, or of their replies; of TCP, without the openings."""
        state = "-m state --state UNTRACKED" if self.old_state else "-m conntrack --ctstate UNTRACKED"
        for text in _matches(flows, reply=reply, flags="! --syn" if not_syn else ""):
            self._before(place, f"{text} {state} -j ACCEPT", topic, reason)

    def accept_resets(self, place: Rule, flows: Sequence[Candidate], topic: str, reason: str) -> None:
        """Before a rule, accept the resets that this host answers with."""
        for text in _matches(flows, reply=flows[0].kind.name != "out", flags="--tcp-flags RST RST"):
            self._before(place, f"{text} -j ACCEPT", topic, reason)

    def accept_errors(self, place: Rule, family: Family, kind: int, code: int | None, topic: str, reason: str) -> None:
        """Before a rule, accept an ICMP type of this family."""
        what = str(kind) if code is None else f"{kind}/{code}"
        match = (
            f"-p icmp -m icmp --icmp-type {what}"
            if family is Family.IPV4
            else f"-p ipv6-icmp -m icmp6 --icmpv6-type {what}"
        )
        self._before(place, f"{match} -j ACCEPT", topic, reason)

    def _before(self, rule: Rule, text: str, topic: str, reason: str) -> None:
        line = self._line(rule)
        self._insert(line.span.start if line else rule.span.start, rule.chain, text, topic, reason)

    def leave_untracked(self, groups: Sequence[Group], topic: str, reason: str) -> None:
        """Put the notrack rules of both directions first into raw; a missing raw table is added behind the last one."""
        rules = [rule for group in groups for rule in self._notracks(group)]
        section = next((t for t in self.document.sections if t.table.name == "raw"), None)
        if section is None:
            # tables are committed one by one: the accepts come first, then what makes them necessary
            commits = [t.commit for t in self.document.sections if t.commit is not None]
            at = commits[-1].span.end
            zero = "[0:0] " if self.counters else ""
            lines = ["*raw", ":PREROUTING ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]"]
            lines += [f"{zero}-A {chain} {text}" for chain, text in rules]
            block = "".join(line + self.end for line in (*lines, "COMMIT"))
            if not self.document.source.text[:at].endswith("\n"):
                block = self.end + block.removesuffix(self.end)  # the file ends without a line break, and goes on to
            self.changes.append(Change(Edit(Span(at, at), block), topic, reason))
            return
        for chain, text in rules:
            first = next((line for line in section.rules if line.chain == chain), None)
            last = section.chains[-1] if section.chains else section.table
            at = first.span.start if first else section.rules[0].span.start if section.rules else last.span.end
            self._insert(at, chain, text, topic, reason)

    def _notracks(self, group: Group) -> list[tuple[str, str]]:
        """The chains of table raw, and the rule for each."""
        (chain, side, own), (chain_back, side_back, own_back) = _WAYS[group.direction]
        unicast = ["--dst-type UNICAST"] if group.unicast else []
        there = _matches(group.flows, types=[own] if group.local else [])
        back = _matches(group.flows, reply=True, types=[*([own_back] if group.local else []), *unicast])
        return [
            *((chain, f"{side} {text} -j {self.notrack}") for text in there),
            *((chain_back, f"{side_back} {text} -j {self.notrack}") for text in back),
        ]

    def _insert(self, at: int, chain: str, text: str, topic: str, reason: str) -> None:
        zero = "[0:0] " if self.counters else ""
        new = f"{zero}-A {chain} {text}{self.end}"
        if any(c.edit == Edit(Span(at, at), new) for c in self.changes):
            return
        self.changes.append(Change(Edit(Span(at, at), new), topic, reason))

    def _line(self, rule: Rule) -> RuleLine | None:
        return self.document.rule_line_at(rule.span.start)


def _matches(
    flows: Sequence[Candidate], *, reply: bool = False, types: Sequence[str] = (), flags: str = ""
) -> list[str]:
    """The match words for flows that differ in their ports only; several rules when multiport is full, and for
    several hosts.
    """
    if not flows:
        return []
    protocol = flows[0].protocol
    sides = flows[0].narrowed.texts(reply=reply)
    plain = [w for w in sides if not w.startswith("-m")]
    extra = [w for w in sides if w.startswith("-m")]
    if types:
        extra.append(" ".join(["-m addrtype", *types]))
    side, other = ("s", "d") if reply else ("d", "s")
    narrowed = flows[0].narrowed
    more = [f"--{other}port {narrowed.clients[0]}:{narrowed.clients[1]}"] if narrowed.clients else []
    more += [flags] if flags and protocol == "tcp" else []
    hosts = [[f"-{side} {host}"] for host in narrowed.hosts] or [[]]
    out: list[str] = []
    for ports in _port_groups(sorted({p for f in flows for p in f.ports})):
        texts = [str(low) if low == high else f"{low}:{high}" for low, high in ports]
        if len(texts) == 1:
            match = [f"-m {protocol} --{side}port {texts[0]}", *more]
        else:
            match = [f"-m multiport --{side}ports {','.join(texts)}", *([f"-m {protocol}", *more] if more else [])]
        out += [" ".join([*host, *plain, f"-p {protocol}", *extra, *match]) for host in hosts]
    return out


def _port_groups(ports: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Ports by at most 15 places, a range counting two (iptables-extensions(8), multiport)."""
    groups: list[list[tuple[int, int]]] = [[]]
    room = 15
    for low, high in ports:
        need = 1 if low == high else 2
        if need > room:
            groups.append([])
            room = 15
        groups[-1].append((low, high))
        room -= need
    return groups
