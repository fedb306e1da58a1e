"""What rules run in a network namespace, and whose they are."""

from dataclasses import dataclass

from ruleaudit.model.ruleset import Ruleset
from ruleaudit.results import Tracking
from ruleaudit.source import SourceFile


@dataclass(frozen=True)
class Owner:
    """One program's rules, of those that run in this network namespace.

    name      iptables-nft, ip6tables-legacy, `nft inet fw4`
    tables    in words: `filter`; of tables that a file has too, what it has not: `filter (chains DOCKER, DOCKER-USER)`
    programs  who loads rules of such names: Docker, kube-proxy
    tracking  the rules that mention conntrack, and which need it
    tracks    address families that these rules keep tracked: IPv4, IPv6
    """

    name: str
    source: SourceFile
    rulesets: tuple[Ruleset, ...]
    tables: tuple[str, ...]
    programs: tuple[str, ...]
    tracking: Tracking
    tracks: tuple[str, ...]


@dataclass(frozen=True)
class Running:
    """The rules of a network namespace, owner by owner; `unread`: what could not be looked at, in words."""

    owners: tuple[Owner, ...]
    unread: tuple[str, ...] = ()
