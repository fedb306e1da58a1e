"""What is said of a word that cannot stand where it stands in a rule."""

from collections.abc import Sequence

from ruleaudit.source import Span
from ruleaudit.syntax import nft_habits as habits
from ruleaudit.syntax.nft_shapes import Malformed
from ruleaudit.syntax.nft_tokens import (
    BARE_META_KEYS,
    BRACES,
    CT_KEYS,
    FIELDS,
    META_KEYS,
    SELECTOR,
    SET_NAME,
    STRING,
    WORD,
    Token,
)
from ruleaudit.syntax.problem import Problem
from ruleaudit.syntax.refusal import did_you_mean

_BEGINNINGS = (
    *FIELDS, *BARE_META_KEYS, "meta", "ct", "fib", "ipsec", "osf", "numgen", "jhash", "accept", "drop", "continue",
    "return", "jump", "goto", "counter", "limit", "quota", "log", "reject", "snat", "dnat", "masquerade", "redirect",
    "queue", "tproxy", "dup", "fwd", "synproxy", "flow", "notrack", "xt", "add", "update", "delete", "set", "comment",
)  # fmt: skip
_SPELLED = {
    "LPAR": '"("', "RPAR": '")"', "COMMA": '","', "COLON": '":"', "DOT": '"."', "BRACES": '"{"', "WORD": "a value",
    "STRING": "a string", "SELECTOR": "something to look at", "SET_NAME": '"@" and the name of a set', "DASH": '"-"',
    "SLASH": '"/"', "NOT": '"!="',
}  # fmt: skip


def unexpected(words: Sequence[Token], where: Malformed, end: int | None = None, within: str = "rule") -> Problem:
    """The problem at the word where a rule stops to be one; `end` is the offset of what closes it."""
    if where.word >= len(words):
        last = words[-1] if words else Token(WORD, "", end or 0, end or 0)
        at = last.end if end is None else end
        if last.kind == SELECTOR:
            return Problem(Span(last.start, last.end), f'a value for "{last.text}" is missing', "what must it be?")
        if len(words) > 1 and words[-2].text == "with" and last.kind == WORD:
            place = Span(last.start, last.end)
            return Problem(place, f'reject with "{last.text}"', habits.refusal(last.text))
        return Problem(
            Span(last.start, max(at, last.end)), f'the {within} ends too early behind "{last.text}"', _hint(where)
        )
    word = words[where.word]
    before = words[where.word - 1] if where.word else None
    span = Span(word.start, word.end)
    if where.limit:
        return Problem(span, where.limit)
    known = _fields_of(before)
    if known and before is not None:
        shown = word.text or "{"
        return Problem(span, f'"{before.text}" has no field "{shown}"', habits.field(before.text, word.text))
    hint = habits.instead(words, where.word, within)
    if word.kind == WORD and "ACCEPT" in where.expected:
        fields = _fields_of(word)
        following = words[where.word + 1] if where.word + 1 < len(words) else None
        if fields and following is not None:
            place = Span(following.start, following.end)
            return Problem(
                place, f'"{word.text}" has no field "{following.text}"', habits.field(word.text, following.text)
            )
        hint = hint or habits.several(words, where.word) or did_you_mean(word.text, _BEGINNINGS)
        return Problem(span, f'unexpected "{word.text}"', hint)
    text = {BRACES: "{", SET_NAME: f"@{word.text}", STRING: f'\\"{word.text}\\"', ";": "line end"}.get(
        word.kind, word.text
    )
    return Problem(span, f'unexpected "{text}"'.replace('"\\"', '"').replace('\\""', '"'), hint or _hint(where))


def _fields_of(word: Token | None) -> tuple[str, ...]:
    """What may follow a word that begins selectors."""
    if word is None or word.kind != WORD:
        return ()
    if word.text == "meta":
        return META_KEYS
    if word.text == "ct":
        return CT_KEYS
    return tuple(FIELDS.get(word.text, "").split())


def _hint(where: Malformed) -> str:
    if "ACCEPT" in where.expected or not where.expected:
        return ""
    spelled = sorted(_SPELLED.get(name, name.lower().replace("_", "-")) for name in where.expected)
    return f"expected: {', '.join(spelled)}" if len(spelled) <= 6 else ""
