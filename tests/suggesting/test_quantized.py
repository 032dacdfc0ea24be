"""Quantized weights beside their scales: no suggestion that is sure gives their values alone."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

import ckptsurgeon as cs
from ckptsurgeon.report.advice import advise

Tensors = dict[str, torch.Tensor]

F8, BF16, F32 = torch.float8_e4m3fn, torch.bfloat16, torch.float32

torch.manual_seed(5)

SHAPES = {"attn.q_a": (300, 200), "attn.kv_b": (128, 256), "mlp.down": (200, 130)}
"""Some of whole blocks, and some whose last ones are cut off."""


def scales(rows: int, columns: int, block: int) -> torch.Tensor:
    return torch.rand(-(-rows // block), -(-columns // block)) + 0.5


def quantized(end: str, block: int = 128, dtype: torch.dtype = F8) -> Tensors:
    """Two layers, each weight with its scale beside it, and norms that have none."""
    found: Tensors = {}
    for number in (0, 1):
        for name, (rows, columns) in SHAPES.items():
            module = f"model.layers.{number}.{name}_proj"
            found[f"{module}.weight"] = (10 * torch.randn(rows, columns)).to(dtype)
            found[f"{module}.{end}"] = scales(rows, columns, block)
        found[f"model.layers.{number}.norm.weight"] = torch.randn(200, dtype=BF16)
    return found


def scaled(weight: torch.Tensor, scale: torch.Tensor, block: int = 128) -> torch.Tensor:
    """Each item times the scale of its block."""
    rows, columns = weight.shape[-2:]
    spread = scale.repeat_interleave(block, -2).repeat_interleave(block, -1)
    return weight.to(F32) * spread[..., :rows, :columns]


def whole(source: Tensors, end: str, block: int = 128, dtype: torch.dtype = BF16) -> Tensors:
    """The same with the scales worked into the weights."""
    weights = {key: one for key, one in source.items() if key.endswith(".weight")}
    found = dict(weights)
    for key, weight in weights.items():
        scale = source.get(f"{key.removesuffix('weight')}{end}")
        if scale is not None:
            found[key] = scaled(weight, scale, block).to(dtype)
    return found


def blank(tensors: Tensors) -> Tensors:
    return {key: torch.zeros_like(one) for key, one in tensors.items()}


def is_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one.to(F32), other.to(F32))


def check(source: Tensors, wanted: Tensors) -> cs.Suggestion:
    """The suggestion, of which all is given, and right."""
    found = cs.suggest(source, blank(wanted))
    assert not found.open, found.text()
    made, _ = cs.apply(source, found.rules, blank(wanted))
    wrong = [key for key, one in wanted.items() if not is_equal(made[key], one)]
    assert not wrong, found.text()
    return found


def renamed(tensors: Tensors) -> Tensors:
    return {
        key.replace("model.layers", "blocks").replace("mlp", "ffn"): one
        for key, one in tensors.items()
    }


@pytest.mark.parametrize("dtype", [BF16, F32, torch.float16])
def test_scales_of_blocks_are_worked_into_the_weights(dtype: torch.dtype) -> None:
    source = quantized("weight_scale_inv")
    wanted = whole(source, "weight_scale_inv", dtype=dtype)
    for target in (wanted, renamed(wanted)):
        found = check(source, target)
        assert set(found.sure) == set(target)
        lines = [line for line in found.text().splitlines() if "dequantize_blocks" in line]
        assert len(lines) == 2, "one rule for all layers of the attention, and one for the MLP"


@pytest.mark.parametrize(
    ("end", "block"),
    [("weight_scale", 128), ("scale", 128), ("scales", 128), ("weight_scale_inv", 64)],
)
def test_scales_of_other_names_and_sizes_are_to_be_checked(end: str, block: int) -> None:
    source = quantized(end, block)
    found = check(source, whole(source, end, block))
    assert {key for key in found.sure if "proj" in key} == set()
    assert f"# CHECK: {end} is taken for what blocks of {block} x {block}" in found.text()


class Other(NamedTuple):
    """A scale that isn't one of blocks: its name, its shape, and the dtype of its weight."""

    end: str
    shape: tuple[int, ...]
    dtype: torch.dtype = F8


