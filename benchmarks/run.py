"""Time ruleaudit beside the kernel's own checkers, on the same rulesets: one command, one page of markdown.

    python benchmarks/run.py [--sizes 100,1000,10000,100000] [--runs 3] [--timeout 60] [--only acl,kube] [FILE...]
    python benchmarks/run.py --write benchmarks/results.md

benchmarks/README.md says what is measured and how to read it.
"""

import argparse
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import inputs
import processes
import targets
from inputs import Input
from processes import Run

HERE = Path(__file__).parent
_READ = "import gc, sys; gc.disable(); import ruleaudit; ruleaudit.lower(ruleaudit.load(sys.argv[1]))"
PEERS = ("nft -c -o", "nft -c", "iptables-nft-restore --test")


@dataclass(frozen=True)
class Command:
    """What is measured; `codes` are the exit statuses of one that did its work."""

    name: str
    words: list[str]
    stdin: Path | None = None
    codes: tuple[int, ...] = (0,)
    compiled: bool = True


@dataclass
class Measuring:
    """What was asked for, and what is known so far: `ended` are the commands that did not end in time, by shape."""

    runs: int
    timeout: float
    gigabytes: int
    peers: bool
    folder: Path
    results: dict[tuple[str, int], dict[str, list[Run]]] = field(default_factory=dict)
    late: dict[tuple[str, str], int] = field(default_factory=dict)

    def environment(self, compiled: bool = True) -> dict[str, str]:
        """Byte code and caches of its own; without `compiled` no byte code at all."""
        left = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        code = {"PYTHONPYCACHEPREFIX": str(self.folder / ("code" if compiled else "no-code"))}
        code |= {} if compiled else {"PYTHONDONTWRITEBYTECODE": "1"}
        return {**left, **code, "XDG_CACHE_HOME": str(self.folder / "cache"), "NO_COLOR": "1"}

    def once(self, command: Command) -> Run | None:
        """One run; none if it did not end in time."""
        surroundings = self.environment(command.compiled)
        return processes.run(command.words, command.stdin, self.timeout, surroundings, self.gigabytes)

    def measure(self, ruleset: Input) -> None:
        """The commands on a ruleset take turns, so that whatever else the machine does meets them all."""
        found = self.results.setdefault((ruleset.shape, ruleset.size), {})
        waiting = [c for c in commands(self, ruleset) if (ruleset.shape, c.name) not in self.late]
        for turn in range(self.runs):
            for command in [c for c in waiting if (ruleset.shape, c.name) not in self.late]:
                progress(f"{ruleset.shape} {ruleset.size}: {command.name} ({turn + 1} of {self.runs})")
                done = self.once(command)
                if done is None:
                    self.late[ruleset.shape, command.name] = ruleset.size
                    found.pop(command.name, None)
                elif done.code in command.codes:
                    found.setdefault(command.name, []).append(done)
                else:
                    found[command.name] = [done]
                    waiting = [c for c in waiting if c.name != command.name]

    def figures(self, shape: str, size: int) -> dict[str, tuple[float, float, float]]:
        """Median cpu, peak of memory, and median wall of each command that did its work."""
        every = self.results[shape, size]
        return {
            name: (
                statistics.median(run.cpu for run in runs),
                max(run.megabytes for run in runs),
                statistics.median(run.wall for run in runs),
            )
            for name, runs in every.items()
            if not refused(name, runs)
        }


def refused(name: str, runs: list[Run]) -> bool:
    """Whether a command did not take the ruleset; verify and check find things, and say so by their status."""
    most = {"check": 1, "check, no byte code": 1, "verify 20 changed": 2, "verify rewrite": 2}.get(name, 0)
    return any(not 0 <= run.code <= most for run in runs)


def commands(measuring: Measuring, ruleset: Input) -> Iterator[Command]:
    """What is measured on a ruleset."""
    path = str(ruleset.path)
    ours = [sys.executable, "-m", "ruleaudit"]
    check = [*ours, "check", "-q", "--no-cache", "--no-config", path]
    if ruleset.size < 100:
        yield Command("the interpreter alone", [sys.executable, "-c", "pass"])
        yield Command("ruleaudit --version", [*ours, "--version"])
        yield Command("check, no byte code", check, codes=(0, 1), compiled=False)
    yield Command("read", [sys.executable, "-c", _READ, path])
    yield Command("check", check, codes=(0, 1))
    yield Command("explain", [*ours, "explain", "-q", path])
    yield Command("suggest", [*ours, "suggest", "-q", path])
    if ruleset.changed is not None:
        yield Command("verify 20 changed", [*ours, "verify", "-q", path, str(ruleset.changed)], codes=(0, 1, 2))
    rewritten = rewrite(measuring, ruleset)
    if rewritten is not None:
        yield Command("verify rewrite", [*ours, "verify", "-q", path, str(rewritten)], codes=(0, 1, 2))
    if measuring.peers:
        yield from peers(measuring, ruleset)


