"""A rule meant for fragments that drops whole packets: it tests the Don't Fragment bit.

What it finds
    A drop or reject on nft's `ip frag-off` (or the same 16 bits by `@nh,48,16`, or by u32 at 4) that a whole packet
    with the Don't Fragment bit matches: `ip frag-off & 0x4000 != 0`, `ip frag-off != 0`.

Why
    The field holds three things: Don't Fragment (0x4000), More Fragments (0x2000) and the offset (0x1fff). Don't
    Fragment is set in nearly every TCP packet, and in most of what a Linux host sends, since path-MTU discovery needs
    it. A packet is a fragment when one of the other two is not zero.

Example
    ip frag-off & 0x4000 != 0 drop

Instead
    ip frag-off & 0x3fff != 0 drop

    Every fragment; `& 0x1fff` leaves the first ones, which have ports, to the rules below. In iptables: `-f`.
    A rule that asks for the length too is about large packets that may not be cut, and is left alone.

Fix safety
    Not automatic: the rule as it was meant drops other packets than the rule as it is.

References
    RFC 791, section 3.1; nft(8), IPV4 HEADER EXPRESSION; iptables-extensions(8), u32
"""

import operator
import re
from collections.abc import Callable, Iterator

from ruleaudit.diagnostics import Finding, Fix, FixClass, Severity
from ruleaudit.model.ruleset import Drop, Match, Reject
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.source import Span

CODE = "RA312"
NAME = "dont-fragment-test"
SEVERITY = Severity.WARNING
SINCE = "0.1"

_NFT = """table ip filter {{
	chain input {{
		type filter hook input priority filter; policy accept;
		{}
	}}
}}
"""
_IPTABLES = """*filter
:INPUT ACCEPT [0:0]
-A INPUT {} -j DROP
COMMIT
"""

EXAMPLES = (
    Example("the Don't Fragment bit", _NFT.format("«ip frag-off & 0x4000 != 0» counter drop")),
    Example("the same in decimal, of some packets", _NFT.format("tcp dport 80 «ip frag-off & 16384 == 16384» reject")),
    Example("the whole field, which holds that bit too", _NFT.format("«ip frag-off != 0» drop")),
    Example("the same bits by their place", _NFT.format("«@nh,48,16 & 0x4000 != 0» drop")),
    Example("u32", _IPTABLES.format('«-m u32 --u32 "4 & 0x4000 = 0x4000"»')),
    Example(
        "JSON",
        """{"nftables": [
{"add": {"table": {"family": "ip", "name": "t"}}},
{"add": {"chain": {"family": "ip", "table": "t", "name": "c", "type": "filter", "hook": "input", "prio": 0}}},
{"add": {"rule": {"family": "ip", "table": "t", "chain": "c", "expr": [
«{"match": {"op": "!=", "left": {"&": [{"payload": {"protocol": "ip", "field": "frag-off"}}, 16384]}, "right": 0}}»,
{"drop": null}]}}}
]}
""",
    ),
    Example(
        "later fragments, and all of them",
        _NFT.format("ip frag-off & 0x1fff != 0 drop; ip frag-off & 0x3fff != 0 drop"),
    ),
    Example("more fragments follow", _NFT.format("ip frag-off & 0x2000 != 0 drop")),
    Example(
        "packets that may not be cut are counted, and let in",
        _NFT.format("ip frag-off & 0x4000 != 0 counter; ip frag-off 0x4000 accept"),
    ),
    Example("large packets that may not be cut", _NFT.format("ip length > 1400 ip frag-off & 0x4000 != 0 drop")),
    Example("packets that may be cut", _NFT.format("udp dport 500 ip frag-off & 0x4000 == 0 drop")),
    Example("later fragments by u32", _IPTABLES.format('-m u32 --u32 "4 & 0x1fff = 1:0x1fff"')),
)

_DONT_FRAGMENT = 0x4000
_NUMBER = r"0[xX][0-9a-fA-F]+|[0-9]+"
_FIELD = re.compile(
    rf"(?:ip frag-off|@nh,48,16)(?: & \(?(?P<mask>(?:{_NUMBER})(?: ?\| ?(?:{_NUMBER}))*)\)?)?"
    rf" ?(?P<operator>==|!=|<=|>=|<|>|) ?(?P<value>{_NUMBER})"
)
_U32 = re.compile(
    rf"-m u32 --u32 [\"']?\s*4\s*(?:&\s*(?P<mask>{_NUMBER})\s*)?"
    rf"=\s*(?P<low>{_NUMBER})\s*(?::\s*(?P<high>{_NUMBER})\s*)?[\"']?"
)
_OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_LENGTHS = ("ip length", "meta length", "length")


def check(audit: Audit) -> Iterator[Finding]:
    """Each drop or reject of whole packets that may not be cut."""
    for rule in audit.ruleset.rules():
        if not isinstance(rule.verdict, Drop | Reject) or any(m.name in _LENGTHS for m in rule.matches):
            continue
        for match in rule.matches:
            place = rule.place_of(match)
            if _holds(audit, match, place, _DONT_FRAGMENT) and not _holds(audit, match, place, 0):
                yield _finding(audit, place)


def _holds(audit: Audit, match: Match, place: Span, field: int) -> bool:
    """The match is a test of the fragment field that holds for this value of it."""
    if match.name == "u32":
        found = _U32.fullmatch(audit.source.slice(place))
        if found is None:
            return False
        low = int(found["low"], 0)
        # u32 reads the identification before it; a mask that reaches into that tests something else
        mask = int(found["mask"] or "0xffffffff", 0)
        return mask <= 0xFFFF and low <= field & mask <= int(found["high"] or found["low"], 0)
    found = _FIELD.fullmatch(match.text)
    if found is None:
        return False
    mask = 0
    for bits in re.findall(_NUMBER, found["mask"] or "0xffff"):
        mask |= int(bits, 0)
    return _OPERATORS[found["operator"]](field & mask, int(found["value"], 0))


def _finding(audit: Audit, place: Span) -> Finding:
    instead = (
        "ip frag-off & 0x3fff != 0 (every fragment) or & 0x1fff != 0 (later ones)" if audit.ruleset.is_nft else "-f"
    )
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        "this is true of whole packets with the Don't Fragment bit, which nearly every TCP packet has set",
        place,
        "no test for fragments",
        notes=(("help", f"for fragments write {instead}"),),
        fix=Fix(FixClass.MANUAL, f"test the bits of fragments: {instead}"),
    )
