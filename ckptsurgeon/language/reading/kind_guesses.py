"""Rules of a word, such as `drop`, whose value is written otherwise than it is here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ckptsurgeon.language.problems import MAX_SHOWN
from ckptsurgeon.language.reading import arrow_guesses
from ckptsurgeon.language.reading.notations import other_notations, other_patterns
from ckptsurgeon.language.reading.rule_nodes import (
    block_node,
    keys_node,
    mapping_node,
    replace_texts,
    text_node,
)
from ckptsurgeon.language.reading.rule_options import SHARED
from ckptsurgeon.language.yaml.nodes import Mapping, Node, Scalar, Sequence, is_null

Guess = Callable[[Mapping, str, Node], Iterator[Node]]
"""What a rule may mean: the rule, its word, and the value of that."""

_SIDES = {
    "init": ("to", "fill"),
    "require": ("key", "shape"),
    "freeze_batchnorm": ("from", "to"),
    "fold_batchnorm": ("conv", "batchnorm"),
}
"""The words of rules that take a mapping for a key, and for a value that goes with it."""


def guess_kind(node: Mapping, word: str) -> Iterator[Node]:
    """What a rule of a word may mean, the likeliest first."""
    value = node.get(word)
    if value is not None:
        for guess in _GUESSES.get(word, ()):
            yield from guess(node, word, value)


def _of_sided(node: Mapping, word: str, value: Node) -> Iterator[Node]:
    """`init: x = ones`, and `{init: x, fill: 1}`."""
    inside = _put_inside(node, word, value)
    if set(node.words) - {word, *SHARED} and inside is not None:
        yield inside
    yield from (_replace_value(node, word, one) for one in _sided(value, *_SIDES[word]))


def _of_listed(node: Mapping, word: str, value: Node) -> Iterator[Node]:
    """`drop: a, b`, and `drop: {a, b}`."""
    keys = arrow_guesses.listed_keys(_text_of(value))
    if isinstance(value, Mapping) and all(is_null(one) for _, one in value.entries):
        keys = [key.text for key, _ in value.entries]
    if keys:
        yield _replace_value(node, word, keys_node(keys, node.place))


def _of_pattern(node: Mapping, word: str, value: Node) -> Iterator[Node]:
    """`drop: ^fc`, and other patterns of other tools."""
    yield from (replace_texts(node, {word: one}) for one in other_patterns(_text_of(value)))


def _of_within(node: Mapping, word: str, value: Node) -> Iterator[Node]:
    """`within: a => b`."""
    if other := arrow_guesses.find_arrow(_text_of(value)):
        yield replace_texts(node, {word: f"{other.left} -> {other.right}"})


def _of_fold(node: Mapping, word: str, value: Node) -> Iterator[Node]:
    """`fold_batchnorm: {batchnorm: conv -> bn}`."""
    if not isinstance(value, Mapping) or "conv" in value.words:
        return
    layer = value.get("batchnorm")
    if isinstance(layer, Scalar) and "->" in layer.text:
        others = [entry for entry in value.entries if entry[1] is not layer]
        for sided in _sided(layer, *_SIDES[word]):
            if isinstance(sided, Mapping):
                whole = Mapping((*sided.entries, *others), value.place)
                yield _replace_value(node, word, whole)


def _of_batchnorm_pair(node: Mapping, word: str, value: Node) -> Iterator[Node]:
    """`batchnorm: {from: a, to: b}`."""
    if isinstance(value, Mapping) and set(value.words) == {"from", "to"}:
        source, target = value.get("from"), value.get("to")
        if isinstance(source, Scalar) and isinstance(target, Scalar):
            arrow = text_node(f"{source.text} -> {target.text}", node.place)
            yield _replace_value(node, word, arrow)


def _of_batchnorm_text(node: Mapping, word: str, value: Node) -> Iterator[Node]:
    """`batchnorm: a => b, c`, and `{batchnorm: a, to: b}`."""
    if not (text := _text_of(value)):
        return
    sides = arrow_guesses.find_sides(text)
    left, right = sides if len(sides) == 2 else (text, text)
    is_alone = len(node.entries) == 1
    if (targets := arrow_guesses.listed_keys(right)) and len(sides) == 2 and is_alone:
        yield block_node([f"{left}.*"], [f"{one}.*" for one in targets], None, node.place)
    target = node.get("to")
    if isinstance(target, Scalar) and len(sides) == 1:
        kept = tuple(entry for entry in node.entries if entry[0].text != "to")
        node, right = Mapping(kept, node.place), target.text
    yield replace_texts(node, {word: f"{left} -> {right}"})
    for one, two in other_notations(left, right):
        yield replace_texts(node, {word: f"{one} -> {two}"})


_GUESSES: dict[str, tuple[Guess, ...]] = {
    "init": (_of_sided,),
    "require": (_of_sided,),
    "freeze_batchnorm": (_of_sided,),
    "fold_batchnorm": (_of_sided, _of_fold),
    "drop": (_of_listed, _of_pattern),
    "keep": (_of_listed,),
    "tie": (_of_listed,),
    "within": (_of_within,),
    "batchnorm": (_of_batchnorm_pair, _of_batchnorm_text),
}


def _text_of(value: Node) -> str:
    return value.text if isinstance(value, Scalar) else ""


def _put_inside(node: Mapping, word: str, value: Node) -> Mapping | None:
    """The rule with all words that stand beside its own in the mapping: `{init: x, fill: 1}`.

    None where one of them would stand there twice.
    """
    own = mapping_node(value.place, (_SIDES[word][0], value))
    inner = value.entries if isinstance(value, Mapping) else own.entries
    entries = (*inner, *(entry for entry in node.entries if entry[0].text != word))
    if len({key.text for key, _ in entries}) < len(entries):
        return None
    return mapping_node(node.place, (word, Mapping(entries, value.place)))


def _replace_value(node: Mapping, word: str, value: Node) -> Mapping:
    entries = ((key, value if key.text == word else own) for key, own in node.entries)
    return Mapping(tuple(entries), node.place)


def _sided(value: Node, first: str, second: str) -> Iterator[Node]:
    """The mapping that a key, or a key with a value, stands for: `init: x = ones`."""
    place = value.place
    if isinstance(value, Mapping) and len(value.entries) == 1:
        ((key, given),) = value.entries
        yield mapping_node(place, (first, key), (second, given))
    if isinstance(value, Sequence) and len(value.items) == 2:
        yield mapping_node(place, (first, value.items[0]), (second, value.items[1]))
    if not isinstance(value, Scalar) or len(value.text) > MAX_SHOWN:
        return
    shaped = re.fullmatch(r"(\S+?)\s*(?:->|=|,|:|\s)\s*[\[(]([\d, ]*)[\])]", value.text)
    if shaped is not None and second == "shape":
        sizes = tuple(text_node(size, place) for size in re.findall(r"\d+", shaped[2]))
        yield mapping_node(
            place, (first, text_node(shaped[1], place)), (second, Sequence(sizes, place))
        )
        return
    two = re.fullmatch(r"(\S+?)(?:\s*(?:->|=|,)\s*|\s+)(\S+)", value.text)
    if two is not None:
        yield mapping_node(
            place, (first, text_node(two[1], place)), (second, text_node(two[2], place))
        )
    fill = [("fill", text_node("zeros", place))] if second == "fill" else []
    yield mapping_node(place, (first, value), *fill)
