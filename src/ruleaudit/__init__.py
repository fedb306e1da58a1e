"""ruleaudit: a linter for firewall rulesets, and a NOTRACK rewriter that proves what it prints.

    ruleset = ruleaudit.read("rules.v4")
    answer = ruleaudit.suggest("rules.v4")
    print(answer.outcome, answer.text)

Everything returned is an immutable value of `ruleaudit.results`; `SourceError` is raised for what cannot be read, and
`UsageError` for an option that makes no sense. What is wrong inside a ruleset is a finding, never an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ruleaudit.diagnostics import RuleauditError, SourceError, UsageError

if TYPE_CHECKING:
    from ruleaudit.config import Settings
    from ruleaudit.model.fields import Family
    from ruleaudit.model.from_conntrack import Regions
    from ruleaudit.model.ipset import IpSet
    from ruleaudit.model.packet import AskedPacket
    from ruleaudit.model.proxy import Proxy
    from ruleaudit.model.ruleset import Ruleset
    from ruleaudit.model.service import Service
    from ruleaudit.reading import Reading
    from ruleaudit.results import Comparison, FileReport, Tracking
    from ruleaudit.results.observation import Observation
    from ruleaudit.results.packet import Exchange, Followed
    from ruleaudit.results.reach import Reach
    from ruleaudit.results.suggestion import Suggestion
    from ruleaudit.results.table import TableUse
    from ruleaudit.rewrite.plan import Editor
    from ruleaudit.source import SourceFile
    from ruleaudit.syntax.nft_definitions import Load

    Sets = Mapping[str, IpSet]
    Includes = Load

#: no ipset is known: what `-m set` asks for stays open
NO_SETS: Sets = {}

__version__ = "0.1.0"
__all__ = [
    "RuleauditError",
    "SourceError",
    "UsageError",
    "check",
    "compared",
    "connections",
    "elsewhere",
    "explain",
    "follow",
    "load",
    "lower",
    "observe",
    "reach",
    "read",
    "read_haproxy",
    "read_listeners",
    "read_sets",
    "read_table",
    "regions",
    "suggest",
    "verify",
]

#: what a file may be said to be (`--from`)
LANGUAGES = ("iptables-save", "ip6tables-save", "nft", "nft-json")


def load(path: str, name: str | None = None) -> SourceFile:
    """A file's text; `-` is standard input. Raises SourceError."""
    from ruleaudit import source

    return source.read(path, name)


def read_sets(paths: Iterable[str]) -> Sets:
    """The ipsets of files with the text of `ipset save`. Raises SourceError for what cannot be read."""
    return _sets_of([load(path) for path in paths])


def read_table(
    path: str, *, own: Sequence[str] = (), regions: Regions | None = None, passed: Callable[[int], object] | None = None
) -> TableUse:
    """What fills a saved connection table: `conntrack -L` or /proc/net/nf_conntrack, packed with gzip or not.

    It is read in one go, however long it is; `passed` is told how far the reading is, in bytes of the file.
    `own` are addresses of the host that tracked these connections; without any they are learned from the table.
    `regions` are the addresses that rules treat alike (`regions`).
    Raises SourceError for what cannot be read.
    """
    from ruleaudit.analysis.table_use import use_of
    from ruleaudit.model.from_conntrack import table_of
    from ruleaudit.source import blocks

    shown = "<stdin>" if path == "-" else path
    return use_of(table_of(blocks(path, passed or (lambda place: None)), own, regions), shown)


def regions(rulesets: Iterable[Ruleset]) -> Regions:
    """The addresses that some rules treat alike: what `read_table` has to tell apart for them."""
    from ruleaudit.analysis.table_entries import regions as of

    return of(rulesets)


def _sets_of(sources: Sequence[SourceFile]) -> Sets:
    if not sources:
        return NO_SETS
    from ruleaudit.model.from_ipset import sets_of

    known: dict[str, IpSet] = {}
    for source in sources:
        sets, problems = sets_of(source)
        if problems:
            line = source.position(problems[0].span.start).line
            hint = f"; {problems[0].hint}" if problems[0].hint else ""
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise SourceError(f"{source.path}:{line}: {problems[0].message}{hint}{more}")
        known |= sets
    return known


