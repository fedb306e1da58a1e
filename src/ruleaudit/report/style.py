"""Colours of a terminal, or none: ECMA-48 escape sequences, always beside words that say the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Style:
    """Paints text when `colour` is on; gives it back as it is otherwise."""

    colour: bool = False

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text

    def bold(self, text: str) -> str:
        return self._paint("1", text)

    def faint(self, text: str) -> str:
        return self._paint("2", text)

    def bad(self, text: str) -> str:
        return self._paint("1;31", text)

    def good(self, text: str) -> str:
        return self._paint("1;32", text)

    def warning(self, text: str) -> str:
        return self._paint("1;33", text)

    def place(self, text: str) -> str:
        return self._paint("1;34", text)

    def added(self, text: str) -> str:
        return self._paint("32", text)

    def removed(self, text: str) -> str:
        return self._paint("31", text)


PLAIN = Style()


def wants_colour(choice: str, environment: Mapping[str, str], stream: TextIO | None) -> bool:
    """Whether to colour: the option decides, then NO_COLOR, then FORCE_COLOR (CLICOLOR_FORCE), then the terminal."""
    if choice != "auto":
        return choice == "always"
    if environment.get("NO_COLOR"):
        return False
    if any(environment.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return stream is not None and stream.isatty() and environment.get("TERM", "dumb") != "dumb"
