"""Lists of listening sockets, as several versions of ss and netstat print them and people paste them."""

import pytest

from ruleaudit.model.from_sockets import services_of
from ruleaudit.source import SourceFile
from ruleaudit.syntax.sockets import read

#: iproute2 6.1, as root
SS = """\
Netid State  Recv-Q Send-Q             Local Address:Port  Peer Address:PortProcess
udp   UNCONN 0      0                     0.0.0.0%e0:68         0.0.0.0:*    users:(("dhclient",pid=611,fd=9))
udp   UNCONN 0      0                              *:51820            *:*
udp   UNCONN 0      0             127.0.0.53%lo:53         0.0.0.0:*    users:(("systemd-resolve",pid=7,fd=13))
udp   ESTAB  0      0                    192.0.2.5:53274     192.0.2.9:53   users:(("dig",pid=9984,fd=16))
tcp   LISTEN 0      4096                0.0.0.0:44    0.0.0.0:* users:(("sshd",pid=812,fd=3),("systemd",pid=1,fd=96))
tcp   LISTEN 0      511                       *:80          *:* users:(("nginx",pid=9,fd=6),("nginx",pid=10,fd=6))
tcp   LISTEN 0      511                         [::]:81            [::]:*    users:(("my \\"own\\" web",pid=9,fd=6))
tcp   LISTEN 0      128           [::ffff:192.0.2.5]:83               *:*
tcp   LISTEN 0      128        [fe80::1:62ff:fe24:7]%e0:546        [::]:*
"""
KNOWN = {
    ("udp", 68, "0.0.0.0", "e0", ("dhclient",)),
    ("udp", 51820, "*", "", ()),
    ("udp", 53, "127.0.0.53", "lo", ("systemd-resolve",)),
    ("tcp", 44, "0.0.0.0", "", ("sshd", "systemd")),
    ("tcp", 80, "*", "", ("nginx",)),
    ("tcp", 81, "::", "", ('my \\"own\\" web',)),
    ("tcp", 83, "192.0.2.5", "", ()),
    ("tcp", 546, "fe80::1:62ff:fe24:7", "e0", ()),
}


def said(text: str) -> set[tuple[str, int, str, str, tuple[str, ...]]]:
    sockets, problems = read(SourceFile("ss.txt", text))
    assert problems == ()
    return {(s.protocol, s.port, str(s.address or "*"), s.interface, s.programs) for s in sockets}


def told(text: str) -> list[tuple[str, bool]]:
    source = SourceFile("ss.txt", text)
    _, problems = read(source)
    return [(f"{source.position(p.span.start).line}: {p.message}", p.refused) for p in problems]


def test_what_ss_prints() -> None:
    assert said(SS) == KNOWN


@pytest.mark.parametrize(
    "text",
    [
        "".join(SS.splitlines(keepends=True)[1:]),
        SS.replace("\n", "\r\n"),
        SS.replace(" users:", "\n  users:"),
        SS.replace(" users:", "\nusers:").replace("Recv-Q Send-Q", "Recv-Q\nSend-Q"),
        "\n".join("  ".join(line.split()) for line in SS.splitlines()),
        SS.replace(":*  ", ":*   uid:0 ino:16047694 sk:1008 cgroup:/system.slice/some.scope <->\n\t bbr cwnd:10  "),
    ],
    ids=["no heading", "CRLF", "broken before users", "everything broken", "no columns", "-e -i"],
)
def test_other_shapes_of_the_same(text: str) -> None:
    assert said(text) == KNOWN


def test_one_kind_only_has_no_first_column() -> None:
    assert said("State  Recv-Q Send-Q Local Address:Port\nLISTEN 0 128 *:80 *:*\n") == {("tcp", 80, "*", "", ())}
    assert said("UNCONN 0 0 0.0.0.0:53 0.0.0.0:*\n") == {("udp", 53, "0.0.0.0", "", ())}


def test_names_of_ports_are_those_of_our_own_table() -> None:
    text = "tcp LISTEN 0 128 0.0.0.0:http 0.0.0.0:*\nudp UNCONN 0 0 *:domain *:*\n"
    assert {(p, port) for p, port, *_ in said(text)} == {("tcp", 80), ("udp", 53)}


