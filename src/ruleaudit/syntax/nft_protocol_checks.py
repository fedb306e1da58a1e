"""What a rule is about: a test of the family or the protocol holds for what is behind it, and excludes others."""

from ruleaudit.source import Span
from ruleaudit.syntax.nft_tree import (
    Braces,
    Concat,
    Lookup,
    Operation,
    Selector,
    Several,
    Table,
    Value,
    Word,
)
from ruleaudit.syntax.nft_types import TYPES, number
from ruleaudit.syntax.nft_value_checks import Types, ValueCheck
from ruleaudit.syntax.problem import Problem

_TRANSPORTS = ("tcp", "udp", "udplite", "sctp", "dccp", "ah", "esp", "comp", "icmp", "icmpv6", "igmp")
_NUMBERS = {
    "1": "icmp", "2": "igmp", "6": "tcp", "17": "udp", "33": "dccp", "50": "esp", "51": "ah", "58": "icmpv6",
    "ipv6-icmp": "icmpv6", "132": "sctp", "136": "udplite",
}  # fmt: skip
_PROTOCOL_KEYS = ("meta l4proto", "ip protocol", "ip6 nexthdr")
_BRIDGE_KEYS = ("meta ibrname", "meta obrname", "meta ibridgename", "meta obridgename")
#: families whose packets are seen with their Ethernet header first
_LINK_FAMILIES = ("bridge", "netdev")
_NETWORKS = {
    "ipv4": "ip", "ipv6": "ip6", "ip": "ip", "ip6": "ip6", "arp": "arp", "0x0800": "ip", "0x800": "ip", "0x86dd": "ip6",
    "0x0806": "arp", "0x806": "arp",
}  # fmt: skip
#: the types of ICMP messages that have a field at all; two headers of one layout overlay each other
_ICMP_FIELDS: dict[str, tuple[int | str, ...]] = {
    "icmp mtu": (3, "destination-unreachable"),
    "icmp gateway": (5, "redirect"),
    "icmpv6 mtu": (2, "packet-too-big"),
    "icmpv6 packet-too-big": (2, "packet-too-big"),
    "icmpv6 id": (128, 129, "echo-request", "echo-reply"),
    "icmpv6 sequence": (128, 129, "echo-request", "echo-reply"),
}
_ECHO = ("icmp id", "icmp sequence")
#: types that surely have neither identifier nor sequence number
_NO_ECHO = (
    "destination-unreachable", "source-quench", "redirect", "time-exceeded", "parameter-problem", "3", "4", "5", "11",
    "12",
)  # fmt: skip


