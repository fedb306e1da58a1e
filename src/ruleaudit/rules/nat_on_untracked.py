"""A NAT rule that untracked packets would need, and skip.

What it finds
    Connections that the ruleset leaves untracked although a DNAT, REDIRECT, NETMAP, SNAT or MASQUERADE rule matches
    them; and untracked ports on which the answers to translated connections come back.

Why
    NAT lives in the conntrack entry, so an untracked packet never enters table nat. DNAT to a backend turns into a
    connection to this host itself (refused), a masqueraded client's packet leaves with its private address (lost),
    an untracked answer is not translated back.

Example
    *raw  -A PREROUTING -p tcp --dport 80 -j CT --notrack
    *nat  -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 10.0.0.5

Instead
    Leave the translated traffic out of the notrack rule, for instance with `-m addrtype --dst-type LOCAL` on a
    router, or let the proxy listen on the port itself.

Fix safety
    No automatic fix.

References
    iptables-extensions(8), CT, DNAT, REDIRECT, MASQUERADE
"""

from collections.abc import Iterator

from ruleaudit.analysis import consumers
from ruleaudit.analysis.connection import KINDS, Kind
from ruleaudit.analysis.consumers import IMAGE, consumed
from ruleaudit.analysis.differing import class_words, not_understood, ports
from ruleaudit.analysis.pair import Pair, Roles
from ruleaudit.analysis.row import Row, union
from ruleaudit.analysis.space import ANY_OTHER, Frame, Space
from ruleaudit.analysis.witness import sample
from ruleaudit.diagnostics import Finding, Label, Severity, Witness
from ruleaudit.model.fields import Field, State
from ruleaudit.model.ruleset import EffectKind, Rule
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.rules.served import by_asking_port, names_the_serving_side, unmarked

CODE = "RA204"
NAME = "nat-on-untracked"
SEVERITY = Severity.ERROR
SINCE = "0.1"

EXAMPLES = (
    Example(
        "a published port",
        """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m tcp --dport 80 -j CT --notrack
-A OUTPUT ! -o lo -p tcp -m tcp --sport 80 -j CT --notrack
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 80 «-j DNAT --to-destination 10.0.0.5»
COMMIT
""",
    ),
    Example(
        "the clients behind a router, browsing",
        """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m tcp --dport 80 -j CT --notrack
-A OUTPUT ! -o lo -p tcp -m tcp --sport 80 -j CT --notrack
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 192.168.0.0/24 -o eth0 «-j MASQUERADE»
COMMIT
""",
    ),
    Example(
        "the port that REDIRECT sends to",
        """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m tcp --dport 8080 -m addrtype --dst-type LOCAL -j CT --notrack
-A OUTPUT ! -o lo -p tcp -m tcp --sport 8080 -m addrtype --src-type LOCAL -j CT --notrack
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 80 «-j REDIRECT --to-ports 8080»
COMMIT
""",
    ),
    Example(
        "containers: what they fetch is lost, the port that is published for them is not",
        """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 80 -j CT --notrack
-A OUTPUT -p tcp -m tcp --sport 80 -j CT --notrack
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 «-j MASQUERADE»
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
""",
    ),
    Example(
        "the router's own port 80, and masqueraded clients",
        """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m tcp --dport 80 -m addrtype --dst-type LOCAL -j CT --notrack
-A OUTPUT ! -o lo -p tcp -m tcp --sport 80 -m addrtype --src-type LOCAL -j CT --notrack
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 192.168.0.0/24 -o eth0 -j MASQUERADE
COMMIT
""",
    ),
    Example(
        "clients that ask from the port of a service are none",
        """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m multiport --dports 80,443 -m addrtype --dst-type LOCAL -j CT --notrack
-A OUTPUT ! -o lo -p tcp -m multiport --sports 80,443 -j CT --notrack
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -i eth0 -p tcp -m tcp --dport 25 -j REDIRECT --to-ports 2525
COMMIT
""",
    ),
    Example(
        "what this host starts has the address of its interface already",
        """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -s 192.0.2.53 -p udp -m udp --sport 53 -j CT --notrack
-A OUTPUT -d 192.0.2.53 -p udp -m udp --dport 53 -j CT --notrack
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -o eth0 -j MASQUERADE
COMMIT
*filter
:FORWARD DROP [0:0]
COMMIT
""",
    ),
)

_SOURCE = ("MASQUERADE", "SNAT")
#: how many notrack rules are pointed at
_SHOWN = 2


def check(audit: Audit) -> Iterator[Finding]:
    """Each translation that the notrack rules of this file take away from some connection."""
    if not audit.notracks or not any(e.kind is EffectKind.NAT for r in audit.ruleset.rules() for e in r.effects):
        return
    told: set[Rule] = set()
    for kind in KINDS[:4]:
        yield from _skipped(audit, audit.untracking, kind, told)
    yield from _images(audit, told)


