"""What people write today to plan: `header_scripts.py KIND SRC [DST]`; exits 1 if DST differs.

Reads every shard's header, renames keys by a dict of regular expressions, computes shapes by hand,
and compares all with the destination's headers. It needs no torch, so it stands in a file without.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable

Spec = tuple[str, tuple[int, ...]]
Specs = dict[str, Spec]

NEW_NAMES = {
    r"model\.embed_tokens\.weight": r"embed.weight",
    r"model\.norm\.weight": r"norm.weight",
    r"lm_head\.weight": r"head.weight",
    r"model\.layers\.(\d+)\.input_layernorm\.weight": r"layers.\1.attn_norm.weight",
    r"model\.layers\.(\d+)\.post_attention_layernorm\.weight": r"layers.\1.ffn_norm.weight",
    r"model\.layers\.(\d+)\.self_attn\.q_a_layernorm\.weight": r"layers.\1.attn.q_norm.weight",
    r"model\.layers\.(\d+)\.self_attn\.kv_a_layernorm\.weight": r"layers.\1.attn.kv_norm.weight",
    r"model\.layers\.(\d+)\.mlp\.gate\.weight": r"layers.\1.ffn.gate.weight",
    r"model\.layers\.(\d+)\.mlp\.gate\.e_score_correction_bias": r"layers.\1.ffn.gate.bias",
    r"model\.layers\.(\d+)\.self_attn\.q_a_proj\.(\w+)": r"layers.\1.attn.wq_a.\2",
    r"model\.layers\.(\d+)\.self_attn\.q_b_proj\.(\w+)": r"layers.\1.attn.wq_b.\2",
    r"model\.layers\.(\d+)\.self_attn\.kv_a_proj_with_mqa\.(\w+)": r"layers.\1.attn.wkv_a.\2",
    r"model\.layers\.(\d+)\.self_attn\.kv_b_proj\.(\w+)": r"layers.\1.attn.wkv_b.\2",
    r"model\.layers\.(\d+)\.self_attn\.o_proj\.(\w+)": r"layers.\1.attn.wo.\2",
    r"model\.layers\.(\d+)\.mlp\.experts\.(\d+)\.gate_proj\.(\w+)": (
        r"layers.\1.ffn.experts.\2.w1.\3"
    ),
    r"model\.layers\.(\d+)\.mlp\.experts\.(\d+)\.up_proj\.(\w+)": r"layers.\1.ffn.experts.\2.w3.\3",
    r"model\.layers\.(\d+)\.mlp\.experts\.(\d+)\.down_proj\.(\w+)": (
        r"layers.\1.ffn.experts.\2.w2.\3"
    ),
    r"model\.layers\.(\d+)\.mlp\.shared_experts\.gate_proj\.(\w+)": (
        r"layers.\1.ffn.shared_experts.w1.\2"
    ),
    r"model\.layers\.(\d+)\.mlp\.shared_experts\.up_proj\.(\w+)": (
        r"layers.\1.ffn.shared_experts.w3.\2"
    ),
    r"model\.layers\.(\d+)\.mlp\.shared_experts\.down_proj\.(\w+)": (
        r"layers.\1.ffn.shared_experts.w2.\2"
    ),
    r"model\.layers\.(\d+)\.mlp\.gate_proj\.(\w+)": r"layers.\1.ffn.w1.\2",
    r"model\.layers\.(\d+)\.mlp\.up_proj\.(\w+)": r"layers.\1.ffn.w3.\2",
    r"model\.layers\.(\d+)\.mlp\.down_proj\.(\w+)": r"layers.\1.ffn.w2.\2",
}
PATTERNS = [(re.compile(old), new) for old, new in NEW_NAMES.items()]
EXPERT = re.compile(r"\.ffn\.experts\.(\d+)\.")


def new_name(key: str) -> str:
    for pattern, new in PATTERNS:
        match = pattern.fullmatch(key)
        if match:
            return match.expand(new).replace("weight_scale_inv", "scale")
    raise KeyError(key)


def rename(specs: Specs) -> Specs:
    return {new_name(key): spec for key, spec in specs.items()}


def deal_to_ranks(specs: Specs) -> Specs:
    result = {}
    for key, spec in specs.items():
        name = new_name(key)
        match = EXPERT.search(name)
        result[f"rank{int(match[1]) // 128}.{name}" if match else name] = spec
    return result


def pick_experts(specs: Specs) -> Specs:
    result = {}
    for key, (dtype, shape) in specs.items():
        name = new_name(key)
        match = EXPERT.search(name)
        if match and int(match[1]) % 2:
            continue
        if match:
            name = EXPERT.sub(f".ffn.experts.{int(match[1]) // 2}.", name)
        elif ".ffn.gate." in name:
            shape = (shape[0] // 2, *shape[1:])
        result[name] = dtype, shape
    return result


def join_matrices(specs: Specs) -> Specs:
    result: Specs = {}
    for key, (dtype, shape) in specs.items():
        name = new_name(key)
        if EXPERT.search(name) and ".w2." not in name:
            name = name.replace(".w1.", ".w13.").replace(".w3.", ".w13.")
            rows = result[name][1][0] if name in result else 0
            shape = (rows + shape[0], *shape[1:])
        result[name] = dtype, shape
    return result


def halve_matrices(specs: Specs) -> Specs:
    result = {}
    for key, (dtype, shape) in specs.items():
        name = new_name(key)
        if EXPERT.search(name):
            rows, columns = shape
            shape = (rows, columns // 2) if ".w2." in name else (rows // 2, columns)
        result[name] = dtype, shape
    return result


def transpose(specs: Specs) -> Specs:
    result = {}
    for key, (dtype, shape) in specs.items():
        name = new_name(key)
        result[name] = dtype, shape[::-1] if EXPERT.search(name) else shape
    return result


def stack_experts(specs: Specs) -> Specs:
    result: Specs = {}
    for key, (dtype, shape) in specs.items():
        name = new_name(key)
        if EXPERT.search(name):
            name = EXPERT.sub(".ffn.experts.", name)
            count = result[name][1][0] if name in result else 0
            shape = (count + 1, *shape)
        result[name] = dtype, shape
    return result


EDITS: dict[str, Callable[[Specs], Specs]] = {
    "rename": rename,
    "where": deal_to_ranks,
    "pick": pick_experts,
    "target slices": join_matrices,
    "source slices": halve_matrices,
    "transpose": transpose,
    "stack": stack_experts,
}


def read_specs(folder: str) -> Specs:
    with open(os.path.join(folder, "model.safetensors.index.json"), encoding="utf-8") as file:
        shards = sorted(set(json.load(file)["weight_map"].values()))
    specs = {}
    for shard in shards:
        with open(os.path.join(folder, shard), "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        header.pop("__metadata__", None)
        for key, entry in header.items():
            specs[key] = entry["dtype"], tuple(entry["shape"])
    return specs


def main(kind: str, source: str, destination: str = "") -> None:
    specs = EDITS[kind](read_specs(source))
    if destination:
        wanted = read_specs(destination)
        differing = [key for key, spec in wanted.items() if specs.get(key) != spec]
        differing += [key for key in specs if key not in wanted]
        if differing:
            sys.exit(f"{len(differing)} keys differ, the first is {differing[0]}")
    print(f"{len(specs)} keys")


if __name__ == "__main__":
    main(*sys.argv[1:])
