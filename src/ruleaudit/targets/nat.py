"""The address translations DNAT, SNAT, MASQUERADE, REDIRECT and NETMAP (iptables-extensions(8)).

They end their chain like ACCEPT, translate the connection of a NEW packet, and live in the conntrack entry.
"""

from collections.abc import Callable

from ruleaudit.matches.extension import Context, Given, Options, OptionSpec, normalised
from ruleaudit.model.fields import DCCP, SCTP, TCP, UDP, Family
from ruleaudit.model.ruleset import Accept, Consumer, Effect, EffectKind, Use
from ruleaudit.syntax.addresses import address_range, network
from ruleaudit.syntax.refusal import Refused
from ruleaudit.syntax.services import port, port_range
from ruleaudit.targets.extension import Action, Example, TargetExtension

Ranges = tuple[tuple[int, int], ...]

RANDOM = OptionSpec("--random", arguments=0)
FULLY = OptionSpec("--random-fully", arguments=0)
PERSISTENT = OptionSpec("--persistent", arguments=0)


def translation(name: str, given: Options, addresses: Ranges = (), ports: Ranges = ()) -> Action:
    """The action of a translation with what it may translate to."""
    effect = Effect(EffectKind.NAT, normalised(name, given), ports=ports, addresses=addresses)
    return Action(Accept(), (effect,), (Consumer(Use.CREATES, name),))


def to_ports(option: Given, context: Context) -> Ranges:
    """`--to-ports 1024-2048`; only where the protocol has ports."""
    _need_ports(option.value, context)
    return (port_range(option.value, context.protocol, "-"),)


def to_address(option: Given, context: Context) -> tuple[Ranges, Ranges]:
    """`10.0.0.1-10.0.0.9:80-90/80`; in IPv6 brackets part the address from the ports."""
    word = option.value
    if context.family is Family.IPV6:
        if word[:1] == "[":
            host, _, rest = word[1:].partition("]")
            ports = rest.removeprefix(":")
        else:
            host, ports = word, ""
    else:
        host, _, ports = word.partition(":")
    port_words = ports.partition("/")[0]
    addresses = (address_range(host.replace("[", "").replace("]", ""), context.family.address_bits),) if host else ()
    if not ports:
        if word[-1:] in (":", ""):
            raise Refused(f'bad destination "{word}"', word)
        return addresses, ()
    _need_ports(ports, context)
    if "/" in ports and port(ports.partition("/")[2], context.protocol) == 0:
        raise Refused(f'bad port "0" behind the range of "{word}"', word)
    return addresses, (port_range(port_words, context.protocol, "-"),)


def _need_ports(word: str, context: Context) -> None:
    if context.protocol not in (TCP, UDP, SCTP, DCCP):
        raise Refused("a port needs -p tcp, udp, sctp or dccp", word)


def with_address(name: str, option_name: str) -> Callable[[Options, Context], Action]:
    """DNAT and SNAT."""

    def read(given: Options, context: Context) -> Action:
        addresses: Ranges = ()
        ports: Ranges = ()
        for option in given:
            if option.name == option_name:
                found = to_address(option, context)
                addresses, ports = addresses + found[0], ports + found[1]
        return translation(name, given, addresses, ports)

    return read


def with_ports(name: str) -> Callable[[Options, Context], Action]:
    """MASQUERADE and REDIRECT."""

    def read(given: Options, context: Context) -> Action:
        ports = [to_ports(o, context) for o in given if o.name == "--to-ports"]
        return translation(name, given, (), ports[0] if ports else ())

    return read


def read_netmap(given: Options, context: Context) -> Action:
    """A whole network onto another, bit by bit."""
    address, mask = network(given[0].value, context.family.address_bits)
    full = (1 << context.family.address_bits) - 1
    return translation("NETMAP", given, ((address, address | (full ^ mask)),))


def _nat(text: str, name: str, addresses: Ranges = (), ports: Ranges = ()) -> Action:
    return Action(
        Accept(), (Effect(EffectKind.NAT, text, ports=ports, addresses=addresses),), (Consumer(Use.CREATES, name),)
    )


