"""The lint rules, in one list; a new one is a module and an entry here.

A rule is a module: its docstring is its page (`ruleaudit rule RA201`), CODE, NAME, SEVERITY and SINCE say what it is,
EXAMPLES are rulesets that it catches and leaves alone, and `check` yields its findings about one file. PREVIEW = True:
it runs only with --preview, so that an upgrade turns no green pipeline red; a major release takes the line out.
"""

from types import ModuleType

from ruleaudit.rules import (
    always_true_test,
    blanket_untracked_accept,
    contradictory_rule,
    deprecated_spelling,
    dont_fragment_test,
    entry_on_untracked,
    fragments_lost,
    helper_on_untracked,
    jump_loop,
    late_ban,
    late_established_accept,
    late_notrack,
    limit_behind_new_on_untracked,
    lockout,
    loopback_tracked,
    nat_on_untracked,
    needless_tracking,
    needs_tracking,
    neighbour_discovery_dropped,
    neighbour_discovery_untracked,
    new_without_syn,
    no_final_drop,
    not_understood,
    one_way_notrack,
    pmtu_blackhole,
    redundant_rule,
    replies_dropped,
    rule_after_verdict,
    shadowed_rule,
    state_test_after_accept,
    state_test_on_untracked,
    syntax,
    tracking_by_accident,
    tracking_in_dead_chain,
    undefined_chain,
    unexplained_suppression,
    unmet_expectation,
    unreachable_chain,
    unrendered_template,
    unused_suppression,
    v4_v6_mismatch,
)

#: every rule, in the order of the codes
RULES: tuple[ModuleType, ...] = (
    syntax,
    not_understood,
    unused_suppression,
    unexplained_suppression,
    unrendered_template,
    deprecated_spelling,
    needs_tracking,
    needless_tracking,
    tracking_by_accident,
    state_test_after_accept,
    loopback_tracked,
    tracking_in_dead_chain,
    new_without_syn,
    one_way_notrack,
    state_test_on_untracked,
    pmtu_blackhole,
    nat_on_untracked,
    helper_on_untracked,
    late_notrack,
    v4_v6_mismatch,
    entry_on_untracked,
    blanket_untracked_accept,
    neighbour_discovery_untracked,
    limit_behind_new_on_untracked,
    fragments_lost,
    undefined_chain,
    shadowed_rule,
    unreachable_chain,
    lockout,
    jump_loop,
    always_true_test,
    redundant_rule,
    contradictory_rule,
    rule_after_verdict,
    replies_dropped,
    neighbour_discovery_dropped,
    dont_fragment_test,
    late_ban,
    no_final_drop,
    late_established_accept,
    unmet_expectation,
)

#: what retired codes and names are called now; both are accepted wherever a rule is named, for ever
REDIRECTS: dict[str, str] = {}

#: findings whose message names packets of one address family, and that are one finding all the same;
#: of the others several may be about one place
SAME_IN_ALL = frozenset(rule.CODE for rule in RULES) - {syntax.CODE, not_understood.CODE, unmet_expectation.CODE}
#: what is said of a line that is read for both address families has to be true in both
TRUE_IN_ALL = frozenset(
    rule.CODE
    for rule in (
        tracking_by_accident,
        state_test_after_accept,
        tracking_in_dead_chain,
        shadowed_rule,
        unreachable_chain,
        redundant_rule,
        contradictory_rule,
        rule_after_verdict,
        replies_dropped,
        late_established_accept,
    )
)
#: of two rules that speak of the same words, the one that is silent then, and the one that speaks
SILENT_BESIDE = {state_test_after_accept.CODE: needless_tracking.CODE}


def find(word: str) -> ModuleType | None:
    """The rule with a code or name, or with one that it used to have."""
    word = REDIRECTS.get(word, word)
    return next((rule for rule in RULES if word.lower() in (rule.CODE.lower(), rule.NAME)), None)


def in_preview(rule: ModuleType) -> bool:
    """Whether a rule is still being tried out."""
    return bool(getattr(rule, "PREVIEW", False))
