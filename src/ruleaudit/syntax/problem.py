"""What is wrong with the structure of a text."""

from dataclasses import dataclass

from ruleaudit.source import Span


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with the structure at one place."""

    span: Span
    message: str
    hint: str = ""
    refused: bool = True  #: False: the program that loads the text takes it, but hardly as meant
