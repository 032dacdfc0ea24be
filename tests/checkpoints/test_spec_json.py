"""JSON specs: shapes without values."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.checkpoints.spec import dump
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import TensorSpec


def test_round_trip(tmp_path: Path) -> None:
    specs = {"a.w": TensorSpec("F32", (2, 3)), 'é"\n': TensorSpec("I64", ())}
    path = tmp_path / "spec.json"
    path.write_text(dump(specs))
    found = open_checkpoint(path)
    assert (found.format, found.has_values) == ("spec", False)
    assert list(found.contents.specs.items()) == list(specs.items())
    assert found.extent("a.w") is None
    with pytest.raises(CheckpointError, match=r"holds shapes alone, no values of 'a\.w'"):
        found.read("a.w")


def test_a_key_per_line() -> None:
    specs = {"a": TensorSpec("F32", (2, 3)), "b": TensorSpec("I64", ())}
    assert dump(specs) == '{\n  "a": ["F32", [2, 3]],\n  "b": ["I64", []]\n}\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": ["F32"]}', "'a': ['F32'], wanted [dtype, [shape]]"),
        ('{"a": {"shape": [1]}}', "wanted [dtype, [shape]]"),
        ('{"a": ["F32", [1.0]]}', "wanted [dtype, [shape]]"),
        ('{"a": ["F32", [true]]}', "wanted [dtype, [shape]]"),
        ('{"a": ["F32", [-1]]}', "wanted [dtype, [shape]]"),
        ('{"a": ["float32", [1]]}', "'a': unknown dtype 'float32'; known: BOOL"),
        ('{"a": ["F32", [4611686018427387904, 9]]}', "'a': a shape too large"),
        ('{"a": ["F32", []], "a": ["F32", []]}', "'a' stands twice"),
        ('{"a": ', "its JSON can't be read"),
        ('{"weight_map": 3}', "'weight_map': 3, wanted [dtype, [shape]]"),
    ],
)
def test_what_is_no_spec(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(text)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
