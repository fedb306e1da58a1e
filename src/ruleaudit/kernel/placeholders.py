"""What rules speak of and a fresh namespace does not have: interfaces, and ipsets."""

import re
from collections.abc import Iterable

from ruleaudit.analysis.space import interface_names
from ruleaudit.model.fields import Family
from ruleaudit.model.ruleset import Ruleset

#: so many interfaces are made
MOST_INTERFACES = 128
_SET = re.compile(r"--(?:match|add|del|map)-set\s+\"?([^\s\"]+)\"?\s+([a-z,]+)")
_CREATED = re.compile(r"^\s*(?:create|-N|--create|n|-n)\s+(?:-exist\s+|-!\s+)?(\S+)", re.MULTILINE)
#: what nft looks up when it loads a file, also in what a later line takes back
_DEVICES = re.compile(
    r"\b(?:devices?\s*=?|[io]if\s(?:\s*[!=]=)?)\s*(\{[^}]*\}|\"?[\w.@-]+\"?)|\"dev\"\s*:\s*(\[[^\]]*\]|\"[^\"]*\")"
)
_NAME = re.compile(r"[\w.@-]+")
_POSSIBLE = re.compile(r"(?!\.{1,2}$)[^\s/:]{1,15}")
_KINDS = ("hash:ip", "hash:ip,port", "hash:ip,port,ip")


def interfaces(rulesets: Iterable[Ruleset], used: Iterable[str]) -> list[str]:
    """The names of interfaces that have to be there, if they can: those that packets go by, then those of the rules."""
    found = dict.fromkeys(name for name in used if name)
    for ruleset in rulesets:
        named = interface_names(rule.condition for rule in ruleset.rules())
        if ruleset.is_nft:
            for listed in _DEVICES.findall(ruleset.source.text):
                named |= set(_NAME.findall("".join(listed)))
            found |= dict.fromkeys(sorted(name for name in named if not name.endswith("+")))
    return [name for name in found if name != "lo" and _POSSIBLE.fullmatch(name)][:MOST_INTERFACES]


def sets(ruleset: Ruleset, known: str) -> str:
    """The text for `ipset restore`: the sets that are known, and an empty one for each other that rules name."""
    if ruleset.is_nft:
        return ""
    created = set(_CREATED.findall(known))
    wanted: dict[str, int] = {}
    for name, sides in _SET.findall(ruleset.source.text):
        wanted[name] = max(wanted.get(name, 0), sides.count(",") + 1)
    if not wanted:
        return ""
    family = "inet6" if ruleset.family is Family.IPV6 else "inet"
    lines = [
        f"create {name} {_KINDS[min(parts, len(_KINDS)) - 1]} family {family}\n"
        for name, parts in wanted.items()
        if name not in created
    ]
    return known + ("\n" if known and not known.endswith("\n") else "") + "".join(lines)
