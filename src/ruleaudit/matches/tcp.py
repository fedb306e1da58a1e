"""tcp: ports, flags and options of the TCP header (iptables-extensions(8), tcp).

The match fails for every later fragment, whatever is negated (xt_tcpudp.c): there is no TCP header in one.
"""

from collections.abc import Iterator, Sequence

from ruleaudit.matches.extension import Context, Example, Given, MatchExtension, Meaning, Options, OptionSpec
from ruleaudit.model.condition import And, Condition, Masked, Not, Opaque, Or, Scope, Values, all_of, any_of, negate
from ruleaudit.model.fields import TCP, Field, Fragment, TcpFlag
from ruleaudit.syntax.refusal import Refused, did_you_mean
from ruleaudit.syntax.services import port_range

#: no transport header in a later fragment
NOT_LATER = Not(Values(Field.FRAGMENT, ((int(Fragment.LATER), int(Fragment.LATER)),)))

SPORT = OptionSpec("--sport", ("--source-port",), negatable=True)
DPORT = OptionSpec("--dport", ("--destination-port",), negatable=True)
OPTIONS = (
    SPORT,
    DPORT,
    OptionSpec("--tcp-flags", arguments=2, negatable=True),
    OptionSpec("--syn", arguments=0, negatable=True),
    OptionSpec("--tcp-option", negatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
)

#: iptables knows six of the eight flags by name
FLAGS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "ALL": 0x3F, "NONE": 0}
SYN_MASK = TcpFlag.FIN | TcpFlag.SYN | TcpFlag.RST | TcpFlag.ACK


def read(given: Options, context: Context) -> Meaning:
    """Every option narrows; the negation of each is its own."""
    items: list[Condition] = [NOT_LATER, *port_tests(given, TCP)]
    for option in given:
        match option.name:
            case "--sport" | "--dport":
                continue
            case "--tcp-flags":
                mask, value = flags(option.values[0]), flags(option.values[1])
                test: Condition = Masked(Field.TCP_FLAGS, mask, value)
                if not mask and (value or option.negated):
                    # iptables-nft 1.8.9 loses this test, iptables-legacy does not
                    test = Opaque(f"tcp --tcp-flags {' '.join(option.values)}", Scope.PACKET)
                items.append(negate(test, option.negated))
            case "--syn":
                items.append(negate(Masked(Field.TCP_FLAGS, int(SYN_MASK), int(TcpFlag.SYN)), option.negated))
            case _:
                items.append(negate(Opaque(f"tcp --tcp-option {option.value}", Scope.PACKET), option.negated))
    return Meaning(all_of(items))


def port_test(name: str, value: str, negated: bool, protocol: int | None) -> Condition:
    """The port of one side lies in a range."""
    field = Field.SPORT if name == "--sport" else Field.DPORT
    return negate(Values(field, (port_range(value, protocol),)), negated)


def port_tests(given: Options, protocol: int) -> Iterator[Condition]:
    """The tests of both ports in tcp and udp; opaque where iptables-nft 1.8.9 loads something else than is written."""
    options = [o for o in given if o.name in ("--sport", "--dport")]
    tests = [port_test(o.name, o.value, o.negated, protocol) for o in options]
    ranges = [port_range(o.value, protocol) for o in options]
    if len(options) == 2 and all(o.negated and 0 < low == high for o, (low, high) in zip(options, ranges, strict=True)):
        # `! --sport 53 ! --dport 53` is loaded as "not both", iptables-legacy has "neither"
        both = all_of(negate(test) for test in tests)
        yield any_of([all_of(tests), all_of([_lost(options), negate(both)])])
        return
    for option, ports, test in zip(options, ranges, tests, strict=True):
        # no port at all: this test is lost
        yield Not(_lost([option])) if option.negated and ports == (0, 65535) else test


def _lost(options: Sequence[Given]) -> Opaque:
    return Opaque(" ".join(f"{o.name} {o.value}" for o in options), Scope.PACKET)


def flags(word: str) -> int:
    """The bits of a list of flags such as `SYN,ACK`, `ALL` or `NONE`."""
    bits = 0
    for name in word.split(","):
        if name.upper() not in FLAGS:
            raise Refused(f'unknown TCP flag "{name}"', name or word, did_you_mean(name, FLAGS))
        bits |= FLAGS[name.upper()]
    return bits


EXAMPLES = (
    Example("-p tcp -m tcp --dport 22", all_of([NOT_LATER, Values(Field.DPORT, ((22, 22),))])),
    Example("-p tcp ! --dport http:1023", all_of([NOT_LATER, Not(Values(Field.DPORT, ((80, 1023),)))])),
    Example("-p tcp -m tcp --source-port 1024:", all_of([NOT_LATER, Values(Field.SPORT, ((1024, 65535),))])),
    Example("-p tcp ! --sport :", all_of([NOT_LATER, Not(Opaque("--sport :", Scope.PACKET))])),
    Example(
        "-p tcp ! --sport 53 ! --dport 80",
        all_of(
            [
                NOT_LATER,
                Or(
                    (
                        And((Not(Values(Field.SPORT, ((53, 53),))), Not(Values(Field.DPORT, ((80, 80),))))),
                        And(
                            (
                                Opaque("--sport 53 --dport 80", Scope.PACKET),
                                Not(And((Values(Field.SPORT, ((53, 53),)), Values(Field.DPORT, ((80, 80),))))),
                            )
                        ),
                    )
                ),
            ]
        ),
    ),
    Example("-p tcp ! --syn", all_of([NOT_LATER, Not(Masked(Field.TCP_FLAGS, 23, 2))])),
    Example("-p tcp -m tcp --tcp-flags SYN,FIN SYN,FIN", all_of([NOT_LATER, Masked(Field.TCP_FLAGS, 3, 3)])),
    Example("-p tcp -m tcp --tcp-flags ALL NONE", all_of([NOT_LATER, Masked(Field.TCP_FLAGS, 63, 0)])),
    Example("-p tcp -m tcp ! --tcp-option 7", all_of([NOT_LATER, Not(Opaque("tcp --tcp-option 7", Scope.PACKET))])),
    Example("-m tcp --dport 22", refused="needs -p tcp"),
    Example("-p tcp -m tcp --dport 70000", refused='bad port "70000"'),
    Example("-p tcp -m tcp --dport 90:80", refused='bad port range "90:80"'),
    Example("-p tcp -m tcp --tcp-flags SYNC SYN", refused='unknown TCP flag "SYNC"'),
)

EXTENSION = MatchExtension("tcp", OPTIONS, read, EXAMPLES, protocols=(TCP,))
