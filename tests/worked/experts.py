"""Mixtures of experts, and weights in FP8 with a scale for each block."""

from __future__ import annotations

import json

import torch
from torch import Tensor

from worked.job import Job, Noisy, random


def jobs() -> list[Job]:
    return [
        *(other_experts(how, keep) for how in ("set", "config") for keep in KEPT),
        dense_to_moe(experts=4, width=16),
        dense_to_moe(experts=3, width=24),
        dense_to_moe(experts=4, width=8, noise=False),
        fp8_blocks(block=4, edge=(10, 7)),
        fp8_blocks(block=128, edge=(130, 256)),
    ]


KEPT = ([[1, 3], [0, 2]], [[2], [0, 1, 3], [3, 0]])


def other_experts(how: str, keep: list[list[int]]) -> Job:
    """Each layer keeps experts of its own, in the list's order, and the router their rows."""
    source: dict[str, Tensor] = {}
    wanted: dict[str, Tensor] = {}
    lost = []
    for layer, kept in enumerate(keep):
        front = f"model.layers.{layer}.mlp"
        for part, shape in {"weight": (4, 6), "e_score_correction_bias": (4,)}.items():
            gate = source[f"{front}.gate.{part}"] = random(*shape)
            wanted[f"{front}.gate.{part}"] = gate[kept]
        lost.append(rf"model\.layers\.{layer}\.mlp\.gate\..*")
        for expert in range(4):
            for part in ("gate_proj", "up_proj", "down_proj"):
                weight = source[f"{front}.experts.{expert}.{part}.weight"] = random(3, 6)
                if expert in kept:
                    place = kept.index(expert)
                    wanted[f"{front}.experts.{place}.{part}.weight"] = weight
            if expert not in kept:
                lost.append(rf"model\.layers\.{layer}\.mlp\.experts\.{expert}\..*")
    source["model.norm.weight"] = wanted["model.norm.weight"] = random(6)
    name = f"other experts in {len(keep)} layers, --{how}"
    if how == "set":
        words = ("--set", f"keep={json.dumps(keep)}")
        return Job(name, "experts_of_each_layer", source, wanted, words=words, lost=tuple(lost))
    return Job(
        name,
        "experts_of_the_config",
        source,
        wanted,
        config={"pruned": {"keep": keep}},
        lost=tuple(lost),
    )


def dense_to_moe(experts: int, width: int, noise: bool = True) -> Job:
    """Experts that are the MLP, exactly or but for noise, and a router that knows none of them."""
    source: dict[str, Tensor] = {}
    wanted: dict[str, object] = {}
    parts = {"gate": "w1", "up": "w3", "down": "w2"}
    for layer in range(2):
        front, sparse = f"model.layers.{layer}", f"model.layers.{layer}.block_sparse_moe"
        for part, new in parts.items():
            shape = (width, 2 * width) if part == "down" else (2 * width, width)
            weight = source[f"{front}.mlp.{part}_proj.weight"] = random(*shape)
            for expert in range(experts):
                wanted[f"{sparse}.experts.{expert}.{new}.weight"] = (
                    Noisy(weight, 1e-3) if noise else weight
                )
        wanted[f"{sparse}.gate.weight"] = torch.zeros(experts, width)
        norm = f"{front}.input_layernorm.weight"
        source[norm] = wanted[norm] = random(width)
    return Job(
        f"dense -> {experts} experts" + ("" if noise else " without noise"),
        "dense_to_moe" if noise else "dense_to_copies",
        source,
        wanted,
        words=("--set", f"n={experts}"),
        lost=(r".*\.mlp\..*",) if noise else (),
    )


def fp8_blocks(block: int, edge: tuple[int, int]) -> Job:
    """A product of two float32 has one right answer, and so has its rounding to BF16."""
    source: dict[str, Tensor] = {}
    wanted: dict[str, Tensor] = {}
    shapes = {"self_attn.kv_a_proj_with_mqa": edge, "mlp.experts.0.up_proj": edge[::-1]}
    for layer in range(2):
        for module, (rows, columns) in shapes.items():
            key = f"model.layers.{layer}.{module}.weight"
            weight = source[key] = random(rows, columns).to(torch.float8_e4m3fn)
            blocks = -(-rows // block), -(-columns // block)
            scale = source[f"{key}_scale_inv"] = random(*blocks).abs() + 0.1
            each = scale.repeat_interleave(block, 0).repeat_interleave(block, 1)
            wanted[key] = (weight.float() * each[:rows, :columns]).bfloat16()
        norm = f"model.layers.{layer}.input_layernorm.weight"
        source[norm] = wanted[norm] = random(8, dtype=torch.bfloat16)
    return Job(
        f"FP8 in blocks of {block} -> BF16",
        "fp8_blocks",
        source,
        wanted,
        words=("--set", f"block={block}"),
        lost=(r".*_proj.*",),
    )
