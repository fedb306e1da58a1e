"""Random stateful rulesets of a host, as people write them, in both languages: services, what is open and what is not.

The host is the server of `Lab()`, its interface s0, its neighbour the client.
"""

import random
from dataclasses import dataclass

from ruleaudit.model.fields import Family

TCP_PORTS, UDP_PORTS = (22, 53, 80, 443, 8000), (53, 123, 5353)
_NEAR = {Family.IPV4: "10.9.0.0/24", Family.IPV6: "fd09::/64"}
_FAR = {Family.IPV4: "192.0.2.0/24", Family.IPV6: "2001:db8::/32"}


@dataclass(frozen=True)
class Host:
    """A ruleset; the families that it speaks of; the ports that it serves."""

    text: str
    families: tuple[Family, ...]
    ports: tuple[str, ...]


@dataclass(frozen=True)
class _Service:
    protocol: str
    ports: tuple[int, ...]
    style: str


def _services(rng: random.Random) -> list[_Service]:
    out = []
    for protocol, pool in (("tcp", TCP_PORTS), ("udp", UDP_PORTS)):
        ports = rng.sample(pool, rng.randint(1, len(pool)))
        while ports:
            taken, ports = ports[: rng.choice((1, 1, 2))], ports[rng.choice((1, 1, 2)) :]
            styles = ["plain", "new", "new", "near", "far", "interface", "chain", "chain new", "logged", "limited"]
            out.append(_Service(protocol, tuple(taken), rng.choice(styles + (["syn"] if protocol == "tcp" else []))))
    rng.shuffle(out)
    return out


def iptables(rng: random.Random, family: Family) -> Host:
    """A host that iptables-restore, or ip6tables-restore, loads."""
    icmp = "icmp" if family is Family.IPV4 else "ipv6-icmp"
    match = rng.choice(("-m conntrack --ctstate", "-m state --state"))
    services = _services(rng)
    established = f"{match} {rng.choice(('ESTABLISHED,RELATED', 'RELATED,ESTABLISHED', 'ESTABLISHED'))} -j ACCEPT"
    invalid = f"{match} INVALID -j DROP"
    chain: list[str] = []
    rules = []

    def serve(one: _Service) -> list[str]:
        ports = ",".join(map(str, one.ports))
        port = f"--dport {ports}" if len(one.ports) == 1 else f"-m multiport --dports {ports}"
        here = f"-p {one.protocol}"
        match one.style:
            case "new":
                return [f"-A INPUT {here} {port} {match_new} -j ACCEPT"]
            case "syn":
                return [f"-A INPUT {here} {port} --syn -j ACCEPT"]
            case "near" | "far":
                source = (_NEAR if one.style == "near" else _FAR)[family]
                return [f"-A INPUT -s {source} {here} {port} -j ACCEPT"]
            case "interface":
                return [f"-A INPUT -i {rng.choice(('s0', 's0', 's+', 'eth1'))} {here} {port} -j ACCEPT"]
            case "chain" | "chain new":
                chain.append(f"-A SERVICES {here} {port} {match_new if 'new' in one.style else ''} -j ACCEPT")
                return []
            case "logged":
                return [f"-A INPUT {here} {port} {match_new} -j LOG", f"-A INPUT {here} {port} -j ACCEPT"]
            case "limited":
                return [f"-A INPUT {here} {port} {match_new} -m limit --limit 1000/sec --limit-burst 500 -j ACCEPT"]
        return [f"-A INPUT {here} {port} -j ACCEPT"]

    match_new = f"{match} NEW"
    for one in services:
        rules += serve(one)
    if chain:
        call = rng.choice(("-A INPUT -j SERVICES", f"-A INPUT {match_new} -j SERVICES"))
        rules.insert(rng.randint(0, len(rules)), call)
    if rng.random() < 0.25:
        rules.insert(0, f"-A INPUT -p tcp --dport {rng.choice(TCP_PORTS)} {rng.choice(('-j DROP', '-j REJECT'))}")
    if rng.random() < 0.2:
        rules.insert(0, f"-A INPUT -s {_FAR[family]} -j DROP")
    rules.insert(rng.choice((0, 0, 0, len(rules))), f"-A INPUT {established}")
    if rng.random() < 0.5:
        rules.insert(rng.choice((0, 0, len(rules))), f"-A INPUT {invalid}")
    if rng.random() < 0.85:
        rules.insert(0, "-A INPUT -i lo -j ACCEPT")
    if family is Family.IPV6 or rng.random() < 0.7:
        rules.insert(rng.randint(0, len(rules)) if family is Family.IPV4 else 0, f"-A INPUT -p {icmp} -j ACCEPT")
    if rng.random() < 0.3:
        rules.append(rng.choice(("-A INPUT -j REJECT", "-A INPUT -j DROP", "-A INPUT -j LOG")))
    output = _iptables_output(rng, match, icmp) if rng.random() < 0.45 else []
    policies = [rng.choice((":INPUT DROP [0:0]",) * 5 + (":INPUT ACCEPT [0:0]",)), ":FORWARD DROP [0:0]"]
    policies.append(f":OUTPUT {'DROP' if output else 'ACCEPT'} [0:0]")
    raw = []
    if rng.random() < 0.1:
        raw = ["*raw", "-A PREROUTING -p udp --dport 5353 -j CT --notrack",
               "-A OUTPUT -p udp --sport 5353 -j CT --notrack", "COMMIT"]  # fmt: skip
    declared = [":SERVICES - [0:0]"] if chain else []
    text = "\n".join([*raw, "*filter", *policies, *declared, *rules, *chain, *output, "COMMIT", ""])
    return Host(text, (family,), _ports(services))


