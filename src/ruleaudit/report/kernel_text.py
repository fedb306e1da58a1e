"""What the kernel did, as text: one sentence where all went as reasoned, else what it refused or did otherwise."""

import re
from collections.abc import Iterator

from ruleaudit.report.style import Style
from ruleaudit.report.wording import count, verdict, wrapped
from ruleaudit.results.observation import Disagreement, Loaded, Observation

_SHOWN = 8
_PLACE = re.compile(r"^\S+:\d+:\d+-\d+: Error: ")
_OUR_BUG = (
    "This is a bug of ruleaudit, or this kernel differs from the others. Please report it with the ruleset"
    " (addresses may be changed)."
)


def sentence(found: Observation) -> str:
    """What was observed."""
    if found.impossible:
        return f"nothing: {found.impossible}"
    if found.refused:
        return f"nothing: {refusal(found.refused[0])}"
    if not found.packets:
        return f"nothing: no packet could be compared{_left_out(found)}"
    said = f"{count(found.packets, 'packet')} in the kernel ({_versions(found)})"
    if found.witnesses:
        said += f", {found.witnesses} of them from this report"
    if found.disagreements:
        number = len({d.packet for d in found.disagreements})
        return f"{said}: {number} fared otherwise than reasoned{_left_out(found)}"
    return f"{said}: the same rules decided, with the same verdicts, as reasoned{_left_out(found)}"


def refusal(loaded: Loaded) -> str:
    """That a loader does not take a ruleset, and why."""
    where = f"{loaded.path}:{loaded.line}" if loaded.line else loaded.path
    return f"{where}: {loaded.program} refuses it: {_first_line(loaded.refused)}"


def problem(found: Observation) -> str:
    """In one line, why an observation is no confirmation."""
    if found.disagreements:
        one = found.disagreements[0]
        return f"the kernel does not do what was reasoned: {_fates(one)}"
    if found.refused:
        return refusal(found.refused[0])
    return f"nothing was observed in the kernel: {found.impossible or 'no packet could be compared'}"


def contradiction(found: Observation, style: Style) -> Iterator[str]:
    """Instead of a rewrite: what the kernel refuses, or does otherwise."""
    if found.refused:
        yield style.bad("NOT GIVEN OUT:") + " the kernel refuses the rules."
        for loaded in found.refused:
            yield wrapped(refusal(loaded), "  ")
        return
    yield style.bad("NOT GIVEN OUT:") + " the kernel does not do what was reasoned."
    yield wrapped(sentence(found), "  observed ")
    yield from differing(found)


def differing(found: Observation) -> Iterator[str]:
    """The packets that fared otherwise."""
    for one in found.disagreements[:_SHOWN]:
        yield wrapped(_fates(one), "  ", "    ")
    more = len(found.disagreements) - _SHOWN
    if more > 0:
        yield f"  and {more} more"
    if found.disagreements:
        yield wrapped(_OUR_BUG, "  ")


def _fates(one: Disagreement) -> str:
    return f"{one.path}: {one.packet}: {verdict(one.kernel)} in the kernel, {verdict(one.reasoned)} as reasoned"


def _versions(found: Observation) -> str:
    return f"{found.kernel}, nft {found.nft}"


def _left_out(found: Observation) -> str:
    if not found.left_out:
        return ""
    return "; not compared: " + ", ".join(f"{number} ({why})" for why, number in found.left_out)


def _first_line(said: str) -> str:
    """Without the place of nft, which is said already."""
    lines = [_PLACE.sub("", line.strip()) for line in said.splitlines() if line.strip()]
    return lines[0] if lines else said
