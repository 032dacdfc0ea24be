"""What looks alike and is another: it is likely at most, or a question, never sure."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ckptsurgeon as cs
from ckptsurgeon.suggesting.matching import count_pairs

Shapes = dict[str, tuple[int, ...]]


def filled(shapes: Shapes) -> dict[str, np.ndarray]:
    return {key: np.zeros(shape, np.float32) for key, shape in shapes.items()}


def suggest(source: Shapes, target: Shapes) -> cs.Suggestion:
    return cs.suggest(filled(source), filled(target))


def tower(prefix: str, width: int = 8) -> Shapes:
    shapes: Shapes = {}
    for number in (0, 1):
        for part in "qkvo":
            shapes[f"{prefix}layers.{number}.attn.{part}.weight"] = (width, width)
        shapes[f"{prefix}layers.{number}.mlp.fc1.weight"] = (2 * width, width)
        shapes[f"{prefix}layers.{number}.mlp.fc2.weight"] = (width, 2 * width)
        shapes[f"{prefix}layers.{number}.norm.weight"] = (width,)
    return shapes


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("encoder.", "decoder."),
        ("vision_model.encoder.", "text_model.encoder."),
        ("policy.", "value."),
        ("query_encoder.", "passage_encoder."),
    ],
)
def test_one_network_is_not_surely_another(one: str, other: str) -> None:
    assert not suggest(tower(one), tower(other)).sure


@pytest.mark.parametrize(
    ("one", "other"), [("model.", ""), ("", "backbone."), ("bert.", "model.bert.")]
)
def test_a_prefix_around_all_is_sure(one: str, other: str) -> None:
    assert set(suggest(tower(one), tower(other)).sure) == set(tower(other))


def gated(names: tuple[str, str, str], form: str) -> Shapes:
    shapes = ((12, 8), (12, 8), (8, 12))
    return {
        f"{form.format(number)}.{name}.weight": shape
        for number in (0, 1)
        for name, shape in zip(names, shapes, strict=True)
    }


@pytest.mark.parametrize("names", [("fc_1", "fc_2", "proj"), ("linear1", "linear2", "linear3")])
def test_numbered_layers_of_a_gated_mlp_are_not_sure(names: tuple[str, str, str]) -> None:
    target = gated(("gate_proj", "up_proj", "down_proj"), "model.layers.{}.mlp")
    assert not suggest(gated(names, "transformer.h.{}.mlp"), target).sure


def test_a_square_is_doubted_where_others_beside_it_are_turned() -> None:
    experts = {
        f"mlp.experts.{e}.{w}_proj.weight": (8, 8) for e in range(4) for w in ("gate", "up", "down")
    }
    target = {"mlp.experts.gate_up_proj": (4, 8, 16), "mlp.experts.down_proj": (4, 8, 8)}
    assert not suggest(experts, target).sure
    assert not suggest({"p.weight": (8, 8)}, {"p.kernel": (8, 8)}).sure


def test_a_head_whose_name_stays_is_not_surely_the_other() -> None:
    source = {"fc.weight": (5, 8), "fc.bias": (5,), "b.x": (3, 3)}
    target = {
        "fc.weight": (7, 8),
        "fc.bias": (7,),
        "fc_aux.weight": (5, 8),
        "fc_aux.bias": (5,),
        "b.x": (3, 3),
    }
    assert set(suggest(source, target).sure) <= {"b.x"}


def test_rows_of_another_attention_may_be_in_another_order() -> None:
    def llama(form: str, attention: str) -> Shapes:
        shapes: Shapes = {"embed_tokens.weight": (40, 16)}
        for number in (0, 1):
            for part in ("q", "k", "v"):
                shapes[f"{form.format(number)}.{attention}.{part}_proj.weight"] = (16, 16)
        return shapes

    found = suggest(llama("layers.{}", "self_attn"), llama("layers.{}", "attn"))
    assert "rotary rows: as they are, or by permute_rope" in found.text()
    assert {key for key in found.likely if "q_proj" in key or "k_proj" in key} == {
        f"layers.{number}.attn.{part}_proj.weight" for number in (0, 1) for part in "qk"
    }


@pytest.mark.parametrize("key", ["rope.freqs", "attn.bias", "attn.mask"])
def test_what_may_be_trained_is_no_buffer(key: str) -> None:
    fc: Shapes = {"fc.weight": (8, 8)}
    found = suggest({**fc, key: (1, 7, 7)}, fc)
    assert set(found.unused) == {key}
    assert set(suggest(fc, {**fc, key: (1, 7, 7)}).open) == {key}


def test_an_unreadable_namesake_is_not_replaced() -> None:
    source = {"a.weight": torch.eye(4).to_sparse(), "b.weight": torch.zeros(4, 4)}
    found = cs.suggest(source, {"a.weight": torch.zeros(4, 4)})
    assert found.open == {"a.weight": "the source's can't be read"}
    found = cs.suggest({"b.weight": torch.zeros(4, 4)}, {**source})
    assert found.exit_code == 1


def test_many_names_that_share_nothing_are_left_open() -> None:
    def network(letter: str) -> Shapes:
        return {f"{letter}{chr(97 + n % 26)}{chr(97 + n // 26)}.w": (3,) for n in range(400)}

    source, target = network("x"), network("y")
    specs = [cs.inspect(filled(one)).specs for one in (source, target)]
    assert count_pairs(*specs) == 400 * 400
    found = suggest(source, target)
    assert len(found.open) == 400


def test_a_stem_under_another_name_is_adapted() -> None:
    body: Shapes = {"body.a.weight": (4, 4, 3, 3), "body.b.weight": (8, 4, 1, 1)}
    found = suggest(
        {"conv1.weight": (4, 3, 7, 7), **body}, {"stem.conv.weight": (4, 5, 7, 7), **body}
    )
    assert "- conv1.weight -> stem.conv.weight: {adapt_input_channels: 5}" in found.text()
    assert found.likely == ("stem.conv.weight",)


def test_a_norm_of_another_layer_is_not_sure() -> None:
    def net(prefix: str, layers: tuple[str, ...], size: int) -> Shapes:
        shapes: Shapes = {}
        for layer in layers:
            shapes[f"{prefix}.{layer}.weight"] = (4, size, 3, 3)
            shapes |= {f"{prefix}.{layer}.norm.{leaf}": (4,) for leaf in ("weight", "bias")}
        return shapes

    source = net("net.res.1", ("shortcut",), 2) | {"net.linear.weight": (7, 4)}
    target = net("model.res.0", ("conv1",), 6) | {"model.linear.weight": (7, 4)}
    assert not any("norm" in key for key in suggest(source, target).sure)


SQUARES: Shapes = {"h.0.alpha6.weight": (2, 2), "h.0.alpha7.weight": (2, 2)}

TURNED: tuple[Shapes, Shapes] = (
    {"h.0.alpha9.weight": (8, 2), "h.0.alpha9.bias": (8,), "h.0.alpha8.weight": (2, 8)},
    {"h.0.alpha9.weight": (2, 8), "h.0.alpha9.bias": (8,)},
)
"""What stands turned under its own name, and what has its shape as it is."""


def test_squares_beside_one_that_stands_turned_are_not_sure() -> None:
    found = suggest({**SQUARES, **TURNED[0]}, {**SQUARES, **TURNED[1]})
    assert SQUARES.keys().isdisjoint(found.sure)


def test_a_key_whose_name_another_is_given_holds_nothing_back() -> None:
    norms: Shapes = {"h.0.norm.weight": (2,), "h.0.norm.bias": (2,)}
    found = suggest({**norms, **TURNED[0]}, {**norms, **TURNED[1]})
    assert norms.keys() <= set(found.sure)


def test_a_norm_is_no_network() -> None:
    """Two towers of the target's own are told from norms that are alike."""
    norm: Shapes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (4,))
    network = {
        f"delta.{number}.{module}.{leaf}": shape
        for number in (0, 1)
        for module in ("alpha_2", "bravo_3", "cargo_4")
        for leaf, shape in norm.items()
    }
    twice = {f"{one}.{key}": shape for one in ("target", "model") for key, shape in network.items()}
    del twice["model.delta.1.alpha_2.weight"]
    assert not suggest(network, twice).sure


