"""State dicts that more than one conversion starts from, by the library whose names they have."""

from __future__ import annotations

from known_conversions.shapes import (
    Shapes,
    batchnorm,
    conv,
    each,
    join,
    layers,
    leaf,
    linear,
    norm,
    under,
    weight,
)


def torchvision_resnet(
    width: int,
    depth: int,
    classes: int,
    channels: int = 3,
    bottleneck: bool = True,
    counter: bool = True,
) -> Shapes:
    """torchvision's ResNet with `depth` blocks in each of its four layers."""
    parts = [conv("conv1", channels, width, 7, 7, bias=False), batchnorm("bn1", width, counter)]
    wide = width
    for number in range(4):
        planes = width * 2**number
        out = planes * 4 if bottleneck else planes
        first = join(_block(wide, planes, bottleneck, counter), _shortcut(wide, out, counter))
        others = layers("{}.", depth - 1, _block(out, planes, bottleneck, counter), first=1)
        parts.append(under(f"layer{number + 1}.", under("0.", first), others))
        wide = out
    return join(*parts, linear("fc", wide, classes) if classes else {})


def _block(wide: int, planes: int, bottleneck: bool, counter: bool) -> Shapes:
    if not bottleneck:
        parts = (
            conv("conv1", wide, planes, 3, 3, bias=False),
            batchnorm("bn1 bn2", planes, counter),
        )
        return join(*parts, conv("conv2", planes, planes, 3, 3, bias=False))
    return join(
        conv("conv1", wide, planes, 1, 1, bias=False),
        batchnorm("bn1 bn2", planes, counter),
        conv("conv2", planes, planes, 3, 3, bias=False),
        conv("conv3", planes, planes * 4, 1, 1, bias=False),
        batchnorm("bn3", planes * 4, counter),
    )


def _shortcut(wide: int, out: int, counter: bool) -> Shapes:
    if wide == out:
        return {}
    parts = (
        conv("downsample.0", wide, out, 1, 1, bias=False),
        batchnorm("downsample.1", out, counter),
    )
    return join(*parts)


def timm_vit(
    depth: int, heads: int, head_dim: int, classes: int, patch: int = 4, grid: int = 3
) -> Shapes:
    """timm's VisionTransformer; without classes a backbone without a head."""
    width = heads * head_dim
    return join(
        leaf("cls_token", 1, 1, width),
        leaf("pos_embed", 1, 1 + grid * grid, width),
        conv("patch_embed.proj", 3, width, patch, patch),
        layers("blocks.{}.", depth, timm_vit_block(width, 4 * width)),
        norm("norm", width),
        linear("head", width, classes) if classes else {},
    )


def timm_vit_block(width: int, hidden: int) -> Shapes:
    return join(
        norm("norm1", width),
        linear("attn.qkv", width, 3 * width),
        linear("attn.proj", width, width),
        norm("norm2", width),
        linear("mlp.fc1", width, hidden),
        linear("mlp.fc2", hidden, width),
    )


def bert_embeddings(width: int, words: int, positions: int) -> Shapes:
    return join(
        leaf("word_embeddings.weight", words, width),
        leaf("position_embeddings.weight", positions, width),
        leaf("token_type_embeddings.weight", 2, width),
        norm("LayerNorm", width),
    )


def bert_layer(width: int, hidden: int) -> Shapes:
    """A layer of transformers' BERT."""
    return join(
        linear("attention.self.query attention.self.key attention.self.value", width, width),
        linear("attention.output.dense", width, width),
        norm("attention.output.LayerNorm", width),
        linear("intermediate.dense", width, hidden),
        linear("output.dense", hidden, width),
        norm("output.LayerNorm", width),
    )


def bert(depth: int, heads: int, head_dim: int, words: int, positions: int) -> Shapes:
    """transformers' BertModel."""
    width = heads * head_dim
    return join(
        under("embeddings.", bert_embeddings(width, words, positions)),
        layers("encoder.layer.{}.", depth, bert_layer(width, 4 * width)),
        linear("pooler.dense", width, width),
    )


def bert_pretraining(depth: int, heads: int, head_dim: int, words: int, positions: int) -> Shapes:
    """transformers' BertForPreTraining, whose decoder is tied to the words, without it."""
    width = heads * head_dim
    return join(
        under("bert.", bert(depth, heads, head_dim, words, positions)),
        leaf("cls.predictions.bias", words),
        linear("cls.predictions.transform.dense", width, width),
        norm("cls.predictions.transform.LayerNorm", width),
        linear("cls.seq_relationship", width, 2),
    )


def gpt2(depth: int, heads: int, head_dim: int, words: int, positions: int) -> Shapes:
    """transformers' GPT2Model: Conv1D weights are [in, out]."""
    width = heads * head_dim
    block = join(
        norm("ln_1", width),
        _conv1d("attn.c_attn", width, 3 * width),
        _conv1d("attn.c_proj", width, width),
        norm("ln_2", width),
        _conv1d("mlp.c_fc", width, 4 * width),
        _conv1d("mlp.c_proj", 4 * width, width),
    )
    return join(
        leaf("wte.weight", words, width),
        leaf("wpe.weight", positions, width),
        layers("h.{}.", depth, block),
        norm("ln_f", width),
    )


