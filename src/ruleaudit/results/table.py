"""What fills a connection table, and what a rewrite frees of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from ruleaudit.model.connection_table import ConnectionTable
from ruleaudit.model.ruleset import Rule


@dataclass(frozen=True)
class ServiceUse:
    """The entries of a connection table that one service has.

    direction   in, out, forward, local, or unknown where the table does not tell
    protocol    its name, or its number where it has none
    port        destination port of the original direction; None: the protocol has none
    by_state    entries by the state of conntrack; UNREPLIED, REPLIED or ASSURED for protocols without states
    unreplied, assured  how many of them are
    """

    direction: str
    protocol: str
    port: int | None
    entries: int
    by_state: Mapping[str, int]
    unreplied: int
    assured: int


@dataclass(frozen=True)
class TableUse:
    """What fills a connection table: all its services, those with the most entries first.

    unread  the first lines that are no entry: (line, text); `table.more` counts the others
    table   the entries as classes, and whose addresses were taken for this host's
    path    what the table is called
    """

    entries: int
    by_state: Mapping[str, int]
    services: tuple[ServiceUse, ...]
    unread: tuple[tuple[int, str], ...]
    table: ConnectionTable
    path: str = ""


@dataclass(frozen=True)
class Relief:
    """What a rewrite would free of a connection table, as far as the table and the rules tell.

    freed     entries of connections that would be tracked no more; those that are there leave as they time out
    unclear   perhaps freed too: the table does not tell by which interface they come, or whether they come or go
    refused   these rules would not have let them be: they are of other rules, or of another host
    unasked   of the other address family, or too few of a kind to be asked about
    services  each with the rule that lets most of its connections be, and how many of its entries are freed
    """

    use: TableUse
    freed: int
    unclear: int = 0
    refused: int = 0
    unasked: int = 0
    services: tuple[tuple[ServiceUse, Rule | None, int], ...] = ()

    @property
    def share(self) -> float:
        """The part of all entries that is freed."""
        return self.freed / self.use.entries if self.use.entries else 0.0
