"""What `init` may fill a tensor with: the table dtype x fill, and that what is planned is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ckptsurgeon as cs
from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops.carriers import numpy_dtype
from ckptsurgeon.plans.fills import FARTHEST, check_made
from ckptsurgeon.plans.graph import Made
from ckptsurgeon.specs import BITS, TensorSpec

HELD: Mapping[str, tuple[list[Any], list[Any]]] = {
    # dtype: (fills that it holds, fills that it doesn't)
    "BOOL": ([0, 1, 1.0, "eye"], [2, -1, 0.5, 1e-9, "normal"]),
    "U8": ([0, 255, 255.0, "eye"], [256, 300, -1, 0.5, "normal"]),
    "I8": ([-128, 127, "ones"], [128, -129, 0.5, "normal"]),
    "U16": ([65535], [65536, -1, "normal"]),
    "I16": ([-32768, 32767], [32768, "normal"]),
    "U32": ([2**32 - 1], [2**32, "normal"]),
    "I32": ([-(2**31), 2**31 - 1], [2**31, "normal"]),
    "U64": ([2**63 - 1, 2.0**62, "zeros"], [-1, 0.5, "normal"]),
    "I64": ([2**63 - 1, 2**53 + 1, -(2.0**62), "eye"], [0.5, 1e-300, "normal"]),
    "F16": ([0.1, 65504, -65504, 1e-9, "eye", "normal"], [100_000, 65536, -70000.5]),
    "BF16": ([0.1, 1e5, 2**62, "eye", "normal"], []),
    "F32": ([0.1, 2**53 + 1, "eye", "normal"], []),
    "F64": ([0.1, 2**53 + 1, "eye", "normal"], []),
    "F8_E4M3": ([0.1, 448, -448, "eye", "normal"], [449, 1000, -1000]),
    "F8_E5M2": ([0.1, 57344, "eye", "normal"], [57345, 1e6]),
    "F8_E4M3FNUZ": ([240, "eye", "normal"], [241]),
    "F8_E5M2FNUZ": ([57344, "eye", "normal"], [57345]),
    "F8_E8M0": ([1, 0.5, 2**62, "ones"], [0, "zeros", "eye", "normal", 3, -1, 0.1]),
    "C64": ([0.1, -1, "eye", "normal"], []),
    "C128": ([0.1, "eye", "normal"], []),
    **{code: ([], ["zeros", "ones", 1, "normal"]) for code in ("F4", "F6_E2M3", "F6_E3M2")},
}

GOOD = [(dtype, fill) for dtype, (held, _) in HELD.items() for fill in held]

BAD = [(dtype, fill) for dtype, (_, lacking) in HELD.items() for fill in lacking]

SOURCE = {"w": np.zeros(1, np.float32)}


def test_the_table_has_every_dtype() -> None:
    assert HELD.keys() == BITS.keys()


def initialise(**words: Any) -> np.ndarray[Any, Any]:
    rules = [{"init": {"to": "x", "shape": [3, 3], **words}}]
    found: np.ndarray[Any, Any] = cs.apply(SOURCE, rules)[0]["x"]
    return found


@pytest.mark.parametrize(("dtype", "fill"), GOOD)
def test_what_is_held_is_made_finite_and_rounded_at_most(dtype: str, fill: Any) -> None:
    array = initialise(dtype=dtype, fill=fill)
    assert array.dtype == numpy_dtype(dtype)
    assert np.isfinite(array.astype(np.complex128)).all()
    if not isinstance(fill, str):
        assert (array == np.asarray(fill).astype(array.dtype)).all()


def test_a_number_is_rounded_once() -> None:
    """By way of float32 it would become the middle of two, and then the even one of these."""
    assert float(initialise(dtype="BF16", fill=1 + 2**-8 + 2**-40)[0, 0]) == 1 + 2**-7


@pytest.mark.parametrize(("dtype", "fill"), BAD)
def test_what_is_not_held_is_no_plan(dtype: str, fill: Any) -> None:
    with pytest.raises(cs.PlanError, match=r"<rules>:1:1: .*`x`") as caught:
        cs.plan(SOURCE, [{"init": {"to": "x", "shape": [3, 3], "dtype": dtype, "fill": fill}}])
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("dtype", ["F16", "F8_E4M3", "F8_E5M2FNUZ"])
def test_a_deviation_whose_draws_may_overflow_is_no_plan(dtype: str) -> None:
    largest = float(np.abs(initialise(dtype=dtype, fill="normal", std=17).astype(float)).max())
    assert 17 < largest < 100
    with pytest.raises(cs.PlanError, match=r"with `std: 1000000.0` its numbers must be at most"):
        initialise(dtype=dtype, fill="normal", std=1e6)


def test_no_draw_is_further_than_is_said() -> None:
    least = 2.0**-53  # the smallest number but 0 that both uniform draws may be
    radius = 2 * least**2
    assert math.sqrt(-2 * math.log(radius) / radius) * least < FARTHEST


VARS = [
    # word, the value of its var, what is said; None where it is a plan
    ("fill", 2**64 - 1, None),
    ("fill", 2**70, None),
    ("fill", 10**400, "`fill` takes a finite number, found inf"),
    ("fill", 1e300, "must be at most"),
    ("std", 10**400, "`std` takes a finite number, found inf"),
    ("std", 1e300, "must be at most"),
    ("std", 0, None),
    ("seed", 2**64 - 1, None),
    ("seed", 2**64, r"`seed` takes an integer below 2\*\*64"),
    ("seed", 10**5000, r"`seed` takes an integer below 2\*\*64"),
    ("seed", -1, "`seed` takes an integer from 0, found -1"),
    ("seed", 1.0, "`seed` takes an integer from 0, found 1.0"),
]


@pytest.mark.parametrize(
    ("word", "value", "said"), VARS, ids=[f"{v[0]}{n}" for n, v in enumerate(VARS)]
)
def test_values_of_vars_are_checked_where_they_arrive(
    word: str, value: Any, said: str | None, tmp_path: Path
) -> None:
    init = {"to": "x", "shape": [2], "dtype": "F32", "fill": "normal", word: "n"}
    rules = {"format": 1, "vars": {"n": 1}, "rules": [{"init": init}]}
    if said is not None:
        with pytest.raises(cs.PlanError, match=said):
            cs.plan(SOURCE, rules, variables={"n": value})
        return
    made, _ = cs.apply(SOURCE, rules, variables={"n": value})
    assert np.isfinite(made["x"]).all()


MADE = [
    # what somebody may write into a saved plan: spec, fill, std, seed
    (TensorSpec("F4", (2,)), "zeros", 0.0, 0),
    (TensorSpec("F32", (2,)), "eye", 0.0, 0),
    (TensorSpec("F32", (2,)), "twos", 0.0, 0),
    (TensorSpec("F32", (2,)), math.nan, 0.0, 0),
    (TensorSpec("F32", (2,)), 1e39, 0.0, 0),
    (TensorSpec("U8", (2,)), 300, 0.0, 0),
    (TensorSpec("F32", (2,)), "normal", math.inf, 0),
    (TensorSpec("F32", (2,)), "normal", math.nan, 0),
    (TensorSpec("F32", (2,)), "normal", -1.0, 0),
    (TensorSpec("F32", (2,)), "normal", 1.0, -1),
    (TensorSpec("F32", (2,)), "normal", 1.0, 2**64),
    (TensorSpec("F32", (2**40,)), "zeros", 0.0, 0),
    (TensorSpec("F32", (0, 2**62)), "zeros", 0.0, 0),
    (TensorSpec("F32", (1,) * 33), "zeros", 0.0, 0),
]


@pytest.mark.parametrize(("spec", "fill", "std", "seed"), MADE)
def test_what_no_rule_makes_is_refused(spec: TensorSpec, fill: Any, std: float, seed: int) -> None:
    with pytest.raises(ShapeError):
        check_made(Made(spec, "x", fill, std, seed))
    good = Made(TensorSpec("F32", (2,)), "x", "normal", 0.02, 0)
    assert check_made(good) is good
