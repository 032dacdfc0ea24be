"""Nodes of a plan turned into arrays: each made once, and let go after its last use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ckptsurgeon.errors import FindingsError, PlanError, Problem, ShapeError
from ckptsurgeon.filling import fill
from ckptsurgeon.formats.base import Checkpoint
from ckptsurgeon.ops.indexing import resolve_index, taken_view
from ckptsurgeon.planner.model import Assembly, Call, Leaf, Made, Node, Output, Plan, Result

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Arrays = tuple[Array, ...]

Work = Leaf | Made | Assembly | Call
"""What gives tensors: a call all of its results, the others one."""


class Evaluator:
    """Arrays of a plan's nodes, read from the checkpoints by alias (`dst` is the destination).

    `nodes` are those that will be asked for, each as often as it stands there; all outputs, unless
    given. What several of them need is kept until the last has it. Graphs are walked without
    recursion: a plan may be deeper than Python's stack.
    """

    def __init__(
        self,
        plan: Plan,
        checkpoints: Mapping[str, Checkpoint],
        nodes: Iterable[Node] | None = None,
    ) -> None:
        self._checkpoints = checkpoints
        views = (*plan.sources, *([plan.destination] if plan.destination else []))
        self._names = {view.alias: view.names for view in views}
        wanted = nodes or (output.node for output in plan.outputs.values())
        self._waiting = Counter(map(id, _uses(wanted)))
        self._done: dict[int, Arrays] = {}

    def output(self, output: Output) -> Array:
        """The array of an output key; raises FindingsError or PlanError at its rule."""
        try:
            return self.array(output.node)
        except _Overflow as error:
            place = output.rule.place if output.rule else None
            problem = Problem(f"`{output.key}`: {error}", place, "cast to a wider dtype")
            raise FindingsError([problem]) from None
        except ShapeError as error:
            place = output.rule.place if output.rule else None
            raise PlanError([Problem(f"`{output.key}`: {error}", place)]) from None

    def array(self, node: Node) -> Array:
        """The node's tensor in the carrier dtype of its spec."""
        if isinstance(node, Leaf):
            return self._read(node)
        for work in self._order(work_of(node)):
            self._done[id(work)] = self._results(work)
        return self._taken(node)

    def stored(self, leaf: Leaf) -> str:
        """The name under which a checkpoint holds the key that the plan names."""
        return self._names[leaf.source][leaf.key]

    def _order(self, work: Work) -> Iterator[Work]:
        """The work that is not done yet, each after what it needs."""
        stack, entered = [work], set()
        while stack:
            last = stack[-1]
            if id(last) in self._done:
                stack.pop()
            elif id(last) in entered:
                yield stack.pop()
            else:
                entered.add(id(last))
                stack += map(work_of, reversed(inputs_of(last)))

    def _taken(self, node: Node) -> Array:
        """A tensor that is made, for one of those that need it."""
        work = work_of(node)
        results = self._done[id(work)]
        self._waiting[id(work)] -= 1
        if self._waiting[id(work)] <= 0:
            del self._done[id(work)]
        return results[node.number if isinstance(node, Result) else 0]

    def _results(self, work: Work) -> Arrays:
        if isinstance(work, Leaf):
            return (self._read(work),)
        if isinstance(work, Made):
            return (fill(work),)
        if isinstance(work, Assembly):
            return (self._assembled(work),)
        return self._called(work)

    def _read(self, leaf: Leaf) -> Array:
        return self._checkpoints[leaf.source].read(self.stored(leaf))

    def _called(self, call: Call) -> Arrays:
        arrays = tuple(map(self._taken, call.inputs))
        specs = tuple(node.spec for node in call.inputs)
        results = call.op.apply(arrays, specs)
        lost = call.op.overflows(arrays, results, specs)
        if lost:
            raise _Overflow(f"{lost} finite values overflow in {call.specs[0].dtype}")
        return results

    def _assembled(self, node: Assembly) -> Array:
        import numpy as np

        if node.base is not None:
            whole: Array = self._taken(node.base).copy()
        else:
            whole = np.empty(node.spec.shape, dtype=node.spec.carrier)
        for part in node.parts:
            view = taken_view(whole, resolve_index(part.index, node.spec.shape))
            view[...] = self._taken(part.node)
        return whole


class _Overflow(ShapeError):
    """Finite values that a cast turned into infinities."""


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


def _uses(nodes: Iterable[Node]) -> Iterator[Work]:
    """The work behind nodes and all that they need, once for every time it will be asked for.

    A leaf that is itself asked for is none: it is copied where it lies.
    """
    seen: set[int] = set()
    waiting = [work_of(node) for node in nodes if not isinstance(node, Leaf)]
    while waiting:
        work = waiting.pop()
        yield work
        if id(work) not in seen:
            seen.add(id(work))
            waiting += map(work_of, inputs_of(work))
