"""The picture of the way of packets through the hooks, and which traffic goes around conntrack, as SVG.

The way in, the way out below it in the other direction, so that a connection is a loop; the way through where there
are rules for it. The order of the boxes is that of the priorities in linux/netfilter_ipv4.h.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from ruleaudit.model.fields import Family, Hook
from ruleaudit.model.ruleset import CONNTRACK_PRIORITY, Chain, EffectKind, Goto, Jump, Rule, Ruleset
from ruleaudit.report.html_page import fill
from ruleaudit.report.suggest_text import freed_words
from ruleaudit.report.wording import count, lines, shortened
from ruleaudit.results import Tracking
from ruleaudit.results.suggestion import Suggestion

#: the ways of packets: what they are called, the hooks that they pass, and where they begin and end
WAYS: dict[str, tuple[str, tuple[Hook, ...], str, str]] = {
    "in": ("in: prerouting, input", (Hook.PREROUTING, Hook.INPUT), "wire", "socket"),
    "out": ("out: output, postrouting", (Hook.OUTPUT, Hook.POSTROUTING), "wire", "socket"),
    "through": (
        "through: prerouting, forward, postrouting",
        (Hook.PREROUTING, Hook.FORWARD, Hook.POSTROUTING),
        "wire",
        "wire",
    ),
}
_STAGES = ("raw", "conntrack", "mangle", "nat", "filter")


@dataclass(frozen=True)
class Lane:
    """Traffic that is drawn as one line.

    kind    freed, rest, or noted (by a NOTRACK that is there already)
    ways    the ways that it goes; `around`: those on which it goes around conntrack
    """

    words: str
    kind: str
    ways: frozenset[str]
    around: frozenset[str] = frozenset()

    @property
    def fate(self) -> str:
        if not self.around:
            return "tracked"
        if self.around == self.ways:
            return "not tracked"
        return f"not tracked on the way {', '.join(sorted(self.around))} alone"


@dataclass(frozen=True)
class Panel:
    """One state of a firewall: `on` says whether anything in it makes the kernel track."""

    title: str
    ruleset: Ruleset
    lanes: tuple[Lane, ...]
    on: bool = True

    @property
    def ways(self) -> list[str]:
        return [way for way in WAYS if any(way in lane.ways for lane in self.lanes)]

    @property
    def words(self) -> str:
        """The picture as a sentence."""
        return f"{self.title}: " + "; ".join(f"{lane.words}: {lane.fate}" for lane in self.lanes) + "."


def panels(suggestion: Suggestion) -> tuple[Panel, ...]:
    """What a suggestion changes: before and after, or how it is where nothing changes."""
    old = suggestion.ruleset
    now = present(old, suggestion.tracking)
    if suggestion.outcome == "nothing-needs-tracking" and now.on:
        everything = Lane("everything", "freed", frozenset(now.ways), frozenset(now.ways))
        return (
            replace(now, title=_title(old, "Before")),
            Panel(_title(old, "Without the tests"), old, (everything,), on=False),
        )
    if suggestion.outcome != "rewrite" or suggestion.comparison is None:
        return (now,)
    ways: set[str] = set()
    for flow in suggestion.flows:
        ways |= {"through"} if flow.direction == "forward" else {"in", "out"}
    free = Lane(freed_words(suggestion), "freed", frozenset(ways))
    # the ways on which nothing changes are left out
    others = tuple(
        replace(
            lane,
            words="the rest" if lane.kind == "rest" else lane.words,
            ways=free.ways,
            around=lane.around & free.ways,
        )
        for lane in now.lanes
        if lane.kind == "rest" or lane.around & free.ways
    )
    after = replace(free, around=free.ways)
    return (
        replace(now, title=_title(old, "Before"), lanes=(free, *others)),
        Panel(_title(old, "After"), suggestion.comparison.new, (after, *others)),
    )


def present(ruleset: Ruleset, tracking: Tracking) -> Panel:
    """How it is now, in the address family of a ruleset."""
    title = _title(ruleset, "Now")
    asking = {judgement.rule.span for judgement in tracking.judgements} & {rule.span for rule in ruleset.rules()}
    ways = frozenset(way for way in WAYS if way != "through" or _rules(ruleset, (Hook.FORWARD,)))
    if not asking and not ruleset.tracks:
        return Panel(title, ruleset, (Lane("everything", "freed", ways, ways),), on=False)
    before = {hook: _untracking(ruleset, hook) for hook in (Hook.PREROUTING, Hook.OUTPUT)}
    rules = [rule for some in before.values() for rule in some]
    rest = Lane("the rest" if rules else "everything", "rest", ways)
    if not rules:
        return Panel(title, ruleset, (rest,))
    around = frozenset(w for w in ways if before[Hook.OUTPUT if w == "out" else Hook.PREROUTING])
    return Panel(title, ruleset, (Lane(f"what NOTRACK matches ({lines(rules)})", "noted", ways, around), rest))


def _title(ruleset: Ruleset, word: str) -> str:
    """An nft file may say something else in the other family."""
    family = "IPv4" if ruleset.family is Family.IPV4 else "IPv6"
    return f"{word}, {family}" if ruleset.is_nft else word


def _untracking(ruleset: Ruleset, hook: Hook) -> list[Rule]:
    """The NOTRACK rules of a hook that come before conntrack."""
    chains = [c for c in ruleset.base_chains(hook) if c.priority < CONNTRACK_PRIORITY and not c.nat]
    found = {rule.span: rule for chain in chains for rule in _called(ruleset, chain)}
    return [rule for rule in found.values() if any(e.kind is EffectKind.NOTRACK for e in rule.effects)]


def _called(ruleset: Ruleset, chain: Chain) -> Iterator[Rule]:
    """The rules of a chain, and of those that it leads to."""
    seen, left = {chain.name}, [chain]
    while left:
        for rule in left.pop().rules:
            yield rule
            match rule.verdict:
                case Jump(name) | Goto(name) if name not in seen:
                    seen.add(name)
                    target = ruleset.tables[rule.table].chains.get(name)
                    left += [target] if target else []


def _rules(ruleset: Ruleset, hooks: Sequence[Hook], stage: str = "") -> int:
    """How many rules stand in the base chains of some hooks, or in those of one stage."""
    chains = [c for hook in hooks for c in ruleset.base_chains(hook) if not stage or _stage(c) == stage]
    return len({rule.span for chain in chains for rule in _called(ruleset, chain)})


def _stage(chain: Chain) -> str:
    if chain.nat:
        return "nat"
    if chain.hook in (Hook.PREROUTING, Hook.OUTPUT) and chain.priority <= CONNTRACK_PRIORITY:
        return "raw"
    return "mangle" if chain.priority < 0 else "filter"


# -- drawing ------------------------------------------------------------------------------------------

_WIDTH, _BOX, _GAP, _END = 952, 112, 30, 84
_ROW, _TOP, _HEIGHT = 142, 34, 88
_LEGEND = 240
_FIRST, _BETWEEN = 64, 16  # where lanes run, below the top of a box


@dataclass(frozen=True)
class Box:
    """A station: its corner and size, what is written in it."""

    x: int
    y: int
    width: int
    name: str
    said: str
    kind: str


@dataclass(frozen=True)
class Line:
    """A lane on one way, as the data of an SVG path."""

    path: str
    kind: str
    end: tuple[int, int]


def picture(shown: Sequence[Panel], name: str, *, alone: bool = False) -> Markup:
    """The picture; `name` makes its ids unique on a page, `alone`: a file of its own, with its own style."""
    drawn, y = [], 0
    for panel in shown:
        rows = [_row(panel, way, y + 36 + number * _ROW) for number, way in enumerate(panel.ways)]
        drawn.append((panel, y, rows))
        y += 36 + len(rows) * _ROW + 12
    words = " ".join(panel.words for panel in shown)
    y -= 12
    return fill(
        "packet_path.svg",
        panels=[(panel.title, _legend(panel, top + 18), top, rows) for panel, top, rows in drawn],
        words=words,
        width=_WIDTH,
        height=y,
        box_height=_HEIGHT,
        name=name,
        alone=alone,
    )


def _legend(panel: Panel, y: int) -> list[tuple[int, int, str, str]]:
    """Where each lane is named: x, y, its kind and the words."""
    x, found = _LEGEND, []
    for lane in panel.lanes:
        others = sum(min(len(other.words), 30) + 22 for other in panel.lanes if other is not lane)
        text = f"{shortened(lane.words, max(24, 84 - others))}: {lane.fate}"
        found.append((x, y, lane.kind, text))
        x += 60 + int(7.1 * len(text))
    return found


def _row(panel: Panel, way: str, top: int) -> tuple[str, int, list[Box], list[Line]]:
    title, hooks, left, right = WAYS[way]
    y = top + _TOP
    boxes = [Box(16, y, _END, left, "", "end")]
    # the way out begins at the socket, on the right
    stages = _STAGES if way != "out" else tuple(reversed(_STAGES))
    x = 16 + _END + _GAP
    for stage in stages:
        number = _rules(panel.ruleset, hooks, stage)
        said, kind = (count(number, "rule"), "box") if number else ("no rules", "empty box")
        if stage == "conntrack":
            said, kind = ("an entry each", "table box") if panel.on else ("not in use", "empty box")
        boxes.append(Box(x, y, _BOX, stage, said, kind))
        x += _BOX + _GAP
    boxes.append(Box(x, y, _END, right, "", "end"))
    going = [lane for lane in panel.lanes if way in lane.ways]
    table = next(box for box in boxes if box.name == "conntrack")
    drawn = [_lane(boxes, table, lane, way, y + _FIRST + _BETWEEN * n, y - 11) for n, lane in enumerate(going)]
    return title, top + 12, boxes, drawn


def _lane(boxes: Sequence[Box], table: Box, lane: Lane, way: str, y: int, above: int) -> Line:
    """A line from end to end; around the table where it goes there."""
    first, last = boxes[0].x + boxes[0].width, boxes[-1].x
    near, far, edge = table.x - _GAP + 2, table.x + table.width + _GAP - 2, 14
    if way == "out":
        first, last, near, far, edge = last, first, far, near, -edge
    end = last - 9 if last > first else last + 9
    if way not in lane.around:
        return Line(f"M{first} {y}H{end}", lane.kind, (last, y))
    up = f"C{near + edge} {y} {near + edge - 4} {above} {near + 2 * edge} {above}"
    down = f"C{far - edge + 4} {above} {far - edge} {y} {far} {y}"
    return Line(f"M{first} {y}H{near}{up}H{far - 2 * edge}{down}H{end}", lane.kind, (last, y))
