"""Sources whose tensors stand for weights that lie elsewhere: empty ones, and flat ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ckptsurgeon as cs

WEIGHTS, LINEARS = ([f"{i}.{part}" for i in range(4) for part in parts] for parts in (
    ("weight", "bias", "norm"), ("weight", "bias")
))  # fmt: skip
DEEPSPEED = {"ds_version": "0.14", "param_shapes": [{"w": (3,)}]}
NORM = ["n.running_mean", "n.running_var"]

Empty = tuple[list[str], list[str], dict[str, Any], str]

SOURCES: list[Empty] = [
    # empty tensors, others, entries beside them, and how many are said to be empty
    (WEIGHTS, [], {}, "12 of 12"),
    (WEIGHTS, ["rope.inv_freq"], {}, "12 of 13"),
    (LINEARS, [f"{i}.mask" for i in range(8)], {}, "8 of 16"),
    (["w", "b"], [], {}, "2 of 2"),
    (["n.weight", "n.bias"], NORM, DEEPSPEED, "2 of 4"),
    ([], WEIGHTS, DEEPSPEED, ""),
    (["q.min_val"], WEIGHTS, {}, ""),
    (["q.min_val"], WEIGHTS, DEEPSPEED, ""),
    (["q.min_val", "q.max_val"], ["q.weight", "q.bias"], {}, ""),
    (["w"], [], {}, ""),
]


@pytest.mark.parametrize(("empty", "others", "entries", "count"), SOURCES)
def test_placeholders_are_told(
    tmp_path: Path, empty: list[str], others: list[str], entries: dict[str, Any], count: str
) -> None:
    tensors = {**dict.fromkeys(empty, torch.zeros(0)), **{key: torch.rand(2) for key in others}}
    torch.save({"module": {k: t.clone() for k, t in tensors.items()}, **entries}, tmp_path / "a.pt")
    notes = {note.kind: note.text for note in cs.plan(tmp_path / "a.pt").notes}
    if not count:
        assert not {"empty", "gather"} & notes.keys()
        return
    assert notes["empty"].startswith(f"source: {count} tensors are empty, as in DeepSpeed ZeRO-3")
    assert "`zero_to_fp32.py`" in notes["gather"]
    assert "`stage3_gather_16bit_weights_on_model_save`" in notes["gather"]


def test_integers_may_be_empty() -> None:
    plan = cs.plan({f"{i}.g_idx": np.zeros(0, "i4") for i in range(9)} | {"w": np.zeros(2, "f4")})
    assert "empty" not in {note.kind for note in plan.notes}


def test_flat_parameters_are_told() -> None:
    keys = ["_fsdp_wrapped_module._flat_param", "0._fsdp_wrapped_module.flat_param", "w"]
    plan = cs.plan({key: np.zeros(8, "f4") for key in keys})
    notes = [note for note in plan.notes if note.kind == "flat"]
    assert [note.key for note in notes] == keys[:2]
    assert all("StateDictType.FULL_STATE_DICT" in note.text for note in notes)
