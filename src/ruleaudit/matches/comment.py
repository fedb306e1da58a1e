"""comment: text for people; matches everything (iptables-extensions(8), comment)."""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec
from ruleaudit.model.condition import ALWAYS
from ruleaudit.syntax.refusal import Refused

OPTIONS = (OptionSpec("--comment"),)


def read(given: Options, context: Context) -> Meaning:
    """Nothing is asked of the packet."""
    if len(given[0].value.encode("utf-8", "surrogateescape")) > 255:
        raise Refused("a comment has at most 255 bytes", given[0].name)
    return Meaning(ALWAYS)


EXAMPLES = (
    Example('-m comment --comment "from the office"', ALWAYS),
    Example("-m comment", refused="needs --comment"),
)

EXTENSION = MatchExtension("comment", OPTIONS, read, EXAMPLES, required=("--comment",))