def read_haproxy(paths: Iterable[str]) -> Proxy:
    """What HAProxy listens on and connects to, by its files in this order; of a folder, its *.cfg.

    Variables are those of this process, and a peer is this host if it has its name or that of HAPROXY_LOCALPEER.
    What is wrong in the files is a remark. Raises SourceError for what cannot be read.
    """
    import os
    import socket

    from ruleaudit.discovery import haproxy_files
    from ruleaudit.model.from_haproxy import proxy_of
    from ruleaudit.source import read as read_source

    sources = [read_source(file, ruleset=False) for path in paths for file in haproxy_files(path)]
    return proxy_of(sources, os.environ, socket.gethostname())


def read_listeners(path: str) -> tuple[tuple[Service, ...], tuple[str, ...]]:
    """The services of a list of listening sockets (`ss -lntup`), and a note for each line that looks like no socket.

    Raises SourceError for a file that cannot be read, lists nothing, or holds a socket that is not understood.
    """
    from ruleaudit.model.from_sockets import services_of

    source = load(path)
    services, problems = services_of(source)
    said = []
    for problem in sorted(problems, key=lambda p: not p.refused):
        line = source.position(problem.span.start).line
        text = f"{source.path}:{line}: {problem.message}" + (f"; {problem.hint}" if problem.hint else "")
        if problem.refused:
            raise SourceError(text)
        said.append(text)
    return services, tuple(said)


def lower(
    source: SourceFile, language: str | None = None, sets: Sets = NO_SETS, includes: Includes | None = None
) -> Reading:
    """The tree and the model of a file; `sets` are the ipsets whose contents are known (`read_sets`).

    `includes` gives what an nft ruleset includes; as a rule it is looked for where nft does (`ruleaudit.includes`).
    Raises SourceError for what is no ruleset at all.
    """
    from ruleaudit.model.fields import Family
    from ruleaudit.reading import Reading as Read
    from ruleaudit.syntax import language as languages

    kind = language or languages.sniff(source)
    if kind == "template":
        line = next(n for n, t in enumerate(source.text.splitlines(), 1) if "{{" in t or "{%" in t)
        raise SourceError(f"{source.path}: line {line}: a template; render it first, then check the result")
    if kind in ("nft", "nft-json"):
        return _lower_nft(source, kind, includes)
    if kind == "shell":
        raise SourceError(
            f"{source.path}: line 1: a shell script; run it in a network namespace and give the output of iptables-save"
        )
    if kind == "unknown":
        raise SourceError(
            f"{source.path}: line 1: not a firewall ruleset; expected a line such as *filter or -A INPUT ..."
        )
    from ruleaudit.model.from_iptables import lower as to_model
    from ruleaudit.syntax import iptables

    document = iptables.read(source)
    said = {"iptables-save": Family.IPV4, "ip6tables-save": Family.IPV6}
    family = said[language] if language in said else languages.family(source)
    lowered = to_model(document, family, sets)
    return Read(document, (lowered.ruleset,), lowered.findings)


def _lower_nft(source: SourceFile, kind: str, includes: Includes | None) -> Reading:
    from ruleaudit.model.from_nftables import lower as to_model
    from ruleaudit.reading import Reading as Read

    if kind == "nft":
        from ruleaudit.includes import finder
        from ruleaudit.syntax import nftables

        document = nftables.read(source, includes or finder(source.path))
    else:
        from ruleaudit.syntax import nft_json

        document = nft_json.read(source)
    lowered = to_model(document)
    return Read(document, lowered.rulesets, lowered.findings)


def read(path: str, *, language: str | None = None, sets: Sets = NO_SETS) -> Ruleset:
    """The model of one file, for the first address family that it speaks of; what is wrong in it is found by `check`.

    Raises SourceError.
    """
    return lower(load(path), language, sets).rulesets[0]


def check(
    paths: Iterable[str | SourceFile],
    *,
    language: str | None = None,
    sets: Sets = NO_SETS,
    beside: Sequence[SourceFile] = (),
    settings: Settings | None = None,
    includes: Includes | None = None,
) -> tuple[FileReport, ...]:
    """Every finding about some files; among them and those of `beside` is the twin of the other family looked for.

    `settings` say what to look for (`ruleaudit.config`); nothing is read from a configuration file here.
    `includes` gives what an nft ruleset includes, see `lower`.

    Raises SourceError for a file that cannot be read.
    """
    from ruleaudit.discovery import once, twin
    from ruleaudit.rules.file_report import DEFAULT, check_source

    sources = [load(path) if isinstance(path, str) else path for path in paths]
    reports: list[FileReport] = []
    for source in sources:
        other = twin(source, [*sources, *beside]) if language is None else None
        rules = lower(other, None, sets).rulesets[0] if other else None
        reports.append(check_source(source, language, sets, rules, settings or DEFAULT, includes))
    return tuple(once(reports))