OTHERS = (
    Other("weight_scale", ()),
    Other("weight_scale", (1,)),
    Other("weight_scale", (300,)),
    Other("weight_scale", (300, 1)),
    Other("scales", (300, 25)),
    Other("scale_weight", ()),
    Other("weight_scale_inv", ()),
    Other("weight_scale_inv", (2, 3)),
    Other("weight_scale_inv", (3, 2), torch.int8),
    Other("scale", (300,), torch.int8),
    Other("SCB", (300,), torch.int8),
    Other("weight_amax", ()),
)


@pytest.mark.parametrize("other", OTHERS, ids=str)
@pytest.mark.parametrize("to", ["model.fc.weight", "backbone.fc.weight"])
def test_other_scales_leave_their_weights_open(other: Other, to: str) -> None:
    weight = torch.zeros(300, 200).to(other.dtype)
    source = {"model.fc.weight": weight, f"model.fc.{other.end}": torch.ones(other.shape)}
    found = cs.suggest(source, {to: torch.zeros(300, 200, dtype=BF16)})
    assert found.open[to].startswith("quantized: "), found.text()
    named = "dequantize_blocks" in found.open[to]
    assert named == (other.end not in ("SCB", "weight_amax")), found.open[to]


def test_one_number_for_each_weight_is_to_be_checked() -> None:
    source = {"fc.weight": torch.randn(100, 60).to(F8), "fc.weight_scale_inv": torch.rand(1, 1)}
    found = check(source, whole(source, "weight_scale_inv"))
    assert found.likely == ("fc.weight",)


@pytest.mark.parametrize("end", ["_scale_inv", "_scale", "_blockscale"])
def test_scales_of_parameters_are_those_of_their_names(end: str) -> None:
    """Of stacked experts, which are no modules of their own."""
    key = "layers.0.experts.gate_up_proj"
    source = {key: torch.randn(3, 256, 200).to(F8), f"{key}{end}": torch.rand(3, 2, 2)}
    wanted = {key: scaled(source[key], source[f"{key}{end}"]).to(BF16)}
    if end == "_blockscale":
        assert "quantized" in cs.suggest(source, blank(wanted)).open[key]
    else:
        assert (key in check(source, wanted).sure) == (end == "_scale_inv")


def test_experts_are_dequantized_before_they_are_stacked() -> None:
    source: Tensors = {}
    for number in range(3):
        module = f"layers.0.mlp.experts.{number}.down_proj"
        source[f"{module}.weight"] = torch.randn(200, 300).to(F8)
        source[f"{module}.weight_scale_inv"] = scales(200, 300, 128)
    parts = whole(source, "weight_scale_inv")
    check(source, {"layers.0.mlp.experts.down_proj": torch.stack(list(parts.values()))})


def test_fused_parts_are_dequantized_before_they_are_split() -> None:
    parts = {f"h.0.attn.{part}_proj.weight": torch.randn(128, 200).to(F8) for part in "qkv"}
    rows = {key: scales(128, 200, 128) for key in parts}
    wanted = {key: scaled(one, rows[key]).to(BF16) for key, one in parts.items()}
    joined = torch.cat([one.to(F32) for one in parts.values()]).to(F8)
    name = "h.0.attn.qkv_proj.weight"
    source = {name: joined, f"{name}_scale_inv": torch.cat(list(rows.values()))}
    assert not check(source, wanted).sure


def test_ranks_are_dequantized_before_they_are_joined() -> None:
    """A rank of 100 rows has a block of its own, where a whole of 200 has two of 128 and 72."""
    name = "h.0.attn.v_proj.weight"
    sources = {
        f"tp{rank}": {name: torch.randn(100, 256).to(F8), f"{name}_scale_inv": torch.rand(1, 2)}
        for rank in (0, 1)
    }
    parts = [scaled(one[name], one[f"{name}_scale_inv"]) for one in sources.values()]
    wanted = {name: torch.cat(parts).to(BF16)}
    found = cs.suggest(None, blank(wanted), sources=sources)
    made, _ = cs.apply(None, found.rules, blank(wanted), sources=sources)
    assert found.likely == (name,)
    assert torch.equal(made[name], wanted[name])


def test_one_that_is_no_block_makes_none_of_its_kind_sure() -> None:
    source = quantized("weight_scale_inv")
    source["model.layers.1.mlp.down_proj.weight_scale_inv"] = torch.ones(3, 3)
    target = whole(quantized("weight_scale_inv"), "weight_scale_inv")
    found = cs.suggest(source, target)
    assert {key for key in target if "proj" in key} == set(found.open)


