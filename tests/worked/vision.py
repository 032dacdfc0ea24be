"""Vision: heads copied, biases completed, positions resized."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from worked.job import Job, Near, random


def jobs() -> list[Job]:
    return [
        one_head_to_six(),
        one_head_to_all(6),
        one_head_to_all(3),
        beit_to_mmseg(2, 6),
        beit_to_mmseg(3, 10),
        sam(old=64, new=32, width=8),
        sam(old=14, new=9, width=4),
        sam(old=5, new=7, width=3),
    ]


def one_head_to_six() -> Job:
    source, wanted = _heads(6)
    return Job("one head to six layers", "one_head_to_six", source, wanted)


def one_head_to_all(layers: int) -> Job:
    """The destination tells how many layers there are."""
    source, wanted = _heads(layers)
    into = {key: torch.zeros_like(tensor) for key, tensor in wanted.items()}
    return Job(f"one head to all {layers} layers", "one_head_to_all", source, wanted, into)


def _heads(layers: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    source = {"transformer.level_embed": random(4, 8)}
    wanted = dict(source)
    for kind, shape in {"weight": (91, 8), "bias": (91,)}.items():
        source[f"class_embed.{kind}"] = random(*shape)
        for layer in range(layers):
            wanted[f"class_embed.{layer}.{kind}"] = source[f"class_embed.{kind}"]
    return source, wanted


def beit_to_mmseg(layers: int, width: int) -> Job:
    """BEiT has no bias for keys, where mmseg has zeros, and one table that mmseg has by layer."""
    table = random(25, 2)
    source = {
        "cls_token": random(1, 1, width),
        "mask_token": random(1, 1, width),
        "rel_pos_bias.relative_position_bias_table": table,
        "rel_pos_bias.relative_position_index": torch.arange(16).reshape(4, 4),
        "norm.weight": random(width),
        "norm.bias": random(width),
        "lm_head.weight": random(7, width),
        "lm_head.bias": random(7),
    }
    wanted = {"cls_token": source["cls_token"]}
    for layer in range(layers):
        attention = f"blocks.{layer}.attn"
        query, value = random(width), random(width)
        source |= {f"{attention}.q_bias": query, f"{attention}.v_bias": value}
        source[f"{attention}.qkv.weight"] = random(3 * width, width)
        wanted[f"{attention}.qkv.weight"] = source[f"{attention}.qkv.weight"]
        wanted[f"{attention}.qkv.bias"] = torch.cat([query, torch.zeros(width), value])
        wanted[f"{attention}.relative_position_bias_table"] = table
    wanted |= {f"fc_norm.{kind}": source[f"norm.{kind}"] for kind in ("weight", "bias")}
    into = {key: torch.zeros_like(tensor) for key, tensor in wanted.items()}
    into |= {"head.weight": random(5, width), "head.bias": random(5)}
    wanted |= {key: into[key] for key in ("head.weight", "head.bias")}
    return Job(
        f"BEiT -> mmseg, {layers} layers of {width}",
        "beit_to_mmseg",
        source,
        wanted,
        into,
        lost=(r".*relative_position_index", "mask_token", r"lm_head\..*"),
    )


def sam(old: int, new: int, width: int) -> Job:
    """Another image size: the embedding of the grid, and global blocks' tables by distance."""
    positions = random(1, old, old, width)
    source = {"image_encoder.pos_embed": positions}
    wanted: dict[str, object] = {
        "image_encoder.pos_embed": _interpolated(
            positions.permute(0, 3, 1, 2), (new, new), (0, 2, 3, 1), old
        )
    }
    into = {"image_encoder.pos_embed": torch.zeros(1, new, new, width)}
    for block in range(4):
        for axis in "hw":
            key = f"image_encoder.blocks.{block}.attn.rel_pos_{axis}"
            if block % 2:  # global: the table has a row for each distance in the image
                table = source[key] = random(2 * old - 1, width)
                size = (2 * new - 1, width)
                wanted[key] = _interpolated(table[None, None], size, (2, 3), 2 * old)
                into[key] = torch.zeros(size)
            else:
                wanted[key] = source[key] = random(27, width)
                into[key] = torch.zeros(27, width)
    return Job(
        f"SAM {16 * old} -> {16 * new}",
        "sam_to_512",
        source,
        wanted,
        into,
        lost=(r"image_encoder\.pos_embed", r"image_encoder\.blocks\.[13]\..*"),
    )


def _interpolated(
    image: Tensor, size: tuple[int, int], order: tuple[int, ...], length: int
) -> Near:
    """As SAM's users do it. Places are float32, up to the length, so the weights err by its eps."""
    value = F.interpolate(image.double(), size, mode="bilinear", align_corners=False)
    value = value.permute(order) if len(order) == 4 else value[0, 0]
    return Near(value, roundings=2 * length + 8, terms=float(image.abs().max()))
