"""What every target declares about itself: its options, where it is allowed, and what it does to a packet."""

from collections.abc import Callable
from dataclasses import dataclass

from ruleaudit.matches.extension import Context, Options, OptionSpec, normalised
from ruleaudit.model.fields import Family
from ruleaudit.model.ruleset import Consumer, Continue, Effect, EffectKind, Use, Verdict

CONTINUE = Continue()


@dataclass(frozen=True, slots=True)
class Action:
    """What a target does: the verdict, its effects in order, and what it needs of conntrack."""

    verdict: Verdict = CONTINUE
    effects: tuple[Effect, ...] = ()
    consumers: tuple[Consumer, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """A rule's text behind the chain, and the action; or a part of the message that refuses it."""

    text: str
    action: Action | None = None
    refused: str = ""
    family: Family = Family.IPV4
    chain: str = "INPUT"
    table: str = "filter"


@dataclass(frozen=True, slots=True)
class TargetExtension:
    """One target; `tables`, `chains` (base chains) and `protocols` restrict where it may stand (empty: anywhere)."""

    name: str
    options: tuple[OptionSpec, ...]
    read: Callable[[Options, Context], Action]
    examples: tuple[Example, ...]
    family: Family | None = None
    protocols: tuple[int, ...] = ()
    tables: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    required: tuple[str, ...] = ()


def verdict(result: Verdict) -> Callable[[Options, Context], Action]:
    """The reader of a target that is a verdict and nothing else."""
    action = Action(result)
    return lambda given, context: action


def effect(name: str, kind: EffectKind, use: Use | None = None) -> Callable[[Options, Context], Action]:
    """The reader of a target that does one thing and lets the packet go on."""

    def read(given: Options, context: Context) -> Action:
        consumers = (Consumer(use, name),) if use else ()
        return Action(CONTINUE, (Effect(kind, normalised(name, given)),), consumers)

    return read
