"""Membership in sets whose contents are known; what cannot be known stays open. The kernel's word: tests/kernel."""

from ruleaudit.model.condition import Condition, Opaque, Scope, Values, all_of
from ruleaudit.model.fields import Family, Field
from ruleaudit.model.from_ipset import sets_of
from ruleaudit.model.from_iptables import Lowered, lower
from ruleaudit.model.ipset import NOT_LATER, IpSet, membership
from ruleaudit.source import SourceFile
from ruleaudit.syntax.iptables import read


def known(text: str) -> dict[str, IpSet]:
    sets, problems = sets_of(SourceFile("sets", text))
    assert problems == ()
    return sets


def lowered(rule: str, sets: str) -> Lowered:
    text = f"*filter\n:INPUT ACCEPT [0:0]\n{rule}\nCOMMIT\n"
    return lower(read(SourceFile("rules", text)), Family.IPV4, known(sets))


def condition(rule: str, sets: str) -> Condition:
    result = lowered(rule, sets)
    assert result.findings == ()
    return next(result.ruleset.rules()).condition


def test_addresses_become_one_test() -> None:
    sets = "create a hash:ip\nadd a 192.0.2.1\nadd a 192.0.2.2\nadd a 192.0.2.3\n"
    assert condition("-A INPUT -m set --match-set a src", sets) == Values(Field.SADDR, ((0xC0000201, 0xC0000203),))


def test_services() -> None:
    expected = all_of(
        [
            Values(Field.DADDR, ((0xC0000201, 0xC0000201),)),
            NOT_LATER,
            Values(Field.PROTOCOL, ((17, 17),)),
            Values(Field.DPORT, ((53, 53),)),
        ]
    )
    sets = "create s hash:ip,port\nadd s 192.0.2.1,udp:53\n"
    assert condition("-A INPUT -m set --match-set s dst,dst", sets) == expected


def test_what_comes_and_goes_stays_open() -> None:
    rule = "-A INPUT -m set --match-set a src"
    opaque = Opaque("set a", Scope.CONNECTION, (Field.SADDR,))
    assert condition(rule, "create a hash:ip timeout 60\nadd a 192.0.2.1 timeout 31\n") == opaque
    assert condition(rule, "create a hash:mac\nadd a 02:00:00:00:00:01\n") == opaque
    assert condition(rule, "create b hash:ip\n") == opaque
    assert condition(rule, "create b hash:ip timeout 60\ncreate a list:set\nadd a b\n") == opaque
    assert condition(rule, "create a list:set\nadd a b\n") == opaque
    assert lowered(rule, "create a hash:ip timeout 60\n").ruleset.known_sets == ()


def test_a_set_that_the_rules_write_to_stays_open() -> None:
    sets = "create a hash:ip\nadd a 192.0.2.1\ncreate l list:set\nadd l a\n"
    rules = "-A INPUT -m set --match-set l src -j DROP\n-A INPUT -j SET --add-set a src"
    assert lowered(rules, sets).ruleset.known_sets == ()
    assert lowered(rules.splitlines()[0], sets).ruleset.known_sets == ("l",)


def test_a_set_of_the_other_family_is_refused() -> None:
    result = lowered("-A INPUT -m set --match-set a src", "create a hash:net family inet6\nadd a 2001:db8::/32\n")
    assert [f.message for f in result.findings] == ["set a holds IPv6 addresses"]


def test_what_is_wrong_with_an_element_is_said() -> None:
    text = "create a hash:ip,port\nadd a 192.0.2.1\ncreate b hash:nets\nadd a 192.0.2.1,tcp:99999\nadd a x,tcp:1\n"
    _, problems = sets_of(SourceFile("sets", text))
    assert [(text.count("\n", 0, p.span.start) + 1, p.message, p.hint) for p in problems] == [
        (2, 'bad element "192.0.2.1" of hash:ip,port: it has 1 parts, not 2', ""),
        (3, 'unknown type of set "hash:nets"', "did you mean hash:net?"),
        (4, 'bad element "192.0.2.1,tcp:99999" of hash:ip,port: bad port "99999": at most 65535', ""),
        (5, 'bad element "x,tcp:1" of hash:ip,port: "x" is not an IPv4 address', ""),
    ]


def test_a_large_set_is_one_test() -> None:
    text = "create a hash:net\n" + "".join(f"add a 10.{n >> 8}.{n & 255}.0/25\n" for n in range(20_000))
    found = membership("a", ("src",), Family.IPV4, known(text))
    assert isinstance(found, Values)
    assert len(found.intervals) == 20_000
