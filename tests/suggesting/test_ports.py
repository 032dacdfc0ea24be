"""Ports between codebases whose names mislead: what is sure of them is right, value for value."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

import ckptsurgeon as cs

Arrays = dict[str, np.ndarray]
Port = tuple[Arrays, Arrays]
"""A source, and what is right in the destination."""

WIDTH = 16


def numbered() -> Iterator[float]:
    return iter(np.arange(1.0, 1e4))


def rename(form: str, to: str, names: dict[str, str], items: int = 2) -> Port:
    """Blocks of `form` that become those of `to`, each tensor filled with a number of its own."""
    source, right, number = {}, {}, numbered()
    for item in range(items):
        for own, other in names.items():
            vector = "norm" in own or own.endswith("bias")
            shape = (WIDTH,) if vector else (24, WIDTH) if "linear1" in own else (WIDTH, WIDTH)
            value = np.full(shape, next(number))
            source[f"{form.format(item)}.{own}"] = value
            right[f"{to.format(item)}.{other}"] = value
    return source, right


def weights(**names: str) -> dict[str, str]:
    return {f"{own}.weight": f"{to}.weight" for own, to in names.items()}


def decoder(**norms: str) -> Port:
    names = {
        "self_attn.out_proj.weight": "self_attn.out_proj.weight",
        "cross_attn.output_proj.weight": "encoder_attn.output_proj.weight",
        "linear1.weight": "fc1.weight",
        **weights(**norms),
    }
    return rename("transformer.decoder.layers.{}", "decoder.layers.{}", names)


def swapped_in_place() -> Port:
    """Wan's blocks in diffusers' names: norm2 and norm3 change places under one name."""
    names = weights(norm1="norm1", norm3="norm2", norm2="norm3", cross_attn="attn2", ffn="ff.net")
    return rename("blocks.{}", "blocks.{}", names)


def experts() -> Port:
    """gpt-oss: experts are stacked [experts, in, out], and those of `down_proj` are squares."""
    random = np.random.default_rng(0)
    source, right = {}, {}
    for name, columns in (("gate_up_proj", 2 * WIDTH), ("down_proj", WIDTH)):
        source[f"mlp.experts.{name}"] = random.random((4, WIDTH, columns))
        for at, expert in enumerate(source[f"mlp.experts.{name}"]):
            right[f"mlp.experts.{at}.{name}.weight"] = expert.T.copy()
    return source, right


def downsampling() -> Port:
    """What stands at the end of a stage there stands at the begin of the next one here."""
    source, right, number = {}, {}, numbered()
    for stage in range(4):
        for block in (0, 1):
            value = np.full((WIDTH, WIDTH, 3, 3), next(number))
            source[f"enc.stage{stage + 1}.{block}.conv.weight"] = value
            right[f"encoder.stages.{stage}.blocks.{block}.conv.weight"] = value
        if stage < 3:
            value = np.full((WIDTH, WIDTH, 2, 2), next(number))
            source[f"enc.stage{stage + 1}.down.weight"] = value
            right[f"encoder.stages.{stage + 1}.down.weight"] = value
    return source, right


def counted_from_the_top() -> Port:
    source, right = {}, {}
    for at in range(4):
        value = np.full((WIDTH, WIDTH, 3, 3), at + 1.0)
        source[f"decoder.stages.{at}.conv.weight"] = value
        source[f"decoder.stages.{at}.out.weight"] = value + 10
        right[f"dec.blocks.{3 - at}.conv.weight"] = value
        right[f"dec.blocks.{3 - at}.out.weight"] = value + 10
    return source, right


def last_layers() -> Port:
    """Layers 1 and 2, where the destination has 0 and 1."""
    names = weights(qkv="qkv", linear1="linear1", norm="norm")
    source, right = rename("model.layers.{}", "h.{}", names, items=3)
    held = {key: value for key, value in source.items() if ".0." not in key}
    wanted = {key: value for key, value in right.items() if ".2." not in key}
    return held, {key: value * (".1." in key) for key, value in wanted.items()}


def rotary_beside(extra: Arrays) -> Port:
    """Meta's rows for transformers', beside positions of another tower."""
    names = {f"attention.w{part}.weight": f"self_attn.{part}_proj.weight" for part in "qkvo"}
    source, right = rename("text_model.layers.{}", "model.language_model.layers.{}", names)
    for key, value in source.items():
        value += np.arange(WIDTH)[:, None] / 100
        if ".wq." in key or ".wk." in key:
            to = key.replace("text_model", "model.language_model")
            to = to.replace("attention.w", "self_attn.").replace(".weight", "_proj.weight")
            halves = value.reshape(4, 2, 2, WIDTH).swapaxes(1, 2)
            right[to] = halves.reshape(value.shape)
    return {**source, **extra}, right


def decoder_of_both() -> Port:
    """The decoder of a network without its name, where the encoder's names fit better."""
    rest = {"linear1": "linear1", "linear2": "linear2", "norm": "norm"}
    own = {f"attn.{part}": "" for part in "qkvo"} | rest
    names = {f"self_attn.{part}": f"attn.{part}" for part in "qkvo"} | rest
    cross = {f"cross_attn.{part}": "" for part in "qkvo"}
    encoder, _ = rename("encoder.layers.{}", "", weights(**own))
    source, right = rename("decoder.layers.{}", "layers.{}", weights(**names))
    beside, _ = rename("decoder.layers.{}", "", weights(**cross))
    return {**{key: -value for key, value in encoder.items()}, **source, **beside}, right


