"""What the documentation site has besides the pages of this folder; mkdocs.yml names this file.

The first page is README.md, every lint rule has a page made of its module (rules/RA201/), and its name leads there
(rules/one-way-notrack/).
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from ruleaudit.report import check_full
from ruleaudit.results import FileReport
from ruleaudit.rules import RULES
from ruleaudit.rules.examples import Example
from ruleaudit.rules.file_report import check_example

ROOT = Path(__file__).parent.parent
#: what README.md and CONTRIBUTING.md link to beside the pages, and that is shown as it is
_BESIDE = ("LICENSE", "examples/haproxy-host/rules.v4")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The rules in the navigation."""
    rules = [{f"{rule.CODE} {rule.NAME}": f"rules/{rule.CODE}.md"} for rule in RULES]
    nav = list(config.nav or [])
    at = next(i for i, entry in enumerate(nav) if isinstance(entry, dict) and "Inside" in entry)
    config.nav = [*nav[:at], {"Rules": ["rules/index.md", *rules]}, *nav[at:]]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages that are made, and the files that stand elsewhere."""
    for name, page in (("README.md", "index.md"), ("CONTRIBUTING.md", "CONTRIBUTING.md")):
        files.append(File.generated(config, page, content=_moved((ROOT / name).read_text())))
    for name in _BESIDE:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    files.append(File.generated(config, "rules/index.md", content=rules_page()))
    for rule in RULES:
        files.append(File.generated(config, f"rules/{rule.CODE}.md", content=rule_page(rule)))
    return files


def on_post_build(config: MkDocsConfig) -> None:
    """The name of a rule leads to its page."""
    for rule in RULES:
        folder = Path(config.site_dir, "rules", rule.NAME)
        folder.mkdir()
        there = f"../{rule.CODE}/"
        (folder / "index.html").write_text(
            f'<!doctype html><meta charset="utf-8"><title>{rule.CODE} {rule.NAME}</title>'
            f'<link rel="canonical" href="{there}"><meta http-equiv="refresh" content="0; url={there}">'
            f'<a href="{there}">{rule.CODE} {rule.NAME}</a>\n'
        )


def _moved(text: str) -> str:
    """A page from the top of the repository, its links seen from this folder."""
    return text.replace("](docs/", "](")


def rules_page() -> str:
    """All rules in a table."""
    rows = "".join(
        f"| [{rule.CODE}]({rule.CODE}.md) | {rule.NAME} | {rule.SEVERITY.value} | {_summary(rule)} |\n"
        for rule in RULES
    )
    return (
        "# Rules\n\n"
        "What `ruleaudit check` finds; `ruleaudit rule RA201` prints the same pages.\n"
        "RA0 is about the input, RA1 about what is tracked, RA2 about NOTRACK, RA3 about the logic of the rules, "
        "RA5 about what was expected of them.\n\n"
        f"| code | name | severity | finds |\n|---|---|---|---|\n{rows}"
    )


def rule_page(rule: ModuleType) -> str:
    """The docstring of a rule, and its examples with what `check` says of them."""
    parts = [f"# {rule.CODE} {rule.NAME}\n\n{_summary(rule)}\n"]
    reports = [(example, check_example(example)) for example in rule.EXAMPLES]
    fixes = sorted({f.fix.kind.value for _, r in reports for f in r.findings if f.code == rule.CODE and f.fix})
    parts.append(
        "| code | name | severity | fix | since |\n|---|---|---|---|---|\n"
        f"| `{rule.CODE}` | `{rule.NAME}` | {rule.SEVERITY.value} | {', '.join(fixes) or 'by hand'} | {rule.SINCE} |\n"
    )
    for heading, text in _sections(rule.__doc__ or ""):
        # what to write instead is said in words where it depends
        in_code = heading in ("Example", "Instead") and not text.endswith(".")
        parts.append(f"## {heading}\n\n{_fenced(text) if in_code else _escaped(text)}\n")
    parts.append("## Caught\n")
    parts += [_shown(rule, example, report) for example, report in reports if example.spans]
    parts.append("## Left alone\n")
    parts += [_shown(rule, example, report) for example, report in reports if not example.spans]
    return "\n".join(parts)


def _shown(rule: ModuleType, example: Example, report: FileReport) -> str:
    """The ruleset of an example, what stands beside it, and what is found."""
    title = example.title[:1].upper() + example.title[1:]
    parts = [f"### {title}\n", _fenced(example.text)]
    for name, text in (("The IPv6 ruleset", example.twin), ("ruleaudit.toml", example.configuration)):
        if text:
            parts.append(f"{name}:\n\n{_fenced(text)}")
    ours = tuple(f for f in report.findings if f.code == rule.CODE)
    if ours:
        said = check_full.render([replace(report, findings=ours)], notes=True)
        parts.append(f"Found:\n\n{_fenced(said)}")
    return "\n".join(parts)


def _summary(rule: ModuleType) -> str:
    return _escaped((rule.__doc__ or "").split("\n")[0])


def _sections(page: str) -> Iterator[tuple[str, str]]:
    """The headings of a docstring, each with its text."""
    for part in re.split(r"\n(?=\S)", page.split("\n", 1)[1]):
        heading, _, text = part.partition("\n")
        if heading.strip():
            yield heading.strip(), textwrap.dedent(text).strip("\n")


def _fenced(text: str) -> str:
    return f"````text\n{text.rstrip()}\n````\n"


def _escaped(text: str) -> str:
    """Prose as Markdown: what is no code between backquotes keeps its stars, underscores and brackets."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if i % 2 else re.sub(r"([*_\[\]<>#|])", r"\\\1", part) for i, part in enumerate(parts))
