"""`suggest` as text: the answer first, relief, the change, why, what is given up, how to apply it and go back."""

from collections.abc import Iterator, Sequence
from itertools import chain
from shlex import quote

from ruleaudit.diagnostics import FixClass
from ruleaudit.model.fields import Family
from ruleaudit.model.lines import in_words
from ruleaudit.model.proxy import Proxy
from ruleaudit.model.ruleset import Rule
from ruleaudit.report import applying, haproxy_text, kernel_text, live_text, relief
from ruleaudit.report.diff import unified
from ruleaudit.report.style import PLAIN, Style
from ruleaudit.report.wording import (
    count,
    flow_words,
    lines,
    places,
    printable,
    shortened,
    verdict,
    wrapped,
)
from ruleaudit.results import Difference, DifferenceKind, Judgement
from ruleaudit.results.observation import Observation
from ruleaudit.results.suggestion import CouldLeave, Kept, Refused, Suggestion
from ruleaudit.source import Edit, SourceFile, Span, apply

_RULE_WIDTH = 92
TAKE_OUT = "Take the state tests (or these rules) out: nothing is tracked then, and NOTRACK would be pointless."
OTHERS = (
    "If this host tracks connections all the same, other rules ask for it: see iptables-save, ip6tables-save,"
    " nft list ruleset, and the programs that load rules of their own (Docker, kube-proxy)."
)
FRAGMENTS = (
    "What it means for fragments: without tracking, packets are no longer reassembled before the rules, and later"
    " fragments have no ports. Under a policy of DROP, fragmented IPv6 to this host and all fragmented traffic through"
    " it need a rule of their own (-f; -m ipv6header --soft --header frag)."
)
APART = "file by file; with --diff and -o the included ones are written out in place of their includes"
STRAYS = "a stray packet belongs to no connection; the host answers one that no socket wants with a reset"
_OPENING = (FixClass.REVERSED, FixClass.RELAXING)


def render(
    suggestion: Suggestion,
    options: Sequence[str] = (),
    observation: Observation | None = None,
    proxy: Proxy | None = None,
    *,
    style: Style = PLAIN,
) -> str:
    """The whole answer; `options` are those that it was asked for with, to be repeated in the commands to type.

    `observation` is what the kernel did; where it contradicts, no rewrite is printed. `proxy` is what HAProxy's
    configuration says.
    """
    match suggestion.outcome:
        case _ if observation is not None and observation.contradicts:
            sections = iter([kernel_text.contradiction(observation, style)])
        case "rewrite":
            sections = _rewrite(suggestion, options, observation, style)
        case "nothing-needs-tracking":
            sections = _nothing_needs_tracking(suggestion, observation, style)
        case _:
            sections = _nothing_to_free(suggestion, observation, style)
    if proxy is not None:
        sections = chain([next(sections), haproxy_text.section(proxy, style)], sections)
    return "\n".join("".join(line + "\n" for line in section) for section in map(list, sections) if section)


def headline(suggestion: Suggestion, style: Style = PLAIN) -> str:
    """The first line: the answer in one word, and in one sentence."""
    if suggestion.outcome == "rewrite":
        freed = style.bold(freed_words(suggestion))
        return style.good("YES:") + f" {freed} can leave connection tracking; the rest stays tracked."
    if suggestion.outcome == "nothing-needs-tracking":
        mentioning = [j.rule for j in suggestion.tracking.judgements]
        if not mentioning:
            return style.good("NOTHING TO DO:") + " no rule of this file uses connection tracking."
        verb = "is" if places(mentioning) == 1 else "are"
        only = f" {lines(mentioning)} {verb} the only reason why these rules track anything, and nothing needs it."
        return style.good("BETTER THAN NOTRACK:") + only
    if suggestion.offers:
        some = " nothing leaves connection tracking by default; some of it could, if you say so (below)."
        return style.warning("NO:") + some
    return style.bad("NO:") + " nothing here can safely leave connection tracking."


