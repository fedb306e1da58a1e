"""What fills a connection table: its services, with states."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from ruleaudit.model.connection_table import ConnectionTable, Held
from ruleaudit.results.table import ServiceUse, TableUse


def use_of(table: ConnectionTable, path: str = "") -> TableUse:
    """The services of a table, all of them."""
    services: defaultdict[tuple[str, str, int | None], list[Held]] = defaultdict(list)
    for some in table.held:
        services[some.direction, some.protocol, some.port].append(some)
    used = [
        ServiceUse(
            direction,
            protocol,
            port,
            sum(some.entries for some in held),
            _by_state(held),
            sum(some.entries for some in held if some.unreplied),
            sum(some.entries for some in held if some.assured),
        )
        for (direction, protocol, port), held in services.items()
    ]
    used.sort(key=lambda u: (-u.entries, u.direction, u.protocol, u.port or 0))
    return TableUse(table.entries, _by_state(table.held), tuple(used), table.unread, table, path)


def _by_state(held: Iterable[Held]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for some in held:
        counts[some.state] += some.entries
    return dict(counts.most_common())
