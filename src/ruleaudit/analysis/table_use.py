"""What fills a connection table: its services, with states."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from ruleaudit.model.connection_table import Connections, ConnectionTable
from ruleaudit.results import ServiceUse, TableUse


def use_of(table: ConnectionTable, path: str = "") -> TableUse:
    """The services of a table, all of them."""
    services: defaultdict[tuple[str, str, int | None], list[Connections]] = defaultdict(list)
    for some in table.classes:
        services[some.service].append(some)
    used = [
        ServiceUse(
            direction,
            protocol,
            port,
            sum(c.entries for c in classes),
            _by_state(classes),
            sum(c.entries for c in classes if c.unreplied),
            sum(c.entries for c in classes if c.assured),
        )
        for (direction, protocol, port), classes in services.items()
    ]
    used.sort(key=lambda u: (-u.entries, u.direction, u.protocol, u.port or 0))
    return TableUse(table.entries, _by_state(table.classes), tuple(used), table.unread, table, path)


def _by_state(classes: Iterable[Connections]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for some in classes:
        counts[some.state] += some.entries
    return dict(counts.most_common())
