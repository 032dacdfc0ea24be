"""Laws that every op obeys, for any dtype of whole bytes and any memory layout."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ops.strategies import CASES, Case

from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops import INTERNAL, OPS, Arity, build
from ckptsurgeon.ops.base import MAX_DIMS, Move
from ckptsurgeon.ops.indexing import Region, as_slices
from ckptsurgeon.ops.regions import grained_boxes
from ckptsurgeon.specs import Specs, TensorSpec

EVERY = {**OPS, **INTERNAL}
every_op = pytest.mark.parametrize("name", list(EVERY))
quickly = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def test_every_op_has_a_strategy() -> None:
    assert CASES.keys() == EVERY.keys()


@every_op
@quickly
@given(data=st.data())
def test_infer_tells_what_apply_gives(name: str, data: st.DataObject) -> None:
    case: Case = data.draw(CASES[name])
    results = case.op.apply(case.arrays, case.specs)
    inferred = case.op.infer(case.specs)
    assert [(result.dtype.str, result.shape) for result in results] == [
        (np.dtype(spec.carrier).str, spec.shape) for spec in inferred
    ]


@every_op
@quickly
@given(data=st.data())
def test_apply_leaves_its_inputs_as_they_were(name: str, data: st.DataObject) -> None:
    case: Case = data.draw(CASES[name])
    before = [array.tobytes() for array in case.arrays]
    case.op.apply(case.arrays, case.specs)
    assert [array.tobytes() for array in case.arrays] == before


@every_op
@quickly
@given(data=st.data())
def test_the_inverse_gives_the_bytes_back(name: str, data: st.DataObject) -> None:
    case: Case = data.draw(CASES[name])
    inverse = case.op.inverse(case.specs)
    if inverse is None:
        return
    inferred = case.op.infer(case.specs)
    assert inverse.infer(inferred) == case.specs
    back = inverse.apply(case.op.apply(case.arrays, case.specs), inferred)
    assert [array.tobytes() for array in back] == [array.tobytes() for array in case.arrays]


@every_op
@quickly
@given(data=st.data())
def test_a_box_that_is_computed_alone_is_that_of_the_whole(name: str, data: st.DataObject) -> None:
    case: Case = data.draw(CASES[name])
    results = case.op.apply(case.arrays, case.specs)
    for number, (spec, whole) in enumerate(zip(case.op.infer(case.specs), results, strict=True)):
        grain = case.op.grain(number, case.specs)
        if grain is None:
            return
        coarser = [own * data.draw(st.integers(1, 3)) for own in grain]  # as ops beside it may be
        for box in grained_boxes(spec.shape, coarser, data.draw(st.integers(1, 20))):
            op, regions = case.op.part(number, box, case.specs)
            parts = tuple(map(taken, case.arrays, regions))
            pairs = zip(case.specs, parts, strict=True)
            specs = tuple(TensorSpec(own.dtype, part.shape) for own, part in pairs)
            assert op.apply(parts, specs)[number].tobytes() == taken(whole, box).tobytes()


def taken(array: Any, region: Region) -> Any:
    return array[(*as_slices(region), ...)]


@every_op
@quickly
@given(data=st.data())
def test_no_op_takes_more_dims_than_any_numpy_has(name: str, data: st.DataObject) -> None:
    case: Case = data.draw(CASES[name])
    first, *others = case.specs
    ones = (1,) * (MAX_DIMS + 1 - len(first.shape))
    many = TensorSpec(first.dtype, ones + first.shape)
    with pytest.raises(ShapeError):
        case.op.infer((many, *others))


MOVES = [name for name, cls in OPS.items() if issubclass(cls, Move)]


def elements(specs: Specs) -> int:
    return sum(spec.count for spec in specs)


@pytest.mark.parametrize("name", MOVES)
@quickly
@given(data=st.data())
def test_a_move_that_loses_nothing_has_an_inverse(name: str, data: st.DataObject) -> None:
    case: Case = data.draw(CASES[name])
    before, after = elements(case.specs), elements(case.op.infer(case.specs))
    indices = getattr(case.op, "indices", ())
    if before and after == before and len(set(indices)) == len(indices):
        assert case.op.inverse(case.specs) is not None
    elif after < before:
        assert case.op.inverse(case.specs) is None


@every_op
@quickly
@given(data=st.data())
def test_an_op_survives_json_and_hashes(name: str, data: st.DataObject) -> None:
    case: Case = data.draw(CASES[name])
    read = build(name, msgspec.json.decode(msgspec.json.encode(case.op)))
    assert read == case.op
    assert hash(read) == hash(case.op)


@every_op
@quickly
@given(data=st.data())
def test_the_number_of_tensors_is_checked(name: str, data: st.DataObject) -> None:
    case: Case = data.draw(CASES[name])
    wrong: Specs = () if case.op.arity is Arity.JOIN else case.specs * 2
    with pytest.raises(ShapeError, match=rf"^{case.op.word}: takes .* was given"):
        case.op.infer(wrong)


@every_op
@quickly
@given(data=st.data())
def test_items_below_a_byte_are_refused(name: str, data: st.DataObject) -> None:
    case: Case = data.draw(CASES[name])
    with pytest.raises(ShapeError, match=rf"^{case.op.word}: F4 items are smaller than a byte"):
        case.op.infer(tuple(TensorSpec("F4", spec.shape) for spec in case.specs))


MEAN = ["running_mean", "running_var"]
KERNEL = ["kernel", "running_var"]

WRONG: list[tuple[str, dict[str, Any], list[str]]] = [
    ("slice", {"index": [[None, 11, None]]}, ["F32[10, 4]"]),
    ("take", {"indices": [3, 10]}, ["F32[10, 4]"]),
    ("pad", {"to": 9}, ["F32[10, 4]"]),
    ("split", {"parts": 3}, ["F32[10, 4]"]),
    ("split", {"sizes": [3, 6]}, ["F32[10, 4]"]),
    ("concat", {}, ["F32[3, 4]", "F32[3, 5]"]),
    ("concat", {}, ["F32[3, 4]", "F16[3, 4]"]),
    ("concat", {}, ["F32[3, 4]", "F32[3]"]),
    ("stack", {}, ["F32[3, 4]", "F32[4, 4]"]),
    ("stack", {}, ["F32[3, 4]", "BF16[3, 4]"]),
    ("unstack", {}, ["F32[]"]),
    ("unstack", {}, ["F32[0, 4]"]),
    ("copies", {}, ["F32[3, 4]"]),
    ("copies", {"times": 2}, ["F32[3, 4]", "F32[3, 4]"]),
    ("same", {}, ["F32[3, 4]", "F32[4, 3]"]),
    ("transpose", {}, ["F32[3]"]),
    ("transpose", {}, ["F32[3, 4, 5]"]),
    ("transpose", {"dims": [0, -2]}, ["F32[3, 4]"]),
    ("permute", {"dims": [0]}, ["F32[3, 4]"]),
    ("permute", {"dims": [0, 0]}, ["F32[3, 4]"]),
    ("reshape", {"shape": [5, -1]}, ["F32[3, 4]"]),
    ("reshape", {"shape": [5]}, ["F32[3, 4]"]),
    ("reshape", {"shape": [0, -1]}, ["F32[0, 4]"]),
    ("flip", {"dim": 2}, ["F32[3, 4]"]),
    ("roll", {"shift": 1, "dim": -3}, ["F32[3, 4]"]),
    ("rearrange", {"pattern": "a b c -> c b a"}, ["F32[3, 4]"]),
    ("rearrange", {"pattern": "(a b) c -> a b c"}, ["F32[3, 4]"]),
    ("rearrange", {"pattern": "(a b) c -> a b c", "a": 2}, ["F32[3, 4]"]),
    ("repeat", {"times": 2, "dim": 5}, ["F32[3, 4]"]),
    ("permute_rope", {"head_dim": 4, "to": "half"}, ["F32[10, 4]"]),
    ("permute_rope", {"head_dim": 4, "to": "half"}, ["F32[4, 4, 4]"]),
    ("split_qkv", {"layout": "flat"}, ["F32[10, 4]"]),
    ("split_qkv", {"layout": "per_head", "heads": 4}, ["F32[18, 4]"]),
    ("split_qkv", {"layout": "flat"}, ["F32[]"]),
    ("fuse_qkv", {"layout": "flat"}, ["F32[4, 4]", "F32[2, 4]", "F32[2, 4]"]),
    ("fuse_qkv", {"layout": "flat"}, ["F32[4, 4]", "F32[4, 4]"]),
    ("fuse_qkv", {"layout": "per_head", "heads": 2}, ["F32[4, 4]", "F32[4, 4]", "F32[4, 5]"]),
    ("cast", {"dtype": "I8"}, ["F32[3]"]),
    ("cast", {"dtype": "F32"}, ["C64[3]"]),
    ("scale", {"number": 0.5}, ["I32[3, 4]"]),
    ("scale", {"number": 1e39}, ["BF16[3, 4]"]),
    ("shift", {"number": 1.5}, ["U8[3, 4]"]),
    ("sum", {"dim": 2}, ["F32[3, 4]"]),
    ("mean", {"dim": 0}, ["I64[3, 4]"]),
    ("mean", {"dim": 0}, ["F32[0, 4]"]),
    ("add", {}, ["F32[3, 4]", "F32[4, 4]"]),
    ("add", {}, ["F32[4]", "F32[3, 4]"]),
    ("add", {}, ["F32[1, 4]", "F32[3, 4]"]),
    ("add", {}, ["F32[3, 4]", "F16[3, 4]"]),
    ("multiply", {}, ["F32[3, 4]", "F32[3]"]),
    ("divide", {}, ["I32[3, 4]", "I32[4]"]),
    ("divide", {}, ["F32[3, 4]", "F32[3]"]),
    ("average", {}, ["I8[3, 4]", "I8[3, 4]"]),
    ("average", {"weights": [1, 2, 3]}, ["F32[3, 4]", "F32[3, 4]"]),
    ("average", {"weights": [1e300, 1]}, ["F32[3, 4]", "F32[3, 4]"]),
    ("noise", {"std": 1}, ["I8[3, 4]"]),
    ("noise", {"std": 1}, ["C64[3, 4]"]),
    ("noise", {"std": 1e39}, ["F16[3, 4]"]),
    ("placed_noise", {"std": 1, "key": "a", "place": 0}, ["BOOL[3, 4]"]),
    ("adapt_input_channels", {"to": 4}, ["F32[3]"]),
    ("adapt_input_channels", {"to": 4}, ["F32[3, 0, 7, 7]"]),
    ("adapt_input_channels", {"to": 4}, ["I8[3, 3, 7, 7]"]),
    ("adapt_input_channels", {}, ["F32[3, 3, 7, 7]"]),
    ("adapt_input_channels", {"to": 2, "how": "zeros"}, ["F32[8, 3, 7, 7]"]),
    ("adapt_input_channels", {"to": 4, "how": "zeros"}, ["F8_E8M0[8, 3, 7, 7]"]),
    ("adapt_input_channels", {"to": 2**45}, ["F32[8, 3, 7, 7]"]),
    ("resize_pos_embed", {}, ["F32[1, 197, 8]"]),
    ("resize_pos_embed", {"to": 50}, ["F32[2, 197, 8]"]),
    ("resize_pos_embed", {"to": 50}, ["F32[1, 196, 8]"]),
    ("resize_pos_embed", {"to": 50}, ["I64[1, 197, 8]"]),
    ("resize_pos_embed", {"to": 50}, ["C64[1, 197, 8]"]),
    ("resize_pos_embed", {"to": 50, "grid": [12, 16]}, ["F32[1, 197, 8]"]),
    ("resize_pos_embed", {"to": 50, "prefix_tokens": 1}, ["F32[1, 0, 8]"]),
    ("resize_pos_embed", {"to": 50}, ["F32[1, 14, 14, 8]"]),
    ("resize_pos_embed", {"to": [7, 7]}, ["F32[2, 14, 14, 8]"]),
    ("resize_pos_embed", {"to": [7, 7]}, ["F32[1, 0, 14, 8]"]),
    ("resize_pos_embed", {"to": [7, 7], "grid": [7, 14]}, ["F32[1, 14, 14, 8]"]),
    ("resize_pos_embed", {"to": [7, 7], "prefix_tokens": 2}, ["F32[1, 14, 14, 8]"]),
    ("resample_patch_embed", {}, ["F32[8, 3, 16, 16]"]),
    ("resample_patch_embed", {"to": 8}, ["F32[8, 3, 16]"]),
    ("resample_patch_embed", {"to": 65}, ["F32[8, 3, 16, 16]"]),
    ("resample_patch_embed", {"to": 8}, ["F32[8, 3, 0, 16]"]),
    ("resize_rel_pos_bias", {}, ["F32[169, 4]"]),
    ("resize_rel_pos_bias", {"to": 529}, ["F32[168, 4]"]),
    ("resize_rel_pos_bias", {"to": 528}, ["F32[169, 4]"]),
    ("resize_rel_pos_bias", {"to": 529}, ["F32[172, 4]"]),
    ("resize_rel_pos_bias", {"to": 529}, ["F32[4, 13, 13]"]),
    ("resize_rel_pos_bias", {"to": [12, 12]}, ["F32[4, 12, 13]"]),
    ("resize_rel_pos_bias", {"to": [12, 12], "window": [7, 6]}, ["F32[4, 13, 13]"]),
    ("resize_rel_pos_bias", {"to": [12, 12], "window": [7, 6]}, ["F32[169, 4]"]),
    ("resize_rel_pos_bias", {"to": [513, 1]}, ["F32[169, 4]"]),
    ("fuse_weight_norm", {}, ["F32[4, 1]", "F32[4, 3]", "F32[4, 3]"]),
    ("fuse_weight_norm", {}, ["F32[4, 3]", "F32[4, 1]"]),
    ("fuse_weight_norm", {}, ["F32[4]", "F32[4, 3]"]),
    ("fuse_weight_norm", {}, ["F16[4, 1]", "F32[4, 3]"]),
    ("fuse_weight_norm", {"dim": 2}, ["F32[4, 1]", "F32[4, 3]"]),
    ("fuse_spectral_norm", {}, ["F32[4, 3]", "F32[4]"]),
    ("fuse_spectral_norm", {}, ["F32[4, 3]", "F32[3]", "F32[4]"]),
    ("fuse_spectral_norm", {}, ["F32[4, 3, 2]", "F32[4]", "F32[3]"]),
    ("fuse_spectral_norm", {}, ["F32[4, 3]", "F32[4, 1]", "F32[3]"]),
    ("fuse_spectral_norm", {}, ["I8[4, 3]", "F32[4]", "F32[3]"]),
    ("merge_lora", {"alpha": 8}, ["F32[4, 3]", "F32[2, 3]"]),
    ("merge_lora", {"alpha": 8}, ["F32[4, 3]", "F32[4, 2]", "F32[2, 3]"]),
    ("merge_lora", {"alpha": 8}, ["F32[4, 3]", "F32[2, 3]", "F32[4, 3]"]),
    ("merge_lora", {"alpha": 8}, ["F32[4, 3]", "F32[0, 3]", "F32[4, 0]"]),
    ("merge_lora", {"alpha": 8, "fan_in_fan_out": True}, ["F32[4, 3]", "F32[2, 3]", "F32[4, 2]"]),
    ("merge_lora", {"alpha": 8}, ["I8[4, 3]", "F32[2, 3]", "F32[4, 2]"]),
    ("dequantize_blocks", {}, ["F8_E4M3[300, 200]", "F32[2, 2]"]),
    ("dequantize_blocks", {}, ["F8_E4M3[2, 300, 200]", "F32[3, 2]"]),
    ("dequantize_blocks", {}, ["BF16[300, 200]", "F32[3, 2]"]),
    ("dequantize_blocks", {}, ["F8_E4M3[300, 200]", "I32[3, 2]"]),
    ("dequantize_blocks", {}, ["F32[3, 2]", "F8_E4M3[300, 200]"]),
    ("quantize_blocks", {}, ["F32[300]"]),
    ("quantize_blocks", {}, ["I8[300, 200]"]),
    ("quantize_blocks", {}, ["C64[300, 200]"]),
    ("batchnorm_scale", {"parts": ["running_var"]}, ["F32[4, 1]"]),
    ("batchnorm_scale", {"parts": ["running_var"]}, ["I64[4]"]),
    ("batchnorm_scale", {"parts": ["running_var", "weight"]}, ["F32[4]", "F32[5]"]),
    ("batchnorm_shift", {"parts": MEAN, "dtype": "F32"}, ["F32[4]", "F32[5]"]),
    ("fold_kernel", {"parts": KERNEL}, ["F32[8, 3, 3, 3]", "F32[3]"]),
    ("fold_kernel", {"parts": KERNEL, "transposed": True}, ["F32[8, 3, 3, 3]", "F32[8]"]),
    ("fold_kernel", {"parts": KERNEL, "groups": 3}, ["F32[8, 3, 3, 3]", "F32[8]"]),
    ("fold_kernel", {"parts": KERNEL}, ["F32[8]", "F32[8]"]),
    ("fold_identity", {"parts": ["running_var"], "groups": 3}, ["F32[8]"]),
    ("fold_identity", {"parts": ["running_var"]}, ["F32[2097152]"]),
]


def spec_of(text: str) -> TensorSpec:
    dtype, _, sizes = text.rstrip("]").partition("[")
    return TensorSpec(dtype, tuple(int(size) for size in sizes.split(", ") if size))


@pytest.mark.parametrize(("name", "parameters", "given_specs"), WRONG)
def test_what_does_not_fit_is_refused_with_the_shapes(
    name: str, parameters: dict[str, Any], given_specs: list[str]
) -> None:
    op = build(name, parameters)
    specs = tuple(map(spec_of, given_specs))
    with pytest.raises(ShapeError, match=f"^{op.word}: ") as caught:
        op.infer(specs)
    assert given_specs[-1] in str(caught.value)


def test_every_op_is_refused_something() -> None:
    assert {name for name, _, _ in WRONG} == set(EVERY)
