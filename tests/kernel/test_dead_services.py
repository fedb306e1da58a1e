"""Services that lint rules call dead are dead in the kernel too, and live once the ruleset is mended."""

import pytest

from ruleaudit.rules.file_report import check_source
from ruleaudit.source import SourceFile
from tests.kernel.lab import SERVER, SERVER6, Lab

_FILTER = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -p tcp -m tcp --dport 443 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A OUTPUT -p tcp -m multiport --dports 22,80,443 -j ACCEPT
-A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
COMMIT
"""
_SSH = """table ip filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established accept
		tcp dport 22 accept
		tcp dport 1-1023 reject
	}
}
"""
_IPV6 = """table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
		tcp dport 443 accept
	}
}
"""

#: code, the mended ruleset, the line that is missing from the broken one (or stands last there), the service
CASES = (
    ("RA310", _FILTER, "-A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n", SERVER, 443),
    ("RA310", _FILTER, "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n", SERVER, 443),
    (
        "RA304",
        _FILTER.replace("443 -m", "22 -m"),
        "-A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n",
        SERVER,
        22,
    ),
    ("RA304", _SSH, "\t\ttcp dport 22 accept\n", SERVER, 22),
    ("RA311", _IPV6, "\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n", SERVER6, 443),
)


def _works(text: str, address: str, port: int) -> bool:
    with Lab() as lab:
        lab.serve_tcp("server", port, six=address == SERVER6)
        if text.startswith("*"):
            lab.load("server", text, "nft")
        else:
            lab.load_nft("server", text)
        return lab.tcp("client", address, port, patience=1.0) == "ok"


@pytest.mark.parametrize(("code", "mended", "line", "address", "port"), CASES)
def test_dead_service(code: str, mended: str, line: str, address: str, port: int) -> None:
    broken = mended.replace(line, "")
    if "\ttcp dport 22" in line:
        broken = broken.replace("reject\n", f"reject\n{line}")
    found = [{f.code for f in check_source(SourceFile("rules", text)).findings} for text in (mended, broken)]
    assert [code in codes for codes in found] == [False, True]
    assert [_works(text, address, port) for text in (mended, broken)] == [True, False]
