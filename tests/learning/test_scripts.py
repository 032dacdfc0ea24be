"""Conversions by other people's code, run on a probe: rules that do what the code does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from comparison import assert_same, load
from safetensors.torch import save_file
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

import ckptsurgeon as cs

SIZES = {
    "vocab_size": 17,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def test_what_transformers_does_to_the_experts_of_a_probe_is_learned(tmp_path: Path) -> None:
    """From `state_dict()`, where experts are stacked, to the files, where each has tensors."""
    model = MixtralForCausalLM(MixtralConfig(**SIZES, num_local_experts=3))
    probe = cs.probe(model)
    model.load_state_dict(probe)
    model.save_pretrained(tmp_path / "hub")
    found = cs.learn(probe, tmp_path / "hub" / "model.safetensors")
    assert found.exit_code == 0, str(found)
    other = MixtralForCausalLM(
        MixtralConfig(**{**SIZES, "num_hidden_layers": 2}, num_local_experts=5)
    )
    other.save_pretrained(tmp_path / "other")
    save_file(other.state_dict(), tmp_path / "memory.safetensors")
    made = tmp_path / "made.safetensors"
    cs.transplant(tmp_path / "memory.safetensors", made, found.rules)
    assert_same(load(made), load(tmp_path / "other" / "model.safetensors"))


def interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of q or k as Meta has them, as conversion scripts write it."""
    rows, columns = weight.shape
    parts = weight.view(heads, 2, rows // heads // 2, columns)
    return parts.transpose(1, 2).reshape(rows, columns)


def to_meta(state: dict[str, torch.Tensor], heads: int, kv_heads: int) -> dict[str, torch.Tensor]:
    made = {}
    for key, tensor in state.items():
        name = key.replace("model.", "").replace("self_attn.", "attention.")
        if "q_proj" in key or "k_proj" in key:
            made[name] = interleaved(tensor, heads if "q_proj" in key else kv_heads)
        elif "rotary" not in key:
            made[name] = tensor
    return made


def test_a_script_of_ones_own_is_learned_with_its_sizes() -> None:
    def model(**sizes: int) -> nn.Module:
        return LlamaForCausalLM(LlamaConfig(**{**SIZES, "hidden_size": 32, **sizes}))

    first = cs.probe(model())
    second = cs.probe(model(hidden_size=64), seed=1)
    found = cs.learn(first, to_meta(first, 4, 2), examples=[(second, to_meta(second, 4, 2))])
    assert found.exit_code == 0, str(found)
    assert "permute_rope: {head_dim: head_dim, to: interleaved}" in found.text()
    assert "head_dim: config.head_dim  # 8 and 16 in the examples: by --config" in found.text()
    third = cs.probe(model(hidden_size=64), seed=2)
    made, _ = cs.apply(third, found.rules, variables={"head_dim": 16})
    wanted = to_meta(third, 4, 2)
    assert made.keys() == wanted.keys()
    assert all(np.array_equal(made[key], wanted[key]) for key in wanted)
