"""What is given in the place of something else in Python: each is told in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ckptsurgeon as cs
from ckptsurgeon import batchnorm, modules

T = torch.ones(2)
STATE: Any = {"w": T}
NET: Any = nn.Linear(2, 2)
CLASS: Any = nn.Linear
ODD: Any = [3]

WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "a class as source": (lambda: cs.plan(CLASS), "the class Linear is no checkpoint"),
    "a class as destination": (lambda: cs.plan(STATE, into=CLASS), "the class Linear is no"),
    "a class inspected": (lambda: cs.inspect(CLASS), "the class Linear is no checkpoint"),
    "a class loaded": (lambda: modules.load(CLASS, STATE), "the class Linear where a model is"),
    "load, turned round": (lambda: modules.load(STATE, NET), "dict where a model is wanted"),
    "transplant, turned round": (lambda: modules.transplant(NET, STATE), "dict where a model is"),
    "a hook on a dict": (lambda: modules.convert_on_load(STATE, []), "dict where a model is"),
    "a mirror of dicts": (lambda: batchnorm.mirror(STATE, STATE), "dict where a model is"),
    "a dict frozen": (lambda: batchnorm.freeze(STATE), "dict where a model is wanted"),
    "a dict recalibrated": (lambda: batchnorm.recalibrate(STATE, [T]), "dict where a model is"),
    "a model verified": (lambda: cs.verify(STATE, NET), "Linear is built already; give what"),
    "a number built": (lambda: cs.verify(STATE, lambda: ODD), "list where a model is wanted"),
    "a root that is a list": (lambda: cs.plan(STATE, root=ODD), "root: list where a dict is"),
    "a root by alias": (lambda: cs.plan(STATE, root={"": 3}), "root of '': int where a name"),  # type: ignore[dict-item]
    "sources in a list": (lambda: cs.plan(None, sources=ODD), "sources: list where a dict is"),
    "a root of what is open": (lambda: cs.inspect(NET, root="x"), "is no file to open at a root"),
    "a root of every source": (
        lambda: cs.plan(None, ["a::** -> **"], sources={"a": NET}, root="net"),
        "is no file to open at a root",
    ),
    "kinds that are none": (lambda: cs.plan(STATE, allow=3), "allow=[3]: unknown"),  # type: ignore[arg-type]
    "no rules": (lambda: cs.plan(STATE, ""), "an empty text where rules are wanted"),
    "nested tensors as rules": (
        lambda: cs.plan(STATE, {"model": STATE}),
        "a dict of tensors where",
    ),
    "a ruleset as output": (
        lambda: cs.transplant(STATE, "timm_vit_to_transformers"),
        "timm_vit_to_transformers: rules where the output is wanted",
    ),
    "a rule as output": (lambda: cs.transplant(STATE, "w -> v"), "rules where the output"),
    "layers as a flag": (lambda: batchnorm.freeze(NET, ["layer1"]), "affine=['layer1']: wanted"),  # type: ignore[arg-type]
    "a layer as a flag": (lambda: batchnorm.unfreeze(NET, stats="bn1"), "give the part, such as"),  # type: ignore[arg-type]
    "a number of channels": (
        lambda: batchnorm.copy(nn.BatchNorm1d(2), nn.BatchNorm1d(2), 2),  # type: ignore[arg-type]
        "channels=2: wanted a slice or a list",
    ),
    "explain's key second": (lambda: cs.explain(STATE, "w"), "a dict where the key is wanted"),  # type: ignore[arg-type]
    "kinds in one text": (
        lambda: cs.plan(STATE, allow="missing, unused"),  # type: ignore[arg-type]
        "write allow=['missing', 'unused']",
    ),
    "one batch": (lambda: batchnorm.recalibrate(NET, T), "a tensor of [2] where batches are"),
    "one array": (lambda: batchnorm.recalibrate(NET, np.ones((2, 2))), "a tensor of [2, 2] where"),
    "a loader's batch": (lambda: batchnorm.recalibrate(NET, (T, T)), "a tuple of tensors, as a"),
    "a loader's list": (
        lambda: batchnorm.recalibrate(NET, [torch.ones(2, 3), torch.tensor([1, 2])]),
        "a list of unlike tensors",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_given_for_something_else_is_told(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call, told = WRONG[what]
    with pytest.raises(cs.CkptSurgeonError, match=re.escape(told)):
        call()
    assert not list(tmp_path.iterdir())


def test_rules_without_a_source_are_no_old_order() -> None:
    tensors, _ = cs.apply(None, ["a::w -> v", {"drop": "a::x"}], sources={"a": {"w": T, "x": T}})
    assert list(tensors) == ["v"]
    with pytest.raises(cs.RulesetError, match="a rule where rules are wanted"):
        cs.apply(None, {"drop": "x"}, sources={"a": STATE})
