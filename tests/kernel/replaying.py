"""What `suggest` makes of random hosts, and of the corpus, with real connections: those that succeed are the same.

python -m tests.kernel.replaying --seed 1 --rulesets 100
python -m tests.kernel.replaying --corpus
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

import ruleaudit
from ruleaudit.diagnostics import RuleauditError
from ruleaudit.model.fields import Family
from ruleaudit.source import SourceFile
from ruleaudit.syntax.language import family as family_of
from tests.kernel import random_hosts
from tests.kernel.corpus_rulesets import DEVICES, LONGEST, renamed, sets_named
from tests.kernel.lab import CLIENT, CLIENT6, SERVER, SERVER6, VARIANTS, Lab
from tests.kernel.random_hosts import TCP_PORTS, UDP_PORTS
from tests.syntax.corpus import entries

_IPTABLES = tuple(f"iptables-{variant}" for variant in VARIANTS)
#: how long a question waits for its answer, and how long when it matters
PATIENCE, PATIENT = 0.3, 2.0


@dataclass(frozen=True)
class Question:
    """Somebody asks a service."""

    by: str
    to: str
    protocol: str
    port: int

    def asked(self, lab: Lab, patience: float) -> bool:
        ask = lab.tcp if self.protocol == "tcp" else lab.udp
        return ask(self.by, self.to, self.port, patience=patience) == "ok"


@dataclass
class Figures:
    """What was replayed; `questions`: how many there were, and were answered, before."""

    rewritten: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    questions: int = 0
    answered: int = 0
    freed: int = 0
    wrong: list[str] = field(default_factory=list)

    def __iadd__(self, other: "Figures") -> Self:
        self.rewritten.update(other.rewritten)
        self.kept.update(other.kept)
        for name in ("questions", "answered", "freed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.wrong += other.wrong
        return self

    def __str__(self) -> str:
        return "\n".join([
            f"rewritten: {dict(self.rewritten)}; without a rewrite: {dict(self.kept)}",
            f"{self.questions} questions before and after, {self.answered} answered; {self.freed} leave no entry after",
            f"{len(self.wrong)} wrong", *self.wrong[:5],
        ])  # fmt: skip


def questions(families: tuple[Family, ...]) -> list[Question]:
    """From the client, from the host itself, and from the host to the client."""
    found = []
    for family in families:
        server, client, lo = (SERVER6, CLIENT6, "::1") if family is Family.IPV6 else (SERVER, CLIENT, "127.0.0.1")
        services = [("tcp", p) for p in (*TCP_PORTS, 81)] + [("udp", p) for p in UDP_PORTS]
        found += [Question("client", server, *one) for one in services]
        found += [Question("server", client, *one) for one in (("tcp", 443), ("tcp", 8000), ("tcp", 80), ("udp", 53))]
        found += [
            Question("server", to, *one) for to in (lo, server) for one in (("tcp", 80), ("tcp", 443), ("udp", 53))
        ]
    return found


class Stage:
    """A client and a server that serves; use it as a context manager."""

    def __enter__(self) -> Self:
        self.lab = Lab()
        self.lab.__enter__()
        for six in (False, True):
            for host in ("client", "server"):
                for port in (*TCP_PORTS, 81):
                    self.lab.serve_tcp(host, port, six=six)
                for port in UDP_PORTS:
                    self.lab.serve_udp(host, port, six=six)
        self.pool = ThreadPoolExecutor(48)
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown()
        self.lab.close()

    def load(self, program: str, text: str, families: tuple[Family, ...]) -> None:
        """Only this ruleset is there; raises RuntimeError for one that the kernel refuses."""
        lab = self.lab
        lab.run("server", "nft", "flush", "ruleset")
        for six in (False, True):
            lab.load("server", "", "legacy", six=six)
        if program in _IPTABLES:
            lab.load("server", text, program.removeprefix("iptables-"), six=families == (Family.IPV6,))
        else:
            lab.run("server", "nft", *(["-j"] if program == "nft-json" else []), "-f", "-", text=text)
        lab.forget("server")

    def ask(self, some: list[Question], patience: float) -> dict[Question, bool]:
        """All at once: waiting for silence is most of it."""
        return dict(zip(some, self.pool.map(lambda one: one.asked(self.lab, patience), some), strict=True))

    def replay(self, program: str, old: str, new: str, families: tuple[Family, ...], name: str) -> Figures:
        """The same questions before and after."""
        figures = Figures()
        self.load(program, old, families)
        before = self.ask(questions(families), PATIENCE)
        self.load(program, new, families)
        after = self.ask(list(before), PATIENCE)
        figures.rewritten[program] += 1
        figures.questions, figures.answered = len(before), sum(before.values())
        differing = [one for one in before if before[one] is not after[one]]
        if differing:
            # once more with patience: a machine that is busy answers late
            later = self.ask(differing, PATIENT)
            self.load(program, old, families)
            earlier = self.ask(differing, PATIENT)
            differing = [one for one in differing if earlier[one] is not later[one]]
            figures.wrong += [
                f"{name}: {one} {'breaks' if earlier[one] else 'opens'}\n{old}\n--- becomes\n{new}" for one in differing
            ]
        else:
            entries = self.lab.entries("server")
            figures.freed = sum(
                not any(
                    f" dst={one.to} " in x and f" dport={one.port} " in x and x.startswith(one.protocol)
                    for x in entries
                )
                for one in before
                if before[one] and one.by == "client"
            )
        return figures


def compare(stage: Stage, seed: str) -> Figures:
    """A random host, if `suggest` has a rewrite for it."""
    rng = random.Random(seed)
    program = rng.choice(("nft", *_IPTABLES))
    family = rng.choice(list(Family))
    host = random_hosts.nft(rng) if program == "nft" else random_hosts.iptables(rng, family)
    ports = rng.sample(host.ports, rng.randint(1, len(host.ports))) if rng.random() < 0.5 else ()
    language = "nft" if program == "nft" else "ip6tables-save" if family is Family.IPV6 else "iptables-save"
    found = ruleaudit.suggest(
        SourceFile("rules", host.text), ports=ports, everything=not ports, menu=False, language=language
    )
    if found.text is None:
        return Figures(kept=Counter({program: 1}))
    return stage.replay(program, host.text, found.text, host.families, f"seed {seed} {program}")


def corpus() -> Iterator[tuple[str, str, tuple[Family, ...], str, str]]:
    """Program, language, families, name and text of the rulesets that the kernel takes."""
    for entry in entries("iptables", "ip6tables", "nft", "nftjson"):
        if entry.verdict != "accepted" or len(entry.source.text) > LONGEST:
            continue
        text = renamed(entry, ("s0",))
        if entry.kind in ("nft", "nftjson"):
            language = "nft-json" if entry.kind == "nftjson" else "nft"
            yield language, language, tuple(Family), entry.path, text
            continue
        family = Family.IPV6 if entry.kind == "ip6tables" else family_of(entry.source)
        language = "ip6tables-save" if family is Family.IPV6 else "iptables-save"
        for program in _IPTABLES:
            yield program, language, (family,), entry.path, text


def compare_corpus(stage: Stage, part: slice, enough: int = sys.maxsize) -> Figures:
    """Every rewrite of the corpus, or some of them; not more than `enough`."""
    figures = Figures()
    for one, other in zip(DEVICES[::2], DEVICES[1::2], strict=True):
        stage.lab.run("server", "ip", "link", "add", one, "type", "veth", "peer", "name", other)
    for program, language, families, name, text in list(corpus())[part]:
        if figures.rewritten.total() >= enough:
            break
        try:
            found = ruleaudit.suggest(SourceFile(name, text), everything=True, menu=False, language=language)
            if found.text is None:
                figures.kept[program] += 1
                continue
            for set_name in sets_named(text):
                six = ("family", "inet6") if families == (Family.IPV6,) else ()
                stage.lab.run("server", "ipset", "create", set_name, "hash:ip", *six, check=False)
            figures += stage.replay(program, text, found.text, families, name)
        except (RuleauditError, RuntimeError) as error:
            figures.kept[f"{program}, refused"] += 1
            print(f"{name}: {str(error)[:150]}".replace("\n", " "))
        stage.load("nft", "", families)
        stage.lab.run("server", "ipset", "destroy", check=False)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description="replay rewrites of random rulesets with real connections")
    parser.add_argument("--rulesets", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--only", type=int, help="the number of one ruleset of the seed")
    parser.add_argument("--corpus", action="store_true", help="the rulesets of the corpus instead")
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), help="the K-th of N parts of the corpus")
    options = parser.parse_args()
    total = Figures()
    began = time.monotonic()
    with Stage() as stage:
        if options.corpus:
            total = compare_corpus(stage, slice(options.part[0], None, options.part[1]))
        numbers = [options.only] if options.only is not None else range(options.rulesets)
        for number in () if options.corpus else numbers:
            figures = compare(stage, f"{options.seed}/{number}")
            total += figures
            if figures.wrong:
                print(figures.wrong[0], flush=True)
    print(f"seed {options.seed}, {time.monotonic() - began:.0f} s\n{total}")
    return 1 if total.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
