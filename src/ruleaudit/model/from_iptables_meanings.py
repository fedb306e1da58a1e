"""What the options of one family mean; equal conditions are one object."""

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ruleaudit.matches.extension import Context, Given, MatchExtension, Meaning
from ruleaudit.model.condition import Condition
from ruleaudit.model.fields import Family
from ruleaudit.model.from_iptables_general import general_test

if TYPE_CHECKING:
    from ruleaudit.model.ipset import IpSet


class Meanings:
    """The memory of one run over one file."""

    def __init__(self, family: Family, sets: "Mapping[str, IpSet]") -> None:
        self.family = family
        self.sets = sets
        self.known_sets: set[str] = set()
        self._tests: defaultdict[tuple[str, bool], dict[str, Condition]] = defaultdict(dict)
        self._conditions: dict[Condition, Condition] = {}

    def interned(self, condition: Condition) -> Condition:
        """The one object for all equal conditions."""
        return self._conditions.setdefault(condition, condition)

    def general_test(self, option: str, word: str, negated: bool) -> Condition:
        """The condition of -s, -d, -i, -o, -p or -f; raises Refused.

        Addresses are many, and spelled alike where they are equal: they are one object by their words.
        """
        known = self._tests[option, negated]
        found = known.get(word)
        if found is None:
            found = general_test(option, word, negated, self.family)
            if option not in ("-s", "-d"):
                found = self.interned(found)
            known[word] = found
        return found

    def meaning(self, extension: MatchExtension, given: tuple[Given, ...], context: Context) -> Meaning:
        """What a match extension makes of its options; raises Refused and HostName."""
        found = extension.read(given, context)
        if found.known_set:
            self.known_sets.add(found.known_set)
        return Meaning(self.interned(found.condition), found.consumer, found.memory, found.writes, found.reason)
