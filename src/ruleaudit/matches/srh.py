"""srh: the segment routing header of IPv6 (iptables-extensions(8), srh)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.model.fields import Family

OPTIONS = (
    OptionSpec("--srh-next-hdr", negatable=True),
    OptionSpec("--srh-hdr-len-eq", negatable=True),
    OptionSpec("--srh-hdr-len-gt", negatable=True),
    OptionSpec("--srh-hdr-len-lt", negatable=True),
    OptionSpec("--srh-segs-left-eq", negatable=True),
    OptionSpec("--srh-segs-left-gt", negatable=True),
    OptionSpec("--srh-segs-left-lt", negatable=True),
    OptionSpec("--srh-last-entry-eq", negatable=True),
    OptionSpec("--srh-last-entry-gt", negatable=True),
    OptionSpec("--srh-last-entry-lt", negatable=True),
    OptionSpec("--srh-tag", negatable=True),
    OptionSpec("--srh-psid", negatable=True),
    OptionSpec("--srh-nsid", negatable=True),
    OptionSpec("--srh-lsid", negatable=True),
)

EXAMPLES = (
    Example("-m srh --srh-tag 5", Opaque("srh --srh-tag 5", Scope.PACKET), family=Family.IPV6),
    Example("-m srh --srh-label 5", refused='unknown option "--srh-label"', family=Family.IPV6),
)

EXTENSION = MatchExtension("srh", OPTIONS, opaque("srh", Scope.PACKET), EXAMPLES, family=Family.IPV6)
