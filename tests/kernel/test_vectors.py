"""The vectors of the iptables test suite, loaded: what is printed back is what the kernel then holds and means.

`python -m tests.kernel.test_vectors` prints, for each extension, what was read, loaded, saved and refused.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

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
from tests.model.test_vectors import problems
from tests.model.vectors import Vector, vectors
from tests.syntax.corpus import MISSING, REASON

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.usefixtures("kernel"),
    pytest.mark.skipif(MISSING, reason=REASON),
]

#: needs a module, an object or a policy that is not everywhere
_ABSENT = ("ipvs", "LED", "SECMARK")
#: rules without which those of an extension are refused
_ESTIMATOR = (
    "-A INPUT -m comment --comment first -j RATEEST --rateest-name {} --rateest-int 250ms --rateest-ewmalog 500ms\n"
)
_FIRST = {"libxt_rateest": _ESTIMATOR.format("RE1") + _ESTIMATOR.format("RE2")}
_NO_PORT = "1.8.9 loses a test for no port at all"
_NOT_SAVED = "1.8.9 loads `! all of them`, and saves it as nothing"
_LATER = "refused by releases later than 1.8.9"
_LEGACY = "the suite's answer for iptables-legacy alone"
#: what iptables 1.8.9 does otherwise than the suite of 1.8.11 says: (file, line) -> (why, in these variants alone)
OTHERWISE: dict[tuple[str, int], tuple[str, tuple[str, ...]]] = {
    ("iptables", 8): ("iptables-legacy-save leaves out `! -i +`", ("legacy",)),
    ("libipt_icmp", 13): ("saved as `any` by releases before 1.8.10", VARIANTS),
    ("libxt_NFQUEUE", 12): ("1.8.9 refuses a range that begins at 0 and ends at 65535", VARIANTS),
    ("libxt_NFQUEUE", 14): ("1.8.9 ends an open range at 65535", VARIANTS),
    **{("libxt_NFLOG", line): (_LEGACY, ("nft",)) for line in (8, 9, 18)},
    ("libxt_TCPMSS", 4): (_LEGACY, ("nft",)),
    **{("libxt_tcp", line): (_NO_PORT, VARIANTS) for line in (10, 16)},
    **{("libxt_udp", line): (_NO_PORT, VARIANTS) for line in (10, 16)},
    **dict.fromkeys((("libxt_ipcomp", 5), ("libip6t_ah", 17), ("libip6t_mh", 8)), (_NOT_SAVED, VARIANTS)),
    **{("libxt_conntrack", line): (_LATER, VARIANTS) for line in (17, 26, 27, 33, 39, 45, 51)},
    **{("libxt_udp", line): (_LATER, VARIANTS) for line in (14, 20)},
    **dict.fromkeys((("libxt_ipcomp", 10), ("libip6t_ah", 21)), (_LATER, VARIANTS)),
}


@dataclass(frozen=True)
class Loaded:
    """What became of one vector."""

    vector: Vector
    variant: str
    saved: str | None  #: the rules that the kernel holds; None: it was refused
    same: bool  #: what was saved means what we read in the vector

    @property
    def right(self) -> bool:
        """As the suite says."""
        if not self.vector.accepted:
            return self.saved is None
        return self.same and self.saved == f"-A {self.vector.chains[0]} {self.vector.expected}".strip()

    @property
    def exception(self) -> str:
        """Why it may be otherwise here."""
        why, variants = OTHERWISE.get((self.vector.extension, self.vector.line), ("", ()))
        if self.variant in variants:
            return why
        if self.vector.accepted and self.saved is None and self.vector.extension.endswith(_ABSENT):
            return "not on this machine: the kernel module, or an object that the rule names"
        return self.vector.elsewhere


def outcomes(variant: str, family: Family) -> Iterator[Loaded]:
    """Every vector of a family, loaded."""
    with Lab() as lab:
        for vector in vectors():
            if vector.family is family:
                saved = _load(lab, vector, variant)
                yield Loaded(vector, variant, saved, saved is not None and _means_the_same(vector, saved))


def _load(lab: Lab, vector: Vector, variant: str) -> str | None:
    six = vector.family is Family.IPV6
    text = vector.text()
    printed = str(read(SourceFile("vector", text)))
    assert printed == text
    try:
        first = _FIRST.get(vector.extension, "")
        lab.load("server", printed.replace("\n-A", f"\n{first}-A", 1), variant, six=six)
    except RuntimeError:
        return None
    saved = lab.save("server", variant, six=six)
    found = re.search(rf"^\*{vector.table}\n(?P<rules>.*?)^COMMIT", saved, re.M | re.S)
    lines = found["rules"].splitlines() if found else []
    return "\n".join(
        re.sub(r"^\[\d+:\d+\] ", "", line) for line in lines if "-A " in line and "--comment first " not in line
    )


def _means_the_same(vector: Vector, saved: str) -> bool:
    again = _read(f"*{vector.table}\n:alt - [0:0]\n{saved}\nCOMMIT\n", vector.family)
    ours = _read(vector.text(), vector.family)
    if again is None or ours is None:
        return again is ours
    effects = [[e.kind for e in rule.effects] for rule in (again, ours)]
    return again.verdict == ours.verdict and effects[0] == effects[1] and _same_packets(again, ours, vector.family)


def _read(text: str, family: Family) -> Rule | None:
    return next(iter(lower(read(SourceFile("vector", text)), family).ruleset.rules()), None)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("family", list(Family), ids=["v4", "v6"])
def test_vectors_are_loaded_saved_and_refused_as_the_suite_says(variant: str, family: Family) -> None:
    results = list(outcomes(variant, family))
    assert [r for r in results if not r.right and not r.exception] == []
    known = {(r.vector.extension, r.vector.line) for r in results if not r.right}
    listed = {key for key, (_, variants) in OTHERWISE.items() if variant in variants}
    here = {(r.vector.extension, r.vector.line) for r in results}
    assert listed & here <= known
    assert sum(r.right for r in results) >= len(results) - 70


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


_COLUMNS = ("OK", "read", "loaded", "the same", "FAIL", "an error", "refused", "exceptions")


def main() -> None:
    """The figures: OK and FAIL are vectors times families, what the tools say of them is over both variants."""
    rows: dict[str, Counter[str]] = {}
    reasons: Counter[tuple[str, str]] = Counter()
    for variant in VARIANTS:
        for family in Family:
            for result in outcomes(variant, family):
                vector = result.vector
                row = rows.setdefault(vector.extension, Counter())
                if variant == VARIANTS[0]:
                    row["OK" if vector.accepted else "FAIL"] += 1
                    row["read" if vector.accepted else "an error"] += not problems(vector)
                if vector.accepted:
                    row["loaded"] += result.saved is not None
                    row["the same"] += result.right
                else:
                    row["refused"] += result.right
                if not result.right:
                    row["exceptions"] += 1
                    reasons[vector.extension, result.exception or "NONE"] += 1
    print(f"{'extension':<22}" + "".join(f"{c:>11}" for c in _COLUMNS))
    for name, row in [*sorted(rows.items()), ("all", sum(rows.values(), Counter()))]:
        print(f"{name:<22}" + "".join(f"{row[c]:>11}" for c in _COLUMNS))
    for (extension, reason), count in sorted(reasons.items()):
        print(f"{count:>4} {extension}: {reason}")


if __name__ == "__main__":
    main()
