"""Which language a file is written in, and for which address family."""

import re
from pathlib import PurePath
from typing import Literal

from ruleaudit.model.fields import Family
from ruleaudit.source import SourceFile

Language = Literal["iptables-save", "nft", "nft-json", "template", "shell", "unknown"]

_SAVE = re.compile(
    r"^(?:\*[a-z]+[ \t\r]*$|[ \t]*+(?:\[[0-9]+:[0-9]+\][ \t]*+|-t[ \t]+\S+[ \t]+)?-[AIPN][ \t]+\S+|COMMIT[ \t\r]*$"
    r"|:[A-Za-z][\w.-]*[ \t]+(?:ACCEPT|DROP|-)\b)",
    re.M,
)
_NFT = re.compile(
    r"^[ \t]*+(?:(?:(?:add|create|delete|destroy)[ \t]++)?table[ \t]++(?:(?:ip|ip6|inet|arp|bridge|netdev)[ \t]++)?"
    r"[^ \t\r\n{;]++[ \t]*+[{;]?[ \t\r]*+(?:#.*)?$"
    r"|flush[ \t]+ruleset\b|include[ \t]+\"[^\"\n]+\"|#!.*\bnft\b"
    r"|(?:add|insert)[ \t]+(?:rule|chain|set|map|element)[ \t])",
    re.M,
)
_SHELL = re.compile(
    r"^[ \t]*(?:\S*/)?(?:sudo[ \t]+)?\$?\{?(?:ip6?tables|IPT(?:ABLES)?|ip6?t)\}?[ \t]+(?:-[A-Za-z]|--)", re.M | re.I
)
_NFT_NAME = re.compile(r"\.nft$|^nftables[\w.-]*\.conf$")


def sniff(source: SourceFile) -> Language:
    """The language of a file; `template` wins over the language that the template will render to."""
    text = source.text
    if "{{" in text or "{%" in text:
        return "template"
    start = text.lstrip("\ufeff \t\r\n")
    if start[:1] == "{" and '"nftables"' in start[:4096]:
        return "nft-json"
    if start.startswith("#!") and not re.match(r"#!.*(?:\bnft\b|ip6?tables-restore)", start):
        return "shell"
    saved = _SAVE.search(text)
    nft = _NFT.search(text, 0, saved.start() if saved else len(text))
    if saved and not (nft and not re.search(r"^\*|^COMMIT", text, re.M)):
        return "iptables-save"
    if nft:
        return "nft"
    if _SHELL.search(text):
        return "shell"
    # a file of defines, includes or comments alone looks like nothing
    return "nft" if _NFT_NAME.search(PurePath(source.path).name) else "unknown"


_IPV6_NAME = re.compile(r"^ip6tables|\bv6$|rules\.v6\b|6\.rules$", re.I)
_IPV6_COMMENT = re.compile(r"^#.*\bip6tables(?:-\w+)*-save\b", re.M)
_IPV4_COMMENT = re.compile(r"^#.*\biptables(?:-\w+)*-save\b", re.M)
_ADDRESS_OPTION = r"\s(?:-[sd]|--(?:source|destination|src|dst|to-destination|to-source))\s+"
_IPV4_CONTENTS = re.compile(rf"^(?!#).*?{_ADDRESS_OPTION}[0-9]+\.[0-9]+\.", re.M)
_IPV6_CONTENTS = re.compile(
    rf"^(?!#).*?(?:{_ADDRESS_OPTION}\[?[0-9a-fA-F]*:[0-9a-fA-F:]*"
    r"|\b(?:icmp6|ipv6-icmp|icmpv6)\b|\bicmp6-[a-z-]+|\s-m\s+(?:rt|hl|ipv6header|frag|hbh|mh)\s)",
    re.M,
)


def family(source: SourceFile) -> Family:
    """The family that a file is for: by its name, else by the comment of iptables-save, else by its contents."""
    if _IPV6_NAME.search(PurePath(source.path).name) or (
        "ip6tables" in source.text and _IPV6_COMMENT.search(source.text)
    ):
        return Family.IPV6
    if ("iptables" in source.text and _IPV4_COMMENT.search(source.text)) or _IPV4_CONTENTS.search(source.text):
        return Family.IPV4
    return Family.IPV6 if _IPV6_CONTENTS.search(source.text) else Family.IPV4
