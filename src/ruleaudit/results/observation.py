"""What the kernel did with rulesets and packets."""

from dataclasses import dataclass

from ruleaudit.model.ruleset import Ruleset
from ruleaudit.results import Outcome


@dataclass(frozen=True)
class Loaded:
    """How a ruleset was loaded: by which program, and what that said of it, and of which line, if it was refused."""

    path: str
    program: str
    refused: str = ""
    line: int | None = None


@dataclass(frozen=True)
class Disagreement:
    """A packet that fared otherwise in the kernel than was reasoned, under the ruleset of `path`: where both part.

    A verdict of "nothing" says that this base chain was not passed.
    """

    packet: str
    path: str
    ruleset: Ruleset
    reasoned: Outcome
    kernel: Outcome


@dataclass(frozen=True)
class Observation:
    """What the kernel did with rulesets that were loaded, and with packets sent through them.

    packets     how many were sent and compared, `witnesses` of them are those of the report
    left_out    why others could not be compared, and how many
    impossible  why nothing was observed; empty where something was
    """

    kernel: str = ""
    nft: str = ""
    loaded: tuple[Loaded, ...] = ()
    packets: int = 0
    witnesses: int = 0
    left_out: tuple[tuple[str, int], ...] = ()
    disagreements: tuple[Disagreement, ...] = ()
    impossible: str = ""

    @property
    def refused(self) -> tuple[Loaded, ...]:
        return tuple(one for one in self.loaded if one.refused)

    @property
    def contradicts(self) -> bool:
        """The kernel does not take the rulesets, or does not do what was reasoned."""
        return bool(self.refused or self.disagreements)

    @property
    def agrees(self) -> bool:
        """Everything was loaded, something was sent, and all of it fared as reasoned."""
        return bool(self.packets) and not (self.impossible or self.contradicts)
