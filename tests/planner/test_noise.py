"""noise in plans: the numbers depend on seed, first output and place, and on nothing else."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Ckpt, ckpt, folder
from safetensors.numpy import load_file, save_file

import ckptsurgeon as cs

__all__ = ["ckpt", "folder"]

Arrays = dict[str, np.ndarray[Any, Any]]

SOURCE = {
    **{f"h.{i}.w": np.zeros((4, 3), np.float32) for i in range(3)},
    "up": np.zeros((6, 3), np.float32),
}


def made(*rules: object, source: Arrays = SOURCE) -> Arrays:
    return cs.apply(source, [*rules, {"drop": "**", "optional": True}])[0]


def differ(arrays: Arrays) -> bool:
    """Whether no two of them are equal, and all are noise."""
    return all(array.any() for array in arrays.values()) and not any(
        np.array_equal(one, other) for one, other in itertools.combinations(arrays.values(), 2)
    )


def same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


LAYERS = {"h.<i>.w -> l.<i>.w": {"noise": 0.1}}
UP = {"up -> up": {"noise": 0.1}}


def test_each_output_has_its_own() -> None:
    assert differ({**made(LAYERS, UP), "other": made(UP)["up"][:4]})


def test_lines_and_the_order_of_rules_change_nothing() -> None:
    layers = [{f"h.{i}.w -> l.{i}.w": {"noise": 0.1}} for i in (2, 0, 1)]
    blocks = [
        {"from": f"h.{i}.w", "to": f"l.{i}.w", "ops": [{"noise": {"std": 0.1, "seed": 0}}]}
        for i in range(3)
    ]
    within = {"within": "h.<i>. -> l.<i>.", "rules": [{"w -> w": {"noise": 0.1}}]}
    wanted = made(LAYERS, UP)
    assert same(made(UP, LAYERS), wanted)
    assert same(made(*layers, UP), wanted)
    assert same(made(UP, *blocks), wanted)
    assert same(made(within, UP), wanted)


def test_another_seed_gives_others() -> None:
    seeded = {"h.<i>.w -> l.<i>.w": {"noise": {"std": 0.1, "seed": 1}}}
    one, other = made(LAYERS), made(seeded)
    assert differ({**one, **{f"{key}.seeded": array for key, array in other.items()}})


@pytest.mark.parametrize(
    "rule",
    [
        {"from": "up", "to": "up.<e>", "ops": [{"split": {"over": "e", "parts": 2}}, {"noise": 1}]},
        {"from": "up", "to": ["a", "b"], "ops": [{"split": {"parts": 2}}, {"noise": 1}]},
        {"from": ["h.0.w", "h.1.w"], "to": "x", "ops": [{"noise": 1}, "concat"]},
        {"from": "h.<e>.w", "to": "x", "ops": [{"noise": 1}, "stack"]},
    ],
    ids=["to captures", "to a list", "of a list", "of captures"],
)
def test_each_tensor_in_flight_has_its_own(rule: dict[str, Any]) -> None:
    found = made(rule)
    parts = found
    if "x" in found:
        rows = found["x"].reshape(-1, 4, 3)
        parts = {str(number): rows[number] for number in range(len(rows))}
    assert len(parts) > 1
    assert differ(parts)


def test_noise_before_a_split_is_split() -> None:
    ops = [{"noise": 1}, {"split": {"over": "e", "parts": 2}}]
    found = made({"from": "up", "to": "up.<e>", "ops": ops})
    assert differ(found)


def test_slices_of_one_output_have_their_own() -> None:
    found = made({"h.0.w -> x[:4]": {"noise": 1}}, {"h.1.w -> x[4:]": {"noise": 1}})["x"]
    assert not np.array_equal(found[:4], found[4:])


def test_the_second_target_does_not_matter() -> None:
    both = made({"from": "up", "to": ["a", "b"], "ops": {"noise": 1}})
    assert np.array_equal(both["a"], both["b"])
    assert np.array_equal(both["a"], made({"up -> a": {"noise": 1}})["a"])


def test_tensors_that_were_tied_are_no_longer() -> None:
    tensor = torch.zeros(4, 3)
    found, report = cs.apply({"a": tensor, "b": tensor}, [{"<n:a|b> -> <n>": {"noise": 1}}])
    assert not torch.equal(found["a"], found["b"])
    assert "untied" in {note.kind for note in report.notes}


# --- told and saved -------------------------------------------------------------------------------

RULES = """\
format: 1
rules:
  - conv.weight -> conv.weight: {noise: 1e-3}
  - fc.weight -> fc.<p:a|b>: [split, {noise: {std: 0.5, seed: 3}}]
"""


def test_a_saved_plan_makes_the_same(ckpt: Ckpt, folder: Path) -> None:
    (folder / "noise.yaml").write_text(RULES)
    words = ("src.safetensors", "-r", "noise.yaml", "-o")
    assert ckpt("transplant", *words, "a.safetensors").code == 0
    ran = ckpt("plan", *words, "plan.json")
    assert ran.code == 0
    assert "noise(std=0.001)" in ran.out
    assert "split(parts=2), noise(std=0.5, seed=3)" in ran.out
    assert "placed" not in ran.out
    assert ckpt("transplant", "--plan", "plan.json", "-o", "b.safetensors").code == 0
    assert (folder / "a.safetensors").read_bytes() == (folder / "b.safetensors").read_bytes()
    found = load_file(folder / "a.safetensors")
    assert found["fc.a"].shape == found["fc.b"].shape


def test_what_was_there_is_lost(ckpt: Ckpt, folder: Path) -> None:
    (folder / "noise.yaml").write_text(RULES)
    assert ckpt("plan", "src.safetensors", "-r", "noise.yaml", "-o", "plan.json").code == 0
    ran = ckpt("invert", "plan.json", "-o", "inverse.json")
    assert ran.code != 0
    assert "`conv.weight` is lost: `noise(std=0.001)` can't be undone" in ran.err
    assert "noise.yaml:3" in ran.err
    told = ckpt("invert", "plan.json", "-o", "i.json", "--source-of-lost", "src.safetensors")
    assert told.code == 0, told.err


def test_outputs_with_noise_are_of_one_kind(tmp_path: Path) -> None:
    save_file(SOURCE, tmp_path / "a.safetensors")
    plan = cs.plan(tmp_path / "a.safetensors", [LAYERS, {"drop": "up"}])
    assert len(plan.outputs.kinds) == 1
    assert "l.<0..2>.w  <- h.<0..2>.w  noise(std=0.1)" in str(plan)


def test_explain_tells_the_op_as_it_is_written() -> None:
    told = str(cs.explain("l.1.w", SOURCE, [LAYERS, {"drop": "up"}]))
    assert "noise(std=0.1)" in told
    assert "placed" not in told
