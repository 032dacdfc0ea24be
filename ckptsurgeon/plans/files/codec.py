"""Structs of a plan as lists of plain values, and back: nodes and rules are told by their numbers.

A field of one name means one thing in all of them, so that no struct is described twice.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from ckptsurgeon.ops import build
from ckptsurgeon.ops.base import Op
from ckptsurgeon.plans.graph import (
    Assembly,
    Call,
    Leaf,
    Made,
    Node,
    Part,
    Result,
    RuleInfo,
    in_order,
    work_of,
)
from ckptsurgeon.specs import TensorSpec, UnreadableSpec

Listed = Node | Call
"""What stands in a file's list of nodes."""

KINDS: Mapping[str, type[Listed]] = {
    kind.__name__.lower(): kind for kind in (Leaf, Made, Call, Result, Assembly)
}
"""What an entry of that list makes, by its first word; its fields follow."""

T = TypeVar("T", bound=msgspec.Struct)


class Encoder:
    """Makes plain values of structs, and `nodes` as they are met: each after its inputs.

    `repeated` are met beside the rules: those that a `within` writes anew for each of its prefixes.
    """

    def __init__(self, rules: Sequence[RuleInfo]) -> None:
        self.nodes: list[list[Any]] = []
        self.repeated: list[RuleInfo] = []
        self._numbers: dict[int, int] = {}
        self._rules = {_rule_name(rule): at for at, rule in enumerate(rules)}

    def fields(self, struct: msgspec.Struct) -> list[Any]:
        """What a struct holds, field by field."""
        return [self.plain(getattr(struct, name)) for name in struct.__struct_fields__]

    def plain(self, value: object) -> Any:
        """A value as JSON knows it."""
        if isinstance(value, RuleInfo):
            return self._rule(value)
        if isinstance(value, Op):
            return [value.name, msgspec.to_builtins(value)]
        if isinstance(value, Listed):
            return self._number(value)
        if isinstance(value, Part):
            return self.fields(value)
        if isinstance(value, list | tuple):
            return [self.plain(item) for item in value]
        return msgspec.to_builtins(value)

    def _rule(self, rule: RuleInfo) -> int:
        name = _rule_name(rule)
        if name not in self._rules:
            self._rules[name] = len(self._rules)
            self.repeated.append(rule)
        return self._rules[name]

    def _number(self, item: Listed) -> int:
        work = item if isinstance(item, Call) else work_of(item)
        for one in (*in_order(work, self._is_listed), item):
            if not self._is_listed(one):
                entry = [type(one).__name__.lower(), *self.fields(one)]
                self._numbers[id(one)] = len(self.nodes)
                self.nodes.append(entry)
        return self._numbers[id(item)]

    def _is_listed(self, item: Listed) -> bool:
        return id(item) in self._numbers


def _rule_name(rule: RuleInfo) -> tuple[int, int, str]:
    """What tells rules of a plan apart, also the repetitions of one."""
    return rule.stage, rule.number, rule.text


class Decoder:
    """Makes structs of plain values; raises ValueError, TypeError, LookupError or ShapeError."""

    def __init__(self, rules: Sequence[RuleInfo]) -> None:
        self._rules = rules
        self._nodes: list[Listed] = []
        self._readers: Mapping[str, Callable[[Any], Any]] = {
            **dict.fromkeys(("rule", "winner", "dropper"), self.rule),
            "node": self.node,
            "base": lambda number: None if number is None else self.node(number),
            **dict.fromkeys(("untaken", "dropped"), _share),
            **dict.fromkeys(("found", "wanted"), _spec),
            "call": self._call,
            "op": _op,
            "inputs": lambda items: tuple(map(self.node, items)),
            "parts": lambda items: tuple(self.struct(item, Part) for item in items),
            "ops": lambda items: [tuple(map(_op, ops)) for ops in items],
        }

    def struct(self, fields: Sequence[Any], kind: type[T]) -> T:
        """The struct whose fields these are."""
        types = _types(kind)
        if len(fields) != len(types):
            raise ValueError(f"{len(fields)} fields of a {kind.__name__}, which has {len(types)}")
        return kind(*(self._read(*one) for one in zip(types.items(), fields, strict=True)))

    def _read(self, field: tuple[str, Any], value: Any) -> Any:
        name, kind = field
        reader = self._readers.get(name)
        if reader is not None:
            return reader(value)
        return msgspec.convert(value, kind, str_keys=True)

    def listed(self, entry: Sequence[Any]) -> Listed:
        """The node or call of an entry, which may only name those before it."""
        word, *fields = entry
        if word not in KINDS:
            raise ValueError(f"{word!r} is no kind of node")
        return self.struct(fields, KINDS[word])

    def add(self, node: Listed) -> None:
        """Gives a node the next number."""
        self._nodes.append(node)

    def node(self, number: Any) -> Node:
        """The node of a number; what has several results is none."""
        node = _numbered(number, self._nodes)
        if isinstance(node, Call):
            raise ValueError(f"node {number} is an op, no tensor")
        return node

    def rule(self, number: Any) -> RuleInfo | None:
        """The rule of a number."""
        return None if number is None else _numbered(number, self._rules)

    def _call(self, number: Any) -> Call:
        call = _numbered(number, self._nodes)
        if not isinstance(call, Call):
            raise ValueError(f"node {number} is no op")
        return call


def _spec(value: Any) -> TensorSpec | None:
    kind = UnreadableSpec if isinstance(value, dict) and "what" in value else TensorSpec
    return msgspec.convert(value, kind | None)


def _share(value: Any) -> float:
    share = msgspec.convert(value, float)
    if not 0 <= share <= 1:
        raise ValueError(f"{share} is no share of a tensor")
    return share


Item = TypeVar("Item")


def _numbered(number: Any, among: Sequence[Item]) -> Item:
    """The item of a number, as it is, not counted from the end."""
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(among):
        raise ValueError(f"number {number!r} of {len(among)} is named")
    return among[number]


def _op(written: Any) -> Op:
    name, parameters = msgspec.convert(written, tuple[str, dict[str, Any]])
    return build(name, parameters)


@functools.cache
def _types(kind: type[msgspec.Struct]) -> Mapping[str, Any]:
    """The fields of a struct with their types."""
    hints = typing.get_type_hints(kind)
    return {name: hints[name] for name in kind.__struct_fields__}