def _conv1d(name: str, wide: int, out: int) -> Shapes:
    return join(leaf(f"{name}.weight", wide, out), leaf(f"{name}.bias", out))


def llama(
    depth: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    hidden: int,
    words: int,
    mlp: Shapes | None = None,
    bias: bool = False,
) -> Shapes:
    """transformers' LlamaForCausalLM and its kin; `mlp` stands for the layers' own."""
    width = heads * head_dim
    if mlp is None:
        mlp = under("mlp.", swiglu("gate_proj up_proj", "down_proj", width, hidden))
    layer = join(
        linear("self_attn.q_proj", width, heads * head_dim, bias=bias),
        linear("self_attn.k_proj self_attn.v_proj", width, kv_heads * head_dim, bias=bias),
        linear("self_attn.o_proj", heads * head_dim, width, bias=False),
        mlp,
        norm("input_layernorm post_attention_layernorm", width, bias=False),
    )
    return join(
        leaf("model.embed_tokens.weight", words, width),
        layers("model.layers.{}.", depth, layer),
        norm("model.norm", width, bias=False),
        leaf("lm_head.weight", words, width),
    )


def swiglu(up: str, down: str, width: int, hidden: int) -> Shapes:
    """The names of the two layers that widen, that of the one that narrows, without biases."""
    return join(linear(up, width, hidden, bias=False), linear(down, hidden, width, bias=False))


def meta_llama(
    depth: int, heads: int, kv_heads: int, head_dim: int, hidden: int, words: int, shards: int = 1
) -> Shapes:
    """One of the tensor-parallel files of Meta's Llama, or the only one."""
    width = heads * head_dim
    wide, narrow, inner = width // shards, kv_heads * head_dim // shards, hidden // shards
    layer = join(
        linear("attention.wq", width, wide, bias=False),
        linear("attention.wk attention.wv", width, narrow, bias=False),
        linear("attention.wo", wide, width, bias=False),
        linear("feed_forward.w1", width, inner, bias=False),
        linear("feed_forward.w2", inner, width, bias=False),
        linear("feed_forward.w3", width, inner, bias=False),
        norm("attention_norm ffn_norm", width, bias=False),
    )
    return join(
        leaf("tok_embeddings.weight", words, wide),
        norm("norm", width, bias=False),
        leaf("output.weight", words // shards, width),
        layers("layers.{}.", depth, layer),
    )


def mixtral_experts(width: int, hidden: int, experts: int) -> Shapes:
    """A layer's experts as Mixtral's files on the hub have them."""
    return under(
        "block_sparse_moe.",
        linear("gate", width, experts, bias=False),
        layers("experts.{}.", experts, swiglu("w1 w3", "w2", width, hidden)),
    )


def separable_block(wide: int, out: int, factor: int, kernel: int, squeeze: bool) -> Shapes:
    """A block of EfficientNet in lukemelas' names; with a factor of 1 it has no expansion."""
    inner = wide * factor
    expansion = join(conv("_expand_conv", wide, inner, 1, 1, bias=False), batchnorm("_bn0", inner))
    reduced = max(1, wide // 4)
    attention = join(
        conv("_se_reduce", inner, reduced, 1, 1), conv("_se_expand", reduced, inner, 1, 1)
    )
    return join(
        expansion if factor > 1 else {},
        each("_depthwise_conv", weight(inner, 1, kernel, kernel, bias=False)),
        batchnorm("_bn1", inner),
        attention if squeeze else {},
        conv("_project_conv", inner, out, 1, 1, bias=False),
        batchnorm("_bn2", out),
    )


EFFICIENTNET_STAGES = (
    # repeats, factor, kernel, out (in units of width / 4)
    (1, 1, 3, 2),
    (2, 6, 3, 3),
    (2, 6, 5, 5),
    (3, 6, 3, 10),
    (3, 6, 5, 14),
    (4, 6, 5, 24),
    (1, 6, 3, 40),
)
"""EfficientNet-B0's and Lite0's, whose stem is 32 wide."""


def lukemelas_efficientnet(width: int, classes: int, squeeze: bool) -> Shapes:
    """EfficientNet-B0, or without squeeze-and-excitation Lite0, whose stem is `width` wide."""
    blocks: list[Shapes] = []
    wide = width
    for repeats, factor, kernel, units in EFFICIENTNET_STAGES:
        out = units * width // 4
        for _ in range(repeats):
            blocks.append(separable_block(wide, out, factor, kernel, squeeze))
            wide = out
    last = width * 40
    return join(
        conv("_conv_stem", 3, width, 3, 3, bias=False),
        batchnorm("_bn0", width),
        *(under(f"_blocks.{number}.", block) for number, block in enumerate(blocks)),
        conv("_conv_head", wide, last, 1, 1, bias=False),
        batchnorm("_bn1", last),
        linear("_fc", last, classes),
    )
