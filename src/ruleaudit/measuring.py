"""`capacity`: what the machine or a snapshot says of its connection table, and what to do, as text or JSON."""

import re
from argparse import Namespace
from collections.abc import Iterator

import ruleaudit
from ruleaudit import machine
from ruleaudit.answer import DONE, Answer, style
from ruleaudit.capacity import capacity
from ruleaudit.diagnostics import SourceError, UsageError
from ruleaudit.model.conntrack import Conntrack
from ruleaudit.results import Capacity, Suggestion, TableUse

_NFT_TABLE = re.compile(r"^table (\S+) (\S+) \{", re.M)
_IPTABLES_TABLE = re.compile(r"^\*(\w+)$", re.M)


def measure(asked: Namespace) -> Answer:
    if asked.snapshot_script:
        if asked.conntrack:
            raise UsageError("--snapshot-script prints the script, and reads nothing")
        return Answer(DONE, machine.script())
    answer, remarks = _snapshot(asked) if asked.snapshot else (_live(asked), "")
    from ruleaudit.report import capacity_json, capacity_text

    if asked.format == "json":
        result = capacity_json.render(answer)
    else:
        result = capacity_text.render(answer, formulas=bool(asked.verbose), style=style(asked))
    return Answer(DONE, result, capacity_text.summary(answer) + remarks)


def _live(asked: Namespace) -> Capacity:
    """This host's; a table that was saved elsewhere can be read where there is none."""
    try:
        table = machine.live()
    except SourceError:
        if not asked.conntrack:
            raise
        return capacity(None, ruleaudit.read_table(asked.conntrack))
    path = asked.conntrack
    use = ruleaudit.read_table(path, own=table.addresses) if path else _sampled(table) if table.count else None
    return capacity(machine.again(table), use)


def _sampled(table: Conntrack) -> TableUse | None:
    entries = machine.sample()
    if not entries:
        return None
    from ruleaudit.analysis.table_use import use_of
    from ruleaudit.model.from_conntrack import table_of

    return use_of(table_of([entries], table.addresses))


def _snapshot(asked: Namespace) -> tuple[Capacity, str]:
    """What a snapshot holds, and what it says beside."""
    table = machine.snapshot(asked.snapshot)
    path = asked.conntrack or machine.beside(asked.snapshot, "table")
    use = ruleaudit.read_table(path, own=table.addresses) if path else None
    if use is None or not use.entries:
        return capacity(table, use), ""
    try:
        suggestions = list(_suggestions(asked))
    except SourceError as error:
        return capacity(table, use), f"note: what can leave the table is not known: {error}\n"
    return capacity(table, use, suggestions), ""


def _suggestions(asked: Namespace) -> Iterator[Suggestion]:
    """What can be done with the rules of a snapshot. Raises SourceError where one file does not hold all of them."""
    names = ("rules.v4", "rules.v6", "ruleset.nft")
    paths = {name: machine.beside(asked.snapshot, name) for name in names}
    texts = {name: ruleaudit.load(path).text if path else "" for name, path in paths.items()}
    families = (("ip", "rules.v4"), ("ip6", "rules.v6"))
    of_iptables = {(family, table) for family, name in families for table in _IPTABLES_TABLE.findall(texts[name])}
    of_nft = set(_NFT_TABLE.findall(texts["ruleset.nft"])) - of_iptables
    ruled = [name for _, name in families if re.search("^-A ", texts[name], re.M)]
    if of_nft and ruled:
        raise SourceError(f"both {' and '.join(ruled)} and ruleset.nft hold rules")
    sets = ruleaudit.read_sets(asked.ipset)
    for name in ["ruleset.nft"] if of_nft else ruled:
        path = paths[name]
        if path is not None:
            language = {"rules.v4": "iptables-save", "rules.v6": "ip6tables-save"}.get(name, "nft")
            yield ruleaudit.suggest(path, language=language, menu=False, sets=sets)
