"""multiport: up to fifteen ports or port ranges at once (iptables-extensions(8), multiport).

Fails for every later fragment.
"""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec
from ruleaudit.matches.tcp import NOT_LATER
from ruleaudit.model.condition import Condition, Not, Values, all_of, any_of, merged, negate
from ruleaudit.model.fields import PORT_PROTOCOLS, Field
from ruleaudit.syntax.refusal import Refused
from ruleaudit.syntax.services import port_range

OPTIONS = (
    OptionSpec("--sports", ("--source-ports",), negatable=True),
    OptionSpec("--dports", ("--destination-ports",), negatable=True),
    OptionSpec("--ports", ("--port",), negatable=True),
)


def read(given: Options, context: Context) -> Meaning:
    """`--ports` asks for either side; the negation is of the whole."""
    if not given:
        raise Refused("multiport needs --sports, --dports or --ports")
    if len(given) > 1:
        raise Refused("multiport takes one of --sports, --dports and --ports only", given[1].name)
    option = given[0]
    ports: list[tuple[int, int]] = []
    slots = 0
    for word in option.value.split(","):
        if not word or word[0] == ":" or word[-1] == ":":
            raise Refused(f'bad port list "{option.value}"', option.value)
        ports.append(port_range(word, context.protocol))
        if ":" in word and ports[-1][0] == ports[-1][1]:
            raise Refused(f'bad port range "{word}": both ends are the same', word, f"write {ports[-1][0]}")
        slots += 1 + (":" in word)
    if slots > 15:
        raise Refused(
            f"too many ports: {slots} (a range counts for two), at most 15 fit into one multiport", option.value
        )
    fields = {"--sports": (Field.SPORT,), "--dports": (Field.DPORT,), "--ports": (Field.SPORT, Field.DPORT)}[
        option.name
    ]
    test: Condition = any_of(Values(field, merged(ports)) for field in fields)
    return Meaning(all_of([NOT_LATER, negate(test, option.negated)]))


EXAMPLES = (
    Example("-p tcp -m multiport --dports 80,443", all_of([NOT_LATER, Values(Field.DPORT, ((80, 80), (443, 443)))])),
    Example(
        "-p udp -m multiport ! --sports 53,1024:2000",
        all_of([NOT_LATER, Not(Values(Field.SPORT, ((53, 53), (1024, 2000))))]),
    ),
    Example(
        "-p tcp -m multiport --ports http",
        all_of([NOT_LATER, any_of([Values(Field.SPORT, ((80, 80),)), Values(Field.DPORT, ((80, 80),))])]),
    ),
    Example("-p tcp -m multiport --dports 80:80", refused="both ends are the same"),
    Example("-m multiport --dports 80,443", refused="needs -p"),
    Example("! -p tcp -m multiport --dports 80", refused="needs -p"),
    Example("-p tcp -m multiport --dports 80,,443", refused="bad port list"),
    Example("-p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", refused="too many ports: 16"),
)

EXTENSION = MatchExtension("multiport", OPTIONS, read, EXAMPLES, protocols=PORT_PROTOCOLS)
