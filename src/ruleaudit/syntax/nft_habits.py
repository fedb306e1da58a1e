"""What the habits of other firewalls make people write in nft, and what nft says instead: hints, never judgements."""

from collections.abc import Sequence

from ruleaudit.syntax.nft_selector_types import type_of
from ruleaudit.syntax.nft_tokens import CT_KEYS, FIELDS, JUNK, SELECTOR, STRING, WORD, Token
from ruleaudit.syntax.nft_types import TYPES, number
from ruleaudit.syntax.refusal import did_you_mean

_IPTABLES = "these are words of iptables: iptables-translate says them in nft"
_CHARACTERS = {
    **dict.fromkeys("“”„‟«»‘’‚'`", 'nft knows only the straight quote "'),
    '"': "this quote is not closed in its line",
    "\\": "nothing, not even a blank, may follow it in its line",
    **dict.fromkeys("–—−‐‑", "a dash of another kind: write -"),
    **dict.fromkeys("\u00a0\u2007\u202f\u2009\u200b", "a blank of another kind: write a plain one"),
}
_OTHER_WORDS = {
    "allow": "accept", "permit": "accept", "pass": "accept", "deny": "drop", "block": "drop", "discard": "drop",
    "interface": "iifname", "in": "iifname", "out": "oifname", "port": "tcp dport", "protocol": "meta l4proto",
    "proto": "meta l4proto", "not": "!=", "state": "ct state", "dport": "tcp dport or udp dport",
    "sport": "tcp sport or udp sport", "saddr": "ip saddr or ip6 saddr", "daddr": "ip daddr or ip6 daddr",
    "masq": "masquerade", "NOTRACK": "notrack", "MASQUERADE": "masquerade",
}  # fmt: skip
_OTHER_FIELDS = {
    "src": "saddr", "source": "saddr", "dst": "daddr", "dest": "daddr", "destination": "daddr", "port": "dport",
    "ports": "dport", "dports": "dport", "sports": "sport", "proto": "protocol",
}  # fmt: skip
FIRST_WORDS = {
    "nft": "in a file, commands stand without nft",
    "rule": "inside of a chain, a rule stands without this word",
    "iptables": _IPTABLES,
    "ip6tables": _IPTABLES,
}
_MARKS = {
    "/": "a comment begins with #",
    "=": "write == or nothing",
    "[": "write { a, b }",
    "!": "write != before the value",
}


def instead(words: Sequence[Token], at: int, within: str) -> str:
    """What to write instead of the word that cannot stand where it stands; "" if nothing is known."""
    word = words[at]
    before = words[at - 1] if at else None
    if word.kind == JUNK:
        return _CHARACTERS.get(word.text, "")
    if _is_option(words, at):
        return _IPTABLES
    if word.text in _MARKS and word.kind != STRING and (word.text != "/" or at == 0):
        return _MARKS[word.text]
    if before is not None and before.text == "log" and word.kind == STRING:
        return f'write log prefix "{word.text}"'
    if before is not None and before.text == "prefix":
        return "the prefix needs quotes"
    if at == 0 or (at == 1 and word.text == "rule"):
        found = FIRST_WORDS.get(word.text)
        if found:
            return found
    if within == "set" and before is not None and before.kind in (WORD, STRING) and word.kind in (WORD, STRING):
        return 'a "," is missing before it'
    if before is not None and before.text == "not" and before.kind == WORD:
        return "write !="
    if word.kind != STRING and word.text in _OTHER_WORDS:
        return f"write {_OTHER_WORDS[word.text]}"
    return ""


def several(words: Sequence[Token], at: int) -> str:
    """A hint where a second value follows the first one."""
    if at < 2 or words[at].kind not in (WORD, STRING) or words[at - 1].kind not in (WORD, STRING):
        return ""
    selector = next((word for word in reversed(words[max(at - 3, 0) : at - 1]) if word.kind == SELECTOR), None)
    if selector is None:
        return ""
    one, other = words[at - 1].text, words[at].text
    type_ = type_of(selector.text)
    if type_ is None or not (other in type_.words or number(other) is not None):
        return ""
    return f"write {one},{other}" if type_.name == "ct_state" else f"write {{ {one}, {other} }}"


def field(header: str, word: str) -> str:
    """A hint for a word behind `tcp`, `ip`, `icmp`... that is no field of it."""
    fields = FIELDS.get(header, "").split() if header != "ct" else list(CT_KEYS)
    if word in _OTHER_FIELDS and _OTHER_FIELDS[word] in fields:
        return f"did you mean {_OTHER_FIELDS[word]}?"
    for one in fields:
        type_ = type_of(f"{header} {one}")
        if type_ is not None and word in type_.words and not type_.open:
            return f"write {header} {one} {word}"
    if number(word) is not None and "dport" in fields:
        return f"write {header} dport {word}"
    return _IPTABLES if word == "-" else did_you_mean(word, fields)


def refusal(code: str) -> str:
    """A hint for `reject with` and the word of iptables."""
    code = code.lower().removeprefix("icmp6-").removeprefix("icmp-")
    if code == "tcp-reset":
        return "write tcp reset"
    for kind in ("icmpx", "icmp", "icmpv6"):
        if code in TYPES[f"{kind}_code"].words:
            return f"write {kind} {code}"
    return "icmp, icmpv6, icmpx or tcp reset"


def _is_option(words: Sequence[Token], at: int) -> bool:
    """Whether an option as of iptables stands here: -j, --dport."""
    word = words[at]
    if word.text == "-" and at + 1 < len(words):
        following = words[at + 1]
        return following.start == word.end and (following.text[:1].isalpha() or following.text == "-")
    before = words[at - 2] if at >= 2 else None
    return before is not None and before.text == "-" and words[at - 1].start == before.end and word.text.isupper()
