"""Proved rewrites, damaged: `verify` finds every damage, with a packet that fares in the kernel as it says.

The rewrites of all the hosts in tests/fixtures, line by line; the suite takes a sample:

    python -m tests.kernel.test_damaged
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import pytest

import ruleaudit
from ruleaudit.diagnostics import FixClass
from ruleaudit.results import Difference
from ruleaudit.results.observation import Observation
from ruleaudit.source import SourceFile

FIXTURES = Path(__file__).parent.parent / "fixtures"
HOSTS = sorted(
    path
    for folder in ("haproxy-host", "hosts", "nft/haproxy-host", "nft/hosts")
    for path in (FIXTURES / folder).iterdir()
    if path.suffix in (".v4", ".v6", ".nft")
)
#: what the proof of a rewrite may leave
_ALLOWED = (FixClass.EXACT, FixClass.SAME_CONNECTIONS, FixClass.ASSUMING)
_FRAME = re.compile(r"^\s*(?:\*|:|COMMIT|#|\}|\{|table |chain |add (?:table|chain) |type filter hook |$)")
_INVALID_DROP = re.compile(r"(?:--ctstate|--state|ct state) INVALID.* -j DROP|ct state invalid.*drop", re.I)
_PORTS = re.compile(r" -m (?:tcp|udp|multiport) --[ds]ports? \S+")
_SWAP = {"dport": "sport", "sport": "dport"}


@dataclass(frozen=True)
class Damage:
    """A rewrite with one thing wrong in it."""

    name: str
    text: str


def damages(old: str, new: str) -> Iterator[Damage]:
    """Everything that is done to a rewrite."""
    lines, before = new.splitlines(keepends=True), old.splitlines(keepends=True)

    def with_line(at: int, *instead: str) -> str:
        return "".join([*lines[:at], *instead, *lines[at + 1 :]])

    for tag, i1, i2, j1, j2 in SequenceMatcher(None, before, lines, autojunk=False).get_opcodes():
        for at in range(j1, j2) if tag in ("insert", "replace") else ():
            line = lines[at]
            if _FRAME.match(line):
                continue
            reverted = before[i1 + at - j1] if tag == "replace" and i2 - i1 == j2 - j1 else None
            yield Damage(f"without {line.strip()}", with_line(at, *([reverted] if reverted else [])))
            yield from (
                Damage(f"{name} {line.strip()}", with_line(at, text)) for name, text in _altered(line, "inet" in new)
            )
            behind = next((n for n in range(at, len(lines)) if _INVALID_DROP.search(lines[n])), None)
            if behind is not None and reverted is None and "icmp" in line:
                moved = "".join([*lines[:at], *lines[at + 1 : behind + 1], line, *lines[behind + 1 :]])
                yield Damage(f"behind the INVALID drop: {line.strip()}", moved)


def _altered(line: str, both_families: bool) -> Iterator[tuple[str, str]]:
    """One line, wrong in one way after the other."""
    if " ! --syn" in line:
        yield "with openings:", line.replace(" -m tcp ! --syn", "").replace(" ! --syn", "")
    if "tcp flags & (fin | syn | rst | ack) != syn " in line:
        yield "with openings:", line.replace("tcp flags & (fin | syn | rst | ack) != syn ", "")
    if "notrack" not in line:
        return
    yield "ports swapped:", re.sub(r"\b([ds]port)", lambda found: _SWAP[found[1]], line)
    yield "another interface:", re.sub(r'! (-[io]) lo|([io]if(?:name)?) != "lo"', _elsewhere, line)
    if "$" not in line and "@" not in line:
        yield "every port:", re.sub(r"(tcp|udp) [ds]port (?:\{[^}]*\}|\S+)", r"meta l4proto \1", _PORTS.sub("", line))
    if " -j CT" not in line and both_families:
        yield "v4 only:", re.sub(r'([io]if(?:name)? != "lo")', r"meta nfproto ipv4 \1", line)


def _elsewhere(found: re.Match[str]) -> str:
    return f"{found[1]} eth7" if found[1] else f'{found[2]}name "eth7"'.replace("namename", "name")


#: what of this takes nothing away and opens nothing: the words of the damage, by host, and why
HARMLESS = {
    "new-not-syn.v4": ("with openings", "a later rule accepts the openings, whatever their state"),
    "commands.nft": ("with openings", "connections from these ports are accepted as new ones, too"),
    "router.v4": ("every port", "the other ports of that server are closed, both ways"),
    "concatenated.nft": ("without new", "every packet to that port is untracked"),
}


@dataclass(frozen=True)
class Found:
    """A damage, and the differences that no proved rewrite may have."""

    host: Path
    old: SourceFile
    damage: Damage
    wrong: tuple[Difference, ...]

    @property
    def new(self) -> SourceFile:
        return SourceFile(self.old.path, self.damage.text)

    @property
    def is_harmless(self) -> bool:
        return self.damage.name.startswith(HARMLESS.get(self.host.name, ("-",))[0])

    def observed(self) -> Observation:
        """The witnesses in the kernel, under the ruleset as it was, and under the damaged rewrite."""
        return ruleaudit.observe(self.old, self.new, packets=[d.witness.packet for d in self.wrong])


def found(host: Path, every: int = 1) -> Iterator[Found]:
    """What `verify` says of every damage of a host's rewrite, or of every third."""
    suggestion = ruleaudit.suggest(str(host), menu=False)
    if suggestion.text is None:
        suggestion = ruleaudit.suggest(str(host), menu=False, everything=True)
    assert suggestion.text is not None, host
    for damage in list(damages(suggestion.source.text, suggestion.text))[::every]:
        comparison = ruleaudit.verify(suggestion.source, SourceFile(str(host), damage.text))
        wrong = tuple(d for d in comparison.differences if d.loosens not in _ALLOWED)
        yield Found(host, suggestion.source, damage, wrong)


@pytest.mark.parametrize("host", HOSTS, ids=lambda path: path.name)
def test_the_damages_are_found(host: Path) -> None:
    some = list(found(host, 3))
    assert some
    assert [f.damage.name for f in some if bool(f.wrong) is f.is_harmless] == []


@pytest.mark.kernel
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("name", ["rules.v4", "output-drop.v4", "vmaps.nft", "web6.nft"])
def test_the_kernel_confirms_the_packets(name: str) -> None:
    host = next(path for path in HOSTS if path.name == name)
    sample = [one for one in found(host, 4) if one.wrong]
    observations = [(one.damage.name, one.observed()) for one in sample]
    assert [(name, seen) for name, seen in observations if not seen.agrees] == []
    assert sum(seen.witnesses for _, seen in observations) >= len(sample)


def main() -> int:
    """Every damage, and its packets in the kernel."""
    count = dict.fromkeys(("damages", "found", "harmless", "packets sent", "witnesses sent", "disagreements"), 0)
    for host in HOSTS:
        for one in found(host):
            count["damages"] += 1
            count["found"] += bool(one.wrong)
            count["harmless"] += one.is_harmless
            if not one.wrong:
                continue
            seen = one.observed()
            count["packets sent"] += seen.packets
            count["witnesses sent"] += seen.witnesses
            if not seen.agrees:
                count["disagreements"] += 1
                print(host.name, one.damage.name, seen, flush=True)
        print(host.name, count, flush=True)
    return 1 if count["disagreements"] or count["found"] + count["harmless"] < count["damages"] else 0


if __name__ == "__main__":
    sys.exit(main())
