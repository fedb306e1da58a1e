"""string: a text anywhere in the packet (iptables-extensions(8), string)."""

from ruleaudit.matches.checks import checked, exactly_one
from ruleaudit.matches.extension import Context, Example, MatchExtension, Options, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.syntax.refusal import Refused

OPTIONS = (
    OptionSpec("--algo", pattern="bm|kmp"),
    OptionSpec("--from", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--to", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--string", negatable=True),
    OptionSpec("--hex-string", negatable=True),
    OptionSpec("--icase", arguments=0),
)


def _not_too_long(given: Options, context: Context) -> None:
    for option in given:
        if option.name == "--string" and len(option.value.encode("utf-8", "surrogateescape")) > 128:
            raise Refused("the string is too long: at most 128 bytes", option.value)


EXAMPLES = (
    Example('-m string --algo bm --string "GET /"', Opaque('string --algo bm --string "GET /"', Scope.PACKET)),
    Example("-m string --string x", refused="needs --algo"),
    Example("-m string --algo bm", refused="needs --string or --hex-string"),
    Example(f"-m string --algo bm --string {'x' * 129}", refused="at most 128"),
)

EXTENSION = MatchExtension(
    "string",
    OPTIONS,
    checked(opaque("string", Scope.PACKET), exactly_one("--string", "--hex-string"), _not_too_long),
    EXAMPLES,
    required=("--algo",),
)
