"""`check --fix` and `--diff`: what is changed, what is left alone, and that every packet fares as before."""

import io
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

import ruleaudit
from ruleaudit import cli, rules
from ruleaudit.diagnostics import Finding, Fix, FixClass, Severity
from ruleaudit.reading import Reading
from ruleaudit.rules.audit import Audit
from ruleaudit.source import Edit, SourceFile, Span

RULES = """\
*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
# ruleaudit: ignore[RA201] was there
-A INPUT -p icmp -j ACCEPT
# of the mail team; ruleaudit: ignore[RA201] was there
-A INPUT -p tcp -m tcp --dport 25 -m comment --comment "ruleaudit: ignore[RA202] x" -j ACCEPT
-A INPUT -p tcp -m tcp --dport 26 -m comment --comment "mail, ruleaudit: ignore[RA202] x" -j ACCEPT
COMMIT
"""
FIXED = """\
*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p icmp -j ACCEPT
# of the mail team
-A INPUT -p tcp -m tcp --dport 25 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 26 -m comment --comment "mail" -j ACCEPT
COMMIT
"""
NFT = """\
table inet filter {
\tchain input {
\t\ttype filter hook input priority 0; policy drop;
\t\ttcp dport 22 accept # ruleaudit: ignore[RA201] x
\t\ttcp dport 25 accept comment "ruleaudit: ignore[RA202] x"
\t\t# ruleaudit: ignore[RA203]
\t\ttcp dport 80 accept
\t}
}
"""
NFT_FIXED = """\
table inet filter {
\tchain input {
\t\ttype filter hook input priority 0; policy drop;
\t\ttcp dport 22 accept
\t\ttcp dport 25 accept
\t\ttcp dport 80 accept
\t}
}
"""


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run `check` in a folder of its own, where RULES are rules.v4."""
    monkeypatch.chdir(tmp_path)
    Path(".git").mkdir()
    Path("rules.v4").write_text(RULES)

    def ran(*arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code = cli.run(["check", *arguments])
        captured = capfd.readouterr()
        return Ran(code, captured.out, captured.err)

    return ran


# -- what is written -----------------------------------------------------------------------------------


def test_what_can_be_fixed_is_marked_counted_and_fixed(run: Run) -> None:
    before = run("rules.v4", "--format", "concise")
    assert before.code == 1
    assert before.out.splitlines()[0] == (
        "rules.v4:5:3: RA003 warning [*] this comment ignores RA201, which is not found here [unused-suppression]"
    )
    assert before.err.endswith("4 fixable with --fix.\n")
    assert run("rules.v4").out.startswith("warning[RA003]: [*] this comment ignores RA201")
    Path("rules.v4").chmod(0o640)
    ran = run("rules.v4", "--fix")
    assert (ran.code, ran.out) == (0, "")
    assert Path("rules.v4").read_text() == FIXED
    assert stat.S_IMODE(Path("rules.v4").stat().st_mode) == 0o640
    assert ran.err == (
        "rules.v4: 4 fixed\n"
        "rules.v4: 4 rules read, all understood. 0 errors, 0 warnings, 0 ignored, 0 baselined, 4 fixed.\n"
    )
    again = run("rules.v4", "--fix")
    assert (again.code, "fixed" in again.err) == (0, False)
    assert ruleaudit.verify("rules.v4", SourceFile("old.v4", RULES)).result == "equivalent"


def test_nft_comments_of_every_kind(run: Run) -> None:
    Path("x.nft").write_text(NFT)
    assert "3 fixed" in run("x.nft", "--fix").err
    assert Path("x.nft").read_text() == NFT_FIXED


def test_bytes_that_are_no_text_stay(run: Run) -> None:
    end = b"# caf\xe9"
    Path("rules.v4").write_bytes(RULES.encode() + end)
    run("rules.v4", "--fix")
    assert Path("rules.v4").read_bytes() == FIXED.encode() + end


def test_the_diff_is_what_fix_would_do_and_writes_nothing(run: Run) -> None:
    ran = run("rules.v4", "--diff")
    assert (ran.code, Path("rules.v4").read_text()) == (1, RULES)
    assert ran.err == "rules.v4: 4 would be fixed\n"
    assert run("rules.v4", "--diff", "--exit-zero").code == 0
    assert run("rules.v4", "--diff", "--fix", "-q").err == ""
    assert Path("rules.v4").read_text() == RULES
    done = subprocess.run(["patch", "-p1"], input=ran.out, text=True, capture_output=True, timeout=20, check=False)
    assert (done.returncode, Path("rules.v4").read_text()) == (0, FIXED)
    clean = run("rules.v4", "--diff")
    assert (clean.code, clean.out, clean.err) == (0, "", "")


def test_standard_input_is_printed_as_it_would_be_written(run: Run) -> None:
    ran = run("-", "--fix", stdin=RULES)
    assert (ran.code, ran.out) == (0, FIXED)
    broken = FIXED.replace("-j ACCEPT\nCOMMIT", "-j MAIL\nCOMMIT")
    ran = run("-", "--fix", "--stdin-filename", "etc/rules.v4", stdin=broken)
    assert (ran.code, ran.out) == (1, broken)
    assert "etc/rules.v4:8:" in ran.err
    assert run("-", "rules.v4", "--fix").code == 2


def test_only_what_would_be_told_is_fixed(run: Run) -> None:
    assert run("rules.v4", "--fix", "--ignore", "RA003").code == 0
    assert Path("rules.v4").read_text() == RULES
    run("rules.v4", "--write-baseline", "known.json")
    assert run("rules.v4", "--fix", "--baseline", "known.json").code == 0
    assert Path("rules.v4").read_text() == RULES


def test_a_baseline_is_counted_after_fixes_as_before(run: Run) -> None:
    text = RULES.replace("COMMIT", "-A INPUT -p udp -j MAIL\nCOMMIT")
    Path("rules.v4").write_text(text.replace("# ruleaudit: ignore[RA201] was there\n", ""))
    run("rules.v4", "--select", "RA301", "--write-baseline", "known.json")
    Path("rules.v4").write_text(text)
    ran = run("rules.v4", "--fix", "--baseline", "known.json")
    assert ran.code == 0
    assert "0 errors, 0 warnings, 0 ignored, 1 baselined, 4 fixed" in ran.err


# -- what is left alone --------------------------------------------------------------------------------


def test_a_template_is_never_touched(run: Run) -> None:
    text = RULES.replace("25", "{{ port }}")
    Path("rules.v4").write_text(text)
    assert run("rules.v4", "--fix").code == 0
    assert Path("rules.v4").read_text() == text


def test_nft_json_is_refused_in_words(run: Run) -> None:
    chain = '{"family": "inet", "table": "t", "name": "c", "type": "filter", "hook": "input", "prio": 0}'
    rule = '{"family": "inet", "table": "t", "chain": "c", "comment": "ruleaudit: ignore[RA201] x", "expr": []}'
    text = f'{{"nftables": [{{"table": {{"family": "inet", "name": "t"}}}}, {{"chain": {chain}}}, {{"rule": {rule}}}]}}'
    Path("x.json").write_text(text)
    ran = run("x.json", "--fix")
    assert (ran.code, Path("x.json").read_text()) == (1, text)
    assert "x.json: nothing is fixed in nft JSON; give the text\n" in ran.err
    assert "[*]" not in ran.out
    assert "fixable" not in ran.err


def test_nothing_is_proved_of_a_file_with_errors(run: Run) -> None:
    text = RULES.replace("-p icmp", "-p icpm")
    Path("rules.v4").write_text(text)
    ran = run("rules.v4", "--fix")
    assert (ran.code, Path("rules.v4").read_text()) == (1, text)
    assert "rules.v4:5: RA003 not fixed: it could not be proved to change nothing\n" in ran.err


def test_a_file_that_has_changed_meanwhile_is_not_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = ruleaudit.compared

    def meddled(old: Reading, new: Reading) -> object:
        Path("rules.v4").write_text("somebody else was here\n")
        return compared(old, new)

    monkeypatch.setattr(ruleaudit, "compared", meddled)
    ran = run("rules.v4", "--fix")
    assert ran.code == 2
    assert "rules.v4: not written: it has changed since it was read" in ran.err
    assert Path("rules.v4").read_text() == "somebody else was here\n"


# -- other fixes than that of comments -----------------------------------------------------------------


def _rule(find: Callable[[Audit], Iterator[Fix]]) -> SimpleNamespace:
    """A lint rule that finds something wherever it has a fix."""

    def check(audit: Audit) -> Iterator[Finding]:
        for fix in find(audit):
            yield Finding("RA999", "made-up", Severity.WARNING, fix.description, fix.edits[0].span, fix=fix)

    return SimpleNamespace(CODE="RA999", NAME="made-up", SEVERITY=Severity.WARNING, check=check, __doc__="x")


def _deleting(*words: str, kind: FixClass = FixClass.EXACT) -> SimpleNamespace:
    """Deletes the line of the first rule with each of the words."""

    def find(audit: Audit) -> Iterator[Fix]:
        for word in words:
            for rule in audit.ruleset.rules():
                if word in rule.text:
                    yield Fix(kind, word, (Edit(Span(rule.span.start, rule.span.end + 1), ""),))
                    break

    return _rule(find)


def test_a_fix_that_changes_a_packet_is_not_written_and_the_others_are(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the second rule for port 26 does nothing; the only one for port 25 does
    text = FIXED.replace("COMMIT", "-A INPUT -p tcp -m tcp --dport 26 -s 192.0.2.1/32 -j ACCEPT\nCOMMIT")
    Path("rules.v4").write_text(text)
    monkeypatch.setattr(rules, "RULES", (*rules.RULES, _deleting("--dport 25", "-s 192.0.2.1")))
    ran = run("rules.v4", "--fix")
    assert ran.code == 1
    assert Path("rules.v4").read_text() == FIXED
    assert "rules.v4:7: RA999 not fixed: it could not be proved to change nothing\n" in ran.err
    assert "rules.v4: 1 fixed\n" in ran.err


@pytest.mark.parametrize("kind", [k for k in FixClass if k is not FixClass.EXACT], ids=lambda k: k.value)
def test_only_exact_fixes_are_applied(run: Run, monkeypatch: pytest.MonkeyPatch, kind: FixClass) -> None:
    Path("rules.v4").write_text(FIXED)
    monkeypatch.setattr(rules, "RULES", (*rules.RULES, _deleting("--dport 25", kind=kind)))
    ran = run("rules.v4", "--fix")
    assert (ran.code, Path("rules.v4").read_text()) == (1, FIXED)
    assert "[*]" not in ran.out


def test_fixes_that_stand_in_each_others_way_are_applied_one_after_the_other(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = FIXED.replace("COMMIT", "-A INPUT -i lo -j ACCEPT\nCOMMIT")
    Path("rules.v4").write_text(twice)

    def find(audit: Audit) -> Iterator[Fix]:
        lines = [rule for rule in audit.ruleset.rules() if "-i lo" in rule.text]
        for line in lines[1:]:
            if line.text.endswith("ACCEPT"):
                yield Fix(FixClass.EXACT, "say it otherwise", (Edit(line.span, "-A INPUT -j ACCEPT -i lo"),))
            yield Fix(FixClass.EXACT, "delete it", (Edit(Span(line.span.start, line.span.end + 1), ""),))

    monkeypatch.setattr(rules, "RULES", (*rules.RULES, _rule(find)))
    assert "rules.v4: 2 fixed\n" in run("rules.v4", "--fix", "--ignore", "RA302").err
    assert Path("rules.v4").read_text() == FIXED


def test_log_rules_may_go(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("rules.v4").write_text(FIXED.replace("COMMIT", "-A INPUT -j LOG\nCOMMIT"))
    monkeypatch.setattr(rules, "RULES", (*rules.RULES, _deleting("-j LOG")))
    run("rules.v4", "--fix")
    assert Path("rules.v4").read_text() == FIXED


# -- files that are included ---------------------------------------------------------------------------

PART = '\t\ttcp dport 25 accept comment "ruleaudit: ignore[RA202] x"\n'
MAIN = """\
table ip filter {
\tchain input {
\t\ttype filter hook input priority 0; policy drop;
\t\tinclude "./input.part"
\t}
}
"""


def test_an_included_file_is_fixed_where_it_is(run: Run) -> None:
    Path("main.nft").write_text(MAIN)
    Path("input.part").write_text(PART)
    assert "--- a/input.part\n" in run("main.nft", "--diff").out
    ran = run("main.nft", "--fix")
    assert (ran.code, Path("main.nft").read_text()) == (0, MAIN)
    assert Path("input.part").read_text() == "\t\ttcp dport 25 accept\n"


def test_what_two_rulesets_include_is_left_alone(run: Run) -> None:
    # what changes nothing in one of them might do so in the other
    for name in ("one.nft", "two.nft"):
        Path(name).write_text(MAIN)
    Path("input.part").write_text(PART)
    ran = run("one.nft", "two.nft", "--fix")
    assert (ran.code, Path("input.part").read_text()) == (1, PART)
    assert "input.part:1: RA003 not fixed: input.part is a part of other rulesets, too\n" in ran.err


def test_a_file_that_is_included_twice_is_changed_once(run: Run) -> None:
    Path("main.nft").write_text(MAIN.replace("\t}\n}", '\t\ttcp dport 26 accept\n\t\tinclude "./input.part"\n\t}\n}'))
    Path("input.part").write_text(PART)
    assert run("main.nft", "--fix", "--ignore", "RA302").code == 0
    assert Path("input.part").read_text() == "\t\ttcp dport 25 accept\n"


# -- any ruleset ---------------------------------------------------------------------------------------


def test_whatever_the_ruleset_a_comment_can_go(run: Run) -> None:
    """The examples of all rules, with a comment too many above each line that holds a rule."""
    Path("rules.v4").unlink()
    wanted: dict[str, str] = {}
    for rule in rules.RULES:
        for number, example in enumerate(rule.EXAMPLES):
            # comments of its own, templates, and what the comment is about
            if rule.CODE in ("RA003", "RA005", "RA204") or example.language is not None:
                continue
            nft = not re.search(r"^(\*|-A )", example.text, re.M)
            path = Path(rule.CODE) / str(number) / ("x.nft" if nft else "rules.v4")
            lines = example.text.splitlines(keepends=True)
            # where nft goes on in the next line, a comment stands in the middle of something
            more = [("# ruleaudit: ignore[RA204] no\n" if line.startswith("-A ") else "") + line for line in lines]
            path.parent.mkdir(parents=True)
            path.write_text("# ruleaudit: ignore[RA204] no\n" + example.text if nft else "".join(more))
            wanted[path.as_posix()] = example.text
    ran = run(".", "--fix", "--no-config", "--format", "jsonl", "--select", "RA003")
    unproved = {line.split(":")[0] for line in ran.err.splitlines() if " not fixed: " in line}
    for path, text in wanted.items():
        if path in unproved:
            # only what holds errors of syntax cannot be compared
            assert any(f.code == "RA001" for f in ruleaudit.check([path])[0].findings), path
        else:
            assert Path(path).read_text() == text, path
    assert len(unproved) < len(wanted) / 2
