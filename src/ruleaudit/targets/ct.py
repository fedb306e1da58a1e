"""CT: leaves packets untracked, or says how to track them (iptables-extensions(8), CT).

`--notrack` wins over the other options of its rule; without it the packet gets a template, and a later notrack has no
effect (netfilter-facts section 9).
"""

from ruleaudit.matches.extension import Context, Options, OptionSpec, normalised
from ruleaudit.model.ruleset import Consumer, Effect, EffectKind, Use
from ruleaudit.syntax.numbers import number
from ruleaudit.syntax.refusal import Refused, did_you_mean
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension

OPTIONS = (
    OptionSpec("--notrack", arguments=0),
    OptionSpec("--helper"),
    OptionSpec("--timeout"),
    OptionSpec("--ctevents"),
    OptionSpec("--expevents"),
    OptionSpec("--zone"),
    OptionSpec("--zone-orig"),
    OptionSpec("--zone-reply"),
)
EVENTS = ("new", "related", "destroy", "reply", "assured", "protoinfo", "helper", "mark", "natseqinfo", "secmark")


def read(given: Options, context: Context) -> Action:
    """Notrack, or a template."""
    for option in given:
        if option.name.startswith("--zone") and option.value != "mark":
            number(option.value, 0, 65535, "zone")
        elif option.name.endswith("events"):
            known = EVENTS if option.name == "--ctevents" else ("new",)
            for word in option.value.split(","):
                if word not in known:
                    raise Refused(f'unknown event "{word}"', word or option.value, did_you_mean(word, known))
        elif option.name in ("--helper", "--timeout") and context.protocol is None:
            raise Refused(f"{option.name} needs -p and a protocol that is not negated", option.name)
    text = normalised("CT", given)
    if any(o.name == "--notrack" for o in given):
        return Action(CONTINUE, (Effect(EffectKind.NOTRACK, text),))
    consumers = tuple(Consumer(Use.CREATES, f"CT {o.name}") for o in given)
    return Action(CONTINUE, (Effect(EffectKind.TRACK, text),), consumers)


EXAMPLES = (
    Example(
        "-j CT --notrack",
        Action(CONTINUE, (Effect(EffectKind.NOTRACK, "CT --notrack"),)),
        chain="PREROUTING",
        table="raw",
    ),
    Example(
        "-j CT --notrack --zone 5",
        Action(CONTINUE, (Effect(EffectKind.NOTRACK, "CT --notrack --zone 5"),)),
        chain="OUTPUT",
        table="raw",
    ),
    Example(
        "-p tcp -m tcp --dport 21 -j CT --helper ftp",
        Action(CONTINUE, (Effect(EffectKind.TRACK, "CT --helper ftp"),), (Consumer(Use.CREATES, "CT --helper"),)),
        chain="PREROUTING",
        table="raw",
    ),
    Example("-j CT --helper ftp", refused="--helper needs -p", chain="PREROUTING", table="raw"),
    Example("-j CT --zone red", refused='bad zone "red"', chain="PREROUTING", table="raw"),
    Example("-j CT --notrack", refused="only in table raw"),
)

EXTENSION = TargetExtension("CT", OPTIONS, read, EXAMPLES, tables=("raw",))
