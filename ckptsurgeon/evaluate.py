"""Nodes of a plan turned into arrays, each op run once and let go after its last use."""

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


class Evaluator:
    """Arrays of a plan's nodes, read from the checkpoints by alias (`dst` is the destination).

    `stored` gives the name under which a checkpoint holds the key that the plan names.
    """

    def __init__(self, plan: Plan, checkpoints: Mapping[str, Checkpoint]) -> None:
        self._checkpoints = checkpoints
        views = (*plan.sources, *([plan.destination] if plan.destination else []))
        self._names = {view.alias: view.names for view in views}
        self._waiting = Counter(_uses(output.node for output in plan.outputs.values()))
        self._done: dict[int, tuple[Array, ...]] = {}

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
            return self._checkpoints[node.source].read(self.stored(node))
        if isinstance(node, Made):
            return fill(node)
        if isinstance(node, Assembly):
            return self._assembled(node)
        return self._called(node.call)[node.number]

    def stored(self, leaf: Leaf) -> str:
        return self._names[leaf.source][leaf.key]

    def _called(self, call: Call) -> tuple[Array, ...]:
        """The results of a call, kept until all that need them have asked."""
        key = id(call)
        results = self._done.get(key)
        if results is None:
            results = self._apply(call)
        self._waiting[key] -= 1
        if self._waiting[key] > 0:
            self._done[key] = results
        else:
            self._done.pop(key, None)
        return results

    def _apply(self, call: Call) -> tuple[Array, ...]:
        arrays = tuple(self.array(node) for node in call.inputs)
        specs = tuple(node.spec for node in call.inputs)
        results = call.op.apply(arrays, specs)
        lost = call.op.overflows(arrays, results, specs)
        if lost:
            raise _Overflow(f"{lost} finite values overflow in {call.specs[0].dtype}")
        return results

    def _assembled(self, node: Assembly) -> Array:
        import numpy as np

        if node.base is not None:
            whole: Array = self.array(node.base).copy()
        else:
            whole = np.empty(node.spec.shape, dtype=node.spec.carrier)
        for part in node.parts:
            view = taken_view(whole, resolve_index(part.index, node.spec.shape))
            view[...] = self.array(part.node)
        return whole


class _Overflow(ShapeError):
    """Finite values that a cast turned into infinities."""


def _uses(nodes: Iterable[Node]) -> Iterator[int]:
    """The id of each call, once for every time that its results will be asked for."""
    seen: set[int] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Result):
            yield id(node.call)
            if id(node.call) not in seen:
                seen.add(id(node.call))
                waiting += node.call.inputs
        elif isinstance(node, Assembly):
            waiting += (part.node for part in node.parts)
            if node.base is not None:
                waiting.append(node.base)
