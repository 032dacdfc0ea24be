"""Weights that are quantized, with their scales beside them: their values are those times these.

What goes to a side without scales is dequantized, what comes from one is quantized, in blocks;
where shapes aren't those of blocks, a user is asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from ckptsurgeon.drafting.steps import Call, Degree, Grid, Step, Value, given_by, taken_by
from ckptsurgeon.ops.blockwise import FLOAT8, DequantizeBlocks, QuantizeBlocks
from ckptsurgeon.plans.scales import IN_MODULE, SCALES, is_quantized, scale_of, weight_of
from ckptsurgeon.specs import FLOATING, TensorSpec
from ckptsurgeon.suggesting.known import Known
from ckptsurgeon.suggesting.units import Specs

PLAIN = "_scale_inv"
"""What DeepSeek-V3's files call the scales of blocks, which the values are multiplied by."""

USUAL = 128
"""The size of blocks that all who call scales so have."""

BLOCKS = (USUAL, 64, 32, 16, 256, 512)
"""Sizes of blocks that are tried."""

LACKING = "others have their scales, this one's isn't beside it"

Block = tuple[int, int]


def without_scale(step: Step, told: str) -> Step:
    """The step as one that a user is asked about, and that no rule is offered for."""
    return replace(step.doubted(f"quantized: {told}", Degree.OPEN), lacks_scale=True)


class _Side:
    """The quantized weights of a side with their scales, and the blocks of all that are alike.

    Where each has one number, nothing but a name tells of blocks.
    """

    def __init__(self, specs: Specs) -> None:
        self._specs = specs
        every = ((key, scale_of(key, specs)) for key in specs if is_quantized(specs[key]))
        self.scales = {key: scale for key, scale in every if scale}
        self._is_scaled = bool(self.scales) or any(map(self._is_scale, specs))
        groups: dict[str, list[tuple[TensorSpec, TensorSpec]]] = {}
        for key, scale in self.scales.items():
            groups.setdefault(_end(scale), []).append((specs[key], specs[scale]))
        self._grids = {
            end
            for end, pairs in groups.items()
            if any(math.prod(one.shape) > 1 for _, one in pairs)
        }
        self._blocks = {
            end: _common_block(pairs)
            for end, pairs in groups.items()
            if end in self._grids or end.endswith(PLAIN)
        }

    def lacks_scale(self, key: str) -> bool:
        """Whether a weight is quantized, and its scale isn't beside it though there are scales."""
        spec = self._specs[key]
        is_weight = spec.dtype.startswith("F") or len(spec.shape) > 1
        is_bare = self._is_scaled and is_quantized(spec) and key not in self.scales
        return is_bare and is_weight and not (weight_of(key, self._specs) or self._is_scale(key))

    @cached_property
    def _scale_names(self) -> set[str]:
        """The last pieces of names that scales of its quantized weights have, wherever they are."""
        weights = (key for key, spec in self._specs.items() if is_quantized(spec))
        leaves = {_end(key) for key in weights}
        return {f"{leaf}{end}" for leaf in leaves for end in SCALES} | set(IN_MODULE[1:])

    def _is_scale(self, key: str) -> bool:
        return _end(key) in self._scale_names

    def block_of(self, key: str) -> tuple[Block | None, str, Degree]:
        """The block of a weight, and why it is a guess; None where its scale is none of blocks'."""
        weight, scale = self._specs[key], self._specs[self.scales[key]]
        end = _end(self.scales[key])
        size = self._blocks.get(end)
        if size is None:
            rows = (1, weight.shape[-1]) if len(weight.shape) > 1 else (1, 1)
            fits = _fits(weight, scale, rows)
            told = f"quantized: dequantize_blocks, if each row times its {end} is meant"
            return (rows if fits else None, told, Degree.OPEN)
        if size == USUAL and end.endswith(PLAIN) and end in self._grids:
            return (size, size), "", Degree.PROVED
        told = f"{end} is taken for what blocks of {size} x {size} are multiplied by"
        return (size, size), told, Degree.LIKELY


def _end(scale: str) -> str:
    """The last piece of a scale's name."""
    return scale.rpartition(".")[2]


def _common_block(pairs: Sequence[tuple[TensorSpec, TensorSpec]]) -> int | None:
    """The size of blocks that all weights with their scales have."""
    return next(
        (size for size in BLOCKS if all(_fits(*pair, (size, size)) for pair in pairs)), None
    )


