"""Arrows as other tools and languages write them, and what each is here."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ckptsurgeon.language.problems import MAX_SHOWN, wrong
from ckptsurgeon.language.rules import Move
from ckptsurgeon.language.synonyms import find_word
from ckptsurgeon.language.yaml.nodes import Scalar
from ckptsurgeon.language.yaml.quoting import MAX_QUOTED, without_brackets, without_comment
from ckptsurgeon.ops import OPS

_OTHER_ARROW = re.compile(
    r"=>|(?<!-)-{2,}>+|->>+|~>|<-+|<=|→|⇒|⟶|➔|[\N{EN DASH}\N{EM DASH}]>"
    r"|(?<=\s)(?:>>?|:=?|=|to|as|into)(?=\s)"
)
"""What other languages write between an old name and a new one."""

_PAIR = re.compile(
    r"(?P<one>['\"]?)(?P<old>[^\s:'\"]+)(?P=one)(?P<arrow>:)['\"]?([^\s:'\"]+)['\"]?"
)
"""`a:b`, whose colon is neither that of an alias nor that of a `re:`."""

_BETWEEN = re.compile(r",\s*|\s+(?:[+&=]|==|and)\s+")
"""What stands between keys that somebody lists in an arrow."""


def refuse_other_arrow(node: Scalar, wanted: str = "a rule `A -> B`") -> None:
    """Raises RulesetError for an arrow of another language, where ours is not there or part of it.

    The next step is the rule with ours.
    """
    found = _find_arrow(node.text)
    if found is None:
        return
    arrow, column, meant = found
    help = f"write `{meant}`" if len(node.text) <= MAX_SHOWN else "write `->`"
    raise wrong(node.at(column), f"{wanted} is written with `->`, not `{arrow}`", help)


def arrow_of(text: str) -> str:
    """The arrow that a text is, with ours in it; empty where it is none."""
    found = _find_arrow(text)
    return found[2] if found else text if "->" in text else ""


def _find_arrow(text: str) -> tuple[str, int, str] | None:
    """Another language's arrow in a text: what it is, where it stands, and the rule with ours."""
    found = _OTHER_ARROW.search(text)
    if "->" in text and (found is None or "->" not in found[0]):
        return None
    if found is None:
        pair = _PAIR.fullmatch(without_brackets(text.strip()))
        if pair is None or pair["old"] == "re":
            return None
        begins = len(text) - len(text.lstrip()) + pair.start("arrow")
        sides = [text[:begins].strip(" '\""), text[begins + 1 :].strip(" '\"")]
        return ":", begins, " -> ".join(sides)
    left, right = text[: found.start()].strip(), text[found.end() :].strip()
    if not (left and right):
        return None
    if found[0] in ("<=", "<-", "<--"):
        left, right = right, left
    return found[0], found.start(), f"{left} -> {right}"


def tell_lone_arrow(node: Scalar) -> str:
    """The next step for an arrow where one reference is wanted, by the word before it."""
    before = node.place.text[: node.place.column - 1]
    word = re.search(r"\b(tie|drop|keep)['\"]?:([^:]*)$", before)
    if word is None:
        return "what stands left of it is `from`, what stands right of it is `to`"
    left, _, right = (part.strip() for part in node.text.partition("->"))
    if word[1] == "tie":
        return f"write `tie: [{left}, {right}]`"
    of = "" if word[1] == "drop" else " of the destination"
    alone = f": write `drop: {left}`" if not (of or "[" in word[2]) else ""
    return f"`{word[1]}` takes keys{of} and no target{alone}"


# --- ops in an arrow ------------------------------------------------------------------------------


_CALL = re.compile(r"(?:torch\.|np\.)?(?P<op>\w+)\((?P<keys>.+)\)")
_TURNED = re.compile(r"(?P<keys>.+)\.(?:T|mT|t\(\)|transpose\([\d, -]*\))")
_BEHIND = re.compile(
    r"(?P<key>\S+?)(?:\s*[,|;]\s*|\s+(?:by|with|using)\s+|\s+)"
    r"(?:\(?(?P<op>\w+)\)?|(?:where|if|when)\s+(?P<where>.+))"
)


def refuse_word_beside(node: Scalar, source: str, target: str, column: int) -> None:
    """Raises RulesetError for `a -> b, transpose`, and for `a -> b if i < 2`."""
    found = _BEHIND.fullmatch(target.strip()[:MAX_QUOTED])
    op = _op_of(found["op"] or "") if found else ""
    if found and (op or found["where"]) and len(source) <= MAX_QUOTED:
        at = node.at(column + len(target) - len(target.lstrip()) + len(found["key"]))
        word = op or f"{{where: {found['where']}}}"
        message = f"the op `{op}` beside a target" if op else "a condition beside a target"
        raise wrong(at, message, f"write `{source.strip()} -> {found['key']}: {word}`")


