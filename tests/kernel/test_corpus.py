"""Every ruleset of the corpus that the kernel accepts gets an answer, and every suggested file loads for real."""

import re
from pathlib import Path

import pytest

import ruleaudit
from ruleaudit.kernel.namespace import Namespace
from ruleaudit.model.fields import Family
from tests.kernel.lab import VARIANTS
from tests.syntax.corpus import MISSING, REASON, ROOT, Entry, entries

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


#: the interfaces that rulesets name by number (`iif`), and flowtables and netdev chains by name
_DEVICES = ("eth0", "eth1", "eth2", "eth3", "br0", "br-lan", "wg0", "wlan0", "tun0", "ppp0", "docker0", "wan", "lan",
            "enp0s3", "ens3", "bond0")  # fmt: skip
LANGUAGES = {"nft": "nft", "nftjson": "nft-json"}
NFT = [entry for entry in entries("nft", "nftjson") if entry.verdict == "accepted"]


@pytest.mark.kernel
@pytest.mark.skipif(MISSING, reason=REASON)
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("part", range(2))
def test_every_nft_suggestion_loads(part: int) -> None:
    """A sample of them; all: python -m tests.kernel.test_corpus."""
    assert load_nft(NFT[part::40]) == []


def load_nft(files: list[Entry]) -> list[str]:
    """What goes wrong with the rewrites of rulesets that load as they are."""
    wrong = []
    namespace = Namespace()
    try:
        for one, other in zip(_DEVICES[::2], _DEVICES[1::2], strict=True):
            namespace.run("ip", "link", "add", one, "type", "veth", "peer", "name", other)
        for entry in files:
            program = ("nft", "-j") if entry.kind == "nftjson" else ("nft",)
            suggestion = ruleaudit.suggest(
                str(ROOT / entry.path), everything=True, menu=False, language=LANGUAGES[entry.kind]
            )
            texts = [entry.source.text, suggestion.text]
            for text in texts if suggestion.text is not None else ():
                namespace.run("nft", "flush", "ruleset")
                try:
                    namespace.run(*program, "-f", "-", text=text, timeout=60)
                except RuntimeError as error:
                    if text is texts[1]:
                        wrong.append(f"{entry.path}: {str(error)[:300]}")
                    break
    finally:
        namespace.close()
    return wrong


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


if __name__ == "__main__":
    found = load_nft(NFT)
    print("\n".join(found), f"{len(NFT)} files, {len(found)} wrong", sep="\n")
