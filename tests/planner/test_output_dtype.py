"""`output: {dtype: …}` casts what sources give; what is kept or made is not theirs, whatever it is.

A kept tensor stays to the bit, a made one has its rule's dtype, and both are accounted as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

import ckptsurgeon as cs
from ckptsurgeon.plans.outputs import Status
from ckptsurgeon.report.report import FROM_SOURCE, make_report

SOURCE = {"a": np.float32([1 / 3, 1e-3]), "m": np.float32([1 / 3])}
DESTINATION = {"x": np.float32([2 / 3, 1e-4])}

NUMPY: Mapping[str, Any] = {
    "F32": np.float32,
    "F16": np.float16,
    "F64": np.float64,
    "BF16": ml_dtypes.bfloat16,
}


class Way(NamedTuple):
    """How `x` comes about, and its status where nothing is cast."""

    rules: list[Any]
    status: Status
    value: np.ndarray[Any, Any]
    allow: tuple[str, ...] = ("unused",)
    dtype: str = ""
    """Its dtype, whatever the output's is to be."""


MADE = np.full(2, 0.1)

WAYS = {
    "renamed": Way(["a -> x"], Status.RENAMED, SOURCE["a"]),
    "changed": Way([{"a -> x": {"flip": 0}}], Status.CHANGED, SOURCE["a"][::-1]),
    "cast by its rule": Way(
        [{"a -> x": {"cast": "F16"}}], Status.CHANGED, SOURCE["a"].astype("f2"), dtype="F16"
    ),
    "in parts": Way(
        ["a[1] -> x[0]", "a[0] -> x[1]"], Status.CHANGED, SOURCE["a"][::-1], allow=("unused",)
    ),
    "kept": Way([{"keep": "x"}], Status.KEPT, DESTINATION["x"], dtype="F32"),
    "kept as missing": Way(
        [], Status.KEPT, DESTINATION["x"], allow=("unused", "missing"), dtype="F32"
    ),
    "kept as mismatched": Way(
        ["m -> x"], Status.KEPT, DESTINATION["x"], allow=("unused", "mismatched"), dtype="F32"
    ),
    "made": Way([{"init": {"to": "x", "fill": 0.1}}], Status.INITIALISED, MADE),
    "made of a dtype": Way(
        [{"init": {"to": "x", "fill": 0.1, "dtype": "F64"}}], Status.INITIALISED, MADE, dtype="F64"
    ),
}


@pytest.mark.parametrize("asked", ["", "BF16", "F16", "F64", "destination"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_status_dtype_and_value(way: Way, asked: str) -> None:
    output = {"output": {"dtype": asked}} if asked else {}
    rules = {"format": 1, **output, "rules": way.rules}
    allow = (*way.allow, "nothing")
    plan = cs.plan(SOURCE, rules, DESTINATION, allow=allow)
    tensors, report = cs.apply(SOURCE, rules, DESTINATION, allow=allow)
    dtype = way.dtype or {"": "F32", "destination": "F32"}.get(asked, asked)
    cast = way.status in FROM_SOURCE and dtype != "F32"
    assert plan.outputs["x"].status is (Status.CHANGED if cast else way.status)
    assert plan.outputs["x"].spec.dtype == dtype
    assert tensors["x"].tobytes() == way.value.astype(NUMPY[dtype]).tobytes()
    from_source = way.status in FROM_SOURCE
    assert (report.coverage.produced, report.coverage.wanted) == (int(from_source), 1)
    assert report.counts == make_report(plan).counts
    assert report.counts[plan.outputs["x"].status].nbytes == plan.outputs["x"].spec.nbytes


@pytest.mark.parametrize("asked", ["BF16", "F16", "F64"])
def test_a_rest_of_another_dtype_is_refused(asked: str) -> None:
    rules = {"format": 1, "output": {"dtype": asked}, "rules": ["a[1] -> x[0]"]}
    with pytest.raises(cs.PlanError, match=f"different dtypes: .*{asked}"):
        cs.plan(SOURCE, rules, DESTINATION)


def test_a_made_tensor_that_is_no_float_keeps_its_dtype() -> None:
    rules = {"format": 1, "output": {"dtype": "BF16"}, "rules": [{"init": {"to": "n", "fill": 1}}]}
    plan = cs.plan(SOURCE, rules, {"n": np.zeros(2, "i8")}, allow=("unused",))
    assert str(plan.outputs["n"].spec) == "I64[2]"
