"""`capacity`: what the machine or a snapshot says of its connection table, and what to do, as text or JSON."""

import re
from argparse import Namespace
from collections.abc import Iterator

import ruleaudit
from ruleaudit import machine
from ruleaudit.answer import DONE, Answer, saved_table, style
from ruleaudit.capacity import Capacity
from ruleaudit.diagnostics import SourceError, UsageError
from ruleaudit.model.conntrack import Conntrack
from ruleaudit.results.table import TableUse
from ruleaudit.sizing import capacity
from ruleaudit.source import SourceFile

_NFT_TABLE = re.compile(r"^table (\S+) (\S+) \{", re.M)
_BY_HAND = "conntrack -L | head -n 20000 | ruleaudit capacity --conntrack -"
_IPTABLES_TABLE = re.compile(r"^\*(\w+)$", re.M)


def measure(asked: Namespace) -> Answer:
    """What `ruleaudit capacity` answers."""
    if asked.snapshot_script:
        if asked.conntrack:
            raise UsageError("--snapshot-script prints the script, and reads nothing")
        return Answer(DONE, machine.script())
    answer, remarks = _snapshot(asked) if asked.snapshot else _live(asked)
    from ruleaudit.report import capacity_json, capacity_text

    if asked.format == "json":
        result = capacity_json.render(answer)
    else:
        result = capacity_text.render(answer, formulas=bool(asked.verbose), style=style(asked))
    return Answer(DONE, result, capacity_text.summary(answer) + remarks)


def _live(asked: Namespace) -> tuple[Capacity, str]:
    """This host's, and what is said beside; a table that was saved elsewhere can be read on any machine."""
    use = saved_table(asked.conntrack, (), asked.quiet) if asked.conntrack else None
    try:
        table = machine.live()
    except SourceError:
        if use is None:
            raise
        return capacity(None, use), ""
    if use is not None and use.table.own and not {str(address) for address in use.table.own} & {*table.addresses}:
        whose = ", ".join(map(str, use.table.own[:3]))
        return capacity(None, use), f"note: {use.path} is the table of another host ({whose}): its size is not known\n"
    remark = ""
    if use is None and table.count:
        use = _sampled(table)
        remark = "" if use else f"note: what fills the table cannot be read; try: {_BY_HAND}\n"
    return capacity(machine.again(table), use), remark


def _sampled(table: Conntrack) -> TableUse | None:
    entries = machine.sample()
    if not entries:
        return None
    from ruleaudit.analysis.table_use import use_of
    from ruleaudit.model.from_conntrack import table_of

    return use_of(table_of([entries], table.addresses))


def _snapshot(asked: Namespace) -> tuple[Capacity, str]:
    """What a snapshot holds, and what is said beside."""
    table = machine.snapshot(asked.snapshot)
    path = asked.conntrack or machine.beside(asked.snapshot, "table")
    if path is None:
        return capacity(table), ""
    sets = ruleaudit.read_sets(asked.ipset)
    try:
        rules = list(_rules(asked.snapshot))
        rulesets = [one for source, language in rules for one in ruleaudit.lower(source, language, sets).rulesets]
        use = saved_table(path, rulesets, asked.quiet, table.addresses)
        suggestions = [
            ruleaudit.suggest(source, language=language, menu=False, sets=sets, table=use) for source, language in rules
        ]
        return capacity(table, use, suggestions), ""
    except SourceError as error:
        remark = f"note: what can leave the table is not known: {error}\n"
        return capacity(table, saved_table(path, (), asked.quiet, table.addresses)), remark


def _rules(folder: str) -> Iterator[tuple[SourceFile, str]]:
    """The rulesets of a snapshot, each with its language. Raises SourceError where one does not hold all rules."""
    names = ("rules.v4", "rules.v6", "ruleset.nft")
    paths = {name: machine.beside(folder, name) for name in names}
    sources = {name: ruleaudit.load(path) for name, path in paths.items() if path is not None}
    texts = {name: sources[name].text if name in sources else "" for name in names}
    families = (("ip", "rules.v4"), ("ip6", "rules.v6"))
    # nft shows the tables of iptables too
    of_iptables = {(family, table) for family, name in families for table in _IPTABLES_TABLE.findall(texts[name])}
    of_nft = set(_NFT_TABLE.findall(texts["ruleset.nft"])) - of_iptables
    ruled = [name for _, name in families if re.search("^-A ", texts[name], re.M)]
    if of_nft and ruled:
        raise SourceError(f"both {' and '.join(ruled)} and ruleset.nft hold rules")
    for name in ["ruleset.nft"] if of_nft else ruled:
        yield sources[name], {"rules.v4": "iptables-save", "rules.v6": "ip6tables-save"}.get(name, "nft")