def explain(path: str | SourceFile, *, language: str | None = None, sets: Sets = NO_SETS) -> Tracking:
    """Who needs connection tracking, and why. Raises SourceError for a file that is unreadable or holds errors."""
    from ruleaudit.analysis.tracking import judge, together

    source = load(path) if isinstance(path, str) else path
    reading = lower(source, language, sets)
    _no_errors(source, reading)
    return together([judge(ruleset) for ruleset in reading.rulesets])


def reach(path: str | SourceFile, line: int, *, language: str | None = None, sets: Sets = NO_SETS) -> tuple[Reach, ...]:
    """Who reaches the rules in a line, and what they need of connection tracking, for each address family.

    Raises SourceError for a file that is unreadable or holds errors, and for a line without a rule.
    """
    from ruleaudit.analysis.reach import reach as reach_one
    from ruleaudit.analysis.tracking import judge
    from ruleaudit.analysis.walk import uses_conntrack

    source = load(path) if isinstance(path, str) else path
    reading = lower(source, language, sets)
    _no_errors(source, reading)
    found: list[Reach] = []
    for ruleset in reading.rulesets:
        parts = reading.rules_in(ruleset, line)
        mentioning = any(uses_conntrack(rule) for some in parts for rule in some)
        judged = {j.rule.span: j for j in judge(ruleset).judgements} if mentioning else {}
        found += [reach_one(ruleset, some, judged.get(some[0].span)) for some in parts]
    if not found:
        raise SourceError(f"{source.path}:{line}: {reading.without_rule(line)}")
    return tuple(found)


def follow(
    path: str | SourceFile, packets: Iterable[str], *, language: str | None = None, sets: Sets = NO_SETS
) -> tuple[Followed, ...]:
    """The way of packets, written in the packet language, in every state that they can have.

    Raises SourceError for a file that is unreadable or holds errors, UsageError for packets that cannot be read.
    """
    from ruleaudit.analysis.follow import follow as follow_one

    return tuple(f for ruleset, packet in _asked(path, packets, language, sets) for f in follow_one(ruleset, packet))


def connections(
    path: str | SourceFile, packets: Iterable[str], *, language: str | None = None, sets: Sets = NO_SETS
) -> tuple[Exchange, ...]:
    """The connections that packets open, with replies, later packets and ICMP errors, and whether they work.

    Raises SourceError for a file that is unreadable or holds errors, UsageError for packets that cannot be read or open
    no connection.
    """
    from ruleaudit.analysis.exchange import exchange

    return tuple(exchange(ruleset, packet) for ruleset, packet in _asked(path, packets, language, sets))


def _asked(
    path: str | SourceFile, packets: Iterable[str], language: str | None, sets: Sets
) -> list[tuple[Ruleset, AskedPacket]]:
    """Packets in the packet language, each with the rules of its family."""
    from ruleaudit.syntax.packet import asked_packet
    from ruleaudit.syntax.refusal import Refused

    asked, wrong = [], []
    for text in packets:
        try:
            asked.append(asked_packet(text))
        except Refused as error:
            hint = f"; {error.hint}" if error.hint else ""
            wrong.append(f"{text}: {error.message}{hint}")
    if wrong:
        raise UsageError("\n".join(wrong))
    source = load(path) if isinstance(path, str) else path
    reading = lower(source, language, sets)
    _no_errors(source, reading)
    by_family = {ruleset.family: ruleset for ruleset in reading.rulesets}

    def meets(family: Family | None) -> Ruleset:
        return by_family[family] if family in by_family else reading.rulesets[0]

    return [(meets(packet.family), packet) for packet in asked]


