"""NFQUEUE: a program decides, through a numbered queue (iptables-extensions(8), NFQUEUE)."""

from ruleaudit.matches.extension import Context, Options, OptionSpec
from ruleaudit.model.ruleset import Queue
from ruleaudit.syntax.numbers import number, number_range
from ruleaudit.syntax.refusal import Refused
from ruleaudit.targets.extension import Action, Example, TargetExtension

OPTIONS = (
    OptionSpec("--queue-num"),
    OptionSpec("--queue-balance"),
    OptionSpec("--queue-bypass", arguments=0),
    OptionSpec("--queue-cpu-fanout", arguments=0),
)


def read(given: Options, context: Context) -> Action:
    """The queue is named by its number or range, and by whether packets pass while no program listens."""
    queue, extras = "0", []
    for option in given:
        match option.name:
            case "--queue-num":
                queue = str(number(option.value, 0, 65535, "queue number"))
            case "--queue-balance":
                low, high = number_range(option.value, 0, 65535, "queue range")
                if option.value[-1:] == ":":
                    high = 65534
                if low == high or high - low == 65535:
                    raise Refused(f'bad queue range "{option.value}": first:last', option.value, "use --queue-num")
                queue = f"{low}:{high}"
            case _:
                extras.append(option.name.removeprefix("--queue-"))
    return Action(Queue(" ".join([queue, *sorted(extras)])))


EXAMPLES = (
    Example("-j NFQUEUE", Action(Queue("0"))),
    Example("-j NFQUEUE --queue-num 3 --queue-bypass", Action(Queue("3 bypass"))),
    Example("-j NFQUEUE --queue-balance 0:3", Action(Queue("0:3"))),
    Example("-j NFQUEUE --queue-balance 4", refused="bad queue range"),
    Example("-j NFQUEUE --queue-num 65536", refused='bad queue number "65536"'),
)

EXTENSION = TargetExtension("NFQUEUE", OPTIONS, read, EXAMPLES)
