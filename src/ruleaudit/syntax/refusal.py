"""Refused: a word of a rule that iptables or the kernel would not take.

Raised by the readers of single words and extensions, caught where a rule is read (`model.from_iptables_rule`), and made
into a Finding there; it never leaves that module.
"""

from collections.abc import Iterable


class Refused(Exception):
    """`word` is the part of the text to point at (empty: the whole option), `hint` the text beside the caret."""

    def __init__(self, message: str, word: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.word = word
        self.hint = hint


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known word, or nothing.

    >>> did_you_mean("ESTBLISHED", ("NEW", "ESTABLISHED"))
    'did you mean ESTABLISHED?'
    """
    import difflib

    by_case = {k.lower(): k for k in known}
    near = difflib.get_close_matches(word.lower(), by_case, 1, 0.6)
    return f"did you mean {by_case[near[0]]}?" if near else ""
