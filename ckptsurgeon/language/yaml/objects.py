"""Plain Python values to nodes, for rules that are given as lists and dicts.

Places are made up: the line is the number of the rule, and the text shows the rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as Table
from collections.abc import Sequence as List

from ckptsurgeon.errors import Place, Problem
from ckptsurgeon.language.places import PYTHON_RULES
from ckptsurgeon.language.problems import Problems, shown, wrong
from ckptsurgeon.language.yaml.composing import MAX_DEPTH, REFUSED
from ckptsurgeon.language.yaml.nodes import Broken, Mapping, Node, Scalar, Sequence
from ckptsurgeon.specs import DTYPE_NAMES
from ckptsurgeon.wanted import kind_of


def document(rules: Table[str, object]) -> tuple[Mapping, tuple[Problem, ...]]:
    """The node of a whole rule file, given as a dict as YAML would give it.

    With it come the problems of the values that are Broken in it.
    """
    problems = Problems()
    entries = []
    for word, value in rules.items():
        if word == "rules" and isinstance(value, list | tuple):
            items = [_value(rule, number, "", problems) for number, rule in enumerate(value, 1)]
            node: Node = Sequence(tuple(items), Place(PYTHON_RULES, 1, 1))
        else:
            node = _value(value, 1, f"{word}: ", problems)
        entries.append((_key(word, Place(PYTHON_RULES, 1, 1)), node))
    return Mapping(tuple(entries), Place(PYTHON_RULES, 1, 1)), tuple(problems)


def _value(value: object, line: int, before: str, problems: Problems) -> Node:
    text = value if isinstance(value, str) and not before else before + _written(value)
    place = Place(PYTHON_RULES, line, 1, line_of(text))
    with problems.at():
        return from_object(value, place)
    return Broken(place)


def _written(value: object) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):
        # Python writes no integer of thousands of digits, and no list of endless depth.
        return f"a {type(value).__name__}"


def line_of(text: str) -> str:
    """A text as the line of a place: one line, without what no terminal should be sent."""
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
    help = _tell_value(value) or "text, numbers, truth values, lists and dicts are"
    raise wrong(place, f"{kind_of(value)} among the rules", help)


def _tell_value(value: object) -> str:
    """The next step for a value that YAML could not have given."""
    names = (str(value).removeprefix("torch."), getattr(value, "__name__", ""))
    if hasattr(value, "stages"):
        return "rulesets run one after the other, in a list of their own; rules are texts and dicts"
    code = next((code for code, own in DTYPE_NAMES.items() if own in names), "")
    if code:
        return f"a dtype is a text: `{code!r}`"
    if hasattr(value, "tolist"):  # NumPy's numbers, arrays and tensors
        return "write plain Python: `.tolist()` gives it"
    return "ops are named, such as 'transpose'" if callable(value) else ""


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
    return repr(value) if abs(value) < 10**40 else "1e40"
