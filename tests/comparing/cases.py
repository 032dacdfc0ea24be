"""What people do to checkpoints: a network, and what comes of it, by name."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

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
