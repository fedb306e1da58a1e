"""recent: a list of addresses that the rules themselves write (iptables-extensions(8), recent).

`--set` writes and always matches; `--rcheck` reads; `--update` reads and writes what it finds; `--remove` reads and
takes
away. What the list holds at any time cannot be known.
"""

from ruleaudit.matches.checks import checked, within
from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec, normalised
from ruleaudit.model.condition import ALWAYS, NEVER, Not, Opaque, Scope, negate
from ruleaudit.syntax.refusal import Refused

_NUMBER = "[0-9]+|0x[0-9a-fA-F]+"
OPTIONS = (
    OptionSpec("--set", arguments=0, negatable=True),
    OptionSpec("--rcheck", arguments=0, negatable=True),
    OptionSpec("--update", arguments=0, negatable=True),
    OptionSpec("--remove", arguments=0, negatable=True),
    OptionSpec("--seconds", pattern=_NUMBER),
    OptionSpec("--reap", arguments=0),
    OptionSpec("--hitcount", pattern=_NUMBER),
    OptionSpec("--rttl", arguments=0),
    OptionSpec("--name"),
    OptionSpec("--rsource", arguments=0),
    OptionSpec("--rdest", arguments=0),
    OptionSpec("--mask"),
)
_ACTIONS = ("--set", "--rcheck", "--update", "--remove")


def read(given: Options, context: Context) -> Meaning:
    """One action, its negation, and what it writes."""
    actions = [o for o in given if o.name in _ACTIONS]
    if len(actions) != 1:
        raise Refused(
            "recent needs exactly one of --set, --rcheck, --update and --remove", actions[1].name if actions[1:] else ""
        )
    action = actions[0]
    if action.name in ("--set", "--remove") and any(o.name == "--rttl" for o in given):
        raise Refused(f"--rttl needs --rcheck or --update, not {action.name}", "--rttl")
    if any(o.name == "--reap" for o in given) and not any(o.name == "--seconds" for o in given):
        raise Refused("--reap needs --seconds", "--reap")
    text = normalised("recent", given)
    if action.name == "--set":
        return Meaning(NEVER if action.negated else ALWAYS, memory=True, writes=text)
    positive = normalised("recent", tuple(o for o in given if o is not action)) + f" {action.name}"
    test = negate(Opaque(positive, Scope.MEMORY), action.negated)
    return Meaning(test, memory=True, writes=None if action.name == "--rcheck" else text)


EXAMPLES = (
    Example("-m recent --set --name ssh --rsource", ALWAYS),
    Example(
        "-m recent --rcheck --seconds 60 --name ssh", Opaque("recent --seconds 60 --name ssh --rcheck", Scope.MEMORY)
    ),
    Example("-m recent ! --rcheck --name ssh", Not(Opaque("recent --name ssh --rcheck", Scope.MEMORY))),
    Example("-m recent --name ssh", refused="exactly one of"),
    Example("-m recent --set --rttl", refused="--rttl needs --rcheck or --update"),
    Example("-m recent --rcheck --hitcount 65536", refused="from 0 to 65535"),
    Example("-m recent --rcheck --seconds 0", refused="from 1 to 4294967295"),
    Example("-m recent --rcheck --reap", refused="--reap needs --seconds"),
    Example("-m recent --update --seconds soon", refused='bad value "soon"'),
)

EXTENSION = MatchExtension(
    "recent",
    OPTIONS,
    checked(read, within("--hitcount", 0, 65535), within("--seconds", 1, 0xFFFFFFFF)),
    EXAMPLES,
)
