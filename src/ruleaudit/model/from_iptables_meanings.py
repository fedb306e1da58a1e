"""What the options of one family mean, remembered: equal options are read once, and equal conditions are one object."""

from collections.abc import Mapping

from ruleaudit.matches.extension import Context, Given, MatchExtension, Meaning
from ruleaudit.model.condition import Condition
from ruleaudit.model.fields import Family
from ruleaudit.model.from_iptables_general import general_test
from ruleaudit.model.ipset import IpSet
from ruleaudit.syntax.addresses import HostName
from ruleaudit.syntax.refusal import Refused
from ruleaudit.targets.extension import Action, TargetExtension

_Key = tuple[str, tuple[Given, ...], int | None, str]


class Meanings:
    """The memory of one run over one file."""

    def __init__(self, family: Family, sets: Mapping[str, IpSet]) -> None:
        self.family = family
        self.sets = sets
        self.known_sets: set[str] = set()
        self._matches: dict[_Key, Meaning | Refused | HostName] = {}
        self._actions: dict[_Key, Action | Refused | HostName] = {}
        self._conditions: dict[Condition, Condition] = {}

    def interned(self, condition: Condition) -> Condition:
        """The one object for all equal conditions."""
        return self._conditions.setdefault(condition, condition)

    def general_test(self, option: str, word: str, negated: bool) -> Condition:
        """The condition of -s, -d, -i, -o, -p or -f; raises Refused."""
        return self.interned(general_test(option, word, negated, self.family))

    def meaning(self, extension: MatchExtension, given: tuple[Given, ...], context: Context) -> Meaning:
        """What a match extension makes of its options."""
        key = (extension.name, given, context.protocol, context.table)
        found = self._matches.get(key)
        if found is None:
            try:
                found = extension.read(given, context)
                if found.known_set:
                    self.known_sets.add(found.known_set)
                found = Meaning(
                    self.interned(found.condition), found.consumer, found.memory, found.writes, found.reason
                )
            except (Refused, HostName) as error:
                found = error
            self._matches[key] = found
        if isinstance(found, Exception):
            raise found
        return found

    def action(self, extension: TargetExtension, given: tuple[Given, ...], context: Context) -> Action:
        """What a target makes of its options."""
        key = (extension.name, given, context.protocol, context.table)
        found = self._actions.get(key)
        if found is None:
            try:
                found = extension.read(given, context)
            except (Refused, HostName) as error:
                found = error
            self._actions[key] = found
        if isinstance(found, Exception):
            raise found
        return found