def test_scales_that_a_rule_took_are_still_beside_their_weights() -> None:
    source = quantized("weight_scale_inv")
    target = renamed(whole(source, "weight_scale_inv"))
    rules = {"format": 1, "rules": [{"drop": "**.weight_scale_inv"}]}
    found = advise(cs.plan(source, rules, target)).suggestion
    assert found is not None
    assert {key for key in target if "proj" in key} <= set(found.open)


@pytest.mark.parametrize("to", ["model.layers", "blocks"])
def test_a_weight_that_lacks_its_scale_beside_others_is_open(to: str) -> None:
    source = quantized("weight_scale_inv")
    key = "model.layers.1.attn.q_a_proj.weight"
    wanted = {
        name.replace("model.layers", to): one
        for name, one in whole(source, "weight_scale_inv").items()
    }
    del source[f"{key}_scale_inv"]
    found = cs.suggest(source, blank(wanted))
    lost = key.replace("model.layers", to)
    assert tuple(found.open) == (lost,), found.text()
    assert "isn't beside it" in found.open[lost]
    assert set(found.sure) == set(wanted) - {lost}
    with pytest.raises(cs.FindingsError):
        cs.apply(source, found.rules, blank(wanted))


@pytest.mark.parametrize("end", ["weight_scale_inv", "weight_scale", "scales"])
def test_weights_whose_scales_stand_elsewhere_are_open(end: str) -> None:
    source = quantized(end)
    wanted = whole(source, end)
    moved = {f"scales.{key}" if key.endswith(end) else key: one for key, one in source.items()}
    found = cs.suggest(moved, blank(wanted))
    assert {key for key in wanted if "proj" in key} == set(found.open), found.text()


def test_float8_without_any_scale_is_copied() -> None:
    """As files are that were cast; CLIP's `logit_scale` is the scale of no weight."""
    source = {"clip.fc.weight": torch.randn(64, 32).to(F8), "clip.logit_scale": torch.ones(())}
    wanted = {key: one.to(BF16) for key, one in source.items()}
    assert set(cs.suggest(source, blank(wanted)).sure) == set(wanted)


def test_a_weight_without_a_scale_on_both_sides_is_copied() -> None:
    source = quantized("weight_scale_inv")
    del source["model.layers.1.attn.q_a_proj.weight_scale_inv"]
    assert set(cs.suggest(source, blank(source)).sure) == set(source)


# --- the other way --------------------------------------------------------------------------------


def test_what_gets_scales_is_quantized_and_to_be_checked() -> None:
    target = quantized("weight_scale_inv")
    source = whole(target, "weight_scale_inv")
    found = cs.suggest(source, target)
    assert {key for key in found.sure if "proj" in key} == set()
    assert "# CHECK: its values are rounded to F8_E4M3, with a scale for each block" in found.text()
    made, _ = cs.apply(source, found.rules, target)
    for key, weight in source.items():
        scale = made.get(key.replace(".weight", ".weight_scale_inv"))
        given = made[key].to(F32) if scale is None else scaled(made[key], scale)
        assert torch.allclose(given, weight.to(F32), rtol=0.1, atol=0.1), key


@pytest.mark.parametrize(
    ("end", "shape", "dtype"),
    [
        ("weight_scale", (), F8),
        ("weight_scale", (300,), F8),
        ("weight_scale_inv", (3, 2), torch.int8),
    ],
)
@pytest.mark.parametrize("own", [BF16, F8])
def test_other_scales_of_the_destination_leave_their_weights_open(
    end: str, shape: tuple[int, ...], dtype: torch.dtype, own: torch.dtype
) -> None:
    source = {"fc.weight": torch.zeros(300, 200).to(own)}
    target = {"fc.weight": torch.zeros(300, 200).to(dtype), f"fc.{end}": torch.ones(shape)}
    found = cs.suggest(source, target)
    assert not found.sure
    assert "quantize_blocks" in found.open["fc.weight"]


def test_weights_that_keep_their_scales_are_moved_with_them() -> None:
    source = quantized("weight_scale_inv")
    assert set(cs.suggest(source, source).sure) == set(source)
    target = {key.replace("model.", "backbone."): one for key, one in source.items()}
    assert "_blocks" not in check(source, target).text()
