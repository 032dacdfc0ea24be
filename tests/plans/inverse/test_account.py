"""What an inverse says of the outputs that it reads: what it takes of them, or why nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ckptsurgeon as cs
from ckptsurgeon.checkpoints.base import Contents
from ckptsurgeon.checkpoints.memory import MemoryCheckpoint
from ckptsurgeon.specs import TensorSpec

F32 = TensorSpec("F32", (4,))

OWN, MADE, SPARE = "the destination's own", "made by `init`", "not needed"

ROWS: list[tuple[list[Any], Mapping[str, int], Mapping[str, tuple[str, str, float]]]] = [
    # rules, the destination's keys and sizes, and of each output its fate, why, and the share of
    # it that is not taken
    (["a -> x", "b -> y"], {}, {"x": ("taken", "", 0), "y": ("taken", "", 0)}),
    (["a -> x"], {}, {"x": ("taken", "", 0), "b": ("copied", "", 0)}),
    (
        ["a -> x[:4]", "b -> y[2:6]"],
        {"x": 16, "y": 8},
        {"x": ("taken", "", 0.75), "y": ("taken", "", 0.5)},
    ),
    (
        [{"keep": "z"}, {"init": {"to": "m", "fill": 1}}],
        {"a": 4, "b": 4, "z": 1, "m": 1},
        {
            "a": ("copied", "", 0),
            "b": ("copied", "", 0),
            "z": ("dropped", OWN, 0),
            "m": ("dropped", MADE, 0),
        },
    ),
    (
        [
            {"from": "a[:1]", "to": "x", "reuse": True},
            {"from": "a[:3]", "to": "y", "reuse": True},
            {"from": "a[2:]", "to": "z", "reuse": True},
        ],
        {},
        {
            "x": ("dropped", SPARE, 0),
            "y": ("taken", "", 0),
            "z": ("taken", "", 0),
            "b": ("copied", "", 0),
        },
    ),
    (
        [{"from": "a", "to": ["x", "y"]}],
        {},
        {"x": ("taken", "", 0), "y": ("dropped", SPARE, 0), "b": ("copied", "", 0)},
    ),
]


@pytest.mark.parametrize(("rules", "into", "told"), ROWS)
def test_fates_of_outputs(
    rules: list[Any], into: Mapping[str, int], told: Mapping[str, tuple[str, str, float]]
) -> None:
    destination = {key: np.zeros(size, "f4") for key, size in into.items()}
    plan = cs.plan(dict.fromkeys("ab", np.ones(4, "f4")), rules, destination or None)
    fates = cs.invert(plan).fates
    assert {one.key: (one.fate.value, one.reason, one.untaken) for one in fates} == told


TIES: list[tuple[list[Any], dict[str, str]]] = [
    # rules for a source that ties `a` and `b`, and the ties of what the inverse gives back
    ([], {}),
    ([{"drop": "b"}], {"b": "a"}),
    ([{"drop": "a"}], {"b": "a"}),
    ([{"from": ["a", "b"], "to": "x", "ops": "same"}], {"b": "a"}),
    (["a -> x", "b -> y"], {}),
]


@pytest.mark.parametrize(("rules", "ties"), TIES)
def test_keys_that_one_output_gives_back_are_tied_as_they_were(
    rules: list[Any], ties: dict[str, str]
) -> None:
    tied = np.ones(4, "f4")
    contents = Contents(dict.fromkeys("ab", F32), (("a", "b"),))
    source = MemoryCheckpoint(contents=contents, tensors={"a": tied, "b": tied})
    assert cs.invert(cs.plan(source, rules)).ties == ties


def test_what_one_rule_renamed_is_told_as_one(tmp_path: Path) -> None:
    """A report tells kinds of a saved plan's outputs, so that it tells 100,000 in a second."""
    source = {f"a.{number}": np.zeros(2, "f4") for number in range(5)}
    plan = cs.plan(source, [{"table": {key: key.replace("a", "b") for key in source}}])
    plan.save(tmp_path / "plan.json")
    inverse = cs.invert(cs.load_plan(tmp_path / "plan.json"))
    assert [kind.numbers for kind in inverse.outputs.kinds] == [[0, 1, 2, 3, 4]]
