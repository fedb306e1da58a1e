"""What iptables-restore refuses has an error here, at the line that it names; what it loads has none.

The rulesets are those that people write by hand, anonymise, cut out and paste: each is loaded by both programs.
"""

import re
from pathlib import Path

import pytest

import ruleaudit
from ruleaudit.diagnostics import Severity
from ruleaudit.kernel.namespace import Namespace
from ruleaudit.source import SourceFile
from tests.kernel.lab import VARIANTS

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

#: rules for table filter, one ruleset for each line
FILTER = r"""
-A INPUT -j ACCEPT
-A	INPUT	-p tcp	--dport 80 -j	ACCEPT
  -A INPUT -j ACCEPT
[10:600] -A INPUT -j ACCEPT
[10:600]-A INPUT -j ACCEPT
 [10:600] -A INPUT -j ACCEPT
[10] -A INPUT -j ACCEPT
[10:600 -A INPUT -j ACCEPT
[a:b] -A INPUT -j ACCEPT
[1:2] -A INPUT -c 10 600 -j ACCEPT
-A INPUT -c 10 600 -j ACCEPT
-A INPUT -c 10 -j ACCEPT
-A INPUT -c 10,600 -j ACCEPT
-A INPUT --set-counters 10 600 -j ACCEPT
-t filter -A INPUT -j ACCEPT
-t nat -A PREROUTING -j ACCEPT
-A INPUT -j ACCEPT -t mangle
-A INPUT -p tcp --dprot 80 -j ACCEPT
-A INPUT -p tcp -dport 80 -j ACCEPT
-A INPUT -m state --state ESTBLISHED -j ACCEPT
-A INPUT -m state --state established -j ACCEPT
-A INPUT -m state --state NEW, ESTABLISHED -j ACCEPT
-A INPUT --state NEW -j ACCEPT
-A INPUT -m contrack --ctstate NEW -j ACCEPT
-A INPUT -j ACEPT
-A INPUT -j accept
-A INPUT -j LGO --log-prefix x
-A INPUT -p tpc -j ACCEPT
-A INPUT -p tcp,udp --dport 53 -j ACCEPT
-A INPUT -p 256 -j ACCEPT
-A INPUT ! -p all -j ACCEPT
-A INPUT -p ospf -j ACCEPT
-A INPUT -j
-A INPUT -j ""
-A INPUT -g NOWHERE
-A INPUT -j OUTPUT
-A INPUT -j ACCEPT -j DROP
-A INPUT -j LOG -j ACCEPT
-A INPUT -m mac --mac-source XX:XX:XX:XX:XX:XX -j ACCEPT
-A INPUT -m mac --mac-source 00:11:22:xx:xx:xx -j ACCEPT
-A INPUT -m mac --mac-source 00-11-22-33-44-55 -j ACCEPT
-A INPUT -m mac --mac-source 0:1:2:3:4:5 -j ACCEPT
-A OUTPUT -m mac --mac-source 00:11:22:33:44:55 -j ACCEPT
-A INPUT -s <ip> -j ACCEPT
-A INPUT -s 1.2.3.* -j ACCEPT
-A INPUT -s $ADDRESS -j ACCEPT
-A INPUT -i $DEVICE -j ACCEPT
-A INPUT -p tcp --dport $PORT -j ACCEPT
-A INPUT -s 10.0.0.256 -j ACCEPT
-A INPUT -s 10.0.1 -j ACCEPT
-A INPUT -s 10.0.1/24 -j ACCEPT
-A INPUT -s 10/8 -j ACCEPT
-A INPUT -s 167772161 -j ACCEPT
-A INPUT -s 010.0.0.1 -j ACCEPT
-A INPUT -s 10.0.0.08 -j ACCEPT
-A INPUT -s 10.0.0.0.1 -j ACCEPT
-A INPUT -s 10.0.0. -j ACCEPT
-A INPUT -s 10.0.0.0/33 -j ACCEPT
-A INPUT -s 10.0.0.0/ -j ACCEPT
-A INPUT -s 10.0.0.0//8 -j ACCEPT
-A INPUT -s 10.0.0.0/255.0.255.0 -j ACCEPT
-A INPUT -s 10.0.0.0/255.255.255 -j ACCEPT
-A INPUT -s 10.1.2.3/8 -j ACCEPT
-A INPUT -s 0/0 -j ACCEPT
-A INPUT -s 10.0.0.1, 10.0.0.2 -j ACCEPT
-A INPUT -s 10.0.0.1,10.0.0.2 -j ACCEPT
-A INPUT ! -s 10.0.0.1,10.0.0.2 -j ACCEPT
-A INPUT -s 10.0.0.1-10.0.0.2 -j ACCEPT
-A INPUT -s ! 10.0.0.1 -j ACCEPT
-A INPUT !-s 10.0.0.1 -j ACCEPT
-A INPUT -s 10.0.0.1 !
-A INPUT ! -j ACCEPT
-A INPUT -s 10.0.0.1 -s 10.0.0.2 -j ACCEPT
-A INPUT -p tcp --dport 80 --dport 81 -j ACCEPT
-A INPUT -o eth0 -j ACCEPT
-A OUTPUT -i eth0 -j ACCEPT
-A INPUT -i abcdefghijklmnop -j ACCEPT
-A INPUT -i eth0:1 -j ACCEPT
-A INPUT --dport 80 -j ACCEPT
-A INPUT -p all --dport 80 -j ACCEPT
-A INPUT -p tcp --dport 80,443 -j ACCEPT
-A INPUT -p tcp --dport 80-90 -j ACCEPT
-A INPUT -p tcp --dport 65536 -j ACCEPT
-A INPUT -p tcp --dport 90:80 -j ACCEPT
-A INPUT -p tcp --dport htps -j ACCEPT
-A INPUT -p tcp --dport=80 -j ACCEPT
-A INPUT -p tcp --dpor 80 -j ACCEPT
-A INPUT -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16 -j ACCEPT
-A INPUT -p tcp -m multiport --dports 80, 443 -j ACCEPT
-A INPUT -p tcp -m multiport --dports 80 --sports 90 -j ACCEPT
-A INPUT -m multiport --dports 80 -j ACCEPT
-A INPUT -m comment --comment "open -j ACCEPT
-A INPUT -m comment --comment 'hello world' -j ACCEPT
-A INPUT -m comment --comment a"b c"d -j ACCEPT
-A INPUT -j ACCEPT # ssh
-A INPUT -j ACCEPT ssh
–A INPUT -j ACCEPT
-A INPUT -p tcp –dport 80 -j ACCEPT
-A INPUT -m comment --comment “from the office” -j ACCEPT
-A INPUT -p tcp \
-A INPUT -j LOG --log-prefix "12345678901234567890123456789012"
-A INPUT -j LOG --log-level loud
-A INPUT -m limit --limit 5/m -j ACCEPT
-A INPUT -m limit --limit 5/fortnight -j ACCEPT
-A INPUT -m limit --limit 0/s -j ACCEPT
-A INPUT -m limit --limit 0.5/s -j ACCEPT
-A INPUT -m limit --limit 10001/s -j ACCEPT
-A INPUT -m limit --limit 600000/m -j ACCEPT
-A INPUT -m limit --limit 5/s --limit-burst 10001 -j ACCEPT
-A INPUT -p icmp --icmp-type pingg -j ACCEPT
-A INPUT -p icmp --icmp-type echo-req -j ACCEPT
-A INPUT -m icmp --icmp-type 8 -j ACCEPT
-A INPUT -j REJECT --reject-with tcp-reset
-A INPUT -j REJECT --reject-with icmp-go-away
-A INPUT -j CT --notrack
-A INPUT -m recent --name ssh
-A INPUT -m recent --name ssh --update --seconds 0
-A INPUT -m recent --name ssh --update --seconds 60 --hitcount 4 -j DROP
-A INPUT -m recent --name ssh --rcheck --reap -j DROP
-A INPUT -m hashlimit --hashlimit-upto 5/sec -j ACCEPT
-A INPUT -m time --timestart 8:00 --timestop 18:00 --weekdays Mon,Tue -j ACCEPT
-A INPUT -m time --timestart 25:00 -j ACCEPT
-A INPUT -m time --weekdays Mo,Xy -j ACCEPT
-A INPUT -m time --weekdays mon -j ACCEPT
-A INPUT -m time --monthdays 1,32 -j ACCEPT
-A INPUT -m time --datestart 2026-13-01 -j ACCEPT
-A INPUT -m time --datestart 2026-01-01T10:00 -j ACCEPT
-A INPUT -m tos --tos Fast -j ACCEPT
-A INPUT -m tos --tos minimize-delay -j ACCEPT
-A INPUT -m u32 --u32 "0>>22&0x3C@0=1" -j ACCEPT
-A INPUT -m u32 --u32 "6 & 0xFF = 1 && 4 & 0x3FFF = 0, 0x100:0x200" -j ACCEPT
-A INPUT -m u32 --u32 "0>>22&" -j ACCEPT
-A INPUT -m iprange --src-range 10.0.0.9-10.0.0.1 -j DROP
-A INPUT -m iprange --src-range 10.0.0.0/24 -j DROP
-A INPUT --syn -j ACCEPT
-A INPUT -p tcp --tcp-flags SYN -j ACCEPT
-I INPUT 0 -j ACCEPT
-I INPUT 1 -j ACCEPT
-F INPUT
-L
-P INPUT REJECT
-N INPUT
-E INPUT WEB
-w -A INPUT -j ACCEPT
-v -A INPUT -j ACCEPT
-A INPUT -j ACCEPT -n
iptables -A INPUT -j ACCEPT
-A
-A WEB -j ACCEPT
-A INPUT -A OUTPUT -j ACCEPT
commit
"""
_HEAD = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
WHOLE = {
    "carriage returns": _HEAD.replace("\n", "\r\n") + "-A INPUT -j ACCEPT\r\nCOMMIT\r\n",
    "one carriage return": _HEAD + "-A INPUT -j ACCEPT\r\nCOMMIT\n",
    "a mark of byte order": "\ufeff" + _HEAD + "COMMIT\n",
    "a line of blanks": _HEAD + "   \nCOMMIT\n",
    "an indented comment": _HEAD + "  # web\nCOMMIT\n",
    "an indented COMMIT": _HEAD + " COMMIT\n",
    "a blank behind COMMIT": _HEAD + "COMMIT \n",
    "no COMMIT": _HEAD + "-A INPUT -j ACCEPT\n",
    "no COMMIT, blank lines": _HEAD + "-A INPUT -j ACCEPT\n\n\n",
    "no COMMIT between tables": "*filter\n:INPUT ACCEPT\n*nat\n:PREROUTING ACCEPT\nCOMMIT\n",
    "one table twice": _HEAD + "-A INPUT -j ACCEPT\nCOMMIT\n" + _HEAD + "-A INPUT -j DROP\nCOMMIT\n",
    "a rule in front": "-A INPUT -j ACCEPT\n" + _HEAD + "COMMIT\n",
    "a chain in front": ":INPUT ACCEPT [0:0]\n" + _HEAD + "COMMIT\n",
    "COMMIT in front": "COMMIT\n" + _HEAD + "COMMIT\n",
    "no policy": "*filter\n:INPUT\nCOMMIT\n",
    "no policy but a dash": "*filter\n:INPUT - [0:0]\nCOMMIT\n",
    "no counters": "*filter\n:INPUT DROP\nCOMMIT\n",
    "a policy of its own": "*filter\n:INPUT REJECT [0:0]\nCOMMIT\n",
    "a small policy": "*filter\n:INPUT accept [0:0]\nCOMMIT\n",
    "odd counters": "*filter\n:INPUT ACCEPT [0-0]\nCOMMIT\n",
    "no chain": "*filter\n:\nCOMMIT\n",
    "a blank behind the colon": "*filter\n: INPUT ACCEPT [0:0]\nCOMMIT\n",
    "a chain made twice": "*filter\n-N WEB\n-N WEB\nCOMMIT\n",
    "the policy of a user chain": "*filter\n:WEB - [0:0]\n-P WEB DROP\nCOMMIT\n",
    "a chain of 28 bytes": f"*filter\n:{'a' * 28} - [0:0]\nCOMMIT\n",
    "a chain of 29 bytes": f"*filter\n:{'a' * 29} - [0:0]\nCOMMIT\n",
    "a chain called ACCEPT": "*filter\n:ACCEPT - [0:0]\nCOMMIT\n",
    "a chain that calls itself": "*filter\n:A - [0:0]\n-A A -j A\n-A INPUT -j A\nCOMMIT\n",
    "a loop": "*filter\n:A - [0:0]\n:B - [0:0]\n-A A -j B\n-A B -j A\n-A INPUT -j B\nCOMMIT\n",
    "a loop of gotos": "*filter\n:A - [0:0]\n:B - [0:0]\n-A A -g B\n-A B -g A\n-A INPUT -j B\nCOMMIT\n",
    "a loop that nothing reaches": "*filter\n:A - [0:0]\n:B - [0:0]\n-A A -j B\n-A B -j A\nCOMMIT\n",
    "a used chain deleted": "*filter\n:A - [0:0]\n-A INPUT -j A\n-X A\nCOMMIT\n",
    "an unknown table": "*fliter\n:INPUT ACCEPT [0:0]\nCOMMIT\n",
    "table security": "*security\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -j ACCEPT\nCOMMIT\n",
    "PREROUTING in security": "*security\n-A PREROUTING -p tcp -j ACCEPT\nCOMMIT\n",
    "PREROUTING in filter": "*filter\n-A PREROUTING -p tcp -j ACCEPT\nCOMMIT\n",
    "DROP in nat": "*nat\n-A PREROUTING -j DROP\nCOMMIT\n",
    "REJECT in raw": "*raw\n-A PREROUTING -j REJECT\nCOMMIT\n",
    "DNAT in POSTROUTING": "*nat\n-A POSTROUTING -j DNAT --to-destination 10.0.0.1\nCOMMIT\n",
    "DNAT to a port, without -p": "*nat\n-A PREROUTING -j DNAT --to-destination 10.0.0.1:80\nCOMMIT\n",
    "MASQUERADE in a chain for PREROUTING": "*nat\n:X - [0:0]\n-A X -j MASQUERADE\n-A PREROUTING -j X\nCOMMIT\n",
    "MASQUERADE in a chain for later": "*nat\n:X - [0:0]\n-A PREROUTING -j X\n-A X -j MASQUERADE\nCOMMIT\n",
    "MASQUERADE in a chain of nobody": "*nat\n:X - [0:0]\n-A X -j MASQUERADE\nCOMMIT\n",
    "CT --helper without -p": "*raw\n-A PREROUTING -j CT --helper ftp\nCOMMIT\n",
    "two marks": "*mangle\n-A PREROUTING -j MARK --set-mark 1 --and-mark 2\nCOMMIT\n",
    "TPROXY without -p": "*mangle\n-A PREROUTING -j TPROXY --on-port 80 --tproxy-mark 1\nCOMMIT\n",
    "an unknown type of service": "*mangle\n-A INPUT -j TOS --set-tos Fast\nCOMMIT\n",
}  # fmt: skip
RULESETS = {**{line: f"{_HEAD}{line}\nCOMMIT\n" for line in FILTER.strip("\n").split("\n")}, **WHOLE}

