"""Ops of a rule: names and parameters out of nodes, read by the types of the op's own struct.

What needs no tensors is checked here. An op whose parameters are all literal is built and thrown
away, so that whatever it refuses is told with the rule file's line.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable
from collections.abc import Mapping as Table
from functools import partial
from typing import Any, NoReturn

import msgspec

from ckptsurgeon.errors import ShapeError
from ckptsurgeon.language.expressions import names_in
from ckptsurgeon.language.patterns import WrittenIndex, parse_index
from ckptsurgeon.language.problems import Problems, shown, suggestion, told, wrong
from ckptsurgeon.language.reading.op_guesses import find_op, op_node
from ckptsurgeon.language.reading.scalars import (
    boolean,
    choice,
    constant,
    dtype,
    each,
    expression,
    find_list,
    integer,
    number,
    parsed,
    scalar,
    unlike,
    word,
)
from ckptsurgeon.language.rules import Argument, OpCall, evaluate
from ckptsurgeon.language.yaml.nodes import Broken, Mapping, Node, Scalar, Sequence
from ckptsurgeon.language.yaml.writing import written
from ckptsurgeon.ops import OPS, Arity, Op, build
from ckptsurgeon.ops.indexing import Index

Reader = Callable[[Node], Argument]


def ops(node: Node) -> tuple[OpCall, ...]:
    """The ops of a rule in order: a list of them, or one alone."""
    if not isinstance(node, Sequence):
        return (op(node),)
    _refuse_split_parameters(node)
    return each(node, op, "ops")


def op(node: Node) -> OpCall:
    """One op: `transpose`, `{cast: F16}` or `{split: {dim: 0}}`."""
    if isinstance(node, Scalar) and not node.null:
        return _call(node, None)
    if not isinstance(node, Mapping) or not node.entries:
        raise unlike(node, "an op", "write its name, or `name: {…}` with parameters")
    if len(node.entries) > 1:
        raise wrong(
            node.entries[1][0].place,
            f"{len(node.entries)} words where one op is wanted",
            find_op(node.entries, op) or f"the order matters: write a list, `{_listed(node)}`",
        )
    name, parameters = node.entries[0]
    return _call(name, parameters)


def _listed(node: Mapping) -> str:
    """The entries of a mapping as a list of ops."""
    return f"[{', '.join(written(op_node(*entry)) for entry in node.entries)}]"


def _call(name: Scalar, parameters: Node | None) -> OpCall:
    cls = OPS.get(name.text)
    if cls is None:
        help = find_op([(name, parameters)], op) or _tell_parameters(name.text)
        raise wrong(name.place, f"unknown op {shown(name.text)}", help)
    if isinstance(parameters, Scalar) and parameters.null:
        help = f"an op without parameters is written `{name.text}` alone"
        raise wrong(parameters.place, f"nothing stands behind `{name.text}:`", help)
    problems = Problems()
    entries = _entries(cls, name, parameters)
    arguments = dict(problems.gather(partial(_argument, cls), entries))
    problems.raise_if_any()
    over = arguments.pop("over", None)
    _check(cls, arguments, name)
    return OpCall(name.text, arguments, over, name.place)


def _tell_parameters(text: str) -> str:
    """The next step for an op in a text with something that it can't be given so."""
    found = re.match(r"\w+", text)
    cls = OPS.get(found[0]) if found else None
    if found is None or cls is None or found[0] == text:
        return suggestion(text, OPS)
    known = list(parameter_types(cls))
    return (
        f"`{cls.name}` takes {', '.join(known)}: `{{{cls.name}: {{{known[0]}: …}}}}`"
        if known
        else (f"write `{cls.name}`")
    )


_BY_A_NUMBER = {"multiply": "scale: {}", "divide": "scale: 1 / {}", "add": "shift: {}"}
"""Ops of several tensors, and what does the same with one and a number."""


def _entries(
    cls: type[Op], name: Scalar, parameters: Node | None
) -> tuple[tuple[Scalar, Node], ...]:
    """The parameters by name; one that stands alone is the op's first."""
    if parameters is None:
        return ()
    if isinstance(parameters, Mapping):
        return parameters.entries
    if isinstance(parameters, Broken):
        raise told()
    if cls.first is None:
        help = f"write `{name.text}`"
        if isinstance(parameters, Scalar) and parameters.numeric and name.text in _BY_A_NUMBER:
            help = f"by a number: `{{{_BY_A_NUMBER[name.text].format(parameters.text)}}}`"
        elif cls.arity is Arity.JOIN and not (
            isinstance(parameters, Scalar) and (parameters.numeric or parameters.truth is not None)
        ):
            help = _TELL_JOIN.format(name=name.text)
        raise wrong(parameters.place, f"`{name.text}` takes no parameter alone", help)
    if isinstance(parameters, Sequence) and parameter_types(cls)[cls.first] in (int, int | None):
        _refuse_list(cls, parameters)
    return ((Scalar(cls.first, parameters.place), parameters),)


_TELL_JOIN = "what it joins stands in `from`: `{{from: [A, B], to: C, ops: {name}}}`"


def _refuse_list(cls: type[Op], listed: Sequence) -> NoReturn:
    """Raises RulesetError for a list where an op takes one number."""
    help = ""
    if "sizes" in parameter_types(cls):
        help = f"write `{{{cls.name}: {{sizes: {written(listed)}}}}}`"
    elif cls.arity is Arity.JOIN:
        help = _TELL_JOIN.format(name=cls.name)
    raise unlike(listed, "a number or an expression", help)


