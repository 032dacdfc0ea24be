"""A hypothesis strategy per op: an op with tensors that fit it, of any dtype and memory layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ckptsurgeon.ops import INTERNAL, Op, build, carriers
from ckptsurgeon.ops.ranges import COMPLEX, INTEGER_RANGES
from ckptsurgeon.specs import BITS, Specs, TensorSpec

Array = np.ndarray[Any, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

WHOLE_BYTES = tuple(code for code, bits in BITS.items() if bits % 8 == 0)


@dataclass(frozen=True)
class Case:
    op: Op
    specs: Specs
    arrays: tuple[Array, ...]


def shapes(least: int = 1, most: int = 4, smallest: int = 0) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(smallest, 4), min_size=least, max_size=most).map(tuple)


def random_bits(spec: TensorSpec, random: np.random.Generator) -> Array:
    """Random items (NaNs among them) in an array that may be contiguous, turned or strided."""
    rank = len(spec.shape)
    order = [int(dim) for dim in random.permutation(rank)]
    steps = [int(step) for step in random.integers(1, 3, rank)]
    stored = tuple(spec.shape[dim] * steps[dim] for dim in order)
    content = random.bytes(spec.count * int(np.prod(steps)) * BITS[spec.dtype] // 8)
    array = np.frombuffer(content, spec.carrier).reshape(stored)
    turned = array.transpose([order.index(dim) for dim in range(rank)])
    return turned[(*(slice(None, None, step) for step in steps), ...)]


def case(
    draw: Draw, name: str, parameters: Mapping[str, object], *shapes_: tuple[int, ...]
) -> Case:
    dtype = draw(st.sampled_from(WHOLE_BYTES))
    specs = tuple(TensorSpec(dtype, shape) for shape in shapes_)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    arrays = tuple(random_bits(spec, random) for spec in specs)
    return Case(build(name, parameters), specs, arrays)


def dims_of(shape: tuple[int, ...], extra: int = 0) -> st.SearchStrategy[int]:
    dims = len(shape) + extra
    return st.integers(-dims, dims - 1)


@st.composite
def slice_cases(draw: Draw) -> Case:
    shape = draw(shapes(0, smallest=1))
    index: list[object] = []
    for size in shape:
        start = draw(st.integers(0, size - 1))
        stop = draw(st.integers(start + 1, size))
        texts = [start, (start, stop, None), (start - size, None, 2), (None, stop, 1)]
        index.append(draw(st.sampled_from([*texts, (None, None, None)])))
    cut = draw(st.integers(0, len(index)))
    if draw(st.booleans()):
        index[cut:] = ["...", *index[cut + 1 :]]
    return case(draw, "slice", {"index": index}, shape)


@st.composite
def take_cases(draw: Draw) -> Case:
    shape = draw(shapes(smallest=1))
    dim = draw(dims_of(shape))
    anywhere = st.lists(st.integers(0, shape[dim] - 1), min_size=1, max_size=6)
    indices = draw(anywhere | st.permutations(range(shape[dim])))
    return case(draw, "take", {"indices": indices, "dim": dim}, shape)


@st.composite
def pad_cases(draw: Draw) -> Case:
    shape = draw(shapes())
    dim, added = draw(dims_of(shape)), 2 * draw(st.integers(0, 2))
    amount = draw(st.sampled_from([{"by": added}, {"to": shape[dim] + added}]))
    at = draw(st.sampled_from(["start", "end", "both"]))
    return case(draw, "pad", {**amount, "dim": dim, "at": at, "value": 1}, shape)


@st.composite
def split_cases(draw: Draw) -> Case:
    sizes = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    parts = draw(st.integers(1, 4))
    shape = list(draw(shapes()))
    dim = draw(dims_of(tuple(shape)))
    equal = draw(st.booleans())
    shape[dim] = parts * shape[dim] if equal else sum(sizes)
    how = {"parts": parts} if equal else {"sizes": sizes}
    return case(draw, "split", {**how, "dim": dim}, tuple(shape))


@st.composite
def concat_cases(draw: Draw) -> Case:
    shape = draw(shapes())
    dim = draw(dims_of(shape))
    sizes = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    at = dim % len(shape)
    parts = [(*shape[:at], size, *shape[at + 1 :]) for size in sizes]
    return case(draw, "concat", {"dim": dim}, *parts)


@st.composite
def stack_cases(draw: Draw) -> Case:
    shape, count = draw(shapes(0, 3)), draw(st.integers(1, 4))
    return case(draw, "stack", {"dim": draw(dims_of(shape, extra=1))}, *[shape] * count)


@st.composite
def unstack_cases(draw: Draw) -> Case:
    shape = draw(shapes(smallest=1))
    return case(draw, "unstack", {"dim": draw(dims_of(shape))}, shape)


@st.composite
def copies_cases(draw: Draw) -> Case:
    return case(draw, "copies", {"times": draw(st.integers(1, 4))}, draw(shapes(0)))


@st.composite
def same_cases(draw: Draw) -> Case:
    made = case(draw, "same", {}, draw(shapes(0)))
    copies = draw(st.integers(0, 2))
    arrays = (*made.arrays, *(made.arrays[0].copy() for _ in range(copies)))
    return Case(made.op, made.specs * len(arrays), arrays)


@st.composite
def transpose_cases(draw: Draw) -> Case:
    shape = draw(shapes(2))
    dims = draw(st.permutations(range(-len(shape), 0)))[:2]
    plain = len(shape) == 2 and draw(st.booleans())
    return case(draw, "transpose", {} if plain else {"dims": dims}, shape)


@st.composite
def permute_cases(draw: Draw) -> Case:
    shape = draw(shapes(0))
    dims = [dim - draw(st.sampled_from([0, len(shape)])) for dim in range(len(shape))]
    return case(draw, "permute", {"dims": draw(st.permutations(dims))}, shape)


@st.composite
def reshape_cases(draw: Draw) -> Case:
    shape = draw(shapes(0))
    target = list(draw(st.permutations([1, *shape])))
    unknown = draw(st.integers(0, len(target) - 1))
    if 0 not in target and draw(st.booleans()):
        target[unknown] = -1
    return case(draw, "reshape", {"shape": target}, shape)


@st.composite
def flip_cases(draw: Draw) -> Case:
    shape = draw(shapes())
    return case(draw, "flip", {"dim": draw(dims_of(shape))}, shape)


@st.composite
def roll_cases(draw: Draw) -> Case:
    shape = draw(shapes())
    shift = draw(st.integers(-9, 9) | st.just(2**62))
    return case(draw, "roll", {"shift": shift, "dim": draw(dims_of(shape))}, shape)


@st.composite
def repeat_cases(draw: Draw) -> Case:
    shape = draw(shapes())
    how = {"times": draw(st.integers(1, 3)), "each": draw(st.booleans())}
    return case(draw, "repeat", {**how, "dim": draw(dims_of(shape))}, shape)


@dataclass(frozen=True)
class Grouping:
    """A random pattern with the sizes that it needs, and the shape that it is for."""

    pattern: str
    sizes: Mapping[str, int]
    shape: tuple[int, ...]


@st.composite
def groupings(draw: Draw, smallest: int = 0) -> Grouping:
    names = draw(st.permutations(["a", "b", "c2", "d_e"]))[: draw(st.integers(1, 4))]
    sizes = {name: draw(st.integers(1, 3)) for name in names}
    left, shape, given = draw(sides(names)), [], {}
    for group in left:
        size = int(np.prod([sizes[name] for name in group]))
        given |= {name: sizes[name] for name in group[1:]}
        shape.append(0 if group and not smallest and draw(st.integers(0, 9)) == 0 else size)
    right = draw(sides(draw(st.permutations(names))))
    text = f"{side_text(left)} -> {side_text(right)}"
    if draw(st.booleans()):
        shape, text = [2, *shape, 3], f"x {text.replace('->', '... -> ...')} x"
        shape = [*shape, draw(st.integers(1, 2))]
    return Grouping(text, given, tuple(shape))


@st.composite
def sides(draw: Draw, names: list[str]) -> list[tuple[str, ...]]:
    groups: list[tuple[str, ...]] = []
    for name in names:
        if groups and draw(st.booleans()):
            groups[-1] = (*groups[-1], name)
        else:
            groups.append((name,))
    if draw(st.integers(0, 4)) == 0:
        groups.append(())
    return groups


def side_text(groups: list[tuple[str, ...]]) -> str:
    return " ".join(group[0] if len(group) == 1 else f"({' '.join(group)})" for group in groups)


@st.composite
def rearrange_cases(draw: Draw) -> Case:
    grouping = draw(groupings())
    parameters = {"pattern": grouping.pattern, **grouping.sizes}
    return case(draw, "rearrange", parameters, grouping.shape)


@st.composite
def permute_rope_cases(draw: Draw) -> Case:
    rotary = 2 * draw(st.integers(1, 3))
    head_dim = rotary + draw(st.integers(0, 3))
    shape = (draw(st.integers(1, 3)) * head_dim, *draw(shapes(0, 1)))
    how = {"head_dim": head_dim, "to": draw(st.sampled_from(["half", "interleaved"]))}
    return case(draw, "permute_rope", {**how, "rotary_dim": rotary}, shape)


@dataclass(frozen=True)
class Fused:
    parameters: Mapping[str, object]
    rows: tuple[int, int, int]
    rest: tuple[int, ...]


@st.composite
def fused(draw: Draw) -> Fused:
    layout = draw(st.sampled_from(["flat", "per_head", "per_group", "megatron_v1"]))
    kv_heads, head_dim = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    grouped = layout in ("flat", "per_group")
    heads = kv_heads * (draw(st.integers(1, 3)) if grouped else 1)
    parameters = {"layout": layout, "heads": heads}
    if heads != kv_heads or draw(st.booleans()):
        parameters["kv_heads"] = kv_heads
    rows = (heads * head_dim, kv_heads * head_dim, kv_heads * head_dim)
    return Fused(parameters, rows, draw(shapes(0, 2)))


@st.composite
def split_qkv_cases(draw: Draw) -> Case:
    drawn = draw(fused())
    return case(draw, "split_qkv", drawn.parameters, (sum(drawn.rows), *drawn.rest))


@st.composite
def fuse_qkv_cases(draw: Draw) -> Case:
    drawn = draw(fused())
    parts = [(rows, *drawn.rest) for rows in drawn.rows]
    return case(draw, "fuse_qkv", drawn.parameters, *parts)


def castable(source: str, target: str) -> bool:
    if target in INTEGER_RANGES:
        return source in INTEGER_RANGES
    return source not in COMPLEX or target in COMPLEX


CASTS = [(a, b) for a in WHOLE_BYTES for b in WHOLE_BYTES if castable(a, b)]


@st.composite
def cast_cases(draw: Draw) -> Case:
    source, target = draw(st.sampled_from(CASTS))
    spec = TensorSpec(source, draw(shapes(0)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return Case(build("cast", {"dtype": target}), (spec,), (numbers(spec, target, random),))


def numbers(spec: TensorSpec, target: str, random: np.random.Generator) -> Array:
    """Random finite numbers of the dtype; integers that the target holds, if it holds integers."""
    array = np.array(random_bits(spec, random))
    if spec.dtype in INTEGER_RANGES:
        least, greatest = INTEGER_RANGES[spec.dtype]
        low, high = INTEGER_RANGES.get(target, (least, greatest))
        small = random.integers(max(least, low, -100), min(greatest, high, 100) + 1, spec.shape)
        return np.asarray(small).astype(carriers.numpy_dtype(spec.dtype)).view(spec.carrier)
    seen = carriers.decode(array, spec.dtype)
    with np.errstate(invalid="ignore"):
        seen[~np.isfinite(seen)] = 1
    return array


# --- ops that compute -----------------------------------------------------------------------------

REAL = tuple(code for code in WHOLE_BYTES if code not in INTEGER_RANGES and code not in COMPLEX)
ROOMY = (*REAL, *sorted(COMPLEX), "I32", "U32", "I64", "U64")
"""Dtypes in which a few sums and products of small integers fit."""


def computed(
    draw: Draw,
    name: str,
    parameters: Mapping[str, object],
    dtypes: tuple[str, ...],
    *shapes_: tuple[int, ...],
) -> Case:
    """Random floating items of any kind, NaN and infinity among them, or small integers."""
    dtype = draw(st.sampled_from(dtypes))
    specs = tuple(TensorSpec(dtype, shape) for shape in shapes_)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    fill = random_bits if dtype not in INTEGER_RANGES else (lambda s, r: numbers(s, s.dtype, r))
    return Case(build(name, parameters), specs, tuple(fill(spec, random) for spec in specs))


@st.composite
def number_cases(draw: Draw, name: str) -> Case:
    return computed(draw, name, {"number": draw(st.integers(0, 9))}, ROOMY, draw(shapes(0)))


@st.composite
def sum_cases(draw: Draw) -> Case:
    shape = draw(shapes())
    how = {"dim": draw(dims_of(shape)), "keepdim": draw(st.booleans())}
    return computed(draw, "sum", how, ROOMY, shape)


@st.composite
def mean_cases(draw: Draw) -> Case:
    shape = draw(shapes(smallest=1))
    how = {"dim": draw(dims_of(shape)), "keepdim": draw(st.booleans())}
    return computed(draw, "mean", how, (*REAL, *sorted(COMPLEX)), shape)


@st.composite
def broadcast_shapes(draw: Draw) -> list[tuple[int, ...]]:
    first = draw(shapes(0))
    others = []
    for _ in range(draw(st.integers(0, 3))):
        kept = first[draw(st.integers(0, len(first))) :]
        others.append(tuple(draw(st.sampled_from([1, size])) for size in kept))
    return [first, *others]


@st.composite
def combined_cases(draw: Draw, name: str) -> Case:
    return computed(draw, name, {}, ROOMY, *draw(broadcast_shapes()))


@st.composite
def divide_cases(draw: Draw) -> Case:
    made = computed(draw, "divide", {}, (*REAL, *sorted(COMPLEX)), *draw(broadcast_shapes()))
    others = (np.where(array == 0, 1, array) for array in made.arrays[1:])  # a 0 is refused
    divisors = zip(others, made.specs[1:], strict=True)
    return Case(
        made.op,
        made.specs,
        (*made.arrays[:1], *(array.astype(spec.carrier) for array, spec in divisors)),
    )


@st.composite
def noise_cases(draw: Draw, name: str) -> Case:
    how: dict[str, object] = {"std": draw(st.floats(0, 4)), "seed": draw(st.integers(-9, 9))}
    if name == "placed_noise":
        how |= {"key": draw(st.text("aü.", max_size=3)), "place": draw(st.integers(0, 9))}
    return computed(draw, name, how, REAL, draw(shapes(0)))


@st.composite
def average_cases(draw: Draw) -> Case:
    drawn = draw(broadcast_shapes())
    weights = draw(st.lists(st.floats(0.5, 4), min_size=len(drawn), max_size=len(drawn)))
    how = draw(st.sampled_from([{}, {"weights": weights}]))
    return computed(draw, "average", how, (*REAL, *sorted(COMPLEX)), *drawn)


@st.composite
def adapt_input_channels_cases(draw: Draw) -> Case:
    shape = draw(shapes(2, smallest=1))
    to = draw(st.integers(1, 6))
    hows = [None, "tile", "mean"]
    hows += ["zeros"] if to >= shape[1] else []
    hows += ["sum"] if to == 1 else []
    real = tuple(code for code in REAL if code != "F8_E8M0")
    how = {"to": to, "how": draw(st.sampled_from(hows))}
    return computed(draw, "adapt_input_channels", how, (*real, "C64"), shape)


@st.composite
def resize_pos_embed_cases(draw: Draw) -> Case:
    old, new = ((draw(st.integers(1, 4)), draw(st.integers(1, 4))) for _ in range(2))
    prefix, width = draw(st.integers(0, 2)), draw(st.integers(1, 4))
    how = {"grid": old, "to": new, "prefix_tokens": prefix, "antialias": draw(st.booleans())}
    shape = (*draw(st.sampled_from([(1,), ()])), prefix + old[0] * old[1], width)
    if draw(st.booleans()):
        how, shape = {"to": new, "antialias": how["antialias"]}, (1, *old, width)
    mode = draw(st.sampled_from(["bicubic", "bilinear"]))
    return computed(draw, "resize_pos_embed", {**how, "mode": mode}, REAL, shape)


@st.composite
def resample_patch_embed_cases(draw: Draw) -> Case:
    sizes = [draw(st.integers(1, 4)) for _ in range(6)]
    to = draw(st.sampled_from([sizes[4:], sizes[4]]))
    made = computed(draw, "resample_patch_embed", {"to": to}, REAL, tuple(sizes[:4]))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    finite = tuple(numbers(spec, spec.dtype, random) for spec in made.specs)
    return Case(made.op, made.specs, finite)


@st.composite
def resize_rel_pos_bias_cases(draw: Draw) -> Case:
    old, new = ((draw(st.integers(1, 3)), draw(st.integers(1, 3))) for _ in range(2))
    heads, extra = draw(st.integers(1, 3)), draw(st.sampled_from([0, 3]))
    rows, columns = 2 * old[0] - 1, 2 * old[1] - 1
    shape = draw(st.sampled_from([(rows * columns + extra, heads), (heads, rows, columns)]))
    how = draw(st.sampled_from(["geometric", "bicubic", "bilinear"]))
    parameters = {"to": new, "window": old, "how": how}
    return computed(draw, "resize_rel_pos_bias", parameters, REAL, shape)


@st.composite
def fuse_weight_norm_cases(draw: Draw) -> Case:
    shape = draw(shapes(1, smallest=1))
    dim = draw(dims_of(shape))
    kept = tuple(size if at == dim % len(shape) else 1 for at, size in enumerate(shape))
    magnitude = draw(st.sampled_from([kept, ()]))
    # A v of zeros is refused; in these dtypes random bits are none.
    wide = ("F32", "F64", "BF16")
    return computed(draw, "fuse_weight_norm", {"dim": dim}, wide, magnitude, shape)


@st.composite
def fuse_spectral_norm_cases(draw: Draw) -> Case:
    shape = draw(shapes(1, smallest=1))
    dim = draw(dims_of(shape))
    size = shape[dim]
    dtypes = [draw(st.sampled_from(["F32", "F64", "F16", "BF16"])) for _ in range(3)]
    sizes = (shape, (size,), (int(np.prod(shape)) // size,))
    specs = tuple(map(TensorSpec, dtypes, sizes))
    return Case(build("fuse_spectral_norm", {"dim": dim}), specs, positive(draw, specs))


@st.composite
def blocked(draw: Draw) -> tuple[tuple[int, ...], list[int], tuple[int, ...]]:
    """The shape of a weight, its block, and the shape of the scales."""
    before, sizes = draw(shapes(0, 1)), [draw(st.integers(0, 9)) for _ in range(2)]
    block = [draw(st.integers(1, 5)) for _ in range(2)]
    scales = (-(-size // of) for size, of in zip(sizes, block, strict=True))
    return (*before, *sizes), block, (*before, *scales)


@st.composite
def dequantize_blocks_cases(draw: Draw) -> Case:
    shape, block, scales = draw(blocked())
    dtype = draw(st.sampled_from(["F8_E4M3", "F8_E5M2"]))
    of_scales = draw(st.sampled_from(REAL))
    specs = TensorSpec(dtype, shape), TensorSpec(of_scales, scales)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    how = {"block": block, "dtype": draw(st.sampled_from(["BF16", "F16", "F32", "F64"]))}
    arrays = tuple(random_bits(spec, random) for spec in specs)
    return Case(build("dequantize_blocks", how), specs, arrays)


@st.composite
def quantize_blocks_cases(draw: Draw) -> Case:
    shape, block, _ = draw(blocked())
    how = {"block": block, "dtype": draw(st.sampled_from(["F8_E4M3", "F8_E5M2"]))}
    real = tuple(code for code in REAL if code != "F64")  # whose scales may be beyond F32
    made = computed(draw, "quantize_blocks", how, real, shape)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    finite = tuple(numbers(spec, spec.dtype, random) for spec in made.specs)
    return Case(made.op, made.specs, finite)


@st.composite
def merge_lora_cases(draw: Draw) -> Case:
    out, into, rank = (draw(st.integers(1, 4)) for _ in range(3))
    kernel = draw(st.sampled_from([(), (2,), (3, 2)]))
    turned = not kernel and draw(st.booleans())
    weight = (into, out) if turned else (out, into, *kernel)
    factors = (rank, into, *kernel), (out, rank, *[1] * len(kernel))
    how = {"alpha": draw(st.integers(1, 16)), "fan_in_fan_out": turned}
    return computed(draw, "merge_lora", how, REAL, weight, *factors)


# --- ops that rules of their own make -------------------------------------------------------------


def batchnorm_case(
    draw: Draw,
    name: str,
    channels: int,
    kernel: tuple[int, ...] | None = None,
    **parameters: object,
) -> Case:
    """A random op of BatchNorms: the parts that it needs, and some of those that it knows."""
    cls = INTERNAL[name]
    parts = [part for part in cls.known if part in cls.needed or draw(st.booleans())]
    shapes_ = {"kernel": kernel}
    dtypes = {part: draw(st.sampled_from(["F32", "F64", "F16", "BF16"])) for part in parts}
    specs = tuple(TensorSpec(dtypes[part], shapes_.get(part, (channels,))) for part in parts)
    return Case(build(name, {"parts": parts, **parameters}), specs, positive(draw, specs))


def positive(draw: Draw, specs: Specs) -> tuple[Array, ...]:
    """Random numbers above 0, none of them large."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    drawn = (np.abs(random.normal(size=spec.shape)).astype("f4") + 0.1 for spec in specs)
    pairs = zip(drawn, specs, strict=True)
    return tuple(carriers.encode(array, spec.dtype) for array, spec in pairs)