#: what only one of the programs refuses, and what we say of it there
_ONE_OF_THEM = (
    "a chain called ACCEPT",
    "-E INPUT WEB",
)


def refused_at(text: str, variant: str, folder: Path) -> int | None:
    """The line that iptables-restore names as the one that it cannot load; None if it loads the text."""
    namespace = Namespace()
    environment = {"XTABLES_LOCKFILE": str(folder / "lock")}
    try:
        namespace.run(f"iptables-{variant}-restore", text=text, environment=environment)
    except RuntimeError as error:
        message = str(error).removesuffix(text)
        found = re.search(r"occurred at line: (\d+)|line (\d+)", message)
        assert found, message
        return int(found[1] or found[2])
    finally:
        namespace.close()
    return None


def error_lines(source: SourceFile) -> set[int]:
    (report,) = ruleaudit.check([source])
    return {source.position(f.span.start).line for f in report.findings if f.severity is Severity.ERROR}


@pytest.mark.parametrize("variant", VARIANTS)
def test_errors_are_where_the_programs_have_theirs(variant: str, tmp_path: Path) -> None:
    wrong = {}
    for name, text in RULESETS.items():
        refused = refused_at(text, variant, tmp_path)
        ours = error_lines(SourceFile("rules.v4", text))
        # what the kernel refuses is found at COMMIT, by iptables-legacy always
        at_commit = refused is not None and text.split("\n")[refused - 1] == "COMMIT"
        right = not ours if refused is None else bool(ours) if at_commit else refused in ours
        if not right and name not in _ONE_OF_THEM:
            wrong[name] = (refused, ours)
    assert wrong == {}
