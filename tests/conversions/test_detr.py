"""facebookresearch's DETR -> transformers': the backbone, fused attention, renamed norms."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from comparison import assert_same, load
from networks import randomise
from safetensors.torch import load_file
from torch import Tensor
from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

import ckptsurgeon as cs

RULES = Path(__file__).with_name("rules") / "detr_to_transformers.yaml"

BACKBONE = "model.backbone.conv_encoder.model."

RENAMES = (
    (r"embedder\.embedder\.convolution", "conv1"),
    (r"embedder\.embedder\.normalization", "bn1"),
    (r"shortcut\.convolution", "downsample.0"),
    (r"shortcut\.normalization", "downsample.1"),
)

LAYER_RENAMES = (
    (r"(encoder\..*)\.final_layer_norm", r"\1.norm2"),
    (r"(decoder\..*)\.final_layer_norm", r"\1.norm3"),
    (r"encoder_attn_layer_norm", "norm2"),
    (r"self_attn_layer_norm", "norm1"),
    (r"encoder_attn", "multihead_attn"),
    (r"\.fc(\d)", r".linear\1"),
    (r"decoder\.layernorm", "decoder.norm"),
)

HEADS = {
    "model.input_projection": "input_proj",
    "model.query_position_embeddings": "query_embed",
    "class_labels_classifier": "class_embed",
    "bbox_predictor": "bbox_embed",
}


def detr() -> DetrForObjectDetection:
    backbone = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[2, 1],
        layer_type="bottleneck",
        out_features=["stage2"],
    )
    sizes = dict.fromkeys(("encoder_layers", "decoder_layers"), 2)
    heads = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
    hidden = dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 24)
    config = DetrConfig(
        backbone_config=backbone,
        d_model=16,
        num_queries=5,
        num_labels=3,
        **sizes,
        **heads,
        **hidden,
    )
    model = DetrForObjectDetection(config)
    randomise(model)
    return model


def original_backbone_key(key: str) -> str:
    """`encoder.stages.0.layers.1.layer.2.normalization.bias` -> `layer1.1.bn3.bias`."""
    for pattern, name in RENAMES:
        key = re.sub(pattern, name, key)
    key = re.sub(
        r"encoder\.stages\.(\d+)\.layers\.(\d+)",
        lambda found: f"layer{int(found[1]) + 1}.{found[2]}",
        key,
    )
    return re.sub(
        r"\blayer\.(\d)\.(convolution|normalization)",
        lambda found: f"{'conv' if found[2] == 'convolution' else 'bn'}{int(found[1]) + 1}",
        key,
    )


def original_key(key: str) -> str:
    """The key in facebookresearch's layout, query, key and value still apart."""
    if key.startswith(BACKBONE):
        return "backbone.0.body." + original_backbone_key(key.removeprefix(BACKBONE))
    for name, original in HEADS.items():
        if key.startswith(name):
            return original + key.removeprefix(name)
    key = key.replace("model.", "transformer.", 1)
    for pattern, name in LAYER_RENAMES:
        key = re.sub(pattern, name, key)
    return key


def original_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as facebookresearch's DETR holds them."""
    renamed = {original_key(key): tensor for key, tensor in state.items()}
    original = {key: tensor for key, tensor in renamed.items() if "_proj." not in key}
    original |= {key: t for key, t in renamed.items() if re.search(r"(out|input)_proj\.", key)}
    for key in renamed:
        if ".q_proj." in key:
            parts = [renamed[key.replace(".q_proj.", f".{part}_proj.")] for part in "qkv"]
            original[key.replace(".q_proj.", ".in_proj_")] = torch.cat(parts)
    return original


def test_the_original_layout_becomes_that_of_transformers(tmp_path: Path) -> None:
    detr().save_pretrained(tmp_path / "model")
    on_disk = tmp_path / "model" / "model.safetensors"
    wanted = load_file(on_disk)
    original = original_layout(wanted)
    assert "backbone.0.body.layer1.1.bn3.running_var" in original
    assert "transformer.decoder.layers.1.multihead_attn.in_proj_weight" in original
    torch.save({"model": original, "epoch": 500}, tmp_path / "source.pth")
    output = tmp_path / "output.safetensors"
    cs.transplant(tmp_path / "source.pth", output, RULES, into=on_disk)
    assert_same(load(output), wanted)


def test_the_names_need_no_destination(tmp_path: Path) -> None:
    model = detr()
    model.save_pretrained(tmp_path / "model")
    wanted = load_file(tmp_path / "model" / "model.safetensors")
    tensors, _ = cs.apply(original_layout(wanted), RULES)
    assert_same(tensors, wanted)
