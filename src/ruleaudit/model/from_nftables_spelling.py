"""The nodes of an nft tree in one spelling: texts that tell one test from another."""

from ruleaudit.syntax import nft_tree as tree


def spelled(node: object) -> str:
    """A node of the tree as nft would write it."""
    match node:
        case None:
            return ""
        case tree.Word(text, _, quoted):
            return f'"{text}"' if quoted else text
        case tree.Selector(text):
            return text
        case tree.SetName(name):
            return f"@{name}"
        case tree.Range(low, high):
            return f"{spelled(low)}-{spelled(high)}"
        case tree.Concat(parts):
            return " . ".join(map(spelled, parts))
        case tree.Several(parts):
            return ",".join(map(spelled, parts))
        case tree.Operation(operator, left, right):
            return f"{spelled(left)} {operator} {spelled(right)}"
        case tree.Braces(elements):
            return "{ " + ", ".join(map(spelled, elements)) + " }"
        case tree.Element(key, data):
            return spelled(key) + (f" : {spelled(data)}" if data is not None else "")
        case tree.Lookup(key, given):
            return f"{spelled(key)} map {spelled(given)}"
        case tree.Verdict(name, chain):
            return f"{name} {chain}".strip()
        case tree.Match(left, operator, right):
            return " ".join(w for w in (spelled(left), operator, spelled(right)) if w)
        case tree.VerdictMap(key, given):
            return f"{spelled(key)} vmap {spelled(given)}"
        case _:
            return str(getattr(node, "text", node))
