"""Which tensors are random and in which way, and which are kept, by name, spec and values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ckptsurgeon as cs
from ckptsurgeon.checkpoints.memory import open_dict
from ckptsurgeon.probing.designing import make_design
from ckptsurgeon.probing.kinds import Kind, choose_kind
from ckptsurgeon.specs import TensorSpec

BY_NAME = {
    "bn1.weight F32 64": Kind.NEAR_ONE,
    "bn1.bias F32 64": Kind.SMALL,
    "bn1.running_mean F32 64": Kind.SMALL,
    "bn1.running_var F32 64": Kind.POSITIVE,
    "bn1.num_batches_tracked I64": Kind.COUNTER,
    "norm/scale F32 64": Kind.NEAR_ONE,
    "dense/kernel F32 64,64": Kind.SMALL,
    "bn/moving_variance F32 64": Kind.POSITIVE,
    "fc.weight F32 10,64": Kind.SMALL,
    "ls1.gamma BF16 64": Kind.NEAR_ONE,
    "conv.weight_g F32 64,1,1": Kind.NEAR_ONE,
    "q_proj.weight F8_E4M3 64,64": Kind.SMALL,
    "q_proj.weight_scale F32 64,1": Kind.NEAR_ONE,
    "q_proj.weight_scale_inv F32 2,2": Kind.NEAR_ONE,
    "logit_scale F32": Kind.NEAR_ONE,
    "pixel_std F32 3,1,1": Kind.POSITIVE,
    "q_proj.qweight I32 8,64": Kind.BITS,
    "q_proj.weight I8 64,64": Kind.BITS,
    "experts.gate_up_proj_blocks U8 4,8,90,16": Kind.BITS,
    "experts.gate_up_proj_scales U8 4,8,90": Kind.BITS,
    "codes U8 64,64": Kind.BITS,
    "w F4 64,64": Kind.BITS,
    "w F6_E2M3 4,64": Kind.BITS,
    "freqs C64 64,8": Kind.SMALL,
    "position_ids I64 1,512": Kind.INDEX,
    "relative_position_index I64 49,49": Kind.INDEX,
    "attn_mask U8 8,8": Kind.INDEX,
    "attn.mask BOOL 8,8": Kind.FLAGS,
    "vocab_size I64": Kind.COUNTER,
    "state.0.step I32 1": Kind.COUNTER,
}
"""A key, a dtype and a shape; of sources without values."""


@pytest.mark.parametrize("told", BY_NAME)
def test_names_and_specs_choose(told: str) -> None:
    key, dtype, *sizes = told.split(" ")
    shape = tuple(int(size) for size in sizes[0].split(",")) if sizes else ()
    assert choose_kind(key, TensorSpec(dtype, shape), None) is BY_NAME[told]


def rising(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype="f4").reshape(shape)


RANDOM = np.random.default_rng(0)
GRID = np.stack(np.meshgrid(np.arange(12.0), np.arange(12.0), indexing="ij"), -1)

BY_VALUE: dict[str, tuple[str, np.ndarray, Kind]] = {
    "positions": ("position_ids", np.arange(9)[None], Kind.KEPT_INTEGERS),
    "scattered indexes": ("relative_position_index", np.arange(16)[::-1], Kind.KEPT_INTEGERS),
    "no counter": ("vocab_size", np.array(49408), Kind.KEPT_INTEGERS),
    "a counter": ("bn.num_batches_tracked", np.array(49408), Kind.COUNTER),
    "bools": ("mask", np.ones((3, 3), bool), Kind.KEPT_BOOLS),
    "a mask of bytes": ("attn.bias", np.tril(np.ones((9, 9), "u1")), Kind.KEPT_INTEGERS),
    "bytes of a text": ("quant_state", np.arange(90, dtype="u1"), Kind.KEPT_INTEGERS),
    "a palette": ("codes", RANDOM.integers(0, 256, (9, 3)).astype("u1"), Kind.BITS),
    "zeros of a quantized weight": ("fc.weight", np.zeros((9, 9), "i1"), Kind.BITS),
    "a range": ("pos", rising(30), Kind.KEPT_TABLE),
    "a range that falls": ("pos", rising(30)[::-1].copy(), Kind.KEPT_TABLE),
    "a range in a row": ("pos", rising(1, 30, 1), Kind.KEPT_TABLE),
    "columns that rise": ("table", GRID[:, :, 0].copy() + np.linspace(0, 0.9, 12), Kind.KEPT_TABLE),
    "an outer product": ("t", np.outer(np.arange(12), 0.5 ** np.arange(4)), Kind.KEPT_TABLE),
    "a short range": ("pos", rising(9), Kind.SMALL),
    "a range with a step back": ("pos", np.roll(rising(30), 1), Kind.SMALL),
    "a range with a step back in the end": ("pos", np.append(rising(30), 3), Kind.SMALL),
    "one row out of line": ("t", np.r_[rising(3, 30), -rising(1, 30)], Kind.SMALL),
    "a range to infinity": ("pos", np.append(rising(30), np.inf), Kind.SMALL),
    "a large range": ("pos", np.arange((4 << 17) + 1, dtype="f8"), Kind.SMALL),
    "zeros": ("fc.bias", np.zeros(30, "f4"), Kind.SMALL),
    "ones": ("bn.weight", np.ones(30, "f4"), Kind.NEAR_ONE),
    "anchors by name": ("head.anchors", np.ones((3, 2), "f4"), Kind.KEPT_TABLE),
    "anchors without a value": ("head.anchors", np.full((3, 2), np.nan, "f4"), Kind.SMALL),
    "frequencies by name": ("rope.inv_freq", 0.5 ** np.arange(8), Kind.KEPT_TABLE),
    "complex ones by name": ("freqs_cis", np.ones((3, 2), "c8"), Kind.KEPT_TABLE),
    "complex ones that rise": ("z", rising(30).astype("c8"), Kind.SMALL),
    "no numbers": ("e", np.zeros((0, 30), "f4"), Kind.SMALL),
}


@pytest.mark.parametrize("name", BY_VALUE)
@pytest.mark.parametrize("form", ["memory", "file", "deflated"])
def test_values_choose(name: str, form: str, tmp_path: object) -> None:
    key, value, kind = BY_VALUE[name]
    state = {key: np.ascontiguousarray(value).reshape(value.shape)}
    if form == "memory":
        checkpoint = open_dict(state)
    else:
        path = f"{tmp_path}/a.npz"
        (np.savez if form == "file" else np.savez_compressed)(path, **state)
        checkpoint = cs.open_checkpoint(path)
    assert make_design(checkpoint, 0).kinds[key] is kind


def test_what_is_kept_has_the_values_of_the_source() -> None:
    for key, value, kind in BY_VALUE.values():
        made = cs.probe({key: value})[key]
        assert (made.dtype, made.shape) == (value.dtype, value.shape)
        is_kept = kind in (Kind.KEPT_BOOLS, Kind.KEPT_INTEGERS, Kind.KEPT_TABLE)
        assert np.array_equal(made, value) == (is_kept or not value.size), key
        assert not np.shares_memory(made, value)


@pytest.mark.parametrize(
    ("key", "values", "kind"),
    [
        ("attn_mask", np.triu(np.full((4, 4), -np.inf, "f4"), 1), Kind.KEPT_TABLE),
        ("mask", np.zeros((4, 4), "f8"), Kind.KEPT_TABLE),
        ("mask", RANDOM.random((4, 4)), Kind.SMALL),
        ("mask_token", np.zeros((1, 4), "f4"), Kind.SMALL),
    ],
)
def test_a_mask_of_two_values_is_kept(key: str, values: np.ndarray, kind: Kind) -> None:
    assert make_design(open_dict({key: values}), 0).kinds[key] is kind


@pytest.mark.parametrize(
    ("shape", "dtype", "told"),
    [((), "f2", True), ((64, 64), "f2", False), ((), "f4", False)],
)
def test_what_no_value_tells_apart_is_told(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, told: bool
) -> None:
    made = cs.probe({f"{one}.w": np.ones(shape, dtype) for one in "ab"}, tmp_path / "p.safetensors")
    few = [note.text for note in made.notes if "few numbers" in note.text]
    assert few == (["2 tensors of few numbers in F16: some may be equal"] if told else [])
