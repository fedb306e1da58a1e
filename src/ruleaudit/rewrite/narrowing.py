"""The words by which a rule narrows its packets to some addresses, for a rule of the same kind beside it."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from ruleaudit.model.ruleset import Rule

Words = tuple[str, ...]
Interval = tuple[int, int]
Network = IPv4Network | IPv6Network

_OTHER_SIDE = {
    "-s": "-d",
    "-d": "-s",
    "src": "dst",
    "dst": "src",
    "--src-range": "--dst-range",
    "--dst-range": "--src-range",
    "saddr": "daddr",
    "daddr": "saddr",
    "sport": "dport",
    "dport": "sport",
}


@dataclass(frozen=True, slots=True)
class Narrowing:
    """The address tests of a rule by side (`-s 10.0.0.0/8`, `ip saddr @wl`); empty: open to all.

    hosts    addresses of the serving side, of one family, that somebody else knows of; empty: any
    clients  the ports that the openings come from; None: any
    """

    source: tuple[Words, ...] = ()
    target: tuple[Words, ...] = ()
    hosts: tuple[Network, ...] = ()
    clients: Interval | None = None

    def plain(self, words: Words) -> str:
        """An address test as people say it: `10.0.0.0/8`, `! 192.0.2.1`, `set wl`."""
        sign = "! " if "!" in words or "!=" in words else ""
        if "saddr" in words or "daddr" in words:
            return sign + _value(words)
        if "--match-set" in words:
            return f"{sign}set {words[words.index('--match-set') + 1]}"
        return sign + words[-1]

    def texts(self, *, reply: bool) -> list[str]:
        """The tests, for packets of the opening's direction or of the replies'."""
        words = (*self.source, *self.target)
        return [mirrored(w) if reply else " ".join(w) for w in words]


def address_text(network: Network) -> str:
    """A network as people write it: `10.9.2.0/24`, one address without its length."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def mirrored(words: Words) -> str:
    """The same address test for packets of the opposite direction."""
    return " ".join(_OTHER_SIDE.get(word, word) for word in words)


def _value(words: Words) -> str:
    """What an nft test compares with: the words behind the last selector and the operator."""
    last = max(place for place, word in enumerate(words) if word in _OTHER_SIDE)
    value = " ".join(word for word in words[last + 1 :] if word not in ("==", "!="))
    return f"set {value[1:]}" if value.startswith("@") else value


def narrowing(rule: Rule) -> Narrowing:
    """The address tests of a rule."""
    if any(match.text for match in rule.matches):
        return _of_matches(rule)
    words = rule.text.split()
    source: list[Words] = []
    target: list[Words] = []
    index = 0
    while index < len(words):
        negated = words[index] == "!"
        here = index + negated
        word = words[here] if here < len(words) else ""
        old_style = here + 1 < len(words) and words[here + 1] == "!"
        value = here + 1 + old_style
        sign = ("!",) if negated or old_style else ()
        if word in ("-s", "--source", "--src", "-d", "--destination", "--dst") and value < len(words):
            side = source if word in ("-s", "--source", "--src") else target
            side.append((*sign, "-s" if side is source else "-d", words[value]))
            index = value
        elif word in ("--src-range", "--dst-range") and value < len(words):
            side = source if word == "--src-range" else target
            side.append(("-m", "iprange", *sign, word, words[value]))
            index = value
        elif word == "--match-set" and value + 1 < len(words) and words[value + 1] in ("src", "dst"):
            side = source if words[value + 1] == "src" else target
            side.append(("-m", "set", *sign, word, words[value], words[value + 1]))
            index = value + 1
        index += 1
    return Narrowing(tuple(source), tuple(target))


def _of_matches(rule: Rule) -> Narrowing:
    """The address tests of an nft rule; a concatenation counts for the side that it names first."""
    source: list[Words] = []
    target: list[Words] = []
    for match in rule.matches:
        words = tuple(match.text.split())
        side = next((w for w in words if w in ("saddr", "daddr")), "")
        if side and words[0] in ("ip", "ip6"):
            (source if side == "saddr" else target).append(words)
    return Narrowing(tuple(source), tuple(target))
