"""`vars`: each read, and put in an order in which every one stands behind those that it uses."""

from __future__ import annotations

import itertools
from collections.abc import Mapping as Table
from functools import partial
from graphlib import CycleError, TopologicalSorter

from ckptsurgeon.errors import RulesetError, nearest
from ckptsurgeon.language.expressions import OF_TENSOR, Expression, names_in
from ckptsurgeon.language.patterns import Reference, parse_reference
from ckptsurgeon.language.problems import MAX_PROBLEMS, Problems, shown, told, wrong
from ckptsurgeon.language.reading.fields import INTEGER, Field, Section
from ckptsurgeon.language.reading.scalars import (
    each,
    expression,
    integer,
    parsed,
    scalar,
    table,
    unlike,
    word,
)
from ckptsurgeon.language.rules import ConfigVar, Given, ShapeVar, Var
from ckptsurgeon.language.yaml.nodes import Mapping, Node, Scalar, Sequence

RESERVED = frozenset({"and", "or", "not", "in", "true", "false", "True", "False", "config", "_"})
"""Words that mean something else in expressions and patterns."""

MAX_VARS = 500

MAX_CHAIN = 50
"""Most vars that need one another in a row, so that working one out takes no deep recursion."""

Plain = Expression | bool | int | float

MAX_LEVELS = 32
"""Most lists and tables of a var in one another."""


def read_vars(node: Node | None, problems: Problems) -> dict[str, Var]:
    """The vars by name, each behind those that it uses.

    What is wrong with one is kept in `problems`; it then has a value that means nothing. Raises
    RulesetError where not even all names are known.
    """
    if node is None:
        return {}
    if not isinstance(node, Mapping):
        raise unlike(node, "a mapping of names to values")
    if len(node.entries) > MAX_VARS:
        raise wrong(node.place, f"{len(node.entries)} vars; at most {MAX_VARS}")
    own = Problems()
    found = {key.text: Var(0, key.place) for key, _ in node.entries}
    found |= own.gather(_var, node.entries)
    if node.whole:
        _tell_strangers(found, own)
    problems.take(own)
    if not node.whole:
        raise told()
    # A var that could not be read can't be looked through for circles.
    with problems.at():
        return found if own else _in_order(found)
    return found


def _var(entry: tuple[Scalar, Node]) -> tuple[str, Var]:
    key, value = entry
    name = key.text
    if not name.isidentifier() or name in RESERVED:
        reason = "means something else in expressions" if name in RESERVED else "is no name"
        help = "a name has letters, digits and _, and begins with none of the digits"
        raise wrong(key.place, f"a var named {shown(name)}, which {reason}", help)
    return name, Var(_value(value), key.place)


def _value(node: Node) -> Given | ShapeVar | ConfigVar:
    if isinstance(node, Mapping):
        if "shape" in node.words:
            read = SHAPE.read(node)
            return ShapeVar(read.get("shape"), read.get("dim"))
        if "config" in node.words:
            read = CONFIG.read(node)
            return ConfigVar(read.get("config"), read.get("default"))
    return _given(node)


def _given(node: Node, level: int = 0, *, in_table: bool = False) -> Given:
    """A value, or a list or a table of values; texts in a table are words as they stand there."""
    if level > MAX_LEVELS:
        raise wrong(node.place, f"more than {MAX_LEVELS} lists and tables in one another")
    if isinstance(node, Sequence):
        inner = partial(_given, level=level + 1, in_table=in_table)
        return () if not node.items else each(node, inner, "numbers and expressions")
    if isinstance(node, Mapping) and not node.entries and node.whole:
        return {}
    if isinstance(node, Mapping):
        return table(node, partial(_given, level=level + 1, in_table=True), "a table of values")
    if in_table and isinstance(node, Scalar) and not (node.numeric or node.null):
        return node.text if node.truth is None else node.truth
    return _plain(node)