def _fits(weight: TensorSpec, scale: TensorSpec, block: Block) -> bool:
    """Whether a scale has a number for each such block of a weight of float8."""
    if weight.dtype not in FLOAT8 or scale.dtype not in FLOATING or len(weight.shape) < 2:
        return False
    *before, rows, columns = weight.shape
    return scale.shape == (*before, -(-rows // block[0]), -(-columns // block[1]))


def scale_steps(
    steps: Sequence[Step], source: Specs, target: Specs, known: Known
) -> Iterator[Step]:
    """The steps, those between a side with scales and one without done by an op, or open.

    `known` has whole sides, of which `source` and `target` are what is left.
    """
    ours, theirs = _Side(known.source), _Side(known.target)
    free, open = source.keys() - taken_by(steps), target.keys() - given_by(steps)
    for step in steps:
        if step.unit is not None or not (step.takes and step.gives):
            yield step
            continue
        scaled = [key for key in step.takes if key in ours.scales]
        wanted = [key for key in step.gives if key in theirs.scales]
        is_read = not any(is_quantized(target[key]) for key in step.gives)
        is_made = not any(is_quantized(source[key]) for key in step.takes)
        if scaled and is_read:
            can = free.issuperset(ours.scales[key] for key in scaled)
            yield _dequantized(step, ours, target) if can else _unread(step, ours, scaled)
        elif is_read and any(map(ours.lacks_scale, step.takes)):
            made = any(target[key].dtype in FLOATING for key in step.gives)
            yield without_scale(step, LACKING) if made else step
        elif wanted and is_made:
            can = open.issuperset(theirs.scales[key] for key in wanted)
            yield _quantized(step, theirs, target) if can else _unmade(step, theirs, wanted)
        elif not open.isdisjoint(theirs.scales[key] for key in wanted):
            yield _unmade(step, theirs, wanted)
        else:
            yield step


def _dequantized(step: Step, side: _Side, target: Specs) -> Step:
    """The step of weights with their scales, each pair made one before all else."""
    scaled = [key for key in step.takes if key in side.scales]
    ways = {side.block_of(key) for key in scaled}
    dtypes = {target[key].dtype for key in step.gives}
    (block, told, degree), dtype = next(iter(ways)), next(iter(dtypes))
    alike = len(ways) == len(dtypes) == 1 and len(scaled) == len(step.takes)
    if not alike or block is None or step.index or dtype not in DequantizeBlocks.codes:
        return _unread(step, side, scaled)
    keys = tuple(one for key in step.takes for one in (key, side.scales[key]))
    sizes = (*step.sources.sizes, 2)
    call = _call("dequantize_blocks", block, dtype, "BF16", len(sizes) - 1)
    made = replace(step, sources=Grid(keys, sizes), calls=(call, *step.calls))
    return made.doubted(told, degree)


def _quantized(step: Step, side: _Side, target: Specs) -> Step:
    """The step of one weight with its scale, both made of it behind all else."""
    key = step.gives[0]
    block = side.block_of(key)[0] if len(step.gives) == 1 else None
    scale = side.scales.get(key, "")
    dtype = target[key].dtype
    if block is None or dtype not in QuantizeBlocks.codes or target[scale].dtype != "F32":
        return _unmade(step, side, [key for key in step.gives if key in side.scales])
    call = _call("quantize_blocks", block, dtype, "F8_E4M3", 0)
    targets, calls = Grid((key, scale), (2,)), (*step.calls, call)
    sizes = " x ".join(map(str, block))
    told = f"its values are rounded to {dtype}, with a scale for each block of {sizes}"
    return replace(step, targets=targets, calls=calls).doubted(told)


def _call(op: str, block: Block, dtype: str, usual: str, over: int) -> Call:
    given: list[tuple[str, Value]] = []
    if block != (USUAL, USUAL):
        given.append(("block", block[0] if block[0] == block[1] else block))
    if dtype != usual:
        given.append(("dtype", dtype))
    return Call(op, tuple(given), over)


def _unread(step: Step, side: _Side, scaled: Sequence[str]) -> Step:
    """A step that is open, for weights whose scales nothing works into them."""
    scale = _end(side.scales[scaled[0]])
    told = f"{scale} goes with its values; dequantize_blocks is for float8 and scales of blocks"
    return without_scale(step, told)


def _unmade(step: Step, side: _Side, wanted: Sequence[str]) -> Step:
    """A step that is open, for weights whose scales nothing makes."""
    scale = _end(side.scales[wanted[0]])
    told = f"{scale} goes with its values here; quantize_blocks makes both, in float8"
    return without_scale(step, told)
