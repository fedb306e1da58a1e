"""What a repository states about its firewall: some traffic, and what has to become of it."""

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from ruleaudit.source import Span

if TYPE_CHECKING:
    from ruleaudit.model.traffic import Traffic


class Fate(Enum):
    """What is expected of traffic; `refuse` is drop or reject."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    REFUSE = "refuse"
    QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class Expectation:
    """One `[[expect]]` block; what is None is not asked for.

    files   globs of the rulesets that it is about, relative to the configuration; none: all of them
    span    its place in the configuration
    """

    traffic: "Traffic"
    span: Span
    verdict: Fate | None = None
    tracked: bool | None = None
    name: str = ""
    reason: str = ""
    files: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """How a report calls it."""
        return self.name or self.traffic.text