def holes(source: dict[str, int], target: str) -> Port:
    """Parts of networks, where nothing that is left over is the one that is wanted."""
    filled = {key: np.full(size, at + 1.0) for at, (key, size) in enumerate(source.items())}
    return filled, {target: np.zeros(next(iter(source.values())))}


def head_of_two_biases() -> Port:
    bias, other = np.full(40, 1.0), np.full(40, 2.0)
    source = {
        "head.predictions.bias": bias,
        "head.predictions.decoder.weight": np.ones((40, WIDTH)),
        "head.predictions.decoder.bias": other,
    }
    return source, {"decoder.cls.predictions.decoder.bias": other}


def scanned() -> Port:
    """T5X stacks layers in the second dim: here there are as many as features."""
    random = np.random.default_rng(0)
    source = {f"layers.mlp.{part}.kernel": random.random((4, 4, 4)) for part in ("wi", "wo")}
    source["layers.norm.scale"] = random.random((4, 4))
    right = {}
    for at in range(4):
        right[f"layers.{at}.norm.weight"] = source["layers.norm.scale"][:, at].copy()
        for part in ("wi", "wo"):
            weight = source[f"layers.mlp.{part}.kernel"][:, at].T.copy()
            right[f"layers.{at}.mlp.{part}.weight"] = weight
    return source, right


def pointwise() -> Port:
    """Torch's 1x1 convolutions in Flax: inputs stand before outputs, which squares don't tell."""
    random = np.random.default_rng(0)
    source, right = {}, {}
    for at in range(2):
        weight = random.random((8, 8, 1, 1))
        source[f"layer.{at}.conv1.weight"] = weight
        right[f"layer.{at}.conv1.kernel"] = weight.transpose(2, 3, 1, 0)
        source[f"layer.{at}.bn1.weight"] = right[f"layer.{at}.bn1.scale"] = random.random(8)
    return source, right


def channels_last() -> Port:
    """MLX keeps names and has channels last: a stem of 3x3 kernels on 3 channels doesn't tell."""
    random = np.random.default_rng(0)
    source = {
        "features.0.weight": random.random((16, 3, 3, 3)),
        "features.3.weight": random.random((32, 16, 3, 3)),
    }
    return source, {key: value.transpose(0, 2, 3, 1) for key, value in source.items()}


def folded() -> Port:
    """BatchNorms folded into convolutions that have biases and keep their names."""
    random = np.random.default_rng(0)
    source, right = {}, {}
    for at in (1, 2):
        for name in ("weight", "bias"):
            shape = (8, 8, 3) if name == "weight" else (8,)
            source[f"feat.conv{at}.{name}"] = random.random(shape)
            right[f"feat.conv{at}.{name}"] = source[f"feat.conv{at}.{name}"] * 2
        for name in ("weight", "bias", "running_mean", "running_var"):
            source[f"feat.bn{at}.{name}"] = random.random(8)
    return source, right


def another_network(word: str, to: str) -> Port:
    """Two networks of one kind with other names inside: none of the one is the other's."""
    names = weights(**{"attn.o_proj": "attention.o_proj", "mlp.linear1": "ffn.linear1"})
    source, right = rename(f"{word}.layers.{{}}", f"{to}.layers.{{}}", names)
    return source, {key: -value for key, value in right.items()}


def beside(name: str) -> Port:
    """A weight that another tensor of its module changes."""
    source, right = rename("layers.{}", "h.{}", weights(linear1="linear1"))
    extra = {f"layers.{at}.linear1.{name}": np.ones((4, 4)) for at in (0, 1)}
    return {**source, **extra}, {key: value * 2 for key, value in right.items()}


