"""Outputs are of one kind where they differ in keys alone, however deep they are made."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ckptsurgeon.errors import Place
from ckptsurgeon.ops.indexing import Slice
from ckptsurgeon.ops.joining import Concat
from ckptsurgeon.ops.layout import Transpose
from ckptsurgeon.plans.graph import (
    Assembly,
    Call,
    Leaf,
    Made,
    Node,
    Part,
    Result,
    RuleInfo,
    call,
)
from ckptsurgeon.plans.kinds import sort_kinds
from ckptsurgeon.specs import TensorSpec

SPEC, OTHER = TensorSpec("F32", (4, 4)), TensorSpec("F16", (4, 4))
RULE, SECOND = (RuleInfo(0, number, "move", "a -> b", Place("r", 1, 1)) for number in (0, 1))
TURN, HALVE, JOIN = Transpose(), Slice(index=((0, 2, None),)), Concat(dim=0)
FIRST, REST = ((0, 1, None),), ((1, 4, None),)


def leaf(key: str, spec: TensorSpec = SPEC, source: str = "") -> Leaf:
    return Leaf(source, key, spec, key)


def kinds(**nodes: Node) -> list[list[str]]:
    return [kind.keys for kind in sort_kinds(nodes, dict.fromkeys(nodes, RULE), {})]


def turned(key: str) -> Node:
    return call(TURN, leaf(key))[0]


ROW, ROWS = TensorSpec("F32", (1, 4)), TensorSpec("F32", (3, 4))


def tiled(key: str, first: TensorSpec = ROW) -> Node:
    return Assembly(SPEC, (Part(FIRST, leaf(key, first)), Part(REST, leaf(f"{key}.b", ROWS))), None)


def filled(key: str) -> Node:
    return Assembly(SPEC, (Part(FIRST, leaf(key, ROW)),), leaf(f"{key}.old"))


@pytest.mark.parametrize("make", [leaf, tiled, filled], ids=lambda make: make.__name__)
def test_what_differs_in_keys_alone_is_of_one_kind(make: Callable[[str], Node]) -> None:
    assert kinds(x=make("a"), y=make("b")) == [["x", "y"]]


@pytest.mark.parametrize(
    "other",
    [
        leaf("b", OTHER),
        leaf("b", source="s1"),
        turned("b"),
        tiled("b"),
        Made(SPEC, "y", "zeros", 0.0, 0),
    ],
)
def test_what_is_made_in_another_way_is_of_another_kind(other: Node) -> None:
    assert kinds(x=leaf("a"), y=other) == [["x"], ["y"]]


def test_parts_of_other_places_and_a_rest_make_another_kind() -> None:
    turned_about = Assembly(SPEC, (Part(REST, leaf("a", ROWS)), Part(FIRST, leaf("b", ROW))), None)
    assert kinds(x=tiled("a"), y=turned_about, z=filled("a")) == [["x"], ["y"], ["z"]]


def test_results_of_one_call_are_kinds_apart() -> None:
    halves = call(JOIN, leaf("a"), leaf("b"))
    assert kinds(x=halves[0], y=call(HALVE, *halves)[0]) == [["x"], ["y"]]


JOINED, HALF = (TensorSpec("F32", (8, 4)),), (TensorSpec("F32", (2, 4)),)
"""What a plan shares of all steps that are alike."""


def joined(*nodes: Node) -> Node:
    return Result(Call(JOIN, nodes, JOINED, RULE), 0)


def halved(key: str) -> Node:
    return Result(Call(HALVE, (leaf(key),), HALF, RULE), 0)


def test_what_takes_one_tensor_twice_is_another_kind() -> None:
    twice, apart = joined(leaf("a"), leaf("a")), joined(leaf("a"), leaf("b"))
    assert kinds(w=twice, x=apart, y=joined(leaf("b"), leaf("c"))) == [["w"], ["x", "y"]]
    assert kinds(x=joined(halved("a"), halved("a")), y=joined(halved("a"), halved("b"))) == [
        ["x"],
        ["y"],
    ]


def test_rules_and_what_is_allowed_make_kinds() -> None:
    nodes = {key: leaf(key) for key in "xyz"}
    rules = {"x": RULE, "y": SECOND, "z": RULE}
    assert [kind.keys for kind in sort_kinds(nodes, rules, {})] == [["x", "z"], ["y"]]
    found = sort_kinds(nodes, rules, {"z": "missing"})
    assert [(kind.keys, kind.numbers) for kind in found] == [
        (["x"], [0]),
        (["y"], [1]),
        (["z"], [2]),
    ]


def test_what_doubles_and_what_is_deep_is_told_in_no_time() -> None:
    def doubled(key: str, times: int) -> Node:
        node: Node = leaf(key, TensorSpec("F32", (1, 1)))
        for level in range(times):
            node = call(level_ops[level], node, node)[0]
        return node

    level_ops = [Concat(dim=0)] * 60
    assert kinds(x=doubled("a", 60), y=doubled("a", 59))[0] == ["x"]
    deep: Node = leaf("a")
    for _ in range(5000):
        deep = call(TURN, deep)[0]
    assert kinds(x=deep, y=turned("a")) == [["x"], ["y"]]
