"""The text of ipset save: what is kept, and what is wrong with it, with its line."""

from ruleaudit.source import SourceFile
from ruleaudit.syntax.ipset import read

SAVED = """\
create blocked hash:net family inet hashsize 1024 maxelem 65536 counters comment bucketsize 12 initval 0x381c2842
add blocked 10.0.0.0/8 packets 3 bytes 180 comment "the office, \\"old\\" part"
add blocked 10.1.0.0/16 nomatch
create seen hash:ip family inet hashsize 1024 maxelem 65536 timeout 600
add seen 192.0.2.1 timeout 312
"""


def test_saved_sets() -> None:
    sets, problems = read(SourceFile("sets", SAVED))
    assert problems == ()
    assert {n: (s.kind, [(e.text, sorted(e.options)) for e in s.elements]) for n, s in sets.items()} == {
        "blocked": ("hash:net", [("10.0.0.0/8", ["bytes", "comment", "packets"]), ("10.1.0.0/16", ["nomatch"])]),
        "seen": ("hash:ip", [("192.0.2.1", ["timeout"])]),
    }
    assert sets["seen"].options["timeout"] == "600"
    span = sets["blocked"].elements[1].span
    assert SAVED[span.start : span.end] == "add blocked 10.1.0.0/16 nomatch"


def test_every_problem_has_its_line() -> None:
    lines = ("create a hash:ip", "add b 10.0.0.1", "create a hash:ip", "Name: a", 'add a 10.0.0.1 comment "open')
    text = "\n".join([*lines, "add a 10.0.0.1 tim 3", ""])
    _, problems = read(SourceFile("sets", text))
    assert [(text.count("\n", 0, p.span.start) + 1, p.message) for p in problems] == [
        (2, 'set "b" is not created before this line'),
        (3, 'set "a" is created twice'),
        (4, 'unexpected "Name: a": expected create or add, as ipset save prints them'),
        (5, "this quote does not close"),
        (6, 'unknown option "tim" of a set'),
        (6, 'unknown option "3" of a set'),
    ]


def test_what_is_flushed_or_said_shortly() -> None:
    sets, problems = read(SourceFile("sets", "-N a hash:ip\n-A a 10.0.0.1\nflush a\nadd -exist a 10.0.0.2\nCOMMIT\n"))
    assert problems == ()
    assert [e.text for e in sets["a"].elements] == ["10.0.0.2"]
