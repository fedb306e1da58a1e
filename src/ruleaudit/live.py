"""The rules that run on this host, held against a file: whether it has drifted, and who else rules beside it."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

import ruleaudit
from ruleaudit.analysis.tracking import judge, together
from ruleaudit.analysis.walk import conntrack_users, is_tracking
from ruleaudit.diagnostics import SourceError
from ruleaudit.kernel.running import Listed, Listing, listed, variant
from ruleaudit.model.fields import Family
from ruleaudit.model.ipset import IpSet
from ruleaudit.model.lines import in_words
from ruleaudit.model.ruleset import Chain, Drop, Ruleset
from ruleaudit.reading import Reading
from ruleaudit.results.running import Owner, Running
from ruleaudit.results.suggestion import Checked, Suggestion
from ruleaudit.source import SourceFile

#: beginnings of the names of chains and tables that programs load
_PROGRAMS = {
    "DOCKER": "Docker",
    "KUBE-": "kube-proxy",
    "kube-proxy": "kube-proxy",
    "cali-": "Calico",
    "CILIUM_": "Cilium",
    "FLANNEL": "flannel",
    "CNI-": "CNI",
    "NETAVARK": "Podman",
    "netavark": "Podman",
    "LIBVIRT_": "libvirt",
    "libvirt": "libvirt",
    "f2b-": "fail2ban",
    "ufw": "ufw",
    "firewalld": "firewalld",
    "PVEFW-": "Proxmox",
    "fw4": "OpenWrt",
}
_NAMES = {Family.IPV4: "IPv4", Family.IPV6: "IPv6"}
_LANGUAGES = {"nft": "nft", "iptables": "iptables-save", "ip6tables": "ip6tables-save"}
#: (table, chain)
Place = tuple[str, str]


def drifted(source: SourceFile, reading: Reading, sets: Mapping[str, IpSet]) -> tuple[Reading, Running]:
    """What runs in place of a file: everything that the program which loads it has loaded; and all owners.

    Raises SourceError where that cannot be read.
    """
    found = listed()
    listing = _same_program(source, reading, found)
    runs = ruleaudit.lower(SourceFile(_path(listing), _whole(listing, reading)), _language(listing), sets)
    return runs, Running(tuple(_owners(found, frozenset(), "")), found.unread)


def beside(suggestion: Suggestion, reading: Reading) -> Suggestion:
    """A suggestion with the owners of rules that its file does not hold, and what they do to `no-other-owner`.

    Raises SourceError where the running rules cannot be read.
    """
    found = listed()
    listing = _same_program(suggestion.source, reading, found)
    mine = frozenset(
        (table.name, chain)
        for ruleset in reading.rulesets
        for table in ruleset.tables.values()
        for chain in table.chains
    )
    others = Running(tuple(_owners(found, mine, listing.name)), found.unread)
    checked = suggestion.checked
    if any(key == "no-other-owner" for key, _ in suggestion.assumptions):
        checked = (*checked, _no_other_owner(others, {_NAMES[ruleset.family] for ruleset in reading.rulesets}))
    return replace(suggestion, running=others, checked=checked)


def _no_other_owner(others: Running, families: set[str]) -> Checked:
    key = "no-other-owner"
    users = [owner for owner in others.owners if families & set(owner.tracks)]
    if not users:
        if others.unread:
            return Checked(key, None, f"not looked at: {'; '.join(others.unread)}")
        names = in_words([owner.name for owner in others.owners])
        how = f"{names} run here too, and ask nothing of connection tracking" if names else "no other rules run here"
        return Checked(key, True, f"{how}; other readers of conntrack were not looked for")
    said = []
    for owner in users:
        needed = owner.tracking.required
        number = len(needed or owner.tracking.judgements)
        verbs = ("needs", "need") if needed else ("asks for", "ask for")
        said.append(f"{_called(owner)}: {_rules(number)} {verbs[number != 1]} connection tracking")
    return Checked(key, False, f"{'; '.join(said)}. What leaves is untracked for them too")


def _rules(number: int) -> str:
    return f"{number} rule" if number == 1 else f"{number} rules"


def _called(owner: Owner) -> str:
    by = f" of {in_words(list(owner.programs))}" if owner.programs else ""
    tables = ", ".join(owner.tables)
    return owner.name + (f" ({tables})" if owner.name != f"nft {tables}" else "") + by


# -- which of the listings a file belongs to ----------------------------------------------------------


def _same_program(source: SourceFile, reading: Reading, found: Listed) -> Listing:
    """What the program that loads a file lists. Of the two variants of iptables it is the one that saved it, by its
    first line, or the only one that holds rules, or the one that is called iptables-restore here.

    Raises SourceError where it could not be read.
    """
    ruleset = reading.rulesets[0]
    if ruleset.is_nft:
        return next((one for one in found.listings if one.name == "nft"), Listing("nft", {}, {}))
    name = "ip6tables" if ruleset.family is Family.IPV6 else "iptables"
    variants = {one.name: one for one in found.listings if one.name.startswith(f"{name}-")}
    filled = [one for one in variants.values() if any(_is_filled(r) for r in _read_listing(one).rulesets)]
    first = next((line for line in source.text.splitlines() if line.startswith("# Generated by ")), "")
    if first:
        wanted = f"{name}-nft" if "nf_tables" in first else f"{name}-legacy"
        if wanted in variants or not filled:
            _can_be_read(wanted, found)
            return variants.get(wanted, Listing(wanted, {}, {}))
    if len(filled) > 1:
        return variants[variant(name)]
    if not filled:
        _can_be_read(name, found)
    return filled[0] if filled else Listing(f"{name}-nft", {}, {})


def _can_be_read(name: str, found: Listed) -> None:
    for reason in found.unread:
        if f"of {name}" in reason:
            raise SourceError(f"--live: not looked at: {reason}")


def _whole(listing: Listing, reading: Reading) -> str:
    """The text that stands for a file: all that its program has loaded, and of the tables that iptables-nft keeps too
    those that the file names.
    """
    named = {table for ruleset in reading.rulesets for table in ruleset.tables}
    shared = [text for table, text in listing.shared.items() if table in named]
    return "".join([*listing.tables.values(), *shared]) or _nothing(listing.name)


def _nothing(name: str) -> str:
    """A ruleset without rules."""
    return "table inet none {\n}\n" if name == "nft" else "*filter\nCOMMIT\n"


# -- owners -------------------------------------------------------------------------------------------


def _owners(found: Listed, mine: Collection[Place], program: str) -> Iterator[Owner]:
    """The owners of running rules, without the chains `mine` of one program. Each table of nft is an owner."""
    for listing in found.listings:
        own = mine if listing.name == program else frozenset()
        if program == "nft" and listing.name.endswith("-nft"):
            # what iptables-nft keeps, in a file of nft: `ip filter`
            kind = "ip6" if listing.name.startswith("ip6") else "ip"
            pairs = ((table.split(), chain) for table, chain in mine)
            own = frozenset((name, chain) for (family, name), chain in pairs if family == kind)
        if listing.name != "nft":
            yield from _owner(listing.name, _read_listing(listing), own)
            continue
        for table, text in listing.tables.items():
            yield from _owner(f"nft {table}", _read(f"live:nft:{table.replace(' ', ':')}", text, "nft"), own)


def _owner(name: str, reading: Reading, mine: Collection[Place]) -> Iterator[Owner]:
    """The owner of the chains of a text but `mine`; none where they are empty."""
    rulesets = reading.rulesets
    every = [(ruleset, chain) for ruleset in rulesets for chain in _chains(ruleset)]
    others = [(r, c) for r, c in every if (c.table, c.name) not in mine]
    if not any(_chain_is_filled(chain) for _, chain in others) and not any(r.tracks for r in rulesets):
        return
    left = {(chain.table, chain.name) for _, chain in others}
    tracking = together([judge(ruleset) for ruleset in rulesets])
    judgements = tuple(j for j in tracking.judgements if (j.rule.table, j.rule.chain) in left)
    tracks = tuple(
        _NAMES[r.family]
        for r in rulesets
        if is_tracking(r) and (r.tracks or any((u.table, u.chain) in left for u in conntrack_users(r)))
    )
    tables = tuple(_tables([chain for _, chain in every], mine))
    programs = _programs(name for chain in left for name in (*chain[0].split(), chain[1]))
    yield Owner(
        name, reading.document.source, rulesets, tables, programs, replace(tracking, judgements=judgements), tracks
    )


def _tables(chains: Iterable[Chain], mine: Collection[Place]) -> Iterator[str]:
    """The tables in words; of those that are `mine` in part, the chains that are not."""
    by_table: dict[str, list[Chain]] = {}
    for chain in chains:
        by_table.setdefault(chain.table, []).append(chain)
    for table, inside in by_table.items():
        foreign = list(dict.fromkeys(c.name for c in inside if (table, c.name) not in mine and _chain_is_filled(c)))
        if not foreign:
            continue
        shown = ", ".join(foreign[:4]) + (f" and {len(foreign) - 4} more" if len(foreign) > 4 else "")
        in_part = any((table, c.name) in mine for c in inside)
        yield f"{table} (chain{'s' if len(foreign) > 1 else ''} {shown})" if in_part else table


def _programs(names: Iterable[str]) -> tuple[str, ...]:
    found = [p for name in names for begins, p in _PROGRAMS.items() if name.startswith(begins)]
    return tuple(sorted(dict.fromkeys(found)))


def _chains(ruleset: Ruleset) -> Iterator[Chain]:
    for table in ruleset.tables.values():
        yield from table.chains.values()


def _is_filled(ruleset: Ruleset) -> bool:
    return bool(ruleset.tracks) or any(_chain_is_filled(chain) for chain in _chains(ruleset))


def _chain_is_filled(chain: Chain) -> bool:
    """Not as the kernel makes it: it holds rules, refuses by policy, or somebody made it."""
    return bool(chain.rules) or isinstance(chain.policy, Drop) or chain.hook is None


def _read_listing(listing: Listing) -> Reading:
    text = "".join(listing.tables.values()) or _nothing(listing.name)
    return _read(_path(listing), text, _language(listing))


def _path(listing: Listing) -> str:
    return f"live:{listing.name}"


def _language(listing: Listing) -> str:
    return _LANGUAGES[listing.name.partition("-")[0]]


def _read(path: str, text: str, language: str) -> Reading:
    return ruleaudit.lower(SourceFile(path, text), language)
