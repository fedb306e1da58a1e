"""What every match extension declares about itself; targets use the same words for their options.

An extension is one module: its docstring says what it matches, `OPTIONS` what may be written, one function turns the
options of one rule into a Meaning, and `EXAMPLES` are run by a generic test.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ruleaudit.model.condition import Condition, Opaque, Scope, negate
from ruleaudit.model.fields import Family, Field
from ruleaudit.model.ipset import IpSet
from ruleaudit.model.ruleset import Consumer


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """One option: its long name, other spellings, and how many words it takes.

    optional    one more word may follow (`--ecn-ip-ect`, `--rateest-bps`)
    pattern     a regular expression that every word must match as a whole; empty: the reader decides
    """

    name: str
    aliases: tuple[str, ...] = ()
    arguments: int = 1
    negatable: bool = False
    optional: bool = False
    repeatable: bool = False
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Given:
    """One option as a rule gives it, under its long name."""

    name: str
    negated: bool = False
    values: tuple[str, ...] = ()

    @property
    def value(self) -> str:
        return self.values[0] if self.values else ""


@dataclass(frozen=True, slots=True)
class Context:
    """What an extension may need to know besides its options.

    protocol    of the rule; None: none, all, or a negated one
    sets        the ipsets whose contents are known
    """

    family: Family
    protocol: int | None = None
    table: str = "filter"
    sets: Mapping[str, IpSet] = field(default_factory=dict, compare=False)


Options = tuple[Given, ...]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the match of one rule means (see model.ruleset.Match)."""

    condition: Condition
    consumer: Consumer | None = None
    memory: bool = False
    writes: str | None = None
    reason: str = ""
    known_set: str = ""  #: the ipset whose contents it was read with


@dataclass(frozen=True, slots=True)
class Example:
    """A rule's matches as text, and the condition of this extension; or a part of the message that refuses it."""

    text: str
    condition: Condition | None = None
    refused: str = ""
    family: Family = Family.IPV4
    chain: str = "INPUT"
    table: str = "filter"


@dataclass(frozen=True, slots=True)
class MatchExtension:
    """One match extension.

    protocols   `-p` must name one of these (empty: any)
    chains      the base chains in which it is allowed (empty: all); `tables` likewise
    """

    name: str
    options: tuple[OptionSpec, ...]
    read: Callable[[Options, Context], Meaning]
    examples: tuple[Example, ...]
    aliases: tuple[str, ...] = ()
    family: Family | None = None
    protocols: tuple[int, ...] = ()
    tables: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    required: tuple[str, ...] = ()


def normalised(name: str, given: Options) -> str:
    """The text of an extension's options in one spelling: `limit --limit 5/min --limit-burst 5`."""
    words = [name]
    for option in given:
        words += (["!"] if option.negated else []) + [
            option.name,
            *(f'"{v}"' if " " in v or not v else v for v in option.values),
        ]
    return " ".join(words)


def opaque(
    name: str, scope: Scope, reads: tuple[Field, ...] = (), memory: bool = False
) -> Callable[[Options, Context], Meaning]:
    """The reader of an extension whose answer cannot be known from the ruleset: one boolean named by the text.

    A lone negated option is the negation of the same boolean, so that `! --x` and `--x` are seen to be opposites.
    """

    def read(given: Options, context: Context) -> Meaning:
        if len(given) == 1 and given[0].negated:
            positive = Given(given[0].name, False, given[0].values)
            return Meaning(negate(Opaque(normalised(name, (positive,)), scope, reads)), memory=memory)
        return Meaning(Opaque(normalised(name, given), scope, reads), memory=memory)

    return read