def _plain(node: Node) -> Plain:
    """A number, a truth value, or a text, which is an expression."""
    wanted = "a number, an expression, a list, a table, {shape: KEY, dim: n} or {config: NAME}"
    found = scalar(node, wanted)
    if found.truth is not None:
        return found.truth
    return found.number() if found.numeric else expression(found)


def _reference(node: Node) -> Reference:
    found = scalar(node, "a key")
    reference = parsed(found, parse_reference)
    if reference.index is not None:
        raise wrong(found.place, "a slice behind the key of a shape", "`dim` says which size it is")
    if reference.pattern.literal is None:
        raise wrong(found.place, f"`{reference}` is a pattern; a shape is of one key")
    return reference


def _path(node: Node) -> str:
    path = word(node)
    if not all(part.isidentifier() for part in path.split(".")):
        message = f"a name in the config is wanted, such as text.num_heads, found {shown(path)}"
        raise wrong(node.place, message)
    return path.removeprefix("config.")


GIVEN = {"$ref": "#/$defs/given"}

SHAPE = Section(
    "a var of a shape",
    {
        "shape": Field(_reference, {"type": "string"}, "The key whose shape is looked at."),
        "dim": Field(integer, INTEGER, "Which of its sizes."),
    },
    ("shape", "dim"),
)
CONFIG = Section(
    "a var of the config",
    {
        "config": Field(_path, {"type": "string"}, "The name in the config, such as num_heads."),
        "default": Field(_given, GIVEN, "The value where the config lacks it."),
    },
    ("config",),
)


# --- what uses what -------------------------------------------------------------------------------


def _used(var: Var) -> frozenset[str]:
    """The names that a var needs; those of the config are no vars."""
    return frozenset(name for name in names_in(var.value) if not name.startswith("config."))


MOST_COMPARED = 20
"""Strange names of which the nearest var is looked for."""


def _tell_strangers(vars: Table[str, Var], problems: Problems) -> None:
    """Tells names that vars use and that are none."""
    names = set(vars)
    strange = (
        (name, var, used) for name, var in vars.items() for used in sorted(_used(var) - names)
    )
    for number, (name, var, used) in enumerate(itertools.islice(strange, MAX_PROBLEMS)):
        message = f"the var {shown(name)} uses {shown(used)}, which is no var"
        if used in OF_TENSOR:
            message = f"the var {shown(name)} uses `{used}`: no tensor is at hand in a var"
            problems.add(message, var.place, "a size of one key is `{shape: KEY, dim: 0}`")
            continue
        quoted = f"a word wants quotes inside: \"'{used}'\""
        near = nearest(used, names - {name}) if number < MOST_COMPARED else ""
        problems.add(message, var.place, near or quoted)


def _in_order(vars: dict[str, Var]) -> dict[str, Var]:
    """The vars, each behind those that it uses."""
    sorter = TopologicalSorter({name: sorted(_used(var)) for name, var in vars.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise _circle(vars, error.args[1][:0:-1]) from None
    ordered: dict[str, Var] = {}
    for _ in range(MAX_CHAIN):
        ready = sorter.get_ready()
        sorter.done(*ready)
        ordered |= {name: var for name, var in vars.items() if name in ready}
    if len(ordered) == len(vars):
        return ordered
    name = next(name for name in vars if name not in ordered)
    message = f"more than {MAX_CHAIN} vars need one another in a row, up to {shown(name)}"
    raise wrong(vars[name].place, message)


def _circle(vars: dict[str, Var], circle: list[str]) -> RulesetError:
    """The error for vars of which each needs the next."""
    first = min(circle, key=lambda name: vars[name].place)
    turned = circle[circle.index(first) :] + circle[: circle.index(first)]
    middle = turned if len(turned) <= MAX_CHAIN else [*turned[:MAX_CHAIN], "…"]
    chain = " -> ".join([*middle, first])
    return wrong(
        vars[first].place, f"vars that need each other: {chain}", "give one of them a value"
    )