def freed_words(suggestion: Suggestion) -> str:
    """What leaves: `tcp/80,443 and udp/53`."""
    return in_words(list(dict.fromkeys(map(flow_words, suggestion.flows))))


def summary(suggestion: Suggestion, proxy: Proxy | None = None) -> str:
    """Lines for standard error: what was read, and the remarks of the analysis."""
    rules = list(suggestion.ruleset.rules())
    vague = [r for r in rules if not r.understood]
    understood = f"; {lines(vague)} not understood: may or may not match" if vague else ", all understood"
    notes = "".join(f"note: {printable(note)}\n" for note in suggestion.notes)
    for checked in suggestion.checked:
        if not checked.holds:
            was = "was not found out" if checked.holds is None else "is contradicted"
            notes += f"note: the assumption {checked.assumption} {was}: {printable(checked.reason)}\n"
    read = f"{count(len(rules), 'rule')} read{understood}{_with(suggestion)}"
    more = haproxy_text.summary(proxy) if proxy is not None else ""
    table = f"{relief.read_words(suggestion.relief.use)}.\n" if suggestion.relief else ""
    return f"{notes}{printable(suggestion.source.path)}: {read}.\n{more}{table}"


def _with(suggestion: Suggestion) -> str:
    """What was read besides the file: it may be another machine's."""
    paths = [printable(path) for path in dict.fromkeys(part.path for part in suggestion.source.included)]
    more = f" and {len(paths) - 6} more" if len(paths) > 6 else ""
    return f"; included: {', '.join(paths[:6])}{more}" if paths else ""


# -- the three answers --------------------------------------------------------------------------------


def _rewrite(
    suggestion: Suggestion, options: Sequence[str], observation: Observation | None, style: Style
) -> Iterator[Iterator[str]]:
    yield _yes(suggestion, observation, style)
    yield right_now(style)
    yield _change(suggestion, style)
    yield _why(suggestion, style)
    yield _given_up(suggestion, style)
    yield _assumed(suggestion, style)
    yield _beside(suggestion, style)
    yield _refused(suggestion, style)
    yield _could_leave(suggestion, style)
    yield elsewhere(suggestion, style)
    yield applying.apply(suggestion, "".join(f" {quote(option)}" for option in options), style)
    yield applying.afterwards(suggestion, style)


def _nothing_to_free(suggestion: Suggestion, observation: Observation | None, style: Style) -> Iterator[Iterator[str]]:
    yield _no(suggestion, style)
    yield _beside(suggestion, style)
    yield _refused(suggestion, style)
    yield _could_leave(suggestion, style)
    yield elsewhere(suggestion, style)
    yield _observed(observation)


def _nothing_needs_tracking(
    suggestion: Suggestion, observation: Observation | None, style: Style
) -> Iterator[Iterator[str]]:
    yield _better(suggestion, style)
    yield _beside(suggestion, style)
    yield _observed(observation)


def _observed(observation: Observation | None) -> Iterator[str]:
    if observation is not None:
        yield wrapped(kernel_text.sentence(observation), "  observed ")


# -- sections -----------------------------------------------------------------------------------------


def _yes(suggestion: Suggestion, observation: Observation | None, style: Style) -> Iterator[str]:
    freed = freed_words(suggestion)
    yield headline(suggestion, style)
    yield ""
    mentioning = [j.rule for j in suggestion.tracking.judgements]
    verb = "asks" if places(mentioning) == 1 else "ask"
    yield f"  now      every connection is tracked, because {lines(mentioning)} {verb} for its state or entry"
    kept = [k.rule for k in suggestion.kept if k.rule is not None]
    still = f"; the rest stays tracked for {lines(kept)}" if kept else ""
    yield f"  after    {freed} untracked, both directions{still}"
    if suggestion.relief is not None and suggestion.relief.use.entries:
        yield wrapped(f"{relief.freed_words(suggestion.relief)}; they leave as they time out", "  table    ")
    yield wrapped(proved(suggestion), "  proved   ")
    yield from _observed(observation)