def rewrite(measuring: Measuring, ruleset: Input) -> Path | None:
    """The ruleset as `suggest` writes it, if there is a rewrite and it ends in time."""
    if (ruleset.shape, "suggest") in measuring.late:
        return None
    into = ruleset.path.with_name(f"rewritten-{ruleset.path.name}")
    progress(f"{ruleset.shape} {ruleset.size}: its rewrite")
    words = [sys.executable, "-m", "ruleaudit", "suggest", "-q", "-o", str(into), str(ruleset.path)]
    done = processes.run(words, None, measuring.timeout, measuring.environment(), measuring.gigabytes)
    if done is None:
        measuring.late[ruleset.shape, "suggest"] = ruleset.size
    return into if done is not None and into.exists() else None


def peers(measuring: Measuring, ruleset: Input) -> Iterator[Command]:
    """The kernel's own checkers, as far as they are there and may be asked."""
    path = ruleset.path
    if not ruleset.of_nft:
        for variant in ("nft", "legacy"):
            restore = f"iptables-{variant}-restore"
            if shutil.which(restore):
                yield Command(f"{restore} --test", [restore, "--test"], path)
        if not shutil.which("iptables-restore-translate"):
            return
        translate = ["iptables-restore-translate", "-f", str(path)]
        yield Command("iptables-restore-translate", translate)
        path = measuring.folder / f"{path.name}.nft"
        with path.open("wb") as into:
            subprocess.run(translate, stdout=into, stderr=subprocess.DEVNULL, check=False)
    if shutil.which("nft") and inputs.may_be_loaded(path):
        words = ["nft", *(["-j"] if path.suffix == ".json" else [])]
        yield Command("nft -c", [*words, "-c", "-f", str(path)])
        if path.suffix != ".json":
            yield Command("nft -c -o", [*words, "-c", "-o", "-f", str(path)])


