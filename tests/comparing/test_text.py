"""What `diff` says of what people do to checkpoints, held against golden files.

`REGENERATE=1 pytest tests/comparing/test_text.py` writes these anew.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from report.plans import HOSTILE

import ckptsurgeon as cs
from ckptsurgeon.comparing.difference import Status

GOLDEN = Path(__file__).parent / "golden"

Arrays = dict[str, np.ndarray[Any, Any]]


def noise(shape: tuple[int, ...], seed: float) -> np.ndarray[Any, Any]:
    """Random numbers, the same on every machine."""
    made = np.random.default_rng(round(seed * 1000)).random(shape) - 0.5
    return made.astype(np.float32)


def decoder(layers: int = 12, width: int = 96) -> Arrays:
    made: Arrays = {"embed.weight": noise((200, width), 0.37)}
    for i in range(layers):
        for at, name in enumerate(("q", "k", "v", "o")):
            made[f"layers.{i}.attn.{name}.weight"] = noise((width, width), 0.11 + i + at / 7)
        made[f"layers.{i}.mlp.up.weight"] = noise((2 * width, width), 0.23 + i)
        made[f"layers.{i}.mlp.up.bias"] = noise((2 * width,), 0.29 + i)
        made[f"layers.{i}.norm.weight"] = noise((width,), 0.31 + i)
    return {**made, "norm.weight": noise((width,), 0.41)}


def tuned() -> Arrays:
    """Later layers moved farther."""
    b = decoder()
    for key in b:
        if key.startswith("layers."):
            step = np.float32(1e-3 * (1 + int(key.split(".")[1])))
            b[key] = b[key] + step * noise(b[key].shape, 0.53)
    return b


def merged() -> Arrays:
    """A LoRA of rank 4 in q and v of every layer."""
    b = decoder()
    for key in b:
        if ".q." in key or ".v." in key:
            rows, columns = b[key].shape
            update = noise((rows, 4), 0.71).astype(np.float64) @ noise((4, columns), 0.83)
            b[key] = (b[key] + update).astype(np.float32)
    return b


def converted() -> Arrays:
    """Renamed, the norms' names apart, with rows of the embedding more and a head."""
    b = {key.replace("layers.", "model.h."): value for key, value in decoder().items()}
    b["embed.weight"] = np.vstack([b["embed.weight"], noise((8, 96), 0.61)])
    b["head.weight"] = noise((4, 96), 0.67)
    b["model.h.3.attn.q.weight"] = noise((96, 96), 0.91)
    return b


def damaged() -> Arrays:
    """NaN in one tensor, infinities in another."""
    b = decoder()
    b["embed.weight"][3, 5:9] = np.nan
    b["norm.weight"][2] = np.inf
    return b


def step() -> Arrays:
    """One of Adam's: every value by as much, to one side or the other."""
    a = decoder()
    signs = {key: np.sign(noise(value.shape, 0.97)) for key, value in a.items()}
    return {key: value - np.float32(1e-4) * signs[key] for key, value in a.items()}


CASES: dict[str, Arrays] = {
    "equal": decoder(),
    "tuned": tuned(),
    "merged": merged(),
    "cast": {key: value.astype(ml_dtypes.bfloat16) for key, value in decoder().items()},
    "step": step(),
    "converted": converted(),
    "damaged": damaged(),
}


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


def test_hostile_keys_are_shown_safely() -> None:
    a = {f"{HOSTILE}.{i}.w": np.full((2, 2), i + 1, np.float32) for i in range(3)}
    b = {key: value * 2 for key, value in a.items()} | {f"new.{HOSTILE}": np.ones(3, np.float32)}
    for verbose in (False, True):
        text = cs.diff(a, b).show(verbose=verbose)
        assert all(char.isprintable() or char == "\n" for char in text)
        assert len(text.splitlines()) < 40


def test_a_strip_is_in_the_order_of_layers() -> None:
    a = {f"layers.{i}.w": np.ones(4, np.float32) for i in (10, 2, 1, 0)}
    b = {key: value * np.float32(1 + int(key.split(".")[1])) for key, value in a.items()}
    line = next(one for one in cs.diff(a, b).show().splitlines() if "layers" in one)
    assert "▁▁▂█" in line or "▁▂█" in line


def test_unfinished_figures_are_null_in_json() -> None:
    told = cs.diff({"x": np.zeros(3, np.float32)}, {"x": np.ones(3, np.float32)}).to_dict()
    change = told["rows"][0]["change"]
    assert change["relative_l2"] is None
    assert change["cosine"] is None
    assert change["max_delta"] == 1


def test_counts_of_every_status_are_told() -> None:
    told = cs.diff(decoder(), converted()).to_dict()
    assert set(told["counts"]) == {status.value for status in Status}
    assert sum(one["tensors"] for one in told["counts"].values()) == len(told["rows"])
