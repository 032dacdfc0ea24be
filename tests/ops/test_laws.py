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
from ckptsurgeon.ops import OPS, Arity, build
from ckptsurgeon.specs import Specs, TensorSpec

every_op = pytest.mark.parametrize("name", list(OPS))
quickly = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def test_every_op_has_a_strategy() -> None:
    assert list(CASES) == list(OPS)


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


ALWAYS_INVERTED = set(OPS) - {"slice", "take", "pad", "same", "repeat", "cast"}


@pytest.mark.parametrize("name", sorted(ALWAYS_INVERTED))
@quickly
@given(data=st.data())
def test_what_loses_nothing_has_an_inverse(name: str, data: st.DataObject) -> None:
    case: Case = data.draw(CASES[name])
    assert case.op.inverse(case.specs) is not None


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
    with pytest.raises(ShapeError, match=rf"^{name}: takes .* was given"):
        case.op.infer(wrong)


@every_op
@quickly
@given(data=st.data())
def test_items_below_a_byte_are_refused(name: str, data: st.DataObject) -> None:
    case: Case = data.draw(CASES[name])
    with pytest.raises(ShapeError, match=rf"^{name}: F4 items are smaller than a byte"):
        case.op.infer(tuple(TensorSpec("F4", spec.shape) for spec in case.specs))


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
    with pytest.raises(ShapeError, match=f"^{name}: ") as caught:
        op.infer(specs)
    assert given_specs[-1] in str(caught.value)


def test_every_op_is_refused_something() -> None:
    assert {name for name, _, _ in WRONG} == set(OPS)
