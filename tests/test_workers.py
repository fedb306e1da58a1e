"""Many files at once: in order, one process lost without the others, Ctrl-C, and the same answer as in one process."""

import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from ruleaudit import workers
from ruleaudit.workers import in_order, number

RULES = "*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp -m tcp --dport {} -j {}\nCOMMIT\n"
NFT = 'include "./part.inc"\n' + "table inet filter {{\n\tchain input {{\n\t\ttcp dport {} accept\n\t}}\n}}\n"


def _double(task: int) -> int:
    time.sleep(0.05 if task % 3 == 0 else 0)
    return 2 * task


def _dying(task: int) -> str:
    if task % 4 == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if task % 4 == 2:
        os._exit(7)
    return f"{task}: done"


def _lost(task: int, how: str) -> str:
    return f"{task}: {how}"


def _never(task: int, how: str) -> int:
    raise AssertionError(how)


@pytest.mark.parametrize("jobs", [1, 3, 20])
def test_results_come_in_the_order_of_the_tasks(jobs: int) -> None:
    assert list(in_order(_double, range(12), jobs, _never)) == list(range(0, 24, 2))
    assert list(in_order(_double, [], jobs, _never)) == []


def test_a_process_that_dies_takes_its_own_task_with_it_and_no_other() -> None:
    assert list(in_order(_dying, range(10), 2, _lost)) == [
        ("{}: done", "{}: killed by SIGKILL (out of memory?)", "{}: it ended with 7", "{}: done")[n % 4].format(n)
        for n in range(10)
    ]


def test_ctrl_c_while_a_process_starts_ends_that_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = BaseProcess.start, []

    def interrupted(process: BaseProcess) -> None:
        start(process)
        started.append(process.pid or 0)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(BaseProcess, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(in_order(_double, range(12), 3, _never))
    (pid,) = started
    with pytest.raises(ChildProcessError):
        # it is gone, and has been waited for
        os.waitpid(pid, os.WNOHANG)


def test_where_no_fork_is_possible_processes_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_may_fork", lambda: False)
    assert list(in_order(_double, range(4), 2, _never)) == [0, 2, 4, 6]


def test_few_files_get_no_process_of_their_own() -> None:
    assert [number(files) for files in (0, 1, 7, 8, 15)] == [1, 1, 1, 1, 1]
    assert 1 <= number(10_000) <= (os.cpu_count() or 1)
    assert [number(files, 4) for files in (0, 1, 3, 100)] == [1, 1, 3, 4]


# -- check ---------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Hosts with twins, included files, a template, errors, and files that cannot be read."""
    for host in range(8):
        here = tmp_path / f"host{host}"
        here.mkdir()
        (here / "rules.v4").write_text(RULES.format(host + 1, "NOWHERE" if host % 3 else "ACCEPT"))
        (here / "rules.v6").write_text(RULES.format(host + 1, "ACCEPT"))
        (here / "main.nft").write_text(NFT.format(host + 1))
        (here / "part.inc").write_text("# ruleaudit: ignore[RA101] nothing\n")
    (tmp_path / "host1" / "rules.v4").write_text("{{ all }}\n")
    (tmp_path / "host2" / "rules.v4").write_text("Dear all\n")
    (tmp_path / "ruleaudit.toml").write_text('select = ["RA0", "RA101", "RA301"]\n')
    return tmp_path


def _check(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ruleaudit", "check", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def test_several_processes_say_what_one_says(folder: Path) -> None:
    alone, shared = (_check(folder, "--jobs", jobs, "--format", "json", "-v") for jobs in ("1", "3"))
    assert (shared.returncode, shared.stdout, shared.stderr) == (alone.returncode, alone.stdout, alone.stderr)
    document = json.loads(alone.stdout)
    assert (alone.returncode, len(document["files"])) == (2, 24)
    assert document["summary"]["errors"] == 3
    assert document["summary"]["warnings"] == 8
    total = alone.stderr.splitlines()[-3:]
    assert total[0].startswith("23 files: ")
    assert "; 1 file not read." in total[0]
    assert total[1] == "8 fixable with --fix."
    assert total[2].startswith("ruleaudit: host2/rules.v4: line 1: not a firewall ruleset")


def test_a_bug_in_one_file_does_not_hide_the_others(folder: Path) -> None:
    code = (
        "import sys, ruleaudit, ruleaudit.cli as cli\n"
        "real = ruleaudit.check\n"
        "def check(sources, **more):\n"
        "    if sources[0].path == 'host3/rules.v6': raise ZeroDivisionError('division by zero')\n"
        "    return real(sources, **more)\n"
        "ruleaudit.check = check\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "check", "--jobs", "2", "--format", "concise", "host3", "host4"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert "host4/rules.v4:3:" in done.stdout
    internal = "ruleaudit: host3/rules.v6: internal error: ZeroDivisionError: division by zero\nThis is a bug"
    assert internal in done.stderr


def test_the_bar_does_not_keep_processes_from_being_copies(folder: Path) -> None:
    code = (
        "import sys, ruleaudit.cli as cli, ruleaudit.workers as workers\n"
        "from ruleaudit.report import progress\n"
        "may = workers._may_fork\n"
        "def told():\n    print('copies:', may()); return may()\n"
        "workers._may_fork, progress.is_wanted = told, lambda: True\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "check", "--jobs", "2", "--format", "concise", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert [line for line in done.stdout.splitlines() if line.startswith("copies")] == ["copies: True"]


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_ctrl_c_ends_all_of_it_without_a_word(folder: Path, jobs: str) -> None:
    code = (
        "import sys, time, ruleaudit, ruleaudit.cli as cli\n"
        "def slow(*a, **k):\n    print('ready', file=sys.stderr, flush=True); time.sleep(60)\n"
        "ruleaudit.check = slow\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "check", "--jobs", jobs, "."]
    # as a terminal does it: the whole group gets the signal
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.read(5) == "ready"
        os.killpg(process.pid, signal.SIGINT)
        # this ends only when every process has closed its end
        stdout, stderr = process.communicate(timeout=50)
    assert (process.returncode, stdout, stderr.replace("ready", "").strip()) == (130, "", "")


def test_no_process_outlives_a_command_that_is_killed(folder: Path) -> None:
    command = [sys.executable, "-m", "ruleaudit", "check", "--jobs", "3", "."]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        time.sleep(0.5)
        process.kill()
        process.communicate(timeout=50)