def proved(suggestion: Suggestion) -> str:
    """What was proved of the rewrite, and under which conditions."""
    if suggestion.kind in _OPENING:
        said = "no connection that works today breaks; what opens is listed below"
    else:
        said = "no connection that works today breaks, and none that is refused today opens"
    if suggestion.assumptions:
        number = len(suggestion.assumptions)
        said += ", under the assumption below" if number == 1 else f", under the {number} assumptions below"
    if suggestion.strays:
        said += f"; only stray packets, of no connection, fare otherwise ({len(suggestion.strays)} below)"
    return said


def right_now(style: Style) -> Iterator[str]:
    """The section RIGHT NOW."""
    key = "net.netfilter.nf_conntrack_max"
    yield style.bold("RIGHT NOW, if packets are being dropped") + " (no firewall change; lasts until reboot):"
    yield f"  sysctl -w {key}=$((2 * $(sysctl -n {key})))  # twice the room; memory as it fills"
    yield "  sysctl -w net.netfilter.nf_conntrack_tcp_timeout_time_wait=30  # closed connections leave sooner"
    yield "  Keep this SSH session open: a new one may not get in while the table is full."


def _change(suggestion: Suggestion, style: Style) -> Iterator[str]:
    assert suggestion.text is not None
    family, other = ("IPv4", "IPv6") if suggestion.ruleset.family is Family.IPV4 else ("IPv6", "IPv4")
    one_family = f"  ({family} only: {other} has a ruleset of its own)" if not suggestion.ruleset.is_nft else ""
    yield style.bold("THE CHANGE") + one_family
    yield ""
    changed = changed_files(suggestion)
    if is_apart(suggestion):
        yield f"  {APART}"
        yield ""
    for line in "".join(unified(source, text) for source, text in changed).split("\n")[:-1]:
        text = printable(line)
        headline = line.startswith(("---", "+++", "@@"))
        paint = style.faint if headline else {"+": style.added, "-": style.removed}.get(line[:1], str)
        yield f"  {paint(text)}"


def changed_files(suggestion: Suggestion) -> list[tuple[SourceFile, str]]:
    """Each file that changes, and its new text; one alone where no included one does, or one is included twice."""
    assert suggestion.text is not None
    source = suggestion.source
    edits: dict[int, list[Edit]] = {}
    for change in suggestion.changes:
        edits.setdefault(source.number_at(change.edit.span.start), []).append(change.edit)
    parts = list(source.parts())
    paths = [part.path for part, _ in parts]
    if not any(edits) or any(paths.count(paths[number]) > 1 for number in edits):
        return [(source, suggestion.text)]
    changed = []
    for number, mine in sorted(edits.items()):
        part, base = parts[number]
        moved = (Edit(Span(e.span.start - base, e.span.end - base), e.text) for e in mine)
        changed.append((part, apply(part.text, moved)))
    return changed


def is_apart(suggestion: Suggestion) -> bool:
    """Whether the change is shown file by file."""
    return any(part is not suggestion.source for part, _ in changed_files(suggestion))


def _why(suggestion: Suggestion, style: Style) -> Iterator[str]:
    yield style.bold("WHY EACH LINE")
    heads = reasons(suggestion)
    width = max(map(len, heads.values()), default=0) + 2
    for reason, head in heads.items():
        yield wrapped(reason, f"  {head:<{width}}")


def reasons(suggestion: Suggestion) -> dict[str, str]:
    """Why each line is changed: each reason, with what it is the reason of."""
    topics: dict[str, list[str]] = {}
    for change in suggestion.changes:
        named = topics.setdefault(change.reason, [])
        if change.topic not in named:
            named.append(change.topic)
    return {reason: _one_topic(named) for reason, named in topics.items()}


