"""Random checkpoints and random rules that lose nothing: strategies for plans to turn around."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ckptsurgeon.ops import build
from ckptsurgeon.specs import TensorSpec

Array = np.ndarray[Any, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

DTYPES = {"F32": "<f4", "F16": "<f2", "I64": "<i8", "U8": "u1"}
WIDENED = {"F16": "F32", "F32": "F64", "U8": "I64"}

sizes = st.integers(1, 4)


@dataclass
class Conversion:
    """Tensors and the rules that convert them, in the making."""

    draw: Draw
    tensors: dict[str, Array] = field(default_factory=dict)
    rules: list[Any] = field(default_factory=list)
    both_ways: bool = False
    """Whether what the rules make holds nothing twice, and nothing new: exact both ways."""

    def tensor(self, shape: tuple[int, ...], dtype: str | None = None) -> str:
        """The key of a new tensor of random numbers."""
        key = f"t{len(self.tensors)}.w"
        dtype = dtype or self.draw(st.sampled_from(list(DTYPES)))
        count = math.prod(shape)
        start = sum(array.size for array in self.tensors.values()) % 100
        numbers = (np.arange(start, start + count) % 251).astype(DTYPES[dtype])
        self.tensors[key] = numbers.reshape(shape)
        return key

    def shape(self, dims: int) -> tuple[int, ...]:
        return tuple(self.draw(sizes) for _ in range(dims))

    def spec(self, key: str) -> TensorSpec:
        array = self.tensors[key]
        dtype = next(code for code, name in DTYPES.items() if np.dtype(name) == array.dtype)
        return TensorSpec(dtype, array.shape)

    def move(self, sources: list[str], targets: list[str], ops: list[Any]) -> None:
        words = {"ops": ops} if ops else {}
        self.rules.append({"from": sources, "to": targets, **words})

    def changed(self, spec: TensorSpec) -> tuple[list[Any], TensorSpec]:
        """A few ops that each map one tensor to one, and what they make of a spec."""
        ops = []
        for _ in range(self.draw(st.integers(0, 3))):
            op = self.draw(st.sampled_from(MOVES if self.both_ways else EACH))(self, spec)
            if op is not None:
                ops.append(op)
                ((name, parameters),) = op.items()
                (spec,) = build(name, parameters).infer((spec,))
        return ops, spec


# --- ops that map one tensor to one ---------------------------------------------------------------


def dim_of(made: Conversion, spec: TensorSpec) -> int:
    return int(made.draw(st.integers(0, len(spec.shape) - 1)))


def permute(made: Conversion, spec: TensorSpec) -> Any:
    return {"permute": {"dims": made.draw(st.permutations(range(len(spec.shape))))}}


def transpose(made: Conversion, spec: TensorSpec) -> Any:
    if len(spec.shape) < 2:
        return None
    one, other = made.draw(st.permutations(range(len(spec.shape))))[:2]
    return {"transpose": {"dims": [one, other]}}


def reshape(made: Conversion, spec: TensorSpec) -> Any:
    return {"reshape": {"shape": [1, spec.count] if len(spec.shape) < 4 else [spec.count]}}


def flip(made: Conversion, spec: TensorSpec) -> Any:
    return {"flip": {"dim": dim_of(made, spec)}}


def roll(made: Conversion, spec: TensorSpec) -> Any:
    return {"roll": {"shift": made.draw(st.integers(-5, 5)), "dim": dim_of(made, spec)}}


def rearrange(made: Conversion, spec: TensorSpec) -> Any:
    size = spec.shape[0]
    parts = made.draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
    return {"rearrange": {"pattern": "(h d) ... -> (d h) ...", "h": parts}}


def permute_rope(made: Conversion, spec: TensorSpec) -> Any:
    if len(spec.shape) > 2 or spec.shape[0] % 4:
        return None
    to = made.draw(st.sampled_from(["half", "interleaved"]))
    return {"permute_rope": {"head_dim": 4, "to": to}}


def take(made: Conversion, spec: TensorSpec) -> Any:
    """All items of a dim in another order, some of them twice."""
    dim = dim_of(made, spec)
    indices = made.draw(st.permutations(range(spec.shape[dim])))
    return {"take": {"indices": [*indices, *indices[: made.draw(sizes) - 1]], "dim": dim}}


def repeat(made: Conversion, spec: TensorSpec) -> Any:
    each = made.draw(st.booleans())
    return {"repeat": {"times": made.draw(sizes), "dim": dim_of(made, spec), "each": each}}


def pad(made: Conversion, spec: TensorSpec) -> Any:
    at = made.draw(st.sampled_from(["start", "end"]))
    return {"pad": {"by": made.draw(sizes), "dim": dim_of(made, spec), "value": 7, "at": at}}


def cast(made: Conversion, spec: TensorSpec) -> Any:
    return {"cast": {"dtype": WIDENED[spec.dtype]}} if spec.dtype in WIDENED else None


MOVES = [permute, transpose, reshape, flip, roll, rearrange, permute_rope]
EACH = [*MOVES, take, repeat, pad, cast]


# --- rules: what they read is new, and so is what they make ---------------------------------------


def change(made: Conversion) -> None:
    key = made.tensor(made.shape(made.draw(st.integers(1, 3))))
    ops, _ = made.changed(made.spec(key))
    made.move([key], [f"changed.{key}"], ops)


def copy(made: Conversion) -> None:
    made.tensor(made.shape(2))


def swap(made: Conversion) -> None:
    one, other = made.tensor(made.shape(2)), made.tensor(made.shape(2))
    made.rules += [f"{one} -> {other}", f"{other} -> {one}"]


def shift(made: Conversion) -> None:
    name = f"layers{len(made.tensors)}"
    for number in range(made.draw(sizes)):
        made.tensors[f"{name}.{number}.w"] = made.tensors.pop(made.tensor((3,)))
    made.rules.append(f"{name}.<i>.w -> {name}.<i+1>.w")


def split(made: Conversion) -> None:
    parts = made.draw(st.lists(sizes, min_size=2, max_size=3))
    key = made.tensor((2, sum(parts)))
    targets = [f"part{number}.{key}" for number in range(len(parts))]
    made.move([key], targets, [{"split": {"dim": 1, "sizes": parts}}])


def unstack(made: Conversion) -> None:
    count = made.draw(sizes)
    key = made.tensor((2, count, 3))
    ops, _ = made.changed(TensorSpec(made.spec(key).dtype, (2, 3)))
    made.rules.append(
        {"from": key, "to": f"item.<i>.{key}", "ops": [{"unstack": {"dim": 1, "over": "i"}}, *ops]}
    )


def concat(made: Conversion) -> None:
    dtype = made.draw(st.sampled_from(list(DTYPES)))
    parts = made.draw(st.lists(sizes, min_size=2, max_size=3))
    keys = [made.tensor((2, size), dtype) for size in parts]
    ops, _ = made.changed(TensorSpec(dtype, (2, sum(parts))))
    made.move(keys, [f"joined.{keys[0]}"], [{"concat": {"dim": 1}}, *ops])


def stack(made: Conversion) -> None:
    dtype = made.draw(st.sampled_from(list(DTYPES)))
    shape = made.shape(2)
    keys = [made.tensor(shape, dtype) for _ in range(made.draw(st.integers(2, 4)))]
    ops, _ = made.changed(TensorSpec(dtype, shape))
    made.move(
        keys, [f"stacked.{keys[0]}"], [*ops, {"stack": {"dim": made.draw(st.integers(0, 1))}}]
    )


def fuse_qkv(made: Conversion) -> None:
    layout, heads, kv_heads = made.draw(st.sampled_from(LAYOUTS))
    rows = (heads * 4, kv_heads * 4, kv_heads * 4)
    keys = [made.tensor((count, 3), "F32") for count in rows]
    op = {"layout": layout, "heads": heads, "kv_heads": kv_heads}
    made.move(keys, [f"qkv.{keys[0]}"], [{"fuse_qkv": op}])


def split_qkv(made: Conversion) -> None:
    layout, heads, kv_heads = made.draw(st.sampled_from(LAYOUTS))
    key = made.tensor(((heads + 2 * kv_heads) * 4, 3))
    op = {"layout": layout, "heads": heads, "kv_heads": kv_heads}
    made.move([key], [f"{name}.{key}" for name in "qkv"], [{"split_qkv": op}])


LAYOUTS = [
    *(("flat", 2, 2), ("flat", 4, 2), ("per_head", 2, 2), ("per_group", 4, 2)),
    ("megatron_v1", 2, 2),
]


def give_parts(made: Conversion) -> None:
    """Two tensors assigned into parts of one that they tile."""
    dtype = made.draw(st.sampled_from(list(DTYPES)))
    first, second = made.draw(sizes), made.draw(sizes)
    keys = [made.tensor((2, size), dtype) for size in (first, second)]
    target = f"tiled.{keys[0]}"
    made.rules.append(f"{keys[0]} -> {target}[:, :{first}]")
    made.rules.append(f"{keys[1]} -> {target}[:, {first}:{first + second}]")


def take_parts(made: Conversion) -> None:
    """Two slices that tile a tensor, each to a tensor of its own, through ops."""
    first, second = made.draw(sizes), made.draw(sizes)
    key = made.tensor((2, first + second))
    dtype = made.spec(key).dtype
    for name, part, size in (("left", f":{first}", first), ("right", f"{first}:", second)):
        ops, _ = made.changed(TensorSpec(dtype, (2, size)))
        made.move([f"{key}[:, {part}]"], [f"{name}.{key}"], ops)


def several_targets(made: Conversion) -> None:
    key = made.tensor(made.shape(2))
    ops, _ = made.changed(made.spec(key))
    made.move([key], [f"one.{key}", f"other.{key}"], ops)


def same(made: Conversion) -> None:
    key = made.tensor(made.shape(2))
    twin = f"twin.{key}"
    made.tensors[twin] = made.tensors[key].copy()
    made.move([key, twin], [f"same.{key}"], ["same"])


ONE_TO_ONE = [
    *(change, change, copy, swap, shift, split, unstack, concat, stack, fuse_qkv, split_qkv),
    *(give_parts, take_parts),
]


@st.composite
def conversions(draw: Draw, both_ways: bool = False) -> tuple[dict[str, Array], list[Any]]:
    """(tensors, rules) of a conversion that loses nothing; `both_ways` if its inverse doesn't."""
    made = Conversion(draw, both_ways=both_ways)
    rules = ONE_TO_ONE if both_ways else [*ONE_TO_ONE, several_targets, same]
    for rule in draw(st.lists(st.sampled_from(rules), min_size=1, max_size=5)):
        rule(made)
    return made.tensors, made.rules


@st.composite
def second_stages(draw: Draw, specs: dict[str, TensorSpec]) -> list[Any]:
    """Rules that change, cut or join some of the tensors that an earlier stage gives."""
    made = Conversion(draw)
    for key in draw(st.lists(st.sampled_from(list(specs)), unique=True)):
        spec = specs[key]
        size = spec.shape[-1] if spec.shape else 0
        if size > 1 and draw(st.booleans()):
            at = draw(st.integers(1, size - 1))
            made.rules.append(f"{key}[..., :{at}] -> before.{key}")
            made.rules.append(f"{key}[..., {at}:] -> behind.{key}")
        else:
            made.move([key], [f"again.{key}"], made.changed(spec)[0])
    return made.rules
