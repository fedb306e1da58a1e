"""Which files are rulesets, and which two belong to one host."""

import pytest

from ruleaudit.discovery import RULESET, twin
from ruleaudit.source import SourceFile

_V4 = "*filter\n:INPUT DROP [0:0]\n-A INPUT -s 192.0.2.1 -j ACCEPT\nCOMMIT\n"
_V6 = _V4.replace("192.0.2.1", "2001:db8::1")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("etc/rules.v4", "etc/rules.v6"),
        ("iptables", "ip6tables"),
        ("before.rules", "before6.rules"),
        ("iptables.up.rules", "ip6tables.up.rules"),
        ("web-v4.txt", "web-v6.txt"),
        ("ipv4/web.rules", "ipv6/web.rules"),
    ],
)
def test_twins_have_the_same_name_but_for_the_family(one: str, other: str) -> None:
    four, six = SourceFile(one, _V4), SourceFile(other, _V6)
    files = [four, six, SourceFile("db/rules.v4", _V4), SourceFile("db/rules.v6", _V6)]
    assert twin(four, files) is six
    assert twin(six, files) is four


def test_two_files_are_twins_whatever_their_names() -> None:
    four, six = SourceFile("a", _V4), SourceFile("b", _V6)
    assert twin(four, [four, six]) is six
    assert twin(four, [four, six, SourceFile("c", _V6)]) is None
    assert twin(four, [four, SourceFile("b", _V4)]) is None
    assert twin(four, [four, SourceFile("b.nft", "table inet filter {\n}\n")]) is None


def test_names_of_rulesets() -> None:
    assert all(map(RULESET.search, ("etc/iptables/rules.v4", "before6.rules", "nftables.conf", "x/site.nft")))
    assert not any(map(RULESET.search, ("udev.rules", "rules.v4.j2", "prometheus/alerts.rules")))
