"""Learned rules run on their example: every output compared with the converted tensor."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from ckptsurgeon.checkpoints.transfer import Extent, read_extent
from ckptsurgeon.engine.evaluation import Evaluator
from ckptsurgeon.engine.mover import Mover
from ckptsurgeon.learning.example import Example
from ckptsurgeon.learning.words import Array, read_runs
from ckptsurgeon.ops.indexing import Region
from ckptsurgeon.specs import BITS, TensorSpec, row_strides

SAMPLE = 64 << 10
"""Bytes of a tensor that are compared where not all of it is."""

SAMPLES = 4
"""Stretches of a tensor that these bytes are taken from."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The targets that the rules make right, and those that they don't.

    `unexpected` are keys that they make and the converted checkpoint lacks.
    """

    equal: frozenset[str]
    different: tuple[str, ...]
    unexpected: tuple[str, ...]


def prove(
    text: str, example: Example, near: Collection[str], memory: int | None, *, whole: bool = True
) -> Proof:
    """What comes out where the rules run on the example: all of it, or samples.

    Those of `near` are computed, and may differ by rounding.
    """
    plan = example.ground.plan(text)
    mover = Mover(plan, example.ground.sources, memory=memory, jobs=1)
    equal: list[str] = []
    different: list[str] = []
    for key, spec in example.wanted.items():
        if key in plan.outputs:
            alike = plan.outputs[key].spec == spec
            if alike and key in near:
                node = plan.outputs.nodes[key]
                alike = example.nears(key, node, Evaluator(example.ground.sources, [node]))
            elif alike:
                alike = _is_equal(mover, example, key) if whole else _agrees(mover, example, key)
            (equal if alike else different).append(key)
    unexpected = tuple(key for key in plan.outputs if key not in example.wanted)
    return Proof(frozenset(equal), tuple(different), unexpected)


# --- whole ----------------------------------------------------------------------------------------


def _is_equal(mover: Mover, example: Example, key: str) -> bool:
    """Whether an output's bytes are those of the converted tensor."""
    wanted = _Reader(example, key)
    return all(np.array_equal(one, wanted.next(len(one))) for one in mover.blocks(key))


class _Reader:
    """The bytes of a converted tensor, as many at a time as are asked for."""

    def __init__(self, example: Example, key: str) -> None:
        self._runs = read_runs(example.converted, example.names[key])
        self._left: list[Array] = []

    def next(self, nbytes: int) -> Array:
        """The next bytes; fewer where the tensor ends."""
        held = sum(map(len, self._left))
        while held < nbytes and (run := next(self._runs, None)) is not None:
            self._left.append(run)
            held += len(run)
        whole = np.concatenate(self._left) if self._left else np.zeros(0, np.uint8)
        self._left = [whole[nbytes:]]
        return whole[:nbytes]


# --- samples --------------------------------------------------------------------------------------


def _agrees(mover: Mover, example: Example, key: str) -> bool:
    """Whether stretches of an output are those of the converted tensor."""
    spec = example.wanted[key]
    if spec.nbytes <= SAMPLE or spec.carrier is None:
        return _is_equal(mover, example, key)
    extent = example.converted.extent(example.names[key])
    for region in sample_regions(spec):
        made = mover.part(key, region)
        if extent is None or made is None:
            return _is_equal(mover, example, key)
        wanted = read_extent(_within(extent, region, spec))
        if not np.array_equal(made, wanted):
            return False
    return True


def sample_regions(spec: TensorSpec) -> Iterator[Region]:
    """Stretches of a tensor in row order, from its beginning to its end."""
    items = SAMPLE // SAMPLES * 8 // BITS[spec.dtype]
    inner, dim = 1, len(spec.shape)
    while dim and inner * spec.shape[dim - 1] <= items:
        dim -= 1
        inner *= spec.shape[dim]
    if dim == 0:
        yield tuple(map(range, spec.shape))
        return
    length = min(max(1, items // inner), spec.shape[dim - 1])
    rows = math.prod(spec.shape[:dim])
    behind = tuple(map(range, spec.shape[dim:]))
    for at in sorted({(rows - length) * part // (SAMPLES - 1) for part in range(SAMPLES)}):
        *leading, first = map(int, np.unravel_index(at, spec.shape[:dim]))
        start = min(first, spec.shape[dim - 1] - length)
        yield (
            *(range(one, one + 1) for one in leading),
            range(start, start + length),
            *behind,
        )


def _within(extent: Extent, region: Region, spec: TensorSpec) -> Extent:
    """Where the bytes of a stretch lie."""
    itemsize = BITS[spec.dtype] // 8
    strides = row_strides(spec.shape)
    first = sum(part.start * stride for part, stride in zip(region, strides, strict=True))
    nbytes = math.prod(map(len, region)) * itemsize
    return Extent(extent.path, extent.offset + first * itemsize, nbytes)
