"""The entries of a connection table as people save it, read while it comes.

`conntrack -L` in all its forms (plain, `-o extended,id,timestamp,labels`, `-o save`, `-o xml`), and the files
`/proc/net/nf_conntrack` and `/proc/net/ip_conntrack`, also out of a mail (quoted-printable, wrapped). What a vendor's
kernel adds is passed by.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Entry(NamedTuple):
    """One connection; addresses and ports as they are written.

    protocol    its name, or its number where it has none: `tcp`, `50`
    port        the destination port of the original direction; of ICMP the type; empty: there is none
    sport       the source port; empty: there is none
    translated  the answers are not those of the original direction turned round: NAT
    state       as written; empty for protocols without states
    """

    protocol: bytes
    state: bytes
    source: bytes
    target: bytes
    port: bytes
    sport: bytes
    reply_source: bytes
    reply_target: bytes
    translated: bool
    unreplied: bool
    assured: bool
    offloaded: bool
    zone: bytes


@dataclass
class Reading:
    """What a table held besides its entries.

    unread     the first lines that are no entry: (line, text)
    more       how many further ones there are
    announced  how many entries the dump's last line says it has
    """

    unread: list[tuple[int, str]] = field(default_factory=list)
    more: int = 0
    announced: int | None = None

    def no_entry(self, line: int, text: bytes) -> None:
        if len(self.unread) < _SHOWN:
            self.unread.append((line, text.decode("utf-8", "replace").strip()[:_WIDTH]))
        else:
            self.more += 1


#: so many lines that are no entry are kept, cut to so many characters
_SHOWN, _WIDTH = 5, 120
#: a line, or a flow of XML, that is longer is none
_LONGEST = 1 << 20
#: a wrapped entry has no more lines
_MOST_LINES = 12

_COMMON = re.compile(
    rb"(?:ipv[46] +\d+ )?[a-z][\w-]* +(\d{1,3}) (?:\d+ )?([A-Z_\d]* ?)"
    rb"src=(\S+) dst=(\S+) sport=(\d{1,5}) dport=(\d{1,5}) (?:packets=\d+ bytes=\d+ )?(\[UNREPLIED\] )?"
    rb"src=(\S+) dst=(\S+) sport=(\d{1,5}) dport=(\d{1,5})(?![\w-])(.*)"
)
_STATE = re.compile(rb"[A-Z][A-Z_\d]{1,30}")
_NAME = re.compile(rb"[a-z\d][a-z\d-]{0,15}")
_START = re.compile(rb"(?:ipv[46]\s+\d+\s+)?[a-z][\w-]*\s+\d+\s")
_GOES_ON = re.compile(rb"\s*(?:[\w-]+=|\[)")
_TRAILER = re.compile(
    rb"(.*?)conntrack v\S+ \(conntrack-tools\): (\d{1,12}) flow entries have been shown\.\s*", re.DOTALL
)
_SAVED = re.compile(rb"(?:-[AI]|--add|--create)\s")
_ZONE = re.compile(rb"[\s]zone=(\d{1,5})\b")

#: names that are no number here; every other protocol is called by its number
_NAMES = {
    b"1": b"icmp",
    b"6": b"tcp",
    b"17": b"udp",
    b"33": b"dccp",
    b"47": b"gre",
    b"58": b"icmpv6",
    b"132": b"sctp",
    b"136": b"udplite",
}


def entries(blocks: Iterable[bytes], reading: Reading) -> Iterator[Entry]:
    """Every entry of a text that comes in pieces; what is none is noted."""
    numbered = _numbered(blocks, reading)
    for number, line in numbered:
        if not line.strip():
            continue
        if line.lstrip(b"\xef\xbb\xbf \t").startswith((b"<?xml", b"<conntrack", b"<flow")):
            yield from _xml(number, line, (text for _, text in numbered), reading)
        else:
            yield from _text(number, line, numbered, reading)


def _numbered(blocks: Iterable[bytes], reading: Reading) -> Iterator[tuple[int, bytes]]:
    """The lines with their numbers, without the tool's own last line; that may stand in the middle of another one,
    where standard error went into the same file.
    """
    begun = b""
    for number, line in enumerate(_lines(blocks), 1):
        if b" flow entries have been" in line and (told := _TRAILER.match(line)):
            reading.announced = int(told[2])
            begun = told[1] + line[told.end() :]
            continue
        yield number, begun + line
        begun = b""
    if begun:
        yield number, begun


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        yield from lines
        if len(rest) > _LONGEST:
            yield rest[:_WIDTH]
            rest = b""
    if rest:
        yield rest


def _text(number: int, line: bytes, more: Iterator[tuple[int, bytes]], reading: Reading) -> Iterator[Entry]:
    """Entries line by line. What is wrapped, or of an unusual form, is collected until the next entry begins."""
    common, names = _COMMON.match, _NAMES
    begun: list[bytes] = []
    at = number
    while True:
        found = common(line)
        if found is not None:
            if begun:
                yield from _collected(at, begun, reading)
                begun = []
            of, state, source, target, sport, dport, unreplied, back, to, rsport, rdport, rest = found.groups()
            zone = b"0"
            if b" zone=" in rest:
                known = _ZONE.search(rest)
                zone = known[1] if known else zone
            yield Entry(
                names.get(of, of),
                state.rstrip(),
                source,
                target,
                dport,
                sport,
                back,
                to,
                back != target or to != source or rsport != dport or rdport != sport,
                unreplied is not None,
                b"[ASSURED]" in rest,
                b"OFFLOAD]" in rest,
                zone,
            )
        else:
            bare = line.lstrip(b"> \t").rstrip()
            if _START.match(bare):
                yield from _collected(at, begun, reading)
                begun, at = [bare], number
            elif begun and bare and len(begun) < _MOST_LINES and _goes_on(begun, bare):
                begun.append(bare)
            else:
                yield from _collected(at, begun, reading)
                begun = []
                yield from _other(number, bare, reading)
        following = next(more, None)
        if following is None:
            break
        number, line = following
    yield from _collected(at, begun, reading)


def _other(number: int, line: bytes, reading: Reading) -> Iterator[Entry]:
    """A line that does not begin as an entry does."""
    if not line:
        return
    entry = _saved(line) if _SAVED.match(line) else None
    if entry is not None:
        yield entry
    else:
        reading.no_entry(number, line)


def _collected(number: int, lines: list[bytes], reading: Reading) -> Iterator[Entry]:
    if lines:
        entry = _joined(lines)
        if entry is None:
            reading.no_entry(number, lines[0])
        else:
            yield entry


def _goes_on(begun: list[bytes], line: bytes) -> bool:
    """Whether a line is the next part of a wrapped entry."""
    return bool(_GOES_ON.match(line)) or begun[-1].endswith(b"=") or _joined(begun) is None


def _joined(lines: list[bytes]) -> Entry | None:
    """The entry that some lines hold together; None if it is not whole."""
    text = lines[0]
    quoted = b"=3D" in text
    for line in lines[1:]:
        text = text[:-1] + line if quoted and text.endswith(b"=") else text + b" " + line
    return _spelled(text.replace(b"=3D", b"=") if quoted else text)


def _spelled(text: bytes) -> Entry | None:
    """An entry word by word: what stands before the addresses, and twice addresses and ports."""
    words = text.split()
    if words[0] in (b"ipv4", b"ipv6"):
        words = words[2:]
    if len(words) < 2 or not _is_number(words[1], 3):
        return None
    state = b""
    sides: list[dict[bytes, bytes]] = []
    zone = b"0"
    for word in words[2:]:
        key, equals, value = word.partition(b"=")
        if key == b"src" and equals:
            sides.append({key: value})
        elif not equals and not sides and _STATE.fullmatch(key):
            state = key
        elif key in (b"zone", b"zone-orig"):
            zone = value
        elif equals and sides:
            sides[-1].setdefault(key, value)
    return _entry(words[1], state, sides, zone, text)


def _entry(number: bytes, state: bytes, sides: list[dict[bytes, bytes]], zone: bytes, text: bytes) -> Entry | None:
    """An entry of its parts; None unless both directions are there."""
    if len(sides) != 2 or not all(side.get(key) for side in sides for key in (b"src", b"dst")):
        return None
    there, back = sides
    ports = (there.get(b"sport"), there.get(b"dport"))
    back_ports = (back.get(b"sport"), back.get(b"dport"))
    if any(ports + back_ports) and not all(_is_number(port, 5) for port in (*ports, *back_ports)):
        return None
    translated = back[b"src"] != there[b"dst"] or back[b"dst"] != there[b"src"] or back_ports != ports[::-1]
    return Entry(
        _NAMES.get(number, number),
        state if _STATE.fullmatch(state) else b"",
        there[b"src"],
        there[b"dst"],
        there.get(b"dport") or there.get(b"type") or b"",
        there.get(b"sport") or b"",
        back[b"src"],
        back[b"dst"],
        translated,
        b"[UNREPLIED]" in text,
        b"[ASSURED]" in text,
        b"OFFLOAD]" in text,
        zone if _is_number(zone, 5) else b"0",
    )


def _is_number(text: bytes | None, digits: int) -> bool:
    return text is not None and text.isdigit() and len(text) <= digits


_OPTIONS = {
    b"-s": (0, b"src"),
    b"-d": (0, b"dst"),
    b"--sport": (0, b"sport"),
    b"--dport": (0, b"dport"),
    b"--icmp-type": (0, b"type"),
    b"-r": (1, b"src"),
    b"-q": (1, b"dst"),
    b"-g": (1, b"src"),  # where NAT sends it
    b"-n": (1, b"dst"),  # whom NAT lets it come from
    b"--reply-port-src": (1, b"sport"),
    b"--reply-port-dst": (1, b"dport"),
}


def _saved(line: bytes) -> Entry | None:
    """An entry of `conntrack -o save`: the options by which it would be made again."""
    words = line.split()
    sides: list[dict[bytes, bytes]] = [{}, {}]
    said: dict[bytes, bytes] = {}
    for option, value in zip(words, words[1:], strict=False):
        if option in _OPTIONS:
            side, key = _OPTIONS[option]
            sides[side][key] = value
        elif option.startswith(b"-"):
            said[option] = value
    name = said.get(b"-p", b"")
    number = next((n for n, known in _NAMES.items() if known == name), name)
    flags = said.get(b"-u", b"").split(b",")
    marks = (b"" if b"SEEN_REPLY" in flags else b"[UNREPLIED]") + (b"[ASSURED]" if b"ASSURED" in flags else b"")
    marks += b"[OFFLOAD]" if b"OFFLOAD" in flags else b""
    zone = said.get(b"-w", said.get(b"--orig-zone", b"0"))
    return _entry(number, said.get(b"--state", b""), sides, zone, marks) if _NAME.fullmatch(name) else None


# -- XML ----------------------------------------------------------------------------------------------

_META = re.compile(rb'<meta direction="(original|reply)">(.*?)</meta>', re.DOTALL)
_LAYER = re.compile(rb'<layer4 protonum="(\d+)"')
_VALUE = re.compile(rb"<(src|dst|sport|dport|type|zone|state)>([^<]*)</")


def _xml(number: int, first: bytes, more: Iterator[bytes], reading: Reading) -> Iterator[Entry]:
    """Entries of `conntrack -o xml`: one for each `flow`, however it is broken into lines."""
    rest, line, begun = first, number, number
    while True:
        *flows, rest = rest.split(b"</flow>")
        for flow in flows:
            entry = _flow(flow)
            if entry is None:
                reading.no_entry(begun, flow)
            else:
                yield entry
            begun = line
        if len(rest) > _LONGEST:
            reading.no_entry(begun, rest)
            rest = b""
        following = next(more, None)
        if following is None:
            break
        line += 1
        if b"<flow" not in rest:
            begun = line
        rest = rest + b"\n" + following if b"<flow" in rest else following
    if b"<flow" in rest:
        reading.no_entry(begun, rest)


def _flow(text: bytes) -> Entry | None:
    layer = _LAYER.search(text)
    if layer is None or b"<flow type=" in text:
        return None
    sides = {direction: dict(_VALUE.findall(said)) for direction, said in _META.findall(text)}
    others = dict(_VALUE.findall(_META.sub(b"", text)))
    if len(sides) != 2:
        return None
    zone = others.get(b"zone", sides[b"original"].get(b"zone", b"0"))
    marks = b"".join(b"[%b]" % name.upper() for name in (b"unreplied", b"assured") if b"<%b/>" % name in text)
    marks += b"[OFFLOAD]" if b"offload/>" in text else b""
    both = [sides[b"original"], sides[b"reply"]]
    return _entry(layer[1], others.get(b"state", b""), both, zone, marks)
