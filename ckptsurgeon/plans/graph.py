"""A plan's graph: what every tensor is made from. Nodes know specs but hold no data.

A renamed tensor is its `Leaf`; ops stand between as `Call`s; several stages are one graph, so data
moves once. It is walked without recursion, as it may be deeper than Python's stack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ckptsurgeon.language.patterns import ConcreteIndex
from ckptsurgeon.ops.base import Op
from ckptsurgeon.specs import Specs, TensorSpec


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """A whole tensor of a checkpoint: `source` is its alias, "" for the unnamed one."""

    source: str
    key: str
    spec: TensorSpec


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One op applied to tensors; `specs` are those of its results."""

    op: Op
    inputs: tuple[Node, ...]
    specs: Specs


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One of the tensors that a call gives."""

    call: Call
    number: int

    @property
    def spec(self) -> TensorSpec:
        return self.call.specs[self.number]


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A tensor that `init` makes: fill is zeros, ones, eye, normal or a number; seeded per key."""

    spec: TensorSpec
    key: str
    fill: str | int | float
    std: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A tensor and the place in an assembly that it fills."""

    index: ConcreteIndex
    node: Node


@dataclass(frozen=True, slots=True, eq=False)
class Assembly:
    """A tensor filled in parts; `base` holds what the parts leave, None where they tile it."""

    spec: TensorSpec
    parts: tuple[Part, ...]
    base: Node | None


Node = Leaf | Result | Made | Assembly


def call(op: Op, *nodes: Node) -> tuple[Node, ...]:
    """The results of an op on nodes; raises ShapeError."""
    made = Call(op, nodes, op.infer(tuple(node.spec for node in nodes)))
    return tuple(Result(made, number) for number in range(len(made.specs)))


Work = Leaf | Made | Assembly | Call
"""What gives tensors: a call all of its results, the others one."""


def work_of(node: Node) -> Work:
    """What gives the node's tensor: the call of a result, else the node itself."""
    return node.call if isinstance(node, Result) else node


def inputs_of(work: Work) -> tuple[Node, ...]:
    """The nodes that must be there first, once for every use."""
    if isinstance(work, Call):
        return work.inputs
    if isinstance(work, Assembly):
        base = () if work.base is None else (work.base,)
        return (*base, *(part.node for part in work.parts))
    return ()


def in_order(work: Work, is_done: Callable[[Work], bool]) -> Iterator[Work]:
    """The work and all that it needs, save what is done: each once, after its own inputs."""
    stack, entered = [work], set()
    while stack:
        last = stack[-1]
        if is_done(last):
            stack.pop()
        elif id(last) in entered:
            yield stack.pop()
        else:
            entered.add(id(last))
            stack += map(work_of, reversed(inputs_of(last)))


def uses(nodes: Iterable[Node]) -> Iterator[Work]:
    """The work behind nodes and all that they need, once for every time it will be asked for."""
    seen: set[int] = set()
    waiting = list(map(work_of, nodes))
    while waiting:
        work = waiting.pop()
        yield work
        if id(work) not in seen:
            seen.add(id(work))
            waiting += map(work_of, inputs_of(work))
