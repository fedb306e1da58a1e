"""The vectors of the iptables test suite, loaded: what is printed back is what the kernel then holds and means."""

import re

import pytest

from ruleaudit.analysis.space import TRACKED_STATES, Frame, Space, View, interface_names
from ruleaudit.model import condition as conditions
from ruleaudit.model.condition import Condition, Opaque, all_of
from ruleaudit.model.fields import Family, Field, State
from ruleaudit.model.from_iptables import lower
from ruleaudit.model.ruleset import Rule
from ruleaudit.source import SourceFile
from ruleaudit.syntax.iptables import read
from tests.kernel.lab import VARIANTS, Lab
from tests.model.vectors import Vector, vectors
from tests.syntax.corpus import MISSING, REASON

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.usefixtures("kernel"),
    pytest.mark.skipif(MISSING, reason=REASON),
]

#: what needs a module, an object or a policy that is not everywhere
ABSENT = ("ipvs", "LED", "SECMARK", "rateest")
#: iptables 1.8.9 loads a rule that asks for no port at all as one that takes every port
NO_PORT = re.compile(r"! --[sd]port :$")
#: what iptables 1.8.9 gets wrong: the end of an open queue range, and iptables-legacy-save of `! -i +`
WRONG_IN_189 = (("libxt_NFQUEUE", 12), ("libxt_NFQUEUE", 14), ("iptables", 8))


def _load(lab: Lab, vector: Vector, text: str, variant: str) -> str | None:
    """The rules that the kernel holds afterwards; None when this one cannot have them."""
    six = vector.family is Family.IPV6
    try:
        lab.load("server", text, variant, six=six)
    except RuntimeError:
        if vector.extension.endswith(ABSENT):
            return None
        raise
    saved = lab.save("server", variant, six=six)
    found = re.search(rf"^\*{vector.table}\n(?P<rules>.*?)^COMMIT", saved, re.M | re.S)
    lines = found["rules"].splitlines() if found else []
    return "\n".join(re.sub(r"^\[\d+:\d+\] ", "", line) for line in lines if "-A " in line)


def _read(text: str, family: Family) -> Rule:
    return next(lower(read(SourceFile("vector", text)), family).ruleset.rules())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("family", list(Family), ids=["v4", "v6"])
def test_what_is_printed_back_loads_to_the_same_and_means_the_same(variant: str, family: Family) -> None:
    other = "LEGACY" if variant == "nft" else "NFT"
    chosen = [v for v in vectors() if v.family is family and v.accepted and not v.elsewhere and v.variant != other]
    chosen = [v for v in chosen if (v.extension, v.line) not in WRONG_IN_189 and not NO_PORT.search(v.rule)]
    loaded = 0
    wrong = []
    with Lab() as lab:
        for vector in chosen:
            text = vector.text()
            saved = _load(lab, vector, text, variant)
            if saved is None:
                continue
            loaded += 1
            assert str(read(SourceFile("vector", text))) == text
            again = _read(f"*{vector.table}\n:alt - [0:0]\n{saved}\nCOMMIT\n", family)
            ours = _read(text, family)
            same = again.verdict == ours.verdict and [e.kind for e in again.effects] == [e.kind for e in ours.effects]
            if not same or not _same_packets(again, ours, family):
                wrong.append((vector.extension, vector.line, vector.rule, saved))
    assert wrong == []
    assert loaded >= len(chosen) - 40


def _same_packets(one: Rule, other: Rule, family: Family) -> bool:
    """The exact parts of both rules hold for the same packets; the names of opaque tests are the words of a rule."""
    parts = [all_of(m.condition for m in rule.matches if _is_exact(m.condition)) for rule in (one, other)]
    space = Space(family, interface_names(parts))
    states = {state: space.in_state(state) for state in TRACKED_STATES}
    mark = space.diagrams.vector(space.bits[Field.MARK])
    view = View({**states, State.UNTRACKED: space.none}, mark, space.diagrams.bit(space.direction_bit))
    left, right = (space.condition(part, Frame("any"), view) & space.domain for part in parts)
    return left == right


def _is_exact(condition: Condition) -> bool:
    return not any(isinstance(test, Opaque) for test in conditions.tests(condition))
