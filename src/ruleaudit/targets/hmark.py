"""HMARK: sets the packet mark to a hash of the header (iptables-extensions(8), HMARK)."""

from ruleaudit.matches.checks import checked
from ruleaudit.matches.extension import Context, Options, OptionSpec, normalised
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.syntax.refusal import Refused
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


def _ports_or_spi(given: Options, context: Context) -> None:
    names = [o.name for o in given]
    spi = next((n for n in names if n.startswith("--hmark-spi")), "")
    ports = next((n for n in names if n.startswith(("--hmark-sport", "--hmark-dport"))), "")
    if spi and ports:
        raise Refused(f"{ports} and {spi} cannot stand together", spi)


_TEXT = "HMARK --hmark-tuple src,dst --hmark-mod 10 --hmark-rnd 1"

EXAMPLES = (
    Example(f"-j {_TEXT}", Action(CONTINUE, (Effect(EffectKind.MARK, _TEXT),)), chain="PREROUTING", table="mangle"),
    Example(
        "-j HMARK --hmark-rnd 1 --hmark-mod 10 --hmark-sport-mask 1 --hmark-spi-mask 1",
        refused="cannot stand together",
        chain="PREROUTING",
        table="mangle",
    ),
    Example("-j HMARK --hmark-mod 10", refused="needs --hmark-rnd", chain="PREROUTING", table="mangle"),
)

EXTENSION = TargetExtension("HMARK", OPTIONS, checked(read, _ports_or_spi), EXAMPLES, required=("--hmark-rnd",))
