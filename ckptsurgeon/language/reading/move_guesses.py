"""Arrows that can be read, and don't mean what was meant: several keys in one, a call for an op."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ckptsurgeon.errors import Place
from ckptsurgeon.language.lines import behind, edit_line
from ckptsurgeon.language.places import COMMAND_LINE
from ckptsurgeon.language.reading import arguments
from ckptsurgeon.language.reading.arrow_guesses import listed_keys
from ckptsurgeon.language.reading.notations import other_notations, pair_names
from ckptsurgeon.language.reading.op_guesses import meant_ops
from ckptsurgeon.language.reading.rule_nodes import arrow_node, block_node
from ckptsurgeon.language.rules import At, Move
from ckptsurgeon.language.yaml.nodes import Scalar
from ckptsurgeon.language.yaml.quoting import MAX_QUOTED
from ckptsurgeon.language.yaml.writing import LONGEST_LINE, write_line, written
from ckptsurgeon.ops import OPS

_CALL = re.compile(r"(?:torch\.|np\.)?(?P<op>\w+)\((?P<keys>[^()]*)\)")
_BLOCK = "several references stand in a block: `{from: […], to: …, ops: …}`"
_TURNED = re.compile(r"(?P<key>.+)\.(?P<op>(?:T|mT|t\(\)|transpose\([\d, -]*\)))")


def other_sides(rule: Move) -> Iterator[tuple[str, str, str]]:
    """Both sides of an arrow as they may have been meant, and the line that has them."""
    if len(rule.sources) != 1 or len(rule.targets) != 1:
        return
    (source,), (target,) = rule.sources, rule.targets
    own = (source.text, target.text)
    for left, right in (own, *other_notations(*own)):
        for sides in dict.fromkeys([(left, right), pair_names(left, right)]):
            if line := _line(rule, source, target, *sides):
                yield *sides, line


def _line(rule: Move, source: At, target: At, left: str, right: str) -> str:
    """The line of a rule with other sides; empty where it can't be written with all that it has."""
    edited = edit_line(((source, left), (target, right)))
    if edited:
        return edited
    return f"{left} -> {right}" if rule.plain and len(left) + len(right) <= LONGEST_LINE else ""


def tell_listed(rule: Move) -> str:
    """The next step where the one source of a rule is several: `a, b -> x`, `a + b -> x`."""
    keys = listed_keys(rule.sources[0].text) if len(rule.sources) == 1 else []
    if not keys:
        return ""
    target = next(iter(rule.targets), None)
    if target is None or "->" not in target.place.text:
        return f"write `{_list(keys)}`"
    if rule.plain:
        line = write_line(block_node(keys, [target.text], None, rule.place))
        made = "and `ops` with what makes one of several, or several of one"
        return f"write the block form: `{line}`, {made}" if line else _BLOCK
    rest = behind(target)
    whole = all(rest.count(left) == rest.count(right) for left, right in ("[]", "{}"))
    return _write_block(_list(keys), target.text, rest) if whole and rest else _BLOCK


def tell_call(rule: Move) -> str:
    """The next step where the source of an arrow is a call: `transpose(a) -> b`, `a.T -> b`."""
    if len(rule.sources) != 1 or len(rule.targets) != 1 or not rule.plain:
        return ""
    source, target = rule.sources[0].text, rule.targets[0].text
    if len(source) + len(target) > MAX_QUOTED:
        return ""
    if turned := _TURNED.fullmatch(source):
        keys, call = [turned["key"]], turned["op"]
    elif found := _CALL.fullmatch(source):
        given = [one.strip() for one in found["keys"].split(",")]
        keys = [one for one in given if not re.fullmatch(r"(?:\w+=)?-?\d+", one)]
        numbers = ", ".join(one for one in given if one not in keys)
        call = f"{found['op']}({numbers})" if numbers else found["op"]
    else:
        return ""
    ops = meant_ops(Scalar(call, rule.place, plain=True), arguments.op)
    if ops is None or not all(keys):
        return ""
    if len(keys) == 1:
        line = write_line(arrow_node(keys[0], target, ops, rule.place))
    else:
        line = write_line(block_node(keys, [target], ops, rule.place))
    return f"write `{line}`" if line else _BLOCK


def _write_block(source: str, target: str, rest: str) -> str:
    """The next step where an arrow wants a block, with what stands behind its colon."""
    word = re.match(r"\{\s*(\w+):.*\}", rest)
    of_rule = word is not None and word[1] not in OPS
    tail = f", {rest[1:-1].strip()}" if of_rule else f", ops: {rest}"
    whole = f"{{from: {source}, to: {_key(target)}{tail}}}"
    return f"write the block form: `{whole}`" if len(whole) <= 2 * LONGEST_LINE else _BLOCK


def _list(keys: Sequence[str]) -> str:
    return f"[{', '.join(map(_key, keys))}]"


def _key(text: str) -> str:
    """A key as it stands in a list of YAML's."""
    return written(Scalar(text, _NOWHERE, plain=True), inside=True)


_NOWHERE = Place(COMMAND_LINE, 1, 1)
