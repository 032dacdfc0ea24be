"""Rules as people write them at first, and what each is here.

Words of other tools, words in other places, other arrows and other captures: each is made the rule
that may have been meant, with all that stood in it. It is read before it is told.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from ckptsurgeon.errors import Place, RulesetError, nearest
from ckptsurgeon.language.places import PYTHON_RULES
from ckptsurgeon.language.problems import MAX_SHOWN
from ckptsurgeon.language.reading import arguments, arrow_guesses
from ckptsurgeon.language.reading.arrows import node_of_line
from ckptsurgeon.language.reading.expression_guesses import meant_expression
from ckptsurgeon.language.reading.kind_guesses import guess_kind
from ckptsurgeon.language.reading.notations import other_notations, other_patterns
from ckptsurgeon.language.reading.op_guesses import meant_ops, op_node
from ckptsurgeon.language.reading.rule_kinds import BEHIND, RULE_WORDS
from ckptsurgeon.language.reading.rule_nodes import (
    arrow_node,
    block_node,
    items_of,
    mapping_node,
    replace_texts,
    text_node,
    with_ops,
    with_word,
)
from ckptsurgeon.language.synonyms import find_word, fold_word, is_copy, is_rename
from ckptsurgeon.language.yaml.nodes import Mapping, Node, Scalar, Sequence, is_null
from ckptsurgeon.language.yaml.writing import LONGEST_LINE, write_line
from ckptsurgeon.ops import OPS

MOST_GUESSES = 12
"""Rules that are tried for one that can't be read."""


def guess_rule(node: Node, read: Callable[[Node], object]) -> str:
    """The line of the rule that a node was meant to be; empty where `read` reads none."""
    if len(node.place.text) > 4 * LONGEST_LINE:
        return ""
    for meant in itertools.islice(_meanings(node), MOST_GUESSES):
        line = write_line(meant)
        if line and _is_read(meant, read):
            return line
    return ""


def _is_read(node: Node, read: Callable[[Node], object]) -> bool:
    try:
        read(node)
    except RulesetError:
        return False
    return True


def _meanings(node: Node) -> Iterator[Node]:
    """What a rule may mean, the likeliest first."""
    if isinstance(node, Scalar):
        yield from _of_text(node)
    elif isinstance(node, Mapping) and node.entries:
        yield from _of_mapping(node)
    elif isinstance(node, Sequence) and len(node.items) == 2:
        yield from _renames(node.place, *node.items)


# --- arrows ---------------------------------------------------------------------------------------


def _of_text(node: Scalar) -> Iterator[Node]:
    """What a text may mean that is no rule: an arrow, or a word without its colon."""
    if node.place.file == PYTHON_RULES:
        yield from _as_typed(node)
    yield from _of_word(node)
    yield from _of_arrow(node.text, None, node.place)


def _as_typed(node: Scalar) -> Iterator[Node]:
    """A rule in one text, in Python, as it is typed on the command line."""
    with suppress(RulesetError):
        typed = node_of_line(node.text, replace(node.place, column=1))
        if not isinstance(typed, Scalar):
            yield typed
            yield from _meanings(typed)


def _of_word(node: Scalar) -> Iterator[Node]:
    """`drop fc.*`, `rename a to b`, and Python's text `drop: fc.*`."""
    first, _, rest = node.text.partition(" ")
    word, rest = first.removesuffix(":"), rest.strip()
    meant = word if word in RULE_WORDS else find_word(word, RULE_WORDS)
    if not rest or rest.startswith("->"):
        return
    if is_rename(word) or meant == "from":
        arrows = _of_arrow(rest, None, node.place)
        yield from map(_with_both, arrows) if is_copy(word) else arrows
    elif meant:
        yield mapping_node(node.place, (meant, text_node(rest, node.place)))


def _of_arrow(text: str, value: Node | None, place: Place) -> Iterator[Node]:
    """What an arrow may mean that can't be read, or that is another's."""
    for left, right, behind in _sides(text, value, place):
        for target, own in _targets(right, behind):
            yield arrow_node(left, target, own, place)
            for one, other in other_notations(left, target):
                yield arrow_node(one, other, own, place)
            sources, targets = map(arrow_guesses.listed_keys, (left, target))
            beside = any(_ops(one, place) or one in BEHIND.fields for one in targets)
            if (sources or targets) and not beside:
                yield block_node(sources or [left], targets or [target], own, place)