def _skipped(audit: Audit, pair: Pair, kind: Kind, told: set[Rule]) -> Iterator[Finding]:
    """Openings that a NAT rule would translate, of connections that are untracked in one direction or both."""
    space, part = pair.space, pair.space.connection_part
    before, now = pair.roles(kind, pair.old), pair.roles(kind, pair.new)
    untracked = (now.opening.untracked, part(now.reply.untracked))
    served = [tagged & ~by_asking_port(space, tagged) for tagged in untracked]
    notracks: Row | None = None
    for rule, _, role, packets in consumed(before):
        word = _word(rule)
        # what this host starts itself carries the right source address without a translation
        if role != "opening" or not word or rule in told or (word in _SOURCE and kind.name != "forward"):
            continue
        for tagged in served:
            found = unmarked(space, packets) & tagged
            if word in _SOURCE:
                found = found & ~_back_where_it_came_from(space)
            if is_empty(found) or not names_the_serving_side(space, found):
                continue
            told.add(rule)
            notracks = notracks or _connections(audit, space, now)
            words = class_words(space, found, kind.there, Frame("opening"))
            packet = sample(space, found, kind.there, Frame("opening"), State.NEW).text
            yield _finding(
                audit,
                rule,
                f"{words} is untracked and never meets this {word}: NAT needs conntrack",
                "untracked packets skip this rule",
                tuple(_untracking(audit, notracks, found)),
                Witness(packet, f"untracked in one direction or both; tracked, {rule.where} would translate it"),
            )
            break


def _back_where_it_came_from(space: Space) -> PacketSet:
    """Packets that leave through the interface by which they came: a router masquerades what goes to the other side."""
    out = space.none
    for name in space.alphabet:
        if name != ANY_OTHER:
            out = out | (space.interface(Field.IIF, name) & space.interface(Field.OIF, name))
    return out


def _images(audit: Audit, told: set[Rule]) -> Iterator[Finding]:
    """Untracked packets that may be answers to what a NAT rule has translated."""
    pair = audit.untracking
    for image in consumers.images(pair):
        rule = audit.original(image.rule)
        word = _word(rule)
        if not word or rule in told or image.assumption is not None or not_understood(pair, image.packets):
            continue
        if word in _SOURCE and is_empty(audit.whole.roles(KINDS[2], audit.whole.old).opening.accepted):
            continue
        some = ports(pair.space, image.packets, IMAGE)
        if word not in _SOURCE and all(_size(p.target) <= max(_size(p.source), _FEW) for p in some):
            continue  # only clients that ask from a service's port
        told.add(rule)
        words = class_words(pair.space, image.packets, image.path, IMAGE)
        packet = sample(pair.space, image.packets, image.path, IMAGE, State.ESTABLISHED).text
        yield _finding(
            audit,
            rule,
            f"{words}: answers to what this {word} translates look the same, are untracked, and not translated back",
            "its answers come back on an untracked port",
            audit.notracks if len(audit.notracks) <= _SHOWN else (),  # of more it is not said which
            Witness(packet, f"untracked: as an answer to what {rule.where} translated it is lost"),
        )


#: fewer ports than clients choose from
_FEW = 1 << 12


def _size(ports: tuple[tuple[int, int], ...]) -> int:
    return sum(high - low + 1 for low, high in ports)


def _word(rule: Rule) -> str:
    """`DNAT`, `MASQUERADE`..., or nothing for a rule that translates nothing."""
    return next((e.text.split()[0] for e in rule.effects if e.kind is EffectKind.NAT), "")


def _connections(audit: Audit, space: Space, now: Roles) -> Row:
    """The connections that each notrack rule leaves untracked, in one direction or the other."""
    ways = (now.opening.walk.matched, now.reply.walk.matched)
    part, none = space.connection_part, space.none
    return Row([union([part(by[rule]) for by in ways if rule in by], none) for rule in audit.notracks])


def _untracking(audit: Audit, notracks: Row, found: PacketSet) -> Iterator[Rule]:
    """The first rules that leave some of these connections untracked."""
    end = len(notracks.sets)
    at = notracks.first(found, 0, end)
    for _ in range(_SHOWN):
        if at is not None:
            yield audit.notracks[at]
            at = notracks.first(found, at + 1, end)


def _finding(
    audit: Audit, rule: Rule, message: str, label: str, notracks: tuple[Rule, ...], witness: Witness
) -> Finding:
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        message,
        places.target(rule, audit.source),
        label,
        tuple(Label(places.target(n, audit.source), "left untracked here") for n in notracks),
        (("help", "leave this traffic out of the notrack rule; NAT and NOTRACK exclude each other"),),
        witness,
    )
