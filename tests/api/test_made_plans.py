"""Plans in Python after they were made: run, saved, loaded, copied and sent to other processes."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

import ckptsurgeon as cs

T = torch.zeros(2, 3)
RULES = ["a.* -> c.*", {"drop": "z"}]


def state() -> dict[str, torch.Tensor]:
    return {"a.w": torch.arange(6.0).reshape(2, 3), "a.b": torch.ones(2), "z": torch.zeros(1)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    torch.save(state(), tmp_path / "a.pt")
    return tmp_path / "a.pt"


def test_a_plan_is_run_as_it_was_made(source: Path, tmp_path: Path) -> None:
    made = cs.plan(source, RULES)
    made.save(tmp_path / "plan.json")
    for number, plan in enumerate((made, cs.load_plan(tmp_path / "plan.json"))):
        output = tmp_path / f"{number}.safetensors"
        assert cs.transplant(None, output, plan).clean  # from where the source was
        assert list(cs.open_checkpoint(output).contents.specs) == ["c.w", "c.b"]
        tensors, report = cs.apply(state(), plan)
        assert (list(tensors), report.clean) == (["c.w", "c.b"], True)
        assert torch.equal(tensors["c.w"], state()["a.w"])


def test_a_plan_is_run_on_what_it_was_made_for(source: Path, tmp_path: Path) -> None:
    plan = cs.plan(source, RULES)
    other = {**state(), "a.w": torch.ones(3, 3)}
    with pytest.raises(cs.CheckpointError, match="its keys, dtypes or shapes are not those of"):
        cs.apply(other, plan)
    with pytest.raises(cs.CkptSurgeonError, match="allow: is said where a plan is made"):
        cs.apply(state(), plan, allow="missing")
    with pytest.raises(cs.CkptSurgeonError, match="root: is said where a plan is made"):
        cs.apply(state(), plan, root="")
    onto = cs.plan(state(), [*RULES, {"keep": "n"}], {"c.w": T, "c.b": T[0, :2], "n": T})
    with pytest.raises(cs.CheckpointError, match="its keys, dtypes or shapes are not those of"):
        cs.apply(state(), onto, {})
    held = cs.plan(state(), RULES)
    with pytest.raises(cs.CheckpointError, match="made for what was in memory: give it as `source"):
        cs.transplant(None, tmp_path / "b.pt", held)
    assert list(cs.apply(state(), held)[0]) == ["c.w", "c.b"]


def test_results_are_copied_and_sent(source: Path) -> None:
    plan = cs.plan(source, RULES)
    results: dict[str, Any] = {
        "plan": plan,
        "inverse": cs.invert(cs.plan(source, ["a.* -> c.*"])),
        "report": cs.apply(state(), RULES)[1],
        "inspection": cs.inspect(source),
        "explanation": cs.explain("a.w", source, RULES),
    }
    for name, one in results.items():
        for copied in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
            assert str(copied) == str(one), name
        assert len({one, one}) == 1


@pytest.mark.parametrize("rules", [["nope -> c"], ["a -> <"], ["a.* -> c.*", "a.w -> c.w"]])
def test_errors_are_copied_and_sent(rules: list[str]) -> None:
    with pytest.raises(cs.CkptSurgeonError) as raised:
        cs.plan(state(), rules)
    for copied in (copy.copy(raised.value), pickle.loads(pickle.dumps(raised.value))):
        assert (type(copied), str(copied)) == (type(raised.value), str(raised.value))
