"""Rulesets that mean something: rules in every chain, of which those are taken out that the reader complains about.

What is drawn is the seed of a generator of its own.
"""

import random
from contextlib import suppress

from hypothesis import strategies as st

import ruleaudit
from ruleaudit.diagnostics import Severity
from ruleaudit.model.fields import Family
from ruleaudit.source import SourceFile
from ruleaudit.syntax import nft_json_document, nftables
from ruleaudit.syntax.nft_json_values import Unwritable
from tests.fuzz.nft_texts import STATEMENTS
from tests.kernel import random_nft_rules, random_rules

_TRIES = 12
_HOOKS = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}
_TARGETS = (
    *("ACCEPT", "ACCEPT", "ACCEPT", "DROP", "RETURN", "A", "B", "REJECT", "LOG", "MARK --set-mark 1", "NFQUEUE"),
    *("CT --notrack", "CT --notrack", "NOTRACK", "CT --helper ftp", "CT --zone 1", "CONNMARK --restore-mark"),
    *("CONNMARK --save-mark", "MASQUERADE", "DNAT --to-destination 10.0.0.9", "SNAT --to-source 10.0.0.9"),
    *("REDIRECT --to-ports 80", "TCPMSS --clamp-mss-to-pmtu", "TPROXY --on-port 80", "SYNPROXY --mss 1460"),
)
_USUAL = (
    "-m state --state ESTABLISHED,RELATED -j ACCEPT",
    "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-m conntrack --ctstate INVALID -j DROP",
    "-p tcp --dport 80 -j ACCEPT",
    "-p tcp --sport 80 -j ACCEPT",
    "-i lo -j ACCEPT",
    "-p udp --dport 53 -j ACCEPT",
    "-p tcp -m multiport --dports 80,443 -m conntrack --ctstate NEW -j ACCEPT",
    "-p tcp -m conntrack --ctstate UNTRACKED -j ACCEPT",
    "-p tcp --syn -m conntrack --ctstate NEW -j ACCEPT",
    "-j A",
    "-j DROP",
)
_CHAINS = (
    *("type filter hook prerouting priority raw;", "type filter hook output priority raw;"),
    *("type filter hook input priority filter; policy drop;", "type filter hook output priority filter;"),
    *("type filter hook forward priority filter; policy drop;", "type route hook output priority mangle;"),
    *("type nat hook prerouting priority dstnat;", "type nat hook postrouting priority srcnat;", ""),
    *("type filter hook prerouting priority -500;", "type filter hook input priority filter;"),
)
_SETS = (
    "set s { type ipv4_addr; flags dynamic; }",
    "set p { type inet_service; flags interval; elements = { 80, 443, 8000-8010 }; }",
    "map m { type inet_service : verdict; elements = { 80 : accept, 22 : jump a }; }",
    "define x = { 80, 443 }",
    'ct helper h { type "ftp" protocol tcp; }',
    "counter c { }",
)
_COMMON = (
    *("ct state established,related accept", "ct state invalid drop", "ct state vmap { established : accept }"),
    *("tcp dport $x accept", "tcp dport @p accept", "tcp sport @p notrack", "tcp dport { 80, 443 } notrack"),
    *("ct state untracked accept", "ct state new,untracked tcp dport 80 accept", "notrack", "iif lo accept", "accept"),
)


def _iptables(seed: int, family: Family) -> str:
    rng = random.Random(seed)
    drawn = [rule.text for rule in random_rules.rules(rng, family, 12, tracked=True)]
    drawn += ["-p tcp --dport 80", "-p tcp --sport 443", "-i lo", ""]
    out = []
    for table in rng.sample(sorted(_HOOKS), rng.randint(1, 4)):
        out += [f"*{table}", *(f":{chain} {rng.choice(('ACCEPT', 'DROP'))} [0:0]" for chain in _HOOKS[table])]
        out += [":A - [0:0]", ":B - [0:0]"]
        for _ in range(rng.randint(1, 8)):
            chain = rng.choice((*_HOOKS[table], *_HOOKS[table], "A", "B"))
            rule = f"{rng.choice(drawn)} -j {rng.choice(_TARGETS)}"
            if table == "filter" and rng.random() < 0.7:
                rule = rng.choice(_USUAL)
            out.append(f"-A {chain} {rule}".replace("  ", " "))
        out.append("COMMIT")
    language = "iptables-save" if family is Family.IPV4 else "ip6tables-save"
    return _mended("\n".join(out) + "\n", language)


def _nft(seed: int, plain: bool = False) -> str:
    """`plain`: without what no JSON can be made of."""
    rng = random.Random(seed)
    family = rng.choice(tuple(Family))
    inet = rng.random() < 0.6
    drawn = [*random_nft_rules.rules(rng, family, 12, tracked=True, inet=inet)]
    out = []
    for table in range(rng.randint(1, 2)):
        out.append(f"table {'inet' if inet else family.value} t{table} {{")
        drawn = [rule for rule in drawn if not (plain and rule.sets)]
        out += rng.sample(_SETS, rng.randint(2, len(_SETS))) if not plain else [_SETS[3]]
        chains = {chain for rule in drawn for chain in rule.chains}
        out += [made.replace("\n", " ; ").replace("{ ;", "{") for rule in drawn for made in rule.sets]
        out += [
            f"chain {name} {{ {rng.choice(('accept', 'drop', 'return', ''))} ; }}"
            for name in ("a", "c", *sorted(chains))
        ]
        for number in range(rng.randint(1, 5)):
            out.append(f"chain b{number} {{ {rng.choice(_CHAINS)}")
            for _ in range(rng.randint(0, 5)):
                test = rng.choice((rng.choice(drawn).text, rng.choice(_COMMON), rng.choice(STATEMENTS)))
                then = rng.choice(("", "accept", "drop", "notrack", "jump a", rng.choice(STATEMENTS)))
                out.append(f"{test} {then}" if rng.random() < 0.5 else rng.choice(_COMMON))
            out.append("}")
        out.append("}")
    return _mended("\n".join(out) + "\n", "nft")


def _mended(text: str, language: str) -> str:
    """The text without the lines that are wrong."""
    for _ in range(_TRIES):
        source = SourceFile("fuzz", text)
        found = ruleaudit.lower(source, language).findings
        wrong = {source.position(f.span.start).line for f in found if f.severity is Severity.ERROR}
        if not wrong:
            break
        text = "".join(line for number, line in enumerate(text.splitlines(keepends=True), 1) if number not in wrong)
    return text


def _json(text: str) -> str:
    with suppress(Unwritable):
        return nft_json_document.text(nftables.read(SourceFile("fuzz", text)))
    return ""


SEEDS = st.integers(0, 2**40)


def iptables() -> st.SearchStrategy[tuple[str, str]]:
    """A file of iptables-save and its language."""
    four = SEEDS.map(lambda seed: (_iptables(seed, Family.IPV4), "iptables-save"))
    return st.one_of(four, SEEDS.map(lambda seed: (_iptables(seed, Family.IPV6), "ip6tables-save")))


def nft() -> st.SearchStrategy[str]:
    """A file of nft."""
    return SEEDS.map(_nft)


def nft_json() -> st.SearchStrategy[str]:
    """A document of libnftables-json; "" where the ruleset cannot be said in it."""
    return SEEDS.map(lambda seed: _json(_nft(seed, plain=True)))
