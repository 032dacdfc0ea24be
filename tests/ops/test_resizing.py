"""Channels, position embeddings, patch embeddings, bias tables: as timm's, but for rounding.

The same holds for transformers, where it has another formula.
"""

from __future__ import annotations

import re

import pytest
import torch
from comparison import assert_rounded_alike
from ops.applying import applied, timm_module
from transformers import BeitConfig, ViTConfig
from transformers.models.beit.modeling_beit import BeitRelativePositionBias
from transformers.models.vit.modeling_vit import ViTEmbeddings

from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops import build
from ckptsurgeon.specs import TensorSpec

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
antialiased = pytest.mark.parametrize("antialias", [True, False])
every_mode = pytest.mark.parametrize("mode", ["bicubic", "bilinear"])


def random(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


# --- channels -------------------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("to", range(1, 10))
def test_input_channels_as_timm(dtype: torch.dtype, to: int) -> None:
    weight = random(8, 3, 7, 7, dtype=dtype)
    wanted = timm_module("timm.models._manipulate").adapt_input_conv(to, weight.clone())
    made = applied("adapt_input_channels", {"to": to}, weight)
    if to == 1:  # a sum of three
        assert_rounded_alike(made, wanted, 3, weight.float().abs().sum(1, keepdim=True))
    else:  # one product has one right answer
        assert torch.equal(made, wanted)


def test_input_channels_by_other_rules() -> None:
    weight = random(8, 3, 2, 2)
    mean = applied("adapt_input_channels", {"to": 5, "how": "mean"}, weight)
    torch.testing.assert_close(mean, weight.mean(1, keepdim=True).expand(-1, 5, -1, -1))
    zeros = applied("adapt_input_channels", {"to": 5, "how": "zeros"}, weight)
    assert torch.equal(zeros[:, :3], weight)
    assert not zeros[:, 3:].any()
    tiled = applied("adapt_input_channels", {"to": 1, "how": "tile"}, weight)
    assert torch.equal(tiled, weight[:, :1] * 3)


def test_input_channels_of_integers() -> None:
    weight = torch.tensor([[100, 20, 3]], dtype=torch.int8)
    assert applied("adapt_input_channels", {"to": 1}, weight).tolist() == [[123]]
    how = {"to": 4, "how": "zeros"}
    assert applied("adapt_input_channels", how, weight).tolist() == [[100, 20, 3, 0]]


# --- position embeddings --------------------------------------------------------------------------

SAMPLED = 64
"""Roundings of an item of a resized grid, each of the largest item's size.

Its place, of up to 14, is rounded, and a place's error becomes the weights'; then up to 16 products
on each side are added up.
"""


def assert_resized_alike(found: torch.Tensor, wanted: torch.Tensor, given: torch.Tensor) -> None:
    assert_rounded_alike(found, wanted, SAMPLED, given.float().abs().max())


@every_dtype
@antialiased
@every_mode
@pytest.mark.parametrize("prefix", [0, 1, 2])
@pytest.mark.parametrize(("old", "new"), [((7, 7), (12, 12)), ((14, 14), (7, 9)), ((4, 6), (6, 4))])
def test_positions_as_timm(
    dtype: torch.dtype,
    antialias: bool,
    mode: str,
    prefix: int,
    old: tuple[int, int],
    new: tuple[int, int],
) -> None:
    embedding = random(1, prefix + old[0] * old[1], 24, dtype=dtype)
    wanted = timm_module("timm.layers.pos_embed").resample_abs_pos_embed(
        embedding, list(new), list(old), prefix, mode, antialias
    )
    how = {"to": new, "grid": old, "prefix_tokens": prefix, "antialias": antialias, "mode": mode}
    made = applied("resize_pos_embed", how, embedding)
    assert_resized_alike(made, wanted, embedding)
    assert torch.equal(made[:, :prefix], embedding[:, :prefix])
    assert_resized_alike(applied("resize_pos_embed", how, embedding[0]), wanted[0], embedding)


@pytest.mark.parametrize("size", [96, 160, 224])
def test_positions_as_transformers(size: int) -> None:
    config = ViTConfig(image_size=128, patch_size=16, hidden_size=32)
    module = ViTEmbeddings(config)
    module.position_embeddings.data = random(1, 65, 32)
    tokens = 1 + (size // 16) ** 2
    wanted = module.interpolate_pos_encoding(torch.empty(1, tokens, 32), size, size)
    made = applied(
        "resize_pos_embed", {"to": tokens, "antialias": False}, module.position_embeddings.data
    )
    assert_resized_alike(made, wanted, module.position_embeddings)


@every_dtype
@antialiased
@every_mode
@pytest.mark.parametrize(("old", "new"), [((8, 8), (4, 4)), ((4, 6), (6, 4)), ((3, 3), (7, 2))])
def test_a_grid_of_positions_as_for_sam(
    dtype: torch.dtype, antialias: bool, mode: str, old: tuple[int, int], new: tuple[int, int]
) -> None:
    """What users of SAM do for another size of images (segment-anything#338)."""
    embedding = random(1, *old, 6, dtype=dtype)
    wanted = torch.nn.functional.interpolate(
        embedding.float().permute(0, 3, 1, 2), new, mode=mode, antialias=antialias
    )
    how = {"to": new, "antialias": antialias, "mode": mode}
    made = applied("resize_pos_embed", how, embedding)
    assert_resized_alike(made, wanted.permute(0, 2, 3, 1).to(dtype), embedding)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"to": 17}, "a grid has no number of tokens; give `to` as [height, width]"),
        ({"to": [2, 2], "prefix_tokens": 2}, "a grid has no prefix tokens, and `prefix_tokens` is"),
        ({"to": [2, 2], "grid": [8, 2]}, "`grid` is [8, 2], and the tensor's own [4, 4]; leave it"),
    ],
)
def test_what_a_grid_does_not_take(parameters: dict[str, object], words: str) -> None:
    with pytest.raises(ShapeError, match=re.escape(words)):
        applied("resize_pos_embed", parameters, random(1, 4, 4, 6))


