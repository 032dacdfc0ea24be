"""permute_rope against transformers' formula, split_qkv and fuse_qkv against plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops import build
from ckptsurgeon.specs import TensorSpec

Array = np.ndarray[Any, Any]


def matrix(rows: int, *rest: int) -> Array:
    return np.arange(rows * int(np.prod(rest)), dtype="<u4").reshape(rows, *rest)


def run(name: str, parameters: dict[str, Any], *arrays: Array) -> list[Array]:
    specs = tuple(TensorSpec("F32", array.shape) for array in arrays)
    return list(build(name, parameters).apply(arrays, specs))


def as_transformers(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """`permute` of transformers' convert_llama_weights_to_hf."""
    rows, columns = weight.shape
    grid = weight.view(heads, rows // heads // 2, 2, columns)
    return grid.transpose(1, 2).reshape(rows, columns)


@pytest.mark.parametrize(("heads", "head_dim"), [(8, 4), (2, 4), (1, 8), (3, 2)])
def test_rope_to_half_as_transformers(heads: int, head_dim: int) -> None:
    weight = matrix(heads * head_dim, 5)
    (result,) = run("permute_rope", {"head_dim": head_dim, "to": "half"}, weight)
    wanted = as_transformers(torch.from_numpy(weight.astype("i8")), heads)
    assert result.tolist() == wanted.tolist()


def test_rope_is_per_head_whatever_the_number_of_heads() -> None:
    """With grouped queries q has 8 heads and k has 2: both take the head's size."""
    for rows in (32, 8):
        (result,) = run("permute_rope", {"head_dim": 4, "to": "half"}, np.arange(rows, dtype="u4"))
        heads = [[start, start + 2, start + 1, start + 3] for start in range(0, rows, 4)]
        assert result.tolist() == [row for head in heads for row in head]


def test_rope_leaves_the_rows_that_do_not_turn() -> None:
    bias = np.arange(12, dtype="u4")
    how = {"head_dim": 6, "rotary_dim": 4}
    (half,) = run("permute_rope", {**how, "to": "half"}, bias)
    assert half.tolist() == [0, 2, 1, 3, 4, 5, 6, 8, 7, 9, 10, 11]
    (back,) = run("permute_rope", {**how, "to": "interleaved"}, half)
    assert back.tolist() == bias.tolist()


@pytest.mark.parametrize(
    "parameters",
    [
        {"head_dim": 4, "rotary_dim": 3},
        {"head_dim": 4, "rotary_dim": 6},
        {"head_dim": 4, "rotary_dim": 0},
        {"head_dim": 3},
        {"head_dim": 0},
        {"head_dim": -4},
    ],
)
def test_rope_refuses_heads_that_do_not_turn(parameters: dict[str, int]) -> None:
    with pytest.raises(ShapeError, match="must be"):
        build("permute_rope", {**parameters, "to": "half"})


def fused_rows(layout: str, heads: int, kv_heads: int, head_dim: int) -> list[tuple[str, int, int]]:
    """For each fused row the projection, the head and the row in the head that it belongs to."""
    group = heads // kv_heads
    if layout == "flat":
        wide = [("q", heads), ("k", kv_heads), ("v", kv_heads)]
        return [(p, h, d) for p, n in wide for h in range(n) for d in range(head_dim)]
    if layout == "per_head":
        return [(p, h, d) for h in range(heads) for p in "qkv" for d in range(head_dim)]
    if layout == "megatron_v1":
        return [(p, h, d) for h in range(heads) for d in range(head_dim) for p in "qkv"]
    rows = []
    for g in range(kv_heads):
        members = [("q", g * group + n) for n in range(group)] + [("k", g), ("v", g)]
        rows += [(p, h, d) for p, h in members for d in range(head_dim)]
    return rows


LAYOUTS = [
    ("flat", 4, 4),
    ("flat", 6, 2),
    ("flat", 6, 1),
    ("per_head", 4, 4),
    ("per_group", 4, 4),
    ("per_group", 6, 2),
    ("per_group", 5, 1),
    ("megatron_v1", 4, 4),
]


@pytest.mark.parametrize("rest", [(), (5,), (2, 3), (0,)])
@pytest.mark.parametrize(("layout", "heads", "kv_heads"), LAYOUTS)
def test_qkv_layouts_as_plain_loops(
    layout: str, heads: int, kv_heads: int, rest: tuple[int, ...]
) -> None:
    rows = fused_rows(layout, heads, kv_heads, head_dim=3)
    weight = matrix(len(rows), *rest)
    parameters = {"layout": layout, "heads": heads, "kv_heads": kv_heads}
    parts = run("split_qkv", parameters, weight)
    for name, part in zip("qkv", parts, strict=True):
        places = sorted((head, at, row) for row, (p, head, at) in enumerate(rows) if p == name)
        assert part.tolist() == weight[[row for _, _, row in places]].tolist()
    (fused,) = run("fuse_qkv", parameters, *parts)
    assert fused.tolist() == weight.tolist()


def test_the_layouts_of_one_shape_all_differ() -> None:
    """A flat three-way split of per-head rows passes every shape check, and is wrong."""
    weight = np.arange(12, dtype="u4")
    firsts = {
        layout: run("split_qkv", {"layout": layout, "heads": 2}, weight)[0].tolist()
        for layout in ("flat", "per_head", "per_group", "megatron_v1")
    }
    assert firsts == {
        "flat": [0, 1, 2, 3],
        "per_head": [0, 1, 6, 7],
        "per_group": [0, 1, 6, 7],
        "megatron_v1": [0, 3, 6, 9],
    }


def test_a_flat_third_needs_no_heads() -> None:
    parts = run("split_qkv", {"layout": "flat"}, np.arange(9, dtype="u4"))
    assert [part.tolist() for part in parts] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"layout": "per_head", "heads": 0}, "`heads` must be 1 or more"),
        ({"layout": "flat", "heads": 4, "kv_heads": 0}, "`kv_heads` must be 1 or more"),
        ({"layout": "per_head"}, "layout per_head needs `heads`"),
        ({"layout": "flat", "kv_heads": 2}, "layout flat needs `heads`"),
        ({"layout": "per_group", "heads": 2, "kv_heads": 3}, "don't divide into 3 groups"),
        ({"layout": "per_head", "heads": 4, "kv_heads": 2}, "per_group is the one with fewer"),
        ({"layout": "megatron_v1", "heads": 4, "kv_heads": 2}, "per_group is the one with fewer"),
        ({"layout": "per_heads", "heads": 4}, "did you mean 'per_head'"),
        ({"heads": 4}, "needs `layout`"),
    ],
)
@pytest.mark.parametrize("name", ["split_qkv", "fuse_qkv"])
def test_heads_that_do_not_fit_are_refused(
    name: str, parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(ShapeError, match=words):
        build(name, parameters)


def test_fused_rows_must_have_the_heads_that_were_said() -> None:
    op = build("fuse_qkv", {"layout": "flat", "heads": 4, "kv_heads": 2})
    specs = tuple(TensorSpec("F32", (rows, 3)) for rows in (6, 3, 3))
    with pytest.raises(ShapeError, match="12 rows don't divide into 4 \\+ 2 \\* 2 heads"):
        op.infer(specs)
    specs = tuple(TensorSpec("F32", (rows, 3)) for rows in (12, 2, 2))
    with pytest.raises(ShapeError, match="have 12, 2 and 2 rows; 8, 4 and 4 would fit"):
        op.infer(specs)