def test_the_star_of_old_versions_is_ipv4() -> None:
    """iproute2 4.9 (Debian 9): `*` is 0.0.0.0, and `:::80` may serve both families."""
    text = "tcp LISTEN 0 128 *:22 *:*\ntcp LISTEN 0 128 :::22 :::*\ntcp LISTEN 0 128 :::80 :::*\n"
    assert [(p, a) for p, a in sorted((p, a) for _, p, a, *_ in said(text))] == [(22, "*"), (22, "0.0.0.0"), (80, "*")]


def test_netstat() -> None:
    text = """\
Active Internet connections (only servers)
Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name
tcp        0      0 0.0.0.0:80              0.0.0.0:*               LISTEN      984/nginx: master p
tcp        0      0 192.0.2.5:22            198.51.100.7:4242       ESTABLISHED 812/sshd: root
tcp6       0      0 :::81                   :::*                    LISTEN      -
tcp6       0      0 2001:db8::5:84          :::*                    LISTEN      9984/python3
udp        0      0 0.0.0.0:53              0.0.0.0:*                           884/named
Active UNIX domain sockets (only servers)
Proto RefCnt Flags       Type       State         I-Node   PID/Program name     Path
unix  2      [ ACC ]     STREAM     LISTENING     16047694 812/sshd             /run/sock
"""
    assert said(text) == {
        ("tcp", 80, "0.0.0.0", "", ("nginx",)),
        ("tcp", 81, "*", "", ()),
        ("tcp", 84, "2001:db8::5", "", ("python3",)),
        ("udp", 53, "0.0.0.0", "", ("named",)),
    }


def test_what_is_not_understood_has_its_line() -> None:
    lines = ["root@web:~# ss -lntup", "tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:*", "tcp LISTEN 0 128 web.example:81 *:*"]
    lines += ["tcp LISTEN 0 128 0.0.0.0:99999 *:*", "tcp6 0 0 fe80::e887:62ff:fe2:546 :::* LISTEN", "tcp LISTEN 0"]
    assert told("\n".join(lines)) == [
        ('1: unexpected "root@web:~# ss -lntup": expected a socket, as ss -lntup prints it', False),
        ('3: "web.example" is not an address', True),
        ('4: bad port "99999": at most 65535', True),
        ('5: "fe80::e887:62ff:fe2:546" may be cut off by netstat', True),
        ('6: "tcp LISTEN 0" is not the whole line of a socket', True),
    ]


def test_a_list_without_listeners() -> None:
    assert told("") == [("1: no list of sockets", True)]
    connected = "tcp ESTAB 0 0 192.0.2.5:22 198.51.100.7:4242\n"
    assert told(connected) == [("1: no socket that listens is listed", True)]


def test_services_are_what_others_can_reach() -> None:
    services, problems = services_of(SourceFile("ss.txt", SS))
    assert problems == ()
    assert {(s.protocol, s.ports, tuple(map(str, s.addresses)), s.interface, s.origin) for s in services} == {
        ("udp", ((68, 68),), ("0.0.0.0/0",), "e0", "ss.txt:2 dhclient"),
        ("udp", ((51820, 51820),), (), "", "ss.txt:3"),
        ("tcp", ((44, 44),), ("0.0.0.0/0",), "", "ss.txt:6 sshd"),
        ("tcp", ((80, 80),), (), "", "ss.txt:7 nginx"),
        ("tcp", ((81, 81),), ("::/0",), "", 'ss.txt:8 my \\"own\\" web'),
        ("tcp", ((83, 83),), ("192.0.2.5/32",), "", "ss.txt:9"),
        ("tcp", ((546, 546),), ("fe80::1:62ff:fe24:7/128",), "e0", "ss.txt:10"),
    }


@pytest.mark.parametrize(
    ("who", "origin"),
    [
        ('users:(("sshd",pid=8,fd=3))', "ss.txt:1 sshd"),
        ('users:(("dropbear",pid=8,fd=3))', "ss.txt:1 sshd (dropbear)"),
        ('users:(("systemd",pid=1,fd=96)) sk:1 cgroup:/system.slice/ssh.socket <->', "ss.txt:1 sshd (systemd)"),
        ('users:(("sshd-agent",pid=8,fd=3))', "ss.txt:1 sshd-agent"),
    ],
)  # fmt: skip
def test_who_is_ssh(who: str, origin: str) -> None:
    services, _ = services_of(SourceFile("ss.txt", f"tcp LISTEN 0 128 0.0.0.0:44 0.0.0.0:* {who}\n"))
    assert [s.origin for s in services] == [origin]
