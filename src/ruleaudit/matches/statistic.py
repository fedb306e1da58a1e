"""statistic: every nth packet, or a random part of them (iptables-extensions(8), statistic)."""

from ruleaudit.matches.checks import checked
from ruleaudit.matches.extension import Context, Example, MatchExtension, Options, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.syntax.numbers import ALL_ONES, number
from ruleaudit.syntax.refusal import Refused

OPTIONS = (
    OptionSpec("--mode", pattern="random|nth"),
    OptionSpec("--probability", negatable=True, pattern=r"[0-9]*\.?[0-9]+(e-?[0-9]+)?"),
    OptionSpec("--every", negatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--packet", pattern="[0-9]+|0x[0-9a-fA-F]+"),
)


def _of_its_mode(given: Options, context: Context) -> None:
    words = {o.name: o.value for o in given}
    wanted = "--probability" if words.get("--mode") == "random" else "--every"
    if wanted not in words:
        raise Refused(f"--mode {words.get('--mode')} needs {wanted}")
    if wanted == "--probability" and float(words[wanted]) > 1:
        raise Refused(f'bad probability "{words[wanted]}": at most 1', words[wanted])
    if wanted == "--every" and "--packet" not in words:
        raise Refused("--every needs --packet, too: which packet of each round", "--every")
    if wanted == "--every":
        every = number(words[wanted], 1, ALL_ONES, "value of --every")
        number(words["--packet"], 0, every - 1, "value of --packet")


EXAMPLES = (
    Example(
        "-m statistic --mode random --probability 0.5",
        Opaque("statistic --mode random --probability 0.5", Scope.MEMORY),
    ),
    Example("-m statistic --mode often", refused='bad value "often"'),
    Example("-m statistic", refused="needs --mode"),
    Example("-m statistic --mode random --probability 1.1", refused="at most 1"),
    Example("-m statistic --mode nth --every 5 --packet 5", refused="from 0 to 4"),
    Example("-m statistic --mode nth --probability 1", refused="--mode nth needs --every"),
    Example("-m statistic --mode nth --every 5", refused="--every needs --packet"),
)

EXTENSION = MatchExtension(
    "statistic",
    OPTIONS,
    checked(opaque("statistic", Scope.MEMORY, memory=True), _of_its_mode),
    EXAMPLES,
    required=("--mode",),
)
