"""Conversions from JAX and TensorFlow, whose kernels are [in, out] and whose names have slashes."""

from __future__ import annotations

from known_conversions.architectures import bert_pretraining
from known_conversions.conversion import Conversion, sizes
from known_conversions.places import HERE
from known_conversions.shapes import Shapes, join, layers, leaf, under


def dense(name: str, wide: int, out: int) -> Shapes:
    """NAME/kernel[in, out] and NAME/bias[out]."""
    return {f"{name}/kernel": (wide, out), f"{name}/bias": (out,)}


def layer_norm(name: str, width: int) -> Shapes:
    """NAME/scale[width] and NAME/bias[width]."""
    return {f"{name}/scale": (width,), f"{name}/bias": (width,)}


def scanned_t5(
    depth: int, heads: int, head_dim: int, width: int, hidden: int, words: int, buckets: int
) -> Shapes:
    """umT5 of t5x with scanned layers: all that belongs to layers has them as its dim 1."""
    towers = (
        _scanned_tower("encoder", ("attention",), depth, heads, head_dim, width, hidden, buckets),
        _scanned_tower(
            "decoder",
            ("self_attention", "encoder_decoder_attention"),
            depth,
            heads,
            head_dim,
            width,
            hidden,
            buckets,
        ),
    )
    return under(
        "target/",
        *towers,
        leaf("decoder/logits_dense/kernel", width, words),
        leaf("token_embedder/embedding", words, width),
    )


NORMS = {
    "encoder": ("attention", "mlp"),
    "decoder": ("self_attention", "cross_attention", "mlp"),
}


def _scanned_tower(
    side: str,
    attentions: tuple[str, ...],
    depth: int,
    heads: int,
    head_dim: int,
    width: int,
    hidden: int,
    buckets: int,
) -> Shapes:
    parts: Shapes = {}
    for name in attentions:
        inwards = {f"{name}/{part}/kernel": (width, depth, heads, head_dim) for part in INWARDS}
        parts |= inwards | {f"{name}/out/kernel": (heads, depth, head_dim, width)}
    parts |= {f"mlp/{part}/kernel": (width, depth, hidden) for part in ("wi_0", "wi_1")}
    parts |= {"mlp/wo/kernel": (hidden, depth, width)}
    parts |= {f"pre_{name}_layer_norm/scale": (width, depth) for name in NORMS[side]}
    parts |= {"relpos_bias/rel_embedding": (heads, depth, buckets)}
    return join(under(f"{side}/{side}/", parts), leaf(f"{side}/{side}_norm/scale", width))


INWARDS = ("query", "key", "value")


def jax_vit(
    depth: int, heads: int, head_dim: int, hidden: int, classes: int, patch: int, tokens: int
) -> Shapes:
    """Google's ViT as its npz files have it."""
    width = heads * head_dim
    attention = "MultiHeadDotProductAttention_1"
    block = join(
        layer_norm("LayerNorm_0", width),
        *(leaf(f"{attention}/{part}/kernel", width, heads, head_dim) for part in INWARDS),
        *(leaf(f"{attention}/{part}/bias", heads, head_dim) for part in INWARDS),
        leaf(f"{attention}/out/kernel", heads, head_dim, width),
        leaf(f"{attention}/out/bias", width),
        layer_norm("LayerNorm_2", width),
        dense("MlpBlock_3/Dense_0", width, hidden),
        dense("MlpBlock_3/Dense_1", hidden, width),
    )
    return join(
        leaf("cls", 1, 1, width),
        leaf("Transformer/posembed_input/pos_embedding", 1, tokens, width),
        leaf("embedding/kernel", patch, patch, 3, width),
        leaf("embedding/bias", width),
        layers("Transformer/encoderblock_{}/", depth, block),
        layer_norm("Transformer/encoder_norm", width),
        dense("head", width, classes),
    )


def flax_bert(depth: int, heads: int, head_dim: int, words: int, positions: int) -> Shapes:
    """transformers' FlaxBertForMaskedLM, whose decoder is tied."""
    state = bert_pretraining(depth, heads, head_dim, words, positions)
    parts = {key: shape for key, shape in state.items() if _is_masked_lm(key)}
    return {_flax_key(key): _flax_shape(key, shape) for key, shape in parts.items()}


def _is_masked_lm(key: str) -> bool:
    return "seq_relationship" not in key and "pooler" not in key


def _flax_key(key: str) -> str:
    if key.endswith("LayerNorm.weight"):
        key = key.replace(".weight", ".scale")
    elif key.endswith("embeddings.weight"):
        key = key.replace(".weight", ".embedding")
    return key.replace(".weight", ".kernel").replace(".", "/")


def _flax_shape(key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if key.endswith("embeddings.weight") else shape[::-1]


def tensorflow_bert(depth: int, heads: int, head_dim: int, words: int, positions: int) -> Shapes:
    """Google's BERT of TensorFlow 1."""
    state = bert_pretraining(depth, heads, head_dim, words, positions)
    renamed = {_tensorflow_key(key): _flax_shape(key, shape) for key, shape in state.items()}
    renamed["cls/seq_relationship/output_weights"] = (2, heads * head_dim)
    return renamed | {"global_step": ()}


TENSORFLOW = {
    "LayerNorm.weight": "LayerNorm.gamma",
    "LayerNorm.bias": "LayerNorm.beta",
    "embeddings.weight": "embeddings",
    "predictions.bias": "predictions.output_bias",
    "seq_relationship.weight": "seq_relationship.output_weights",
    "seq_relationship.bias": "seq_relationship.output_bias",
    ".weight": ".kernel",
}


def _tensorflow_key(key: str) -> str:
    end = next((end for end in TENSORFLOW if key.endswith(end)), "")
    renamed = key.removesuffix(end) + TENSORFLOW.get(end, "")
    return renamed.replace("encoder.layer.", "encoder.layer_").replace(".", "/")


BERT = sizes(depth=(3, 2), heads=(2, 3), head_dim=(4, 6), words=(31, 23), positions=(9, 7))

CONVERSIONS = (
    Conversion(
        "t5x_scanned_to_transformers",
        scanned_t5,
        HERE / "t5x_scanned_to_transformers.yaml",
        sizes(
            depth=(3, 2),
            heads=(2, 5),
            head_dim=(5, 4),
            width=(8, 12),
            hidden=(14, 18),
            words=(31, 23),
            buckets=(6, 7),
        ),
    ),
    Conversion(
        "jax_vit_to_timm",
        jax_vit,
        HERE / "jax_vit_to_timm.yaml",
        sizes(
            depth=(3, 2),
            heads=(2, 3),
            head_dim=(4, 6),
            hidden=(20, 28),
            classes=(7, 5),
            patch=(4, 2),
            tokens=(10, 17),
        ),
    ),
    Conversion(
        "flax_bert_to_transformers", flax_bert, HERE / "flax_bert_to_transformers.yaml", BERT
    ),
    Conversion(
        "tensorflow_bert_to_transformers",
        tensorflow_bert,
        HERE / "tensorflow_bert_to_transformers.yaml",
        BERT,
    ),
)
