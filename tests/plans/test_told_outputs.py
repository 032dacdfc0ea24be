"""What an output is made from, and through which ops, in the order in which they go in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ckptsurgeon as cs
from ckptsurgeon.ops.indexing import index_text
from ckptsurgeon.request import open_request

FLIP, TURN = {"flip": 0}, "transpose"

ROWS: list[tuple[list[list[Any]], str, str]] = [
    # rules of each stage, what `x` is told to be made from, and through what
    ([["a -> x"]], "a", ""),
    ([["a[0] -> x"]], "a[0]", ""),
    ([[{"a[:1] -> x": [TURN, FLIP, TURN]}]], "a[:1]", "transpose, flip, transpose"),
    ([[{"from": ["b", "a"], "to": "x", "ops": "concat"}]], "b, a", "concat"),
    ([[{"from": ["b[1]", "b[0]"], "to": "x", "ops": "stack"}]], "b[1], b[0]", "stack"),
    (
        [
            [{"a -> p": [TURN]}, {"b -> q": [TURN, FLIP]}],
            [{"from": ["q", "p"], "to": "x", "ops": "concat"}],
        ],
        "b, a",
        "transpose, flip, concat",
    ),
    (
        [["a -> p", {"b -> q": TURN}], [{"from": ["p", "q"], "to": "x", "ops": "stack"}]],
        "a, b",
        "transpose, stack",
    ),
    ([[{"a -> p": TURN}], ["p[0] -> x"]], "a", "transpose, slice[0]"),
    ([["b[0] -> x[1]", "a[1] -> x[0]"]], "b[0], a[1]", ""),
    ([[{"b[0] -> x[1]": FLIP}, {"a[1] -> x[0]": FLIP}]], "b[0], a[1]", "flip"),
    ([["a -> p"], [{"init": {"to": "x", "fill": 1, "shape": [2]}}]], "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("stages", "sources", "ops"), ROWS)
def test_sources_and_ops(stages: list[list[Any]], sources: str, ops: str) -> None:
    given = {key: np.ones((2, 2), "f4") for key in "ab"}
    rulesets = [cs.load_ruleset({"format": 1, "rules": rules}) for rules in stages]
    output = open_request(rulesets, given).prepare().plan.outputs["x"]
    told = [one.key + (index_text(one.index) if one.index else "") for one in output.sources]
    assert (", ".join(told), ", ".join(output.ops)) == (sources, ops)