def _sides(text: str, value: Node | None, place: Place) -> Iterator[tuple[str, str, Node | None]]:
    """Both sides of an arrow, and what stands behind it: `a => b`, `a -> transpose -> b`."""
    sides = arrow_guesses.find_sides(text)
    if len(sides) == 2:
        yield sides[0], sides[1], value
    elif len(sides) == 3 and (ops := _ops(sides[1], place)):
        yield sides[0], sides[2], with_ops(value, ops)


def _targets(right: str, value: Node | None) -> Iterator[tuple[str, Node | None]]:
    """A target, and what stands behind the arrow: `b`, `b, transpose`, `b if i < 2`."""
    place = Place("", 0, 0) if value is None else value.place
    found = arrow_guesses.find_behind(right)
    if found is not None:
        target, rest = found
        words = re.fullmatch(r"(?:where|if|when)\s+(.+)", rest)
        if words is not None:
            for condition in (words[1], meant_expression(words[1])):
                if condition:
                    yield target, with_word(value, "where", text_node(condition, place))
        elif rest in ("optional", "reuse", "fallback"):
            yield target, with_word(value, rest, text_node("true", place))
        elif ops := _ops(re.sub(r"^(?:by|with|using)\s+", "", rest), place):
            yield target, with_ops(value, ops)
    tight = re.fullmatch(r"(.*[^\\:]):(\w+)", right)
    if tight is not None and tight[2] in OPS:
        yield tight[1], with_ops(value, text_node(tight[2], place))
    yield right, value


def _ops(text: str, place: Place) -> Node | None:
    """The op, or the list of ops, that a text is here or elsewhere."""
    bare = text[1:-1] if text.startswith("(") and text.endswith(")") else text
    return meant_ops(text_node(bare, place), arguments.op)


# --- mappings -------------------------------------------------------------------------------------


def _of_mapping(node: Mapping) -> Iterator[Node]:
    (key, value), *others = node.entries
    word = next((one for one in node.words if one in RULE_WORDS), "")
    if any("->" in one for one in node.words):
        yield from _of_keyed_arrow(node)
    elif word == "from":
        yield from _of_block(node)
    elif word:
        yield from guess_kind(node, word)
    else:
        if not others:
            yield from _of_arrow(key.text, value, node.place)
        yield from _renames_in(node)


def _of_keyed_arrow(node: Mapping) -> Iterator[Node]:
    """`{a -> b, transpose}`, and an arrow with a value that can't be read."""
    (arrow, value) = next(entry for entry in node.entries if "->" in entry[0].text)
    behind = None if is_null(value) else value
    for key, given in node.entries:
        if key is arrow:
            continue
        if key.text in OPS:
            behind = with_ops(behind, op_node(key, given), behind=True)
        elif key.text in BEHIND.fields:
            behind = with_word(behind, key.text, given)
        elif key.text == "within":
            yield from _of_arrow_within(node)
            return
        else:
            return
    if isinstance(behind, Scalar):
        yield from _of_option(arrow, behind)
    yield from _of_arrow(arrow.text, behind, node.place)


def _of_arrow_within(node: Mapping) -> Iterator[Node]:
    """`{within: layer1., a -> b: transpose}`, with all that stands beside the prefix."""
    rules: list[Node] = []
    for key, value in node.entries:
        if "->" in key.text:
            arrow = text_node(key.text, node.place)
            rules.append(arrow if is_null(value) else Mapping(((arrow, value),), node.place))
        elif key.text == "rules" and isinstance(value, Sequence):
            rules += value.items
        elif key.text != "within":
            return
    prefix = node.get("within")
    if prefix is not None:
        items = Sequence(tuple(rules), node.place)
        yield mapping_node(node.place, ("within", prefix), ("rules", items))


def _of_option(arrow: Scalar, value: Scalar) -> Iterator[Node]:
    """`A -> B: where i < 2`, `A -> B: optional`."""
    found = re.fullmatch(r"(\w+)(?:(?:\s*[:=]\s*|\s+)(.+))?", value.text[: MAX_SHOWN + 1])
    name = found[1] if found and len(value.text) <= MAX_SHOWN else ""
    word = "where" if name in ("if", "when") else name
    if found and word in BEHIND.fields:
        given = text_node(found[2] or "true", value.place)
        yield Mapping(((arrow, mapping_node(value.place, (word, given))),), arrow.place)


