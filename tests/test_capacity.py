"""`capacity` of snapshots: numbers of other kernels, what is missing, and one that the script wrote in a namespace."""

import json
import shutil
import subprocess
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from ruleaudit import cli, machine
from ruleaudit.diagnostics import SourceError
from ruleaudit.model.conntrack import Conntrack, Moment
from ruleaudit.report import capacity_text
from ruleaudit.sizing import capacity
from tests.syntax import corpus

ROOT = Path(__file__).parent.parent
#: written by the script on a proxy: 40 connections to it, 38 to a backend, 4 DNS questions
PAGE = ROOT / "docs" / "capacity.md"
PROXY = ROOT / "tests" / "fixtures" / "snapshots" / "proxy"
SCHEMA = json.loads((files("ruleaudit") / "ruleaudit-1.schema.json").read_text())

#: the first line of /proc/net/stat/nf_conntrack, by kernel
COLUMNS = {
    "2.6.32": "entries  searched found new invalid ignore delete delete_list insert insert_failed drop early_drop"
    " icmp_error  expect_new expect_create expect_delete",
    "4.18.0": "entries  searched found new invalid ignore delete delete_list insert insert_failed drop early_drop"
    " icmp_error  expect_new expect_create expect_delete search_restart",
    "5.10.0": "entries  clashres found new invalid ignore delete delete_list insert insert_failed drop early_drop"
    " icmp_error  expect_new expect_create expect_delete search_restart",
    "6.1.0": "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop"
    " icmp_error  expect_new expect_create expect_delete search_restart",
}


def stat(kernel: str, *cpus: dict[str, int]) -> str:
    """The file of a kernel, a line for each CPU; a column that is not given is 0."""
    names = COLUMNS[kernel].split()
    lines = ["  ".join(f"{cpu.get(name, 0):08x}" for name in names) for cpu in cpus]
    return "\n".join([COLUMNS[kernel], *lines]) + "\n"


def saved(
    folder: Path, kernel: str = "6.1.0", slab: int | None = 256, later: int | None = None, **settings: int
) -> Path:
    """A snapshot of a machine."""
    values = {"count": 0, "max": 262144, "buckets": 262144, "tcp_timeout_time_wait": 120, **settings}
    written = {f"proc/sys/net/netfilter/nf_conntrack_{name}": str(value) for name, value in values.items()}
    written["proc/sys/net/nf_conntrack_max"] = str(values["max"])
    written["proc/sys/kernel/osrelease"] = f"{kernel}-18-amd64"
    written["proc/uptime"] = "1000.00 1900.00"
    if slab:
        written["proc/slabinfo"] = (
            f"nf_conntrack_expect 0 0 208 19 1\nnf_conntrack  960  960  {slab}  16  1 : tunables\n"
        )
    if later is not None:
        written["later/proc/sys/net/netfilter/nf_conntrack_count"] = str(later)
        written["later/proc/uptime"] = "1004.00 1900.00"
    for path, text in written.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text + "\n")
    return folder


def advice(table: Conntrack) -> dict[str, tuple[int, int]]:
    """The first value for each setting, and what it takes of memory."""
    found: dict[str, tuple[int, int]] = {}
    for one in capacity(table).advice:
        found.setdefault(one.setting.rpartition("nf_conntrack_")[2], (one.value, one.memory_bytes))
    return found


# -- what is read -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", COLUMNS)
def test_counters_are_found_by_the_name_of_their_column(kernel: str) -> None:
    cpus = [{"entries": 7, "drop": 0x1F, "early_drop": 2, "insert_failed": 5, "icmp_error": 1}, {"drop": 1}]
    found = machine.counters(stat(kernel, *cpus))
    assert {name: n for name, n in found.items() if n} == {
        "drop": 32,
        "early_drop": 2,
        "insert_failed": 5,
        "error": 1,
    }


def test_what_the_kernel_calls_otherwise_has_the_name_of_conntrack_s() -> None:
    found = machine.counters(stat("6.1.0", {"clashres": 3, "chainlength": 4}))
    assert (found["clash_resolve"], found["chaintoolong"]) == (3, 4)
    assert "chaintoolong" not in machine.counters(stat("5.10.0", {}))


