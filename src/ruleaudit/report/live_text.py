"""Who rules in this network namespace, as text."""

from collections.abc import Iterator

from ruleaudit.model.lines import in_words
from ruleaudit.report.style import Style
from ruleaudit.report.wording import count, printable, shortened, wrapped
from ruleaudit.results.running import Owner, Running
from ruleaudit.results.suggestion import Checked

_RULE_WIDTH = 92
#: the heading of the owners of other rules than those of a file
BESIDE = "WHO ELSE RULES HERE"


def section(running: Running, heading: str, style: Style) -> Iterator[str]:
    """The owners of rules, each with what it does to connection tracking."""
    yield style.bold(heading) + "  (in this network namespace)"
    if not running.owners and not running.unread:
        yield "  nobody"
    width = max((len(owner.name) for owner in running.owners), default=0) + 2
    for owner in running.owners:
        yield wrapped(sentence(owner), f"  {printable(owner.name):<{width}}")
    for reason in running.unread:
        yield wrapped(f"not looked at: {reason}", "  ", "    ")


def sentence(owner: Owner) -> str:
    """`filter, nat, by Docker: keeps IPv4 tracked; 3 rules ask for it, 2 need it. live:iptables-nft:12 …: why`."""
    tables = ", ".join(owner.tables)
    where = tables if owner.name != f"nft {tables}" else ""
    by = f"by {in_words(list(owner.programs))}" if owner.programs else ""
    head = ", ".join(filter(None, (where, by)))
    head = f"{head}: " if head else ""
    if not owner.tracks:
        return f"{head}asks nothing of connection tracking"
    asking, needing = owner.tracking.judgements, owner.tracking.required
    said = f"{head}keeps {in_words(list(owner.tracks))} tracked; {count(len(asking), 'rule')} "
    said += f"{'asks' if len(asking) == 1 else 'ask'} for it, {len(needing) or 'none'} "
    said += "needs it" if len(needing) == 1 else "need it"
    if needing:
        first = needing[0]
        rule = shortened(first.rule.text.strip(), _RULE_WIDTH)
        said += f". {owner.source.path}:{first.rule.line} {rule}: {first.reason.partition('; ')[0]}"
    return said


def found_out(checked: Checked, style: Style) -> str:
    """What is known of an assumption now."""
    word = {True: style.good("confirmed"), False: style.bad("contradicted"), None: style.warning("not found out")}
    return f"{word[checked.holds]}: {checked.reason}"