def _over(cls: type[Op], key: Scalar, value: Node) -> str:
    if cls.arity is Arity.EACH:
        joins = ", ".join(name for name, each in OPS.items() if each.arity is not Arity.EACH)
        message = f"`over`: {cls.name} joins nothing and splits nothing"
        raise wrong(key.place, message, f"leave it out; {joins} take it")
    found = word(value)
    if not found.isidentifier():
        raise wrong(value.place, f"`over` takes the name of a capture, found {shown(found)}")
    return found


# --- parameters by the type of their field --------------------------------------------------------


def parameter_types(cls: type[Op]) -> dict[str, Any]:
    """The types of an op's parameters as a rule file writes them."""
    fields = msgspec.structs.fields(cls)
    return {field.name: field.type for field in fields if field.name != cls.further}


def _argument(cls: type[Op], entry: tuple[Scalar, Node]) -> tuple[str, Any]:
    """A parameter by its name; `over`, which is none of the op's own, among them."""
    key, value = entry
    types = parameter_types(cls)
    if key.text == "over":
        return key.text, _over(cls, key, value)
    if key.text in types:
        return key.text, reader_of(key.text, types[key.text])(value)
    if cls.further is not None:
        return key.text, integer(value)
    message = f"unknown parameter {shown(key.text)} of `{cls.name}`"
    known = [*types, "over"] if cls.arity is not Arity.EACH else list(types)
    help = suggestion(key.text, known) if known else f"it takes none: write `{cls.name}`"
    if cls.first is not None and types[cls.first] == Index:
        help = f"it takes what stands in brackets: `{{{cls.name}: ':, 0:3'}}`"
    raise wrong(key.place, message, help)


def reader_of(name: str, kind: Any) -> Reader:
    """The reader for a field of an op; what may be left out may not be null."""
    if kind == Index:
        return index
    variants = [variant for variant in typing.get_args(kind) if variant is not type(None)]
    if type(None) in typing.get_args(kind) and len(variants) == 1:
        return reader_of(name, variants[0])
    lists = [variant for variant in variants if typing.get_origin(variant) is tuple]
    if lists:
        one, several = reader_of(name, variants[0]), reader_of(name, lists[0])
        return lambda node: (several if isinstance(node, Sequence) else one)(node)
    if typing.get_origin(kind) is typing.Literal:
        return choice(typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return _list_reader(name, kind)
    if kind is str:
        return dtype if name == "dtype" else word
    return {bool: boolean, int: integer}.get(kind, number)


def _list_reader(name: str, kind: Any) -> Reader:
    read = reader_of(name, typing.get_args(kind)[0])

    def read_list(node: Node) -> Argument:
        if isinstance(node, Scalar) and not (node.null or node.numeric or node.truth is not None):
            return _list_by_expression(node)
        return each(node, read, "numbers")

    return read_list


def _list_by_expression(node: Scalar) -> Argument:
    """A list that is a var, or written as an expression."""
    if help := find_list(node):
        raise unlike(node, "a list", help)
    formula = expression(node)
    value = constant(formula)
    if value is None:
        return formula
    if not isinstance(value, tuple):
        raise unlike(node, "a list")
    return typing.cast("Argument", value)


def index(node: Node) -> WrittenIndex:
    """A slice, with or without its brackets: `1:3, ::2`."""
    if isinstance(node, Sequence):
        help = "a slice is a text, such as ':, :3', or '0:4' for the first four"
        raise wrong(node.place, "a slice is wanted, found a list", help)
    return parsed(scalar(node, "a slice such as `:, :3`"), parse_index)


# --- checks of whole ops --------------------------------------------------------------------------


def _check(cls: type[Op], arguments: Table[str, Argument], name: Scalar) -> None:
    """Raises RulesetError for what the op itself refuses, as far as its parameters are known."""
    types = parameter_types(cls)
    known: dict[str, object] = {}
    for key, value in arguments.items():
        literal = _literal(value)
        if literal is None and key in types:
            return
        # The size of an axis that only a plan knows is any size to the pattern.
        known[key] = 1 if literal is None else literal
    try:
        build(cls.name, known)
    except ShapeError as error:
        raise wrong(name.place, str(error)) from None


def _literal(value: Argument) -> object | None:
    """The value without anything to evaluate; None where a name is in it."""
    return None if names_in(value) else evaluate(value, {})


def _refuse_split_parameters(node: Sequence) -> None:
    """Raises RulesetError for `[rearrange: "…", two: 2]`: two ops where one was meant."""
    for before, after in zip(node.items, node.items[1:], strict=False):
        if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
            continue
        if len(before.entries) != 1 or len(after.entries) != 1:
            continue
        (name, first), (word, value) = before.entries[0], after.entries[0]
        if word.text not in OPS and _may_belong_to(name.text, word.text, first):
            raise wrong(
                word.place,
                f"`{word.text}` is read as an op of its own, behind `{name.text}`",
                f"it is a parameter: write {_together(name.text, first, word.text, value)}",
            )


def _may_belong_to(op_name: str, parameter: str, first: Node) -> bool:
    cls = OPS.get(op_name)
    if cls is None:
        return False
    axis = cls.further is not None and isinstance(first, Scalar) and parameter in first.text
    return axis or parameter == "over" or parameter in parameter_types(cls)


def _together(op_name: str, first: Node, parameter: str, value: Node) -> str:
    main = OPS[op_name].first
    alone = f'{main}: "{first.text}", ' if main and isinstance(first, Scalar) else "…, "
    size = value.text if isinstance(value, Scalar) else "…"
    return f"`{op_name}: {{{alone}{parameter}: {size}}}`"
