"""A ruleset whose packets do not fit into memory: what was found stands, and what was not looked for is said."""

from unittest.mock import patch

import pytest

from ruleaudit.packets import diagram
from ruleaudit.rules import RULES, file_report, loopback_tracked, needless_tracking, state_test_after_accept
from ruleaudit.rules.file_report import check_source
from ruleaudit.source import SourceFile

#: they say nothing where every rule counts as one that needs tracking
BY_TRACKING = (loopback_tracked, needless_tracking, state_test_after_accept)
HOSTS = "".join(
    f"-A INPUT -s 11.{n % 7}.{n % 11}.{n}/32 -j DROP\n"
    f"-A INPUT -d 10.{n % 5}.{n % 13}.{n}/32 -p tcp -m multiport --dports 80,443,{1024 + n} -j ACCEPT\n"
    f"-A INPUT -d 10.{n % 5}.{n % 13}.{n}/32 -m mark --mark 0x{1 + n % 15:x}/0xf -j ACCEPT\n"
    for n in range(100)
)
TEXT = f"""*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
{HOSTS}-A INPUT -p tcp -m multiport --dports 80,443 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -s 11.0.0.0/32 -j DROP
-A INPUT -p udp -m udp --dport 53 -j ACCEPT
COMMIT
"""


@pytest.mark.parametrize("room", [1 << 12, 1 << 14, 1 << 15, 1 << 16, 1 << 17])
def test_nothing_is_lost_without_a_word(room: int) -> None:
    source = SourceFile("rules.v4", TEXT)
    every = {(f.code, f.span) for f in check_source(source).findings}
    with (
        patch.object(diagram, "FIRST_ROOM", room >> 2),
        patch.object(diagram, "LAST_ROOM", room),
        patch.object(file_report, "FIRST_ROOM", room >> 2),
        patch.object(file_report, "LAST_ROOM", room),
    ):
        found = check_source(source).findings
    told = {(f.code, f.span) for f in found}
    said = " ".join(f.message for f in found if "do not fit into memory" in f.message)
    silent = {rule.CODE for rule in RULES if f"({rule.CODE}) was not looked for" in said}
    unsure = {rule.CODE for rule in BY_TRACKING} if "was not found out" in said else set()
    assert {code for code, _ in every - told} <= silent | unsure
    assert not silent & {code for code, _ in told}
