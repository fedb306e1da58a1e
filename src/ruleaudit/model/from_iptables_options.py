"""One rule line of an iptables-save file, option by option, as iptables itself goes through them.

Each option belongs to the last extension loaded that knows it, else to iptables itself; one that nobody knows loads the
match that `-p` names. Everything that is wrong is noted with its place, and reading goes on.
"""

import re
from dataclasses import dataclass, field

from ruleaudit.matches import MATCHES, OTHER_MATCHES, matches_of_protocol
from ruleaudit.matches.extension import Context, Given, MatchExtension, OptionSpec
from ruleaudit.model.condition import Condition, Opaque, Scope, tests
from ruleaudit.model.fields import Family
from ruleaudit.model.from_iptables_meanings import Meanings
from ruleaudit.model.ruleset import Consumer, Continue, Effect, Goto, Jump, Unknown, Verdict
from ruleaudit.syntax.addresses import HostName
from ruleaudit.syntax.refusal import Refused, did_you_mean
from ruleaudit.syntax.services import PROTOCOLS, protocol
from ruleaudit.syntax.shapes import Malformed, RawOption, Words, options
from ruleaudit.targets import OTHER_TARGETS, TARGETS
from ruleaudit.targets.extension import Action, TargetExtension

#: iptables' own options (iptables(8), PARAMETERS), and how many words each takes
GENERAL = (
    OptionSpec("-A", ("--append",)),
    OptionSpec("-I", ("--insert",), optional=True),
    OptionSpec("-D", ("--delete",), optional=True),
    OptionSpec("-R", ("--replace",), arguments=2),
    OptionSpec("-C", ("--check",)),
    OptionSpec("-p", ("--protocol", "--proto"), negatable=True),
    OptionSpec("-s", ("--source", "--src"), negatable=True),
    OptionSpec("-d", ("--destination", "--dst"), negatable=True),
    OptionSpec("-i", ("--in-interface",), negatable=True),
    OptionSpec("-o", ("--out-interface",), negatable=True),
    OptionSpec("-j", ("--jump",)),
    OptionSpec("-g", ("--goto",)),
    OptionSpec("-m", ("--match",), repeatable=True),
    OptionSpec("-f", ("--fragments", "--fragment"), arguments=0, negatable=True),
    OptionSpec("-c", ("--set-counters",), optional=True),
    OptionSpec("-t", ("--table",)),
    OptionSpec("-v", ("--verbose",), arguments=0, repeatable=True),
    OptionSpec("-n", ("--numeric",), arguments=0, repeatable=True),
    OptionSpec("-x", ("--exact",), arguments=0, repeatable=True),
    OptionSpec("-w", ("--wait",), arguments=0, optional=True, repeatable=True),
    OptionSpec("-4", ("--ipv4",), arguments=0, repeatable=True),
    OptionSpec("-6", ("--ipv6",), arguments=0, repeatable=True),
)
_GENERAL = {spelling: spec for spec in GENERAL for spelling in (spec.name, *spec.aliases)}
_COMMANDS = ("-A", "-I", "-D", "-R", "-C")
_QUIET = frozenset(("-v", "-n", "-x", "-w", "-4", "-6", "-c", *_COMMANDS))

#: for the command line alone
_NOT_IN_FILES = frozenset(("-n", "-x", "-w"))
#: of a match or target that iptables itself does not have
_OF_OTHERS = "an extension that is not part of iptables"

BASE_CHAINS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")

#: hooks that know no input, or no output, interface (iptables refuses to ask there)
_NO_INPUT = ("OUTPUT", "POSTROUTING")
_NO_OUTPUT = ("PREROUTING", "INPUT")

#: the order of ip_packet_match() in the kernel
_ORDER = {"-s": 0, "-d": 1, "-i": 2, "-o": 3, "-p": 4, "-f": 5}

#: facts section 14
NOT_TESTED = "the kernel refuses it; iptables-restore --test does not"

Place = tuple[int, int]  #: offsets into the rule's text


