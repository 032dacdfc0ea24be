"""Tensor parallel ranks: files of one layer and rank, and weights cut for others."""

from __future__ import annotations

import torch
from torch import Tensor

from worked.job import Job, random

Tensors = dict[str, Tensor]


def jobs() -> list[Job]:
    return [
        neox(ranks=2, layers=2, width=16),
        neox(ranks=3, layers=1, width=24),
        megatron_ranks(before=2, after=4, width=8),
        megatron_ranks(before=4, after=2, width=8),
        megatron_ranks(before=1, after=3, width=12),
        vocabulary_of_ranks(13, 16, ranks=4),
        vocabulary_of_ranks(5, 6, ranks=2),
        more_ranks_than_heads(ranks=4, heads=2, size=8),
        more_ranks_than_heads(ranks=6, heads=2, size=3),
    ]


def neox(ranks: int, layers: int, width: int) -> Job:
    """A file for each layer and rank: the embedding is layer 0, and the blocks begin at 2."""
    query, key = width // ranks, width // ranks // 2
    sources: dict[str, Tensors] = {}

    def put(layer: int, name: str, parts: tuple[Tensor, ...]) -> None:
        for rank, part in enumerate(parts):
            sources.setdefault(f"L{layer}_r{rank}", {})[name] = part

    table, head, norm = random(6 * ranks, width), random(6 * ranks, width), random(width)
    put(0, "word_embeddings.weight", table.chunk(ranks))
    wanted = {"model.embed_tokens.weight": table}
    for layer in range(layers):
        block = _block(width, width // 2)
        place, projections = layer + 2, [block[f"self_attn.{one}_proj.weight"] for one in "qkv"]
        parts = zip(*(one.chunk(ranks) for one in projections), strict=True)
        put(place, "attention.query_key_value.weight", tuple(torch.cat(one) for one in parts))
        put(place, "attention.dense.weight", block["self_attn.o_proj.weight"].chunk(ranks, 1))
        put(place, "mlp.w1.weight", block["mlp.gate_proj.weight"].chunk(ranks))
        put(place, "mlp.w2.weight", block["mlp.down_proj.weight"].chunk(ranks, 1))
        put(place, "mlp.w3.weight", block["mlp.up_proj.weight"].chunk(ranks))
        for one in ("input", "post_attention"):
            put(place, f"{one}_layernorm.scale", (block[f"{one}_layernorm.weight"],) * ranks)
        put(place, "attention.rotary_emb.inv_freq", (torch.arange(4.0),) * ranks)
        wanted |= {f"model.layers.{layer}.{name}": tensor for name, tensor in block.items()}
    put(layers + 3, "norm.scale", (norm,) * ranks)
    put(layers + 4, "final_linear.weight", head.chunk(ranks))
    wanted |= {"model.norm.weight": norm, "lm_head.weight": head}
    return Job(
        f"NeoX, {ranks} ranks, {layers} layers",
        "neox",
        wanted=wanted,
        sources=sources,
        words=("--set", f"q={query}", "--set", f"kv={key}"),
        lost=(r"attention\.rotary_emb\.inv_freq",),
    )


def _block(width: int, keys: int) -> Tensors:
    """One layer as transformers has it."""
    shapes = {
        "self_attn.q_proj.weight": (width, width),
        "self_attn.k_proj.weight": (keys, width),
        "self_attn.v_proj.weight": (keys, width),
        "self_attn.o_proj.weight": (width, width),
        "mlp.gate_proj.weight": (3 * width, width),
        "mlp.up_proj.weight": (3 * width, width),
        "mlp.down_proj.weight": (width, 3 * width),
        "input_layernorm.weight": (width,),
        "post_attention_layernorm.weight": (width,),
    }
    return {name: random(*shape) for name, shape in shapes.items()}


def megatron_ranks(before: int, after: int, width: int) -> Job:
    """Each rank's fc1 is its part of the gate, then its part of what is gated."""
    full = {
        "gate": random(3 * width, width),
        "up": random(3 * width, width),
        "self_attention.linear_qkv.weight": random(3 * width, width),
        "mlp.linear_fc2.weight": random(width, 3 * width),
        "self_attention.linear_proj.weight": random(width, width),
        "input_layernorm.weight": random(width),
        "pre_mlp_layernorm.weight": random(width),
    }
    front = "decoder.layers.0."
    sources = {f"r{rank}": _ranked(full, rank, before, front) for rank in range(before)}
    outputs = {f"rank{rank}": _ranked(full, rank, after, front) for rank in range(after)}
    return Job(
        f"Megatron, {before} ranks -> {after}",
        "megatron_ranks",
        sources=sources,
        outputs=outputs,
        words=("--set", f"tp={after}"),
    )


def _ranked(full: Tensors, rank: int, ranks: int, front: str) -> Tensors:
    """What one of so many ranks has: rows, columns, or all."""
    mine: Tensors = {}
    for name, tensor in full.items():
        if name == "gate":
            halves = tensor.chunk(ranks)[rank], full["up"].chunk(ranks)[rank]
            mine[f"{front}mlp.linear_fc1.weight"] = torch.cat(halves)
        elif "qkv" in name:
            mine[front + name] = tensor.chunk(ranks)[rank]
        elif "fc2" in name or "proj" in name:
            mine[front + name] = tensor.chunk(ranks, 1)[rank].contiguous()
        elif "norm" in name:
            mine[front + name] = tensor
    return mine


def vocabulary_of_ranks(words: int, rows: int, ranks: int) -> Job:
    table = random(words, 4)
    padded = torch.cat([table, table[-1:].expand(rows - words, 4)]).chunk(ranks)
    key = "embedding.word_embeddings.weight"
    return Job(
        f"vocabulary of {words} padded to {rows}, {ranks} ranks",
        "vocab_of_ranks",
        {"model.embed_tokens.weight": table},
        outputs={f"rank{rank}": {key: part} for rank, part in enumerate(padded)},
        words=("--set", f"rows={rows}", "--set", f"tp={ranks}"),
    )


def more_ranks_than_heads(ranks: int, heads: int, size: int) -> Job:
    """Some ranks have the same head of keys and values."""
    width = ranks * size
    source: Tensors = {}
    outputs: dict[str, Tensors] = {f"rank{rank}": {} for rank in range(ranks)}
    front = "model.layers.0.self_attn"
    for name in "qo":
        weight = source[f"{front}.{name}_proj.weight"] = random(width, width)
        for rank, part in enumerate(weight.chunk(ranks, "qo".index(name))):
            outputs[f"rank{rank}"][f"{front}.{name}_proj.weight"] = part
    for name in "kv":
        weight = source[f"{front}.{name}_proj.weight"] = random(heads * size, width)
        for rank in range(ranks):
            head = rank * heads // ranks
            part = weight[head * size : (head + 1) * size]
            outputs[f"rank{rank}"][f"{front}.{name}_proj.weight"] = part
    return Job(
        f"{ranks} ranks for {heads} heads of {size}",
        "more_ranks_than_heads",
        source,
        outputs=outputs,
        words=("--set", f"tp={ranks}", "--set", f"kv={heads}", "--set", f"d={size}"),
    )
