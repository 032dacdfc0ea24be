"""cast against torch, against exact rounding, and what it refuses or counts."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from ops.strategies import CASTS, numbers

from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops import build, carriers
from ckptsurgeon.ops.ranges import INTEGER_RANGES, LARGEST, LARGEST_WHOLE, rounds, widens
from ckptsurgeon.specs import FLOATING, TensorSpec

Array = np.ndarray[Any, Any]

TORCH = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "C64": torch.complex64,
    "C128": torch.complex128,
}
FLOATS = sorted(code for code in FLOATING if code in TORCH)


def cast(bits: Array, source: str, target: str) -> Array:
    spec = TensorSpec(source, bits.shape)
    (result,) = build("cast", {"dtype": target}).apply((bits,), (spec,))
    return result


def cast_value(value: float, source: str, target: str) -> float:
    native = np.array([value], carriers.numpy_dtype(source))
    bits = native.view(TensorSpec(source, (1,)).carrier)
    return float(carriers.decode(cast(bits, source, target), target)[0])


def in_torch(bits: Array, dtype: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(bits.tobytes()), dtype=TORCH[dtype])


def bits_of(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.contiguous().view(torch.uint8).numpy().tobytes())


TORCH_CASTS = [(a, b) for a, b in CASTS if a in TORCH and b in TORCH]


@pytest.mark.parametrize(("source", "target"), TORCH_CASTS)
def test_as_torch_where_nothing_overflows(source: str, target: str) -> None:
    bits = numbers(TensorSpec(source, (2000,)), target, np.random.default_rng(1))
    if target in FLOATING and source not in INTEGER_RANGES:
        seen = carriers.decode(bits, source)
        seen[np.abs(seen.astype("f8")) > LARGEST[target]] = 1
    assert cast(bits, source, target).tobytes() == bits_of(in_torch(bits, source).to(TORCH[target]))


@pytest.mark.parametrize("target", ["BF16", "F16", "F8_E4M3", "F8_E5M2"])
def test_f32_of_any_size_as_torch(target: str) -> None:
    random = np.random.default_rng(2)
    values = (random.standard_normal(50_000) * 2.0 ** random.integers(-30, 20, 50_000)).astype("f4")
    ours = carriers.decode(cast(values.view("<u4"), "F32", target), target).astype("f4")
    theirs = torch.from_numpy(values).to(TORCH[target]).float().numpy()
    if target == "F8_E4M3":  # has no infinity: torch clips since 2.13, and gave NaN before
        theirs[np.abs(values) > 464] = np.nan
    assert np.array_equal(ours, theirs, equal_nan=True)


def neighbours(target: str, wide: float) -> float:
    """The nearest finite value of the dtype, of even bits where two are; by exact search."""
    bits = np.arange(2 ** (8 * carriers.numpy_dtype(target).itemsize), dtype="u4")
    carrier = TensorSpec(target, ()).carrier
    with np.errstate(all="ignore"):
        values = carriers.decode(bits.astype(carrier), target).astype("f8")
    near = [
        (abs(Fraction(float(value)) - Fraction(wide)), int(bit) & 1, float(value))
        for bit, value in zip(bits, values, strict=True)
        if math.isfinite(value) and abs(value - wide) <= abs(wide) * 2**-2
    ]
    return min(near)[2]


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("BF16", 1 + 2**-8 + 2**-40),
        ("BF16", 1 + 2**-8),
        ("BF16", 1 + 3 * 2**-8 - 2**-40),
        ("BF16", -(1 + 2**-8 + 2**-50)),
        ("F8_E4M3", 1 + 2**-4 + 2**-40),
        ("F8_E5M2", -(1 + 2**-3 + 2**-45)),
    ],
)
def test_f64_is_rounded_once(target: str, value: float) -> None:
    """By way of float32, a value just past a tie becomes the tie, and goes the wrong way."""
    assert cast_value(value, "F64", target) == neighbours(target, value)


@pytest.mark.parametrize("source", ["I64", "U64"])
@pytest.mark.parametrize("value", [2**40 + 2**32 + 1, 2**62 + 2**54 + 1, 2**62 + 2**54, 2**53 + 1])
def test_large_integers_are_rounded_once(source: str, value: int) -> None:
    wanted = neighbours("BF16", value)
    if abs(Fraction(wanted) - value) == 2 ** (value.bit_length() - 9):  # a tie
        wanted = float(value - 2 ** (value.bit_length() - 9))
    native = np.array([value], carriers.numpy_dtype(source))
    bits = cast(native.view("<u8"), source, "BF16")
    assert float(carriers.decode(bits, "BF16")[0]) == wanted


def test_numbers_near_the_ends_of_f64() -> None:
    assert cast_value(1e300, "F64", "BF16") == math.inf
    assert cast_value(-1e300, "F64", "BF16") == -math.inf
    assert cast_value(1e-300, "F64", "BF16") == 0
    assert math.copysign(1, cast_value(-1e-300, "F64", "BF16")) == -1
    assert math.isnan(cast_value(math.nan, "F64", "BF16"))


NARROW = [code for code in sorted(FLOATING) if code.startswith(("F8", "BF16", "F16"))]


@pytest.mark.parametrize(
    ("source", "target"),
    [(a, b) for a in NARROW for b in sorted(FLOATING) if a != b and widens(a, b)],
)
def test_widening_keeps_every_number(source: str, target: str) -> None:
    carrier = np.dtype(TensorSpec(source, ()).carrier)
    bits = np.arange(2 ** (8 * carrier.itemsize), dtype="u4").astype(carrier)
    with np.errstate(all="ignore"):
        numeric = ~np.isnan(carriers.decode(bits, source))
    back = cast(cast(bits, source, target), target, source)
    assert (back[numeric] == bits[numeric]).all()
    with np.errstate(all="ignore"):
        assert np.isnan(carriers.decode(back[~numeric], source)).all()


@pytest.mark.parametrize(
    ("source", "target", "exact"),
    [
        ("F16", "F32", True),
        ("BF16", "F32", True),
        ("F32", "F64", True),
        ("I8", "I64", True),
        ("U8", "I16", True),
        ("BOOL", "U8", True),
        ("F8_E8M0", "BF16", True),
        ("C64", "C128", True),
        ("F32", "F32", True),
        ("F8_E8M0", "F16", False),
        ("BF16", "F16", False),
        ("F16", "BF16", False),
        ("F64", "F32", False),
        ("U8", "I8", False),
        ("I8", "F32", False),
        ("F32", "C64", False),
    ],
)
def test_only_exact_widening_is_undone(source: str, target: str, exact: bool) -> None:
    inverse = build("cast", {"dtype": target}).inverse((TensorSpec(source, (3,)),))
    assert inverse == (build("cast", {"dtype": source}) if exact else None)


def test_integers_must_fit() -> None:
    bits = np.array([3, 300, -1], "<i2").view("<u2")
    with pytest.raises(ShapeError, match=r"the value -1 does not fit U8 \(0 to 255\); given I16"):
        cast(bits, "I16", "U8")
    assert cast(bits, "I16", "I64").view("<i8").tolist() == [3, 300, -1]
    with pytest.raises(ShapeError, match="the value 2 does not fit BOOL"):
        cast(np.array([0, 1, 2], "u1"), "U8", "BOOL")
    top = np.array([2**64 - 1], "<u8")
    with pytest.raises(ShapeError, match=f"the value {2**64 - 1} does not fit I64"):
        cast(top, "U64", "I64")


@pytest.mark.parametrize(
    ("source", "target", "values", "lost"),
    [
        ("F32", "F16", [1, 65504, 65519, 65520, -1e6, math.inf, math.nan], 2),
        ("F32", "F8_E4M3", [448, 464, 465, -1e6, math.nan], 2),
        ("F64", "F32", [1e38, 1e39, -1e300, math.inf], 2),
        ("I32", "F16", [65504, 70000, -(2**31)], 2),
        ("F32", "F8_E8M0", [1, 2, 0, -1], 2),
        ("BF16", "F32", [1, math.inf], 0),
    ],
)
def test_finite_values_that_stop_being_finite_are_counted(
    source: str, target: str, values: list[float], lost: int
) -> None:
    spec = TensorSpec(source, (len(values),))
    bits = np.array(values).astype(carriers.numpy_dtype(source)).view(spec.carrier)
    op = build("cast", {"dtype": target})
    assert op.overflows((bits,), op.apply((bits,), (spec,)), (spec,)) == lost


def test_ops_that_move_overflow_nothing() -> None:
    bits = np.zeros((2, 3), "<u4")
    op, specs = build("transpose", {}), (TensorSpec("F32", (2, 3)),)
    assert op.overflows((bits,), op.apply((bits,), specs), specs) == 0


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("F32", "I64", "F32 to I64 would cut fractions off"),
        ("F16", "BOOL", "F16 to BOOL would cut fractions off"),
        ("C64", "F32", "C64 to F32 would drop imaginary parts"),
        ("C64", "I32", "C64 to I32 would cut fractions off"),
        ("F4", "F32", "F4 items are smaller than a byte"),
    ],
)
def test_casts_that_nobody_means_are_refused(source: str, target: str, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        build("cast", {"dtype": target}).infer((TensorSpec(source, (3,)),))


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("f16", "did you mean 'F16'"),
        ("BF61", "did you mean 'BF16'"),
        ("F32,F32", "unknown dtype"),
        ("O", "known: BOOL"),
        ("F4", "can't be made"),
    ],
)
def test_unknown_dtypes_are_refused(word: str, hint: str) -> None:
    with pytest.raises(ShapeError, match=hint):
        build("cast", {"dtype": word})


def test_large_tensors_are_cast_in_blocks() -> None:
    values = np.arange(3 * carriers.BLOCK // 2, dtype="<f4").reshape(3, -1).T
    assert not values.flags["C_CONTIGUOUS"]
    result = cast(values.view("<u4"), "F32", "BF16")
    assert (result == (carriers.encode(values, "BF16"))).all()


@pytest.mark.parametrize("target", [*FLOATS, "C64"])
def test_the_largest_whole_number_as_torch(target: str) -> None:
    last = LARGEST_WHOLE[target]
    near = torch.arange(max(last - 1000, 0), last + 2)
    held = near.to(TORCH[target]).to(torch.complex128).real.long() == near
    assert held.tolist() == [*[True] * (len(near) - 1), False]


def test_integers_that_a_floating_dtype_lacks() -> None:
    assert rounds("I64", "F32")
    assert rounds("I32", "F32")
    assert not rounds("I16", "F32")
    assert not rounds("I64", "I32")
    assert not rounds("BOOL", "F8_E5M2")
    assert not rounds("F32", "BF16")
