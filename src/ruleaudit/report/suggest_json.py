"""`suggest` as JSON."""

from collections.abc import Sequence

from ruleaudit.model.proxy import Listener, Proxy, Target
from ruleaudit.report import kernel_json, kernel_text, live_json
from ruleaudit.report.diff import unified
from ruleaudit.report.schema import Json, document, failure, flow, rule_place, witness
from ruleaudit.results.observation import Observation
from ruleaudit.results.suggestion import Suggestion
from ruleaudit.results.table import Relief
from ruleaudit.source import SourceFile


def render(suggestion: Suggestion, observation: Observation | None = None, proxy: Proxy | None = None) -> str:
    """One object; an error, if the kernel refuses the rulesets or decides otherwise than was reasoned.

    `proxy`: what HAProxy's configuration says; what is to be said about it is among the notes.
    """
    if observation is not None and observation.contradicts:
        return failure(kernel_text.problem(observation), {"kernel": kernel_json.observation(observation)})
    source = suggestion.source
    values: dict[str, Json] = {
        "outcome": suggestion.outcome,
        "class": suggestion.kind.value if suggestion.kind else None,
        "flows": [flow(source, f) for f in suggestion.flows],
        "could_leave": [{**flow(source, c.flow), "reason": c.reason} for c in suggestion.could_leave],
        "offers": [
            {
                "options": list(offer.options),
                "frees": [flow(source, f) for f in offer.frees],
                "class": offer.kind.value if offer.kind else None,
            }
            for offer in suggestion.offers
        ],
        "kept": [
            {
                "place": rule_place(source, kept.rule),
                "class": kept.kind.value,
                "reason": kept.reason,
                "witness": witness(kept.witness),
            }
            for kept in suggestion.kept
        ],
        "refused": [
            {
                "flow": flow(source, refused.flow),
                "place": rule_place(source, refused.rule),
                "reason": refused.reason,
                "witness": witness(refused.witness),
                "cure": refused.cure,
            }
            for refused in suggestion.refused
        ],
        "strays": [witness(d.witness) for d in suggestion.strays],
        "opens": [witness(d.witness) for d in suggestion.opens],
        "assumptions": [f"{key}: {text}" for key, text in suggestion.assumptions],
        "not_understood": [rule_place(source, r) for r in suggestion.ruleset.rules() if not r.understood],
        "changes": [{"topic": c.topic, "reason": c.reason} for c in suggestion.changes],
        "notes": [*suggestion.notes, *(remark.text for remark in (proxy.remarks if proxy else ()))],
        "diff": unified(source, suggestion.text) if suggestion.text is not None else None,
    }
    if proxy is not None:
        values["haproxy"] = {
            "listeners": _ends(proxy.listeners),
            "servers": _ends(proxy.targets),
        }
    if suggestion.relief is not None:
        values["table"] = _table(source, suggestion.relief)
    if suggestion.checked:
        values["checked"] = [live_json.checked(one) for one in suggestion.checked]
    if suggestion.running is not None:
        values["live"] = live_json.running(suggestion.running)
    if observation is not None:
        values["kernel"] = kernel_json.observation(observation)
    return document(values)


def _ends(ends: Sequence[Listener | Target]) -> list[Json]:
    """Sockets, or what they are opened to, each once; a host name for an address that is not known, or null."""
    found = dict.fromkeys((_address(one), one.port, one.protocol) for one in ends)
    return [{"address": address, "port": port, "protocol": protocol} for address, port, protocol in found]


def _address(one: Listener | Target) -> str | None:
    return one.name or None if one.address is None else str(one.address)


def _table(source: SourceFile, relief: Relief) -> Json:
    use = relief.use
    return {
        "path": use.path,
        "entries": use.entries,
        "by_state": dict(use.by_state),
        "freed": {"entries": relief.freed, "share": round(relief.share, 4)},
        "unclear": relief.unclear,
        "refused": relief.refused,
        "unasked": relief.unasked,
        "own": [str(address) for address in use.table.own],
        "not_read": len(use.unread) + use.table.more,
        "services": [
            {
                "direction": one.direction,
                "protocol": one.protocol,
                "port": one.port,
                "entries": one.entries,
                "by_state": dict(one.by_state),
                "freed": freed,
                "place": rule_place(source, rule),
            }
            for one, rule, freed in relief.services
        ],
    }
