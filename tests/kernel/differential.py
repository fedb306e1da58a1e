"""Whole rulesets against the kernel: which rules each packet meets, on all of its way, and what becomes of it.

A ruleset is loaded (`bench`); packets that cover it (`covering`) are made real (`realising`) and sent through it; what
the kernel shows of each is held against the reference interpreter, rule by rule (`comparison`). Long runs:

    python -m tests.kernel.differential --seed 1 --rulesets 100
    python -m tests.kernel.differential --corpus
"""

import argparse
import random
import re
import sys
import time
from dataclasses import replace

import ruleaudit
from ruleaudit.model.condition import Opaque, tests
from ruleaudit.model.fields import Family
from ruleaudit.model.from_ipset import sets_of
from ruleaudit.packets.diagram import OutOfRoom
from ruleaudit.source import SourceFile
from tests.kernel import corpus_rulesets, random_iptables, random_nftables
from tests.kernel.bench import PROGRAMS, Bench, Refused
from tests.kernel.comparison import Comparison, Unread, changes, language
from tests.kernel.random_iptables import Whole
from tests.kernel.shown import Figures

_LINES = re.compile(r"/dev/stdin:(\d+):|line:? (\d+)")


def compare(bench: Bench, program: str, family: Family, seed: str, count: int) -> Figures:
    """A random ruleset; the rules that the program refuses are left out of it."""
    rng = random.Random(f"{seed} {program} {family.value}")
    if program == "nft":
        lines, sets = random_nftables.ruleset(rng, family), ""
    else:
        drawn = random_iptables.ruleset(rng, family, program)
        lines, sets = drawn.text.splitlines(), drawn.sets
    figures = Figures()
    for _ in range(40):
        whole = Whole("\n".join([*lines, ""]), sets)
        bench.clear(program, family, exchange=False)
        try:
            bench.load(program, family, whole, exchange=False)
            break
        except Refused as error:
            wrong = {int(a or b) - 1 for a, b in _LINES.findall(str(error))}
            less = _without(lines, wrong, program)
            if less == lines:
                figures.reasons.append(f"{program}: {str(error)[:300]}")
                figures.refused[program] += 1
                return figures
            lines = less
    if program == "iptables-legacy":
        # without a trace the kernel cannot be asked what a test answered that nobody else can answer
        whole = exact(whole, program, family)
    name = f"seed {seed} {program} {family.value}"
    try:
        return Comparison(bench, program, family, whole, rng, name).run(count)
    except Unread as error:
        figures.wrong.append(f"{name}\n  the kernel takes it, the reader does not: {error}")
    return figures


def _without(lines: list[str], wrong: set[int], program: str) -> list[str]:
    """The ruleset without the rules on some lines; if a set is wrong, without all that name it."""
    if program != "nft":
        return [line for n, line in enumerate(lines) if n not in wrong or not line.startswith("-A")]
    out = list(lines)
    for number in sorted(wrong & set(range(len(lines))), reverse=True):
        begin = next(n for n in range(number, -1, -1) if lines[n].endswith("{") or lines[n] == "}")
        words = lines[begin].split()
        if words[0] == "chain" and not lines[number].startswith(("type ", "chain ", "}")):
            out[number] = ""
        elif words[0] in ("set", "map"):
            end = lines.index("}", begin)
            table = max(n for n in range(begin) if lines[n].startswith("table "))
            after = next((n for n in range(begin, len(lines)) if lines[n].startswith("table ")), len(lines))
            out[begin : end + 1] = [""] * (end + 1 - begin)
            for n in range(table, after):
                if f"@{words[1]}" in re.findall(r"@\w+", lines[n]):
                    out[n] = ""
    return [line for line in out if line] if out != lines else lines


def exact(whole: Whole, program: str, family: Family) -> Whole:
    """The ruleset without the rules whose meaning is open, or that change packets."""
    sets = sets_of(SourceFile("sets", whole.sets))[0]
    (ruleset,) = ruleaudit.lower(SourceFile("rules", whole.text), language(program, family), sets).rulesets
    lines = {
        rule.line
        for rule in ruleset.rules()
        if changes(rule) or any(isinstance(t, Opaque) for t in tests(rule.condition))
    }
    kept = (text for number, text in enumerate(whole.text.splitlines(), 1) if number not in lines)
    return replace(whole, text="".join(f"{text}\n" for text in kept))


class _OfCorpus(Comparison):
    """A ruleset that may name ipsets that nobody knows."""

    def prepare(self) -> None:
        corpus_rulesets.make_sets(self.bench, self.family, self.whole)


def compare_corpus(bench: Bench, packets: int, part: slice = slice(None)) -> Figures:
    """Every ruleset of the corpus that the kernel takes, or some of them."""
    figures = Figures()
    corpus_rulesets.prepare(bench)
    for program, family, name, whole in list(corpus_rulesets.rulesets())[part]:
        try:
            if program == "iptables-legacy":
                whole = exact(whole, program, family)
            comparison = _OfCorpus(
                bench, program, family, whole, random.Random(name), f"{program} {family.value} {name}"
            )
            if any(chain.endswith(" (ingress)") for _, chain in comparison.rules):
                # these run before anything turns tracing on
                figures.refused[f"{program}, with ingress chains"] += 1
                continue
            found = comparison.run(packets)
            figures += found
            if found.wrong:
                print("\n".join(found.wrong[:3]), flush=True)
        except Refused as error:
            figures.refused[program] += 1
            figures.reasons.append(f"{name}: {str(error)[:200]}")
        except (Unread, OutOfRoom) as error:
            figures.refused[f"{program}, by the reader"] += 1
            figures.reasons.append(f"{name}: {error}")
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description="compare random rulesets with the kernel, packet by packet")
    parser.add_argument("--rulesets", type=int, default=20, help="for each program and family")
    parser.add_argument("--packets", type=int, default=200, help="through each ruleset")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--program", choices=PROGRAMS, action="append")
    parser.add_argument("--only", type=int, help="the number of one ruleset of the seed")
    parser.add_argument("--corpus", action="store_true", help="the rulesets of the corpus instead")
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), help="the K-th of N parts of the corpus")
    options = parser.parse_args()
    total = Figures()
    began = time.monotonic()
    with Bench() as bench:
        if options.corpus:
            total = compare_corpus(bench, options.packets, slice(options.part[0], None, options.part[1]))
        for number in [] if options.corpus else [options.only] if options.only is not None else range(options.rulesets):
            for program in options.program or PROGRAMS:
                for family in Family:
                    figures = compare(bench, program, family, f"{options.seed}/{number}", options.packets)
                    total += figures
                    if figures.wrong:
                        print("\n".join(figures.wrong[:3]), flush=True)
    print(f"seed {options.seed}, {time.monotonic() - began:.0f} s\n{total}")
    print(*total.reasons[:10], sep="\n")
    return 1 if total.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
