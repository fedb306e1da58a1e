"""Rulesets held against the kernel: each is loaded by its own program, and packets are sent through it.

A process of its own does it for each ruleset (`inside.py`); it is given a limited time, and nothing is left of it.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from ruleaudit.analysis.cover import Cover, CoveringPacket, cover
from ruleaudit.kernel import packets, placeholders
from ruleaudit.kernel.judging import Judge, Way
from ruleaudit.kernel.loading import FOLDERS, Loader, loader, program, refused_line
from ruleaudit.model.fields import Family, Field, PacketType
from ruleaudit.model.packet import AskedPacket
from ruleaudit.model.ruleset import Ruleset
from ruleaudit.results.observation import Disagreement, Loaded, Observation
from ruleaudit.source import SourceFile

#: packets for all families together, and seconds to find them, to send them, and for all that one ruleset takes
MOST_PACKETS, TO_FIND, TO_SEND, TO_ASK = 400, 6.0, 15.0, 90.0
#: nft makes an anonymous set of each list in a rule; thousands of them in one go keep a kernel busy for minutes
_MOST_SETS = 1000

Json = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """A ruleset as the kernel is to have it: the text, and what was read in it for each family."""

    source: SourceFile
    rulesets: tuple[Ruleset, ...]

    def of(self, family: Family) -> Ruleset | None:
        return next((r for r in self.rulesets if r.family is family), None)


@dataclass(frozen=True)
class _Numbered:
    """A packet under its number."""

    number: int
    family: Family
    made: CoveringPacket
    named: bool


@dataclass
class _Figures:
    """What was found so far."""

    compared: set[int] = field(default_factory=set)
    left: Counter[str] = field(default_factory=Counter)
    disagreements: list[Disagreement] = field(default_factory=list)


def observe(sides: Sequence[Side], named: Iterable[AskedPacket], known_sets: str = "") -> Observation:
    """What the kernel does with one ruleset, or with two: packets are chosen by all of them, and sent through each."""
    found = Observation(kernel=os.uname().release)
    reason = _missing(sides, known_sets) or next(filter(None, map(_not_to_be_loaded, sides)), "")
    if reason:
        return replace(found, impossible=reason)
    found = replace(found, nft=_nft_version())
    chosen, left_out = _chosen(sides, list(named))
    figures = _Figures(left=left_out)
    loaded: list[Loaded] = []
    for side in sides:
        by = loader(side.rulesets[0])
        told = _ask(_job(side, by, chosen, known_sets))
        if told.get("impossible"):
            return replace(found, impossible=told["impossible"])
        said = told.get("refused", "")
        line = refused_line(said) if said else None
        loaded.append(Loaded(side.source.path, os.path.basename(by.command[0]), said, line))
        if not said:
            _judge(side, chosen, told, figures)
    return replace(
        found,
        loaded=tuple(loaded),
        packets=len(figures.compared),
        witnesses=sum(1 for one in chosen if one.named and one.number in figures.compared),
        left_out=tuple(sorted(figures.left.items())),
        disagreements=tuple(figures.disagreements),
    )


def _judge(side: Side, chosen: Sequence[_Numbered], told: Json, figures: _Figures) -> None:
    judges = {ruleset.family: Judge(ruleset, told["rules"]) for ruleset in side.rulesets}
    for one in chosen:
        verdict = judges[one.family].judge(one.made, Way.of(told["seen"][str(one.number)], one.family))
        if isinstance(verdict, str):
            figures.left[verdict] += 1
            continue
        figures.compared.add(one.number)
        figures.disagreements += [verdict] if verdict else []


# -- what can be asked ----------------------------------------------------------------------------------


def _missing(sides: Sequence[Side], known_sets: str) -> str:
    absent = {name for name in ("ip", "nft") if program(name) is None}
    absent |= {loader(side.rulesets[0]).missing for side in sides} - {""}
    if any(placeholders.sets(r, known_sets) for side in sides for r in side.rulesets[:1]) and program("ipset") is None:
        absent.add("ipset")
    return f"not installed: {', '.join(sorted(absent))}" if absent else ""


def _not_to_be_loaded(side: Side) -> str:
    first = side.rulesets[0]
    if not first.is_nft:
        return ""
    texts = {rule.span: rule.text for ruleset in side.rulesets for rule in ruleset.rules()}
    number = sum(text.count("{") for text in texts.values())
    if number > _MOST_SETS:
        return f"{side.source.path} has {number} anonymous sets; so many at once keep a kernel busy for minutes"
    return ""


def _nft_version() -> str:
    said = subprocess.run(
        (program("nft") or "nft", "--version"), capture_output=True, text=True, timeout=10, check=False
    )
    found = re.search(r"v(\d[\w.]*)", said.stdout)
    return found[1] if found else ""


# -- packets --------------------------------------------------------------------------------------------


def _chosen(sides: Sequence[Side], named: Sequence[AskedPacket]) -> tuple[list[_Numbered], Counter[str]]:
    """The packets of the families that all sides speak of, and why others are not sent."""
    families = [family for family in Family if all(side.of(family) for side in sides)]
    out: list[_Numbered] = []
    left = Counter[str]()
    for family in families:
        rulesets = [ruleset for side in sides if (ruleset := side.of(family)) is not None]
        found: Cover = cover(rulesets, named, MOST_PACKETS // len(families), TO_FIND / len(families))
        for made in found.packets:
            out.append(_Numbered(len(out) + 1, family, made, made in found.packets[: found.named]))
        left["from or to a group, a link or the host itself: not sent here"] += found.unsendable
        left[f"more kinds of packets than the {MOST_PACKETS} that are sent"] += found.left
    return out, +left


def _batches(chosen: Iterable[_Numbered]) -> list[Json]:
    """The packets in groups: in each, an address is the host's own or another's, and is reached in one way."""
    batches: list[Json] = []
    for one in chosen:
        own, others = _addresses(one)
        for batch in batches:
            fits = not (own & batch["others"].keys()) and not (others.keys() & batch["own"])
            if fits and all(batch["others"].get(a) in (None, d) or d is None for a, d in others.items()):
                break
        else:
            batch = {"own": set(), "others": {}, "probes": []}
            batches.append(batch)
        batch["own"] |= own
        for address, device in others.items():
            batch["others"][address] = batch["others"].get(address) or device
        batch["probes"].append(_probe(one))
    return [
        {"local": sorted(b["own"]), "out": {a: d for a, d in b["others"].items() if d}, "probes": b["probes"]}
        for b in batches
    ]


def _addresses(one: _Numbered) -> tuple[set[str], dict[str, str | None]]:
    """The addresses that are the host's own, and the others with the interface by which they are reached."""
    source, target = (_text(one, side) for side in (Field.SADDR, Field.DADDR))
    match one.made.path:
        case "in":
            return {target} if one.made.is_to_host else set(), {source: None}
        case "out":
            return {source}, {target: one.made.packet.oif}
        case "forward":
            return set(), {source: None, target: one.made.packet.oif}
        case _:
            return {source, target}, {}