def tell_op_between(sides: Sequence[str]) -> str:
    """The next step where `a -> transpose -> b` has an op in the middle."""
    fits = len(sides) == 3 and sum(map(len, sides)) <= MAX_QUOTED
    op = _op_of(sides[1].strip()) if fits else ""
    return op and f"write `{sides[0].strip()} -> {sides[2].strip()}: {op}`"


def tell_call(rule: Move) -> str:
    """The next step where the source of an arrow is a call: `transpose(a) -> b`, `a.T -> b`."""
    if len(rule.sources) != 1 or len(rule.targets) != 1 or rule.ops:
        return ""
    source, target = rule.sources[0].text, rule.targets[0].text
    if len(source) + len(target) > MAX_QUOTED:
        return ""
    call, turned = _CALL.fullmatch(source), _TURNED.fullmatch(source)
    if turned is not None:
        return f"write `{turned['keys']} -> {target}: transpose`"
    op = _op_of(call["op"]) if call else ""
    if not (call and op):
        return ""
    keys = listed_keys(call["keys"])
    if not keys:
        return f"write `{call['keys'].strip()} -> {target}: {op}`"
    return write_block(f"[{', '.join(keys)}]", target, f": {op}")


def _op_of(name: str) -> str:
    """The op of a name that it has here or elsewhere; empty where it is none."""
    return name if name in OPS else find_word(name, OPS)


# --- lists in an arrow ----------------------------------------------------------------------------


def listed_keys(text: str) -> list[str]:
    """The keys of `a, b`, of `a + b`, of `a = b` and of `a and b`; those of one key are none."""
    masked, keys, start = without_brackets(text[: MAX_QUOTED + 1]), list[str](), 0
    for found in _BETWEEN.finditer(masked):
        keys.append(text[start : found.start()].strip())
        start = found.end()
    keys.append(text[start:].strip())
    plain = all(key and not re.search(r"\s", key) and _is_balanced(key) for key in keys)
    return keys if len(keys) > 1 and plain and len(text) <= MAX_QUOTED else []


def refuse_list(node: Scalar, side: str, other: str, column: int) -> None:
    """Raises RulesetError for `[A, B] -> C`, and for `A -> [B, C]` and `A -> B, C`."""
    text, is_source = side.strip(), column == 0
    listed = not is_source and re.search(r",\s", without_brackets(text)) and listed_keys(text)
    if listed:
        text = f"[{', '.join(listed)}]"
    elif not (text.startswith("[") and text.endswith("]")):
        return
    at = node.at(column + len(side) - len(side.lstrip()))
    sides = (text, other.strip()) if is_source else (other.strip(), text)
    rest = node.place.text.partition(node.text)[2].lstrip("'\"")
    raise wrong(at, "a list of keys in an arrow", write_block(*sides, rest))


def tell_listed(rule: Move) -> str:
    """The next step where the one source of a rule is several: `a, b -> x`, `a + b -> x`."""
    keys = listed_keys(rule.sources[0].text) if len(rule.sources) == 1 else []
    if not keys:
        return ""
    listed, target = f"[{', '.join(keys)}]", next(iter(rule.targets), None)
    if target is None or "->" not in target.place.text:
        return f"write `{listed}`"
    ends = target.place.column - 1 + len(target.text)
    return write_block(listed, target.text, target.place.text[ends:])


def write_block(source: str, target: str, rest: str) -> str:
    """The next step where an arrow wants a block: both sides, and what stands behind its colon.

    `rest` is the line behind the arrow. An op, or ops, are `, ops: concat` in a block; words of the
    rule stand as they are.
    """
    tail = without_comment(rest[1:]).strip() if rest.startswith(": ") else ""
    ops = ""
    if tail and _is_balanced(tail) and len(tail) <= MAX_SHOWN:
        word = re.match(r"\{\s*(\w+):.*\}", tail)
        of_rule = word is not None and word[1] not in OPS
        ops = f", {tail[1:-1].strip()}" if of_rule else f", ops: {tail}"
    last = "" if ops else ", and `ops` with what makes one of several, or several of one"
    return f"write the block form: `{{from: {source}, to: {target}{ops}}}`{last}"


def _is_balanced(text: str) -> bool:
    return all(text.count(left) == text.count(right) for left, right in ("[]", "{}", "()"))
