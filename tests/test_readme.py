"""The README shows what the tool prints, not what somebody once saw."""

import re
import subprocess
import sys
from pathlib import Path

import ruleaudit
from ruleaudit.report import packet_path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PICTURE = ROOT / "docs" / "packet-path.svg"


def shown() -> str:
    """The output in the README."""
    return README.split("```text\n")[1].split("```\n")[0]


def printed() -> str:
    """The output of the command in the README."""
    command = [sys.executable, "-m", "ruleaudit", "suggest", "examples/haproxy-host/rules.v4"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout


def test_the_output_in_the_readme_is_the_output() -> None:
    assert shown() == printed()


def picture() -> str:
    """The picture in the README: what the rewrite of its example changes."""
    suggestion = ruleaudit.suggest(str(ROOT / "examples" / "haproxy-host" / "rules.v4"), menu=False)
    return packet_path.picture(packet_path.panels(suggestion), "packet-path", alone=True) + "\n"


def test_the_picture_in_the_readme_is_that_of_its_example() -> None:
    assert PICTURE.read_text() == picture()


def test_the_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_example_of_the_readme_is_the_one_of_the_tests() -> None:
    from tests.report.made import TEXT

    assert (ROOT / "examples" / "haproxy-host" / "rules.v4").read_text() == TEXT


def test_the_python_example_runs() -> None:
    code = README.split("```python\n")[1].split("```\n")[0]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "examples" / "haproxy-host",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "rewrite ['tcp/443']\n"


def test_every_command_is_in_the_readme() -> None:
    from ruleaudit.report import FORMATS

    for command in (*FORMATS, "rules", "rule CODE"):
        assert f"`ruleaudit {command}" in README


if __name__ == "__main__":
    # python -m tests.test_readme: show today's output; read the difference before it is committed
    PICTURE.write_text(picture())
    (ROOT / "README.md").write_text(README.replace(shown(), printed()))