@st.composite
def batchnorm_scale_cases(draw: Draw) -> Case:
    return batchnorm_case(draw, "batchnorm_scale", draw(st.integers(0, 4)))


@st.composite
def batchnorm_shift_cases(draw: Draw) -> Case:
    how = {"dtype": draw(st.sampled_from(REAL)), "scale_first": draw(st.booleans())}
    return batchnorm_case(draw, "batchnorm_shift", draw(st.integers(0, 4)), **how)


@st.composite
def fold_kernel_cases(draw: Draw) -> Case:
    groups, per_group, into = (draw(st.integers(1, 3)) for _ in range(3))
    rest, transposed = draw(shapes(0, 2)), draw(st.booleans())
    out = groups * per_group
    kernel = (groups * into, per_group, *rest) if transposed else (out, into, *rest)
    how = {"transposed": transposed, "groups": groups}
    return batchnorm_case(draw, "fold_kernel", out, kernel, **how)


@st.composite
def fold_identity_cases(draw: Draw) -> Case:
    groups = draw(st.integers(1, 3))
    channels = groups * draw(st.integers(0, 3))
    return batchnorm_case(draw, "fold_identity", channels, groups=groups)


CASES: Mapping[str, st.SearchStrategy[Case]] = {
    "slice": slice_cases(),
    "take": take_cases(),
    "pad": pad_cases(),
    "split": split_cases(),
    "concat": concat_cases(),
    "stack": stack_cases(),
    "unstack": unstack_cases(),
    "copies": copies_cases(),
    "same": same_cases(),
    "transpose": transpose_cases(),
    "permute": permute_cases(),
    "reshape": reshape_cases(),
    "flip": flip_cases(),
    "roll": roll_cases(),
    "rearrange": rearrange_cases(),
    "repeat": repeat_cases(),
    "permute_rope": permute_rope_cases(),
    "split_qkv": split_qkv_cases(),
    "fuse_qkv": fuse_qkv_cases(),
    "cast": cast_cases(),
    "scale": number_cases("scale"),
    "shift": number_cases("shift"),
    "sum": sum_cases(),
    "mean": mean_cases(),
    "add": combined_cases("add"),
    "multiply": combined_cases("multiply"),
    "divide": divide_cases(),
    "average": average_cases(),
    "noise": noise_cases("noise"),
    "adapt_input_channels": adapt_input_channels_cases(),
    "resize_pos_embed": resize_pos_embed_cases(),
    "resample_patch_embed": resample_patch_embed_cases(),
    "resize_rel_pos_bias": resize_rel_pos_bias_cases(),
    "fuse_weight_norm": fuse_weight_norm_cases(),
    "fuse_spectral_norm": fuse_spectral_norm_cases(),
    "merge_lora": merge_lora_cases(),
    "dequantize_blocks": dequantize_blocks_cases(),
    "quantize_blocks": quantize_blocks_cases(),
    "batchnorm_scale": batchnorm_scale_cases(),
    "batchnorm_shift": batchnorm_shift_cases(),
    "fold_kernel": fold_kernel_cases(),
    "fold_identity": fold_identity_cases(),
    "placed_noise": noise_cases("placed_noise"),
}
"""A strategy for every op: `test_laws` holds that none is left out."""
