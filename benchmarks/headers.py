"""Checkpoints of a size that no disk holds: headers of many keys, on files that are all holes."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path

KEYS_PER_SHARD = 1000
EXPERTS = 256

Tensor = tuple[str, tuple[int, ...]]

TOP = {
    "model.embed_tokens.weight": ("embed.weight", (129280, 4096)),
    "model.norm.weight": ("norm.weight", (4096,)),
    "lm_head.weight": ("head.weight", (129280, 4096)),
}
LAYER = {
    "input_layernorm.weight": ("attn_norm.weight", (4096,)),
    "post_attention_layernorm.weight": ("ffn_norm.weight", (4096,)),
    "self_attn.q_a_proj.weight": ("attn.wq_a.weight", (1536, 4096)),
    "self_attn.q_a_layernorm.weight": ("attn.q_norm.weight", (1536,)),
    "self_attn.q_b_proj.weight": ("attn.wq_b.weight", (6144, 1536)),
    "self_attn.kv_a_proj_with_mqa.weight": ("attn.wkv_a.weight", (576, 4096)),
    "self_attn.kv_a_layernorm.weight": ("attn.kv_norm.weight", (512,)),
    "self_attn.kv_b_proj.weight": ("attn.wkv_b.weight", (8192, 512)),
    "self_attn.o_proj.weight": ("attn.wo.weight", (4096, 4096)),
    "mlp.gate.weight": ("ffn.gate.weight", (EXPERTS, 4096)),
    "mlp.gate.e_score_correction_bias": ("ffn.gate.bias", (EXPERTS,)),
    "mlp.shared_experts.gate_proj.weight": ("ffn.shared_experts.w1.weight", (1408, 4096)),
    "mlp.shared_experts.up_proj.weight": ("ffn.shared_experts.w3.weight", (1408, 4096)),
    "mlp.shared_experts.down_proj.weight": ("ffn.shared_experts.w2.weight", (4096, 1408)),
}
EXPERT = {
    "mlp.experts.<e>.gate_proj.weight": ("ffn.experts.<e>.w1.weight", (1408, 4096)),
    "mlp.experts.<e>.up_proj.weight": ("ffn.experts.<e>.w3.weight", (1408, 4096)),
    "mlp.experts.<e>.down_proj.weight": ("ffn.experts.<e>.w2.weight", (4096, 1408)),
}
"""A mixture of experts: names at the hub, those of its authors' code, and shapes."""

FRUITLESS = (
    "model.layers.<i>.self_attn.*.weight_scale_inv -> scales.<i>.*",
    "model.layers.<i>.mlp.experts.<e>.*.weight_scale_inv -> scales.<i>.<e>.*",
    "**.rotary_emb.inv_freq -> **.inv_freq",
)
"""Rules that find nothing; the last one must look at every key."""


def rules() -> str:
    """A rule file of 23 rules that renames every key."""
    arrows = [f"  - {old} -> {new}" for old, (new, _) in TOP.items()]
    arrows += (
        f"  - model.layers.<i>.{old} -> layers.<i>.{new}"
        for old, (new, _) in {**LAYER, **EXPERT}.items()
    )
    arrows += (f'  - "{arrow}": {{optional: true}}' for arrow in FRUITLESS)
    return "\n".join(("format: 1", "rules:", *arrows, ""))


def tensors(*, renamed: bool) -> Iterator[Tensor]:
    """Keys and shapes without end, layer after layer, by their old names or their new ones."""
    yield from (_named(entry, renamed) for entry in TOP.items())
    for layer in itertools.count():
        prefix = f"layers.{layer}." if renamed else f"model.layers.{layer}."
        for name, shape in _layer(renamed):
            yield prefix + name, shape


def _layer(renamed: bool) -> Iterator[Tensor]:
    yield from (_named(entry, renamed) for entry in LAYER.items())
    named = [_named(entry, renamed) for entry in EXPERT.items()]
    for expert in range(EXPERTS):
        yield from ((name.replace("<e>", str(expert)), shape) for name, shape in named)


def _named(entry: tuple[str, tuple[str, tuple[int, ...]]], renamed: bool) -> Tensor:
    old, (new, shape) = entry
    return (new if renamed else old), shape


def write_shards(folder: Path, count: int, *, renamed: bool) -> int:
    """A folder of shards of so many keys in BF16, and its index; the bytes that they claim."""
    folder.mkdir(parents=True)
    keys = itertools.islice(tensors(renamed=renamed), count)
    number_of_shards = math.ceil(count / KEYS_PER_SHARD)
    weight_map: dict[str, str] = {}
    total = 0
    for number in range(1, number_of_shards + 1):
        name = f"model-{number:05}-of-{number_of_shards:05}.safetensors"
        shard = list(itertools.islice(keys, KEYS_PER_SHARD))
        total += _write_sparse(folder / name, shard)
        weight_map.update((key, name) for key, _ in shard)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return total


def _write_sparse(path: Path, shard: list[Tensor]) -> int:
    """A safetensors file whose tensors are a hole; their bytes."""
    entries, at = {}, 0
    for key, shape in shard:
        end = at + 2 * math.prod(shape)
        entries[key] = {"dtype": "BF16", "shape": shape, "data_offsets": (at, end)}
        at = end
    header = json.dumps(entries, separators=(",", ":")).encode("utf-8")
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + at)
    return at
