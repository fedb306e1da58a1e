"""`verify` as text: what a change does, each class of packets with one packet of it."""

from collections.abc import Collection, Iterator, Sequence

from ruleaudit.diagnostics import FixClass
from ruleaudit.model.lines import in_words
from ruleaudit.report import kernel_text, live_text
from ruleaudit.report.style import PLAIN, Style
from ruleaudit.report.wording import count, verdict, wrapped
from ruleaudit.results import Comparison, Difference, DifferenceKind
from ruleaudit.results.observation import Observation
from ruleaudit.results.running import Running

#: what each kind is called, in the order of the report
KINDS: dict[DifferenceKind, str] = {
    DifferenceKind.BREAKS: "worked before, broken now",
    DifferenceKind.OPENS: "refused before, accepted now",
    DifferenceKind.HALF_TRACKED: "one direction tracked only",
    DifferenceKind.REFUSAL: "refused in another way",
    DifferenceKind.ICMP_ERRORS: "ICMP errors (path MTU)",
    DifferenceKind.EFFECT: "marks, limits, sets, logs",
    DifferenceKind.REVERSED: "open from the service's port",
    DifferenceKind.STRAY: "packets of no connection",
    DifferenceKind.TRACKED: "untracked before, tracked now",
    DifferenceKind.UNTRACKED: "tracked before, untracked now",
}
_COLUMN = 33


def render(
    comparison: Comparison,
    allowed: Collection[Difference] = (),
    observation: Observation | None = None,
    running: Running | None = None,
    *,
    style: Style = PLAIN,
) -> str:
    """The answer, one row for each way to differ, the assumptions, what could not be decided, and what was observed."""
    first = answer(comparison, allowed, style)
    if observation is not None and observation.contradicts:
        what = "refuses a ruleset" if observation.refused else "does not do what was reasoned"
        first = style.warning(f"UNDECIDED: the kernel {what} (at the end).")
    rows = [first, "", *_lines(comparison, allowed)]
    if observation is not None:
        head = f"  {'observed':<{_COLUMN - 2}}"
        rows.append(wrapped(kernel_text.sentence(observation), head, " " * _COLUMN))
        rows += kernel_text.differing(observation)
    if running is not None:
        rows += ["", *live_text.section(running, "WHO RULES HERE", style)]
    return "".join(row + "\n" for row in rows)


def answer(comparison: Comparison, allowed: Collection[Difference], style: Style = PLAIN) -> str:
    """The first line."""
    open_questions = bool(comparison.undecided)
    if comparison.result == "undecided":
        return style.warning("UNDECIDED: no difference was found, but not everything could be compared.")
    if comparison.result == "equivalent":
        return style.good("EQUIVALENT: every packet fares as before.")
    differing = [d for d in comparison.differences if d.loosens is not FixClass.EXACT]
    rest = " Not everything could be compared." if open_questions else ""
    if not differing:
        return style.good("DIFFERENT in what is tracked or logged only: every packet has the same verdict.") + rest
    if all(d in allowed for d in comparison.differences):
        return style.good("DIFFERENT, and only as allowed.") + rest
    names = in_words(list(dict.fromkeys(d.kind.value for d, _ in folded(differing))))
    return style.bad(f"DIFFERENT: {names}.") + rest


def _lines(comparison: Comparison, allowed: Collection[Difference]) -> Iterator[str]:
    shown = folded(comparison.differences)
    for kind, name in KINDS.items():
        found = [(d, also) for d, also in shown if d.kind is kind]
        head = f"  {name:<{_COLUMN - 2}}"
        if not found:
            yield f"{head}{'none' if not comparison.undecided else 'none found'}"
        for number, (difference, also) in enumerate(found):
            remark = f" (the same: {', '.join(also)})" if also else ""
            remark += " [allowed]" if difference in allowed else ""
            if difference.assumption:
                remark += f" [assumed not to occur: {difference.assumption}]"
            yield wrapped(difference.description + remark, head if not number else " " * _COLUMN, " " * _COLUMN)
            yield from _witness(difference)
    head = f"  {'assumptions':<{_COLUMN - 2}}"
    if not comparison.assumptions:
        yield f"{head}none"
    for number, (key, text) in enumerate(comparison.assumptions):
        yield wrapped(f"{key}: {text}", head if not number else " " * _COLUMN, " " * _COLUMN)
    head = f"  {'undecided':<{_COLUMN - 2}}"
    for number, undecided in enumerate(comparison.undecided):
        where = f"{undecided.rule.where}: " if undecided.rule else ""
        yield wrapped(where + undecided.reason, head if not number else " " * _COLUMN, " " * _COLUMN)
    for family in comparison.not_compared:
        yield f"  {'not compared':<{_COLUMN - 2}}{family}: only one of the two speaks of it"


#: what a difference is seen on once more
_ALSO = {"local": "on lo", "looped": "its own multicasts and broadcasts"}


def folded(differences: Sequence[Difference]) -> list[tuple[Difference, list[str]]]:
    """The differences to show, each with where else the same two rules decide in the same way."""
    shown: dict[tuple[object, ...], tuple[Difference, list[str]]] = {}
    out: list[tuple[Difference, list[str]]] = []
    for difference in sorted(differences, key=lambda d: d.kind is DifferenceKind.STRAY):
        deciders = (difference.old, difference.new, difference.loosens)
        stray = difference.kind is DifferenceKind.STRAY
        kinds = (difference.kind, DifferenceKind.OPENS, DifferenceKind.BREAKS) if stray else (difference.kind,)
        known = next((shown[k, *deciders] for k in kinds if (k, *deciders) in shown), None)
        apart = known is None or (difference.path not in _ALSO and known[0].kind is difference.kind)
        if known is None or apart:
            out.append((difference, []))
            shown.setdefault((difference.kind, *deciders), out[-1])
            continue
        word = "packets of no connection" if known[0].kind is not difference.kind else _ALSO[difference.path]
        if word not in known[1]:
            known[1].append(word)
    return out


def _witness(difference: Difference) -> Iterator[str]:
    fate = f"{verdict(difference.old)} before, {verdict(difference.new)} now"
    yield wrapped(f"e.g. {difference.witness.packet}: {fate}", " " * _COLUMN, " " * (_COLUMN + 5))


def summary(comparison: Comparison) -> str:
    """One line for standard error."""
    old, new = (sum(1 for _ in ruleset.rules()) for ruleset in (comparison.old, comparison.new))
    return (
        f"{comparison.old.source.path}: {count(old, 'rule')}; {comparison.new.source.path}: {count(new, 'rule')};"
        f" {count(len(comparison.differences), 'difference')}.\n"
    )
