"""The words by which a rule narrows its packets to some addresses, for a rule of the same kind beside it."""

from dataclasses import dataclass

from ruleaudit.model.ruleset import Rule

Words = tuple[str, ...]

_OTHER_SIDE = {
    "-s": "-d",
    "-d": "-s",
    "src": "dst",
    "dst": "src",
    "--src-range": "--dst-range",
    "--dst-range": "--src-range",
}


@dataclass(frozen=True, slots=True)
class Narrowing:
    """The address options of a rule by side (`-s 10.0.0.0/8`, `-m set --match-set wl src`); empty: open to all."""

    source: tuple[Words, ...] = ()
    target: tuple[Words, ...] = ()

    def plain(self, words: Words) -> str:
        """An address test as people say it: `10.0.0.0/8`, `! 192.0.2.1`, `set wl`."""
        sign = "! " if "!" in words else ""
        if "--match-set" in words:
            return f"{sign}set {words[words.index('--match-set') + 1]}"
        return sign + words[-1]

    def texts(self, *, reply: bool) -> list[str]:
        """The tests, for packets of the opening's direction or of the replies'."""
        words = (*self.source, *self.target)
        return [mirrored(w) if reply else " ".join(w) for w in words]


def mirrored(words: Words) -> str:
    """The same address test for packets of the opposite direction."""
    return " ".join(_OTHER_SIDE.get(word, word) for word in words)


def narrowing(rule: Rule) -> Narrowing:
    """The address tests of an iptables rule."""
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