def test_a_convolution_with_a_norm_is_no_network() -> None:
    """Two of the target's own are told from two that a block of the source has."""
    norm: Shapes = {f"norm.{leaf}": (2,) for leaf in ("weight", "bias", "mean", "var")}
    convolution: Shapes = {"weight": (2, 2, 3, 3), **norm}
    modules = [
        "stem.conv1",
        *(f"res2.{number}.conv{part}" for number in range(3) for part in (1, 2)),
    ]
    network = {f"{one}.{key}": shape for one in modules for key, shape in convolution.items()}
    network |= {f"res2.0.shortcut.{key}": shape for key, shape in norm.items()}
    source = {key: shape for key, shape in network.items() if key != "res2.0.conv2.weight"}
    target = {
        f"{tower}.net.{key}": shape
        for tower in ("teacher", "model")
        for key, shape in network.items()
        if key != "res2.0.conv1.weight"
    }
    assert not suggest(source, target).sure


def test_holes_of_both_sides_are_not_filled_from_each_other() -> None:
    shapes: Shapes = {"attention.output.dense.weight": (4, 4), "output.dense.weight": (4, 4)}
    source = {f"a.layer.{n}.{key}": shape for n in range(4) for key, shape in shapes.items()}
    target = {f"b.layer.{n}.{key}": shape for n in range(4) for key, shape in shapes.items()}
    del source["a.layer.2.output.dense.weight"]
    del target["b.layer.2.attention.output.dense.weight"]
    assert "b.layer.2.output.dense.weight" not in suggest(source, target).sure


