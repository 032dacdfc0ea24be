"""A step as nodes of a plan: what its targets are made of."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from ckptsurgeon.drafting.steps import Call, Size, Step
from ckptsurgeon.ops import OPS, Arity, build
from ckptsurgeon.ops.indexing import Slice
from ckptsurgeon.plans.graph import Call as Work
from ckptsurgeon.plans.graph import Leaf, Node, Result, call, work_of

Dim = tuple[str, int | str, int]
"""A dim of the grid in flight: `source` or `target`, its number there or own name, its size."""


def nodes_of(step: Step, leaves: Mapping[str, Leaf]) -> dict[str, Node]:
    """The node of each target of a step; raises ShapeError where ops don't take what they get."""
    nodes: list[Node] = [leaves[key] for key in step.sources.keys]
    if step.index:
        nodes = [call(Slice(index=step.index), node)[0] for node in nodes]
    dims: list[Dim] = [("source", at, size) for at, size in enumerate(step.sources.sizes)]
    for one in step.calls:
        nodes, dims = _called(one, nodes, dims, step.targets.sizes)
    if len(nodes) == 1 and len(step.targets.keys) > 1:
        return dict.fromkeys(step.targets.keys, nodes[0])
    ordered = _in_order(nodes, dims)
    return dict(zip(step.targets.keys, ordered, strict=True))


def _called(
    one: Call, nodes: Sequence[Node], dims: list[Dim], spread: tuple[int, ...]
) -> tuple[list[Node], list[Dim]]:
    """The grid after an op."""
    given = {name: _plain(value) for name, value in one.parameters}
    arity = OPS[one.op].arity
    if arity is Arity.EACH:
        op = build(one.op, given)
        return [call(op, node)[0] for node in nodes], dims
    over = one.over or 0
    if arity is Arity.SPLIT:
        if one.op == "split" and "sizes" not in given and isinstance(over, int):
            given["parts"] = spread[over]
        op = build(one.op, given)
        parts = [call(op, node) for node in nodes]
        opened: Dim = ("target", over, len(parts[0]))
        return [part for several in parts for part in several], [*dims, opened]
    side = "target" if isinstance(over, str) else "source"
    at = next(at for at, dim in enumerate(dims) if dim[:2] == (side, over))
    op = build(one.op, given)
    inner = math.prod(size for *_, size in dims[at + 1 :])
    size = dims[at][2]
    joined = [
        call(op, *nodes[start + within : start + within + size * inner : inner])[0]
        for start in range(0, len(nodes), size * inner)
        for within in range(inner)
    ]
    return joined, [*dims[:at], *dims[at + 1 :]]


def _plain(value: object) -> object:
    return value.value if isinstance(value, Size) else value


def _in_order(nodes: Sequence[Node], dims: Sequence[Dim]) -> list[Node]:
    """The nodes of a grid by its dims in the order of the targets'."""
    order = sorted(range(len(dims)), key=lambda at: str(dims[at][1]))
    sizes = [dims[at][2] for at in range(len(dims))]
    strides = [math.prod(sizes[at + 1 :]) for at in range(len(sizes))]
    points = itertools.product(*(range(sizes[at]) for at in order))
    return [
        nodes[sum(strides[at] * place for at, place in zip(order, point, strict=True))]
        for point in points
    ]


# --- compared -------------------------------------------------------------------------------------


def is_same(one: Node, other: Node) -> bool:
    """Whether two nodes are made in one way of the same tensors."""
    waiting = [(one, other)]
    while waiting:
        a, b = waiting.pop()
        if isinstance(a, Leaf) or isinstance(b, Leaf):
            if not (isinstance(a, Leaf) and isinstance(b, Leaf)):
                return False
            if (a.source, a.key) != (b.source, b.key):
                return False
            continue
        left, right = work_of(a), work_of(b)
        if not (isinstance(left, Work) and isinstance(right, Work)):
            return False
        numbers = [node.number for node in (a, b) if isinstance(node, Result)]
        ops = left.op == right.op or (left.op.name == right.op.name == "split")
        alike = ops and left.specs == right.specs and len(left.inputs) == len(right.inputs)
        if not alike or numbers[0] != numbers[1]:
            return False
        waiting += zip(left.inputs, right.inputs, strict=True)
    return True
