"""The documentation: the site builds, every command line exists, and what is shown beneath one is what it prints.

A page shows files as blocks with a title, and commands in `console` blocks; all of them are tried in the order of the
page, in a folder of its own. `python -m tests.test_docs` writes today's output into the pages.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag

import pytest

from ruleaudit import config
from ruleaudit.arguments import parse
from ruleaudit.rules import RULES
from ruleaudit.source import SourceFile

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
_BLOCK = re.compile(r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.M | re.S)
_INDENTED = re.compile(r"^(?: {4}|\$ )(ruleaudit .*)$", re.M)


# -- what the pages show ------------------------------------------------------------------------------


def _executed(page: str, folder: Path) -> str:
    """A page with the output of today beneath its commands."""

    def block(found: re.Match[str]) -> str:
        if found["title"]:
            (folder / found["title"]).parent.mkdir(parents=True, exist_ok=True)
            (folder / found["title"]).write_text(found["text"])
        if found["language"] != "console":
            return found[0]
        commands = [line for line in found["text"].splitlines() if line.startswith("$ ")]
        return "```console\n" + "".join(f"{line}\n{_output(line[2:], folder)}" for line in commands) + "```"

    return _BLOCK.sub(block, page)


def _output(command: str, folder: Path) -> str:
    """What a command prints on a terminal of a hundred columns."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout


@pytest.mark.parametrize("page", [page for page in PAGES if "```console" in page.read_text()], ids=lambda p: p.name)
def test_a_page_shows_what_its_commands_print(page: Path, tmp_path: Path) -> None:
    assert page.read_text() == _executed(page.read_text(), tmp_path)


def _commands(text: str) -> Iterator[list[str]]:
    """The arguments of every command line of ruleaudit in the code of a page."""
    blocks = "\n".join(f"    {line}" for found in _BLOCK.finditer(text) for line in found["text"].splitlines())
    for found in _INDENTED.finditer(text + "\n" + blocks):
        words = shlex.split(found[1], comments=True)
        yield words[1 : next((i for i, word in enumerate(words) if word in (">", "|", ">>", "<", "||", "&&")), None)]


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda p: p.name)
def test_every_command_line_exists(page: Path) -> None:
    for arguments in _commands(page.read_text()):
        if not {"--help", "--version"} & set(arguments):
            parse(arguments)


def test_the_commands_are_found() -> None:
    for name in ("commands", "kernel", "ci", "full-table"):
        assert list(_commands((ROOT / "docs" / f"{name}.md").read_text())), name


def test_every_key_of_a_configuration_is_explained() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    for key in config.KEYS:
        assert re.search(rf"^\| `(\[+)?{key}(\]+)?` \|", page, re.M), key


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_configuration_that_is_shown_can_be_read(page: Path) -> None:
    for found in _BLOCK.finditer(page.read_text()):
        if found["title"] == "ruleaudit.toml":
            config.load(SourceFile("ruleaudit.toml", found["text"]), [(rule.CODE, rule.NAME) for rule in RULES])


# -- the site -----------------------------------------------------------------------------------------


class _Links(HTMLParser):
    """Where a page leads to, and the places in it that can be led to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name == "id" and value:
                self.places.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return folder


def test_every_rule_has_a_page_under_its_code_and_its_name(site: Path) -> None:
    for rule in RULES:
        page = (site / "rules" / rule.CODE / "index.html").read_text()
        assert rule.NAME in page
        for example in rule.EXAMPLES:
            assert example.title.split("`")[0].split('"')[0][1:20] in page
        assert f"url=../{rule.CODE}/" in (site / "rules" / rule.NAME / "index.html").read_text()


def test_every_page_is_in_the_site(site: Path) -> None:
    for page in PAGES:
        assert (site / page.stem / "index.html").exists(), page.name
    assert "table full, dropping packet" in (site / "index.html").read_text()


def test_every_link_of_the_site_leads_somewhere_in_it(site: Path) -> None:
    pages: dict[Path, _Links] = {}
    for path in site.rglob("*.html"):
        pages[path] = _Links()
        pages[path].feed(path.read_text())
    for path, page in pages.items():
        for link in page.links:
            target, place = urldefrag(link)
            if re.match(r"[a-z]+:", target) or path.name == "404.html":
                continue
            there = (path.parent / target).resolve() if target else path
            there = there / "index.html" if there.is_dir() else there
            assert there.exists(), f"{path.relative_to(site)}: {link}"
            if there in pages and place:
                assert place in pages[there].places, f"{path.relative_to(site)}: {link}"


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        fetched = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', path.read_text())
        assert fetched == [], path.relative_to(site)


if __name__ == "__main__":
    for one in PAGES:
        with tempfile.TemporaryDirectory() as made:
            one.write_text(_executed(one.read_text(), Path(made)))