def _one_topic(topics: Sequence[str]) -> str:
    """`icmp 3`, `icmp 11`, `icmp 12` as `icmp 3, 11, 12`."""
    first, _, rest = topics[0].partition(" ")
    if rest and all(topic.startswith(f"{first} ") for topic in topics):
        return f"{first} " + ", ".join(topic[len(first) + 1 :] for topic in topics)
    return ", ".join(topics)


def _given_up(suggestion: Suggestion, style: Style) -> Iterator[str]:
    opens, strays, given = suggestion.opens, suggestion.strays, given_up(suggestion)
    if not given:
        yield style.bold("WHAT YOU GIVE UP") + "  nothing: every packet has the same verdict as before"
        return
    kind = suggestion.kind.value if suggestion.kind else "unknown"
    opened = f"; opens: {len(opens)}" if opens else ""
    yield style.bold("WHAT YOU GIVE UP") + f"  (class {kind}; strays: {len(strays)}{opened})"
    for difference in given:
        yield wrapped(difference.description, "  + ")
        yield wrapped(f"{difference.witness.packet}: {fates(difference)}", "    e.g. ")
    if strays:
        yield f"  ({STRAYS})"


def given_up(suggestion: Suggestion) -> list[Difference]:
    """What fares otherwise with the rewrite, in the order in which a reader should know it."""
    found = suggestion.comparison.differences if suggestion.comparison else ()
    other = (DifferenceKind.UNTRACKED, DifferenceKind.STRAY, DifferenceKind.OPENS, DifferenceKind.REVERSED)
    logs = [d for d in found if d.kind not in other and d.loosens is FixClass.EXACT]
    rest = [d for d in found if d.kind not in other and d.loosens is not FixClass.EXACT and not d.assumption]
    return [*suggestion.opens, *rest, *suggestion.strays, *logs]


def fates(difference: Difference) -> str:
    """What happens to the packet that shows a difference."""
    return f"{verdict(difference.old)} before, {verdict(difference.new)} after"


def _assumed(suggestion: Suggestion, style: Style) -> Iterator[str]:
    if not suggestion.assumptions:
        return
    yield style.bold("WHAT IS ASSUMED")
    width = max(len(key) for key, _ in suggestion.assumptions) + 2
    for key, text in suggestion.assumptions:
        yield wrapped(text, f"  {key:<{width}}")
        for checked in suggestion.checked:
            if checked.assumption == key:
                yield wrapped(live_text.found_out(checked, style), " " * (width + 2))


def _beside(suggestion: Suggestion, style: Style) -> Iterator[str]:
    if suggestion.running is not None:
        yield from live_text.section(suggestion.running, live_text.BESIDE, style)


def _refused(suggestion: Suggestion, style: Style) -> Iterator[str]:
    if not suggestion.refused:
        return
    yield style.bold("MAY NOT LEAVE")
    alike: dict[tuple[Rule | None, str, str], list[Refused]] = {}
    for refused in suggestion.refused:
        alike.setdefault((refused.rule, refused.reason, refused.cure), []).append(refused)
    for (rule, reason, cure), group in alike.items():
        yield from _refusal(suggestion, rule, reason, cure, group)


def _refusal(
    suggestion: Suggestion, rule: Rule | None, reason: str, cure: str, group: Sequence[Refused]
) -> Iterator[str]:
    """What holds the flows of a group, said once, with a packet of the first that has one."""
    flows = list(dict.fromkeys(flow_words(refused.flow) for refused in group))
    yield wrapped(f"{', '.join(flows)}: {reason}", "  ", "    ")
    if rule is not None:
        yield f"    {_where(suggestion, rule)}"
    witness = next((refused.witness for refused in group if refused.witness is not None), None)
    if witness is not None:
        yield wrapped(f"{witness.packet} ({witness.description})", "    e.g. ")
    if cure:
        yield wrapped(cure, "    cure: ")


