"""How to load a rewritten ruleset with a way back, and how to see that it worked: commands to type."""

from collections.abc import Iterator
from shlex import quote

from ruleaudit.model.fields import Family
from ruleaudit.report.style import Style
from ruleaudit.results.suggestion import Flow, Suggestion

_SECONDS = 60


def apply(suggestion: Suggestion, options: str, style: Style) -> Iterator[str]:
    """The section APPLY WITH A WAY BACK; `options` are those that the suggestion was asked for with."""
    path = suggestion.source.path
    said = "  (as root on the box; the old rules come back by themselves unless you confirm)"
    yield style.bold("APPLY WITH A WAY BACK") + said
    if suggestion.ruleset.language == "nft-json" or suggestion.source.includes:
        path = "ruleset.nft"
        yield f"  {_listing(suggestion)} > {path}        # the script takes one text"
    commands = [
        (f"ruleaudit suggest {quote(path)}{options} --script > apply.sh", "plain sh, needs no Python on the box"),
        (f"sh apply.sh try {_SECONDS}", f"loads the new rules; the old ones come back in {_SECONDS} s unless you run"),
        ("sh apply.sh confirm", "from a NEW ssh session"),
        ("sh apply.sh rollback", "at any time later"),
    ]
    width = min(56, max(len(command) for command, _ in commands))
    yield from (f"  {command:<{width}}  # {remark}" for command, remark in commands)


def _listing(suggestion: Suggestion) -> str:
    """The command that lists the rules of a host, in the language of the ruleset."""
    if suggestion.ruleset.is_nft:
        return "nft -s list ruleset"
    return "iptables-save" if suggestion.ruleset.family is Family.IPV4 else "ip6tables-save"


def afterwards(suggestion: Suggestion, style: Style) -> Iterator[str]:
    """The section AND THEN."""
    path = suggestion.source.path
    yield style.bold("AND THEN")
    commands = [("conntrack -C", "falls: the script drops the entries of what is no longer tracked")]
    remark = "where the script is not used; the connections survive"
    for deletion in _deletions(suggestion.flows):
        commands.append((deletion, remark))
        remark = ""
    if path not in ("-", "<stdin>"):
        new = quote(f"{path}.new")
        commands.append((f"{_listing(suggestion)} > {new}", "what changed, for the change ticket"))
        commands.append((f"ruleaudit verify {quote(path)} {new}", ""))
    width = min(56, max(len(command) for command, _ in commands))
    for command, remark in commands:
        yield f"  {command:<{width}}  # {remark}" if remark else f"  {command}"


def _deletions(flows: tuple[Flow, ...]) -> Iterator[str]:
    for flow in flows:
        single = [port for port in flow.ports if "-" not in port]
        if flow.protocol in ("tcp", "udp", "udplite", "sctp", "dccp"):
            yield from (f"conntrack -D -p {flow.protocol} --orig-port-dst {port}" for port in single[:4])