def _iptables_output(rng: random.Random, match: str, icmp: str) -> list[str]:
    rules = [
        f"-A OUTPUT {match} {rng.choice(('ESTABLISHED,RELATED', 'ESTABLISHED'))} -j ACCEPT",
        "-A OUTPUT -o lo -j ACCEPT",
    ]
    if rng.random() < 0.5:
        rules.insert(rng.randint(0, 1), f"-A OUTPUT {match} INVALID -j DROP")
    rules += [
        f"-A OUTPUT -p {protocol} --dport {port} {match} NEW -j ACCEPT"
        for protocol, port in (("tcp", 443), ("udp", 53), ("tcp", 8000))
        if rng.random() < 0.6
    ]
    return [*rules, f"-A OUTPUT -p {icmp} -j ACCEPT"]


def nft(rng: random.Random) -> Host:
    """A host that nft loads: a table of family inet, or of one family."""
    kind = rng.choice(("inet", "inet", "inet", "ip", "ip6"))
    families = tuple(Family) if kind == "inet" else (Family(kind),)
    services = _services(rng)
    sets: list[str] = []
    chain: list[str] = []
    rules: list[str] = []
    by_map = rng.random() < 0.3
    for number, one in enumerate(services):
        ports = ", ".join(map(str, one.ports))
        port = f"{one.protocol} dport " + (ports if len(one.ports) == 1 else f"{{ {ports} }}")
        if rng.random() < 0.15:
            sets.append(f"set ports{number} {{\ntype inet_service\nelements = {{ {ports} }}\n}}")
            port = f"{one.protocol} dport @ports{number}"
        counter = " counter" if rng.random() < 0.2 else ""
        family = rng.choice(families)
        match one.style:
            case "new":
                rules.append(f"{port} ct state new{counter} accept")
            case "syn":
                rules.append(f"{port} tcp flags & (fin | syn | rst | ack) == syn accept")
            case "near" | "far":
                source = (_NEAR if one.style == "near" else _FAR)[family]
                rules.append(f"{family.value} saddr {source} {port}{counter} accept")
            case "interface":
                rules.append(f'iifname "{rng.choice(("s0", "s0", "s*", "eth1"))}" {port} accept')
            case "chain" | "chain new":
                chain.append(f"{port}{' ct state new' if 'new' in one.style else ''}{counter} accept")
            case "logged":
                rules += [f'{port} ct state new log prefix "open "', f"{port} accept"]
            case "limited":
                rules.append(f"{port} ct state new limit rate 1000/second burst 500 packets accept")
            case _:
                rules.append(f"{port}{counter} accept")
    if chain:
        rules.insert(rng.randint(0, len(rules)), rng.choice(("jump services", "ct state new jump services")))
    if rng.random() < 0.25:
        rules.insert(0, f"tcp dport {rng.choice(TCP_PORTS)} {rng.choice(('drop', 'reject', 'reject with tcp reset'))}")
    if by_map:
        rules.insert(0, "ct state vmap { established : accept, related : accept, invalid : drop }")
    else:
        rules.insert(
            rng.choice((0, 0, 0, len(rules))),
            f"ct state {rng.choice(('established,related', '{ established, related }', 'established'))} accept",
        )
        if rng.random() < 0.5:
            rules.insert(rng.choice((0, len(rules))), "ct state invalid drop")
    if rng.random() < 0.85:
        rules.insert(0, rng.choice(('iif "lo" accept', 'iifname "lo" accept')))
    if Family.IPV6 in families:
        rules.insert(0, "meta l4proto ipv6-icmp accept")
    if Family.IPV4 in families and rng.random() < 0.7:
        rules.insert(rng.randint(0, len(rules)), "meta l4proto icmp accept")
    if rng.random() < 0.3:
        rules.append(rng.choice(("reject", "counter drop", 'log prefix "end "')))
    output = _nft_output(rng) if rng.random() < 0.45 else []
    policy = rng.choice(("drop",) * 5 + ("accept",))
    lines = [f"table {kind} filter {{", *sets]
    if chain:
        lines += ["chain services {", *chain, "}"]
    lines += ["chain input {", f"type filter hook input priority filter; policy {policy};", *rules, "}"]
    lines += ["chain output {", f"type filter hook output priority filter; policy {'drop' if output else 'accept'};"]
    return Host("\n".join([*lines, *output, "}", "}", ""]), families, _ports(services))


def _nft_output(rng: random.Random) -> list[str]:
    rules = [f"ct state {rng.choice(('established,related', 'established'))} accept", 'oifname "lo" accept']
    if rng.random() < 0.5:
        rules.insert(rng.randint(0, 1), "ct state invalid drop")
    rules += [
        f"{protocol} dport {port} ct state new accept"
        for protocol, port in (("tcp", 443), ("udp", 53), ("tcp", 8000))
        if rng.random() < 0.6
    ]
    return [*rules, "meta l4proto { icmp, ipv6-icmp } accept"]


def _ports(services: list[_Service]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{port}" for one in services for port in one.ports))
