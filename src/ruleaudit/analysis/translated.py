"""Packets that NAT translates: what becomes of them then is decided about another header, and not followed here."""

from collections.abc import Iterator

from ruleaudit.analysis.row import union
from ruleaudit.analysis.walk import Walk
from ruleaudit.model.fields import Hook
from ruleaudit.model.ruleset import EffectKind, Rule, Ruleset
from ruleaudit.packets.diagram import PacketSet, is_empty

#: they change the source when the packet leaves; the filters have seen it before, and see its replies translated back
_SOURCE = ("SNAT", "MASQUERADE")
#: replies are translated back here, and look otherwise to whatever comes before
_TRANSLATES_BACK = -100


def translates(rule: Rule) -> str:
    """The word of a rule that does NAT (`DNAT`, `MASQUERADE`); empty for any other."""
    return next((e.text.split()[0] for e in rule.effects if e.kind is EffectKind.NAT), "")


def changes_destination(rule: Rule) -> bool:
    """The rule sends packets elsewhere: they go on with another destination address or port."""
    word = translates(rule)
    return bool(word) and word not in _SOURCE


def translated_by_rule(walk: Walk, packets: PacketSet, *, source: bool) -> dict[Rule, PacketSet]:
    """Those of some packets that a rule sends elsewhere, or that leave with another source, by the rule."""
    found = ((rule, matched & packets) for rule, matched in _matched(walk, source))
    return {rule: here for rule, here in found if not is_empty(here)}


def any_translated(walk: Walk, *, source: bool) -> PacketSet:
    """The packets of all such rules in one set, for there may be thousands of them."""
    return union([matched for _, matched in _matched(walk, source)], walk.none)


def _matched(walk: Walk, source: bool) -> Iterator[tuple[Rule, PacketSet]]:
    return walk.matched.of(lambda rule: bool(translates(rule)) and changes_destination(rule) is not source)


def where_replies_look_otherwise(ruleset: Ruleset) -> Rule | None:
    """A rule that meets the replies of translated connections before they are translated back; None: there is none."""
    for chain in ruleset.base_chains(Hook.PREROUTING):
        if not chain.nat and chain.priority < _TRANSLATES_BACK:
            for rule in chain.rules:
                return rule
    return None
