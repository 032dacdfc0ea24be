"""The checkpoints that the jobs start from, made of random numbers: `weights.py KIND OUT SCALE`.

Run as a process of its own, so that torch's memory is not the benchmark's.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

Shapes = Iterator[tuple[str, tuple[int, ...]]]

HIDDEN, FEED_FORWARD, EXPERT = 2048, 5632, 1408
SHARDS = 5
CHANNELS = (64, 128, 256, 512)


def llama(layers: int) -> Shapes:
    """A dense decoder: 205 MB a layer, in F32."""
    yield "model.embed_tokens.weight", (16000, HIDDEN)
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        for name in "qkvo":
            yield f"{prefix}self_attn.{name}_proj.weight", (HIDDEN, HIDDEN)
        yield f"{prefix}mlp.gate_proj.weight", (FEED_FORWARD, HIDDEN)
        yield f"{prefix}mlp.up_proj.weight", (FEED_FORWARD, HIDDEN)
        yield f"{prefix}mlp.down_proj.weight", (HIDDEN, FEED_FORWARD)
        yield f"{prefix}input_layernorm.weight", (HIDDEN,)
        yield f"{prefix}post_attention_layernorm.weight", (HIDDEN,)


def fused(layers: int) -> Shapes:
    """Layers whose queries, keys and values are one tensor: 50 MB each, four to a layer."""
    for layer in range(4 * layers):
        yield f"h.{layer}.attn.qkv.weight", (3 * HIDDEN, HIDDEN)
        yield f"h.{layer}.attn.qkv.bias", (3 * HIDDEN,)


def experts(layers: int) -> Shapes:
    """A mixture of eight experts: 277 MB a layer."""
    for layer in range(max(1, layers * 3 // 4)):
        for expert in range(8):
            prefix = f"layers.{layer}.experts.{expert}."
            yield f"{prefix}w1.weight", (EXPERT, HIDDEN)
            yield f"{prefix}w2.weight", (HIDDEN, EXPERT)
            yield f"{prefix}w3.weight", (EXPERT, HIDDEN)


def resnet18(layers: int) -> Shapes:
    """torchvision's ResNet-18 with a stem of 4 channels, saved from DataParallel: 45 MB."""
    yield "module.conv1.weight", (64, 4, 7, 7)
    yield from _batchnorm("module.bn1", 64)
    before = 64
    for stage, channels in enumerate(CHANNELS, 1):
        for block in range(2):
            prefix = f"module.layer{stage}.{block}"
            yield f"{prefix}.conv1.weight", (channels, before, 3, 3)
            yield from _batchnorm(f"{prefix}.bn1", channels)
            yield f"{prefix}.conv2.weight", (channels, channels, 3, 3)
            yield from _batchnorm(f"{prefix}.bn2", channels)
            if before != channels:
                yield f"{prefix}.downsample.0.weight", (channels, before, 1, 1)
                yield from _batchnorm(f"{prefix}.downsample.1", channels)
            before = channels
    yield "module.fc.weight", (1000, 512)
    yield "module.fc.bias", (1000,)


def _batchnorm(prefix: str, channels: int) -> Shapes:
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield f"{prefix}.{name}", (channels,)
    yield f"{prefix}.num_batches_tracked", ()


KINDS: dict[str, Callable[[int], Shapes]] = {
    "llama": llama,
    "fused": fused,
    "experts": experts,
    "resnet18": resnet18,
}


def tensors(kind: str, layers: int) -> dict[str, torch.Tensor]:
    """Normal numbers in F32; a few million of them again and again, each tensor shifted by one."""
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(1 << 24, generator=generator)
    made: dict[str, torch.Tensor] = {}
    for number, (key, shape) in enumerate(KINDS[kind](layers)):
        count = math.prod(shape)
        times = math.ceil((count + number) / len(numbers))
        flat = numbers.repeat(times)[number : number + count].clone()
        made[key] = flat.reshape(shape) if shape else torch.tensor(7)
    return made


def save_shards(state: dict[str, torch.Tensor], folder: Path) -> None:
    """Five shards and their index, as at the Hugging Face hub."""
    folder.mkdir()
    size = math.ceil(sum(map(_nbytes, state.values())) / SHARDS)
    parts: list[dict[str, torch.Tensor]] = [{}]
    for key, tensor in state.items():
        if sum(map(_nbytes, parts[-1].values())) >= size:
            parts.append({})
        parts[-1][key] = tensor
    weight_map = {}
    for number, part in enumerate(parts, 1):
        name = f"model-{number:05}-of-{len(parts):05}.safetensors"
        save_file(part, folder / name, {"format": "pt"})
        weight_map.update(dict.fromkeys(part, name))
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _nbytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def main(kind: str, out: Path, layers: int) -> None:
    """Writes the checkpoint in the format of its name: .pt, .safetensors or a folder."""
    state = tensors(kind, layers)
    if out.suffix == ".pt":
        torch.save({"state_dict": state, "epoch": 90} if kind == "resnet18" else state, out)
    elif out.suffix == ".safetensors":
        save_file(state, out, {"format": "pt"})
    else:
        save_shards(state, out)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
