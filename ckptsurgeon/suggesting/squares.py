"""Squares: no shape tells whether one is transposed, but what became of the matrices beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

from ckptsurgeon.drafting.steps import Call, Degree, Step
from ckptsurgeon.keys import without_integers
from ckptsurgeon.suggesting.blocks import blocks_around
from ckptsurgeon.suggesting.names import cut_leaf
from ckptsurgeon.suggesting.relations import is_square
from ckptsurgeon.suggesting.roles import roles_of_tensor
from ckptsurgeon.suggesting.units import Shape, Specs

TURNED = Call("transpose")

STACKS = frozenset({"stack", "unstack"})
"""Ops that put matrices in a stack, or take them out of it."""


class Squares:
    """What became of the matrices that are no squares, by the block that they are in."""

    def __init__(
        self, steps: Sequence[Step], source: Specs, target: Specs, guessed: Collection[str]
    ) -> None:
        self._source, self._target = source, target
        self._wanted = {spec.shape for spec in target.values() if len(spec.shape) == 2}
        strange = any(len(source[key].shape) == 2 for key in guessed if key in source)
        self._is_suspect = strange or _has_turned(source, self._wanted)
        self._seen: dict[str, set[bool]] = defaultdict(set)
        for step in steps:
            if self._tells(step) and not any(key in guessed for key in step.takes):
                self._see(step.targets.keys[0], turned=TURNED in step.calls)
        for key, spec in target.items():
            if len(spec.shape) == 2 and _is_turned(key, source, target):
                self._see(key, turned=True)

    def _see(self, key: str, *, turned: bool) -> None:
        for block in blocks_around(key):
            self._seen[block].add(turned)

    def _tells(self, step: Step) -> bool:
        """Whether a step could not as well have been one of another matrix, turned."""
        if TURNED in step.calls and len(step.calls) > 1:
            return True  # what is fused or split has a shape of its own
        shape = self._shape_of(step)
        if shape is None:
            return False
        wanted = shape[::-1] if TURNED in step.calls else shape
        named = step.degree is Degree.SURE or _has_kept_name(step)
        return not is_square(shape) and (named or wanted[::-1] not in self._wanted)

    def _shape_of(self, step: Step) -> Shape | None:
        """The shape of the matrix that a step moves, or of each of a stack; None of what is none.

        Embeddings are none: they have ways of their own.
        """
        moved = step.unit is None and step.takes and step.gives
        if not moved or not {call.op for call in step.calls} <= {TURNED.op, *STACKS}:
            return None
        own, to = step.takes[0], step.gives[0]
        if own not in self._source or _is_embedding(own) or _is_embedding(to):
            return None
        shape = self._source[own].shape
        if any(call.op == "unstack" for call in step.calls):
            wanted = self._target[to].shape
            shape = wanted[::-1] if TURNED in step.calls else wanted
        return shape if len(shape) == 2 else None

    def judge(self, step: Step) -> Step:
        """A square turned as the matrices beside it are; open, where these differ.

        So is what is no square, where its turning is a guess and no other is turned.
        """
        shape = self._shape_of(step)
        if shape is None:
            return step
        blocks = map(self._seen.__getitem__, blocks_around(step.targets.keys[0]))
        seen = next(filter(None, blocks), set())
        turned = TURNED in step.calls
        if seen == {turned}:
            return step
        if not is_square(shape):
            guess = turned and seen == {False} and step.degree is Degree.LIKELY
            told = "it fits when it is transposed, and nothing beside it is"
            return replace(step, degree=Degree.OPEN, remark=told) if guess else step
        if len(seen) > 1:
            told = "a square: some matrices beside it are transposed, and some are not"
            return replace(step, degree=max(step.degree, Degree.OPEN), remark=told)
        if not seen:
            doubt = turned or self._is_suspect or _is_bare(step)
            told = "a square: no shape tells whether it is transposed"
            return (
                replace(step, degree=max(step.degree, Degree.LIKELY), remark=told)
                if doubt
                else step
            )
        told = "a square: turned as the matrices beside it are"
        return replace(
            step, calls=_turn(step.calls), degree=max(step.degree, Degree.LIKELY), remark=told
        )


def _turn(calls: Sequence[Call]) -> tuple[Call, ...]:
    """The calls with each matrix turned: before they are stacked, or behind that they were."""
    rest = tuple(call for call in calls if call != TURNED)
    if len(rest) < len(calls):
        return rest
    return (TURNED, *rest) if any(call.op == "stack" for call in rest) else (*rest, TURNED)


def _has_kept_name(step: Step) -> bool:
    """Whether the module is called the same on both sides, and not by a number alone."""
    names = {
        cut_leaf(keys[0])[0].rpartition(".")[2] for keys in (step.sources.keys, step.targets.keys)
    }
    return len(names) == 1 and not names.pop().isdecimal()


def _has_turned(source: Specs, wanted: Collection[tuple[int, ...]]) -> bool:
    """Whether the target has shapes of the source's matrices turned."""
    mine = {spec.shape for spec in source.values() if len(spec.shape) == 2}
    return any(not is_square(shape) and shape[::-1] in wanted for shape in mine)


def _is_bare(step: Step) -> bool:
    """Whether only one side is a parameter of its own, or Haiku's `w`: it may be [in, out]."""
    leaves = [cut_leaf(keys[0])[1] for keys in (step.sources.keys, step.targets.keys)]
    return leaves[0] != leaves[1] and not {"", "w"}.isdisjoint(leaves)


def _is_embedding(key: str) -> bool:
    return "embed" in roles_of_tensor(key)


def holders_of_turned(steps: Sequence[Step], source: Specs, target: Specs) -> set[str]:
    """What holds tensors that are turned, or stand turned under their own names."""
    keys = [key for step in steps if TURNED in step.calls for key in step.gives]
    keys += [key for key in target if _is_turned(key, source, target)]
    return set(map(holder_of, keys))


def _is_turned(key: str, source: Specs, target: Specs) -> bool:
    """Whether a tensor stands turned under its own name."""
    own = source[key].shape if key in source else ()
    swapped = own[:-2] + own[:-3:-1]
    return len(own) > 1 and target[key].shape == swapped != own


def holder_of(key: str) -> str:
    return without_integers(key).rpartition(".")[0]
