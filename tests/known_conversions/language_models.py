"""Conversions of language models, in torch's layout on both sides."""

from __future__ import annotations

from known_conversions.architectures import gpt2, llama, swiglu
from known_conversions.conversion import Conversion, sizes
from known_conversions.places import HERE
from known_conversions.shapes import (
    Shapes,
    join,
    layers,
    leaf,
    linear,
    norm,
    under,
)


def fairseq_roberta(depth: int, heads: int, head_dim: int, words: int, positions: int) -> Shapes:
    width = heads * head_dim
    projections = "self_attn.k_proj self_attn.v_proj self_attn.q_proj self_attn.out_proj"
    layer = join(
        linear(projections, width, width),
        norm("self_attn_layer_norm", width),
        linear("fc1", width, 4 * width),
        linear("fc2", 4 * width, width),
        norm("final_layer_norm", width),
    )
    return join(
        leaf("decoder.sentence_encoder.embed_tokens.weight", words, width),
        leaf("decoder.sentence_encoder.embed_positions.weight", positions, width),
        layers("decoder.sentence_encoder.layers.{}.", depth, layer),
        norm("decoder.sentence_encoder.emb_layer_norm", width),
        leaf("decoder.lm_head.weight", words, width),
        leaf("decoder.lm_head.bias", words),
        linear("decoder.lm_head.dense", width, width),
        norm("decoder.lm_head.layer_norm", width),
    )


def hub_gpt2(depth: int, heads: int, head_dim: int, words: int, positions: int) -> Shapes:
    """The file of openai-community/gpt2: no prefix, causal masks, no head."""
    masks = layers("h.{}.", depth, leaf("attn.bias", 1, 1, positions, positions))
    return join(gpt2(depth, heads, head_dim, words, positions), masks)


def compiled_nanogpt(depth: int, heads: int, head_dim: int, words: int, positions: int) -> Shapes:
    width = heads * head_dim
    block = join(
        norm("ln_1", width),
        linear("attn.c_attn", width, 3 * width),
        linear("attn.c_proj", width, width),
        norm("ln_2", width),
        linear("mlp.c_fc", width, 4 * width),
        linear("mlp.c_proj", 4 * width, width),
    )
    return under(
        "_orig_mod.",
        leaf("transformer.wte.weight", words, width),
        leaf("transformer.wpe.weight", positions, width),
        layers("transformer.h.{}.", depth, block),
        norm("transformer.ln_f", width),
        leaf("lm_head.weight", words, width),
    )


def mamba(depth: int, width: int, states: int, rank: int, words: int) -> Shapes:
    inner = 2 * width
    mixer = join(
        leaf("A_log", inner, states),
        leaf("D", inner),
        linear("in_proj", width, 2 * inner, bias=False),
        leaf("conv1d.weight", inner, 1, 4),
        leaf("conv1d.bias", inner),
        linear("x_proj", inner, rank + 2 * states, bias=False),
        linear("dt_proj", rank, inner),
        linear("out_proj", inner, width, bias=False),
    )
    return join(
        leaf("backbone.embedding.weight", words, width),
        layers("backbone.layers.{}.", depth, under("mixer.", mixer), norm("norm", width, False)),
        norm("backbone.norm_f", width, bias=False),
        leaf("lm_head.weight", words, width),
    )


def falcon(depth: int, heads: int, kv_heads: int, head_dim: int, words: int) -> Shapes:
    """Falcon of the 40B kind, with grouped queries and two norms beside each other."""
    width = heads * head_dim
    block = join(
        norm("ln_attn ln_mlp", width),
        linear(
            "self_attention.query_key_value", width, (heads + 2 * kv_heads) * head_dim, bias=False
        ),
        linear("self_attention.dense", width, width, bias=False),
        linear("mlp.dense_h_to_4h", width, 4 * width, bias=False),
        linear("mlp.dense_4h_to_h", 4 * width, width, bias=False),
    )
    return join(
        leaf("transformer.word_embeddings.weight", words, width),
        layers("transformer.h.{}.", depth, block),
        norm("transformer.ln_f", width),
        leaf("lm_head.weight", words, width),
    )


def fused_block(width: int) -> Shapes:
    """A layer of BLOOM; Megatron-LM has the same."""
    return join(
        norm("input_layernorm", width),
        linear("self_attention.query_key_value", width, 3 * width),
        linear("self_attention.dense", width, width),
        norm("post_attention_layernorm", width),
        linear("mlp.dense_h_to_4h", width, 4 * width),
        linear("mlp.dense_4h_to_h", 4 * width, width),
    )


def bloom(depth: int, heads: int, head_dim: int, words: int) -> Shapes:
    width = heads * head_dim
    return join(
        leaf("word_embeddings.weight", words, width),
        norm("word_embeddings_layernorm", width),
        layers("h.{}.", depth, fused_block(width)),
        norm("ln_f", width),
    )


