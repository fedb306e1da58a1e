"""Where the time of one command on one ruleset goes: the functions of ours that take the most.

python benchmarks/hotspots.py check kube 1000 [--by tottime] [--top 25]
python benchmarks/hotspots.py check rules.v4
"""

import argparse
import contextlib
import cProfile
import io
import pstats
import tempfile
from pathlib import Path

import inputs

from ruleaudit.cli import main as ruleaudit


def ruleset(shape: str, size: int, folder: Path) -> inputs.Input:
    """The ruleset of a shape, which is named as in the results: acl, or "nft acl, json"."""
    if size == 0:
        return inputs.Input(shape, 0, Path(shape))
    made = inputs.nft([size], folder) if shape.startswith("nft ") else inputs.iptables([size], folder)
    for one in made:
        if one.shape == shape:
            return one
    raise SystemExit(f"no such shape: {shape}")


def main() -> None:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("check", "explain", "suggest", "verify"))
    parser.add_argument("shape", help="a shape, or a file")
    parser.add_argument("size", type=int, nargs="?", default=0)
    parser.add_argument("--by", choices=("cumulative", "tottime"), default="cumulative")
    parser.add_argument("--top", type=int, default=25)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if asked.size == 0 and asked.command == "verify":
            raise SystemExit("verify needs a shape and a size: it makes the changed copy itself")
        one = ruleset(asked.shape, asked.size, Path(folder))
        words = [asked.command, "-q", str(one.path)]
        words += ["--no-cache", "--no-config"] if asked.command == "check" else []
        words += [str(one.changed)] if asked.command == "verify" else []
        profile = cProfile.Profile()
        with contextlib.redirect_stdout(io.StringIO()):
            profile.runcall(ruleaudit, words)
    pstats.Stats(profile).sort_stats(asked.by).print_stats("ruleaudit/", asked.top)


if __name__ == "__main__":
    main()