def permuted() -> Port:
    """fairseq2 keeps the names of q and k, and has their rows by pairs."""
    names = weights(**{"self_attn.q_proj": "self_attn.q_proj", "self_attn.o": "self_attn.out"})
    source, right = rename("model.layers.{}", "decoder.layers.{}", names)
    tokens = np.ones((40, WIDTH))
    turned = {key: value * (1 if "out" in key else -1) for key, value in right.items()}
    return (
        {"model.embed_tokens.weight": tokens, **source},
        {"decoder.embed_tokens.weight": tokens, **turned},
    )


PORTS: dict[str, Callable[[], Port]] = {
    "Deformable DETR, whose norm2 is self-attention's": lambda: decoder(
        norm2="norm1", norm1="norm2", norm3="norm3"
    ),
    "audiocraft, whose cross-attention has a norm of its name": lambda: decoder(
        norm1="norm2", norm_cross="norm1", norm2="norm3"
    ),
    "Wan in diffusers": swapped_in_place,
    "EVA-02's w2 is Llama's w3": lambda: rename(
        "blocks.{}",
        "encoder.layers.{}",
        {f"mlp.w{a}.weight": f"mlp.w{b}.weight" for a, b in ((1, 1), (2, 3), (3, 2))},
    ),
    "gpt-oss, stacked squares": experts,
    "downsampling in the next stage": downsampling,
    "a decoder counted from its top": counted_from_the_top,
    "layers that begin elsewhere": last_layers,
    "rotary rows, positions of images": lambda: rotary_beside(
        {"vision_model.encoder.positional_embedding": np.ones((17, 12))}
    ),
    "rotary rows, numbers of positions": lambda: rotary_beside(
        {"text_model.position_ids": np.ones((1, 40))}
    ),
    "rotary rows, frequencies": lambda: rotary_beside(
        {"text_model.rotary_pos_emb.inv_freq": np.ones(2)}
    ),
    "the decoder of a whole": decoder_of_both,
    "a norm for a layer": lambda: holes(
        {"cls.predictions.transform.LayerNorm.bias": 16},
        "decoder.cls.predictions.transform.dense.bias",
    ),
    "another bias of one head": head_of_two_biases,
    "a norm before for one behind": lambda: holes(
        {"model.vision_tower.pre_layrnorm.bias": 16},
        "vision_tower.vision_model.post_layernorm.bias",
    ),
    "layers stacked in either dim": scanned,
    "1x1 convolutions of Flax": pointwise,
    "channels last": channels_last,
    "folded, with a bias": folded,
    "the talker of a thinker": lambda: another_network("thinker", "talker"),
    "a critic of an actor": lambda: another_network("actor", "critic"),
    "moments of an optimizer": lambda: another_network("exp_avg", "model"),
    "LoRA of another spelling": lambda: beside("lora_a.weight"),
    "a spectral norm of another spelling": lambda: beside("u0"),
    "an average behind the name": lambda: beside("weight.ExponentialMovingAverage"),
    "rotary rows under one name": permuted,
}


@pytest.mark.parametrize("port", PORTS.values(), ids=PORTS)
def test_what_is_sure_is_right(port: Callable[[], Port]) -> None:
    source, right = port()
    into = {key: np.full_like(value, -1) for key, value in right.items()}
    found = cs.suggest(source, into)
    allowed = ("missing", "unused", "nothing", "mismatched")
    given, _ = cs.apply(source, found.rules, into=into, allow=allowed)
    wrong = [key for key in found.sure if not np.array_equal(given[key], right[key])]
    assert not wrong, found.text()


@pytest.mark.parametrize("scale", ["weight_scale", "SCB", "scale", "scale_weight", "weight_scaler"])
def test_quantized_values_are_no_weights_without_their_scale(scale: str) -> None:
    values = torch.ones(32, 16).to(torch.int8 if scale == "SCB" else torch.float8_e4m3fn)
    source = {"mlp.down_proj.weight": values, f"mlp.down_proj.{scale}": torch.ones(1, 1)}
    found = cs.suggest(source, {"mlp.down_proj.weight": torch.zeros(32, 16)})
    assert found.open.keys() == {"mlp.down_proj.weight"}
    assert found.open["mlp.down_proj.weight"].startswith(f"quantized: {scale} goes with its values")


def test_pruned_weights_are_told_by_their_mask() -> None:
    square = np.ones((4, 4))
    found = cs.suggest(
        {"fc.weight_orig": square, "fc.weight_mask": square + 1}, {"fc.weight": square}
    )
    assert found.open["fc.weight"].startswith("pruned: the weight is weight_orig * weight_mask")


def test_nothing_for_nothing_is_no_success() -> None:
    assert cs.suggest({}, {}).exit_code == 1
