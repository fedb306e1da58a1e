"""icmp: type and code of the ICMP header (iptables-extensions(8), icmp).

Fails for every later fragment (ip_tables.c).
"""

import re

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec
from ruleaudit.matches.tcp import NOT_LATER
from ruleaudit.model.condition import ALWAYS, NEVER, Condition, Not, Values, all_of, negate
from ruleaudit.model.fields import ICMP, Family, Field
from ruleaudit.syntax.numbers import number_range
from ruleaudit.syntax.refusal import Refused, did_you_mean

Kind = tuple[int, int | None]  #: type and code; no code: every code

OPTIONS = (OptionSpec("--icmp-type", negatable=True),)

#: xtables' names (libipt_icmp.c), in its order
NAMES: dict[str, Kind] = {
    "echo-reply": (0, None), "pong": (0, None), "destination-unreachable": (3, None), "network-unreachable": (3, 0),
    "host-unreachable": (3, 1), "protocol-unreachable": (3, 2), "port-unreachable": (3, 3),
    "fragmentation-needed": (3, 4), "source-route-failed": (3, 5), "network-unknown": (3, 6),
    "host-unknown": (3, 7), "network-prohibited": (3, 9), "host-prohibited": (3, 10),
    "TOS-network-unreachable": (3, 11), "TOS-host-unreachable": (3, 12), "communication-prohibited": (3, 13),
    "host-precedence-violation": (3, 14), "precedence-cutoff": (3, 15), "source-quench": (4, None),
    "redirect": (5, None), "network-redirect": (5, 0), "host-redirect": (5, 1), "TOS-network-redirect": (5, 2),
    "TOS-host-redirect": (5, 3), "echo-request": (8, None), "ping": (8, None), "router-advertisement": (9, None),
    "router-solicitation": (10, None), "time-exceeded": (11, None), "ttl-exceeded": (11, None),
    "ttl-zero-during-transit": (11, 0), "ttl-zero-during-reassembly": (11, 1), "parameter-problem": (12, None),
    "ip-header-bad": (12, 0), "required-option-missing": (12, 1), "timestamp-request": (13, None),
    "timestamp-reply": (14, None), "address-mask-request": (17, None), "address-mask-reply": (18, None),
}  # fmt: skip


def type_test(word: str, names: dict[str, Kind]) -> Condition:
    """The condition of `type`, `type/code`, or a name that may be shortened while it stays unambiguous."""
    if word[:1].isdigit():
        kind, slash, code = word.partition("/")
        types = number_range(kind, 0, 255, "ICMP type")
        codes = number_range(code, 0, 255, "ICMP code") if slash else None
        if types[0] != types[1] and slash:
            raise Refused(f'bad ICMP type "{word}": no code behind a range of types', word)
    else:
        found = names.get(word) or _shortened(word, names)
        types, codes = (found[0], found[0]), None if found[1] is None else (found[1], found[1])
    test = Values(Field.ICMP_TYPE, (types,))
    return test if codes is None or codes == (0, 255) else all_of([test, Values(Field.ICMP_CODE, (codes,))])


def _shortened(word: str, names: dict[str, Kind]) -> Kind:
    fits = [name for name in names if name.lower().startswith(word.lower())] if re.fullmatch(r"[\w-]+", word) else []
    if len(fits) == 1 or any(name.lower() == word.lower() for name in fits):
        return names[next((n for n in fits if n.lower() == word.lower()), fits[0])]
    if fits:
        raise Refused(f'ambiguous ICMP type "{word}": {" or ".join(fits[:3])}', word)
    raise Refused(f'unknown ICMP type "{word}"', word, did_you_mean(word, [*names, "any"]))


def read(given: Options, context: Context) -> Meaning:
    """`any` (and type 255, its number) matches every type."""
    items: list[Condition] = [NOT_LATER]
    for option in given:
        whole = option.value in ("any", "255") or re.fullmatch("255/.*", option.value) is not None
        if whole and "/" in option.value:
            number_range(option.value[4:], 0, 255, "ICMP code")
        items.append(
            (NEVER if option.negated else ALWAYS) if whole else negate(type_test(option.value, NAMES), option.negated)
        )
    return Meaning(all_of(items))


EXAMPLES = (
    Example("-p icmp -m icmp --icmp-type 8", all_of([NOT_LATER, Values(Field.ICMP_TYPE, ((8, 8),))])),
    Example("-p icmp --icmp-type echo-req", all_of([NOT_LATER, Values(Field.ICMP_TYPE, ((8, 8),))])),
    Example(
        "-p icmp ! --icmp-type fragmentation-needed",
        all_of([NOT_LATER, Not(all_of([Values(Field.ICMP_TYPE, ((3, 3),)), Values(Field.ICMP_CODE, ((4, 4),))]))]),
    ),
    Example("-p icmp -m icmp --icmp-type any", NOT_LATER),
    Example("-p icmp -m icmp ! --icmp-type any", NEVER),
    Example("-p icmp -m icmp --icmp-type ecco-request", refused='unknown ICMP type "ecco-request"'),
    Example("-p icmp -m icmp --icmp-type 3/256", refused='bad ICMP code "256"'),
    Example("-p tcp -m icmp --icmp-type 8", refused="needs -p icmp"),
)

EXTENSION = MatchExtension("icmp", OPTIONS, read, EXAMPLES, family=Family.IPV4, protocols=(ICMP,))
