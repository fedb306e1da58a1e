"""set: membership in an ipset (iptables-extensions(8), set).

What the set holds is not in the ruleset: with the text of `ipset save` (`--ipset`) the test is exact, else opaque, one
boolean for the set and the header fields that are looked up in it. Options that compare counters make it depend on more
than the header.
"""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec, normalised
from ruleaudit.model.condition import Not, Opaque, Scope, negate
from ruleaudit.model.fields import Family, Field
from ruleaudit.model.ipset import membership
from ruleaudit.syntax.refusal import Refused, did_you_mean

_COUNT = "[0-9]+"
OPTIONS = (
    OptionSpec("--match-set", ("--set",), arguments=2, negatable=True),
    OptionSpec("--return-nomatch", arguments=0),
    OptionSpec("--update-counters", arguments=0, negatable=True),
    OptionSpec("--update-subcounters", arguments=0, negatable=True),
    OptionSpec("--packets-eq", negatable=True, pattern=_COUNT),
    OptionSpec("--packets-lt", pattern=_COUNT),
    OptionSpec("--packets-gt", pattern=_COUNT),
    OptionSpec("--bytes-eq", negatable=True, pattern=_COUNT),
    OptionSpec("--bytes-lt", pattern=_COUNT),
    OptionSpec("--bytes-gt", pattern=_COUNT),
)


def lookup(name: str, sides: str) -> tuple[Field, ...]:
    """The header fields that `src,dst` stands for: address, port, address."""
    if len(name) > 31:
        raise Refused(f'set name "{name}" is too long: at most 31 characters', name)
    reads: list[Field] = []
    for position, side in enumerate(sides.split(",")):
        if side not in ("src", "dst") or position > 5:
            raise Refused(
                f'bad side "{side}" of a set: src or dst is needed', side or sides, did_you_mean(side, ("src", "dst"))
            )
        if position == 1:
            reads.append(Field.SPORT if side == "src" else Field.DPORT)
        else:
            reads.append(Field.SADDR if side == "src" else Field.DADDR)
    return tuple(reads)


def read(given: Options, context: Context) -> Meaning:
    """Exact for a set with known contents; else opaque, equal for the two directions of a connection when the sides are
    swapped.
    """
    option = given[0]
    if option.name != "--match-set":
        raise Refused("--match-set must be the first option of set", option.name)
    name, sides = option.values
    reads = lookup(name, sides)
    held = context.sets[name].family if name in context.sets else None
    if held not in (None, context.family):
        raise Refused(f"set {name} holds {'IPv4' if held is Family.IPV4 else 'IPv6'} addresses", name)
    others = {o.name for o in given[1:]} - {"--update-counters", "--update-subcounters"}
    if others <= {"--return-nomatch"}:
        known = membership(name, tuple(sides.split(",")), context.family, context.sets, refused=bool(others))
        if known is not None:
            return Meaning(negate(known, option.negated), known_set=name)
    if len(given) > 1:
        positive = normalised("set", given[1:]).removeprefix("set ")
        return Meaning(negate(Opaque(f"set {name} {sides} {positive}", Scope.MEMORY, reads), option.negated))
    return Meaning(negate(Opaque(f"set {name}", Scope.CONNECTION, reads), option.negated))


EXAMPLES = (
    Example("-m set --match-set blocked src", Opaque("set blocked", Scope.CONNECTION, (Field.SADDR,))),
    Example("-m set ! --match-set web dst,dst", Not(Opaque("set web", Scope.CONNECTION, (Field.DADDR, Field.DPORT)))),
    Example(
        "-m set --match-set a src --packets-gt 3", Opaque("set a src --packets-gt 3", Scope.MEMORY, (Field.SADDR,))
    ),
    Example("-m set --match-set blocked source", refused='bad side "source"'),
    Example("-m set --match-set blocked", refused="needs 2 words"),
)

EXTENSION = MatchExtension("set", OPTIONS, read, EXAMPLES, required=("--match-set",))
