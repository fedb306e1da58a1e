"""What nft refuses of the statements that are kept as text: log, limit, queue, tproxy and the like."""

import re

from ruleaudit.source import Span
from ruleaudit.syntax.nft_statement_checks import StatementCheck
from ruleaudit.syntax.nft_tree import Action
from ruleaudit.syntax.nft_types import number
from ruleaudit.syntax.numbers import decimal
from ruleaudit.syntax.refusal import did_you_mean

_NAMED = re.compile('(counter|quota|limit|synproxy|tunnel) name "?([^" ]+)"?')
_RATE = re.compile(
    "limit rate (?:over |until )?(?P<count>[0-9]+) ?(?P<unit>[a-z]*)/(?P<per>[a-z]+)"
    "(?: burst [0-9]+(?: (?P<burst>[a-z]+))?)?"
)
_TIMES = ("second", "minute", "hour", "day", "week")
_RATE_UNITS = ("", "packets", "bytes", "kbytes", "mbytes")
_QUOTA = re.compile("quota (?:over |until )?[0-9]+ ?([a-z]+)")
_PREFIX = re.compile('prefix "([^"]*)"')
#: the longest prefix of a log line, in bytes
_LONGEST_PREFIX = 127
_LEVELS = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit")
_QUEUE = re.compile(
    "queue(?: flags (?P<flags>[a-z, ]+))? (?P<how>num|to) (?P<to>.+?)(?P<behind>(?: (?:bypass|fanout),?)*)"
)
_QUEUES = re.compile("(?P<first>[0-9]+)(?:-(?P<last>[0-9]+))?")
_SPREAD = re.compile("(?:numgen|symhash|jhash) .*mod (?P<mod>[0-9]+)(?: seed \\w+)?(?: offset (?P<offset>[0-9]+))?")
_LAST_QUEUE = 0xFFFF


class ActionCheck(StatementCheck):
    """Checks the statements that are an Action."""

    def action(self, action: Action) -> None:
        """Any of them."""
        words = action.text.split(" ")
        named = _NAMED.fullmatch(action.text)
        if named:
            self.object(named[1], named[2], Span(action.span.end - len(words[-1]), action.span.end))
        match action.name:
            case "queue":
                self._queue(action)
            case "tproxy":
                self._tproxy(action, words)
            case "limit":
                self._limit(action)
            case "quota":
                unit = _QUOTA.match(action.text)
                if unit and unit[1] not in _RATE_UNITS[2:]:
                    self.say(self._within(action, unit[1]), f'"{unit[1]}" is no unit: bytes, kbytes or mbytes')
            case "log":
                self._log(action, words)
            case "flow":
                self.object("flowtable", words[-1].removeprefix("@"), self._within(action, words[-1]))
            case "fwd" if self.table.family != "netdev":
                self.say(action.span, "fwd is of tables of family netdev")
            case "dup" if self.table.family not in ("ip", "ip6", "netdev"):
                self.say(action.span, f"dup cannot be in a table of family {self.table.family}")
            case "reset" if not re.fullmatch(r"reset tcp option [\w-]+", action.text):
                self.say(action.span, "reset takes away a whole TCP option", "as in reset tcp option timestamp")
            case "reset" if (number(words[-1]) or 0) > 0xFF:
                self.say(self._within(action, words[-1]), "the number of an option is at most 255")
            case _:
                pass

    def _within(self, action: Action, word: str) -> Span:
        """The place of the last word of a statement, if that is its end; or else the whole of it."""
        if action.text.endswith(word):
            return Span(max(action.span.end - len(word), action.span.start), action.span.end)
        return action.span

    def _tproxy(self, action: Action, words: list[str]) -> None:
        if not self.ported:
            self.say(action.span, "tproxy needs a test of the protocol before it", "such as meta l4proto tcp")
        family = words[1] if words[1] in ("ip", "ip6") else ""
        if family and self.network and family != self.network:
            self.say(action.span, f"tproxy {family} in a rule about {self.network}")
        elif not family and self.table.family == "inet" and not self.network and not words[-1].startswith(":"):
            message = "a table of family inet needs to know the family: tproxy ip to or tproxy ip6 to"
            self.say(Span(action.span.start, action.span.start + 6), message)

    def _limit(self, action: Action) -> None:
        found = _RATE.fullmatch(action.text)
        if found is None:
            return
        if found["per"] not in _TIMES:
            hint = _SHORT.get(found["per"]) or did_you_mean(found["per"], _TIMES)
            place = self._within(action, found["per"])
            self.say(place, f'"{found["per"]}" is no unit of time', hint)
        unit, burst = found["unit"], found["burst"] or ""
        if unit not in _RATE_UNITS or burst not in _RATE_UNITS:
            self.say(action.span, f'"{unit}" is no unit of a rate: bytes, kbytes or mbytes')
        elif burst and _limit_unit(unit) != _limit_unit(burst):
            self.say(action.span, f"the rate counts {_limit_unit(unit)}, its burst {_limit_unit(burst)}")
        elif not found["count"].strip("0"):
            self.say(action.span, "a rate of 0 is none", "write drop, or not over")

    def _log(self, action: Action, words: list[str]) -> None:
        keyword = Span(action.span.start, action.span.start + 3)
        outside = _PREFIX.sub("prefix", action.text).split(" ")
        for word in ("level", "flags"):
            if word in outside and "group" in outside:
                self.say(keyword, f"log takes {word} or a group, not both")
        if "level" in outside:
            level = outside[outside.index("level") + 1]
            if level not in _LEVELS:
                self.say(self._within(action, level), f'"{level}" is no level', did_you_mean(level, _LEVELS))
        prefix = _PREFIX.search(action.text)
        if prefix and len(prefix[1].encode()) > _LONGEST_PREFIX:
            self.say(keyword, f"the prefix is too long: it has at most {_LONGEST_PREFIX} characters")

    def _queue(self, action: Action) -> None:
        found = _QUEUE.fullmatch(action.text)
        if found is None:
            return
        to, fanout = found["to"], "fanout" in (found["flags"] or "") + found["behind"]
        queues, spread = _QUEUES.fullmatch(to), _SPREAD.fullmatch(to)
        if queues:
            first, last = decimal(queues["first"]) or 0, decimal(queues["last"] or queues["first"]) or 0
            if max(first, last) > _LAST_QUEUE:
                self.say(action.span, "the number of a queue is at most 65535")
            elif last < first:
                self.say(action.span, f"the range {to} is empty: its end comes before its beginning")
        elif found["how"] == "num":
            self.say(action.span, f"queue num takes a number or a range, not {to}", "queue to takes a hash or a map")
        elif spread:
            mod, offset = decimal(spread["mod"]) or 0, decimal(spread["offset"] or "0") or 0
            if mod == 0 or mod + offset - 1 > _LAST_QUEUE:
                self.say(action.span, "the number of a queue is at most 65535")
        elif " map " not in to:
            self.say(action.span, f"queue to {to}", "it takes a number, a range, numgen, a hash or a map")
        if fanout and not (queues and queues["last"]):
            self.say(action.span, "fanout spreads over a range of queues", "as in queue flags fanout to 1-4")


#: how iptables writes units of time
_SHORT = {
    "s": "write second", "sec": "write second", "m": "write minute", "min": "write minute", "h": "write hour",
    "d": "write day",
}  # fmt: skip


def _limit_unit(word: str) -> str:
    return "bytes" if word.endswith("bytes") else "packets"
