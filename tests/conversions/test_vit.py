"""timm's ViT -> transformers': the fused projection is split in three."""

from __future__ import annotations

from pathlib import Path

import torch
from comparison import load, same_bits
from networks import VisionTransformer, randomise
from safetensors.torch import save_file
from transformers import ViTConfig, ViTForImageClassification

import ckptsurgeon as cs

RULES = "timm_vit_to_transformers"


def transformers_vit() -> ViTForImageClassification:
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=16,
        patch_size=4,
        num_labels=5,
        layer_norm_eps=1e-6,
    )
    model = ViTForImageClassification(config).eval()
    randomise(model, seed=1)
    return model


def test_a_timm_vit_gives_its_scores_in_transformers(tmp_path: Path) -> None:
    network = VisionTransformer().eval()
    randomise(network)
    save_file(network.state_dict(), tmp_path / "source.safetensors")
    model_folder = tmp_path / "model"
    transformers_vit().save_pretrained(model_folder)
    on_disk = model_folder / "model.safetensors"
    cs.transplant(
        tmp_path / "source.safetensors", tmp_path / "output.safetensors", RULES, into=on_disk
    )
    (tmp_path / "output.safetensors").replace(on_disk)
    model = ViTForImageClassification.from_pretrained(model_folder).eval()
    image = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(model(image).logits, network(image))


def test_query_key_and_value_are_the_thirds_of_the_fused_projection(tmp_path: Path) -> None:
    network = VisionTransformer()
    randomise(network)
    state = network.state_dict()
    save_file(state, tmp_path / "source.safetensors")
    transformers_vit().save_pretrained(tmp_path / "model")
    cs.transplant(
        tmp_path / "source.safetensors",
        tmp_path / "output.safetensors",
        RULES,
        into=tmp_path / "model" / "model.safetensors",
    )
    output = load(tmp_path / "output.safetensors")
    for kind in ("weight", "bias"):
        thirds = state[f"blocks.2.attn.qkv.{kind}"].chunk(3)
        for part, wanted in zip(("query", "key", "value"), thirds, strict=True):
            found = output[f"vit.encoder.layer.2.attention.attention.{part}.{kind}"]
            assert same_bits(found, wanted)
