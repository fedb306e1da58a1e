"""HMARK: sets the packet mark to a hash of the header (iptables-extensions(8), HMARK)."""

from ruleaudit.matches.extension import Context, Options, OptionSpec, normalised
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension

OPTIONS = tuple(
    OptionSpec(f"--hmark-{name}")
    for name in (
        "tuple",
        "mod",
        "offset",
        "src-prefix",
        "dst-prefix",
        "sport-mask",
        "dport-mask",
        "spi-mask",
        "proto-mask",
        "rnd",
    )
) + tuple(OptionSpec(f"--hmark-{name}") for name in ("sport", "dport", "spi"))


def read(given: Options, context: Context) -> Action:
    """Some mark that cannot be known here."""
    return Action(CONTINUE, (Effect(EffectKind.MARK, normalised("HMARK", given)),))


_TEXT = "HMARK --hmark-tuple src,dst --hmark-mod 10 --hmark-rnd 1"

EXAMPLES = (
    Example(f"-j {_TEXT}", Action(CONTINUE, (Effect(EffectKind.MARK, _TEXT),)), chain="PREROUTING", table="mangle"),
    Example("-j HMARK --hmark-mod 10", refused="needs --hmark-rnd", chain="PREROUTING", table="mangle"),
)

EXTENSION = TargetExtension("HMARK", OPTIONS, read, EXAMPLES, required=("--hmark-rnd",))
