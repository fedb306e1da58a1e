"""Every ruleset of the corpus that the kernel accepts gets an answer, and every suggested file loads for real."""

import re
from pathlib import Path

import pytest

import ruleaudit
from ruleaudit.model.fields import Family
from tests.kernel.lab import VARIANTS
from tests.kernel.namespace import Namespace
from tests.syntax.corpus import MISSING, REASON, entries

FILES = [entry for entry in entries("iptables", "ip6tables") if entry.verdict == "accepted"]


@pytest.mark.kernel
@pytest.mark.skipif(MISSING, reason=REASON)
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("part", range(16))
def test_every_suggestion_loads(part: int, tmp_path: Path) -> None:
    for entry in FILES[part::16]:
        suggestion = ruleaudit.suggest(entry.source, everything=True, menu=False)
        if suggestion.text is not None:
            for variant in VARIANTS:
                load(suggestion.text, suggestion.ruleset.family, variant, tmp_path)


def load(text: str, family: Family, variant: str, folder: Path) -> None:
    """Load a rewrite in a namespace of its own, where the sets that it names exist, and are empty."""
    six = family is Family.IPV6
    environment = {"XTABLES_LOCKFILE": str(folder / "lock")}
    namespace = Namespace()
    try:
        for name in sorted(set(re.findall(r"--match-set (\S+)", text))):
            addresses = ("family", "inet6") if six else ()
            namespace.run("ipset", "create", name, "hash:ip", *addresses)
        program = f"{'ip6' if six else 'ip'}tables-{variant}-restore"
        namespace.run(program, text=text, environment=environment, timeout=60)
    finally:
        namespace.close()
