"""What became of a packet under iptables-legacy, which tells nobody: the rules and policies that counted it.

Source: iptables-save(8), with -c.
"""

import re
from collections.abc import Iterable

_TABLE = re.compile(r"\*(\S+)")
_POLICY = re.compile(r":(\S+) ([A-Z]+) \[(\d+):")
_RULE = re.compile(r"\[(\d+):\d+\] -A (\S+)")

ACCEPTS, DROPS = 0, -1

#: a table, a chain, and the number of a rule in it, or the policy (ACCEPTS, DROPS)
Counted = tuple[str, str, int]


def counters(listings: Iterable[str]) -> dict[Counted, int]:
    """How many packets each rule and each policy has counted, in the order of the rules."""
    found: dict[Counted, int] = {}
    table = ""
    length: dict[str, int] = {}
    for line in (line for listing in listings for line in listing.splitlines()):
        if named := _TABLE.match(line):
            table, length = named[1], {}
        elif policy := _POLICY.match(line):
            found[table, policy[1], DROPS if policy[2] == "DROP" else ACCEPTS] = int(policy[3])
        elif rule := _RULE.match(line):
            length[rule[2]] = length.get(rule[2], 0) + 1
            found[table, rule[2], length[rule[2]]] = int(rule[1])
    return found


def counted(before: dict[Counted, int], after: dict[Counted, int]) -> list[Counted]:
    """The rules and policies that counted something."""
    return [key for key, number in after.items() if number != before.get(key, 0)]
