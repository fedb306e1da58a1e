"""policy: the IPsec policy of the packet (iptables-extensions(8), policy)."""

from ruleaudit.matches.checks import checked
from ruleaudit.matches.extension import Context, Example, Given, MatchExtension, Options, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.syntax.refusal import Refused

OPTIONS = (
    OptionSpec("--dir", pattern="in|out"),
    OptionSpec("--pol", pattern="none|ipsec"),
    OptionSpec("--strict", arguments=0),
    OptionSpec("--reqid", negatable=True, repeatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--spi", negatable=True, repeatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--proto", negatable=True, repeatable=True),
    OptionSpec("--mode", negatable=True, repeatable=True, pattern="tunnel|transport"),
    OptionSpec("--tunnel-src", negatable=True, repeatable=True),
    OptionSpec("--tunnel-dst", negatable=True, repeatable=True),
    OptionSpec("--next", arguments=0, repeatable=True),
)

_OF_ELEMENT = ("--reqid", "--spi", "--proto", "--mode", "--tunnel-src", "--tunnel-dst")


def _elements(given: Options, context: Context) -> None:
    """Each element of a strict policy says something, and tunnel ends belong to tunnels."""
    elements: list[list[Given]] = [[]]
    for option in given:
        if option.name == "--next":
            elements.append([])
        elif option.name in _OF_ELEMENT:
            elements[-1].append(option)
    strict = any(o.name == "--strict" for o in given)
    for element in elements:
        if strict and not element:
            raise Refused(f"--strict needs one of {', '.join(_OF_ELEMENT)} for each element", "--strict")
        ends = next((o.name for o in element if o.name.startswith("--tunnel-")), "")
        tunnel = any(o.name == "--mode" and (o.value == "tunnel") is not o.negated for o in element)
        if ends and not tunnel:
            raise Refused(f"{ends} needs --mode tunnel", ends)


EXAMPLES = (
    Example("-m policy --dir in --pol ipsec", Opaque("policy --dir in --pol ipsec", Scope.PACKET)),
    Example("-m policy --dir up --pol ipsec", refused='bad value "up"'),
    Example("-m policy --pol none", refused="needs --dir"),
    Example("-m policy --dir in --pol ipsec --strict", refused="--strict needs"),
    Example(
        "-m policy --dir in --pol ipsec --strict --proto esp --tunnel-dst 10.0.0.0/8", refused="needs --mode tunnel"
    ),
)

EXTENSION = MatchExtension(
    "policy",
    OPTIONS,
    checked(opaque("policy", Scope.PACKET), _elements),
    EXAMPLES,
    required=(
        "--dir",
        "--pol",
    ),
)
