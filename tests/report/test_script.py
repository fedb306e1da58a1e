"""The texts that the script of `suggest --script` carries, and what it is not made of."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import ruleaudit
from ruleaudit.report import script
from ruleaudit.results.suggestion import Flow
from ruleaudit.source import SourceFile
from tests.report import made

NFT = """\
table inet filter {
	# END_OF_NEW_NFT_RULES
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		tcp dport 443 ct state new accept comment "it's $(touch x) `touch x` \\\\ %s"
	}
}
# the next line looks like an end
"""


def printed(text: str, function: str, folder: Path) -> str:
    """What a function of the script prints."""
    functions = text.split("# -- what was asked for")[0]
    file = folder / "functions.sh"
    file.write_bytes(f"{functions}\n{function}\n".encode("utf-8", "surrogateescape"))
    done = subprocess.run(["sh", str(file)], capture_output=True, cwd=folder, check=True)
    return done.stdout.decode("utf-8", "surrogateescape")


def test_the_rules_come_out_as_they_went_in(tmp_path: Path) -> None:
    suggestion = ruleaudit.suggest(SourceFile("rules.nft", NFT))
    text = script.render([suggestion])
    assert printed(text, "old nft", tmp_path) == NFT
    assert printed(text, "new nft", tmp_path) == f"flush ruleset\n{suggestion.text}"
    assert not (tmp_path / "x").exists()


def test_a_line_of_the_rules_ends_no_text(tmp_path: Path) -> None:
    suggestion = replace(made.REWRITE, text=f"{made.REWRITTEN}END_OF_NEW_V4_RULES\ntouch x\n\udcff\n")
    text = script.render([suggestion])
    assert "touch x\n\udcff\n" in printed(text, "new v4", tmp_path)
    assert not (tmp_path / "x").exists()


def test_raw_is_loaded_last(tmp_path: Path) -> None:
    tables = [
        line for line in printed(script.render([made.REWRITE]), "new v4", tmp_path).splitlines() if line[0] == "*"
    ]
    assert tables == ["*filter", "*raw"]


@pytest.mark.parametrize("name", ["a\ntouch x\n", "$(touch x)", "`touch x`", '"; touch x; "'])
def test_the_name_of_a_file_is_no_command(name: str, tmp_path: Path) -> None:
    text = script.render([replace(made.REWRITE, source=SourceFile(name, made.TEXT))])
    subprocess.run(["sh"], input=text.replace("$(id -u)", "1"), text=True, cwd=tmp_path, capture_output=True)
    printed(text, "unchanged() { :; }", tmp_path)
    assert not (tmp_path / "x").exists()
    assert "\ntouch x" not in text


@pytest.mark.parametrize(
    ("flow", "arguments"),
    [
        (made.WEB, ['--orig-dst "$address" --orig-port-dst 80', '--orig-dst "$address" --orig-port-dst 443']),
        (made.SSH, ['--orig-dst "$address" --orig-src 10.9.1.0/24 --orig-port-dst 22']),
        (replace(made.WEB, ports=("80-82",)), [f'--orig-dst "$address" --orig-port-dst {p}' for p in (80, 81, 82)]),
        (replace(made.WEB, ports=("8000-9000",)), []),
        (replace(made.WEB, ports=("443",), at=("10.9.0.2",)), ["--orig-dst 10.9.0.2 --orig-port-dst 443"]),
        (replace(made.WEB, addresses=("@office",)), []),
        (replace(made.WEB, addresses=("2001:db8::/32",)), []),
        (replace(made.WEB, direction="forward"), []),
        (
            Flow("out", "tcp", ("8080",), ("10.9.2.2",), (), None),
            ['--orig-src "$address" --orig-dst 10.9.2.2 --orig-port-dst 8080'],
        ),
        (Flow("in", "gre", (), (), (), None), []),
    ],
)  # fmt: skip
def test_only_entries_of_what_was_freed_are_dropped(flow: Flow, arguments: list[str], tmp_path: Path) -> None:
    lines = printed(script.render([replace(made.REWRITE, flows=(flow,))]), "forgetting", tmp_path).splitlines()
    deletions = [line.strip() for line in lines if "conntrack" in line]
    assert deletions == [f"conntrack -D -f ipv4 -p tcp {words}" for words in arguments]