def progress(text: str) -> None:
    """What is being done, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text[:100]}", end="", file=sys.stderr, flush=True)


def page(measuring: Measuring, head: list[str]) -> Iterator[str]:
    """The whole page, line by line."""
    yield from head
    for shape in dict.fromkeys(shape for shape, _ in measuring.results):
        yield f"\n### {shape}\n"
        yield "| size | command | wall s | cpu s | MB | x nft -c -o | x nft -c | x iptables-nft-restore | targets |"
        yield "|---:|---|---:|---:|---:|---:|---:|---:|---|"
        for size in (size for name, size in measuring.results if name == shape):
            yield from rows(measuring, shape, size)
        late = [f"`{name}` at {size:,}" for (of, name), size in measuring.late.items() if of == shape]
        if late:
            yield f"\nNot within {measuring.timeout:.0f} s, and not tried on larger ones: {', '.join(late)}."
    yield from growth(measuring)


def rows(measuring: Measuring, shape: str, size: int) -> Iterator[str]:
    """The lines of the table for one ruleset."""
    figures = measuring.figures(shape, size)
    for name, runs in measuring.results[shape, size].items():
        wall, cpu = (statistics.median(getattr(run, what) for run in runs) for what in ("wall", "cpu"))
        start = f"| {size:,} | {name} | {wall:.3f} | {cpu:.3f} | {max(run.megabytes for run in runs):.0f} |"
        if name not in figures:
            yield f"{start} | | | refused, status {runs[-1].code} |"
            continue
        ratios = [f" {wall / figures[peer][2]:.2f}" if peer in figures else "" for peer in PEERS]
        yield f"{start}{' |'.join(ratios)} | {targets.judged(shape, size, name, figures)} |"


def growth(measuring: Measuring) -> Iterator[str]:
    """How seconds and memory grow from one size to the next: 1.0 is in proportion, 2.0 with the square."""
    yield "\n## Growth\n"
    yield "Exponents of cpu seconds and of memory between sizes, and the bytes that each further rule takes.\n"
    yield "| shape | command | sizes | cpu | memory | bytes per rule |"
    yield "|---|---|---|---:|---:|---:|"
    for shape in dict.fromkeys(shape for shape, _ in measuring.results):
        sizes = sorted(size for name, size in measuring.results if name == shape and size >= 100)
        for small, large in zip(sizes, sizes[1:], strict=False):
            before, after = measuring.figures(shape, small), measuring.figures(shape, large)
            for name in (name for name in after if name in before and min(before[name]) > 0 and min(after[name]) > 0):
                cpu, memory = (
                    math.log(after[name][what] / before[name][what]) / math.log(large / small) for what in (0, 1)
                )
                each = (after[name][1] - before[name][1]) * 1024 * 1024 / (large - small)
                yield f"| {shape} | {name} | {small:,} to {large:,} | {cpu:.2f} | {memory:.2f} | {each:.0f} |"


def heading(asked: argparse.Namespace) -> list[str]:
    """Where and how it was measured."""
    commit = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    version = subprocess.run(["nft", "--version"], capture_output=True, text=True, check=False).stdout.split()[1:2] \
        if shutil.which("nft") else []  # fmt: skip
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return [
        "## Commands on one ruleset\n",
        f"Commit {commit.stdout.strip() or 'unknown'}, Python {platform.python_version()}, {os.cpu_count()} cores,",
        f"nft {' '.join(version) or 'absent'}, Linux {platform.release()}, load at the start {load}.",
        f"Medians of {asked.runs} runs which take turns, process start included; byte code is there (one run before),",
        "the cache of reports is off. MB is the peak of the process itself. How to read it: [README](README.md).",
    ]


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="more: .v4, .nft or .json")
    parser.add_argument("--sizes", default="20,100,1000,10000,100000", help="rules, or elements of a set")
    parser.add_argument("--only", default="", metavar="SHAPES", help="shapes whose name has one of these words in it")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds that one run may take")
    parser.add_argument("--gigabytes", type=int, default=6, help="address space that one run may take")
    parser.add_argument("--no-peers", action="store_true", help="ruleaudit alone")
    parser.add_argument("--generator", type=Path, metavar="FILE", help="a Python program that writes further shapes")
    parser.add_argument("--write", type=Path, metavar="FILE", help="replace what FILE holds between the marks of this")
    asked = parser.parse_args()
    processes.adopt()
    peers = not asked.no_peers and processes.own_network()
    head = heading(asked)
    if not peers:
        head.append("Without the kernel's checkers: they need root.")
    sizes = sorted({int(size) for size in asked.sizes.split(",")})
    wanted = [word for word in asked.only.split(",") if word]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measuring = Measuring(asked.runs, asked.timeout, asked.gigabytes, peers, folder)
        warm(measuring)
        for ruleset in every(asked, sizes, folder):
            if not wanted or any(word in ruleset.shape for word in wanted):
                measuring.measure(ruleset)
        progress("")
        text = "\n".join(page(measuring, head)) + "\n"
    if asked.write:
        replace(asked.write, text)
    else:
        print(text, end="")


def every(asked: argparse.Namespace, sizes: list[int], folder: Path) -> Iterator[Input]:
    """All rulesets, made one after the other."""
    yield from inputs.iptables(sizes, folder)
    yield from inputs.nft(sizes, folder)
    if asked.generator:
        yield from inputs.generated(asked.generator, sizes, folder)
    for path in asked.files:
        yield Input(path.name, path.read_text().count("\n"), path)


def warm(measuring: Measuring) -> None:
    """One run of each command, so that there is byte code; nft's grammar is met when the first of its shapes is."""
    progress("a first run, which is not counted")
    one = next(inputs.iptables([20], measuring.folder))
    for command in commands(Measuring(1, 60, measuring.gigabytes, False, measuring.folder), one):
        measuring.once(command)


_MARKS = ("<!-- run.py: from here -->\n", "<!-- run.py: to here -->\n")


def replace(path: Path, text: str) -> None:
    """Put the page into a file, between its marks or at its end, in one step."""
    old = path.read_text() if path.exists() else ""
    start, end = (old.find(mark) for mark in _MARKS)
    if start < 0 or end < start:
        start, end, closing = len(old), len(old), _MARKS[1]
    else:
        closing = ""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(f"{old[:start]}{_MARKS[0]}{text}{closing}{old[end:]}")
    os.replace(beside, path)


if __name__ == "__main__":
    main()
