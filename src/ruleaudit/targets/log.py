"""LOG: writes a line to the kernel log (iptables-extensions(8), LOG)."""

from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (
    OptionSpec("--log-level", pattern="[0-7]|(?i:emerg|panic|alert|crit|err|error|warn|warning|notice|info|debug)"),
    OptionSpec("--log-prefix"),
    OptionSpec("--log-tcp-sequence", arguments=0),
    OptionSpec("--log-tcp-options", arguments=0),
    OptionSpec("--log-ip-options", arguments=0),
    OptionSpec("--log-uid", arguments=0),
    OptionSpec("--log-macdecode", arguments=0),
)

EXAMPLES = (
    Example(
        '-j LOG --log-prefix "INPUT drop: " --log-level 4',
        Action(CONTINUE, (Effect(EffectKind.LOG, 'LOG --log-prefix "INPUT drop: " --log-level 4'),)),
    ),
    Example("-j LOG --log-level bad", refused='bad value "bad"'),
    Example("-j LOG --log-prefx x", refused='unknown option "--log-prefx"'),
)

EXTENSION = TargetExtension("LOG", OPTIONS, effect("LOG", EffectKind.LOG), EXAMPLES)