def phi3(depth: int, heads: int, kv_heads: int, head_dim: int, hidden: int, words: int) -> Shapes:
    width = heads * head_dim
    layer = join(
        linear("self_attn.o_proj", width, width, bias=False),
        linear("self_attn.qkv_proj", width, (heads + 2 * kv_heads) * head_dim, bias=False),
        linear("mlp.gate_up_proj", width, 2 * hidden, bias=False),
        linear("mlp.down_proj", hidden, width, bias=False),
        norm("input_layernorm post_attention_layernorm", width, bias=False),
    )
    return join(
        leaf("model.embed_tokens.weight", words, width),
        layers("model.layers.{}.", depth, layer),
        norm("model.norm", width, bias=False),
        leaf("lm_head.weight", words, width),
    )


def qwen2_moe(
    depth: int, heads: int, kv_heads: int, head_dim: int, hidden: int, words: int, experts: int
) -> Shapes:
    """Qwen2-MoE on the hub; its shared expert is four times as wide as the others."""
    width = heads * head_dim
    mlp = under(
        "mlp.",
        linear("gate", width, experts, bias=False),
        layers("experts.{}.", experts, swiglu("gate_proj up_proj", "down_proj", width, hidden)),
        under("shared_expert.", swiglu("gate_proj up_proj", "down_proj", width, 4 * hidden)),
        linear("shared_expert_gate", width, 1, bias=False),
    )
    return llama(depth, heads, kv_heads, head_dim, hidden, words, mlp, bias=True)


def deepseek(
    depth: int, dense: int, heads: int, head_dim: int, hidden: int, words: int, experts: int
) -> Shapes:
    """DeepSeek-V3, whose first layers have no experts."""
    width = 6 * head_dim
    query_rank, key_rank, rope = 3 * head_dim, 2 * head_dim, head_dim // 2
    attention = under(
        "self_attn.",
        linear("q_a_proj", width, query_rank, bias=False),
        norm("q_a_layernorm", query_rank, bias=False),
        linear("q_b_proj", query_rank, heads * (head_dim + rope), bias=False),
        linear("kv_a_proj_with_mqa", width, key_rank + rope, bias=False),
        norm("kv_a_layernorm", key_rank, bias=False),
        linear("kv_b_proj", key_rank, 2 * heads * head_dim, bias=False),
        linear("o_proj", heads * head_dim, width, bias=False),
    )
    norms = norm("input_layernorm post_attention_layernorm", width, bias=False)
    mlp = swiglu("gate_proj up_proj", "down_proj", width, 3 * hidden)
    expert = swiglu("gate_proj up_proj", "down_proj", width, hidden)
    moe = join(
        leaf("gate.weight", experts, width),
        leaf("gate.e_score_correction_bias", experts),
        layers("experts.{}.", experts, expert),
        under("shared_experts.", expert),
    )
    return join(
        leaf("model.embed_tokens.weight", words, width),
        layers("model.layers.{}.", dense, attention, under("mlp.", mlp), norms),
        layers(
            "model.layers.{}.", depth - dense, attention, under("mlp.", moe), norms, first=dense
        ),
        norm("model.norm", width, bias=False),
        leaf("lm_head.weight", words, width),
    )


