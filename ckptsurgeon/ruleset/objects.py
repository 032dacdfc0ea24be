"""Plain Python values to nodes, for rules that are given as lists and dicts.

Places are made up: the line is the number of the rule, and the text shows the rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as Table
from collections.abc import Sequence as List

from ckptsurgeon.errors import Place
from ckptsurgeon.ruleset.gathering import shown, wrong
from ckptsurgeon.ruleset.nodes import Mapping, Node, Scalar, Sequence
from ckptsurgeon.ruleset.yaml_nodes import MAX_DEPTH, REFUSED

FILE = "<rules>"


def document(rules: Table[str, object], file: str = FILE) -> Mapping:
    """The node of a whole rule file, given as a dict as YAML would give it."""
    entries = []
    for word, value in rules.items():
        place = Place(file, 1, 1, _line(f"{word}: {value!r}"))
        is_rules = word == "rules" and isinstance(value, list | tuple)
        node = _rules(value, file) if is_rules else from_object(value, place)
        entries.append((_text(word, place), node))
    return Mapping(tuple(entries), Place(file, 1, 1))


def _rules(rules: object, file: str) -> Sequence:
    if not isinstance(rules, list | tuple):
        raise TypeError(f"a list of rules is wanted, not {type(rules).__name__}")
    items = []
    for number, rule in enumerate(rules, 1):
        text = rule if isinstance(rule, str) else repr(rule)
        items.append(from_object(rule, Place(file, number, 1, _line(text))))
    return Sequence(tuple(items), Place(file, 1, 1))


def _line(text: str) -> str:
    """A text as the line of a place: without what no terminal should be sent."""
    return REFUSED.sub("\ufffd", text.replace("\n", " "))


def from_object(value: object, place: Place, depth: int = 0) -> Node:
    """The node of a value; raises RulesetError for one that YAML could not have given."""
    if depth > MAX_DEPTH:
        raise wrong(place, f"more than {MAX_DEPTH} levels of lists and mappings")
    if isinstance(value, str):
        return _text(value, place)
    if value is None or isinstance(value, bool | int | float):
        return Scalar(_plain(value), place, plain=True)
    if isinstance(value, Table):
        entries = (
            (_key(key, place), from_object(item, place, depth + 1)) for key, item in value.items()
        )
        return Mapping(tuple(entries), place)
    if isinstance(value, List) and not isinstance(value, bytes | bytearray):
        return Sequence(tuple(from_object(item, place, depth + 1) for item in value), place)
    kind = type(value).__name__
    raise wrong(
        place, f"a {kind} among the rules", "text, numbers, truth values, lists and dicts are"
    )


def _key(key: object, place: Place) -> Scalar:
    if not isinstance(key, str | int) or isinstance(key, bool):
        raise wrong(place, f"a key that is {type(key).__name__}; text is wanted")
    return _text(str(key), place)


def _text(text: str, place: Place) -> Scalar:
    if REFUSED.search(text):
        raise wrong(place, f"a text with a character that can't be shown: {shown(text)}")
    return Scalar(text, place, shift=0 if place.text == text else None)


def _plain(value: bool | int | float | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf"
    # An int too large to be used anywhere may be too large to be written out, as well.
    return repr(value) if abs(value) < 2**64 else "1e30"