@dataclass(frozen=True, slots=True)
class ReadMatch:
    """A match as it stands in the text; the fields are those of model.ruleset.Match."""

    name: str
    place: Place
    condition: Condition
    consumer: Consumer | None = None
    memory: bool = False
    writes: str | None = None
    understood: bool = True
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something wrong, or not understood, at a place of the text."""

    refused: bool
    message: str
    place: Place
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ReadRule:
    """What one rule text says."""

    matches: tuple[ReadMatch, ...]
    effects: tuple[Effect, ...]
    verdict: Verdict
    consumers: tuple[Consumer, ...]
    complaints: tuple[Complaint, ...]
    understood: bool
    position: int | None = None  #: of -I and -R, or -D by number
    skipped: bool = False  #: a line for the other family (-4, -6)


@dataclass(slots=True)
class Loaded:
    """A match extension of the rule under way, with the options it was given."""

    name: str
    extension: MatchExtension | None
    words: list[Place] = field(default_factory=list)  #: index ranges of the words that belong to it, `-m` included
    given: list[tuple[Given, Place]] = field(default_factory=list)


class RuleInProgress:
    """The state of reading one rule text, as iptables' option loop has it."""

    def __init__(self, meanings: Meanings, table: str, text: str) -> None:
        self.meanings = meanings
        self.family = meanings.family
        self.table = table
        self.text = text
        self.words: Words
        self.complaints: list[Complaint] = []
        self.general: list[tuple[int, ReadMatch]] = []
        self.general_words: list[tuple[Given, Place]] = []
        self.loaded: list[Loaded] = []
        self.target: tuple[str, str, Place] | None = None  # option, name, place
        self.target_given: list[tuple[Given, Place]] = []
        self.protocol: int | None = None
        self.protocol_negated = False
        self.chain = ""
        self.seen: set[str] = set()
        self.skipped = False

    # -- places and complaints

    def place(self, first: int, last: int) -> Place:
        return self.words.starts[first], self.words.starts[last - 1] + len(self.words.text[last - 1])

    @property
    def whole(self) -> Place:
        """The rule without the blanks around it."""
        return len(self.text) - len(self.text.lstrip()), len(self.text.rstrip())

    def find(self, word: str, first: int, last: int) -> Place:
        """Where `word` stands in the words [first, last), as a whole list element if there is one."""
        start, end = self.place(first, last)
        if word:
            inside = self.text[start:end]
            at = inside.find(word)
            while at >= 0:
                before, after = inside[at - 1 : at] if at else " ", inside[at + len(word) : at + len(word) + 1]
                if before in ' ,:/-="[!' and (not after or after in ' ,:/-="]'):
                    return start + at, start + at + len(word)
                at = inside.find(word, at + 1)
            at = inside.find(word)
            if at >= 0:
                return start + at, start + at + len(word)
        return start, end

    def refuse(self, message: str, place: Place, hint: str = "") -> None:
        self.complaints.append(Complaint(True, message, place, hint))

    def not_understood(self, message: str, place: Place, hint: str = "") -> None:
        self.complaints.append(Complaint(False, message, place, hint))

    # -- the option loop

    def read(self) -> ReadRule:
        self.words, raw = options(self.text)
        if isinstance(raw, Malformed):
            return self._malformed(raw)
        if self.words.shape[:1] == "F":
            self.skipped = (self.words.text[0] == "-4") != (self.family is Family.IPV4)
        position: int | None = None
        index = 0
        while index < len(raw):
            option = raw[index]
            index += 1
            spec, owner = self._lookup(option)
            if spec is None:
                self._unknown_option(option)
                continue
            if isinstance(owner, Loaded) and not owner.words:
                owner.words.append((option.first, option.last))  # loaded by -p: it has no -m of its own
            found = self._values(option, spec, raw[index:])
            if found is None:
                continue
            values, last = found
            index += sum(following.last <= last for following in raw[index:])
            if option.negated and not spec.negatable:
                self.refuse(f"{option.name} cannot be negated", self.place(option.first, option.last))
                continue
            if option.negated and self.words.shape[option.first] != "!":
                place = self.place(option.first, option.last)
                message = f"old form of !: {option.name} ! is refused by iptables 1.8"
                self.refuse(message, place, f"write ! {option.name}")
            given = Given(spec.name, option.negated, values)
            if owner is None and spec.name in _COMMANDS:
                self.chain = values[0]
                if len(values) > 1 and values[1].isascii() and values[1].isdigit():
                    position = int(values[1][:9])
                    if not position:
                        self.refuse("rule numbers begin with 1", self.find(values[1], option.first, last))
                elif len(values) > 1:
                    self.refuse(f'bad rule number "{values[1]}"', self.find(values[1], option.first, last))
            self._take(given, spec, owner, option, last)
        return self._finish(position)

    def _values(
        self, option: RawOption, spec: OptionSpec, following: tuple[RawOption, ...]
    ) -> tuple[tuple[str, ...], int] | None:
        """The values of an option and the word behind the last one; None if there are too few."""
        values, last = option.values, option.last
        for word in following:
            if len(values) >= spec.arguments or word.negated or word.last > word.first + 1:
                break
            # getopt takes the next word whatever it looks like
            values += self.words.text[word.first : word.last]
            last = word.last
        if len(values) < spec.arguments:
            self.refuse(f"{option.name} needs {_count(spec.arguments)}", self.place(option.first, option.last))
            return None
        wanted = spec.arguments + spec.optional
        if len(values) > wanted:
            extra = option.last - (len(values) - wanted)
            place = self.place(extra, extra + 1)
            self.refuse(f'unexpected "{self.words.text[extra]}"', place, _extra_hint(self.words, extra))
            if self.words.text[extra - 1][-1:] == ",":
                return None
        return values[:wanted], last

    def _malformed(self, raw: Malformed) -> ReadRule:
        if self.words.text:
            word = self.words.text[raw.word]
            place = self.place(raw.word, raw.word + 1)
            if self.words.shape[raw.word] == "U":
                message = "this quote does not close: it goes on to the end of the line"
                self.not_understood(message, (place[0] + word.find('"'), place[1]))
            elif self.words.shape[raw.word] == "~":
                self.refuse("! with nothing behind it to negate", place)
            else:
                self.refuse(f'unexpected "{word}"', place)
        unknown = Opaque(f"unreadable rule {self.text}", Scope.MEMORY)
        match = ReadMatch(
            "",
            (len(self.text) - len(self.text.lstrip()), len(self.text.rstrip())),
            unknown,
            understood=False,
            reason="the line could not be read",
        )
        return ReadRule((match,), (), Unknown(self.text), (), tuple(self.complaints), False)

    def _lookup(self, option: RawOption) -> tuple[OptionSpec | None, Loaded | TargetExtension | None]:
        """The option and who knows it: the target, the matches (last loaded first), iptables, then what -p loads."""
        name = option.name
        if name[:2] != "--":
            return _GENERAL.get(name), None
        for exact in (True, False):
            owners: list[tuple[OptionSpec, Loaded | TargetExtension | None]] = []
            target = TARGETS.get(self.target[1]) if self.target else None
            if target is not None and (spec := _known(target.options, name, exact)):
                owners.append((spec, target))
            for loaded in reversed(self.loaded):
                if loaded.extension is not None and (spec := _known(loaded.extension.options, name, exact)):
                    owners.append((spec, loaded))
            if exact and name in _GENERAL:
                owners.append((_GENERAL[name], None))
            elif not exact:
                fits = {spec for spelling, spec in _GENERAL.items() if spelling.startswith(name)}
                owners += [(spec, None) for spec in fits]
                if len({spec.name for spec, _ in owners}) > 1:
                    return None, None
            if owners:
                return owners[0]
            if exact and self.protocol is not None and not self.protocol_negated:
                spec, implicit = self._load_by_protocol(name)
                if spec is not None:
                    return spec, implicit
        return None, None

    def _load_by_protocol(self, name: str) -> tuple[OptionSpec | None, Loaded | None]:
        extension = matches_of_protocol(self.protocol or 0, self.family)
        if extension is None or any(loaded.extension is extension for loaded in self.loaded):
            return None, None
        spec = _known(extension.options, name, True) or _known(extension.options, name, False)
        if spec is None:
            return None, None
        self.loaded.append(Loaded(extension.name, extension))
        return spec, self.loaded[-1]

    def _unknown_option(self, option: RawOption) -> None:
        place = self.place(
            option.first + (self.words.shape[option.first] == "!"),
            option.first + (self.words.shape[option.first] == "!") + 1,
        )
        place = place[0], place[0] + len(option.name)
        unknown = next((loaded for loaded in reversed(self.loaded) if loaded.extension is None), None)
        if unknown is not None and option.name[:2] == "--":
            # it may belong to the extension that is not known here
            unknown.words.append((option.first, option.last))
            unknown.given.append((Given(option.name, option.negated, option.values), (option.first, option.last)))
            return
        if self.target is not None and self.target[1] not in TARGETS and option.name[:2] == "--":
            self.target_given.append((Given(option.name, option.negated, option.values), (option.first, option.last)))
            return
        known = [
            s
            for loaded in self.loaded
            if loaded.extension
            for spec in loaded.extension.options
            for s in (spec.name, *spec.aliases)
        ]
        if self.target is not None and self.target[1] in TARGETS:
            known += [spec.name for spec in TARGETS[self.target[1]].options]
        hint = did_you_mean(option.name, [*known, *(s for s in _GENERAL if s[:2] == "--")])
        if option.name in ("--dport", "--sport", "--destination-port", "--source-port", "--dports", "--sports"):
            if option.name.endswith("ports"):
                hint = "needs -m multiport before it"
            else:
                hint = "needs -p tcp or -p udp before it"
        else:
            owners = [n for n, e in MATCHES.items() if n == e.name and _known(e.options, option.name, True)]
            if owners and not hint:
                hint = f"needs -m {owners[0]} before it"
        self.refuse(f'unknown option "{option.name}"', place, hint)

    def _take(
        self, given: Given, spec: OptionSpec, owner: "Loaded | TargetExtension | None", option: RawOption, last: int
    ) -> None:
        words = (option.first, last)
        if spec.pattern:
            for value in given.values:
                if not re.fullmatch(spec.pattern, value):
                    self.refuse(f'bad value "{value}" of {option.name}', self.find(value, *words))
        match owner:
            case Loaded():
                if not spec.repeatable and any(g.name == given.name for g, _ in owner.given):
                    self.refuse(f"{option.name} is given twice", self.place(*words))
                    return
                owner.words.append(words)
                owner.given.append((given, words))
            case TargetExtension():
                if not spec.repeatable and any(g.name == given.name for g, _ in self.target_given):
                    self.refuse(f"{option.name} is given twice", self.place(*words))
                    return
                self.target_given.append((given, words))
            case None:
                if given.name in self.seen and not spec.repeatable:
                    self.refuse(f"{option.name} is given twice", self.place(*words))
                    return
                self.seen.add(given.name)
                self._take_general(given, words)

    def _take_general(self, given: Given, words: Place) -> None:
        name = given.name
        if name == "-m":
            self._load(given.value, words)
        elif name in ("-j", "-g"):
            if self.target is not None:
                self.refuse("a rule has one target", self.place(*words))
                return
            if not given.value or given.value[0] in "-!":
                self.refuse(f'bad target name "{given.value}"', self.place(*words))
                return
            self.target = (name, given.value, words)
        elif name == "-c":
            if not re.fullmatch("[0-9]+ [0-9]+|[0-9]+,[0-9]+", " ".join(given.values)):
                self.refuse("-c needs the numbers of packets and bytes", self.place(*words))
        elif name == "-t":
            self.refuse("-t has no place in a file: the table is that of the *table line", self.place(*words))
        elif name in _NOT_IN_FILES:
            self.refuse(f"{name} has no place in a file", self.place(*words))
        elif name in _ORDER:
            self._general_match(given, words)
        elif name in ("-4", "-6"):
            self.skipped = self.skipped or (name == "-4") != (self.family is Family.IPV4)

    def _general_match(self, given: Given, words: Place) -> None:
        place = self.place(*words)
        name = given.name
        if name == "-f" and self.family is Family.IPV6:
            self.refuse("-f is for IPv4 only", place, "use -m frag or -m ipv6header")
            return
        if (name == "-i" and self.chain in _NO_INPUT) or (name == "-o" and self.chain in _NO_OUTPUT):
            which = "input" if name == "-i" else "output"
            self.refuse(f"{name} cannot be used in {self.chain}: there is no {which} interface there", place)
            return
        try:
            condition = self.meanings.general_test(name, given.value, given.negated)
        except Refused as error:
            self.refuse(error.message, self.find(error.word, *words), error.hint)
            return
        understood = True
        if name in ("-s", "-d") and any(isinstance(t, Opaque) for t in tests(condition)):
            understood = False
            self.not_understood(
                f'host name in "{given.value}": its addresses are not in the file', self.find(given.value, *words)
            )
        if name == "-p":
            self.protocol_negated = given.negated
            self.protocol = protocol(given.value)
        reason = "" if understood else "a host name stands for addresses that are not in the file"
        self.general_words.append((given, words))
        self.general.append((_ORDER[name], ReadMatch("", place, condition, understood=understood, reason=reason)))

    def _load(self, name: str, words: Place) -> None:
        extension = MATCHES.get(name)
        if extension is not None and extension.family not in (None, self.family):
            only = "IPv4" if extension.family is Family.IPV4 else "IPv6"
            self.refuse(f"match {name} is for {only} only", self.find(name, *words))
        self.loaded.append(Loaded(extension.name if extension else name, extension, [words]))

    # -- meaning

    def context(self) -> Context:
        """What the extensions may know of the rule."""
        return Context(
            self.family, None if self.protocol_negated else self.protocol or None, self.table, self.meanings.sets
        )

    def _finish(self, position: int | None) -> ReadRule:
        context = self.context()
        self.general.sort(key=lambda item: item[0])
        self.general_words.sort(key=lambda item: _ORDER[item[0].name])
        matches = [match for _, match in self.general]
        for loaded in self.loaded:
            matches.append(self._match(loaded, context))
        action = self._action(context)
        understood = all(m.understood for m in matches) and not isinstance(action.verdict, Unknown)
        if any(c.refused for c in self.complaints):
            if all(m.understood for m in matches):
                # what was refused may have narrowed the rule
                refused = Opaque(f"refused rule {self.text}", Scope.MEMORY)
                matches.append(ReadMatch("", self.whole, refused, understood=False, reason="refused by iptables"))
            understood = False
        return ReadRule(
            tuple(matches),
            action.effects,
            action.verdict,
            action.consumers,
            tuple(self.complaints),
            understood,
            position,
            self.skipped,
        )

    def run_words(self, loaded: Loaded) -> Place:
        """The words from the first of a match on, as far as they stand side by side."""
        first, last = loaded.words[0]
        for begin, end in loaded.words[1:]:
            if begin == last:
                last = end
        return first, last

    def _unknown_match(self, loaded: Loaded, place: Place, reason: str) -> ReadMatch:
        text = " ".join(self.text[slice(*self.place(*w))] for w in loaded.words)
        return ReadMatch(loaded.name, place, Opaque(text, Scope.MEMORY), understood=False, reason=reason)

    def _match(self, loaded: Loaded, context: Context) -> ReadMatch:
        place = self.place(*self.run_words(loaded))
        extension = loaded.extension
        if extension is None:
            reason = f'unknown match "{loaded.name}"'
            place_of_name = self.find(loaded.name, *loaded.words[0])
            if loaded.name in OTHER_MATCHES:
                self.not_understood(reason, place_of_name, _OF_OTHERS)
            else:
                self.refuse(reason, place_of_name, did_you_mean(loaded.name, MATCHES))
            return self._unknown_match(loaded, place, reason)
        if extension.family not in (None, self.family):
            return self._unknown_match(loaded, place, "refused by iptables")
        if not self._allowed(extension, "match", extension.name, place):
            return self._unknown_match(loaded, place, "refused by iptables")
        try:
            missing = [r for r in extension.required if not any(g.name == r for g, _ in loaded.given)]
            if missing:
                raise Refused(f"{extension.name} needs {missing[0]}")
            given = tuple(g for g, _ in loaded.given)
            meaning = self.meanings.meaning(extension, given, context)
        except Refused as error:
            self.refuse(error.message, self._blame(error, loaded.given, place), error.hint)
            return self._unknown_match(loaded, place, error.message)
        except HostName as error:
            reason = f'host name "{error}": its addresses are not in the file'
            self.not_understood(reason, place)
            return self._unknown_match(loaded, place, reason)
        return ReadMatch(extension.name, place, meaning.condition, meaning.consumer, meaning.memory, meaning.writes)

    def _blame(self, error: Refused, given: list[tuple[Given, Place]], otherwise: Place) -> Place:
        for option, words in given:
            if error.word and (error.word == option.name or any(error.word in value for value in option.values)):
                return self.place(*words) if error.word == option.name else self.find(error.word, *words)
        return otherwise

    def _allowed(self, extension: MatchExtension | TargetExtension, kind: str, name: str, place: Place) -> bool:
        before = len(self.complaints)
        if extension.tables and self.table not in extension.tables:
            self.refuse(f"{kind} {name} is allowed only in table {' or '.join(extension.tables)}", place, NOT_TESTED)
        elif extension.chains and self.chain in BASE_CHAINS and self.chain not in extension.chains:
            where = ", ".join(extension.chains)
            self.refuse(f"{kind} {name} is allowed in {where} only, not in {self.chain}", place, NOT_TESTED)
        if extension.protocols and (self.protocol_negated or self.protocol not in extension.protocols):
            names = [next(n for n, number in PROTOCOLS.items() if number == p) for p in extension.protocols]
            self.refuse(f"{kind} {name} needs -p {' or '.join(names)}", place)
        return len(self.complaints) == before

    def _action(self, context: Context) -> Action:
        if self.target is None:
            return Action(Continue())
        option, name, words = self.target
        place = self.place(*words)
        last = self.target_given[-1][1][1] if self.target_given else words[1]
        whole = self.place(words[0], last)
        if option == "-g":
            return Action(Goto(name))
        extension = TARGETS.get(name)
        if extension is None:
            if self.target_given:
                if name in OTHER_TARGETS:
                    self.not_understood(f'unknown target "{name}"', self.find(name, *words), _OF_OTHERS)
                else:
                    self.refuse(f'unknown target "{name}"', self.find(name, *words), did_you_mean(name, TARGETS))
                return Action(Unknown(self.text[slice(*whole)]))
            if len(name.encode("utf-8", "surrogateescape")) > 28:
                self.refuse(f'target name "{name}" is too long: at most 28 bytes', self.find(name, *words))
            return Action(Jump(name))
        if extension.family not in (None, self.family):
            only = "IPv4" if extension.family is Family.IPV4 else "IPv6"
            self.refuse(f"target {name} is for {only} only", self.find(name, *words))
            return Action(Unknown(self.text[slice(*whole)]))
        if not self._allowed(extension, "target", name, self.find(name, *words)):
            return Action(Unknown(self.text[slice(*whole)]))
        given = tuple(g for g, _ in self.target_given)
        try:
            missing = [r for r in extension.required if not any(g.name == r for g in given)]
            if missing:
                raise Refused(f"{name} needs {missing[0]}")
            return extension.read(given, context)
        except Refused as error:
            self.refuse(error.message, self._blame(error, self.target_given, place), error.hint)
        except HostName as error:
            self.not_understood(f'host name "{error}": its addresses are not in the file', whole)
        return Action(Unknown(self.text[slice(*whole)]))


def _known(specs: tuple[OptionSpec, ...], name: str, exact: bool) -> OptionSpec | None:
    """The option of a name; not exact: of an unambiguous beginning of one, as getopt_long(3) completes it."""
    if exact:
        return next((spec for spec in specs if name == spec.name or name in spec.aliases), None)
    fits = [spec for spec in specs if any(s.startswith(name) for s in (spec.name, *spec.aliases))]
    return fits[0] if len(fits) == 1 and len(name) > 2 else None


def _count(number: int) -> str:
    return "a value" if number == 1 else f"{number} words"


def _extra_hint(words: Words, index: int) -> str:
    name = words.text[index - 1]
    return "lists have no blanks" if index and name[-1:] == "," else ""
