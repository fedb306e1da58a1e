"""conntrack: what connection tracking says of the packet (iptables-extensions(8), conntrack).

`--ctstate` is evaluated first, with its `!`. Where no entry hangs on the packet (INVALID, UNTRACKED) the answer is then
"was `--ctstate` given"; every other option is ignored. Observed on the kernel: netfilter-facts section 3.
"""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec
from ruleaudit.model.condition import (
    HAS_ENTRY,
    And,
    Condition,
    Direction,
    Not,
    Opaque,
    Or,
    Scope,
    States,
    Values,
    all_of,
    any_of,
    negate,
)
from ruleaudit.model.fields import Field, State
from ruleaudit.syntax.addresses import network
from ruleaudit.syntax.numbers import number_range
from ruleaudit.syntax.refusal import Refused, did_you_mean
from ruleaudit.syntax.services import port_range, protocol

OPTIONS = (
    OptionSpec("--ctstate", negatable=True),
    OptionSpec("--ctproto", negatable=True),
    OptionSpec("--ctorigsrc", negatable=True),
    OptionSpec("--ctorigdst", negatable=True),
    OptionSpec("--ctreplsrc", negatable=True),
    OptionSpec("--ctrepldst", negatable=True),
    OptionSpec("--ctorigsrcport", negatable=True),
    OptionSpec("--ctorigdstport", negatable=True),
    OptionSpec("--ctreplsrcport", negatable=True),
    OptionSpec("--ctrepldstport", negatable=True),
    OptionSpec("--ctstatus", negatable=True),
    OptionSpec("--ctexpire", negatable=True),
    OptionSpec("--ctdir"),
)

#: in the order in which iptables tries to complete a shortened name
STATES = ("INVALID", "NEW", "ESTABLISHED", "RELATED", "UNTRACKED", "SNAT", "DNAT")
STATUSES = ("NONE", "EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED")


def state_test(value: str, known: tuple[str, ...]) -> Condition:
    """The packet's state is one of a list; SNAT and DNAT are bits of the entry."""
    names: list[str] = []
    for word in value.split(","):
        name = next((s for s in known if word and s.startswith(word.upper())), None)
        if name is None:
            raise Refused(f'unknown connection state "{word}"', word or value, did_you_mean(word, known))
        names.append(name)
    plain = frozenset(State[n] for n in names if n not in ("SNAT", "DNAT"))
    translated = [
        all_of([HAS_ENTRY, Opaque(f"conntrack --ctstate {n}", Scope.ENTRY)]) for n in ("SNAT", "DNAT") if n in names
    ]
    return any_of([*([States(plain)] if plain else []), *translated])


def _entry_test(name: str, value: str, context: Context) -> Condition:
    """What an option asks of an entry that is there."""
    bits = context.family.address_bits
    match name:
        case "--ctdir":
            directions = [d for d in ("ORIGINAL", "REPLY") if value.upper() == d]
            if not directions:
                raise Refused(f'unknown direction "{value}"', value, did_you_mean(value, ("ORIGINAL", "REPLY")))
            return Direction(directions[0] == "ORIGINAL")
        case "--ctproto":
            number_of_protocol = protocol(value)
            if number_of_protocol == 0:
                raise Refused("--ctproto 0 would never match", value)
            related = States(frozenset({State.RELATED}))
            same = Values(Field.PROTOCOL, ((number_of_protocol, number_of_protocol),))
            other = Opaque(f"conntrack --ctproto {number_of_protocol}", Scope.ENTRY)
            # an ICMP error is RELATED to an entry of another protocol
            return Or((And((Not(related), same)), And((related, other))))
        case "--ctstatus":
            for word in value.split(","):
                if not word or not any(s.startswith(word.upper()) for s in STATUSES):
                    raise Refused(f'unknown connection status "{word}"', word or value, did_you_mean(word, STATUSES))
        case "--ctexpire":
            number_range(value, 0, 0xFFFFFFFF, "time")
        case _ if name.endswith("port"):
            port_range(value, context.protocol)
        case _:
            network(value, bits)
    return Opaque(f"conntrack {name} {value}", Scope.ENTRY)


def read(given: Options, context: Context) -> Meaning:
    """State first; the rest only where there is an entry."""
    if not given:
        raise Refused("conntrack needs at least one option")
    states = [o for o in given if o.name == "--ctstate"]
    rest = [negate(_entry_test(o.name, o.value, context), o.negated) for o in given if o.name != "--ctstate"]
    if not states:
        return Meaning(all_of([HAS_ENTRY, *rest]))
    state = negate(state_test(states[0].value, STATES), states[0].negated)
    return Meaning(all_of([state, any_of([Not(HAS_ENTRY), all_of(rest)])]) if rest else state)


_NEW = States(frozenset({State.NEW}))
_ASSURED = Opaque("conntrack --ctstatus ASSURED", Scope.ENTRY)
_SNAT = Opaque("conntrack --ctstate SNAT", Scope.ENTRY)

EXAMPLES = (
    Example("-m conntrack --ctstate NEW", _NEW),
    Example("-m conntrack --ctstate new,untr", States(frozenset({State.NEW, State.UNTRACKED}))),
    Example("-m conntrack ! --ctstate RELATED,ESTABLISHED", Not(States(frozenset({State.RELATED, State.ESTABLISHED})))),
    Example("-m conntrack --ctstatus ASSURED", all_of([HAS_ENTRY, _ASSURED])),
    Example("-m conntrack ! --ctstatus ASSURED", all_of([HAS_ENTRY, Not(_ASSURED)])),
    Example("-m conntrack --ctstate NEW ! --ctstatus ASSURED", all_of([_NEW, any_of([Not(HAS_ENTRY), Not(_ASSURED)])])),
    Example("-m conntrack --ctstate NEW,SNAT", any_of([_NEW, all_of([HAS_ENTRY, _SNAT])])),
    Example("-m conntrack ! --ctstate SNAT", Not(all_of([HAS_ENTRY, _SNAT]))),
    Example("-m conntrack --ctdir REPLY", all_of([HAS_ENTRY, Direction(False)])),
    Example("-m conntrack --ctstate NEW,ESTBLISHED", refused='unknown connection state "ESTBLISHED"'),
    Example("-m conntrack --ctorigdst 10.0.0.300", refused="is not an IPv4 address"),
    Example("-m conntrack", refused="at least one option"),
)

EXTENSION = MatchExtension("conntrack", OPTIONS, read, EXAMPLES)
