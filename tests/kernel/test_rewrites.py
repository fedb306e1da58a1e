"""Every rewrite of the case tables, asked of the kernel: a wrong one shows, a right one does not."""

import pytest

import ruleaudit
from ruleaudit.diagnostics import FixClass
from ruleaudit.source import SourceFile
from tests.kernel import cases_answers, cases_memory, cases_nat, cases_outbound, cases_states
from tests.kernel.lab import VARIANTS
from tests.kernel.rewrite import Case

CASES = (*cases_memory.CASES, *cases_nat.CASES, *cases_answers.CASES, *cases_states.CASES, *cases_outbound.CASES)


def _ids(case: Case) -> str:
    return case.id


@pytest.mark.kernel
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("case", CASES, ids=_ids)
def test_kernel(case: Case, variant: str) -> None:
    with case.lab() as lab:
        case.prepare(lab)
        seen = []
        for text in (case.old, case.new):
            lab.load(case.host, case.at_load(text), variant, six=case.six)
            seen.append(case.probe(lab))
        assert tuple(seen) == case.sees
        if case.right and case.free:
            assert lab.entries(case.host, *case.free) == []


@pytest.mark.kernel
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("case", CASES, ids=_ids)
def test_suggestion(case: Case) -> None:
    """What `suggest --all` prints for the original is not the wrong rewrite: the client sees no change."""
    suggestion = ruleaudit.suggest(SourceFile(_name(case), case.old), everything=True)
    assert suggestion.outcome == case.answer
    assert suggestion.text != case.new or case.right
    if suggestion.text is None:
        return
    if case.assumption is not None:
        assert case.assumption in dict(suggestion.assumptions)
        return
    for variant in VARIANTS:
        with case.lab() as lab:
            case.prepare(lab)
            lab.load(case.host, case.at_load(suggestion.text), variant, six=case.six)
            assert case.probe(lab) == (case.suggested or case.sees[0])


@pytest.mark.parametrize("case", CASES, ids=_ids)
def test_verify(case: Case) -> None:
    """The comparison refuses the wrong rewrites, each with a packet, and takes the right ones."""
    found = ruleaudit.verify(SourceFile(_name(case), case.old), SourceFile(_name(case), case.new))
    assert found.undecided == ()
    refused = [d for d in found.differences if d.loosens not in TAKEN]
    if case.right:
        assert "\n".join(f"{d.kind} {d.description}: {d.witness}" for d in refused) == ""
        return
    because = [d for d in found.differences if d.kind in case.wrong and d.loosens is case.loosens]
    assert because, "\n".join(f"{d.kind} {d.loosens} {d.description}: {d.witness}" for d in found.differences)
    assert {d.kind for d in because} == case.wrong
    assert all(d.witness.packet for d in because)


#: the plan classes that `suggest` prints without being asked
TAKEN = (
    FixClass.EXACT,
    FixClass.SAME_CONNECTIONS,
    FixClass.ASSUMING,
)


def _name(case: Case) -> str:
    return "rules.v6" if case.six else "rules.v4"
