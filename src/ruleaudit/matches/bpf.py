"""bpf: a filter program on the packet (iptables-extensions(8), bpf)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (
    OptionSpec("--bytecode"),
    OptionSpec("--object-pinned", ("--bpf-pinned",)),
)

EXAMPLES = (
    Example("-m bpf --object-pinned /sys/fs/bpf/x", Opaque("bpf --object-pinned /sys/fs/bpf/x", Scope.PACKET)),
    Example("-m bpf --code x", refused='unknown option "--code"'),
)

EXTENSION = MatchExtension("bpf", OPTIONS, opaque("bpf", Scope.PACKET), EXAMPLES)