def test_double_precision_is_kept() -> None:
    embedding = random(17, 8).double()
    made = applied("resize_pos_embed", {"to": [6, 6]}, embedding)
    single = applied("resize_pos_embed", {"to": [6, 6]}, embedding.float())
    assert made.dtype == torch.float64
    assert not torch.equal(made, single.double())
    torch.testing.assert_close(made, single.double(), atol=1e-5, rtol=1e-5)


# --- patch embeddings -----------------------------------------------------------------------------

INVERTED = 16 * 16
"""Roundings of an item of a resampled kernel, each of the largest item's size.

It is a product of so many terms with the pseudoinverse of a matrix of so many rows, whose singular
values, but for zeros, are within a factor of five.
"""


@every_dtype
@antialiased
@every_mode
@pytest.mark.parametrize("to", [(8, 8), (14, 14), (24, 24), (12, 20)])
def test_patches_as_timm(
    dtype: torch.dtype, antialias: bool, mode: str, to: tuple[int, int]
) -> None:
    weight = random(16, 3, 16, 16, dtype=dtype)
    wanted = timm_module("timm.layers.patch_embed").resample_patch_embed(
        weight, list(to), mode, antialias
    )
    how = {"to": to, "antialias": antialias, "mode": mode}
    made = applied("resample_patch_embed", how, weight)
    assert_rounded_alike(made, wanted, INVERTED, wanted.float().abs().max())


# --- tables of relative positions -----------------------------------------------------------------

WINDOWS = [(7, 12, 0), (12, 7, 0), (7, 14, 3), (14, 7, 3), (1, 4, 0)]


@every_dtype
@pytest.mark.parametrize(("old", "new", "extra"), WINDOWS)
def test_bias_tables_as_timm(dtype: torch.dtype, old: int, new: int, extra: int) -> None:
    timm = timm_module("timm.layers.pos_embed_rel")
    table = random((2 * old - 1) ** 2 + extra, 6, dtype=dtype)
    shape = ((2 * new - 1) ** 2 + extra, 6)
    wanted = timm.resize_rel_pos_bias_table(table, (new, new), shape)
    for to in (shape[0], [new, new]):
        made = applied("resize_rel_pos_bias", {"to": to}, table)
        assert_resized_alike(made, wanted, table)
        assert torch.equal(made[len(made) - extra :], table[len(table) - extra :])
    simple = timm.resize_rel_pos_bias_table_simple(table.float(), (new, new), shape).to(dtype)
    made = applied("resize_rel_pos_bias", {"to": shape[0], "how": "bicubic"}, table)
    assert_resized_alike(made, simple, table)


@pytest.mark.parametrize(("old", "new"), [((3, 7), (7, 4)), ((7, 7), (5, 12))])
def test_bias_tables_of_three_dims_as_timm(old: tuple[int, int], new: tuple[int, int]) -> None:
    timm = timm_module("timm.layers.pos_embed_rel")
    table, shape = random(4, 2 * old[0] - 1, 2 * old[1] - 1), (4, 2 * new[0] - 1, 2 * new[1] - 1)
    wanted = timm.resize_rel_pos_bias_table(table, new, shape)
    assert_resized_alike(applied("resize_rel_pos_bias", {"to": new}, table), wanted, table)
    simple = timm.resize_rel_pos_bias_table_simple(table, new, shape)
    made = applied("resize_rel_pos_bias", {"to": new, "how": "bicubic"}, table)
    assert_resized_alike(made, simple, table)


@pytest.mark.parametrize(("old", "new"), [(4, 6), (5, 3)])
def test_bias_tables_as_transformers(old: int, new: int) -> None:
    configs = (
        BeitConfig(image_size=16 * size, patch_size=16, num_attention_heads=3)
        for size in (old, new)
    )
    before, after = map(BeitRelativePositionBias, configs)
    table = random((2 * old - 1) ** 2 + 3, 3)
    before.relative_position_bias_table.data = table
    made = applied("resize_rel_pos_bias", {"to": [new, new], "how": "bilinear"}, table)
    after.relative_position_bias_table.data = made
    assert_resized_alike(after((new, new)), before((new, new)), table)


# --- the destination's sizes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("adapt_input_channels", (8, 3, 7, 7), (8, 4, 7, 7)),
        ("resize_pos_embed", (1, 50, 8), (1, 17, 8)),
        ("resize_pos_embed", (50, 8), (17, 8)),
        ("resize_pos_embed", (1, 7, 7, 8), (1, 4, 5, 8)),
        ("resample_patch_embed", (8, 3, 16, 16), (8, 3, 14, 12)),
        ("resize_rel_pos_bias", (169, 4), (529, 4)),
        ("resize_rel_pos_bias", (172, 4), (532, 4)),
        ("resize_rel_pos_bias", (4, 13, 13), (4, 23, 7)),
    ],
)
def test_an_op_is_fitted_to_what_is_wanted(
    name: str, given: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    specs, goal = (TensorSpec("F32", given),), TensorSpec("F32", wanted)
    op = build(name, {})
    assert op.lacks_size
    fitted = op.fitted(goal)
    assert fitted.infer(specs) == (goal,)
    assert not fitted.lacks_size
    assert op.fitted(TensorSpec("F32", ())) == op
