"""Large verdict maps: one rule for each verdict, and every packet goes where its element says."""

import random
from ipaddress import IPv4Address

from ruleaudit import lower
from ruleaudit.analysis.trace import Packet, trace
from ruleaudit.model.fields import Family, Field, State
from ruleaudit.model.from_nftables_rule import MOST_APART
from ruleaudit.model.ruleset import Ruleset
from ruleaudit.source import SourceFile

PORTS = (22, 80, 443)
VERDICTS = ("accept", "drop", "goto refuse")
WORDS = {"accept": "accept", "drop": "drop", "goto refuse": "reject"}


def ruleset(elements: list[str], flags: str = "") -> Ruleset:
    text = f"""table ip t {{
    chain refuse {{ reject; }}
    map services {{ type ipv4_addr . inet_service : verdict; {flags} elements = {{ {", ".join(elements)} }}; }}
    chain input {{
        type filter hook input priority 0; policy accept;
        meta l4proto tcp ip daddr . tcp dport vmap @services
        drop
    }}
}}
"""
    return lower(SourceFile("some.nft", text), "nft").rulesets[0]


def verdict(rules: Ruleset, address: int, port: int) -> str:
    values = {Field.PROTOCOL: 6, Field.SADDR: 0xC6336407, Field.DADDR: address, Field.SPORT: 4242, Field.DPORT: port}
    packet = Packet(Family.IPV4, values, iif="eth0")
    return trace(rules, "in", packet, State.NEW, lambda test, rule: False, active=False).verdict[0]


def test_each_pair_of_a_large_map_has_its_own_verdict() -> None:
    some = random.Random(8)
    chosen = {(some.randrange(1 << 32), some.choice(PORTS)): some.choice(VERDICTS) for _ in range(3 * MOST_APART)}
    rules = ruleset([f"{IPv4Address(a)} . {p} : {v}" for (a, p), v in chosen.items()])
    assert len(rules.tables["ip t"].chains["input"].rules) == len(VERDICTS) + 1
    for (address, port), word in chosen.items():
        assert verdict(rules, address, port) == WORDS[word]
        other = next(p for p in (*PORTS, 1) if (address, p) not in chosen)
        assert verdict(rules, address, other) == "drop"


def test_of_overlapping_elements_of_a_large_map_the_first_one_is_found() -> None:
    some = random.Random(9)
    chosen = []
    for _ in range(2 * MOST_APART):
        first = some.randrange(1 << 8)
        chosen.append((first, first + some.randrange(16), some.choice(PORTS), some.choice(VERDICTS)))
    rules = ruleset([f"0.0.0.{a}-0.0.{b >> 8}.{b & 255} . {p} : {v}" for a, b, p, v in chosen], "flags interval;")
    for address in range(1 << 8):
        for port in PORTS:
            words = [WORDS[v] for a, b, p, v in chosen if a <= address <= b and p == port]
            assert verdict(rules, address, port) == (words[0] if words else "drop")
