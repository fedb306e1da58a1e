"""How rules are called in a sentence: by their lines, and their file where that is an included one; what they do."""

from collections.abc import Iterable, Sequence

from ruleaudit.model.ruleset import Accept, Drop, Goto, Jump, Queue, Reject, Return, Rule


def lines(rules: Iterable[Rule], most: int = 12) -> str:
    """`line 6`, `lines 6, 7, 9, 10`, and no more than `most` of a file; those of included files with its path."""
    found: dict[str, set[int]] = {}
    for rule in rules:
        found.setdefault(rule.path, set()).add(rule.line)
    return in_words([_of_one_file(path, sorted(numbers), most) for path, numbers in sorted(found.items())])


def _of_one_file(path: str, numbers: Sequence[int], most: int) -> str:
    of = f" of {path}" if path else ""
    if len(numbers) == 1:
        return f"line {numbers[0]}{of}"
    shown = ", ".join(map(str, numbers[:most]))
    return f"lines {shown}" + (f" and {len(numbers) - most} more" if len(numbers) > most else "") + of


def in_words(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def does(rules: Sequence[Rule], what: str) -> str:
    """`line 7 drops them all`, `lines 7, 9 accept them all`, `line 8 sends them all to chain WEB`."""
    words = dict.fromkeys(_verb(rule) for rule in rules)
    verb, to = next(iter(words)) if len(words) == 1 else ("take", "")
    s = "s" if len({(rule.path, rule.line) for rule in rules}) == 1 else ""
    return f"{lines(rules, 8)} {verb}{s} {what}{to}"


def done(rule: Rule, what: str) -> str:
    """`drops them all`: what one rule does with packets."""
    verb, to = _verb(rule)
    return f"{verb}s {what}{to}"


def _verb(rule: Rule) -> tuple[str, str]:
    match rule.verdict:
        case Accept():
            return "accept", ""
        case Drop():
            return "drop", ""
        case Reject():
            return "reject", ""
        case Queue():
            return "queue", ""
        case Return():
            return "return", ""
        case Jump(chain) | Goto(chain):
            return "send", f" to chain {chain}"
        case _:
            return "take", ""
