"""A whole ruleset as one object for `nft -j -f` on an empty ruleset (libnftables-json(5), GLOBAL STRUCTURE).

What the tree does not hold (comments, sizes, the settings of named counters) comes from the objects of a JSON source.
"""

import json
from collections.abc import Iterator
from typing import Any

from ruleaudit.source import Span
from ruleaudit.syntax.nft_json_values import Unwritable, element
from ruleaudit.syntax.nft_json_write import rule
from ruleaudit.syntax.nft_tree import Chain, Element, NftDocument, Object, Rule, Set, Table

#: what the tree says better, and what belongs to the kernel that listed it
_NOT_OF_SOURCE = ("handle", "index", "elem", "newname")


def text(document: NftDocument) -> str:
    """The ruleset as JSON. Raises Unwritable for what neither the tree nor a JSON source can say."""
    return json.dumps({"nftables": list(_objects(document))}, ensure_ascii=False) + "\n"


def _objects(document: NftDocument) -> Iterator[dict[str, Any]]:
    """Chains before the maps and rules that jump to them, objects and sets before what uses them."""
    for table in document.tables:
        place = {"family": table.family, "name": table.name}
        yield {"table": _source(document, table.span) | place}
        for chain in table.chains.values():
            yield {"chain": _chain(document, table, chain)}
        for named in table.objects:
            yield {named.kind: _object(document, table, named)}
        for made in table.sets.values():
            yield {"map" if made.data else "set": _set(document, table, made)}
        for chain in table.chains.values():
            for each in chain.rules:
                yield _rule(document, table, chain, each)


def _source(document: NftDocument, span: Span) -> dict[str, Any]:
    """The object of a JSON source, without its command."""
    if not document.json:
        return {}
    found = json.loads(document.source.slice(span))
    while len(found) == 1 and isinstance(inner := next(iter(found.values())), dict):
        found = inner
    return {name: value for name, value in found.items() if name not in _NOT_OF_SOURCE}


def _chain(document: NftDocument, table: Table, chain: Chain) -> dict[str, Any]:
    found: dict[str, Any] = {"family": table.family, "table": table.name, "name": chain.name}
    comment = _source(document, chain.span).get("comment")
    if comment is not None:
        found["comment"] = comment
    if not chain.hook:
        return found
    found |= {"type": chain.kind, "hook": chain.hook, "prio": chain.priority, "policy": chain.policy or "accept"}
    devices = list(chain.devices)
    return found | ({"dev": devices if len(devices) > 1 else devices[0]} if devices else {})


def _object(document: NftDocument, table: Table, named: Object) -> dict[str, Any]:
    if not document.json:
        raise Unwritable(named.text)
    return _source(document, named.span) | {"family": table.family, "table": table.name, "name": named.name}


def _set(document: NftDocument, table: Table, made: Set) -> dict[str, Any]:
    found = _source(document, made.span)
    if not document.json:
        if made.timeout or made.typeof or "timeout" in made.flags:
            raise Unwritable(made.name)
        found["type"] = made.key[0] if len(made.key) == 1 else list(made.key)
        if made.data:
            found["map"] = made.data
        if made.flags:
            found["flags"] = list(made.flags)
    found |= {"family": table.family, "table": table.name, "name": made.name}
    if made.elements:
        found["elem"] = [_element(document, each) for each in made.elements]
    return found


def _element(document: NftDocument, made: Element) -> Any:
    try:
        return element(made)
    except Unwritable:
        if not document.json:
            raise
        return json.loads(document.source.slice(made.span))


def _rule(document: NftDocument, table: Table, chain: Chain, made: Rule) -> dict[str, Any]:
    try:
        return rule(table.family, table.name, chain.name, made)
    except Unwritable:
        found = _source(document, made.span)
        if "expr" not in found:
            raise
        return {"rule": found}
