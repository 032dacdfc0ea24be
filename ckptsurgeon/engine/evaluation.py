"""Nodes of a plan turned into arrays: each made once, and let go after its last use."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.engine.filling import fill
from ckptsurgeon.errors import CastOverflow, FindingsError, PlanError, Problem, ShapeError
from ckptsurgeon.ops.base import Op
from ckptsurgeon.ops.indexing import as_slices, resolve_index
from ckptsurgeon.plans.graph import (
    Assembly,
    Call,
    Leaf,
    Made,
    Node,
    Result,
    Work,
    full_key,
    in_order,
    inputs_of,
    nbytes_of,
    uses,
    work_of,
)
from ckptsurgeon.plans.outputs import Output
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.specs import Specs, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Arrays = tuple[Array, ...]


class Done(NamedTuple):
    """Work that is done, its results, and the bytes that these keep."""

    work: Work
    arrays: Arrays
    nbytes: int


class Evaluator:
    """Arrays of a plan's nodes, read from the checkpoints by alias (`dst` is the destination).

    `nodes` are those that will be asked for, each as often as it stands there. What several of them
    need is kept until the last has it, unless that takes more than `memory` bytes: what was longest
    unused is then let go, and made again for who needs it.
    """

    def __init__(
        self,
        checkpoints: Mapping[str, Checkpoint],
        nodes: Iterable[Node],
        memory: int | None = None,
    ) -> None:
        self._checkpoints, self._memory = checkpoints, memory
        # A leaf that is itself wanted is no use of it: it is copied where it lies.
        called = (node for node in nodes if not isinstance(node, Leaf))
        self._waiting = Counter(map(id, uses(called)))
        self._done: OrderedDict[int, Done] = OrderedDict()
        self._held = 0

    @classmethod
    def of(cls, plan: Plan, checkpoints: Mapping[str, Checkpoint]) -> Evaluator:
        """The evaluator of all outputs of a plan."""
        return cls(checkpoints, (output.node for output in plan.outputs.values()))

    def output(self, output: Output, alias: str = "") -> Array:
        """The array of an output key; raises FindingsError or PlanError at its rule.

        `alias` is that of its file, where the key is without.
        """
        with located(output, alias):
            return self.array(output.node)

    def array(self, node: Node) -> Array:
        """The node's tensor in the carrier dtype of its spec."""
        if isinstance(node, Leaf):
            return self._read(node)
        last = work_of(node)
        making: dict[int, Work] = {}
        for work in in_order(last, lambda work: id(work) in self._done or id(work) in making):
            making[id(work)] = work
        inputs = (work_of(one) for work in making.values() for one in inputs_of(work))
        needed = Counter(map(id, (last, *inputs)))
        for work in making.values():
            self._make_room(nbytes_of(work), needed)
            self._keep(work, self._results(work))
            needed.subtract(id(work_of(one)) for one in inputs_of(work))
        return self._taken(node)

    def _taken(self, node: Node) -> Array:
        """A tensor that is made, for one of those that need it."""
        work = work_of(node)
        done = self._done[id(work)]
        self._done.move_to_end(id(work))
        self._waiting[id(work)] -= 1
        if self._waiting[id(work)] <= 0:
            self._let_go(work)
        return done.arrays[node.number if isinstance(node, Result) else 0]

    # --- what is kept -----------------------------------------------------------------------------

    def _keep(self, work: Work, arrays: Arrays) -> None:
        self._done[id(work)] = done = Done(work, arrays, _owned_bytes(arrays))
        self._held += done.nbytes

    def _let_go(self, work: Work) -> None:
        self._held -= self._done.pop(id(work)).nbytes

    def _make_room(self, nbytes: int, needed: Counter[int]) -> None:
        """Lets go of what waits, and is not needed now, as far as there is no room for more."""
        if self._memory is None or self._held + nbytes <= self._memory:
            return
        for done in [one for key, one in self._done.items() if not needed[key]]:
            self._let_go(done.work)
            self._count_again(done.work)
            if self._held + nbytes <= self._memory:
                return

    def _count_again(self, work: Work) -> None:
        """What the work is made of will be asked for once more."""
        again = [work]
        while again:
            for one in map(work_of, inputs_of(again.pop())):
                self._waiting[id(one)] += 1
                if self._waiting[id(one)] == 1 and id(one) not in self._done:
                    again.append(one)

    # --- making -----------------------------------------------------------------------------------

    def _results(self, work: Work) -> Arrays:
        if isinstance(work, Leaf):
            return (self._read(work),)
        if isinstance(work, Made):
            return (fill(work),)
        if isinstance(work, Assembly):
            return (self._assembled(work),)
        return self._called(work)

    def _read(self, leaf: Leaf) -> Array:
        return self._checkpoints[leaf.source].read(leaf.name)

    def _called(self, call: Call) -> Arrays:
        arrays = tuple(map(self._taken, call.inputs))
        return run_op(call.op, arrays, tuple(node.spec for node in call.inputs))

    def _assembled(self, node: Assembly) -> Array:
        if node.base is not None:
            whole: Array = self._taken(node.base).copy()
        else:
            whole = _empty(node.spec)
        for part in node.parts:
            region = resolve_index(part.index, node.spec.shape)
            whole[as_slices(region)] = self._taken(part.node).reshape(tuple(map(len, region)))
        return whole


def _owned_bytes(arrays: Arrays) -> int:
    """The bytes of memory that arrays keep alive: parts of one keep all of it."""
    owners = {id(owner): owner for owner in map(_owner, arrays)}
    return sum(owner.nbytes for owner in owners.values())


def _owner(array: Array) -> Array:
    while isinstance(array.base, type(array)):
        array = array.base
    return array


def _empty(spec: TensorSpec) -> Array:
    import numpy as np

    return np.empty(spec.shape, dtype=spec.carrier)


def run_op(op: Op, arrays: Arrays, specs: Specs) -> Arrays:
    """What an op makes of arrays: of results without elements nothing is computed.

    Raises CastOverflow where finite values become infinite.
    """
    wanted = op.infer(specs)
    if not any(spec.count for spec in wanted):
        return tuple(_empty(spec) for spec in wanted)
    results = op.apply(arrays, specs)
    lost = op.overflows(arrays, results, specs)
    if lost:
        dtype = wanted[0].dtype
        help = "" if dtype == "F64" else "cast to a wider dtype"
        raise CastOverflow(f"{lost} finite values overflow in {dtype}", help)
    return results


@contextmanager
def located(output: Output, alias: str = "") -> Iterator[None]:
    """Errors of ops and casts told at the rule of an output key: PlanError, FindingsError.

    `alias` is that of its file, where the key is without.
    """
    place, key = output.rule.place if output.rule else None, full_key(alias, output.key)
    try:
        yield
    except CastOverflow as error:
        raise FindingsError([Problem(f"`{key}`: {error}", place, error.help)]) from None
    except ShapeError as error:
        raise PlanError([Problem(f"`{key}`: {error}", place, error.help)]) from None
