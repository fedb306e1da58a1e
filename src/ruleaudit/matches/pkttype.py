"""pkttype: the link layer's type of the packet (iptables-extensions(8), pkttype)."""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec
from ruleaudit.model.condition import NEVER, Condition, Not, Values, negate
from ruleaudit.model.fields import Field, PacketType
from ruleaudit.syntax.refusal import Refused, did_you_mean

OPTIONS = (OptionSpec("--pkt-type", negatable=True),)
NAMES = {
    "unicast": PacketType.UNICAST,
    "broadcast": PacketType.BROADCAST,
    "multicast": PacketType.MULTICAST,
    "bcast": PacketType.BROADCAST,
    "mcast": PacketType.MULTICAST,
    "host": PacketType.UNICAST,
}


def read(given: Options, context: Context) -> Meaning:
    """Packets for other hosts never reach the IP layer, so `otherhost` matches nothing."""
    word = given[0].value
    test: Condition
    if word.lower() == "otherhost":
        test = NEVER
    else:
        name = next((n for n in NAMES if word and n.startswith(word.lower())), None)
        if name is None:
            raise Refused(f'unknown packet type "{word}"', word, did_you_mean(word, [*NAMES, "otherhost"]))
        test = Values(Field.PKTTYPE, ((int(NAMES[name]),) * 2,))
    return Meaning(negate(test, given[0].negated))


EXAMPLES = (
    Example("-m pkttype --pkt-type broadcast", Values(Field.PKTTYPE, ((1, 1),))),
    Example("-m pkttype ! --pkt-type unicast", Not(Values(Field.PKTTYPE, ((0, 0),)))),
    Example("-m pkttype --pkt-type otherhost", NEVER),
    Example("-m pkttype --pkt-type anycast", refused='unknown packet type "anycast"'),
)

EXTENSION = MatchExtension("pkttype", OPTIONS, read, EXAMPLES, required=("--pkt-type",))
