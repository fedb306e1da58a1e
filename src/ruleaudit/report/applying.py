"""How to load a rewritten ruleset with a way back, and how to see that it worked: commands in plain sh.

The way back starts on its own, detached from the terminal, so that a firewall that locks the administrator out undoes
itself. A saved ruleset without a raw table gets an empty one in front: restoring it then takes the notrack rules away.
"""

import os
import re
from collections.abc import Iterator
from shlex import quote

from ruleaudit.model.fields import Family
from ruleaudit.report.style import Style
from ruleaudit.report.wording import wrapped
from ruleaudit.results import Flow, Suggestion

_SECONDS = 60
_FLUSH = re.compile(r"^[ \t]*flush[ \t]+(?:ruleset|table)\b", re.M)
_GOING_BACK = "Going back cuts the connections opened meanwhile if sysctl net.netfilter.nf_conntrack_tcp_loose is 0."


def apply(suggestion: Suggestion, options: str, style: Style) -> Iterator[str]:
    """The section APPLY WITH A WAY BACK; `options` are those that the suggestion was asked for with."""
    path = suggestion.source.path
    new = f"{path}.new" if path not in ("-", "<stdin>") else "rules.new"
    if suggestion.ruleset.is_nft:
        yield from _apply_nft(suggestion, options, new, style)
        return
    tool = "iptables" if suggestion.ruleset.family is Family.IPV4 else "ip6tables"
    yield _headline(style)
    yield f"  ruleaudit suggest {quote(path)}{options} -o {quote(new)}"
    yield f"  {tool}-restore --test < {quote(new)}"
    if "raw" not in suggestion.ruleset.tables:
        yield f"  {tool} -t raw -S        # must show -P lines alone: rules of another program there would be removed"
    before, keep = f"/var/lib/{tool}.before", f"/run/{tool}.keep"
    yield f"  rm -f {keep}"
    yield f"  {{ {tool}-save | grep -q '^\\*raw' || printf '*raw\\nCOMMIT\\n'; {tool}-save; }} > {before}"
    timer = f"sleep {_SECONDS}; test -e {keep} || {tool}-restore < {before}"
    yield f"  setsid sh -c '{timer}' < /dev/null > /dev/null 2>&1 &"
    yield f"  {tool}-restore < {quote(new)}"
    yield f"  touch {keep}        # within {_SECONDS} s, from a NEW ssh session: it works, keep it"
    yield f"  {tool}-restore < {before}        # or back to the old rules, at any later time"
    yield wrapped(_GOING_BACK, "  ")


def _headline(style: Style) -> str:
    said = "  (as root on the box; the old rules come back by themselves unless you say keep)"
    return style.bold("APPLY WITH A WAY BACK") + said


def _apply_nft(suggestion: Suggestion, options: str, new: str, style: Style) -> Iterator[str]:
    """A file of nft is one transaction; without `flush ruleset` in it, it would be added to what is loaded."""
    json = suggestion.ruleset.language == "nft-json"
    before, keep = "/var/lib/nft.before", "/run/nft.keep"
    text = suggestion.text or ""
    yield _headline(style)
    yield f"  ruleaudit suggest {quote(suggestion.source.path)}{options} -o {quote(new)}"
    folder, new = _started_in(suggestion, new)
    nft, begin, end = ("nft", "", "") if folder is None else ("nft -I .", f"(cd {quote(folder)} && ", ")")
    if folder == ".":
        begin, end = "", ""
    yield f"  {begin}{'nft -j' if json else nft} -c -f {quote(new)}{end}"
    yield f"  rm -f {keep}"
    yield f"  {{ echo flush ruleset; nft -s list ruleset; }} > {before}"
    yield f"  setsid sh -c 'sleep {_SECONDS}; test -e {keep} || nft -f {before}' < /dev/null > /dev/null 2>&1 &"
    if json:
        flushes = '"flush"' in text
        yield f"  {'' if flushes else 'nft flush ruleset; '}nft -j -f {quote(new)}"
    elif _FLUSH.search(text):
        yield f"  {begin}{nft} -f {quote(new)}{end}"
    else:
        flushing = f"{{ echo flush ruleset; cat {quote(new)}; }} | {nft} -f -"
        yield f"  {begin}{flushing}{end}        # the file does not flush by itself"
    yield f"  touch {keep}        # within {_SECONDS} s, from a NEW ssh session: it works, keep it"
    yield f"  nft -f {before}        # or back to the old rules, at any later time"
    yield wrapped(_GOING_BACK, "  ")


def _started_in(suggestion: Suggestion, new: str) -> tuple[str | None, str]:
    """The folder to start nft in, where the new file still includes something by a relative name, and its name there.

    nft 1.0.8 and older do not look beside the file; -I . has all versions look there.
    """
    source = suggestion.comparison.new.source if suggestion.comparison else suggestion.source
    if all(include.pattern.startswith("/") for include in source.includes):
        return None, new
    return os.path.dirname(new) or ".", os.path.basename(new)


def afterwards(suggestion: Suggestion, style: Style) -> Iterator[str]:
    """The section AND THEN."""
    path = suggestion.source.path
    yield style.bold("AND THEN")
    commands = [("conntrack -C", "falls as old entries time out")]
    remark = "or drop these entries at once; the connections survive"
    for deletion in _deletions(suggestion.flows):
        commands.append((deletion, remark))
        remark = ""
    if path not in ("-", "<stdin>"):
        commands.append(
            (f"ruleaudit verify {quote(path)} {quote(path + '.new')}", "what changed, for the change ticket")
        )
    width = min(56, max(len(command) for command, _ in commands))
    for command, remark in commands:
        yield f"  {command:<{width}}  # {remark}" if remark else f"  {command}"


def _deletions(flows: tuple[Flow, ...]) -> Iterator[str]:
    for flow in flows:
        single = [port for port in flow.ports if "-" not in port]
        if flow.protocol in ("tcp", "udp", "udplite", "sctp", "dccp"):
            yield from (f"conntrack -D -p {flow.protocol} --orig-port-dst {port}" for port in single[:4])