class ProtocolCheck(ValueCheck):
    """Checks what is looked at; `network` and `transport` are what is known so far of the packets of the rule.

    network    ip, ip6, arp, or "" where it may be any
    transport  the protocols that it may be; none where nothing was said
    """

    def __init__(self, table: Table, problems: list[Problem], complete: bool, defined: frozenset[str]) -> None:
        super().__init__(table, problems, complete, defined)
        self.begin()

    def begin(self) -> None:
        """A rule begins: only the family of the table is known."""
        self.family = self.table.family if self.table.family in ("ip", "ip6", "arp") else ""
        self.network = self.family
        self.link = ""  #: the only Ethernet protocol that the rule is about
        self.framed = False  #: whether an Ethernet header was looked at
        self.transport: frozenset[str] = frozenset()
        self.ported = False
        self.icmp: tuple[str, ...] = ()  #: the types of ICMP messages that the rule is about

    def types(self, value: Value) -> Types:
        """The types of what is looked at; those of some selectors hang on the family."""
        if isinstance(value, Selector) and _of_either_family(value.text):
            return (TYPES[{"ip": "ipv4_addr", "ip6": "ipv6_addr"}[self.network]] if self._of_ip() else None,)
        return super().types(value)

    def _of_ip(self) -> bool:
        return self.network in ("ip", "ip6")

    def selectors(self, value: Value) -> None:
        """Everything that is looked at in a value."""
        match value:
            case Selector(text, span):
                self.selector(text, span)
            case Concat(parts) | Several(parts):
                for part in parts:
                    self.selectors(part)
            case Operation(_, left, right, _):
                self.selectors(left)
                self.selectors(right)
            case Lookup(key, _, _):
                self.selectors(key)
            case _:
                pass

    def selector(self, text: str, span: Span) -> None:
        """One thing that is looked at."""
        header, _, rest = text.partition(" ")
        option = rest.startswith("option ")
        self.framed = self.framed or header in ("ether", "vlan")
        if header in ("ip", "ip6", "arp"):
            self._header(header, span)
        elif header == "vlan":
            self._vlan(text, span)
        elif header in _TRANSPORTS and not option:
            self._transport(header, text, span)
        if header in _TRANSPORTS or text in _PROTOCOL_KEYS:
            self.ported = True
        if option and header == "tcp":
            self._tcp_option(text, rest.split(" "), span)
        elif header == "ct":
            self._connection(text, span)
        elif text == "meta nfproto" and self.table.family in ("ip", "ip6", "arp"):
            self.say(span, f"meta nfproto says nothing new in a table of family {self.table.family}")
        elif header == "fib":
            self._fib(text, span)
        elif text in _BRIDGE_KEYS and self.table.family not in _LINK_FAMILIES:
            self.say(span, f"{text} is of tables of family bridge")
        elif header == "rt" and text.endswith("nexthop"):
            self._next_hop(text, span)

    def _header(self, header: str, span: Span) -> None:
        if self.network and self.network != header:
            family = self.network == self.table.family
            where = f"a table of family {self.network}" if family else f"a rule about {self.network}"
            self.say(span, f"{header} cannot be looked at in {where}")
            return
        if header == "arp" and self.table.family == "inet" and not self.network and not self.framed:
            self.say(span, "arp cannot be looked at in a table of family inet", "write a table of family arp")
            return
        self.network = header

    def _vlan(self, text: str, span: Span) -> None:
        if self.link in ("ip", "ip6", "arp"):
            self.say(span, f"{text} cannot be looked at: the rule is about Ethernet frames of {self.link}, untagged")

    def _transport(self, header: str, text: str, span: Span) -> None:
        if (self.transport and header not in self.transport) or len(self.transport) > 1:
            known = " and ".join(sorted(self.transport))
            hint = "write th for a port of any of them" if len(self.transport) > 1 and text.endswith("port") else ""
            self.say(span, f"{text} cannot be looked at: the rule is about {known} before it", hint)
        self.transport = frozenset((header,))
        if header in ("icmp", "icmpv6", "igmp") and not self.network:
            self.network = "ip6" if header == "icmpv6" else "ip"
        if self.icmp and not self._has_field(text):
            self.say(span, f"messages of type {' or '.join(self.icmp)} have no {text}")

    def _has_field(self, text: str) -> bool:
        if text in _ECHO:
            return not all(word in _NO_ECHO for word in self.icmp)
        has = _ICMP_FIELDS.get(text)
        return has is None or any(word in has or number(word) in has for word in self.icmp)

    def _connection(self, text: str, span: Span) -> None:
        words = text.split(" ")
        if words[-1] not in ("saddr", "daddr"):
            return
        family = words[-2] if words[-2] in ("ip", "ip6") else ""
        if not family and not self._of_ip():
            hint = f"write ct original ip {words[-1]} or ct original ip6 {words[-1]}"
            self.say(span, f"{text} needs to know the family", hint.replace("original", words[1]))
        elif family and self._of_ip() and family != self.network:
            self.say(span, f"{text} in a rule about {self.network}")

    def _next_hop(self, text: str, span: Span) -> None:
        family = text.split(" ")[1]
        if family == "nexthop" and not self._of_ip():
            self.say(span, "rt nexthop needs to know the family", "write rt ip nexthop or rt ip6 nexthop")
        elif family != "nexthop" and self.table.family in ("ip", "ip6") and self.table.family != family:
            self.say(span, f"{text} in a table of family {self.table.family}")

    def _tcp_option(self, text: str, words: list[str], span: Span) -> None:
        kind = number(words[1].split(",")[0].strip("@"))
        field = words[2] if len(words) > 2 else ""
        if kind is not None and kind > 255:
            self.say(span, f"there is no TCP option {kind}: the number of an option is at most 255")
        elif field in _OPTION_FIELDS and words[1] not in _OPTION_FIELDS[field]:
            of = ", ".join(_OPTION_FIELDS[field])
            self.say(span, f'the TCP option {words[1]} has no field "{field}"', f"{field} is of {of}")

    def _fib(self, text: str, span: Span) -> None:
        keys = text.split(" ")[1:-1:2]
        if sum(key in ("saddr", "daddr") for key in keys) != 1:
            self.say(span, "fib needs saddr or daddr, one of them")
        elif "iif" in keys and "oif" in keys:
            self.say(span, "fib takes iif or oif, not both")
        elif "oif" in keys and text.split(" ")[-1] in ("oif", "oifname"):
            self.say(span, "fib cannot look for the outgoing device where it is given already", "leave out . oif")

    def depend(self, left: Value, operator: str, right: Value) -> None:
        """What follows from a test for those behind it."""
        if not isinstance(left, Selector) or operator not in ("", "=="):
            return
        words = _constants(right)
        if not words:
            return
        text = left.text
        if text in _PROTOCOL_KEYS:
            protocols = frozenset(_NUMBERS.get(word, word) for word in words)
            if protocols <= set(_TRANSPORTS) and not self.transport:
                self.transport = protocols
        elif text in ("icmp type", "icmpv6 type"):
            self.icmp = tuple(words) if all(words) else ()
        elif text in ("meta nfproto", "ether type") or (
            text == "meta protocol" and self.table.family in _LINK_FAMILIES
        ):
            known = {_NETWORKS.get(word, "") for word in words}
            network = known.pop() if len(known) == 1 else ""
            if network:  # the last test counts, even one that can never match
                self.network = network
            elif text == "ether type":
                self.network = self.family
            self.link = network if text == "ether type" else ""


#: the fields of TCP options, and the options that have them; kind and length are of all
_OPTION_FIELDS = {
    "size": ("maxseg", "mss"),
    "count": ("window",),
    "left": ("sack", "sack0", "sack1", "sack2", "sack3"),
    "right": ("sack", "sack0", "sack1", "sack2", "sack3"),
    "tsval": ("timestamp",),
    "tsecr": ("timestamp",),
    "subtype": ("mptcp",),
}


def _of_either_family(selector: str) -> bool:
    """Whether a selector is an address of the family that the rule is about."""
    words = selector.split(" ")
    return selector == "rt nexthop" or (words[0] == "ct" and len(words) == 3 and words[2] in ("saddr", "daddr"))


def _constants(value: Value) -> list[str]:
    """The words that a value may be; "" for what is no single word."""
    match value:
        case Word(text, _, _):
            return [text]
        case Braces(elements, _):
            return [word for element in elements for word in _constants(element.key)]
        case _:
            return [""]
