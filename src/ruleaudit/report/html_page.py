"""One HTML page that needs nothing else: its skeleton and style, and how templates are filled.

WHATWG HTML, CSP Level 3. There are no scripts, and the policy of the page allows its own style alone (by its hash), so
that nothing a ruleset says could become more than text. Every value goes through `printable` and is escaped.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ruleaudit.report.wording import printable

_OPTION = re.compile(r"(^|\s)(--?[A-Za-z][\w-]*)")


@dataclass(frozen=True)
class Section:
    """What the page says of one file: its name, the answer in a word and in a sentence, and all the rest.

    tone    good, warning or bad: the colour of the word
    """

    name: str
    tone: str
    word: str
    sentence: str
    body: Markup


def page(command: str, sections: Sequence[Section]) -> str:
    """The whole page; a table of contents where there are several files."""
    style = Markup("\n".join(map(_source, ("colours.css", "style.css", "packet_path.css"))))
    policy = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    from ruleaudit import __version__

    return fill("page.html", command=command, sections=sections, style=style, policy=policy, version=__version__)


def failed(name: str, message: str) -> Section:
    """What is said of a file that nothing could be said of."""
    return Section(name, "bad", "NOT READ:", message, Markup())


def fill(template: str, **values: object) -> Markup:
    """A template of `report/templates`, filled."""
    return Markup(_environment().get_template(template).render(values))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ruleaudit.report"),
        autoescape=True,
        finalize=_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["rule"] = _rule
    return environment


def _text(value: object) -> object:
    return value if isinstance(value, Markup) else printable(str(value))


def _rule(text: str) -> Markup:
    """Text of a rule, in which a line may not end between the hyphens of an option and its name."""
    return Markup(_OPTION.sub(r"\1<span>\2</span>", str(escape(printable(text)))))


def _source(template: str) -> str:
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, template)[0].strip()