def suggest(
    path: str | SourceFile,
    *,
    ports: Sequence[str] = (),
    everything: bool = False,
    exclude: Sequence[str] = (),
    allow: Sequence[str] = (),
    language: str | None = None,
    menu: bool = True,
    separate: bool = False,
    sets: Sets = NO_SETS,
    services: Sequence[Service] = (),
    table: TableUse | None = None,
    listeners: Sequence[Service] | None = None,
) -> Suggestion:
    """The rewritten ruleset of a file, proved, or why there is none.

    `ports` and `exclude` hold texts such as `443` or `8000-8010`; `allow` may hold `reversed` and `relaxing`.
    `separate`: put the notrack rules of an nft ruleset into a table of their own.
    `services`: what a proxy's configuration, a connection table or a list of sockets says of this host.
    `listeners`: every socket that listens on this host (`read_listeners`): they name services, ports where nothing
    listens stay tracked, and `checked` says whether the services hold their ports.
    `menu`: also try what each flow that stays tracked could gain (`offers`); it takes a proof for each.
    `table`: a connection table of it (`read_table`): what fills it is chosen too, each flow has its entries, and
    `relief` is what would be freed.
    Raises SourceError for a file that cannot be read or holds errors, UsageError for ports that are none.
    """
    from ruleaudit.diagnostics import Severity
    from ruleaudit.includes import finder
    from ruleaudit.model.ruleset import Ruleset as Model
    from ruleaudit.rewrite import listening
    from ruleaudit.rewrite.iptables import Editor as IptablesEditor
    from ruleaudit.rewrite.nft_json import Editor as JsonEditor
    from ruleaudit.rewrite.nftables import Editor as NftEditor
    from ruleaudit.rewrite.suggest import Options
    from ruleaudit.rewrite.suggest import suggest as rewrite
    from ruleaudit.source import SourceFile as File
    from ruleaudit.syntax.nft_tree import NftDocument

    source = path if isinstance(path, File) else load(path)
    includes = finder(source.path)  # each file once: what is proved is what was read
    reading = lower(source, language, sets, includes)
    document = reading.document
    _no_errors(source, reading)
    # what a rewritten text is must not be guessed again
    known = reading.rulesets[0].language
    if isinstance(document, NftDocument):
        edit: Callable[[], Editor] = partial(JsonEditor if document.json else NftEditor, document, separate)
    else:
        if document.listing:
            what = "iptables -S output is no file to load; give that of iptables-save"
            raise SourceError(f"{source.path}: line 1: {what}")
        if reading.rulesets[0].family.value == "ip6":
            known = "ip6tables-save"
        edit = partial(IptablesEditor, document)

    def again(text: str) -> tuple[Model, ...] | None:
        new = lower(File(source.path, text), known, sets, includes)
        return None if any(f.severity is Severity.ERROR for f in new.findings) else new.rulesets

    services = (*services, *listening.naming(listeners or ()))
    if table is not None:
        from ruleaudit.analysis.table_entries import services_of

        services = (*services, *services_of(table, reading.rulesets))
    known_listeners = None if listeners is None else tuple(listeners)
    options = Options(tuple(ports), everything, tuple(exclude), tuple(allow), menu, services, known_listeners)
    suggestion = rewrite(document.source, reading.rulesets, again, edit, options)
    if table is None:
        return suggestion
    from ruleaudit.analysis.table_entries import with_entries

    after = again(suggestion.text) if suggestion.text is not None else None
    return with_entries(suggestion, table, reading.rulesets, after)


def elsewhere(suggestion: Suggestion, path: str) -> str:
    """The new text of a suggestion as a file at `path`: what it includes is found from there too.

    Raises SourceError where there is no rewrite, or the file would be included by itself.
    """
    import os
    from pathlib import PurePath

    from ruleaudit.rewrite.written_out import moved
    from ruleaudit.source import SourceFile as File

    if suggestion.text is None or suggestion.comparison is None:
        raise SourceError(f"{suggestion.source.path}: there is no rewrite")
    source = suggestion.comparison.new.source
    here = PurePath(os.path.abspath(path))
    for include in suggestion.source.includes:
        if here.match(os.path.normpath(os.path.join(os.path.abspath(include.folder), include.pattern))):
            raise SourceError(f'{path}: not written: include "{include.pattern}" of {source.path} would read it')
    if not source.includes or os.path.realpath(here.parent) == os.path.realpath(os.path.dirname(source.path) or "."):
        return suggestion.text
    text = moved(source)
    old, new = (lower(File(at, said), "nft").rulesets for at, said in ((source.path, suggestion.text), (path, text)))
    if [_told(ruleset) for ruleset in old] != [_told(ruleset) for ruleset in new]:
        raise SourceError(f"{path}: not written: what {source.path} includes would not be the same from there")
    return text


