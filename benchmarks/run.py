"""Time ruleaudit beside the kernel's own checkers, on the same rulesets, and print a markdown table.

    python benchmarks/run.py [--runs 5] [--timeout 60] [--language nft] [--largest 10000] [FILE...]

The checkers ask the kernel and need root: they run in a network namespace of their own and only test, load nothing.
Each figure is the median of the runs, process start included; the commands of a ruleset take turns, so that whatever
else the machine does meets them all. `wall` is what a clock shows, `cpu` what the process took of it (user and system):
on a busy machine only the second can be compared. Memory is the peak of the process; the kernel counts that from before
exec, so what this script itself takes (about 20 MB) is the floor. What did not end in time is not tried on larger
rulesets of the kind.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TypeVar

import nft_rulesets
import rulesets

Answer = TypeVar("Answer")

#: beyond this many rules no iptables ruleset is translated: each list becomes an anonymous set of the kernel's
TRANSLATED_RULES = 1000


@dataclass(frozen=True)
class Command:
    """What is measured; the ratios are to the first checker of the kernel."""

    name: str
    words: list[str]
    stdin: Path | None = None
    checker: bool = False


@dataclass(frozen=True)
class Run:
    """Seconds by the clock and of the processor, and peak memory, of one run."""

    wall: float
    cpu: float
    megabytes: float


@dataclass(frozen=True)
class Ruleset:
    """A ruleset in a file; `changed` is a copy with a few rules changed, for verify."""

    kind: str
    size: int
    path: Path
    changed: Path | None = None


def measure(commands: Sequence[Command], runs: int, timeout: float) -> dict[str, list[Run]]:
    """The runs of some commands, which take turns; those of one that did not end in time are missing."""
    found: dict[str, list[Run]] = {command.name: [] for command in commands}
    for _ in range(runs):
        for command in commands:
            if command.name in found:
                done = _once(command, timeout)
                if done is None:
                    del found[command.name]
                else:
                    found[command.name].append(done)
    return found


def _once(command: Command, timeout: float) -> Run | None:
    started = monotonic()
    with (command.stdin or Path(os.devnull)).open("rb") as source, tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "XTABLES_LOCKFILE": f"{folder}/lock"}
        process = subprocess.Popen(
            command.words, stdin=source, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        watch = threading.Timer(timeout, process.kill)
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        watch.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode < 0:
        return None
    return Run(monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def commands(ruleset: Ruleset, folder: Path) -> Iterator[Command]:
    """What is measured on a ruleset."""
    path = str(ruleset.path)
    ours = [sys.executable, "-m", "ruleaudit"]
    yield Command("check", [*ours, "check", path])
    yield Command("explain", [*ours, "explain", path])
    yield Command("suggest --diff", [*ours, "suggest", "--diff", path])
    if ruleset.changed is not None:
        yield Command("verify", [*ours, "verify", path, str(ruleset.changed)])
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return
    nft = ["unshare", "-n", "--", "nft"]
    if ruleset.path.suffix == ".json":
        yield Command("nft -j -c", [*nft, "-j", "-c", "-f", path], checker=True)
    elif ruleset.path.suffix == ".nft":
        yield Command("nft -c", [*nft, "-c", "-f", path], checker=True)
        yield Command("nft -c -o", [*nft, "-c", "-o", "-f", path], checker=True)
    else:
        for variant in ("nft", "legacy"):
            restore = f"iptables-{variant}-restore"
            if shutil.which(restore):
                words = ["unshare", "-n", "--", restore, "--test"]
                yield Command(f"{restore} --test", words, ruleset.path, checker=True)
        translated = translate(ruleset, folder)
        if translated is not None:
            yield Command("nft -c", [*nft, "-c", "-f", str(translated)], checker=True)


def translate(ruleset: Ruleset, folder: Path) -> Path | None:
    """An iptables ruleset in nft's language, where it is small enough."""
    if ruleset.size > TRANSLATED_RULES or not (shutil.which("iptables-restore-translate") and shutil.which("nft")):
        return None
    out = folder / f"{ruleset.path.name}.translated"
    done = subprocess.run(
        ["iptables-restore-translate", "-f", str(ruleset.path)], capture_output=True, text=True, timeout=60, check=False
    )
    out.write_text(done.stdout)
    return out if done.returncode == 0 else None


