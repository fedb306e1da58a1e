"""Random small rulesets and packets: few values, so that rules meet each other often."""

from hypothesis import strategies as st

from ruleaudit.analysis.trace import Packet
from ruleaudit.model.condition import (
    Condition,
    Direction,
    Interface,
    Masked,
    Opaque,
    Scope,
    States,
    Values,
    negate,
)
from ruleaudit.model.fields import Family, Field, State
from ruleaudit.model.ruleset import (
    IPTABLES_HOOKS,
    NOWHERE,
    Accept,
    Chain,
    Continue,
    Drop,
    Effect,
    EffectKind,
    Goto,
    Jump,
    Match,
    Queue,
    Reject,
    Return,
    Rule,
    Ruleset,
    Table,
    Verdict,
)
from ruleaudit.source import SourceFile, Span

ADDRESSES = (0x0A090001, 0x0A090002, 0xC6336407)
PORTS = (22, 80, 443, 4242)
FLAGS = (0x02, 0x10, 0x12, 0x11, 0x04, 0x00, 0xC2)
INTERFACES = ("lo", "eth0", "eth1")

_conditions: st.SearchStrategy[Condition] = st.one_of(
    st.sampled_from((6, 17, 1)).map(lambda p: Values(Field.PROTOCOL, ((p, p),))),
    st.tuples(st.sampled_from((Field.SADDR, Field.DADDR)), st.sampled_from(ADDRESSES)).map(
        lambda t: Values(t[0], ((t[1], t[1]),))
    ),
    st.tuples(st.sampled_from((Field.SPORT, Field.DPORT)), st.sampled_from(PORTS), st.sampled_from(PORTS)).map(
        lambda t: Values(t[0], ((min(t[1:]), max(t[1:])),))
    ),
    st.sampled_from(FLAGS).map(lambda f: Masked(Field.TCP_FLAGS, 0x17, f & 0x17)),
    st.tuples(st.sampled_from((Field.IIF, Field.OIF)), st.sampled_from(("lo", "eth0", "eth+", "e+"))).map(
        lambda t: Interface(*t)
    ),
    st.tuples(st.sampled_from((1, 3, 0xFFFFFFFF)), st.sampled_from((0, 1, 2, 3))).map(
        lambda t: Masked(Field.MARK, t[0], t[1] & t[0])
    ),
    st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda t: Values(Field.MARK, ((min(t), max(t)),))),
    st.frozensets(st.sampled_from(list(State)), min_size=1, max_size=3).map(States),
    st.booleans().map(Direction),
    st.sampled_from(("a", "b")).map(lambda n: Opaque(f"set {n}", Scope.CONNECTION, (Field.SADDR,))),
    st.just(Opaque("limit", Scope.MEMORY)),
    st.just(Opaque("length", Scope.PACKET)),
)

_verdicts: st.SearchStrategy[Verdict] = st.sampled_from(
    (
        Accept(),
        Drop(),
        Reject("tcp-reset"),
        Queue("1"),
        Return(),
        Continue(),
        Jump("ONE"),
        Jump("TWO"),
        Goto("ONE"),
        Goto("TWO"),
    )
)
_marks = st.tuples(st.sampled_from((1, 3, 0xFFFFFFFF)), st.sampled_from((0, 1, 2))).map(
    lambda t: Effect(EffectKind.MARK, "MARK", mask=t[0], value=t[1])
)
_notracks = st.sampled_from((Effect(EffectKind.NOTRACK, "notrack"), Effect(EffectKind.TRACK, "CT --zone 1")))


@st.composite
def _rules(draw: st.DrawFn, table: str, chain: str) -> tuple[Rule, ...]:
    out: list[Rule] = []
    for number in range(draw(st.integers(0, 4))):
        tests = [negate(draw(_conditions), draw(st.booleans())) for _ in range(draw(st.integers(0, 2)))]
        span = Span(0, 0)
        matches = tuple(Match("", NOWHERE, t, memory=isinstance(t, Opaque) and t.scope is Scope.MEMORY) for t in tests)
        kind = draw(st.integers(0, 9))
        effects: tuple[Effect, ...] = ()
        verdict: Verdict = Continue()
        if kind == 0:
            effects = (draw(_marks),)
        elif kind <= 3 and table == "raw":
            effects = (draw(_notracks),)
        else:
            verdict = draw(_verdicts)
            if chain == "TWO" and isinstance(verdict, Jump | Goto):
                verdict = Return()
            elif chain == "ONE" and isinstance(verdict, Jump | Goto):
                verdict = Jump("TWO")
        text = f"{table} {chain} {number} {matches!r}"
        out.append(Rule(chain, table, number, span, text, matches, effects, verdict))
    return tuple(out)


@st.composite
def rulesets(draw: st.DrawFn) -> Ruleset:
    """A raw, a mangle, a nat and a filter table, each with two user chains."""
    tables: dict[str, Table] = {}
    for name in draw(st.sets(st.sampled_from(("raw", "mangle", "nat", "filter")), min_size=1)):
        chains: dict[str, Chain] = {}
        for chain, (hook, priority) in IPTABLES_HOOKS[name].items():
            policy = Drop() if name == "filter" and draw(st.booleans()) else Accept()
            chains[chain] = Chain(chain, name, draw(_rules(name, chain)), hook, priority, policy, name == "nat")
        for chain in ("ONE", "TWO"):
            chains[chain] = Chain(chain, name, draw(_rules(name, chain)))
        tables[name] = Table(name, chains)
    return Ruleset(SourceFile("random", ""), "iptables-save", Family.IPV4, tables)


@st.composite
def packets(draw: st.DrawFn, path: str) -> Packet:
    """A packet that can be on a path, as far as its interfaces go."""
    values = {
        Field.SADDR: draw(st.sampled_from(ADDRESSES)),
        Field.DADDR: draw(st.sampled_from(ADDRESSES)),
        Field.PROTOCOL: draw(st.sampled_from((6, 17, 1))),
        Field.SPORT: draw(st.sampled_from(PORTS)),
        Field.DPORT: draw(st.sampled_from(PORTS)),
        Field.TCP_FLAGS: draw(st.sampled_from(FLAGS)),
        Field.MARK: draw(st.integers(0, 3)),
    }
    iif = "" if path == "out" else draw(st.sampled_from(INTERFACES))
    oif = "" if path == "in" else draw(st.sampled_from(INTERFACES))
    return Packet(Family.IPV4, values, iif, oif, draw(st.booleans()))
