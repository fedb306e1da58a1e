"""Packets that NAT translates: what becomes of them then is decided about another header, and not followed here."""

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


def destination_translated(walk: Walk, packets: PacketSet) -> dict[Rule, PacketSet]:
    """Those of some packets that a rule sends elsewhere, by the rule."""
    return _translated(walk, packets, False)


def source_translated(walk: Walk, packets: PacketSet) -> dict[Rule, PacketSet]:
    """Those of some packets that leave with another source, by the rule."""
    return _translated(walk, packets, True)


def _translated(walk: Walk, packets: PacketSet, source: bool) -> dict[Rule, PacketSet]:
    found = {}
    for rule, matched in walk.matched.of(lambda r: bool(translates(r)) and changes_destination(r) is not source):
        if not is_empty(matched & packets):
            found[rule] = matched & packets
    return found


def where_replies_look_otherwise(ruleset: Ruleset) -> Rule | None:
    """A rule that meets the replies of translated connections before they are translated back; None: there is none."""
    for chain in ruleset.base_chains(Hook.PREROUTING):
        if not chain.nat and chain.priority < _TRANSLATES_BACK:
            for rule in chain.rules:
                return rule
    return None
