"""Weights that a file holds twice: which set is meant must be said; other tensors are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Ckpt

import ckptsurgeon as cs
from ckptsurgeon import modules
from ckptsurgeon.checkpoints.opening import open_checkpoint


def net(value: float = 0.0, prefix: str = "") -> dict[str, torch.Tensor]:
    return {f"{prefix}blocks.{i}.{k}": torch.full((2, 2), value) for i in range(4) for k in "qkv"}


def cut(tensors: dict[str, torch.Tensor], number: int) -> dict[str, torch.Tensor]:
    return dict(list(tensors.items())[number:])


NET = net()

OTHERS = {f"rows.{i}": torch.ones(2, 2) for i in range(9)}

RIVALS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "the same keys": ({"model": net(), "ema": net(1)}, ["ema"]),
    "a prefix on one side": ({"model": net(prefix="module."), "ema": net(1)}, ["ema"]),
    "a prefix on the other": ({"state_dict": net(), "swa": net(1, "averaged.")}, ["swa"]),
    "with keys of its own": (
        {"model": net(), "ema": {**net(1, "ema_model."), "step": torch.ones(1)}},
        ["ema"],
    ),
    "most of the keys": ({"model": net(), "ema": cut(net(1), 6)}, ["ema"]),
    "three": ({"model": net(), "ema": net(1), "best": net(2)}, ["ema", "best"]),
    "in a wrapper": ({"model": {"student": net(), "teacher": net(1)}}, ["model.student"]),
    "a part of the model's, of other makeup": (
        {
            "model": {**net(), **{f"head.{i}": torch.ones(1) for i in range(20)}},
            "ema": net(1),
        },
        ["ema"],
    ),
    "with a state around": (
        {"model": net(), "ema": {"decay": torch.ones(1), "num": torch.ones(1), "sd": net(1)}},
        ["ema"],
    ),
    "averages in one container": (
        {"model": net(), "averages": {"a": net(1), "b": net(2)}},
        ["averages.a", "averages.b"],
    ),
    "averages in a list": (
        {"model": net(), "ema": [net(1), net(2)]},
        ["ema.0", "ema.1"],
    ),
    "around it": ({**net(1), "ema": net(), "epoch": 3}, [""]),
    "around it, with others": (
        {**net(1), "ema": net(), "swa": net(2), "scale": torch.ones(1)},
        ["swa", ""],
    ),
    "nested in a callback": ({"state_dict": net(), "callbacks": {"EMA": net(1)}}, ["callbacks"]),
}

NO_RIVALS: dict[str, dict[str, Any]] = {
    "alone": {"model": net()},
    "empty": {"model": net(), "ema": {}},
    "none": {"model": net(), "ema": None},
    "other shapes": {"model": net(), "ema": {k: torch.ones(3) for k in NET}},
    "few keys": {"model": net(), "ema": {**cut(net(1), 9), **OTHERS}},
    "both read": {"encoder": net(), "decoder": net(1)},
    "the same memory": {"model": NET, "ema": dict(NET)},
    "momenta": {"model": net(), "optimizer": net(1)},
    "Adam's": {"model": net(), "optimizer": {"exp_avg": net(1), "exp_avg_sq": net(2)}},
    "one tensor": {"model": net(), "queue": torch.ones(2, 2)},
}


def saved(value: dict[str, Any], folder: Path) -> Path:
    torch.save(value, folder / "a.pt")
    return folder / "a.pt"


@pytest.mark.parametrize("name", RIVALS)
def test_rivals_are_found(name: str, tmp_path: Path) -> None:
    value, rivals = RIVALS[name]
    path = saved(value, tmp_path)
    found = open_checkpoint(path).contents
    assert [one.key for one in found.rivals] == rivals
    with pytest.raises(cs.CheckpointError, match="holds the same weights") as caught:
        cs.plan(path)
    for one in (found.root, *rivals):
        assert (f"`{one}` (" if one else "no wrapper (") in str(caught.value)
        assert f"`root={one!r}`" in str(caught.value)
        assert cs.plan(path, root=one).sources[0].contents.root == one
        assert cs.plan(path, {"format": 1, "source": {"root": one}, "rules": []}).outputs


@pytest.mark.parametrize("name", NO_RIVALS)
def test_others_are_none(name: str, tmp_path: Path) -> None:
    path = saved(NO_RIVALS[name], tmp_path)
    assert open_checkpoint(path).contents.rivals == ()
    assert cs.plan(path).outputs


def test_of_every_source_and_the_destination(ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved({"model": net(), "ema": net(1)}, tmp_path)
    plain = tmp_path / "plain.pt"
    torch.save(net(3), plain)
    ran = ckpt("plan", plain, "--into", path)
    assert (ran.code, "`--root dst=ema`" in ran.err) == (2, True)
    assert ckpt("plan", plain, "--into", path, "--root", "dst=ema").code == 0
    rules = tmp_path / "r.yaml"
    rules.write_text("format: 1\nsource: {root: {dst: ema}}\nrules: []\n")
    assert ckpt("plan", plain, "--into", path, "-r", rules).code == 0
    named = ("plan", "--source", f"x={path}", "-e", "x::** -> **")
    ran = ckpt(*named)
    assert (ran.code, "`--root x=ema`" in ran.err) == (2, True)
    assert ckpt(*named, "--root", "x=ema").code == 0
    assert ckpt(*named, "--root", "ema").code == 0
    ran = ckpt(*named, "--root", "x=ema", "--root", "y=ema")
    assert (
        ran.code,
        "`root` names the source 'y', which is not given; there are: `x`" in ran.err,
    ) == (2, True)


def test_a_saved_plan_keeps_its_roots(ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved({"model": net(), "ema": net(1)}, tmp_path)
    plan, output = tmp_path / "plan.json", tmp_path / "o.safetensors"
    words = ("plan", path, "--into", path, "--root", "ema", "--root", "dst=model", "-o", plan)
    assert ckpt(*words).code == 0
    ran = ckpt("transplant", "--plan", plan, "-o", output)
    assert ran.code == 0, ran.err
    assert (
        open_checkpoint(output).read("blocks.0.q").tobytes()
        == net(1)["blocks.0.q"].numpy().tobytes()
    )


def test_modules_load_asks_as_well(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    other = {key: value + 1 for key, value in state.items()}
    path = saved({"model": state, "ema": other}, tmp_path)
    with pytest.raises(cs.CheckpointError, match="holds the same weights 2 times"):
        modules.load(model, path)
    assert modules.load(model, path, root="ema").clean
    assert torch.equal(model.weight, other["weight"])


def test_what_the_root_leaves_out_is_counted(ckpt: Ckpt, tmp_path: Path) -> None:
    value = {
        "model": {"net": net(), "extra": {"x": torch.ones(3)}},
        "optimizer": {"state": {0: {"m": torch.ones(4), "v": torch.ones(4)}}},
        "rng": torch.zeros(5, dtype=torch.uint8),
        "epoch": 3,
    }
    path = saved(value, tmp_path)
    ran = ckpt("plan", path, "--root", "model.net")
    assert ran.code == 0
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    at = lines.index("left behind, outside of the root 4 tensors, 49 B")
    assert lines[at + 1 : at + 4] == [
        "model.extra 1 tensor, 12 B",
        "optimizer 2 tensors, 32 B",
        "rng 1 tensor, 5 B",
    ]
    assert "100% of the root's bytes are used; 4 tensors, 49 B stand outside of it" in lines
