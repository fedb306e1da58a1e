"""u32: arithmetic on any bytes of the packet (iptables-extensions(8), u32)."""

import re

from ruleaudit.matches.checks import checked
from ruleaudit.matches.extension import Context, Example, MatchExtension, Options, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.syntax.refusal import Refused

OPTIONS = (OptionSpec("--u32", negatable=True),)

_NUMBER = r"\s*(?:0[xX][0-9a-fA-F]+|[0-9]+)\s*"
_TEST = rf"{_NUMBER}(?:(?:&|<<|>>|@){_NUMBER})*=\s*{_NUMBER}(?::{_NUMBER})?(?:,{_NUMBER}(?::{_NUMBER})?)*"
_TESTS = re.compile(rf"{_TEST}(?:&&{_TEST})*")


def _program(given: Options, context: Context) -> None:
    """`place = value or range`, joined by `&&`."""
    word = given[0].value
    if not _TESTS.fullmatch(word):
        raise Refused(f'"{word}" is no test of u32, such as 0>>22&0x3C@0=1', word)


EXAMPLES = (
    Example("-m u32 --u32 0=1", Opaque("u32 --u32 0=1", Scope.PACKET)),
    Example("-m u32 --u32 0>>22&", refused="is no test of u32"),
    Example("-m u32", refused="needs --u32"),
)

EXTENSION = MatchExtension(
    "u32", OPTIONS, checked(opaque("u32", Scope.PACKET), _program), EXAMPLES, required=("--u32",)
)