def _text(one: _Numbered, side: Field) -> str:
    value = one.made.packet.values[side]
    return str(IPv4Address(value) if one.family is Family.IPV4 else IPv6Address(value))


def _probe(one: _Numbered) -> Json:
    packet = one.made.packet
    return {
        "number": one.number,
        "path": one.made.path,
        "iif": packet.iif,
        "oif": packet.oif,
        "to": _text(one, Field.DADDR),
        "raw": packets.of(one.family, packet.values, one.number).hex(),
        "mark": packet.values[Field.MARK],
        "link": PacketType(packet.values[Field.PKTTYPE]).name.lower(),
    }


# -- the process that asks ------------------------------------------------------------------------------


def _job(side: Side, by: Loader, chosen: Sequence[_Numbered], known_sets: str) -> Json:
    used = [name for one in chosen for name in (one.made.packet.iif, one.made.packet.oif)]
    chains = [name for ruleset in side.rulesets for table in ruleset.tables.values() for name in table.chains]
    return {
        "loader": list(by.command),
        "saver": by.saver,
        "family": side.rulesets[0].family.value,
        "tables": list(side.rulesets[0].tables),
        "text": side.source.text,
        "sets": placeholders.sets(side.rulesets[0], known_sets),
        "interfaces": placeholders.interfaces(side.rulesets, used),
        "ingress": any(name.endswith(" (ingress)") for name in chains),
        "batches": _batches(chosen),
        "seconds": TO_SEND,
    }


def _ask(job: Mapping[str, Any]) -> Json:
    """The answer to a job. Whatever happens, the process and its files are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="ruleaudit-") as folder:
        return _answer({**job, "lock": os.path.join(folder, "xtables.lock")})


def _answer(job: Mapping[str, Any]) -> Json:
    command = (sys.executable, "-P", "-m", "ruleaudit.kernel.inside")
    paths = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths, "PATH": FOLDERS},
        start_new_session=True,
    )
    try:
        out, errors = process.communicate(json.dumps(job).encode(), TO_ASK)
    except subprocess.TimeoutExpired:
        return {"impossible": f"it took longer than {TO_ASK:.0f} seconds"}
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return {"impossible": last or f"the process that asks ended with {process.returncode}"}
    told: Json = json.loads(out)
    return told
