"""`show --as json`: the model of a ruleset as the analysis sees it; what is not understood is marked."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, summarize_address_range

from ruleaudit.model.condition import (
    Always,
    And,
    Condition,
    Direction,
    Interface,
    Masked,
    Never,
    Not,
    Opaque,
    Or,
    States,
    Values,
    interval_text,
)
from ruleaudit.model.fields import AddressType, Family, Field, Fragment, PacketType
from ruleaudit.model.ruleset import (
    Accept,
    Chain,
    Continue,
    Drop,
    Effect,
    Goto,
    Jump,
    Match,
    Queue,
    Reject,
    Return,
    Rule,
    Ruleset,
    Unknown,
    Verdict,
)
from ruleaudit.report.schema import Json, document, place

_NAMES = {
    Field.SRC_TYPE: AddressType,
    Field.DST_TYPE: AddressType,
    Field.PKTTYPE: PacketType,
    Field.FRAGMENT: Fragment,
}


def render(rulesets: Sequence[Ruleset]) -> str:
    """One object: what the text means for packets of each address family that it speaks of."""
    first = rulesets[0]
    families: list[Json] = [{"family": r.family.value, "tables": _tables(r)} for r in rulesets]
    return document(
        {"path": first.source.path, "language": first.language, "partial": first.partial, "families": families}
    )


def _tables(ruleset: Ruleset) -> list[Json]:
    return [
        {"name": table.name, "chains": [_chain(ruleset, chain) for chain in table.chains.values()]}
        for table in ruleset.tables.values()
    ]


def render_source(path: str, text: str) -> str:
    """`show --as source` where JSON is asked for."""
    return document({"path": path, "source": text})


def _chain(ruleset: Ruleset, chain: Chain) -> dict[str, Json]:
    return {
        "name": chain.name,
        "line": chain.line,
        "hook": chain.hook.value if chain.hook else None,
        "priority": chain.priority if chain.hook else None,
        "policy": verdict(chain.policy) if chain.hook else None,
        "nat": chain.nat,
        "rules": [_rule(ruleset, rule) for rule in chain.rules],
    }


def _rule(ruleset: Ruleset, rule: Rule) -> dict[str, Json]:
    return {
        "place": place(ruleset.source, rule.span, rule),
        "understood": rule.understood,
        "matches": [_match(ruleset, rule, match) for match in rule.matches],
        "effects": [_effect(effect) for effect in rule.effects],
        "consumers": [{"use": c.use.value, "what": c.what} for c in rule.consumers],
        "verdict": verdict(rule.verdict),
    }


def _match(ruleset: Ruleset, rule: Rule, match: Match) -> dict[str, Json]:
    return {
        "name": match.name or "general",
        "text": ruleset.source.slice(rule.place_of(match)),
        "understood": match.understood,
        "reason": match.reason,
        "memory": match.memory,
        "writes": match.writes,
        "consumer": {"use": match.consumer.use.value, "what": match.consumer.what} if match.consumer else None,
        "condition": condition(match.condition, ruleset.family),
    }


def _effect(effect: Effect) -> dict[str, Json]:
    values: dict[str, Json] = {"kind": effect.kind.value, "text": effect.text}
    if effect.kind.value == "mark":
        values |= {"mask": effect.mask, "value": effect.value}
    if effect.ports:
        values["ports"] = [interval_text((low, high)) for low, high in effect.ports]
    return values


def verdict(found: Verdict) -> Json:
    """A verdict as the words of the rule language's target."""
    match found:
        case Continue():
            return "continue"
        case Accept():
            return "accept"
        case Drop():
            return "drop"
        case Reject(kind):
            return f"reject {kind}"
        case Queue(number):
            return f"queue {number}"
        case Jump(chain):
            return {"jump": chain}
        case Goto(chain):
            return {"goto": chain}
        case Return():
            return "return"
        case Unknown(text):
            return {"unknown": text}


def condition(found: Condition, family: Family) -> Json:
    """A condition as nested objects."""
    match found:
        case Always():
            return True
        case Never():
            return False
        case And(items):
            return {"all": [condition(item, family) for item in items]}
        case Or(items):
            return {"any": [condition(item, family) for item in items]}
        case Not(item):
            return {"not": condition(item, family)}
        case Values(field, intervals):
            return {"field": field.value, "in": [v for pair in intervals for v in _values(field, pair, family)]}
        case Masked(field, mask, value):
            return {"field": field.value, "mask": mask, "value": value}
        case Interface(field, name):
            return {"field": field.value, "name": name}
        case States(states):
            return {"state": list[Json](sorted(state.value for state in states))}
        case Direction(original):
            return {"direction": "original" if original else "reply"}
        case Opaque(name, scope, reads):
            return {"opaque": name, "scope": scope.value, "reads": [field.value for field in reads]}


def _values(field: Field, interval: tuple[int, int], family: Family) -> list[Json]:
    low, high = interval
    if field in (Field.SADDR, Field.DADDR):
        if family is Family.IPV4:
            return [str(n) for n in summarize_address_range(IPv4Address(low), IPv4Address(high))]
        return [str(n) for n in summarize_address_range(IPv6Address(low), IPv6Address(high))]
    names = _NAMES.get(field)
    if names is not None:
        return [names(value).name.lower() for value in range(low, high + 1)]
    return [interval_text((low, high))]
