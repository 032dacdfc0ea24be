"""Probes of what is in memory: new dicts of the same kind, the given ones left alone."""

from __future__ import annotations

import argparse
import copy
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ckptsurgeon as cs

Pair = namedtuple("Pair", ["left", "right"])


def test_a_state_dict_gives_one_of_the_same_kind() -> None:
    state = nn.BatchNorm2d(4).half().state_dict()
    before = copy.deepcopy(state)
    made: Any = cs.probe(state)
    assert type(made) is OrderedDict
    assert (list(made), made._metadata) == (list(state), state._metadata)
    assert made._metadata is not state._metadata
    for key, tensor in state.items():
        assert (made[key].dtype, made[key].shape) == (tensor.dtype, tensor.shape)
        assert not made[key].equal(tensor)
        assert tensor.equal(before[key])
    nn.BatchNorm2d(4).half().load_state_dict(made)


def test_a_model_gives_its_state_dict_with_ties_and_versions() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    model[1].weight = model[0].weight
    made: Any = cs.probe(model)
    assert list(made) == list(model.state_dict())
    assert made["0.weight"] is made["1.weight"]
    assert type(made["0.weight"]) is torch.Tensor
    assert made._metadata == model.state_dict()._metadata  # type: ignore[attr-defined]
    fresh = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    fresh.load_state_dict(made)
    parallel: Any = cs.probe(nn.DataParallel(model))
    assert list(parallel) == list(made)
    assert all(parallel[key].equal(made[key]) for key in made)


def test_ties_of_two_views_of_one_memory_share_theirs_again() -> None:
    model = nn.Linear(3, 3)
    state = {"a": model.weight.detach(), "b": model.weight.detach()}
    made = cs.probe(state)
    assert made["a"].data_ptr() == made["b"].data_ptr()


def test_arrays_give_arrays_and_kinds_may_be_mixed() -> None:
    made = cs.probe({"a": np.zeros((3, 4), "f2"), "b": torch.zeros(3), "c": np.zeros(3, ">f4")})
    assert (type(made["a"]), made["a"].dtype, made["a"].shape) == (np.ndarray, "f2", (3, 4))
    assert type(made["b"]) is torch.Tensor
    assert len(np.unique(made["c"])) == 3
    assert made["a"].flags.writeable
    made["b"].add_(1)


def test_nesting_and_entries_are_kept_and_what_is_outside_is_not() -> None:
    weights = {"w": torch.zeros(3), "pair": Pair(torch.zeros(2), 5), "stack": [torch.ones(2), "x"]}
    args = argparse.Namespace(lr=1)
    held = {
        "model": OrderedDict(weights, layers=(torch.zeros(1), [torch.zeros(2)])),
        "optimizer": {"state": {0: {"exp_avg": torch.rand(3)}}},
        "args": args,
        "epoch": 3,
        "names": np.array(["a", "b"]),
    }
    made: Any = cs.probe(held)
    assert list(made) == ["model", "args", "epoch", "names"]
    assert (made["args"], made["epoch"]) == (args, 3)
    assert made["names"] is held["names"]
    inner = made["model"]
    assert type(inner) is OrderedDict
    assert (type(inner["pair"]), inner["pair"].right) == (Pair, 5)
    assert (inner["stack"][1], type(inner["layers"]), type(inner["layers"][1])) == (
        "x",
        tuple,
        list,
    )
    assert not inner["w"].equal(weights["w"])  # type: ignore[arg-type]
    assert cs.inspect(made).specs == cs.inspect(held).specs
    whole: Any = cs.probe(held, root="")
    assert whole["optimizer"]["state"][0]["exp_avg"].shape == (3,)


def test_models_in_a_dict_become_their_state_dicts() -> None:
    held = {"model": {str(i): nn.Linear(i, 2) for i in range(1, 9)}, "norm": nn.BatchNorm1d(3)}
    made: Any = cs.probe(held, root="")
    assert [one["weight"].shape[1] for one in made["model"].values()] == list(range(1, 9))
    assert list(made["norm"])[:2] == ["weight", "bias"]
    assert made["norm"]._metadata[""] == {"version": 2}


def test_lists_keep_their_numbers() -> None:
    held = {"a": [torch.zeros(2), torch.zeros(2).to_sparse(), "x"], "b": {"c": torch.zeros(2)}}
    with pytest.warns(UserWarning, match=r"1 tensor can't be read, and is not in .*: 'a\.1'"):
        made: Any = cs.probe(held)
    assert [type(one) for one in made["a"]] == [torch.Tensor, type(None), str]


def test_what_holds_itself_is_copied_once() -> None:
    held: dict[str, Any] = {"w": torch.zeros(3), "list": [1]}
    held["self"] = held
    held["list"].append(held["list"])
    made: Any = cs.probe(held)
    assert made["self"] is made
    assert made["list"][1] is made["list"]
    assert made["w"].abs().min() > 0


@dataclass
class Holder:
    """An object that is no container."""

    w: torch.Tensor


def test_tensors_of_objects_are_refused_in_words() -> None:
    with pytest.raises(cs.CheckpointError, match=r"'x\.w': held by an object that is no dict"):
        cs.probe({"x": Holder(torch.zeros(2)), "y": torch.zeros(2)})


def test_a_file_without_an_output_gives_arrays(tmp_path: Any) -> None:
    torch.save({"a": torch.zeros(3, dtype=torch.bfloat16)}, tmp_path / "a.pt")
    made = cs.probe(tmp_path / "a.pt")
    assert (made["a"].dtype.name, made["a"].shape) == ("bfloat16", (3,))
    (tmp_path / "s.json").write_text('{"w": ["F4", [4]]}')
    with pytest.raises(cs.CheckpointError, match="smaller than a byte; name an output"):
        cs.probe(tmp_path / "s.json")


def test_meta_tensors_get_values() -> None:
    made = cs.probe({"w": torch.zeros(2, 2, device="meta")})
    assert made["w"].device.type == "cpu"


def test_equal_seeds_give_equal_values_and_others_not() -> None:
    state = {"w": np.zeros((3, 3)), "v": np.zeros(5, "f2")}
    one, again, other = cs.probe(state), cs.probe(state, seed=0), cs.probe(state, seed=1)
    for key in state:
        assert np.array_equal(one[key], again[key])
        assert not np.array_equal(one[key], other[key])


def test_rivals_are_asked_for() -> None:
    rivals = {"model": {"w": torch.rand(2)}, "ema": {"w": torch.rand(2)}}
    with pytest.raises(cs.CheckpointError, match="same weights 2 times"):
        cs.probe(rivals)
    assert list(cs.probe(rivals, root="ema")) == ["ema"]