def _told(ruleset: Ruleset) -> list[object]:
    """What a ruleset says, wherever it is written."""
    chains = [chain for table in ruleset.tables.values() for chain in table.chains.values()]
    return [(c.table, c.name, c.hook, c.priority, type(c.policy), [rule.key for rule in c.rules]) for c in chains]


def verify(
    old: str | SourceFile, new: str | SourceFile, *, language: str | None = None, sets: Sets = NO_SETS
) -> Comparison:
    """What a change of rules does. Raises SourceError for a file that cannot be read or holds errors."""
    from ruleaudit.source import SourceFile as File

    sources = [one if isinstance(one, File) else load(one) for one in (old, new)]
    return compared(*(lower(source, language, sets) for source in sources))


def compared(old: Reading, new: Reading) -> Comparison:
    """What a change of rules does, of texts that were read. Raises SourceError for one that holds errors."""
    from dataclasses import replace

    from ruleaudit.analysis.compare import compare, in_all

    sides = []
    for reading in (old, new):
        _no_errors(reading.document.source, reading)
        sides.append({ruleset.family: ruleset for ruleset in reading.rulesets})
    before, after = (_in_families(side, other) for side, other in ((sides[0], sides[1]), (sides[1], sides[0])))
    both = [family for family in before if family in after]
    if not both:
        paths = [next(iter(side.values())).source.path for side in sides]
        names = ["IPv4" if family.value == "ip" else "IPv6" for side in sides for family in side]
        raise UsageError(f"{paths[0]} is {names[0]}, and {paths[1]} is {names[-1]}")
    found = in_all([compare(before[family], after[family]) for family in both])
    alone = [f for f in (*before, *after) if f not in both]
    return replace(found, not_compared=tuple("IPv4" if f.value == "ip" else "IPv6" for f in alone))


def observe(
    old: str | SourceFile,
    new: str | SourceFile | None = None,
    *,
    packets: Iterable[str] = (),
    language: str | None = None,
    ipset: Sequence[str] = (),
) -> Observation:
    """What the kernel does with a ruleset, or with two: they are loaded in network namespaces, and packets are sent.

    `packets` are texts of the packet language that are sent besides those that cover the rules, in the state that they
    have when they come alone. `ipset` are files with the text of `ipset save`. Nothing outside of the namespaces is
    touched. Raises SourceError for a file that cannot be read or holds errors.
    """
    from ruleaudit.kernel.observation import Side
    from ruleaudit.kernel.observation import observe as ask
    from ruleaudit.results.observation import Observation as Observed
    from ruleaudit.syntax.iptables import Document
    from ruleaudit.syntax.packet import asked_packet

    listings = [load(path) for path in ipset]
    sets, sides = _sets_of(listings), []
    for one in (old, new):
        if one is None:
            continue
        source = load(one) if isinstance(one, str) else one
        reading = lower(source, language, sets)
        _no_errors(source, reading)
        if isinstance(reading.document, Document) and reading.document.listing:
            return Observed(impossible=f"{source.path} is iptables -S output, which nothing loads")
        if reading.document.source.included:
            return Observed(impossible=f"{source.path} includes other files; give the output of nft list ruleset")
        sides.append(Side(source, reading.rulesets))
    known = "".join(f"{listing.text.rstrip()}\n" for listing in listings)
    return ask(sides, [asked_packet(text) for text in packets], known)


def _in_families(side: dict[Family, Ruleset], other: dict[Family, Ruleset]) -> dict[Family, Ruleset]:
    """The rules of one side for each family that either speaks of: an nft file that has none for one has no rules.

    An iptables-save file says nothing about the other family.
    """
    from dataclasses import replace

    one = next(iter(side.values()))
    silent = [family for family in other if family not in side] if one.is_nft else []
    return side | {family: replace(one, family=family, tables={}, tracks=()) for family in silent}


def _no_errors(source: SourceFile, reading: Reading) -> None:
    from ruleaudit.diagnostics import Severity

    errors = [f for f in reading.findings if f.severity is Severity.ERROR]
    if errors:
        place = reading.document.source.position(errors[0].span.start)
        more = f" (and {len(errors) - 1} more: ruleaudit check {source.path})" if len(errors) > 1 else ""
        raise SourceError(f"{place.path}:{place.line}:{place.column}: {errors[0].message}{more}")
