"""What a suggestion says, for a page: the picture, the traffic, the change side by side, what is given up, who needs
tracking.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from ruleaudit.diagnostics import Witness
from ruleaudit.model.ruleset import Rule
from ruleaudit.report import live_text, packet_path, suggest_text
from ruleaudit.report.diff import Row, side_by_side
from ruleaudit.report.explain_text import answer
from ruleaudit.report.html_page import fill
from ruleaudit.report.style import PLAIN
from ruleaudit.report.wording import flow_words, lines, shortened
from ruleaudit.results import RuleClass, Tracking
from ruleaudit.results.suggestion import Flow, Suggestion
from ruleaudit.source import SourceFile

#: of a longer line the part that differs is shown
_LONGEST_LINE = 1000
_LONGEST_RULE = 300
#: of a ruleset that asks for conntrack in more rules, the first are listed
_MOST_RULES = 200


@dataclass(frozen=True)
class Traffic:
    """A class of traffic: the rule that lets it in, what becomes of it, and why."""

    words: str
    rule: str
    fate: str
    tone: str
    why: str
    witness: Witness | None = None
    more: str = ""


@dataclass(frozen=True)
class Side:
    """A line of one side: its number, and what all lines of the row share before and after the part that differs."""

    number: int | None
    first: str
    changed: str
    last: str


def tone(suggestion: Suggestion) -> str:
    """The colour of the answer."""
    if suggestion.outcome != "nothing-to-free":
        return "good"
    return "warning" if suggestion.offers else "bad"


def headline(suggestion: Suggestion) -> tuple[str, str]:
    """The answer: a word, and a sentence."""
    word, _, sentence = suggest_text.headline(suggestion).partition(": ")
    return f"{word}:", sentence


def picture(suggestion: Suggestion, name: str) -> Markup:
    """The way of packets before and after."""
    return present(packet_path.panels(suggestion), name)


def present(panels: tuple[packet_path.Panel, ...], name: str) -> Markup:
    """The picture, and the same in words."""
    drawn = packet_path.picture(panels, f"{name}-path")
    return fill("picture.html", picture=drawn, words=[panel.words for panel in panels])


def traffic(suggestion: Suggestion) -> Markup:
    """The table of traffic classes."""
    return fill("traffic.html", rows=list(_traffic(suggestion)))


def change(suggestion: Suggestion, observed: str = "") -> Markup:
    """The rewrite: what is proved, old and new side by side, why, what is given up, what is assumed."""
    if suggestion.text is None:
        texts = []
        if suggestion.outcome == "nothing-needs-tracking":
            judged = suggestion.tracking.judgements
            texts = [suggest_text.TAKE_OUT, suggest_text.FRAGMENTS] if judged else [suggest_text.OTHERS]
        return nothing(*texts, observed=observed)
    changed = suggest_text.changed_files(suggestion)
    return fill(
        "change.html",
        proved=suggest_text.proved(suggestion),
        observed=observed,
        apart=suggest_text.APART if suggest_text.is_apart(suggestion) else "",
        files=[(source.path, list(_groups(source, text))) for source, text in changed],
        reasons=[(what, why) for why, what in suggest_text.reasons(suggestion).items()],
        given=[(d.description, d.witness.packet, suggest_text.fates(d)) for d in suggest_text.given_up(suggestion)],
        kind=suggestion.kind.value if suggestion.kind else "unknown",
        strays=suggest_text.STRAYS if suggestion.strays else "",
        assumptions=[(key, _assumed(suggestion, key, text)) for key, text in suggestion.assumptions],
    )


def _assumed(suggestion: Suggestion, key: str, text: str) -> str:
    """An assumption, and what was found out about it."""
    known = (live_text.found_out(c, PLAIN) for c in suggestion.checked if c.assumption == key)
    return "; ".join((text, *known))


def nothing(*texts: str, observed: str = "") -> Markup:
    """In place of a rewrite: why there is none."""
    return fill("no_change.html", texts=texts, observed=observed)


def needing(tracking: Tracking) -> Markup:
    """Every rule that asks for connection tracking, and why it needs it, or does not."""
    rows = [
        (
            j.rule.where,
            shortened(j.rule.text, _LONGEST_RULE),
            j.kind.value,
            "plain" if j.kind is RuleClass.REQUIRED else "good",
            j.reason,
            lines(j.same_work) if j.same_work else "",
            j.connections[0] if j.connections else None,
        )
        for j in tracking.judgements[:_MOST_RULES]
    ]
    left = len(tracking.judgements) - len(rows)
    return fill("needing.html", answer=answer(tracking), rows=rows, left=left, path=tracking.ruleset.source.path)


def _traffic(suggestion: Suggestion) -> Iterator[Traffic]:
    for flow in suggestion.flows:
        yield Traffic(flow_words(flow), _rule(flow), "leaves", "good", "in both directions; proved: see the rewrite")
    for could in suggestion.could_leave:
        options = suggest_text.offered(suggestion, could)
        more = f"to let it leave: {options}" if options else ""
        yield Traffic(flow_words(could.flow), _rule(could.flow), "could leave", "good", could.reason, more=more)
    for refused in suggestion.refused:
        cure = f"cure: {refused.cure}" if refused.cure else ""
        by = f" ({refused.rule.where})" if refused.rule else ""
        words, rule = flow_words(refused.flow), _rule(refused.flow)
        yield Traffic(words, rule, "may not leave", "bad", f"{refused.reason}{by}", refused.witness, cure)
    kept = suggest_text.needing(suggestion)
    named = [k.rule for k in kept if k.rule is not None]
    if suggestion.outcome == "nothing-needs-tracking":
        everything = "tracked without need" if suggestion.tracking.judgements else "is not tracked"
        yield Traffic("everything", "", everything, "good", "no connection hangs on conntrack")
    elif kept:
        why = f"needed by {lines(named)}" if named else kept[0].reason
        yield Traffic("everything else", "", "stays tracked", "plain", why, next((k.witness for k in kept), None))


def _rule(flow: Flow) -> str:
    rule: Rule | None = flow.rule
    return rule.where if rule is not None else ""


def _groups(source: SourceFile, text: str) -> Iterator[list[tuple[bool, Side, Side]]]:
    """The change of one file: in each row whether both sides are the same, and both."""
    for group in side_by_side(source, text):
        yield [(row.same, *_sides(row)) for row in group]


def _sides(row: Row) -> tuple[Side, Side]:
    """The lines of a row, cut where they differ."""
    old, new = row.before, row.after
    if row.same or row.old is None or row.new is None:
        whole = shortened(old or new, _LONGEST_LINE)
        return Side(row.old, whole, "", ""), Side(row.new, whole, "", "")
    first = next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    rest = min(len(old), len(new)) - first
    last = next((at for at in range(rest) if old[-1 - at] != new[-1 - at]), rest)
    return _cut(row.old, old, first, last), _cut(row.new, new, first, last)


def _cut(number: int, text: str, first: int, last: int) -> Side:
    end = len(text) - last
    begin, middle, rest = text[:first], text[first:end], text[end:]
    if len(text) > _LONGEST_LINE:
        begin = f"...{begin[-80:]}" if len(begin) > 80 else begin
        rest = f"{rest[:80]}..." if len(rest) > 80 else rest
    return Side(number, begin, shortened(middle, _LONGEST_LINE), rest)
