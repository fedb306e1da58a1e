"""TPROXY: hands the packet to a local socket without changing it (iptables-extensions(8), TPROXY)."""

from ruleaudit.matches.extension import Context, Options, OptionSpec, normalised
from ruleaudit.model.fields import TCP, UDP
from ruleaudit.model.ruleset import Accept, Effect, EffectKind
from ruleaudit.syntax.addresses import address
from ruleaudit.syntax.numbers import value_and_mask
from ruleaudit.syntax.services import port
from ruleaudit.targets.extension import Action, Example, TargetExtension

OPTIONS = (OptionSpec("--on-port"), OptionSpec("--on-ip"), OptionSpec("--tproxy-mark"))


def read(given: Options, context: Context) -> Action:
    """The packet is marked, tied to its socket and accepted."""
    text = normalised("TPROXY", given)
    effects = [Effect(EffectKind.CHANGE, text)]
    for option in given:
        match option.name:
            case "--on-port":
                port(option.value, context.protocol)
            case "--on-ip":
                address(option.value, context.family.address_bits)
            case _:
                value, mask = value_and_mask(option.value)
                effects.append(Effect(EffectKind.MARK, text, mask, value))
    return Action(Accept(), tuple(effects))


_TEXT = "TPROXY --on-port 3129 --tproxy-mark 0x1/0x1"

EXAMPLES = (
    Example(
        f"-p tcp -j {_TEXT}",
        Action(Accept(), (Effect(EffectKind.CHANGE, _TEXT), Effect(EffectKind.MARK, _TEXT, 1, 1))),
        chain="PREROUTING",
        table="mangle",
    ),
    Example("-j TPROXY --on-port 3129", refused="needs -p", chain="PREROUTING", table="mangle"),
)

EXTENSION = TargetExtension(
    "TPROXY",
    OPTIONS,
    read,
    EXAMPLES,
    protocols=(TCP, UDP),
    tables=("mangle",),
    chains=("PREROUTING",),
    required=("--on-port",),
)
