"""From `.pt` to `.pt`, to safetensors and back: what is carried, and what a strict load says."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from comparison import assert_same
from safetensors.torch import load_file
from torch import nn

import ckptsurgeon as cs


class Tied(nn.Module):
    """An embedding with its weight shared by the head, a norm, and a convolution."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        embed, norm, head = names
        self.add_module(embed, nn.Embedding(7, 4))
        self.add_module(norm, nn.BatchNorm1d(4))
        self.add_module(head, nn.Linear(4, 7, bias=False))
        self.get_submodule(head).weight = self.get_submodule(embed).weight


def training(state: OrderedDict[str, torch.Tensor], **further: Any) -> dict[str, Any]:
    """A checkpoint as training scripts write it, with an Adam state of real tensors."""
    return {
        "epoch": 3,
        "model": state,
        "optimizer": {"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.rand(7, 4)}}},
        "scheduler": {"last_lr": [0.1], "betas": (0.9, 0.99)},
        "history": torch.rand(3),
        "config": OrderedDict(width=4, name="tiny"),
        "args": argparse.Namespace(lr=1),
    } | further


RENAMES = ["embed.weight -> wte.weight", {"batchnorm": "norm -> ln"}, "head.weight -> out.weight"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    module = Tied("embed", "norm", "head")
    module.norm(torch.rand(8, 4))
    torch.save(training(module.state_dict()), tmp_path / "train.pt")
    return tmp_path / "train.pt"


def loaded(path: Path) -> Any:
    return torch.load(path, weights_only=True, mmap=True)


def test_nesting_and_plain_entries_are_carried_and_the_rest_is_told(source: Path) -> None:
    output = source.with_name("out.pt")
    report = cs.transplant(source, output, RENAMES)
    found, before = loaded(output), torch.load(source, weights_only=False)
    assert list(found) == ["epoch", "model", "scheduler", "config"]
    for key in ("epoch", "scheduler", "config"):
        assert found[key] == before[key]
        assert type(found[key]) is type(before[key])
    told = {note.key: note.text for note in report.notes if note.kind == "entry"}
    assert told == {"args": "argparse.Namespace, not written"}
    assert [one.key for one in report.sources[0].outside] == ["optimizer", "history"]


def test_modules_load_strictly_with_ties_and_versions(source: Path) -> None:
    output = source.with_name("out.pt")
    cs.transplant(source, output, RENAMES)
    state = loaded(output)["model"]
    assert state["wte.weight"].data_ptr() == state["out.weight"].data_ptr()
    assert state._metadata["ln"] == {"version": 2}
    module = Tied("wte", "ln", "out")
    module.load_state_dict(state, strict=True)
    before = torch.load(source, weights_only=False)["model"]
    assert torch.equal(module.out.weight, before["head.weight"])
    assert torch.equal(module.ln.running_mean, before["norm.running_mean"])


def test_safetensors_and_back(source: Path) -> None:
    middle, back = source.with_name("out.safetensors"), source.with_name("back.pt")
    report = cs.transplant(source, middle, RENAMES)
    told = [note.key for note in report.notes if note.kind == "entry"]
    assert told == ["epoch", "scheduler", "config", "args"]
    cs.transplant(
        middle, back, ["wte.weight -> embed.weight", {"batchnorm": "ln -> norm"}, "out.* -> head.*"]
    )
    wanted = torch.load(source, weights_only=False)["model"]
    assert_same(load_file(middle), {k: wanted[v] for k, v in OUT_OF.items()})
    assert_same(loaded(back), dict(wanted))
    Tied("embed", "norm", "head").load_state_dict(loaded(back), strict=True)


OUT_OF = {
    "wte.weight": "embed.weight",
    "out.weight": "head.weight",
    **{
        f"ln.{name}": f"norm.{name}"
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    },
}


def test_the_destination_s_metadata_is_the_output_s(source: Path) -> None:
    into = source.with_name("dst.pt")
    torch.save(Tied("wte", "ln", "out").state_dict(), into)
    output = source.with_name("out.pt")
    cs.transplant(source, output, RENAMES, into=into)
    wanted = torch.load(into, weights_only=True)._metadata
    assert dict(loaded(output)["model"]._metadata) == dict(wanted)


def test_values_of_the_destination_stand_beside_those_of_the_source(source: Path) -> None:
    into = source.with_name("dst.safetensors")
    module = Tied("wte", "ln", "out")
    cs.transplant({k: v.clone() for k, v in module.state_dict().items()}, into)
    output = source.with_name("out.pt")
    rules = ["embed.weight -> wte.weight", {"drop": "<_:norm|head>.*"}, {"keep": "<k:ln|out>.*"}]
    cs.transplant(source, output, rules, into=into)
    state = loaded(output)["model"]
    assert torch.equal(state["out.weight"], module.out.weight)
    assert torch.equal(
        state["wte.weight"], torch.load(source, weights_only=False)["model"]["embed.weight"]
    )
    Tied("wte", "ln", "out").load_state_dict(state, strict=True)


def test_an_optimizer_that_is_asked_for_is_carried(tmp_path: Path) -> None:
    state = OrderedDict(w=torch.rand(2))
    torch.save(training(state), tmp_path / "train.pt")
    rules = {"format": 1, "source": {"root": ""}, "rules": ["model.w -> model.v"]}
    report = cs.transplant(tmp_path / "train.pt", tmp_path / "out.pt", rules)
    found = loaded(tmp_path / "out.pt")
    assert list(found["model"]) == ["v"]
    assert found["optimizer"]["state"][0]["step"] == 1
    assert torch.equal(
        found["history"], torch.load(tmp_path / "train.pt", weights_only=False)["history"]
    )
    assert [note.key for note in report.notes if note.kind == "entry"] == ["args"]


def test_several_sources_make_one_output(tmp_path: Path) -> None:
    first, second = OrderedDict(w=torch.rand(2, 3)), OrderedDict(w=torch.rand(2, 3))
    torch.save({"state_dict": first, "step": 7}, tmp_path / "a.pt")
    torch.save({"state_dict": second, "step": 8}, tmp_path / "b.pt")
    joined = [{"from": ["w", "other::w"], "to": "w", "ops": "concat"}]
    report = cs.transplant(
        tmp_path / "a.pt", tmp_path / "out.pt", joined, sources={"other": tmp_path / "b.pt"}
    )
    found = loaded(tmp_path / "out.pt")
    assert found["step"] == 7
    assert torch.equal(found["state_dict"]["w"], torch.cat([first["w"], second["w"]]))
    assert [(n.key, n.text) for n in report.notes if n.kind == "entry"] == [
        ("step", "int of other, not written")
    ]
    named = {"x": tmp_path / "a.pt", "y": tmp_path / "b.pt"}
    joined = [{"from": ["x::w", "y::w"], "to": "w", "ops": "concat"}]
    cs.transplant(None, tmp_path / "named.pt", joined, sources=named)
    assert list(loaded(tmp_path / "named.pt")) == ["w"]


def test_the_same_inputs_give_the_same_bytes(source: Path) -> None:
    for suffix in (".pt", ".safetensors"):
        outputs = [source.with_name(f"{number}{suffix}") for number in range(2)]
        for output in outputs:
            cs.transplant(source, output, RENAMES)
        assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_plan_and_transplant_say_what_they_do(source: Path) -> None:
    plan = cs.plan(source, RENAMES)
    assert list(plan.outputs) == list(OUT_OF)[:1] + list(OUT_OF)[2:] + ["out.weight"]
    assert cs.make_report(plan).clean
    seen: list[tuple[int, int, str]] = []
    output = source.with_name("out.pt")
    report = cs.transplant(source, output, RENAMES, progress=lambda *told: seen.append(told))
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert seen[-1][:2] == (seen[0][1], seen[0][1])
    assert seen[-1][0] <= report.total.nbytes
    assert {key for _, _, key in seen} <= set(plan.outputs)
    with pytest.raises(
        cs.OutputError, match=r"exists already; if it is the destination, .* force=True replaces it"
    ):
        cs.transplant(source, output, RENAMES)
    cs.transplant(source, output, RENAMES, force=True)
    with pytest.raises(cs.FindingsError):
        cs.transplant(source, source.with_name("new.pt"), into=output)
    assert not source.with_name("new.pt").exists()
