"""What `diff` says of what people do to checkpoints, held against golden files.

`REGENERATE=1 pytest tests/comparing/test_text.py` writes these anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from comparing.cases import CASES, converted, decoder
from report.plans import HOSTILE

import ckptsurgeon as cs
from ckptsurgeon.comparing.difference import Status

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    text = cs.diff(decoder(), CASES[name]).show() + "\n"
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("REGENERATE"):
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize("name", CASES)
def test_colour_only_colours(name: str) -> None:
    found = cs.diff(decoder(), CASES[name])
    colored = found.show(color=True)
    for code in ("1;32", "1;31", "36", "0", "1", "2"):
        colored = colored.replace(f"\x1b[{code}m", "")
    assert colored == found.show()


@pytest.mark.parametrize("name", CASES)
def test_verbose_names_every_key(name: str) -> None:
    found = cs.diff(decoder(), CASES[name])
    words = set(found.show(verbose=True).split())
    assert words >= {row.key for row in found.rows}


def test_the_checkpoints_align(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = ["a.npz", "longer_name.npz"]
    for path in paths:
        np.savez(path, w=np.ones(3))
    first, second = cs.diff(*paths).show(width=200).splitlines()[:2]
    assert first.index("npz, 1 tensor") == second.index("npz, 1 tensor")


def test_hostile_keys_are_shown_safely() -> None:
    a = {f"{one}.{i}.w": np.full((2, 2), i + 1, np.float32) for one in HOSTILE for i in range(3)}
    added = {f"new.{one}": np.ones(3, np.float32) for one in HOSTILE}
    b = {key: value * 2 for key, value in a.items()} | added
    for verbose in (False, True):
        text = cs.diff(a, b).show(verbose=verbose)
        assert all(char.isprintable() or char == "\n" for char in text)
        assert len(text.splitlines()) < len(b) + 20


def test_a_strip_is_in_the_order_of_layers() -> None:
    a = {f"layers.{i}.w": np.ones(4, np.float32) for i in (10, 2, 1, 0)}
    b = {key: value * np.float32(1 + int(key.split(".")[1])) for key, value in a.items()}
    line = next(one for one in cs.diff(a, b).show().splitlines() if "layers" in one)
    assert "▁▂█" in line


def test_figures_that_are_no_numbers_are_texts_in_json() -> None:
    told = cs.diff({"x": np.zeros(3, np.float32)}, {"x": np.ones(3, np.float32)}).to_dict()
    change = told["rows"][0]["change"]
    assert change["relative_l2"] == "inf"
    assert change["cosine"] == "nan"
    assert change["max_delta"] == 1


def test_counts_of_every_status_are_told() -> None:
    told = cs.diff(decoder(), converted()).to_dict()
    assert set(told["counts"]) == {status.value for status in Status}
    assert sum(one["tensors"] for one in told["counts"].values()) == len(told["rows"])