_TEN = (0x0A000001, 0x0A000001)

DNAT = TargetExtension(
    "DNAT",
    (OptionSpec("--to-destination"), RANDOM, PERSISTENT),
    with_address("DNAT", "--to-destination"),
    (
        Example(
            "-p tcp -j DNAT --to-destination 10.0.0.1:8080",
            _nat("DNAT --to-destination 10.0.0.1:8080", "DNAT", (_TEN,), ((8080, 8080),)),
            chain="PREROUTING",
            table="nat",
        ),
        Example(
            "-p tcp -j DNAT --to-destination [2001:db8::1]:80",
            _nat("DNAT --to-destination [2001:db8::1]:80", "DNAT", ((0x20010DB8 << 96 | 1,) * 2,), ((80, 80),)),
            chain="PREROUTING",
            table="nat",
            family=Family.IPV6,
        ),
        Example("-j DNAT --to-destination 10.0.0.1:80", refused="a port needs -p", chain="PREROUTING", table="nat"),
        Example("-j DNAT --to-destination 10.0.0.1", refused="only in table nat"),
        Example("-j DNAT", refused="needs --to-destination", chain="PREROUTING", table="nat"),
    ),
    tables=("nat",),
    chains=("PREROUTING", "OUTPUT"),
    required=("--to-destination",),
)
SNAT = TargetExtension(
    "SNAT",
    (OptionSpec("--to-source"), RANDOM, FULLY, PERSISTENT),
    with_address("SNAT", "--to-source"),
    (
        Example(
            "-o eth0 -j SNAT --to-source 10.0.0.1",
            _nat("SNAT --to-source 10.0.0.1", "SNAT", (_TEN,)),
            chain="POSTROUTING",
            table="nat",
        ),
        Example("-j SNAT --to-source 10.0.0.1", refused="not in PREROUTING", chain="PREROUTING", table="nat"),
    ),
    tables=("nat",),
    chains=("INPUT", "POSTROUTING"),
    required=("--to-source",),
)
MASQUERADE = TargetExtension(
    "MASQUERADE",
    (OptionSpec("--to-ports"), RANDOM, FULLY),
    with_ports("MASQUERADE"),
    (
        Example("-o eth0 -j MASQUERADE", _nat("MASQUERADE", "MASQUERADE"), chain="POSTROUTING", table="nat"),
        Example(
            "-p tcp -j MASQUERADE --to-ports 1024-65535",
            _nat("MASQUERADE --to-ports 1024-65535", "MASQUERADE", (), ((1024, 65535),)),
            chain="POSTROUTING",
            table="nat",
        ),
        Example("-j MASQUERADE", refused="not in INPUT", chain="INPUT", table="nat"),
    ),
    tables=("nat",),
    chains=("POSTROUTING",),
)
REDIRECT = TargetExtension(
    "REDIRECT",
    (OptionSpec("--to-ports"), RANDOM),
    with_ports("REDIRECT"),
    (
        Example(
            "-p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080",
            _nat("REDIRECT --to-ports 8080", "REDIRECT", (), ((8080, 8080),)),
            chain="PREROUTING",
            table="nat",
        ),
        Example("-j REDIRECT --to-ports 8080", refused="a port needs -p", chain="PREROUTING", table="nat"),
    ),
    tables=("nat",),
    chains=("PREROUTING", "OUTPUT"),
)
NETMAP = TargetExtension(
    "NETMAP",
    (OptionSpec("--to"),),
    read_netmap,
    (
        Example(
            "-d 192.0.2.0/24 -j NETMAP --to 10.0.0.0/24",
            _nat("NETMAP --to 10.0.0.0/24", "NETMAP", ((0x0A000000, 0x0A0000FF),)),
            chain="PREROUTING",
            table="nat",
        ),
    ),
    tables=("nat",),
    chains=("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    required=("--to",),
)
