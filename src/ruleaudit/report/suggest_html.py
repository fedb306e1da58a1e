"""`suggest` as one HTML page: the answer, the packet path before and after, the traffic, old and new side by side, and
what to type. WHATWG HTML; see `html_page`.
"""

from collections.abc import Iterable, Iterator, Sequence
from shlex import quote

from ruleaudit.model.proxy import Proxy
from ruleaudit.report import applying, haproxy_text, html_answer, kernel_text, live_text, suggest_text
from ruleaudit.report.html_page import Section, fill, page
from ruleaudit.report.style import PLAIN
from ruleaudit.results.observation import Observation
from ruleaudit.results.suggestion import Suggestion


def render(sections: Sequence[Section]) -> str:
    """The page for one file or several."""
    return page("suggest", sections)


def section(
    suggestion: Suggestion,
    name: str,
    options: Sequence[str] = (),
    observation: Observation | None = None,
    proxy: Proxy | None = None,
) -> Section:
    """What the page says of one file; `name` begins its ids. Where the kernel contradicts, no rewrite is shown."""
    path = suggestion.source.path
    if observation is not None and observation.contradicts:
        first, *rest = kernel_text.contradiction(observation, PLAIN)
        word, _, sentence = first.partition(": ")
        return Section(path, "bad", f"{word}:", sentence, fill("lines.html", lines=rest))
    word, sentence = html_answer.headline(suggestion)
    observed = kernel_text.sentence(observation) if observation is not None else ""
    body = fill(
        "suggest.html",
        said=suggest_text.summary(suggestion, proxy).splitlines(),
        picture=html_answer.picture(suggestion, name),
        traffic=html_answer.traffic(suggestion),
        change=html_answer.change(suggestion, observed),
        needing=html_answer.needing(suggestion.tracking),
        commands=list(_commands(suggestion, options, proxy)),
    )
    return Section(path, html_answer.tone(suggestion), word, sentence, body)


def _commands(suggestion: Suggestion, options: Sequence[str], proxy: Proxy | None) -> Iterator[tuple[str, list[str]]]:
    """The sections of the text that are shown as they are: their headline and lines."""
    texts: list[Iterable[str]] = []
    if suggestion.text is not None:
        repeated = "".join(f" {quote(option)}" for option in options)
        texts = [
            suggest_text.right_now(PLAIN),
            applying.apply(suggestion, repeated, PLAIN),
            applying.afterwards(suggestion, PLAIN),
        ]
    if suggestion.running is not None:
        texts.append(live_text.section(suggestion.running, live_text.BESIDE, PLAIN))
    if suggestion.outcome != "nothing-needs-tracking":
        texts.append(suggest_text.elsewhere(suggestion, PLAIN))
    if proxy is not None:
        texts.append(haproxy_text.section(proxy, PLAIN))
    for headline, *lines in filter(None, map(list, texts)):
        yield headline, [line.removeprefix("  ") for line in lines]
