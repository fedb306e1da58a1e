"""Entries of connection tables in every form in which people save them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruleaudit.model.from_conntrack import table_of
from ruleaudit.syntax.conntrack import Entry, Reading, entries
from tests.syntax import corpus

TCP = (
    "tcp      6 431995 ESTABLISHED src=192.0.2.1 dst=192.0.2.2 sport=4000 dport=443"
    " src=192.0.2.2 dst=192.0.2.1 sport=443 dport=4000 [ASSURED] mark=0 use=1"
)


def read(text: str, size: int = 1 << 20) -> tuple[list[Entry], Reading]:
    reading = Reading()
    data = text.encode()
    return list(entries((data[i : i + size] for i in range(0, len(data), size)), reading)), reading


def one(text: str) -> Entry:
    found, reading = read(text)
    assert (len(found), reading.unread) == (1, [])
    return found[0]


FORMS = {
    "plain": TCP,
    "extended": f"ipv4     2 {TCP}",
    "with id": f"{TCP} id=4119775316",
    "with labels": f"{TCP} labels=a,b",
    "accounting": TCP.replace("dport=443 ", "dport=443 packets=4 bytes=236 ").replace(
        "dport=4000", "dport=4000 packets=3 bytes=9"
    ),
    "kernel": f"ipv4     2 {TCP.replace(' use', ' zone=0 delta-time=3 use')}",
    "ktimestamp": f"{TCP} delta-time=5 [start=Mon Nov 23 06:40:49 2026]",
    "secctx": TCP.replace("use", "secctx=system_u:object_r:ssh_server_packet_t:s0 use"),
    "vendor": TCP.replace("[ASSURED]", "[ASSURED] [FASTNAT] [RTCACHE o33/r37]") + " nmark=256 sc=0 nomac slan",
    "CRLF": f"{TCP}\r\n",
    "quoted mark": f"> {TCP}",
    "wrapped": TCP.replace(" sport", "\nsport").replace(" dport", "\ndport"),
    "quoted-printable": TCP.replace("=", "=3D").replace("dport=3D40", "dport=3D40=\n"),
    "save": "-A -t 431995 -u SEEN_REPLY,ASSURED -s 192.0.2.1 -d 192.0.2.2 -r 192.0.2.2 -q 192.0.2.1 -p tcp"
    " --sport 4000 --dport 443 --reply-port-src 443 --reply-port-dst 4000 --state ESTABLISHED",
    "xml": '<?xml version="1.0" encoding="utf-8"?>\n<conntrack>\n<flow><meta direction="original">'
    '<layer3 protonum="2" protoname="ipv4"><src>192.0.2.1</src><dst>192.0.2.2</dst></layer3>'
    '<layer4 protonum="6" protoname="tcp"><sport>4000</sport><dport>443</dport></layer4></meta>'
    '<meta direction="reply"><layer3 protonum="2" protoname="ipv4"><src>192.0.2.2</src><dst>192.0.2.1</dst></layer3>'
    '<layer4 protonum="6" protoname="tcp"><sport>443</sport><dport>4000</dport></layer4></meta>'
    '<meta direction="independent"><state>ESTABLISHED</state><timeout>431995</timeout><assured/></meta></flow>\n'
    "</conntrack>\n",
}
SAME = Entry(
    b"tcp", b"ESTABLISHED", b"192.0.2.1", b"192.0.2.2", b"443", b"4000", b"192.0.2.2", b"192.0.2.1",
    False, False, True, False, b"0",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [7, 1 << 20])
def test_an_entry_is_the_same_in_every_form(form: str, size: int) -> None:
    found, reading = read(FORMS[form], size)
    assert found == [SAME]
    assert reading.unread == []


@pytest.mark.parametrize("form", ["plain", "kernel", "save", "quoted-printable"])
def test_many_entries_one_after_the_other(form: str) -> None:
    found, reading = read((FORMS[form] + "\n") * 50)
    assert found == [SAME] * 50
    assert reading.unread == []


def test_xml_in_one_line_and_in_many() -> None:
    flow = FORMS["xml"].split("\n")[2]
    for text in (f"<conntrack>{flow * 3}</conntrack>", "<conntrack>\n" + flow.replace("><", ">\n<") * 3):
        found, reading = read(text)
        assert found == [SAME] * 3
        assert reading.unread == []


def test_what_entries_without_ports_or_answers_look_like() -> None:
    ping = one(
        "icmp     1 29 src=192.0.2.1 dst=192.0.2.2 type=8 code=0 id=77 [UNREPLIED]"
        " src=192.0.2.2 dst=192.0.2.1 type=0 code=0 id=77 mark=0 use=2"
    )
    assert (ping.protocol, ping.port, ping.unreplied, ping.translated) == (b"icmp", b"8", True, False)
    gre = one(
        "ipv4     2 gre      47 49 timeout=0, stream_timeout=0 src=192.0.2.1 dst=192.0.2.2 srckey=0x1 dstkey=0x2"
        " [UNREPLIED] src=192.0.2.2 dst=192.0.2.1 srckey=0x2 dstkey=0x1 mark=0 zone=0 use=2"
    )
    assert (gre.protocol, gre.port) == (b"gre", b"")
    esp = one("unknown  50 599 src=192.0.2.1 dst=192.0.2.2 [UNREPLIED] src=192.0.2.2 dst=192.0.2.1 mark=0 use=1")
    assert (esp.protocol, esp.port, esp.state) == (b"50", b"", b"")


def test_offloaded_entries_have_neither_time_nor_state() -> None:
    for mark in ("[OFFLOAD]", "[HW_OFFLOAD]"):
        entry = one(TCP.replace("431995 ESTABLISHED ", "").replace("[ASSURED]", mark))
        assert (entry.state, entry.offloaded) == (b"", True)


def test_nat_and_zones() -> None:
    assert one(TCP.replace("src=192.0.2.2", "src=10.0.0.9")).translated
    assert one(TCP.replace("dport=4000", "dport=1024")).translated
    assert one(TCP.replace("use=", "zone=7 use=")).zone == b"7"
    assert one(TCP.replace("dport=443 ", "dport=443 zone-orig=3 ")).zone == b"3"
    saved = one(FORMS["save"].replace("-r 192.0.2.2", "-g 10.0.0.9"))
    assert saved.translated and saved.reply_source == b"10.0.0.9"


def test_the_last_line_of_the_tool_is_no_entry_and_says_how_many_there_were() -> None:
    found, reading = read(f"{TCP}\nconntrack v1.4.7 (conntrack-tools): 45 flow entries have been shown.\n")
    assert (len(found), reading.announced, reading.unread) == (1, 45, [])


def test_it_may_stand_in_the_middle_of_an_entry() -> None:
    said = "conntrack v1.4.7 (conntrack-tools): 2 flow entries have been shown.\n"
    for at in (0, 40, len(TCP)):
        found, reading = read(f"{TCP}\n{TCP[:at]}{said}{TCP[at:]}\n{TCP}\n")
        assert (found, reading.announced, reading.unread) == ([SAME] * 3, 2, [])


def test_what_is_no_entry_is_named_with_its_line() -> None:
    cut = TCP[:60]
    found, reading = read(f"\n# a comment\n{TCP}\n    [NEW] {TCP}\nnet.netfilter.nf_conntrack_count = 45\n{cut}")
    assert len(found) == 1
    assert [line for line, _ in reading.unread] == [2, 4, 5, 6]
    assert reading.unread[-1][1] == cut


def test_only_the_first_lines_are_kept() -> None:
    _, reading = read("nonsense\n" * 1000)
    assert (len(reading.unread), reading.more) == (5, 995)
    _, reading = read("x" * (5 << 20), 1 << 16)
    assert len(reading.unread) + reading.more < 8
    assert all(len(text) <= 120 for _, text in reading.unread)


@pytest.mark.parametrize(
    "text", ["<conntrack><flow></flow>", "<flow><meta></flow>", "tcp 6 src= dst=", "-A -p", "\0\xff"]
)
def test_damaged_texts_are_no_entries(text: str) -> None:
    found, reading = read(text)
    assert found == []
    assert reading.unread


PIECES = [" ", "\n", "=", "=\n", "=3D", "src=", "dport=", "zone=", "[", "<flow", "</flow>", "9" * 30, "-s ", "\0"]
PIECES += ["\udcff", "\u00b2"]
DAMAGE = st.lists(st.tuples(st.integers(0, 999), st.sampled_from(PIECES), st.integers(0, 30)))


@given(st.sampled_from(sorted(FORMS)), DAMAGE)
def test_whatever_is_damaged_every_entry_is_counted_twice_alike(form: str, damage: list[tuple[int, str, int]]) -> None:
    text = f"{FORMS[form]}\n" * 3
    for place, piece, left_out in damage:
        at = place % (len(text) + 1)
        text = text[:at] + piece + text[at + left_out :]
    data = text.encode("utf-8", "surrogateescape")
    table = table_of([data])
    assert sum(some.entries for some in table.held) == sum(some.entries for some in table.classes)
    assert table == table_of(data[i : i + 11] for i in range(0, len(data), 11))


#: lines of the corpus that its index counts as entries: the tool's last line, and halves of two wrapped entries
NONE = {"conntrack_L-plain-with-trailer.txt": 1, "proc-nf_conntrack-mail-quotedprintable.txt": 2}
#: the index counts lines with `src=`, which these forms do not have
ELSEWISE = {"conntrack_L-plain.xml": 45, "conntrack_L-save-acct.txt": 45}


@pytest.mark.skipif(corpus.MISSING, reason=corpus.REASON)
def test_every_table_of_the_corpus_has_as_many_entries_as_its_index_says() -> None:
    rows = [line.split("\t") for line in (corpus.ROOT / "index.tsv").read_text().splitlines()]
    told = {row[0]: int(row[4]) for row in rows if row[1] == "conntrack"}
    assert len(told) > 20
    for path, number in told.items():
        name = path.rpartition("/")[2]
        reading = Reading()
        found = list(entries([(corpus.ROOT / path).read_bytes()], reading))
        assert len(found) == ELSEWISE.get(name, number - NONE.get(name, 0)), path
        if number and "truncated" not in name:
            assert reading.unread == [], path
