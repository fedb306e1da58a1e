"""`suggest --script`: the new rules in a shell script that loads them with a way back.

Plain sh (dash, busybox, bash): nothing of ruleaudit is needed where it runs. What it does stands in the templates
`apply.sh`, `apply_iptables.sh` and `apply_nft.sh`; here the texts of the rules are put into it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_network
from itertools import product

from jinja2 import Environment, PackageLoader, StrictUndefined

from ruleaudit.model.fields import Family
from ruleaudit.model.lines import in_words
from ruleaudit.report.wording import flow_words, printable
from ruleaudit.results.suggestion import Flow, Suggestion

_FLUSH = re.compile(r"^[ \t]*(?:flush[ \t]+(?:ruleset|table)|(?:delete|destroy)[ \t]+table)\b", re.M)
_TABLE = re.compile(r"^(?=\*)", re.M)
_FAMILIES = {"v4": ("ipv4",), "v6": ("ipv6",), "nft": ("ipv4", "ipv6")}
#: a longer range of ports is left to time out: conntrack deletes one port at a time
_RANGE = 16


@dataclass(frozen=True, slots=True)
class _Text:
    """A text that the script prints: the name of its function, and a line that does not occur in it."""

    function: str
    lines: str
    end: str


def refused(suggestions: Sequence[Suggestion]) -> str | None:
    """Why there is no script for these files; None if there is one."""
    for one in suggestions:
        path = printable(one.source.path)
        if one.ruleset.language == "nft-json":
            return f"{path}: the script takes no JSON: nft -s list ruleset > ruleset.nft, and suggest that"
        if one.source.includes:
            return (
                f"{path}: the script carries one text, and this file includes others:"
                " nft -s list ruleset > ruleset.nft, and suggest that"
            )
    parts = [_part(one) for one in suggestions]
    if len(set(parts)) < len(parts) or (len(parts) > 1 and "nft" in parts):
        return "--script takes one ruleset, or the IPv4 and the IPv6 rules of one host"
    if all(one.text is None for one in suggestions):
        names = in_words([printable(one.source.path) for one in suggestions])
        return f"{names}: there is no rewrite, and nothing to apply"
    for one in suggestions:
        for checked in one.checked:
            if one.text is not None and checked.assumption == "no-other-owner" and checked.holds is False:
                return (
                    f"{printable(one.source.path)}: no script, as the assumption no-other-owner is contradicted on this"
                    f" host: {printable(checked.reason)}. Without --live it is written all the same"
                )
    return None


def render(suggestions: Sequence[Suggestion]) -> str:
    """The script for what `refused` does not refuse."""
    from ruleaudit import __version__

    new = {_part(one): one for one in sorted(suggestions, key=_part) if one.text is not None}
    flows = [(part, flow) for part, one in new.items() for flow in one.flows]
    nft = "nft" in new
    return (
        _environment()
        .get_template("apply.sh")
        .render(
            version=__version__,
            names=" and ".join(_comment(one.source.path) for one in new.values()),
            freed=_comment(in_words(list(dict.fromkeys(flow_words(flow) for _, flow in flows)))),
            doubts=[
                _comment(f"{c.assumption}: {c.reason}") for one in new.values() for c in one.checked if not c.holds
            ],
            backend="apply_nft.sh" if nft else "apply_iptables.sh",
            parts=" ".join(new),
            programs=" ".join(_programs(new)),
            saving=" and ".join(_SAVING[part] for part in new),
            entries=_entries(flows),
            texts=[text for part, one in new.items() for text in _texts(part, one)],
        )
    )


_SAVING = {"v4": "iptables-save", "v6": "ip6tables-save", "nft": "nft -s list ruleset"}


def _part(suggestion: Suggestion) -> str:
    """What the script calls these rules."""
    if suggestion.ruleset.is_nft:
        return "nft"
    return "v6" if suggestion.ruleset.family is Family.IPV6 else "v4"


def _programs(parts: dict[str, Suggestion]) -> Iterator[str]:
    for part in parts:
        yield from {
            "nft": ("nft",),
            "v4": ("iptables-save", "iptables-restore"),
            "v6": ("ip6tables-save", "ip6tables-restore"),
        }[part]


def _texts(part: str, suggestion: Suggestion) -> Iterator[_Text]:
    assert suggestion.text is not None
    new = suggestion.text
    if part != "nft":
        new = _raw_last(new)
    elif not _FLUSH.search(new):
        new = f"flush ruleset\n{new}"
    for name, text in (("old", suggestion.source.text), ("new", new)):
        lines = text.removesuffix("\n")
        end = f"END OF {name} {part} RULES".upper().replace(" ", "_")
        while f"\n{end}\n" in f"\n{lines}\n":
            end += "_"
        yield _Text(f"{name}_{part}", lines, end)


def _raw_last(text: str) -> str:
    """iptables-restore goes table by table: what is no longer tracked must be accepted before."""
    head, *tables = _TABLE.split(text if text.endswith("\n") else f"{text}\n")
    tables.sort(key=lambda table: table.split(maxsplit=1)[0] == "*raw")
    return "".join((head, *tables))


def _entries(flows: Sequence[tuple[str, Flow]]) -> dict[str, list[str]]:
    """For each family the arguments of `conntrack -D`, `$address` being one of this host's; empty if there are none."""
    found: dict[str, list[str]] = {"ipv4": [], "ipv6": []}
    for part, flow in flows:
        for family in _FAMILIES[part]:
            found[family] += (line for line in _deletions(flow, family) if line not in found[family])
    return found if any(found.values()) else {}


def _deletions(flow: Flow, family: str) -> Iterator[str]:
    """What a router forwards is left to time out: the ports alone would name connections of its own, too."""
    if flow.direction == "forward" or flow.protocol not in ("tcp", "udp", "udplite", "sctp", "dccp"):
        return
    here, there = ([a for a in some if _network(a) == family] for some in (flow.at, flow.addresses))
    if (flow.at and not here) or (flow.addresses and not there):
        return
    ours, theirs = ("--orig-dst", "--orig-src") if flow.direction == "in" else ("--orig-src", "--orig-dst")
    for port in _single(flow.ports):
        for own, other in product(here or ['"$address"'], there or [""]):
            narrowed = f" {theirs} {other}" if other else ""
            yield f"-p {flow.protocol} {ours} {own}{narrowed} --orig-port-dst {port}"


def _single(ports: Sequence[str]) -> Iterator[int]:
    for port in ports:
        first, _, last = port.partition("-")
        if first.isdecimal() and int(last or first) - int(first) < _RANGE:
            yield from range(int(first), int(last or first) + 1)


def _network(text: str) -> str:
    """The family of an address or network; what else a rule may say of addresses has none."""
    try:
        return "ipv6" if ip_network(text, strict=False).version == 6 else "ipv4"
    except ValueError:
        return ""


def _comment(text: str) -> str:
    """Text that stays in its comment, and in the double quotes of the script."""
    return re.sub(r"[^\w ./,:+@()-]", "?", text)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("ruleaudit.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
