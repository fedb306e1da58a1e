"""The rulesets of the corpus that the kernel takes, as the bench can load them.

Their interfaces are called as the router's, so that packets of the lab come to their rules.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator

from ruleaudit.model.fields import Family
from ruleaudit.syntax.language import family as family_of
from tests.kernel.bench import Bench
from tests.kernel.random_iptables import Whole
from tests.syntax.corpus import Entry, entries

#: interfaces that rulesets name by number, or that netdev chains and flowtables are for
DEVICES = ("eth0", "eth1", "eth2", "eth3", "br0", "wg0", "wlan0", "tun0", "ppp0", "docker0", "wan", "lan", "enp0s3",
           "ens3", "br-lan", "bond0")  # fmt: skip
#: more would take more memory and time than the rest together
LONGEST = 150_000
_NAMED = re.compile(r"(?:-i|-o|--in-interface|--out-interface|[io]if(?:name)?(?: [!=]=)?) \"?([a-z][\w.-]*[\w])\"?")
_SETS = re.compile(r"--(?:match-set|add-set|del-set) (\S+)")


def rulesets() -> Iterator[tuple[str, Family, str, Whole]]:
    """Program, family, name and text."""
    for entry in entries("iptables", "ip6tables", "nft", "nftjson"):
        if entry.verdict != "accepted" or len(entry.source.text) > LONGEST:
            continue
        text = renamed(entry)
        if entry.kind in ("nft", "nftjson"):
            for family in Family:
                yield ("nft-json" if entry.kind == "nftjson" else "nft"), family, entry.path, Whole(text)
            continue
        family = Family.IPV6 if entry.kind == "ip6tables" else family_of(entry.source)
        for program in ("iptables-nft", "iptables-legacy"):
            yield program, family, entry.path, Whole(text)


def prepare(bench: Bench) -> None:
    """The interfaces that rulesets name."""
    for one, other in zip(DEVICES[::2], DEVICES[1::2], strict=True):
        bench.lab.run("router", "ip", "link", "add", one, "type", "veth", "peer", "name", other)


def make_sets(bench: Bench, family: Family, whole: Whole) -> None:
    """The ipsets that the ruleset names, empty."""
    six = ("family", "inet6") if family is Family.IPV6 else ()
    for name in sets_named(whole.text):
        bench.lab.run("router", "ipset", "create", name, "hash:ip", *six, check=False)


def sets_named(text: str) -> list[str]:
    """The ipsets that a ruleset names."""
    return sorted(set(_SETS.findall(text)))


def renamed(entry: Entry, interfaces: tuple[str, ...] = ("r0", "r1")) -> str:
    """Its text, with these names for the interfaces that it names most, and without a flush of everything."""
    text = entry.source.text
    if entry.kind == "nftjson":
        found = json.loads(text)
        found["nftables"] = [one for one in found["nftables"] if one.get("flush") != {"ruleset": None}]
        text = json.dumps(found)
    else:
        text = re.sub(r"(?m)^\s*flush ruleset\s*;?", "", text)
    names = [n for n, _ in Counter(_NAMED.findall(text)).most_common() if n not in ("lo", "vmap", *interfaces)]
    for name, ours in zip(names, interfaces, strict=False):
        text = re.sub(rf"(?<![\w.$@-]){re.escape(name)}(?![\w.-])", ours, text)
    return text
