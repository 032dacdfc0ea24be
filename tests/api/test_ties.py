"""Tied keys of `apply`: one tensor, computed once; values that differ are told at their rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Ckpt

import ckptsurgeon as cs
from ckptsurgeon.engine.evaluation import Evaluator

TURNED = "<k:path> -> <k>"

RULES = [
    # rules that tie, and the keys that one tensor is given under
    ([{TURNED: "transpose"}, {"tie": ["a", "b"]}], ["ab", "c"]),
    ([{TURNED: "transpose"}, {"tie": ["b", "a"]}], ["ab", "c"]),
    ([{TURNED: "transpose"}, {"tie": ["a", "b", "c"]}], ["abc"]),
    ([{TURNED: "transpose"}, {"tie": ["a", "b"]}, {"tie": ["b", "c"]}], ["abc"]),
    ([{TURNED: "transpose"}, {"tie": ["b", "c"]}, {"tie": ["a", "b"]}], ["abc"]),
    ([{TURNED: "transpose"}, {"tie": ["c", "b"]}, {"tie": ["b", "a"]}], ["abc"]),
]


@pytest.mark.parametrize(("rules", "groups"), RULES)
def test_a_tied_tensor_is_evaluated_once(
    rules: list[Any], groups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated: list[str] = []
    output = Evaluator.output

    def count(self: Evaluator, one: Any) -> Any:
        evaluated.append(one.key)
        return output(self, one)

    monkeypatch.setattr(Evaluator, "output", count)
    values = torch.arange(6.0).reshape(2, 3)
    tensors, _ = cs.apply({key: values.clone() for key in "abc"}, rules)
    assert len(evaluated) == len(groups)
    for group in groups:
        assert len({id(tensors[key]) for key in group}) == 1
    assert len({id(tensor) for tensor in tensors.values()}) == len(groups)
    assert all(torch.equal(tensor, values.T) for tensor in tensors.values())


def test_values_that_differ_are_told_at_the_rule_that_ties_them() -> None:
    given = {"a": torch.zeros(2), "b": torch.ones(2), "c": torch.zeros(2)}
    with pytest.raises(cs.PlanError) as caught:
        cs.apply(given, [{"tie": ["a", "c"]}, {"tie": ["a", "b"]}])
    (problem,) = caught.value.problems
    assert (problem.message, problem.help) == (
        "`tie`: `b` and `a` hold different values",
        "drop one of them",
    )
    assert problem.place is not None
    assert (problem.place.file, problem.place.line) == ("<rules>", 2)


def test_the_command_line_shows_the_line_that_ties(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2), "b": torch.ones(2)}, tmp_path / "s.pt")
    rules = tmp_path / "r.yaml"
    rules.write_text("format: 1\nrules:\n  - tie: [a, b]\n")
    ran = ckpt("transplant", tmp_path / "s.pt", "-r", rules, "-o", tmp_path / "o.pt")
    assert ran.code == 2
    assert f"{rules}:3:5: `tie`: `b` and `a` hold different values" in ran.err
    assert not (tmp_path / "o.pt").exists()
