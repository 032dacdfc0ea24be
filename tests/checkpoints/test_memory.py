"""Dicts of tensors in Python, of which not all can be read: as in files."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ckptsurgeon as cs
from ckptsurgeon import modules
from ckptsurgeon.checkpoints.torch.keys import LONGEST_TEXT
from ckptsurgeon.errors import CheckpointError, FindingsError
from ckptsurgeon.specs import UnreadableSpec


class Packed(torch.Tensor):
    """A tensor of no storage of its own, as quantized ones of other packages."""

    @staticmethod
    def __new__(cls, shape: tuple[int, ...]) -> Packed:
        return torch.Tensor._make_wrapper_subclass(cls, shape)  # type: ignore[attr-defined, no-any-return]

    @classmethod
    def __torch_dispatch__(cls, *_: Any) -> Any:
        raise NotImplementedError


UNREADABLE: dict[str, Any] = {
    "a subclass": Packed((3,)),
    "meta": torch.empty(3, device="meta"),
    "sparse": torch.ones(3).to_sparse(),
    "masked": np.ma.masked_array(np.ones(3), [0, 1, 0]),
    "long double": np.ones(3, np.longdouble),
    "structured": np.zeros(3, [("a", "f4")]),
    "raw bytes": np.zeros(3, "V2"),
    "objects": np.array([{}, {}, {}], object),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_read_is_a_key(kind: str) -> None:
    given = {"w": UNREADABLE[kind], "b": torch.ones(2)}
    (finding,) = cs.plan(given).open_findings
    assert (finding.kind.value, finding.key) == ("unreadable", "w")
    with pytest.raises(FindingsError, match=r"1 unreadable (.|\n)* w  an? "):
        cs.apply(given, [])
    tensors, report = cs.apply(given, [{"drop": "w"}])
    assert (list(tensors), report.clean) == (["b"], True)
    found, report = cs.apply({"b": torch.ones(2)}, [], into=given, allow=["unreadable"])
    assert (list(found), report.clean) == (["b"], False)


@pytest.mark.parametrize(
    "shape",
    ["abc", 5, None, (float("nan"),), (2.5,), (10**5000,)],
    ids=lambda shape: type(shape).__name__,
)
def test_a_value_without_a_shape_is_no_tensor(shape: object) -> None:
    value = SimpleNamespace(dtype="float32", shape=shape)
    with pytest.raises(CheckpointError, match="'w' is SimpleNamespace; wanted a flat dict"):
        cs.plan({"w": value})


@pytest.mark.parametrize(
    "key", [10**5000, -(10**5000), (1, 10**5000)], ids=["one", "below 0", "part"]
)
def test_an_integer_of_any_length_is_a_key_and_a_value(key: object) -> None:
    (name,) = cs.plan({key: torch.ones(2), "entry": 10**5000}).outputs
    assert "0x" in name
    assert len(name) <= LONGEST_TEXT


def test_parameters_and_buffers_are_plain() -> None:
    given = {"w": nn.Parameter(torch.ones(2)), "b": nn.Buffer(torch.ones(1))}
    assert cs.apply(given, [])[1].clean


def test_a_model_of_which_a_part_has_no_values() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0] = nn.Linear(2, 2)
    specs = cs.plan(model.state_dict()).sources[0].specs
    unreadable = [key for key, spec in specs.items() if isinstance(spec, UnreadableSpec)]
    assert unreadable == ["1.weight", "1.bias"]
    with pytest.raises(cs.CheckpointError, match=r"`1\.weight` is on the meta device"):
        modules.load(model, nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).state_dict())