def made(language: str, largest: int, folder: Path) -> Iterator[Ruleset]:
    """The rulesets of `rulesets.py` or `nft_rulesets.py`, those of one kind and language together."""
    if language == "iptables":
        for kind, (_, sizes) in rulesets.KINDS.items():
            for size in (s for s in sizes if s <= largest):
                path = folder / f"{kind}-{size}.v4"
                elsewhere(write_iptables, kind, size, path)
                yield Ruleset(kind, size, path)
        return
    for kind, (_, sizes) in nft_rulesets.KINDS.items():
        for suffix in ("nft", "json"):
            for size in (s for s in sizes if s <= largest):
                path, changed = folder / f"{kind}-{size}.{suffix}", folder / f"{kind}-{size}-changed.{suffix}"
                elsewhere(write_nft, kind, size, path, changed)
                yield Ruleset(f"{kind}, {'JSON' if suffix == 'json' else 'text'}", size, path, changed)


def elsewhere(do: Callable[..., Answer], *arguments: object) -> Answer:
    """Do something in a process of its own: the memory that it takes is not counted as that of what is measured."""
    with ProcessPoolExecutor(1) as pool:
        return pool.submit(do, *arguments).result()


def write_iptables(kind: str, size: int, path: Path) -> None:
    path.write_text("".join(rulesets.KINDS[kind][0](size)))


def write_nft(kind: str, size: int, path: Path, changed: Path) -> None:
    ruleset = nft_rulesets.KINDS[kind][0](size)
    for one, into in ((ruleset, path), (ruleset.changed(), changed)):
        into.write_text(one.json if path.suffix == ".json" else one.text)


def rules_in(path: Path) -> int:
    """The number of rules in a file, about: lines that look like one, or JSON objects."""
    text = path.read_text()
    return text.count('"rule"') or sum(line.startswith(("-A", "[", "\t\t")) for line in text.splitlines())


def rows(ruleset: Ruleset, asked: argparse.Namespace, failed: set[str], folder: Path) -> Iterator[str]:
    """The lines of the table for one ruleset; `failed` are the commands that did not end in time before."""
    every = [command for command in commands(ruleset, folder) if command.name not in failed]
    found = measure(every, asked.runs, asked.timeout)
    checkers = [command.name for command in every if command.checker and command.name in found]
    peer = statistics.median(run.cpu for run in found[checkers[0]]) if checkers else 0.0
    for command in every:
        start = f"| {ruleset.kind} | {ruleset.size} | {command.name} |"
        if command.name not in found:
            failed.add(command.name)
            yield f"{start} not within {asked.timeout:.0f} s | | | |"
            continue
        runs = found[command.name]
        wall, cpu = (statistics.median(getattr(run, what) for run in runs) for what in ("wall", "cpu"))
        ratio = f"{cpu / peer:.1f}" if peer else ""
        yield f"{start} {wall:.2f} | {cpu:.2f} | {max(run.megabytes for run in runs):.0f} | {ratio} |"


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="more: .nft, .json, or iptables-save text")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds that one run may take")
    parser.add_argument("--language", choices=("iptables", "nft", "none"), help="only these, or only the files")
    parser.add_argument("--largest", type=int, default=100_000, help="rules or elements of the largest ruleset")
    asked = parser.parse_args()
    languages = [asked.language] if asked.language else ["iptables", "nft"]
    print("| ruleset | size | command | wall s | cpu s | MB | cpu of the first checker's |")
    print("|---|---:|---|---:|---:|---:|---:|", flush=True)
    failed: dict[str, set[str]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        every = [ruleset for language in languages if language != "none"
                 for ruleset in made(language, asked.largest, folder)]  # fmt: skip
        for ruleset in [*every, *(Ruleset(path.name, elsewhere(rules_in, path), path) for path in asked.files)]:
            for line in rows(ruleset, asked, failed.setdefault(ruleset.kind, set()), folder):
                print(line, flush=True)


if __name__ == "__main__":
    main()
