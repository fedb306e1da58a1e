"""The rulesets that come with a lint rule: they are its documentation and its tests."""

from dataclasses import dataclass

from ruleaudit.source import Span

OPEN, CLOSE = "«", "»"


@dataclass(frozen=True, slots=True)
class Example:
    """One ruleset with the places that the rule marks between « and »; without a mark the rule leaves it alone.

    `title` says what the ruleset shows; `language` is what it is read as, `twin` the ruleset of the other family,
    `configuration` the text of the ruleaudit.toml beside it.
    """

    title: str
    marked: str
    language: str | None = None
    twin: str = ""
    configuration: str = ""

    @property
    def text(self) -> str:
        """The ruleset without the marks."""
        return self.marked.replace(OPEN, "").replace(CLOSE, "")

    @property
    def spans(self) -> tuple[Span, ...]:
        """The marked places, as spans of `text`."""
        out: list[Span] = []
        start = at = 0
        for letter in self.marked:
            if letter == OPEN:
                start = at
            elif letter == CLOSE:
                out.append(Span(start, at))
            else:
                at += 1
        return tuple(out)
