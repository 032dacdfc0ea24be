"""Nodes of rules made of texts: arrows, blocks, and what stands behind an arrow."""

from __future__ import annotations

from collections.abc import Sequence as List

from ckptsurgeon.errors import Place
from ckptsurgeon.language.reading.rule_kinds import BEHIND
from ckptsurgeon.language.yaml.nodes import Mapping, Node, Scalar, Sequence


def text_node(text: str, place: Place) -> Scalar:
    return Scalar(text, place, plain=True)


def mapping_node(place: Place, *entries: tuple[str, Node]) -> Mapping:
    return Mapping(tuple((text_node(word, place), value) for word, value in entries), place)


def arrow_node(left: str, right: str, value: Node | None, place: Place) -> Node:
    """The rule `left -> right: value`."""
    text = text_node(f"{left} -> {right}", place)
    return text if value is None else Mapping(((text, value),), place)


def block_node(left: List[str], right: List[str], value: Node | None, place: Place) -> Node:
    """The same with lists of keys, as a block."""
    sides = [("from", keys_node(left, place)), ("to", keys_node(right, place))]
    return mapping_node(place, *sides, *words_behind(value))


def keys_node(keys: List[str], place: Place) -> Node:
    if len(keys) == 1:
        return text_node(keys[0], place)
    return Sequence(tuple(text_node(key, place) for key in keys), place)


def words_behind(value: Node | None) -> list[tuple[str, Node]]:
    """What stands behind an arrow as words of a block."""
    if value is None:
        return []
    if isinstance(value, Mapping) and value.entries and value.entries[0][0].text in BEHIND.fields:
        return [(key.text, one) for key, one in value.entries]
    return [("ops", value)]


def with_ops(value: Node | None, ops: Node, *, behind: bool = False) -> Node:
    """What stands behind an arrow, with further ops before those that it has, or behind them."""
    words = dict(words_behind(value))
    own = words.get("ops")
    if own is not None:
        first, second = (own, ops) if behind else (ops, own)
        ops = Sequence((*items_of(first), *items_of(second)), ops.place)
    if set(words) <= {"ops"}:
        return ops
    return mapping_node(ops.place, *{**words, "ops": ops}.items())


def with_word(value: Node | None, word: str, given: Node) -> Node:
    """What stands behind an arrow, with a word more; both conditions where it has one."""
    words = dict(words_behind(value))
    own = words.get(word)
    if word == "where" and isinstance(own, Scalar) and isinstance(given, Scalar):
        given = text_node(f"({own.text}) and ({given.text})", given.place)
    others = [(one, value) for one, value in words.items() if one != word]
    return mapping_node(given.place, (word, given), *others)


def items_of(ops: Node) -> tuple[Node, ...]:
    return ops.items if isinstance(ops, Sequence) else (ops,)


def replace_texts(node: Mapping, texts: dict[str, str]) -> Mapping:
    """The mapping with other texts for some of its words."""
    entries = (
        (key, text_node(texts[key.text], value.place) if key.text in texts else value)
        for key, value in node.entries
    )
    return Mapping(tuple(entries), node.place)
