"""Time ruleaudit beside the kernel's own checkers, on the same rulesets, and print a markdown table.

    python benchmarks/run.py [--runs 5] [--timeout 60] [FILE...]

The checkers ask the kernel and need root: they run in a network namespace of their own and only test, load nothing.
Each figure is the median of the runs, process start included; memory is the peak of the process. The
kernel counts that from before exec, so what this script itself takes (about 18 MB) is the floor.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from rulesets import KINDS

#: beyond this many rules nft is left out: each translated list is an anonymous set of the kernel's
NFT_RULES = 1000


@dataclass(frozen=True)
class Figure:
    """Seconds and peak memory of one command on one ruleset; None where it did not finish."""

    seconds: float | None
    megabytes: float | None


def measure(command: Sequence[str], stdin: Path | None, runs: int, timeout: float) -> Figure:
    """The median of some runs."""
    times: list[float] = []
    memory = 0.0
    for _ in range(runs):
        done = _once(command, stdin, timeout)
        if done is None:
            return Figure(None, None)
        times.append(done[0])
        memory = max(memory, done[1])
    return Figure(statistics.median(times), memory)


def _once(command: Sequence[str], stdin: Path | None, timeout: float) -> tuple[float, float] | None:
    started = monotonic()
    with (stdin or Path(os.devnull)).open("rb") as source, tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "XTABLES_LOCKFILE": f"{folder}/lock"}
        process = subprocess.Popen(
            command, stdin=source, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        watch = threading.Timer(timeout, process.kill)
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        watch.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode < 0:
        return None
    return monotonic() - started, usage.ru_maxrss / 1024


def commands(path: Path, translated: Path | None) -> Iterator[tuple[str, list[str], Path | None]]:
    """What is measured on a ruleset: (name, command, standard input)."""
    ruleaudit = [sys.executable, "-m", "ruleaudit"]
    yield "check", [*ruleaudit, "check", str(path)], None
    yield "explain", [*ruleaudit, "explain", str(path)], None
    yield "suggest", [*ruleaudit, "suggest", str(path)], None
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return
    alone = ["unshare", "-n", "--"]
    for variant in ("nft", "legacy"):
        if shutil.which(f"iptables-{variant}-restore"):
            yield f"iptables-{variant}-restore --test", [*alone, f"iptables-{variant}-restore", "--test"], path
    if translated is not None:
        yield "nft -c", [*alone, "nft", "-c", "-f", str(translated)], None


def translate(path: Path, rules: int, folder: Path) -> Path | None:
    """The ruleset in nft's language, where it is small enough."""
    if rules > NFT_RULES or not (shutil.which("iptables-restore-translate") and shutil.which("nft")):
        return None
    out = folder / f"{path.name}.nft"
    done = subprocess.run(
        ["iptables-restore-translate", "-f", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    out.write_text(done.stdout)
    return out if done.returncode == 0 else None


def table(rulesets: Sequence[tuple[str, Path]], runs: int, timeout: float, folder: Path) -> Iterator[str]:
    """The lines of the markdown table."""
    yield "| ruleset | rules | command | seconds | MB | of iptables-nft-restore |"
    yield "|---|---:|---|---:|---:|---:|"
    for name, path in rulesets:
        rules = sum(line.startswith(("-A", "[")) for line in path.read_text().splitlines())
        figures = [
            (what, measure(command, stdin, runs, timeout))
            for what, command, stdin in commands(path, translate(path, rules, folder))
        ]
        peer = next((f.seconds for what, f in figures if what.startswith("iptables-nft")), None)
        for what, figure in figures:
            if figure.seconds is None or figure.megabytes is None:
                yield f"| {name} | {rules} | {what} | not within {timeout:.0f} | | |"
                continue
            ratio = f"{figure.seconds / peer:.1f}" if peer else ""
            yield f"| {name} | {rules} | {what} | {figure.seconds:.2f} | {figure.megabytes:.0f} | {ratio} |"


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="more rulesets (iptables-save)")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds that one run may take")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rulesets: list[tuple[str, Path]] = []
        for kind, (make, sizes) in KINDS.items():
            for size in sizes:
                path = folder / f"{kind}-{size}.v4"
                path.write_text("".join(make(size)))
                rulesets.append((kind, path))
        rulesets += [(path.name, path) for path in asked.files]
        for line in table(rulesets, asked.runs, asked.timeout, folder):
            print(line, flush=True)


if __name__ == "__main__":
    main()
