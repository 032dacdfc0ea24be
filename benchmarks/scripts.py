"""The scripts that people write today, one a job: `scripts.py JOB SRC OUT`.

Each loads all, edits the dict and saves it, with torch or safetensors, and no more.
"""

from __future__ import annotations

import glob
import json
import math
import os
import re
import sys
from collections.abc import Callable

import torch
from safetensors.torch import load_file, save_file

State = dict[str, torch.Tensor]

NEW_NAMES = {
    r"model\.embed_tokens": "tok_embeddings",
    r"model\.layers": "layers",
    r"self_attn\.(.)_proj": r"attention.w\1",
    r"mlp\.gate_proj": "feed_forward.w1",
    r"mlp\.down_proj": "feed_forward.w2",
    r"mlp\.up_proj": "feed_forward.w3",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
}


def rename(state: State) -> State:
    return {_new_name(key): tensor for key, tensor in state.items()}


def _new_name(key: str) -> str:
    for old, new in NEW_NAMES.items():
        key = re.sub(old, new, key)
    return key


def slice_rows(state: State) -> State:
    return {k: t[:-256].clone() if t.dim() == 2 else t for k, t in state.items()}


def slice_columns(state: State) -> State:
    return {k: t[:, :1536].contiguous() if t.dim() == 2 else t for k, t in state.items()}


def split_qkv(state: State) -> State:
    result = {}
    for key, tensor in state.items():
        for name, part in zip("qkv", tensor.chunk(3), strict=True):
            result[key.replace("qkv", f"{name}_proj")] = part.clone()
    return result


def stack_experts(state: State) -> State:
    result = {}
    for layer in sorted({int(key.split(".")[1]) for key in state}):
        prefix = f"layers.{layer}.experts."
        one = torch.stack([state[f"{prefix}{e}.w1.weight"] for e in range(8)])
        three = torch.stack([state[f"{prefix}{e}.w3.weight"] for e in range(8)])
        result[f"{prefix}gate_up_proj"] = torch.cat([one, three], dim=1)
        two = torch.stack([state[f"{prefix}{e}.w2.weight"] for e in range(8)])
        result[f"{prefix}down_proj"] = two
    return result


def transpose(state: State) -> State:
    return {k: t.T.contiguous() if t.dim() == 2 else t for k, t in state.items()}


def permute_rope(state: State) -> State:
    return {k: _permuted(t) if k.endswith("_proj.weight") else t for k, t in state.items()}


def _permuted(tensor: torch.Tensor) -> torch.Tensor:
    heads, columns = tensor.shape[0] // 128, tensor.shape[1]
    halves = tensor.view(heads, 64, 2, columns).transpose(1, 2)
    return halves.reshape(heads * 128, columns)


def to_bfloat16(state: State) -> State:
    return {key: tensor.to(torch.bfloat16) for key, tensor in state.items()}


def resnet18(state: State) -> State:
    result = {}
    for key, tensor in state.items():
        key = key.removeprefix("module.")
        if key == "conv1.weight":
            tensor = tensor[:, :3].contiguous()
        if not key.startswith("fc."):
            result[f"backbone.{key}"] = tensor
    return result


EDITS: dict[str, Callable[[State], State]] = {
    "rename": rename,
    "slice-rows": slice_rows,
    "slice-columns": slice_columns,
    "split-qkv": split_qkv,
    "stack-experts": stack_experts,
    "transpose": transpose,
    "permute-rope": permute_rope,
    "bfloat16": to_bfloat16,
    "resnet18": resnet18,
}


def load(source: str) -> State:
    if source.endswith(".pt"):
        loaded: State = torch.load(source, map_location="cpu", weights_only=True)
        return loaded.get("state_dict", loaded)  # type: ignore[return-value]  # Lightning nests
    if source.endswith(".safetensors"):
        return load_file(source)
    state: State = {}
    for path in sorted(glob.glob(f"{source}/*.safetensors")):
        state |= load_file(path)
    return state


def save(state: State, out: str) -> None:
    if out.endswith(".pt"):
        torch.save(state, out)
    elif out.endswith(".safetensors"):
        save_file(state, out, {"format": "pt"})
    else:
        save_shards(state, out, 5)


def save_shards(state: State, out: str, count: int) -> None:
    os.makedirs(out)
    keys = list(state)
    step = math.ceil(len(keys) / count)
    weight_map = {}
    for number in range(count):
        name = f"model-{number + 1:05}-of-{count:05}.safetensors"
        part = {key: state[key] for key in keys[number * step : (number + 1) * step]}
        save_file(part, f"{out}/{name}", {"format": "pt"})
        weight_map.update(dict.fromkeys(part, name))
    with open(f"{out}/model.safetensors.index.json", "w") as file:
        json.dump({"metadata": {}, "weight_map": weight_map}, file)


if __name__ == "__main__":
    job, source, out = sys.argv[1:]
    save(EDITS[job](load(source)), out)