def _where(suggestion: Suggestion, rule: Rule) -> str:
    place = f"{rule.table} {rule.chain}:" if suggestion.ruleset.is_nft else f"-t {rule.table}"
    return f"{printable(rule.path or suggestion.source.path)}:{rule.line}  {place} {shortened(rule.text, _RULE_WIDTH)}"


def _could_leave(suggestion: Suggestion, style: Style) -> Iterator[str]:
    if not suggestion.could_leave:
        return
    yield style.bold("COULD LEAVE TOO") + "  (not taken by default; every choice is proved before it is printed)"
    for could in suggestion.could_leave:
        how = offered(suggestion, could)
        how = f"   {how}" if how else ""
        where = f" ({could.flow.rule.where})" if could.flow.rule else ""
        held = f" ({relief.entries(could.flow.entries)})" if could.flow.entries else ""
        yield wrapped(f"{flow_words(could.flow)}{where}: {could.reason}{held}{how}", "  ", "    ")


def offered(suggestion: Suggestion, could: CouldLeave) -> str:
    """The options that would free a flow, and the class of that if it is not the usual one."""
    offer = next((o for o in suggestion.offers if could.flow in o.frees), None)
    if offer is None:
        return ""
    loose = offer.kind in (FixClass.ASSUMING, *_OPENING)
    return " ".join(offer.options) + (f" ({offer.kind.value})" if loose and offer.kind else "")


def elsewhere(suggestion: Suggestion, style: Style) -> Iterator[str]:
    """The section WHAT FILLS THE TABLE, or HALF THE TABLE MAY BE ELSEWHERE: unless what this host starts is freed."""
    if suggestion.relief is not None:
        yield from relief.section(suggestion.relief, style)
        return
    if any(flow.direction == "out" for flow in suggestion.flows):
        return
    yield style.bold("HALF THE TABLE MAY BE ELSEWHERE")
    yield "  What this host starts itself (a proxy to its backends, DNS) is tracked too, and no ruleset shows it: add"
    yield "    --haproxy haproxy.cfg    what HAProxy's bind and server lines say, or"
    yield "    --conntrack table.txt    a table that was saved by: conntrack -L > table.txt"


def _no(suggestion: Suggestion, style: Style) -> Iterator[str]:
    yield headline(suggestion, style)
    for kept in needing(suggestion):
        if kept.rule is None:
            yield wrapped(kept.reason, "  ")
            continue
        yield f"  {_where(suggestion, kept.rule)}"
        yield wrapped(kept.reason, "    ")
        if kept.witness is not None:
            yield wrapped(f"{kept.witness.packet} ({kept.witness.description})", "    e.g. ")
    if not suggestion.offers:
        yield "  Only the size and the timeouts of the table are left: ruleaudit capacity"


def needing(suggestion: Suggestion) -> list[Kept]:
    """The rules that need tracking, and why."""
    return [*suggestion.kept] or [_as_kept(j) for j in suggestion.tracking.required]


def _as_kept(judgement: Judgement) -> Kept:
    return Kept(judgement.rule, judgement.kind, judgement.reason, next(iter(judgement.connections), None))


def _better(suggestion: Suggestion, style: Style) -> Iterator[str]:
    judgements = suggestion.tracking.judgements
    yield headline(suggestion, style)
    if not judgements:
        yield wrapped(OTHERS, "  ")
        return
    yield f"  {TAKE_OUT}"
    if suggestion.relief is not None and suggestion.relief.use.entries:
        yield f"  It {relief.freed_words(suggestion.relief)}."
    yield ""
    path = ""
    for judgement in judgements:
        rule = judgement.rule
        if rule.path != path:
            path = rule.path
            yield f"  in {printable(path)}"
        yield f"  {rule.line:>5}  {judgement.kind.value:<11}  {shortened(rule.text, _RULE_WIDTH)}"
        yield wrapped(judgement.reason, " " * 22)
    yield ""
    yield wrapped(FRAGMENTS, "  ")
