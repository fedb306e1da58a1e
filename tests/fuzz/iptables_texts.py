"""Texts of iptables-save made of the language's own words."""

from hypothesis import strategies as st

from ruleaudit.matches import MATCHES
from ruleaudit.syntax.iptables import TABLES
from ruleaudit.targets import TARGETS

_VALUES = (
    "80", "80:90", "90:80", "http", "0x50", "1,2,3", "10.0.0.1", "10.0.0.5/8", "1.2.3.4/255.0.255.0", "2001:db8::/32",
    "x.x.x.x", "::", "eth0", "eth+", "+", "SYN,ACK", "ALL", "NONE", "NEW,ESTABLISHED", "INVALID", "UNTRACKED",
    "0x1/0xff", "5/min", "src,dst", "tcp", "udp", "icmp", "ipv6-icmp", "all", "255", "-1", "99999999999999999999",
    "8/0", "any", "ACCEPT", "DROP", "LOCAL",
    "aa:bb:cc:dd:ee:ff", "tcp-reset", "10.0.0.1-10.0.0.9", "10.0.0.1:80-90", "[::1]:80",
    '"a b"', '""', '"', "\\", "é", "\udcff", "=", "%", "-", "--", "!", ",", ":", "/", "A", "INPUT", "OUTPUT",
)  # fmt: skip
_GENERAL = ("-A", "-I", "-D", "-R", "-N", "-P", "-E", "-X", "-F", "-p", "-s", "-d", "-i", "-o", "-f", "-c", "-t", "-4",
            "-6", "-m", "-j", "-g", "--append", "--protocol", "--src", "--in-int")  # fmt: skip
_EXTENSIONS = (*MATCHES.items(), *TARGETS.items())
_WORDS = st.one_of(
    st.sampled_from(_VALUES),
    st.sampled_from(_GENERAL),
    st.sampled_from([name for name, _ in _EXTENSIONS]),
    st.sampled_from(sorted({s for _, e in _EXTENSIONS for o in e.options for s in (o.name, *o.aliases)})),
    st.text(max_size=6),
)


@st.composite
def _matches(draw: st.DrawFn) -> list[str]:
    """One extension with some of its own options, so that its reader is reached."""
    name, extension = draw(st.sampled_from(_EXTENSIONS))
    words = ["-m" if name in MATCHES else "-j", name]
    for option in draw(st.lists(st.sampled_from(extension.options), max_size=3)) if extension.options else ():
        words += ["!"] if draw(st.booleans()) else []
        words += [option.name, *(draw(st.sampled_from(_VALUES)) for _ in range(option.arguments))]
    return words


@st.composite
def _lines(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(("rule", "rule", "rule", "table", "chain", "words", "set", "text")))
    match kind:
        case "rule":
            parts = draw(st.lists(st.one_of(_matches(), _WORDS.map(lambda w: [w])), max_size=5))
            start = draw(st.sampled_from(("-A INPUT", "-A OUTPUT -p tcp", "[1:2] -A A", "-I INPUT 1", "-t nat -A A")))
            return " ".join([start, *(word for part in parts for word in part)])
        case "table":
            return draw(
                st.sampled_from([f"*{t}" for t in (*TABLES, "x")] + ["COMMIT", " COMMIT", "#x", "", "-P INPUT DROP"])
            )
        case "chain":
            name = draw(st.sampled_from(("INPUT", "PREROUTING", "A", "ACCEPT", "")))
            return f":{name} {draw(st.sampled_from(('ACCEPT', 'DROP', '-', 'X', '')))} [0:0]"
        case "set":
            values = draw(st.lists(st.sampled_from(_VALUES), max_size=3))
            return draw(st.sampled_from(("create a hash:ip,port ", "add a ", "create b list:set "))) + ",".join(values)
        case "words":
            return draw(st.sampled_from((" ", "  ", "\t"))).join(draw(st.lists(_WORDS, max_size=8)))
        case _:
            return draw(st.text(max_size=30))


def files() -> st.SearchStrategy[str]:
    """A file."""
    return st.builds(str.join, st.sampled_from(("\n", "\n", "\r\n", "\n\n")), st.lists(_lines(), max_size=12))
