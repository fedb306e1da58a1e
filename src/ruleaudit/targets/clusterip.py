"""CLUSTERIP: shares one address between hosts, by connection (iptables-extensions(8), CLUSTERIP)."""

from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.fields import Family
from ruleaudit.model.ruleset import Consumer, Effect, EffectKind, Use
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (
    OptionSpec("--new", arguments=0),
    OptionSpec("--hashmode"),
    OptionSpec("--clustermac"),
    OptionSpec("--total-nodes", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--local-node", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--hash-init", pattern="[0-9]+|0x[0-9a-fA-F]+"),
)

EXAMPLES = (
    Example(
        "-d 10.0.0.1/32 -i eth0 -j CLUSTERIP --new --hashmode sourceip --total-nodes 2 --local-node 1",
        Action(
            CONTINUE,
            (Effect(EffectKind.CHANGE, "CLUSTERIP --new --hashmode sourceip --total-nodes 2 --local-node 1"),),
            (Consumer(Use.CREATES, "CLUSTERIP"),),
        ),
        family=Family.IPV4,
    ),
    Example("-j CLUSTERIP --total-nodes two", refused='bad value "two"', family=Family.IPV4),
)

EXTENSION = TargetExtension(
    "CLUSTERIP",
    OPTIONS,
    effect("CLUSTERIP", EffectKind.CHANGE, Use.CREATES),
    EXAMPLES,
    family=Family.IPV4,
    chains=("INPUT",),
)
