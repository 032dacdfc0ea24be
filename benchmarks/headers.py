"""Checkpoints of a size that no disk holds: headers of many keys over files that are all holes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

EXPERTS = 256
KEYS_PER_SHARD = 1000

EXPERT = {"gate_proj": (1408, 4096), "up_proj": (1408, 4096), "down_proj": (4096, 1408)}
LAYER = {
    "input_layernorm.weight": (4096,),
    "post_attention_layernorm.weight": (4096,),
    "self_attn.q_a_proj.weight": (1536, 4096),
    "self_attn.q_a_layernorm.weight": (1536,),
    "self_attn.q_b_proj.weight": (6144, 1536),
    "self_attn.kv_a_proj_with_mqa.weight": (576, 4096),
    "self_attn.kv_a_layernorm.weight": (512,),
    "self_attn.kv_b_proj.weight": (8192, 512),
    "self_attn.o_proj.weight": (4096, 4096),
    "mlp.gate.weight": (256, 4096),
    "mlp.gate.e_score_correction_bias": (256,),
    "mlp.shared_experts.gate_proj.weight": (1408, 4096),
    "mlp.shared_experts.up_proj.weight": (1408, 4096),
    "mlp.shared_experts.down_proj.weight": (4096, 1408),
}
TOP = {"embed_tokens.weight": (129280, 4096), "norm.weight": (4096,)}

RENAMES = {
    "model.embed_tokens.weight": "embed.weight",
    "model.norm.weight": "norm.weight",
    "lm_head.weight": "head.weight",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_a_proj": "attn.wq_a",
    "self_attn.q_a_layernorm": "attn.q_norm",
    "self_attn.q_b_proj": "attn.wq_b",
    "self_attn.kv_a_proj_with_mqa": "attn.wkv_a",
    "self_attn.kv_a_layernorm": "attn.kv_norm",
    "self_attn.kv_b_proj": "attn.wkv_b",
    "self_attn.o_proj": "attn.wo",
    "mlp.gate.weight": "ffn.gate.weight",
    "mlp.gate.e_score_correction_bias": "ffn.gate.bias",
    "mlp.shared_experts.gate_proj": "ffn.shared_experts.w1",
    "mlp.shared_experts.up_proj": "ffn.shared_experts.w3",
    "mlp.shared_experts.down_proj": "ffn.shared_experts.w2",
}
"""Parts of DeepSeek-V3's names at the hub, and what its own code calls them."""

EXPERT_RENAMES = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}

RULES = """\
format: 1
about: a mixture of experts from the hub's names to those of its authors
rules:
  - model.embed_tokens.weight -> embed.weight
  - model.norm.weight -> norm.weight
  - lm_head.weight -> head.weight
  - model.layers.<i>.input_layernorm.weight -> layers.<i>.attn_norm.weight
  - model.layers.<i>.post_attention_layernorm.weight -> layers.<i>.ffn_norm.weight
  - model.layers.<i>.self_attn.q_a_proj.* -> layers.<i>.attn.wq_a.*
  - model.layers.<i>.self_attn.q_a_layernorm.* -> layers.<i>.attn.q_norm.*
  - model.layers.<i>.self_attn.q_b_proj.* -> layers.<i>.attn.wq_b.*
  - model.layers.<i>.self_attn.kv_a_proj_with_mqa.* -> layers.<i>.attn.wkv_a.*
  - model.layers.<i>.self_attn.kv_a_layernorm.* -> layers.<i>.attn.kv_norm.*
  - model.layers.<i>.self_attn.kv_b_proj.* -> layers.<i>.attn.wkv_b.*
  - model.layers.<i>.self_attn.o_proj.* -> layers.<i>.attn.wo.*
  - model.layers.<i>.mlp.gate.weight -> layers.<i>.ffn.gate.weight
  - model.layers.<i>.mlp.gate.e_score_correction_bias -> layers.<i>.ffn.gate.bias
  - model.layers.<i>.mlp.shared_experts.gate_proj.* -> layers.<i>.ffn.shared_experts.w1.*
  - model.layers.<i>.mlp.shared_experts.up_proj.* -> layers.<i>.ffn.shared_experts.w3.*
  - model.layers.<i>.mlp.shared_experts.down_proj.* -> layers.<i>.ffn.shared_experts.w2.*
  - model.layers.<i>.mlp.experts.<e>.gate_proj.* -> layers.<i>.ffn.experts.<e>.w1.*
  - model.layers.<i>.mlp.experts.<e>.up_proj.* -> layers.<i>.ffn.experts.<e>.w3.*
  - model.layers.<i>.mlp.experts.<e>.down_proj.* -> layers.<i>.ffn.experts.<e>.w2.*
  - {from: "model.layers.<i>.mlp.experts.<e>.*.weight_scale_inv", to: "scales.<i>.<e>.*", optional: true}
  - {from: "model.layers.<i>.self_attn.*.weight_scale_inv", to: "scales.<i>.*", optional: true}
  - {from: "**.rotary_emb.inv_freq", to: "**.inv_freq", optional: true}
"""
"""23 rules; the last three find nothing, and one of them must look at every key."""
