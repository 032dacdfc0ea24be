"""Tensor-parallel ranks of fused layers: each is split, and the parts are joined over the ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from known_conversions.judge import ALL

import ckptsurgeon as cs

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]

values = np.random.default_rng(7)


def fresh(*shape: int) -> Array:
    return values.random(shape).astype(np.float32)


def fused(parts: Sequence[Array], ranks: int, dim: int = 0) -> list[Array]:
    """What each rank has: its part of each, in one tensor."""
    cut = [np.split(one, ranks, dim) for one in parts]
    return [np.concatenate(of_rank, dim) for of_rank in zip(*cut, strict=True)]


class Layer(NamedTuple):
    """The parts of a layer in one tensor, beside one that shares their inputs among the ranks."""

    title: str
    name: str
    parts: Mapping[str, tuple[int, ...]]
    behind: tuple[str, tuple[int, ...]]
    dim: int = 0


LAYERS = (
    Layer(
        "grouped queries",
        "attn.qkv_proj.weight",
        {
            "attn.q_proj.weight": (16, 12),
            "attn.k_proj.weight": (8, 12),
            "attn.v_proj.weight": (8, 12),
        },
        ("attn.o_proj.weight", (12, 16)),
    ),
    Layer(
        "heads of their own",
        "attn.qkv.weight",
        {f"attn.{part}.weight": (12, 12) for part in "qkv"},
        ("attn.o.weight", (12, 12)),
    ),
    Layer(
        "gate and up",
        "mlp.gate_up_proj.weight",
        {"mlp.gate_proj.weight": (20, 12), "mlp.up_proj.weight": (20, 12)},
        ("mlp.down_proj.weight", (12, 20)),
    ),
    Layer(
        "up and gate",
        "mlp.up_gate_proj.weight",
        {"mlp.up_proj.weight": (20, 12), "mlp.gate_proj.weight": (20, 12)},
        ("mlp.down_proj.weight", (12, 20)),
    ),
    Layer(
        "keys and values",
        "attn.kv_proj.weight",
        {"attn.k_proj.weight": (8, 12), "attn.v_proj.weight": (8, 12)},
        ("attn.o_proj.weight", (12, 16)),
    ),
    Layer(
        "in by out",
        "attn.c_attn.weight",
        {f"attn.{part}.weight": (12, 24) for part in "qkv"},
        ("attn.c_proj.weight", (24, 12)),
        1,
    ),
)


def ranks_of(layer: Layer, count: int) -> tuple[dict[str, Arrays], Arrays, Arrays]:
    """The ranks, what they are with their parts apart, and with them in one."""
    parts = {f"h.0.{key}": fresh(*shape) for key, shape in layer.parts.items()}
    behind, shape = layer.behind
    other = fresh(*shape)
    of_ranks = fused(list(parts.values()), count, layer.dim)
    others = np.split(other, count, 1 - layer.dim)
    pairs = enumerate(zip(of_ranks, others, strict=True))
    sources = {
        f"tp{rank}": {f"h.0.{layer.name}": one, f"h.0.{behind}": its} for rank, (one, its) in pairs
    }
    whole = {f"h.0.{layer.name}": np.concatenate(list(parts.values()), layer.dim)}
    beside = {f"h.0.{behind}": other}
    return sources, {**parts, **beside}, {**whole, **beside}


def blank(arrays: Arrays) -> Arrays:
    return {key: np.zeros_like(array) for key, array in arrays.items()}


def check(sources: dict[str, Arrays], wanted: Arrays) -> cs.Suggestion:
    found = cs.suggest(None, blank(wanted), sources=sources)
    made, _ = cs.apply(None, found.rules, blank(wanted), sources=sources, allow=ALL)
    wrong = [key for key, array in wanted.items() if not np.array_equal(made[key], array)]
    assert not wrong, found.text()
    return found


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("layer", LAYERS, ids=[layer.title for layer in LAYERS])
def test_the_whole_is_joined_part_by_part(layer: Layer, count: int) -> None:
    sources, _, whole = ranks_of(layer, count)
    assert f"h.0.{layer.name}" in check(sources, whole).likely


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("layer", LAYERS[:5], ids=[layer.title for layer in LAYERS[:5]])
def test_parts_that_stand_apart_are_joined_one_by_one(layer: Layer, count: int) -> None:
    sources, parts, _ = ranks_of(layer, count)
    assert {f"h.0.{key}" for key in layer.parts} <= set(check(sources, parts).likely)


def test_parts_of_transposed_layers_are_joined_one_by_one() -> None:
    sources, parts, _ = ranks_of(LAYERS[5], 2)
    turned = {key: array.T.copy() for key, array in parts.items() if "c_proj" not in key}
    check(sources, turned)


def test_the_rules_are_those_that_people_write() -> None:
    sources, parts, whole = ranks_of(LAYERS[0], 2)
    assert (
        "- tp<n>::h.<i>.attn.qkv_proj.weight -> h.<i>.attn.<p:q|k|v>_proj.weight: "
        "[{split: {sizes: [8, 4, 4], over: p}}, {concat: {over: n}}]"
    ) in check(sources, parts).text()
    assert (
        "- tp<n>::h.<i>.attn.qkv_proj.weight -> h.<i>.attn.qkv_proj.weight: "
        "[{split: {sizes: [8, 4, 4], over: part}}, {concat: {over: n}}, {concat: {over: part}}]"
    ) in check(sources, whole).text()


def test_biases_go_as_their_weights() -> None:
    parts = {"q": fresh(16), "k": fresh(8), "v": fresh(8)}
    weights = {"q": fresh(16, 12), "k": fresh(8, 12), "v": fresh(8, 12)}
    pairs = zip(fused(list(weights.values()), 2), fused(list(parts.values()), 2), strict=True)
    sources = {
        f"rank{rank}": {"attn.qkv_proj.weight": weight, "attn.qkv_proj.bias": bias}
        for rank, (weight, bias) in enumerate(pairs)
    }
    wanted = {f"attn.{part}_proj.weight": array for part, array in weights.items()}
    wanted |= {f"attn.{part}_proj.bias": array for part, array in parts.items()}
    check(sources, wanted)


def test_stacked_experts_are_cut_inside() -> None:
    parts = [fresh(4, 10, 6), fresh(4, 10, 6)]
    down = fresh(4, 6, 10)
    pairs = zip(fused(parts, 2, 1), np.split(down, 2, 2), strict=True)
    sources = {
        f"rank{rank}": {"experts.w13_weight": one, "experts.w2_weight": its}
        for rank, (one, its) in enumerate(pairs)
    }
    found = check(
        sources, {"experts.w13_weight": np.concatenate(parts, 1), "experts.w2_weight": down}
    )
    assert "experts.w13_weight" in found.likely


@pytest.mark.parametrize(
    ("shapes", "target"),
    [
        ({"attn.qkv.weight": (16, 12)}, {"attn.qkv.weight": (32, 12)}),
        (
            {"mixer.in_proj.weight": (40, 12), "mixer.out_proj.weight": (12, 12)},
            {"mixer.in_proj.weight": (80, 12), "mixer.out_proj.weight": (12, 24)},
        ),
        ({"attn.qkv.weight": (16, 16)}, {"attn.q.weight": (16, 16), "attn.kv.weight": (16, 16)}),
    ],
    ids=["sizes that nothing tells", "Mamba's, which are of other sizes", "keys and values in one"],
)
def test_what_nothing_tells_is_open(shapes: dict[str, Any], target: dict[str, Any]) -> None:
    rank = {key: fresh(*shape) for key, shape in shapes.items()}
    wanted = {key: fresh(*shape) for key, shape in target.items()}
    found = cs.suggest(None, wanted, sources={"r0": rank, "r1": rank})
    first = next(iter(target))
    assert "each rank has" in found.open[first], found.text()


def test_rows_head_by_head_are_joined_as_they_are() -> None:
    rank = {"attn.query_key_value.weight": fresh(12, 8)}
    wanted = {"attn.query_key_value.weight": fresh(24, 8)}
    found = cs.suggest(None, wanted, sources={"r0": rank, "r1": rank})
    assert found.likely
    assert found.text().rstrip().endswith("attn.query_key_value.weight: concat")


def test_what_the_next_layer_takes_is_no_gate() -> None:
    """The rows of a layer whose columns are joined are as many as they are in each rank."""
    rank = {"attn.o_proj.weight": fresh(16, 8), "attn.v_proj.weight": fresh(8, 16)}
    wanted = {"attn.o_proj.weight": fresh(16, 16), "attn.v_proj.weight": fresh(16, 16)}
    text = cs.suggest(None, wanted, sources={"r0": rank, "r1": rank}).text()
    assert "each rank" not in text


def two(name: str, shape: tuple[int, ...], parts: int = 2, dim: int = 0) -> dict[str, list[Array]]:
    """A layer of so many equal parts, as two ranks have it, and behind these the whole."""
    made = [fresh(*shape) for _ in range(parts)]
    return {name: [*fused(made, 2, dim), np.concatenate(made, dim)]}


BESIDE: tuple[tuple[str, dict[str, list[Array]]], ...] = (
    (
        "its bias",
        {
            **two("mlp.linear_fc1.weight", (20, 12)),
            **two("mlp.linear_fc1.bias", (20,)),
            **two("mlp.linear_fc2.weight", (12, 20), 1, 1),
        },
    ),
    (
        "diffusers' GEGLU",
        {**two("ff.net.0.proj.weight", (20, 12)), **two("ff.net.2.weight", (12, 20), 1, 1)},
    ),
    (
        "Megatron's experts",
        {
            **two("mlp.experts.linear_fc1.weight0", (20, 12)),
            **two("mlp.experts.linear_fc2.weight0", (12, 20), 1, 1),
        },
    ),
    (
        "in-by-out kernels",
        {**two("mlp.fc1.kernel", (12, 20), 2, 1), **two("mlp.fc2.kernel", (20, 12), 1)},
    ),
    (
        "Conv1D",
        {**two("mlp.c_fc.weight", (12, 20), 2, 1), **two("mlp.c_proj.weight", (20, 12), 1)},
    ),
    *(
        (
            f"stacked {one}",
            {
                **two(f"mlp.experts.{one}", (3, 20, 12), 2, 1),
                **two(f"mlp.experts.{other}", (3, 12, 20), 1, 2),
            },
        )
        for one, other in (("w1", "w2"), ("fc1", "fc2"), ("weight1", "weight2"))
    ),
    *(
        (
            f"three in {name}",
            {
                **two(f"attn.{name}.weight", (12, 12), 3),
                **two(f"attn.{name}.bias", (12,), 3),
                **two("attn.o_proj.weight", (12, 12), 1, 1),
            },
        )
        for name in ("fused_dims", "att_proj", "kvq")
    ),
)


def of_ranks(layers: Mapping[str, list[Array]]) -> tuple[dict[str, Arrays], Arrays]:
    whole = {f"h.0.{key}": one[2] for key, one in layers.items()}
    ranks = ({f"h.0.{key}": one[rank] for key, one in layers.items()} for rank in (0, 1))
    return dict(zip(("r0", "r1"), ranks, strict=True)), whole


@pytest.mark.parametrize("layers", [one for _, one in BESIDE], ids=[title for title, _ in BESIDE])
def test_what_gives_more_than_the_next_takes_is_joined_by_part(
    layers: dict[str, list[Array]],
) -> None:
    sources, whole = of_ranks(layers)
    assert next(iter(whole)) in check(sources, whole).likely


def joins(shapes: Mapping[str, tuple[int, ...]], dims: Mapping[str, int]) -> cs.Suggestion:
    """What is suggested for two ranks of such tensors, joined in these dims, and a norm of both."""
    layers = {key: two(key, shape, 1, dims[key])[key] for key, shape in shapes.items()}
    sources, whole = of_ranks(layers)
    return check(sources, whole)


@pytest.mark.parametrize(
    "name",
    [
        *("mixer.conv1d.weight", "mixer.dt_bias", "lstm.weight_ih_l0", "lstm.bias_ih_l0"),
        *("attn.qkvg.weight", "attn.qk.weight", "attn.q_gate.weight", "conv.weight"),
        *("mlp.wi.weight", "mlp.fc1.bias", "single.linear1.weight", "attn.proj.weight"),
    ],
)
def test_what_no_name_tells_to_be_one_layer_is_to_be_checked(name: str) -> None:
    shape = (16,) if "bias" in name else (16, 12)
    found = joins({name: shape, "norm.weight": (12, 8)}, {name: 0, "norm.weight": 0})
    assert f"h.0.{name}" in found.likely
    assert "its name doesn't tell whether it is fused" in found.text()


SINGLE = {
    "attn.q_proj": 0,
    "attn.wk": 0,
    "attention.self.value": 0,
    "attn.q_b_proj": 0,
    "attn.kv_b_proj": 0,
    "attn.o_proj": 1,
    "attention.wo": 1,
    "attn.proj": 1,
    "mlp.gate_proj": 0,
    "mlp.up_proj": 0,
    "mlp.down_proj": 1,
    "embed_tokens": 0,
    "lm_head": 0,
    "output": 0,
}
"""Layers that are one by their names, and the dims that ranks share."""


@pytest.mark.parametrize("name", SINGLE)
def test_a_layer_that_is_one_by_its_name_is_sure(name: str) -> None:
    key = f"{name}.weight"
    found = joins({key: (16, 12)}, {key: SINGLE[name]})
    assert found.sure == (f"h.0.{key}",), found.text()


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("mlp.fc1", "mlp.fc2"),
        ("mlp.linear_fc1", "mlp.linear_fc2"),
        ("intermediate.dense", "output.dense"),
        ("feed_forward.w1", "feed_forward.w2"),
    ],
)
def test_what_gives_as_much_as_the_next_takes_is_one(first: str, last: str) -> None:
    shapes = {f"{first}.weight": (20, 12), f"{first}.bias": (20,), f"{last}.weight": (12, 20)}
    dims = {f"{first}.weight": 0, f"{first}.bias": 0, f"{last}.weight": 1}
    assert not joins(shapes, dims).likely


def test_a_layer_that_takes_what_several_give_is_to_be_checked() -> None:
    """Flux's, of which each rank takes its part of attention and of the MLP."""
    shapes = {"single.linear1.weight": (64, 8), "single.linear2.weight": (8, 40)}
    found = joins(shapes, {"single.linear1.weight": 0, "single.linear2.weight": 1})
    assert not found.sure


def test_the_next_layer_is_none_of_another_mlp() -> None:
    """The shared expert takes twice what another does, which is what gate and up are in one."""
    shapes = {"experts.fc1.weight": (40, 12), "shared_experts.down_proj.weight": (12, 40)}
    found = joins(
        {f"mlp.{key}": shape for key, shape in shapes.items()},
        {f"mlp.{key}": dim for key, dim in zip(shapes, (0, 1), strict=True)},
    )
    assert found.likely == ("h.0.mlp.experts.fc1.weight",)
