"""Checkpoints of a size that no disk holds: DeepSeek-V3's headers, on files that are all holes."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

KEYS_PER_SHARD = 1000
EXPERTS, DENSE_LAYERS, LAYERS = 256, 3, 61
BLOCK = 128
"""Rows and columns of a matrix that share a scale."""

Spec = tuple[str, tuple[int, ...]]
Specs = Mapping[str, Spec]

ITEM_SIZES = {"BF16": 2, "F32": 4, "F8_E4M3": 1}

TOP: dict[str, tuple[str, Spec]] = {
    "model.embed_tokens.weight": ("embed.weight", ("BF16", (129280, 7168))),
    "model.norm.weight": ("norm.weight", ("BF16", (7168,))),
    "lm_head.weight": ("head.weight", ("BF16", (129280, 7168))),
}
LAYER: dict[str, tuple[str, Spec]] = {
    "input_layernorm.weight": ("attn_norm.weight", ("BF16", (7168,))),
    "post_attention_layernorm.weight": ("ffn_norm.weight", ("BF16", (7168,))),
    "self_attn.q_a_layernorm.weight": ("attn.q_norm.weight", ("BF16", (1536,))),
    "self_attn.kv_a_layernorm.weight": ("attn.kv_norm.weight", ("BF16", (512,))),
}
GATE: dict[str, tuple[str, Spec]] = {
    "mlp.gate.weight": ("ffn.gate.weight", ("BF16", (EXPERTS, 7168))),
    "mlp.gate.e_score_correction_bias": ("ffn.gate.bias", ("F32", (EXPERTS,))),
}
"""Names at the hub, those of its authors' code, and specs."""

ATTENTION = {
    "self_attn.q_a_proj": ("attn.wq_a", (1536, 7168)),
    "self_attn.q_b_proj": ("attn.wq_b", (24576, 1536)),
    "self_attn.kv_a_proj_with_mqa": ("attn.wkv_a", (576, 7168)),
    "self_attn.kv_b_proj": ("attn.wkv_b", (32768, 512)),
    "self_attn.o_proj": ("attn.wo", (7168, 16384)),
}
DENSE = {
    "mlp.gate_proj": ("ffn.w1", (18432, 7168)),
    "mlp.up_proj": ("ffn.w3", (18432, 7168)),
    "mlp.down_proj": ("ffn.w2", (7168, 18432)),
}
SHARED = {
    "mlp.shared_experts.gate_proj": ("ffn.shared_experts.w1", (2048, 7168)),
    "mlp.shared_experts.up_proj": ("ffn.shared_experts.w3", (2048, 7168)),
    "mlp.shared_experts.down_proj": ("ffn.shared_experts.w2", (7168, 2048)),
}
EXPERT = {
    "mlp.experts.<e>.gate_proj": ("ffn.experts.<e>.w1", (2048, 7168)),
    "mlp.experts.<e>.up_proj": ("ffn.experts.<e>.w3", (2048, 7168)),
    "mlp.experts.<e>.down_proj": ("ffn.experts.<e>.w2", (7168, 2048)),
}
"""Matrices in float8, each with a `weight` and a `weight_scale_inv`."""

Matrices = Mapping[str, tuple[str, tuple[int, int]]]


def model(layers: int | None = None) -> Iterator[tuple[str, Spec]]:
    """Keys and specs, layer after layer; without end where no number is given."""
    yield from ((key, spec) for key, (_, spec) in TOP.items())
    for layer in itertools.count() if layers is None else range(layers):
        for name, spec in _layer(layer):
            yield f"model.layers.{layer}.{name}", spec


def first_keys(count: int) -> dict[str, Spec]:
    """So many keys with their specs; the last layer may be cut short."""
    return dict(itertools.islice(model(), count))


def _layer(layer: int) -> Iterator[tuple[str, Spec]]:
    yield from ((name, spec) for name, (_, spec) in LAYER.items())
    yield from _quantised(ATTENTION)
    if layer < DENSE_LAYERS:
        yield from _quantised(DENSE)
        return
    yield from ((name, spec) for name, (_, spec) in GATE.items())
    yield from _quantised(SHARED)
    named = list(_quantised(EXPERT))
    for expert in range(EXPERTS):
        yield from ((name.replace("<e>", str(expert)), spec) for name, spec in named)


def _quantised(matrices: Matrices) -> Iterator[tuple[str, Spec]]:
    for name, (_, (rows, columns)) in matrices.items():
        yield f"{name}.weight", ("F8_E4M3", (rows, columns))
        scales = math.ceil(rows / BLOCK), math.ceil(columns / BLOCK)
        yield f"{name}.weight_scale_inv", ("F32", scales)


def write_shards(folder: Path, specs: Specs) -> None:
    """A folder of shards of a thousand keys each, and its index."""
    folder.mkdir(parents=True)
    items = iter(specs.items())
    number_of_shards = math.ceil(len(specs) / KEYS_PER_SHARD)
    weight_map: dict[str, str] = {}
    total = 0
    for number in range(1, number_of_shards + 1):
        name = f"model-{number:05}-of-{number_of_shards:05}.safetensors"
        shard = dict(itertools.islice(items, KEYS_PER_SHARD))
        total += _write_sparse(folder / name, shard)
        weight_map.update(dict.fromkeys(shard, name))
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _write_sparse(path: Path, shard: Specs) -> int:
    """A safetensors file whose tensors are a hole; their bytes."""
    entries, at = {}, 0
    for key, (dtype, shape) in shard.items():
        end = at + ITEM_SIZES[dtype] * math.prod(shape)
        entries[key] = {"dtype": dtype, "shape": shape, "data_offsets": (at, end)}
        at = end
    header = json.dumps(entries, separators=(",", ":")).encode("utf-8")
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + at)
    return at