def test_one_of_two_tied_tensors_is_enough() -> None:
    embedding = torch.ones(20, 8)
    source = {**filled(tower("h.")), "wte.weight": embedding, "lm_head.weight": embedding}
    target = {**filled(tower("h.")), "emb.weight": np.ones((20, 8), np.float32)}
    found = cs.suggest(source, target)
    assert not found.open
    assert not found.unused
    assert "- wte.weight -> emb.weight\n  - drop: lm_head.weight\n" in found.text()


def test_a_twin_of_a_whole_network_is_one_question() -> None:
    shapes: Shapes = {"head.weight": (5, 16), "head.bias": (5,)}
    for number, width in ((0, 8), (1, 8), (3, 16), (4, 16)):
        shapes |= {f"backbone.{number}.weight": (width,), f"backbone.{number}.bias": (width,)}
    twins = ("model.module.", "ema_model.module.")
    source = {f"{twin}{key}": shape for twin in twins for key, shape in shapes.items()}
    text = suggest(source, shapes).text()
    assert "  - model.module.** -> **\n  # - drop: ema_model.module.**" in text


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ({"mixer.A_log": (8, 4)}, {"mixer.A": (8, 4)}),
        ({"attention.qkv_proj.weight": (12, 4)}, {"attn.qkv.weight": (12, 4)}),
        ({"ffn.up_gate_proj.weight": (16, 4)}, {"ffn.gate_up_proj.weight": (16, 4)}),
        ({"up.conv_transpose.kernel": (2, 2, 8, 4)}, {"up.conv_transpose.weight": (8, 4, 2, 2)}),
        ({"linear.w": (4, 4)}, {"linear.weight": (4, 4)}),
    ],
    ids=["a logarithm", "fused rows", "gate and up", "a turned kernel", "Haiku's squares"],
)
def test_what_names_don_t_say_is_not_sure(source: Shapes, target: Shapes) -> None:
    sides = [
        {f"h.{at}.{key}": shape for at in (0, 1) for key, shape in side.items()}
        for side in (source, target)
    ]
    assert not suggest(*sides).sure


def test_a_pyramid_may_be_counted_from_its_top() -> None:
    source: Shapes = {}
    target: Shapes = {}
    for at in range(4):
        for own, to in (("out_conv", "projection"), ("unit.conv1", "residual.convolution1")):
            source |= {
                f"refinenet{at + 1}.{own}.weight": (8, 8, 3, 3),
                f"refinenet{at + 1}.{own}.bias": (8,),
            }
            target |= {
                f"fusion.layers.{at}.{to}.weight": (8, 8, 3, 3),
                f"fusion.layers.{at}.{to}.bias": (8,),
            }
    assert not suggest(source, target).sure


@pytest.mark.parametrize("word", ["visual", "critic", "value", "teacher", "ema"])
def test_one_network_of_several_is_not_surely_another(word: str) -> None:
    assert not suggest(tower(f"{word}."), tower("model.")).sure
    assert not suggest(tower("model."), tower(f"{word}.")).sure


def test_a_network_beside_its_average_is_not_surely_meant() -> None:
    assert not suggest({**tower(""), **tower("ema.")}, tower("model.")).sure


def test_ranks_of_a_gated_layer_are_not_surely_joined() -> None:
    rank: Shapes = {"h.0.mlp.dense_h_to_4h.weight": (16, 8), "h.0.mlp.dense_4h_to_h.weight": (8, 8)}
    whole: Shapes = {
        "h.0.mlp.dense_h_to_4h.weight": (32, 8),
        "h.0.mlp.dense_4h_to_h.weight": (8, 16),
    }
    found = cs.suggest(None, filled(whole), sources={"r0": filled(rank), "r1": filled(rank)})
    assert "h.0.mlp.dense_h_to_4h.weight" in found.likely
