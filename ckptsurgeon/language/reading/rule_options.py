"""The words that rules share: where, map, pick, optional, count, reuse, fallback."""

from __future__ import annotations

import re
from collections.abc import Mapping as Table
from contextlib import suppress
from functools import partial

from ckptsurgeon.errors import ExpressionError, Place, RulesetError
from ckptsurgeon.language.expressions import Expression, kind_of, names_in, parse_expression
from ckptsurgeon.language.problems import MAX_SHOWN, shown, wrong
from ckptsurgeon.language.reading.fields import NOTHING, TEXT, TRUTH, Field, Read, Schema
from ckptsurgeon.language.reading.notations import OTHER_SPAN
from ckptsurgeon.language.reading.scalars import (
    boolean,
    constant,
    count,
    each,
    expression,
    find_list,
    scalar,
    table,
    text,
    unlike,
)
from ckptsurgeon.language.reading.tables import is_file, read_file
from ckptsurgeon.language.rules import Listing, Options, Pick, Renames, Span
from ckptsurgeon.language.yaml.nodes import Node, Scalar
from ckptsurgeon.language.yaml.writing import written

_SPAN = re.compile(r"(0|[1-9][0-9]{0,17})(?:\.\.(0|[1-9][0-9]{0,17}))?")


def _condition(node: Node) -> Expression:
    """An expression that gives true or false, as far as that is known."""
    found = expression(node)
    value = constant(found)
    if value is not None and not isinstance(value, bool):
        raise wrong(node.place, f"`{found}` is {kind_of(value)}, no condition")
    return found


def _pick(node: Node) -> Pick:
    """A list of integers and ranges, or an expression that gives a list."""
    if isinstance(node, Scalar) and not node.null:
        span = _other_span(node)
        help = find_list(node) or (f"write `[{span}]`" if span else "")
        if help or ".." in node.text:
            raise unlike(node, "a list of integers and ranges `a..b`", help)
        return expression(node)
    return each(node, _span, "integers and ranges `a..b`")


def _other_span(node: Scalar) -> str:
    """The span that `0-3`, `0 to 3` and a number alone are; empty for other texts."""
    found = OTHER_SPAN.fullmatch(node.text)
    return f"{found[1]}..{found[2]}" if found else node.text if node.numeric else ""


def _span(node: Node) -> Span:
    found = scalar(node, "an integer or a range `a..b`")
    match = _SPAN.fullmatch(found.text)
    if match is None:
        return _worked_out(found)
    first = int(match[1])
    last = int(match[2]) if match[2] else first
    if last < first:
        raise wrong(found.place, f"the range {found.text} ends before it begins")
    return Span(first, last)


def _worked_out(node: Scalar) -> Span:
    """A span of which an end, at least, is an expression over names."""
    first, dots, last = node.text.partition("..")
    other = _other_span(node)
    ends: list[Expression] = []
    with suppress(ExpressionError):
        ends = [parse_expression(end) for end in ((first, last) if dots else (first,))]
    if other or not names_in(tuple(ends)):
        message = f"an integer from 0 up, or a range `a..b`, is wanted, found {shown(node.text)}"
        raise wrong(node.place, message, f"write `{other}`" if ".." in other else "")
    return Span(ends[0], ends[-1])


def _picks(node: Node) -> dict[str, Pick]:
    wanted = "a mapping `{i: [0, 2..5]}` of captures to lists"
    return table(node, _pick, wanted, _name_capture(node))


def _maps(node: Node) -> dict[str, Renames]:
    return table(
        node, partial(_renames, whole=node), "a mapping `{p: {old: new}}` of captures to tables"
    )


def _renames(node: Node, whole: Node) -> Renames:
    """A table, a file of one, or an expression that gives one."""
    if isinstance(node, Scalar) and not node.null:
        if is_file(node):
            return _without_null(read_file(node))
        with suppress(RulesetError):
            if names_in(found := expression(node)):
                return found
        message = "a table of captures is wanted, found one of values"
        raise wrong(whole.place, message, _name_capture(whole))
    return table(node, _new_text, "a table `{old: new}`", "`pick` takes a list of integers")


_NO_NULL = "a capture can't be null: leave {} out, and drop its keys"


def _new_text(node: Node) -> str:
    if isinstance(node, Scalar) and node.null:
        raise wrong(node.place, _NO_NULL.format("it"))
    return text(node)


def _without_null(listing: Listing) -> Listing:
    """The entries of a file, which all give captures something."""
    for entry in listing.entries:
        if entry.new is None:
            raise wrong(Place(listing.file, entry.line, 1), _NO_NULL.format(shown(entry.old)))
    return listing


def _name_capture(node: Node) -> str:
    """The next step where a list, or a table, is not under the name of a capture.

    The first capture of the line is the one, for want of a better.
    """
    name = re.search(r"<([A-Za-z]\w*)[:>]", node.place.text)
    value = f"[{_other_span(node) or '…'}]" if isinstance(node, Scalar) else written(node)
    shown_as = value if len(value) <= MAX_SHOWN else "…"
    return f"name the capture: `{{{name[1] if name else 'i'}: {shown_as}}}`"


def _table_of(values: Schema) -> Schema:
    """The JSON Schema of a mapping that is not empty, by that of its values."""
    return {"type": "object", "minProperties": 1, "additionalProperties": values}


_SPAN_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "description": "An expression, or a range `a..b` of two."},
    ]
}
_SPANS = {"type": "array", "minItems": 1, "items": _SPAN_SCHEMA}
_LIST = {"type": "string", "description": "A list by name: a var, or an item, as `keep[i]`."}
_TABLE = {
    "type": "string",
    "description": "A table by name: a var, an item, as `names[i]`, names.json or names.csv.",
}
_CONDITION = {"type": ["string", "boolean"]}
_COUNT = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}

SHARED: Table[str, Field] = {
    "where": Field(
        _condition,
        _CONDITION,
        "A condition over captures (as in the source), vars, and the tensor's `shape` and `dtype`.",
    ),
    "optional": Field(
        boolean, TRUTH, "Matching nothing is no error; incomplete steps are skipped."
    ),
    "count": Field(count, _COUNT, "How many steps this rule must make."),
}
"""What every rule but `within` takes."""

MOVING: Table[str, Field] = {
    **SHARED,
    "map": Field(
        _maps,
        _table_of({"anyOf": [_table_of(TEXT), _TABLE]}),
        "Rewrites captures by a table, old to new; what it lacks doesn't match.",
    ),
    "pick": Field(
        _picks,
        _table_of({"anyOf": [_SPANS, _LIST]}),
        "Takes these integers of a capture, in this order, numbered anew from 0.",
    ),
    "reuse": Field(boolean, TRUTH, "Leaves its keys for later rules too."),
    "fallback": Field(boolean, TRUTH, "Gives only output keys that no earlier rule gave."),
}
"""What an arrow or a block takes."""


PLACED = (*MOVING, "fill", "std", "seed")
"""The words whose own places are asked for once all is read."""


def options(outer: Read, inner: Read = NOTHING) -> Options:
    """The options among the words that were read, with the place of each.

    Shared words may stand in the rule's own mapping, or in the one behind its word.
    """
    twice = next((word for word in SHARED if word in inner.values and word in outer.values), None)
    if twice is not None:
        raise wrong(
            outer.places[twice], f"`{twice}` stands twice in one rule", "keep one of the two"
        )
    found = {**outer.values, **inner.values}
    places = {**outer.places, **inner.places}
    return Options(
        **{word: found[word] for word in MOVING if word in found},
        places={word: places[word] for word in PLACED if word in places},
    )
