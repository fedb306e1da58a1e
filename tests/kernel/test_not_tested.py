"""What `iptables-restore --test` takes and the kernel then refuses has an error here, at the line that matters."""

import pytest

import ruleaudit
from ruleaudit.diagnostics import Severity
from ruleaudit.source import SourceFile
from tests.kernel.lab import VARIANTS, Lab

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel"), pytest.mark.parametrize("variant", VARIANTS)]

_DEEP = "".join(f":C{n} - [0:0]\n" for n in range(16)) + "".join(f"-A C{n} -j C{n + 1}\n" for n in range(15))
#: rules of table filter, and which of their lines is the one
CASES = {
    "CT in filter": ("-A INPUT -p tcp -j CT --notrack\n", 3),
    "NAT in filter": ("-A INPUT -j MASQUERADE\n", 3),
    "a match in the wrong chain": ("-A OUTPUT -m mac --mac-source 00:11:22:33:44:55 -j ACCEPT\n", 3),
    "a target without its protocol": ("-A INPUT -j REJECT --reject-with tcp-reset\n", 3),
    "a loop": (":A - [0:0]\n:B - [0:0]\n-A A -j B\n-A B -j A\n-A INPUT -j A\n", 7),
}


@pytest.mark.parametrize("case", CASES)
def test_the_kernel_refuses_what_the_test_takes(case: str, variant: str) -> None:
    rules, line = CASES[case]
    text = f"*filter\n:INPUT ACCEPT [0:0]\n{rules}COMMIT\n"
    with Lab() as lab:
        lab.host("server")
        assert lab.run("server", f"iptables-{variant}-restore", "--test", text=text) == ""
        with pytest.raises(RuntimeError):
            lab.run("server", f"iptables-{variant}-restore", text=text)
    (report,) = ruleaudit.check([SourceFile("rules.v4", text)])
    errors = [f for f in report.findings if f.severity is Severity.ERROR]
    assert [report.source.position(f.span.start).line for f in errors] == [line]


def test_jumps_that_nest_too_deep(variant: str) -> None:
    text = f"*filter\n:INPUT ACCEPT [0:0]\n{_DEEP}-A INPUT -j C0\nCOMMIT\n"
    (report,) = ruleaudit.check([SourceFile("rules.v4", text)])
    assert [f.code for f in report.findings if f.severity is Severity.ERROR] == ["RA305"]
    with Lab() as lab:
        lab.host("server")
        if variant == "nft":
            with pytest.raises(RuntimeError, match="Too many links"):
                lab.run("server", "iptables-nft-restore", text=text)
        else:
            lab.run("server", "iptables-legacy-restore", text=text)
        less = text.replace("-A C14 -j C15\n", "")
        lab.run("server", f"iptables-{variant}-restore", text=less)