def megatron_shards(
    depth: int, heads: int, head_dim: int, words: int, positions: int, count: int
) -> dict[str, Shapes]:
    """The ranks' files, r0, r1, …: columns of the first of two layers, rows of the second."""
    width = heads * head_dim
    part = width // count
    layer = join(
        norm("input_layernorm", width),
        linear("self_attention.query_key_value", width, 3 * part),
        leaf("self_attention.dense.weight", width, part),
        leaf("self_attention.dense.bias", width),
        norm("post_attention_layernorm", width),
        linear("mlp.dense_h_to_4h", width, 4 * part),
        leaf("mlp.dense_4h_to_h.weight", width, 4 * part),
        leaf("mlp.dense_4h_to_h.bias", width),
    )
    one = under(
        "model.language_model.",
        leaf("embedding.word_embeddings.weight", words // count, width),
        leaf("embedding.position_embeddings.weight", positions, width),
        layers("encoder.layers.{}.", depth, layer),
        norm("encoder.final_layernorm", width),
    )
    return {f"r{number}": one for number in range(count)}


def rwkv(depth: int, width: int, hidden: int, words: int) -> Shapes:
    mixing: Shapes = {f"time_mix_{part}": (1, 1, width) for part in "kvr"}
    attention = join(
        leaf("time_decay", width),
        leaf("time_first", width),
        mixing,
        linear("key value receptance output", width, width, bias=False),
    )
    feed_forward = join(
        {name: shape for name, shape in mixing.items() if name != "time_mix_v"},
        linear("key", width, hidden, bias=False),
        linear("receptance", width, width, bias=False),
        linear("value", hidden, width, bias=False),
    )
    block = join(norm("ln1 ln2", width), under("att.", attention), under("ffn.", feed_forward))
    return join(
        leaf("emb.weight", words, width),
        norm("blocks.0.ln0", width),
        layers("blocks.{}.", depth, block),
        norm("ln_out", width),
        leaf("head.weight", words, width),
    )


def peft_llama(
    depth: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    hidden: int,
    words: int,
    rank: int,
    alpha: int,
) -> Shapes:
    """Llama with LoRA beside the projections of queries and values."""
    state: Shapes = {}
    for key, shape in llama(depth, heads, kv_heads, head_dim, hidden, words).items():
        module = key.removesuffix(".weight")
        if module.endswith(("q_proj", "v_proj")):
            state[f"{module}.base_layer.weight"] = shape
            state[f"{module}.lora_A.default.weight"] = (rank, shape[1])
            state[f"{module}.lora_B.default.weight"] = (shape[0], rank)
        else:
            state[key] = shape
    return under("base_model.model.", state)


GPT2 = sizes(depth=(3, 2), heads=(2, 3), head_dim=(4, 6), words=(31, 23), positions=(9, 7))
GROUPED = sizes(
    depth=(2, 3),
    heads=(4, 6),
    kv_heads=(2, 3),
    head_dim=(4, 6),
    hidden=(20, 28),
    words=(37, 29),
)

CONVERSIONS = (
    Conversion(
        "roberta_fairseq_to_transformers",
        fairseq_roberta,
        HERE / "roberta_fairseq_to_transformers.yaml",
        GPT2,
        computed=("*.token_type_embeddings.weight",),
    ),
    Conversion("gpt2_to_nanogpt", hub_gpt2, HERE / "gpt2_to_nanogpt.yaml", GPT2),
    Conversion(
        "nanogpt_to_transformers", compiled_nanogpt, HERE / "nanogpt_to_transformers.yaml", GPT2
    ),
    Conversion(
        "mamba_to_transformers",
        mamba,
        HERE / "mamba_to_transformers.yaml",
        sizes(depth=(3, 4), width=(6, 8), states=(5, 4), rank=(2, 3), words=(31, 23)),
    ),
    Conversion(
        "falcon_to_litgpt",
        falcon,
        HERE / "falcon_to_litgpt.yaml",
        sizes(depth=(2, 3), heads=(4, 6), kv_heads=(2, 3), head_dim=(4, 6), words=(31, 23)),
        config_names={"num_attention_heads": "heads", "num_kv_heads": "kv_heads"},
    ),
    Conversion(
        "bloom_to_apart",
        bloom,
        HERE / "bloom_to_apart.yaml",
        sizes(depth=(2, 3), heads=(4, 3), head_dim=(4, 6), words=(31, 23)),
        config_names={"n_head": "heads"},
    ),
    Conversion(
        "phi3_to_llama",
        phi3,
        HERE / "phi3_to_llama.yaml",
        GROUPED,
        config_names={"num_attention_heads": "heads", "num_key_value_heads": "kv_heads"},
    ),
    Conversion(
        "qwen2_moe_to_memory",
        qwen2_moe,
        HERE / "qwen2_moe_to_memory.yaml",
        sizes(
            depth=(2, 3),
            heads=(4, 6),
            kv_heads=(2, 3),
            head_dim=(4, 6),
            hidden=(10, 14),
            words=(37, 29),
            experts=(5, 11),
        ),
    ),
    Conversion(
        "deepseek_to_inference",
        deepseek,
        HERE / "deepseek_to_inference.yaml",
        sizes(
            depth=(4, 3),
            dense=(2, 1),
            heads=(4, 5),
            head_dim=(4, 6),
            hidden=(10, 14),
            words=(37, 29),
            experts=(5, 11),
        ),
    ),
    Conversion(
        "llama_transformers_to_meta",
        llama,
        HERE / "llama_transformers_to_meta.yaml",
        GROUPED,
        config_names={"head_dim": "head_dim"},
    ),
    Conversion(
        "mistral_to_megatron",
        llama,
        HERE / "mistral_to_megatron.yaml",
        GROUPED,
        config_names={"num_attention_heads": "heads", "num_key_value_heads": "kv_heads"},
    ),
    Conversion(
        "megatron_gpt2_shards_to_transformers",
        megatron_shards,
        HERE / "megatron_gpt2_shards_to_transformers.yaml",
        sizes(
            depth=(2, 3),
            heads=(4, 6),
            head_dim=(4, 6),
            words=(32, 30),
            positions=(9, 7),
            count=(2, 3),
        ),
        same=("*layernorm.*", "*.dense.bias", "*.dense_4h_to_h.bias", "*.position_embeddings.*"),
        config_names={"n_head": "heads"},
    ),
    Conversion(
        "rwkv_to_transformers",
        rwkv,
        HERE / "rwkv_to_transformers.yaml",
        sizes(depth=(3, 2), width=(6, 10), hidden=(20, 28), words=(31, 23)),
    ),
    Conversion(
        "peft_lora_merged",
        peft_llama,
        HERE / "peft_lora_merged.yaml",
        sizes(
            depth=(2, 3),
            heads=(4, 6),
            kv_heads=(2, 3),
            head_dim=(4, 6),
            hidden=(20, 28),
            words=(37, 29),
            rank=(2, 3),
            alpha=(16, 8),
        ),
        computed=("*.q_proj.weight", "*.v_proj.weight"),
        config_names={"lora_alpha": "alpha"},
    ),
)