def _of_block(node: Mapping) -> Iterator[Node]:
    """A rule of `from` and `to` with other captures, or with ops beside these words."""
    if any(key.text in OPS for key, _ in node.entries):
        ops: list[Node] = []
        for key, value in node.entries:  # in the order in which they stand
            ops += items_of(value) if key.text == "ops" else ()
            ops += [op_node(key, value)] if key.text in OPS else ()
        given = ops[0] if len(ops) == 1 else Sequence(tuple(ops), node.place)
        kept = (entry for entry in node.entries if entry[0].text not in (*OPS, "ops"))
        node = Mapping((*kept, (text_node("ops", node.place), given)), node.place)
        yield node
    source, target = node.get("from"), node.get("to")
    if isinstance(source, Scalar) and isinstance(target, Scalar):
        for left, right in other_notations(source.text, target.text):
            yield replace_texts(node, {"from": left, "to": right})
    elif isinstance(source, Scalar) and target is None:
        yield from (replace_texts(node, {"from": one}) for one in other_patterns(source.text))


def _with_both(arrow: Node) -> Node:
    """A rule that leaves a key under its old name, too, of one that renames it."""
    value: Node | None = None
    if isinstance(arrow, Mapping) and len(arrow.entries) == 1:
        arrow, value = arrow.entries[0]
    sides = arrow_guesses.find_sides(arrow.text) if isinstance(arrow, Scalar) else []
    if len(sides) != 2:
        return arrow
    old, new = sides
    if value is None:
        return block_node([old], [old, new], None, arrow.place)
    reused = with_word(value, "reuse", text_node("true", arrow.place))
    return arrow_node(old, new, reused, arrow.place)  # the ops are for the new name alone


# --- old names with new ones ----------------------------------------------------------------------


def _renames_in(node: Mapping) -> Iterator[Node]:
    """`rename: a -> b`, `rename: {a: b}`, `old: a` with `new: b`, `a: b`."""
    words = [entry for entry in node.entries if entry[0].text in BEHIND.fields]
    named = [entry for entry in node.entries if entry not in words]
    (key, value) = named[0] if named else node.entries[0]
    behind: Node | None = None
    for one, own in words:
        behind = with_ops(behind, own) if one.text == "ops" else with_word(behind, one.text, own)
    renames = is_rename(key.text) or key.text in ("map", "rename_keys", "mapping", "renames")
    if is_copy(key.text):
        rename = (text_node("rename", key.place), value)
        others = [entry for entry in node.entries if entry[0] is not key]
        yield from map(_with_both, _renames_in(Mapping((rename, *others), node.place)))
        return
    if key.text == "map" and isinstance(value, Mapping) and len(words) == 1 == len(value.entries):
        yield from _renames(node.place, *value.entries[0])
    if len(named) == 1 and renames:
        if isinstance(value, Scalar):
            yield from _of_arrow(value.text, behind, node.place)
        if isinstance(value, Mapping) and len(value.entries) == 1:
            yield from _renames(node.place, *value.entries[0], behind)
        elif isinstance(value, Sequence) and len(value.items) == 2:
            yield from _renames(node.place, *value.items, behind)
    elif len(named) == 2 and "." not in key.text and _may_be_side(key.text):
        yield from _renames(node.place, value, named[1][1], behind)
    elif len(named) == 1 and ("." in key.text or _may_be_side(key.text)):
        dropped = isinstance(value, Scalar) and (value.text, find_word(value.text, RULE_WORDS))
        if dropped and "drop" in dropped:
            yield mapping_node(node.place, ("drop", text_node(key.text, node.place)))
        yield from _renames(node.place, key, value, behind)


def _may_be_side(word: str) -> bool:
    """Whether a word may be another's for the source of a rule."""
    if is_rename(word) or find_word(word, RULE_WORDS) == "from":
        return True
    if fold_word(word) in ("swap", "exchange"):  # two rules
        return False
    return not (nearest(word, RULE_WORDS) or find_word(word, RULE_WORDS) or word in OPS)


def _renames(place: Place, old: Node, new: Node, behind: Node | None = None) -> Iterator[Node]:
    """The arrow of an old name and a new one."""
    names = [one.text for one in (old, new) if isinstance(one, Scalar) and not one.null]
    plain = not any(re.search(r"\s|->", one) for one in names)
    if len(names) != 2 or not plain or names[0] in ("from", "to", "only", "strip"):
        return
    known = names[1] in (*OPS, *RULE_WORDS) or find_word(names[1], RULE_WORDS)
    value = isinstance(new, Scalar) and (new.numeric or new.truth is not None)
    if not (known or value):
        yield arrow_node(names[0], names[1], behind, place)


def tell_renames(node: Node) -> str:
    """The next step where rules are a mapping of old names to new ones."""
    if not isinstance(node, Mapping) or any(key.text in RULE_WORDS for key, _ in node.entries):
        return ""
    arrows = (arrow for entry in node.entries for arrow in _renames(node.place, *entry))
    first = next(arrows, None)
    return f"write each as an item of a list: `- {write_line(first)}`" if first else ""