def test_a_file_of_the_corpus() -> None:
    path = corpus.ROOT / "conntrack" / "generated" / "conntrack_proc-stat-plain.txt"
    if not path.exists():
        pytest.skip(corpus.REASON)
    assert {name: n for name, n in machine.counters(path.read_text()).items() if n} == {"invalid": 1}


def test_a_snapshot_that_the_script_wrote() -> None:
    table = machine.snapshot(str(PROXY))
    assert (table.count, table.max, table.buckets, table.object_bytes) == (82, 262144, 262144, 256)
    assert table.later is not None and table.first is not None
    assert 3 <= table.later.seconds - table.first.seconds < 6
    assert table.addresses[0] == "10.9.0.2"
    assert not table.initial and table.netns == 4026532383
    assert len(table.log) == 8
    assert table.settings["tcp_timeout_established"] == 432000
    assert table.unread == ()


def test_what_is_no_snapshot(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(SourceError):
            machine.snapshot(str(folder))
        assert cli.run(["capacity", "--snapshot", str(folder)]) == 2


def test_no_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    assert cli.run(["capacity"]) == 2
    assert "ruleaudit capacity --snapshot-script" in capsys.readouterr().err
    # what fills a table that somebody saved can be said everywhere
    assert cli.run(["capacity", "--conntrack", str(PROXY / "table"), "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    jsonschema.validate(answer, {**SCHEMA, "$ref": "#/$defs/capacity"})
    assert answer["table"] == {"count": None, "max": None, "buckets": None, "entry_bytes": None}
    assert [(one["port"], one["entries"]) for one in answer["services"]] == [(443, 40), (8080, 38), (53, 4)]


def test_a_kernel_without_conntrack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "proc/sys/net/netfilter").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.1.0\n")
    assert cli.run(["capacity", "--snapshot", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("NOTHING IS TRACKED:")
    assert cli.run(["capacity", "--snapshot", str(tmp_path), "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    jsonschema.validate(answer, {**SCHEMA, "$ref": "#/$defs/capacity"})
    assert answer["table"]["count"] is None and answer["advice"] == []


# -- what is advised ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "slab", "settings", "size"),
    [
        ("6.1.0", 256, {}, 256),
        ("6.1.0", None, {}, 256),
        ("4.18.0", None, {}, 320),
        ("4.18.0", 320, {"events": 1}, 448),
        ("6.1.0", 256, {"acct": 1}, 384),
        ("6.1.0", 256, {"events": 2}, 256),
    ],
)
def test_what_an_entry_takes(
    tmp_path: Path, kernel: str, slab: int | None, settings: dict[str, int], size: int
) -> None:
    table = machine.snapshot(str(saved(tmp_path, kernel, slab, **settings)))
    assert capacity(table).entry_bytes == size


def test_sizes_for_a_full_table(tmp_path: Path) -> None:
    table = machine.snapshot(str(saved(tmp_path, count=262144)))
    answer = capacity(table)
    assert answer.full and answer.lasts(120) == 2184
    sizes = [(a.setting.rpartition("_")[2], a.value, a.memory_bytes) for a in answer.advice[:4]]
    assert sizes == [
        ("max", 327680, 65536 * 256),
        ("buckets", 327680, 65536 * 8),
        ("max", 655360, 393216 * 256),
        ("buckets", 655360, 393216 * 8),
    ]


def test_kernels_before_5_15_have_a_bucket_for_four_entries(tmp_path: Path) -> None:
    old = machine.snapshot(str(saved(tmp_path, "4.18.0", 320, count=262144, buckets=65536)))
    assert advice(old)["buckets"] == (327680 // 4, (81920 - 65536) * 8)
    older = replace(old, kernel="4.4.0-210-generic")
    assert [a.setting for a in capacity(older).advice if a.value == 81920] == [
        "/sys/module/nf_conntrack/parameters/hashsize"
    ]


def test_a_table_with_room_for_twice_as_many_needs_nothing(tmp_path: Path) -> None:
    table = machine.snapshot(str(saved(tmp_path, count=104000, tcp_timeout_established=432000)))
    assert advice(table) == {}
    assert "ENOUGH ROOM" in capacity_text.render(capacity(table))


def test_the_rules_of_settings(tmp_path: Path) -> None:
    table = machine.snapshot(
        str(saved(tmp_path, max=2097152, buckets=262144, count=5, tcp_loose=0, tcp_timeout_established=432000))
    )
    assert {a.code: a.value for a in capacity(table).advice} == {"RA401": 2097152, "RA403": 1}
    assert {a.code for a in capacity(replace(table, settings={**table.settings, "buckets": 524288})).advice} == {
        "RA403"
    }
    full = replace(table, first=Moment(0, 2097152))
    assert {a.code: a.value for a in capacity(full).advice if a.code} == {"RA402": 86400, "RA403": 1}


def test_how_long_until_it_is_full(tmp_path: Path) -> None:
    table = machine.snapshot(str(saved(tmp_path, count=60000, later=62144)))
    answer = capacity(table)
    assert answer.growth == 536
    assert answer.seconds_left == pytest.approx(200000 / 536)
    # a rate of 536/s fills 64,320 entries in the time that a closed connection stays
    assert answer.wanted == 62144 + 64320
    assert ": full in 6 min at the earliest" in capacity_text.render(answer)
    assert capacity(machine.snapshot(str(saved(tmp_path, count=60000, later=60009)))).growth == 0


def test_drops_of_clashes_are_no_sign_of_a_full_table(tmp_path: Path) -> None:
    table = machine.snapshot(str(saved(tmp_path, "5.10.0", count=1000)))
    clashes = replace(table, first=Moment(0, 1000, machine.counters(stat("5.10.0", {"drop": 9, "insert_failed": 9}))))
    assert capacity(clashes).no_room == 0
    text = capacity_text.render(capacity(clashes))
    assert "insert_failed 9: " in text and "no entry left" not in text
    room = replace(table, first=Moment(0, 1000, {"drop": 12, "insert_failed": 9}))
    assert capacity(room).no_room == 3


def test_lines_of_the_log_belong_to_a_namespace(tmp_path: Path) -> None:
    table = machine.snapshot(str(saved(tmp_path, count=262144)))
    own = "nf_conntrack: nf_conntrack: table full, dropping packet"
    other = "nf_conntrack: nf_conntrack: table full in netns 4026532536, dropping packet"
    machines = capacity_text.render(capacity(replace(table, log=(own, other))))
    assert "still has 1 line about it" in machines and f"    {own}\n" in machines
    assert "other network namespaces of this machine were full: 4026532536" in machines
    container = capacity_text.render(capacity(replace(table, log=(own, other), initial=False, netns=4026532536)))
    assert f"    {other}\n" in container and "other network namespaces" not in container


# -- what is printed ----------------------------------------------------------------------------------


def test_the_answer_for_the_proxy(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["capacity", "--snapshot", str(PROXY), "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    jsonschema.validate(answer, {**SCHEMA, "$ref": "#/$defs/capacity"})
    jsonschema.validate(answer, SCHEMA)
    assert answer["table"] == {"count": 82, "max": 262144, "buckets": 262144, "entry_bytes": 256}
    assert [(one["direction"], one["protocol"], one["port"], one["entries"]) for one in answer["services"]] == [
        ("in", "tcp", 443, 40),
        ("out", "tcp", 8080, 38),
        ("out", "udp", 53, 4),
    ]
    # the rules of the snapshot let 443 go, and the table shows where 8080 is
    assert answer["freed"] == {"entries": 78, "share": 0.9512}
    assert [(one["freed"], one["place"] and one["place"]["line"]) for one in answer["services"]] == [
        (40, 11),
        (38, None),
        (0, None),
    ]


def busy(folder: Path) -> Path:
    """A snapshot of a proxy whose table is full; of 1,000 entries that were looked at, as of most, few are open."""
    saved(folder, count=262144, later=262144, tcp_timeout_established=432000)
    (folder / "proc/net/stat").mkdir(parents=True)
    (folder / "proc/net/stat/nf_conntrack").write_text(stat("6.1.0", {"drop": 9100, "early_drop": 4}, {"drop": 9104}))
    (folder / "later/proc/net/stat").mkdir(parents=True)
    (folder / "later/proc/net/stat/nf_conntrack").write_text(
        stat("6.1.0", {"drop": 9850, "early_drop": 4}, {"drop": 9854})
    )
    (folder / "ip-addr").write_text("    inet 192.0.2.10/24 brd 192.0.2.255 scope global eth0\n")
    (folder / "rules.v4").write_bytes((ROOT / "examples/haproxy-host/rules.v4").read_bytes())
    client, own, backend, resolver = "198.51.100.7", "192.0.2.10", "10.9.2.11", "10.9.3.53"
    kinds = [
        (490, "tcp", client, own, 443, "TIME_WAIT"),
        (440, "tcp", own, backend, 8080, "TIME_WAIT"),
        (40, "tcp", own, backend, 8080, "ESTABLISHED"),
        (8, "tcp", client, own, 443, "SYN_RECV"),
        (18, "udp", own, resolver, 53, ""),
        (4, "tcp", "10.9.1.5", own, 22, "ESTABLISHED"),
    ]
    lines = [
        f"ipv4     2 {name:<8} {6 if name == 'tcp' else 17} 99 {state}{' ' if state else ''}src={a} dst={b}"
        f" sport={20000 + i} dport={port} src={b} dst={a} sport={port} dport={20000 + i} [ASSURED] mark=0 zone=0 use=2"
        for number, name, a, b, port, state in kinds
        for i in range(number)
    ]
    (folder / "table").write_text("\n".join(lines) + "\n")
    return folder


def test_the_page_shows_what_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    busy(tmp_path / "saved")
    assert cli.run(["capacity", "--snapshot", "saved"]) == 0
    assert f"$ ruleaudit capacity --snapshot saved\n{capsys.readouterr().out}```" in PAGE.read_text()


def test_a_table_of_another_host(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = busy(tmp_path / "saved") / "table"
    here = Conntrack({"max": 262144}, Moment(0, 5), addresses=("192.0.2.2",))
    monkeypatch.setattr(machine, "live", lambda: here)
    assert cli.run(["capacity", "--conntrack", str(table), "--format", "json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["table"]["max"] is None
    assert "the table of another host (192.0.2.10)" in said.err
    monkeypatch.setattr(machine, "live", lambda: replace(here, addresses=("192.0.2.10",)))
    assert cli.run(["capacity", "--conntrack", str(table), "--format", "json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["table"]["max"] == 262144
    assert "another host" not in said.err


def test_rules_of_two_kinds_are_not_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = saved(tmp_path, count=82)
    for name in ("table", "ip-addr", "rules.v4"):
        (folder / name).write_bytes((PROXY / name).read_bytes())
    (folder / "ruleset.nft").write_text("table inet mine {\n\tchain input {\n\t\taccept\n\t}\n}\n")
    assert cli.run(["capacity", "--snapshot", str(folder), "--format", "json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["freed"] is None
    assert "both rules.v4 and ruleset.nft hold rules" in said.err


def test_the_script_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["capacity", "--snapshot-script"]) == 0
    assert capsys.readouterr().out.startswith("#!/bin/sh\n")


def test_formulas_are_right(tmp_path: Path) -> None:
    """What -v prints as an equation holds."""
    text = capacity_text.render(capacity(machine.snapshot(str(saved(tmp_path, count=262144)))), formulas=True)
    lines = [line.partition(": ")[2] for line in text.splitlines() if line.startswith("  nf_conntrack_")]
    equations = [line.replace(",", "").split(" = ") for line in lines if " = " in line]
    assert len(equations) == 5
    for left, right in equations:
        for word in ("entries", "for peaks rounded up to a multiple of 4096", "bytes", " s)"):
            left, right = (
                left.replace(word, ")" if word == " s)" else ""),
                right.replace(word, ")" if word == " s)" else ""),
            )
        assert eval(left) == pytest.approx(eval(right.replace("x", "*")), abs=1)


@pytest.mark.parametrize(
    "text", ["", "no numbers", "nf_conntrack x y z", "TCP: inuse x", "entries drop\nzz zz\n7\n", "\0\xff"]
)
def test_files_that_are_damaged(tmp_path: Path, text: str) -> None:
    """Whatever a file holds, the others are read."""
    folder = busy(tmp_path / "saved")
    whole = machine.snapshot(str(folder))
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "nf_conntrack_count"):
        kept = path.read_bytes()
        path.write_text(text)
        table = machine.snapshot(str(folder))
        assert table.count == whole.count
        assert capacity_text.render(capacity(table), formulas=True)
        path.write_bytes(kept)


def test_the_script_is_clean() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", "-s", "sh", "-"], input=machine.script(), capture_output=True, text=True)
    assert done.stdout == ""
