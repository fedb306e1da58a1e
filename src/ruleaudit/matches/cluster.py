"""cluster: this node's share of the connections, by a hash of the entry (iptables-extensions(8), cluster).

Fails without an entry.
"""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec, normalised
from ruleaudit.model.condition import HAS_ENTRY, Opaque, Scope, all_of
from ruleaudit.model.ruleset import Consumer, Use

OPTIONS = (
    OptionSpec("--cluster-total-nodes", pattern="[0-9]+"),
    OptionSpec("--cluster-local-node", negatable=True, pattern="[0-9]+"),
    OptionSpec("--cluster-local-nodemask", negatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--cluster-hash-seed", pattern="[0-9]+|0x[0-9a-fA-F]+"),
)


def read(given: Options, context: Context) -> Meaning:
    """Opaque where there is an entry."""
    return Meaning(
        all_of([HAS_ENTRY, Opaque(normalised("cluster", given), Scope.ENTRY)]), Consumer(Use.READS, "cluster")
    )


_TEXT = "cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 7"

EXAMPLES = (
    Example(f"-m {_TEXT}", all_of([HAS_ENTRY, Opaque(_TEXT, Scope.ENTRY)])),
    Example("-m cluster --cluster-total-nodes two --cluster-hash-seed 7", refused='bad value "two"'),
)

EXTENSION = MatchExtension(
    "cluster", OPTIONS, read, EXAMPLES, required=("--cluster-total-nodes", "--cluster-hash-seed")
)
