"""Nested values in Python, which are opened as a file of them would be."""

from __future__ import annotations

import argparse
import dataclasses
import types
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ckptsurgeon as cs
from ckptsurgeon import modules

T = torch.ones(2)


@dataclasses.dataclass
class Config:
    """What a training script keeps beside its weights."""

    w: torch.Tensor
    dtype: str = "bf16"


@dataclasses.dataclass
class Slotted:
    """An object without a `__dict__`."""

    __slots__ = ("w",)
    w: torch.Tensor


class Private:
    """An object with a slot of its own name."""

    __slots__ = ("__w",)

    def __init__(self, w: torch.Tensor) -> None:
        self.__w = w


class Answering(dict[str, Any]):
    """A dict whose entries are attributes, and that has one for every name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.get(name, Answering())


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


def ema() -> dict[str, Any]:
    return {key: torch.zeros_like(one) for key, one in net().state_dict().items()}


class Selfish(dict[str, Any]):
    """A dict that holds itself."""

    def __init__(self) -> None:
        super().__init__(w=T)
        self["self"] = self


def shared(levels: int) -> Any:
    """Dicts that each hold the one below twice."""
    return {"a": shared(levels - 1)} if levels else {"w": T}


NESTED: dict[str, Any] = {
    "a model": lambda: {"model": net(), "epoch": 1},
    "a model and a tensor": lambda: {"net": net(), "extra": T},
    "a model in a dict": lambda: {"model": {"enc": net(), "w": T}},
    "models in a list": lambda: {"parts": [net(), net()]},
    "parameters": lambda: {"model": nn.ParameterDict({"w": nn.Parameter(T)})},
    "a namespace": lambda: {"model": {"w": T}, "args": argparse.Namespace(dtype="bf16", seed=1)},
    "a namespace beside tensors": lambda: {"w": T, "args": argparse.Namespace(dtype="bf16")},
    "a namespace with tensors": lambda: {"model": {"w": T}, "args": types.SimpleNamespace(v=T + 1)},
    "a dataclass": lambda: {"state_dict": {"w": T}, "cfg": Config(torch.ones(3))},
    "a dataclass opened": lambda: {"cfg": Config(T + 1)},
    "slots": lambda: {"cfg": Slotted(T)},
    "a deque": lambda: {"w": T, "last": deque([T + 1, T + 2])},
    "a dtype": lambda: {"w": T, "dtype": torch.float16},
    "limits of a dtype": lambda: {"model": {"w": T}, "info": np.dtype("f4")},
    "a class": lambda: {"model": {"w": T}, "class": OrderedDict},
    "a function": lambda: {"model": {"w": T}, "function": shared},
    "scalars": lambda: {"w": T, "loss": np.float32(3), "step": np.int64(2)},
    "texts": lambda: {"model": {"w": T}, "names": np.array(["a", "b"])},
    "odd keys": lambda: {"m": {(1, 2): T, 1.5: T + 1, None: T + 2, b"x": T + 3, True: T + 4}},
    "numbers as keys": lambda: {0: T, 1: T + 1},
    "a dict in itself": Selfish,
    "a dict shared": lambda: (lambda one: {"model": one, "also": one})({"w": T, "n": 1}),
    "sets": lambda: {"w": T, "sets": [{T + 1}, frozenset([T + 2])]},
    "private slots": lambda: {"cfg": Private(T)},
    "a dict that answers to any name": lambda: {"model": Answering(w=T), "epoch": 1},
    "metadata under a dotted key": lambda: {"m.a": net().state_dict(), "n": 1},
    "an optimizer": lambda: {
        "model": net(),
        "optimizer": {"state": {0: {"exp_avg": T}}, "param_groups": [{"params": [0]}]},
    },
}


@pytest.mark.parametrize("kind", NESTED)
def test_a_dict_is_opened_as_its_file_is(kind: str, tmp_path: Path) -> None:
    held = NESTED[kind]()
    torch.save(held, tmp_path / "a.pt")
    file, memory = cs.inspect(tmp_path / "a.pt").checkpoint, cs.inspect(held).checkpoint
    assert memory.contents.specs == file.contents.specs
    assert memory.contents.root == file.contents.root
    if file.contents.module_metadata is not None:  # a pickled module keeps none
        assert memory.contents.module_metadata == file.contents.module_metadata
    assert sorted(memory.contents.outside_keys) == sorted(file.contents.outside_keys)
    assert [one.key for one in memory.contents.opaque] == [one.key for one in file.contents.opaque]
    for key in file.contents.specs:
        assert memory.read(key).tobytes() == file.read(key).tobytes(), key


def test_a_model_beside_its_average_is_asked_for() -> None:
    held = {"model": net(), "ema": ema()}
    with pytest.raises(cs.CheckpointError, match=r"2 times, under `model` \(.*\) and `ema`"):
        modules.load(net(), held)
    target = net()
    assert modules.load(target, held, root="model").clean
    assert torch.equal(target.state_dict()["0.weight"], net().state_dict()["0.weight"])


def test_a_nested_tensor_that_cannot_be_read_is_told() -> None:
    held = {"model": {"a": torch.eye(3).to_sparse(), "b": T, "c": nn.UninitializedParameter()}}
    found = cs.plan(held).open_findings
    assert [(one.kind.value, one.key) for one in found] == [
        ("unreadable", "a"),
        ("unreadable", "c"),
    ]


def test_many_levels_that_share_are_refused_as_a_file_is() -> None:
    tree: Any = {"w": T}
    for _ in range(40):
        tree = {"a": tree, "b": tree}
    with pytest.raises(cs.CheckpointError, match="unfold to over"):
        cs.inspect(tree)


def test_a_class_is_told() -> None:
    with pytest.raises(cs.CheckpointError, match="the class Linear is no checkpoint; give"):
        cs.plan(nn.Linear)  # type: ignore[arg-type]
