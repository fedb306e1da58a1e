"""`capacity` as JSON."""

from ruleaudit.capacity import Advice, Capacity, Freed
from ruleaudit.report.schema import Json, document, rule_place
from ruleaudit.results.table import ServiceUse

_COUNTERS = ("drop", "early_drop", "insert_failed", "chaintoolong", "invalid")


def render(answer: Capacity) -> str:
    """One object; numbers that nobody knows are null."""
    table, use, freed = answer.table, answer.use, answer.freed
    now = table.now if table else None
    left = answer.seconds_left
    return document(
        {
            "table": {
                "count": table.count if table else None,
                "max": table.max if table else None,
                "buckets": table.buckets if table else None,
                "entry_bytes": answer.entry_bytes,
            },
            "full": answer.full,
            "growth_per_second": None if table is None or table.later is None else round(answer.growth),
            "full_in_seconds": None if left is None else round(left),
            "counters": {name: now.counters[name] for name in _COUNTERS if name in now.counters} if now else {},
            "log": list(table.log) if table else [],
            "sampled": None if use is None else use.entries,
            "services": [_service(one, freed) for one in use.services] if use else [],
            "freed": None if freed is None else {"entries": freed.entries, "share": round(freed.share, 4)},
            "advice": [_advice(one) for one in answer.advice],
            "unread": [{"path": path, "reason": why} for path, why in (table.unread if table else ())],
        }
    )


def _service(one: ServiceUse, freed: Freed | None) -> Json:
    """A service with the place of the rule that lets its connections be, where the rules are known."""
    told = [
        (suggestion.source, rule, number)
        for suggestion in (freed.suggestions if freed else ())
        for used, rule, number in (suggestion.relief.services if suggestion.relief else ())
        if used == one
    ]
    places = [rule_place(source, rule) for source, rule, _ in told if rule is not None]
    states: dict[str, Json] = dict(one.by_state.items())
    return {
        "direction": one.direction,
        "protocol": one.protocol,
        "port": one.port,
        "entries": one.entries,
        "by_state": states,
        "unreplied": one.unreplied,
        "freed": sum(number for _, _, number in told) if freed else None,
        "place": places[0] if places else None,
    }


def _advice(one: Advice) -> Json:
    return {
        "setting": one.setting,
        "value": one.value,
        "reason": one.reason,
        "memory_bytes": one.memory_bytes,
        "formula": one.formula or None,
        "code": one.code or None,
    }
