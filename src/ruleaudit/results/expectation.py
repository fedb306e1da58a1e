"""Whether an expectation holds: the answer of `analysis/expected.py`."""

from dataclasses import dataclass
from enum import Enum

from ruleaudit.diagnostics import Witness
from ruleaudit.model.expectation import Expectation
from ruleaudit.model.ruleset import Chain, Rule


class Stage(Enum):
    """Which packets of the traffic an expectation fails for."""

    OPENING = "opening"  #: those that open connections
    REPLY = "reply"
    LATER = "later"  #: further packets of the originator
    PACKETS = "packets"  #: packets of a state or shape that was asked for, not connections


@dataclass(frozen=True)
class Unmet:
    """An expectation that does not hold, or of which that cannot be said.

    reason      what happens instead, in words that follow "expected ...: "
    proved      False: it hangs on `depends_on`, or cannot be decided
    decided_by  the rule, or the base chain whose policy decides about the witness
    others      further rules that decide so about other packets of the traffic
    whole       it fails for all packets of the stage
    """

    expectation: Expectation
    stage: Stage
    reason: str
    proved: bool
    decided_by: Rule | Chain | None = None
    witness: Witness | None = None
    others: tuple[Rule, ...] = ()
    depends_on: tuple[str, ...] = ()
    whole: bool = False
