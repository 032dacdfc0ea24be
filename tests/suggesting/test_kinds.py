"""What is suggested for each kind of difference: the lines of the file, and what is left open."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import ckptsurgeon as cs

Shapes = dict[str, tuple[int, ...]]


class Row(NamedTuple):
    """Two headers, lines that the file has, and target keys that are open."""

    title: str
    source: Shapes
    target: Shapes
    lines: tuple[str, ...]
    open: tuple[str, ...] = ()


def batchnorm(prefix: str, width: int = 4) -> Shapes:
    leaves = ("weight", "bias", "running_mean", "running_var")
    return {f"{prefix}.{leaf}": (width,) for leaf in leaves} | {f"{prefix}.num_batches_tracked": ()}


def layers(form: str, count: int, shapes: Shapes, first: int = 0) -> Shapes:
    return {
        f"{form.format(number)}{key}": shape
        for number in range(first, first + count)
        for key, shape in shapes.items()
    }


STEM: Shapes = {"stem.weight": (4, 3, 3, 3), "stem.bias": (4,)}
BLOCK: Shapes = {"attn.q.weight": (4, 4), "attn.k.weight": (4, 4), "mlp.fc1.weight": (8, 4)}
NET: Shapes = {"conv1.weight": (4, 3, 3, 3), "layer.conv.weight": (4, 4, 1, 1), "fc.weight": (9, 4)}


def under(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + key: shape for key, shape in shapes.items()}


TABLE = (
    Row("equal names need no rules", STEM, STEM, ("rules: []",)),
    Row("a wrapper", under("module.", STEM), STEM, ("source: {strip: ['module.']}", "rules: []")),
    Row(
        "torch.compile of parts",
        {f"a._orig_mod.{key}": shape for key, shape in NET.items()},
        under("a.", NET),
        ("source: {strip: [anywhere: ['_orig_mod']]}",),
    ),
    Row(
        "slashes",
        {key.replace(".", "/"): shape for key, shape in NET.items()},
        NET,
        ("source: {separator: /}",),
    ),
    Row("a prefix", under("backbone.", NET), NET, ("  - backbone.** -> **",)),
    Row(
        "a twin that follows",
        under("model.", NET) | under("ema.", NET),
        NET,
        ("  # CHECK: ema.** has weights for these, too", "  - model.** -> **"),
    ),
    Row(
        "teacher and student",
        under("teacher.", NET) | under("student.", NET),
        NET,
        ("  # - keep: '**'  # student.** or teacher.**?",),
        tuple(NET),
    ),
    Row(
        "two towers",
        NET,
        under("online.", NET) | under("target.", NET),
        ("  # CHECK: the same weights a second time",),
    ),
    Row(
        "query, key and value to one",
        layers("h.{}.attn.", 3, {f"{part}.weight": (4, 4) for part in "qkv"}),
        layers("h.{}.attn.", 3, {"qkv.weight": (12, 4)}),
        ("  - h.<i>.attn.<p:q|k|v>.weight -> h.<i>.attn.qkv.weight: concat",),
    ),
    Row(
        "one to query, key and value",
        layers("h.{}.attn.", 3, {"qkv.weight": (12, 4)}),
        layers("h.{}.attn.", 3, {f"{part}.weight": (4, 4) for part in "qkv"}),
        ("  - h.<i>.attn.qkv.weight -> h.<i>.attn.<p:q|k|v>.weight: split",),
    ),
    Row(
        "head by head",
        layers("h.{}.attn.", 2, {"query_key_value.weight": (12, 4)}),
        layers("h.{}.attn.", 2, {f"{part}_proj.weight": (4, 4) for part in "qkv"}),
        (),
        tuple(f"h.{at}.attn.{part}_proj.weight" for at in range(2) for part in "qkv"),
    ),
    Row(
        "gamma and beta",
        STEM | layers("n.{}.norm.", 4, {"gamma": (4,), "beta": (4,)}),
        STEM | layers("n.{}.norm.", 4, {"weight": (4,), "bias": (4,)}),
        ("  - n.<i>.norm.<t:gamma=weight|beta=bias> -> n.<i>.norm.<t>",),
    ),
    Row(
        "a kernel",
        STEM | {"dense.kernel": (12, 6), "dense.bias": (6,)},
        STEM | {"dense.weight": (6, 12), "dense.bias": (6,)},
        ("  - dense.kernel -> dense.weight: transpose",),
    ),
    Row(
        "linear layers and 1x1 convolutions",
        STEM | layers("ffn.{}.", 3, {"weight": (8, 4)}),
        STEM | layers("ffn.{}.", 3, {"weight": (8, 4, 1, 1)}),
        ("  - ffn.<i>.weight -> ffn.<i>.weight: {rearrange: 'a b -> a b 1 1'}",),
    ),
    Row(
        "one number becomes a scalar",
        STEM | {"a.scale": (1,)},
        STEM | {"b.scale": ()},
        ("  - a.scale -> b.scale: {rearrange: '1 -> '}",),
    ),
    Row(
        "a scalar becomes one number",
        STEM | {"a.scale": ()},
        STEM | {"b.scale": (1,)},
        ("  - a.scale -> b.scale: {rearrange: ' -> 1'}",),
    ),
    Row(
        "weight norm to the weight",
        STEM | {"c.weight_g": (4, 1, 1), "c.weight_v": (4, 3, 3)},
        STEM | {"c.weight": (4, 3, 3)},
        ("  - c.weight_<w:g|v> -> c.weight: fuse_weight_norm",),
    ),
    Row(
        "weight norm in torch's new names",
        STEM | layers("up.{}.", 3, {"weight_g": (4, 1, 1), "weight_v": (4, 3, 3)}),
        STEM
        | layers("up.{}.parametrizations.weight.original", 3, {"0": (4, 1, 1), "1": (4, 3, 3)}),
        ("  - up.<i>.weight_<w:g=0|v=1> -> up.<i>.parametrizations.weight.original<w>",),
    ),
    Row(
        "spectral norm",
        {"c.weight_orig": (4, 3), "c.weight_u": (4,), "c.weight_v": (3,), "c.bias": (4,)},
        {"c.weight": (4, 3), "c.bias": (4,)},
        (),
        ("c.weight",),
    ),
    Row(
        "LoRA beside a layer",
        {
            "m.q.base_layer.weight": (4, 4),
            "m.q.lora_A.d.weight": (2, 4),
            "m.q.lora_B.d.weight": (4, 2),
        },
        {"m.q.weight": (4, 4)},
        (),
        ("m.q.weight",),
    ),
    Row(
        "a BatchNorm that is folded",
        STEM | {"c.conv.weight": (4, 4, 3, 3)} | batchnorm("c.bn"),
        STEM | {"c.conv.weight": (4, 4, 3, 3), "c.conv.bias": (4,)},
        ("  - fold_batchnorm: {conv: c.conv, batchnorm: c.bn}",),
    ),
    Row(
        "BatchNorms, of which it isn't clear which",
        {"a.weight": (4, 4, 3, 3), "b.weight": (4, 4, 3, 3)} | batchnorm("x") | batchnorm("y"),
        {"a.weight": (4, 4, 3, 3), "a.bias": (4,), "b.weight": (4, 4, 3, 3), "b.bias": (4,)},
        ("unmatched: error",),
        ("a.weight", "a.bias", "b.weight", "b.bias"),
    ),
    Row(
        "a gray stem",
        {"conv1.weight": (4, 3, 7, 7), **STEM},
        {"conv1.weight": (4, 1, 7, 7), **STEM},
        ("  - conv1.weight -> conv1.weight: {adapt_input_channels: 1}",),
    ),
    Row(
        "channels that nobody knows",
        {"conv1.weight": (4, 13, 7, 7), **STEM},
        {"conv1.weight": (4, 12, 7, 7), **STEM},
        (),
        ("conv1.weight",),
    ),
    Row(
        "a grid of another size",
        {"cls_token": (1, 1, 4), "pos_embed": (1, 10, 4), **STEM},
        {"cls_token": (1, 1, 4), "pos_embed": (1, 17, 4), **STEM},
        ("  - pos_embed -> pos_embed: {resize_pos_embed: [4, 4]}",),
    ),
    Row(
        "a longer table of positions",
        {"position_embeddings.weight": (16, 4), **STEM},
        {"position_embeddings.weight": (24, 4), **STEM},
        (),
        ("position_embeddings.weight",),
    ),
    Row(
        "another head",
        STEM | {"classifier.weight": (12, 4), "classifier.bias": (12,)},
        STEM | {"head.weight": (5, 4), "head.bias": (5,)},
        (),
        ("head.weight", "head.bias"),
    ),
    Row(
        "more layers here than there",
        layers("blocks.{}.", 6, BLOCK),
        layers("blocks.{}.", 3, BLOCK),
        ("unmatched: error",),
        tuple(layers("blocks.{}.", 3, BLOCK)),
    ),
    Row(
        "layers that are counted from one",
        layers("h.{}.", 3, BLOCK),
        layers("h.{}.", 3, BLOCK, first=1),
        ("  - h.<i>.** -> h.<i+1>.**",),
    ),
    Row(
        "experts",
        layers("m.{}.", 2, layers("experts.{}.", 4, {"w2.weight": (4, 6)})),
        layers("m.{}.", 2, {"experts.down_proj": (4, 4, 6)}),
        ("  - m.<i>.experts.<e>.w2.weight -> m.<i>.experts.down_proj: stack",),
    ),
    Row(
        "matrices that are turned, and a square",
        layers("h.{}.", 2, {"fc.weight": (4, 12), "proj.weight": (4, 4)}),
        layers("h.{}.", 2, {"fc.weight": (12, 4), "proj.weight": (4, 4)}),
        ("  - h.<i>.proj.weight -> h.<i>.proj.weight: transpose",),
    ),
    Row(
        "rotary rows",
        layers("l.{}.", 2, {"attention.wq.weight": (4, 4), "attention.wv.weight": (4, 4)}),
        layers("l.{}.", 2, {"self_attn.q_proj.weight": (4, 4), "self_attn.v_proj.weight": (4, 4)}),
        (),
        ("l.0.self_attn.q_proj.weight", "l.1.self_attn.q_proj.weight"),
    ),
    Row(
        "counters and position ids",
        STEM | {"e.position_ids": (1, 8)},
        STEM | {"bn.num_batches_tracked": ()},
        ("  - drop: e.position_ids", "  - keep: bn.num_batches_tracked"),
    ),
)


def filled(shapes: Shapes) -> dict[str, np.ndarray]:  # type: ignore[type-arg]  # of any dtype
    return {key: np.zeros(shape, np.float32) for key, shape in shapes.items()}


@pytest.mark.parametrize("row", TABLE, ids=[row.title for row in TABLE])
def test_what_is_suggested(row: Row) -> None:
    found = cs.suggest(filled(row.source), filled(row.target))
    lines = [line.strip() for line in found.text().splitlines()]
    assert [line for line in row.lines if line.strip() not in lines] == [], found.text()
    assert tuple(key for key in row.target if key in found.open) == row.open, found.text()
    assert found.exit_code == bool(found.open or found.unused)


@pytest.mark.parametrize("row", TABLE, ids=[row.title for row in TABLE])
def test_a_suggested_file_plans(row: Row) -> None:
    found = cs.suggest(filled(row.source), filled(row.target))
    plan = cs.plan(filled(row.source), found.rules, filled(row.target))
    assert bool(plan.open_findings) == bool(found.open or found.unused)


RANKS = {
    "r0": {"fc.weight": (4, 6), "proj.weight": (6, 4), "norm.weight": (6,)},
    "r1": {"fc.weight": (4, 6), "proj.weight": (6, 4), "norm.weight": (6,)},
}


def test_ranks_are_joined_in_the_dim_that_adds_up() -> None:
    target = {"fc.weight": (8, 6), "proj.weight": (6, 8), "norm.weight": (6,)}
    sources = {alias: filled(shapes) for alias, shapes in RANKS.items()}
    found = cs.suggest(None, filled(target), sources=sources)
    text = found.text()
    assert "- r<n>::fc.weight -> fc.weight: concat\n" in text
    assert "- r<n>::proj.weight -> proj.weight: {concat: 1}\n" in text
    assert "- r<n>::norm.weight -> norm.weight: same\n" in text
    assert not found.open


def test_runs_of_one_network_are_asked_about() -> None:
    sources = {f"run{number}": filled(NET) for number in range(3)}
    found = cs.suggest(None, filled(NET), sources=sources)
    assert set(found.open.values()) == {"all sources have it: one of them, or their average?"}


def test_parts_of_a_checkpoint_are_taken_together() -> None:
    one, other = {"a.weight": (4, 4)}, {"b.weight": (4, 3)}
    found = cs.suggest(None, filled(one | other), sources={"p0": filled(one), "p1": filled(other)})
    assert not found.open
    assert found.exit_code == 0


def test_only_sure_rules_are_written_where_nothing_less_is_asked_for() -> None:
    row = next(row for row in TABLE if row.title == "a twin that follows")
    found = cs.suggest(filled(row.source), filled(row.target), least="sure")
    assert not found.likely
    assert set(found.open) == set(row.target)
