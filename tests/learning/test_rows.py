"""Orders of rows at real sizes: named by an op where one makes them, else listed; never lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ckptsurgeon as cs

RNG = np.random.default_rng(3)

Arrays = dict[str, np.ndarray]
"""Tensors by their keys."""


def fused(heads: int, head_dim: int, width: int = 4) -> Arrays:
    return {"qkv.weight": RNG.random((3 * heads * head_dim, width), np.float32)}


def turned(rows: np.ndarray, heads: int) -> np.ndarray:
    """transformers' order of rotary rows, of those that lie by pairs."""
    pairs = rows.reshape(heads, -1, 2, rows.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)


def per_head(source: Arrays, heads: int) -> Arrays:
    rows = source["qkv.weight"].reshape(heads, 3, -1, source["qkv.weight"].shape[1])
    return {
        f"{name}.weight": rows[:, at].reshape(-1, rows.shape[-1]) for at, name in enumerate("qkv")
    }


def flat(source: Arrays, heads: int) -> Arrays:
    parts = np.split(source["qkv.weight"], 3)
    return {f"{name}.weight": part for name, part in zip("qkv", parts, strict=True)}


def with_rope(convert: Callable[[Arrays, int], Arrays]) -> Callable[[Arrays, int], Arrays]:
    def converted(source: Arrays, heads: int) -> Arrays:
        made = convert(source, heads)
        return {key: one if key[0] == "v" else turned(one, heads) for key, one in made.items()}

    return converted


def transposed(convert: Callable[[Arrays, int], Arrays]) -> Callable[[Arrays, int], Arrays]:
    def converted(source: Arrays, heads: int) -> Arrays:
        return convert({key: one.T.copy() for key, one in source.items()}, heads)

    return converted


@pytest.mark.parametrize("head_dim", [33, 64])
def test_fused_heads_of_many_rows_are_found(head_dim: int) -> None:
    source = fused(8, head_dim)
    found = cs.learn(source, per_head(source, 8))
    assert "{split_qkv: {layout: per_head, heads: heads}}" in found.text()


@pytest.mark.parametrize("cut", [flat, per_head])
@pytest.mark.parametrize("is_turned", [False, True])
def test_parts_that_other_ops_follow_hold_at_another_size(cut: Any, is_turned: bool) -> None:
    convert = with_rope(cut)
    sides = [fused(4, 6), fused(6, 8)]
    if is_turned:
        convert = transposed(convert)
        sides = [{key: one.T.copy() for key, one in side.items()} for side in sides]
    found = cs.learn(sides[0], convert(sides[0], 4))
    assert "take" not in found.text()
    made, _ = cs.apply(sides[1], found.rules, variables={"head_dim": 8})
    wanted = convert(sides[1], 6)
    assert all(np.array_equal(made[key], wanted[key]) for key in wanted)


def test_chosen_rows_are_one_list() -> None:
    """A vocabulary of which 300 tokens are kept, in an order of its own."""
    rows = RNG.permutation(1000)[:300]
    source = {"embed": RNG.random((1000, 4), np.float32)}
    found = cs.learn(source, {"embed": source["embed"][rows]})
    assert found.text().count("take") == 2  # the rule, and that its indices were seen once
    assert f"take: [{', '.join(map(str, rows[:4]))}" in found.text()


def test_every_third_of_a_dim_is_a_number_that_was_seen_once() -> None:
    """Where nothing takes the other parts, they may be as many as this size has."""
    source = {"w": RNG.random((24, 4), np.float32)}
    found = cs.learn(source, {"w": source["w"].reshape(4, 3, 2, 4)[:, 1].reshape(8, 4)})
    assert "t 3" in found.once


def grouped(heads: int, kv_heads: int) -> tuple[Arrays, Arrays]:
    sizes = [4 * heads, 4 * kv_heads, 4 * kv_heads]
    source = {"qkv.weight": RNG.random((sum(sizes), 6), np.float32)}
    parts = np.split(source["qkv.weight"], np.cumsum(sizes[:2]))
    return source, {f"{name}.weight": part for name, part in zip("qkv", parts, strict=True)}


def test_a_ratio_of_heads_is_no_number_of_heads() -> None:
    found = cs.learn(*grouped(6, 2), examples=[grouped(8, 4)])
    quotient = "config.num_attention_heads // config.num_key_value_heads"
    assert f"group: {quotient}  # 3 and 2 in the examples" in found.text()
    source, wanted = grouped(12, 3)
    config = {"num_attention_heads": 12, "num_key_value_heads": 3}
    made, _ = cs.apply(source, found.rules, config=config)
    assert all(np.array_equal(made[key], wanted[key]) for key in wanted)


def test_sources_of_other_sizes_tell_what_is_constant() -> None:
    def stem(channels: int) -> tuple[Arrays, Arrays]:
        source = {"stem": RNG.random((8, channels, 3, 3), np.float32)}
        return source, {"stem": source["stem"][:, :3].copy()}

    assert cs.learn(*stem(5)).once == ("[:, :3]",)
    assert cs.learn(*stem(5), examples=[stem(7)]).once == ()


def test_a_tensor_under_its_own_name_is_sure_whatever_else_has_its_values() -> None:
    source = {f"bn{at}.num_batches_tracked": np.int64(7) for at in range(3)}
    source |= {f"bn{at}.weight": RNG.random(8, np.float32) for at in range(3)}
    found = cs.learn(source, dict(source))
    assert (found.likely, found.exit_code) == ((), 0)
