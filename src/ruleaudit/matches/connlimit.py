"""connlimit: how many connections an address has (iptables-extensions(8), connlimit).

It counts conntrack entries: untracked packets are asked too, but the count never grows (netfilter-facts sections 3
and 12).
"""

from ruleaudit.matches.checks import checked, within
from ruleaudit.matches.extension import (
    Context,
    Example,
    Given,
    MatchExtension,
    Meaning,
    Options,
    OptionSpec,
    normalised,
)
from ruleaudit.model.condition import Not, Opaque, Scope, negate
from ruleaudit.model.ruleset import Consumer, Use
from ruleaudit.syntax.numbers import ALL_ONES
from ruleaudit.syntax.refusal import Refused

OPTIONS = (
    OptionSpec("--connlimit-upto", pattern="[0-9]+"),
    OptionSpec("--connlimit-above", negatable=True, pattern="[0-9]+"),
    OptionSpec("--connlimit-mask"),
    OptionSpec("--connlimit-saddr", arguments=0),
    OptionSpec("--connlimit-daddr", arguments=0),
)


def read(given: Options, context: Context) -> Meaning:
    """`--connlimit-upto n` is `! --connlimit-above n`."""
    limits = [o for o in given if o.name in ("--connlimit-upto", "--connlimit-above")]
    if len(limits) != 1:
        raise Refused("connlimit needs --connlimit-upto or --connlimit-above")
    if {"--connlimit-saddr", "--connlimit-daddr"} <= {o.name for o in given}:
        raise Refused("connlimit takes one of --connlimit-saddr and --connlimit-daddr", "--connlimit-daddr")
    limit = limits[0]
    above = Given("--connlimit-above", False, limit.values)
    test = Opaque(normalised("connlimit", tuple(above if o is limit else o for o in given)), Scope.MEMORY)
    negated = limit.negated != (limit.name == "--connlimit-upto")
    return Meaning(negate(test, negated), Consumer(Use.READS, "connlimit"), memory=True)


_THREE = Opaque("connlimit --connlimit-above 3", Scope.MEMORY)

EXAMPLES = (
    Example("-p tcp -m connlimit --connlimit-above 3", _THREE),
    Example("-p tcp -m connlimit --connlimit-upto 3", Not(_THREE)),
    Example("-p tcp -m connlimit --connlimit-above few", refused='bad value "few"'),
    Example("-p tcp -m connlimit --connlimit-above 4294967296", refused="from 0 to 4294967295"),
    Example("-p tcp -m connlimit", refused="needs --connlimit-upto or --connlimit-above"),
)

EXTENSION = MatchExtension(
    "connlimit",
    OPTIONS,
    checked(read, within("--connlimit-upto", 0, ALL_ONES), within("--connlimit-above", 0, ALL_ONES)),
    EXAMPLES,
)
