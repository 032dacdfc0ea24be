"""The conversions whose rules other tests, examples and the package have already."""

from __future__ import annotations

from itertools import pairwise

from known_conversions.architectures import (
    bert,
    bert_pretraining,
    gpt2,
    llama,
    lukemelas_efficientnet,
    meta_llama,
    mixtral_experts,
    timm_vit,
    torchvision_resnet,
)
from known_conversions.conversion import Conversion, sizes
from known_conversions.places import EXAMPLES, HERE, SHIPPED, TESTED
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


def detr(width: int, depth: int, blocks: int, hidden: int, queries: int, classes: int) -> Shapes:
    """facebookresearch's DETR with a frozen ResNet-50."""
    body = torchvision_resnet(width // 2, blocks, 0, counter=False)
    attention = _torch_attention("self_attn", width)
    cross = _torch_attention("multihead_attn", width)
    mlp = join(linear("linear1", width, hidden), linear("linear2", hidden, width))
    return join(
        under(
            "transformer.",
            layers("encoder.layers.{}.", depth, attention, mlp, norm("norm1 norm2", width)),
            layers(
                "decoder.layers.{}.", depth, attention, cross, mlp, norm("norm1 norm2 norm3", width)
            ),
            norm("decoder.norm", width),
        ),
        linear("class_embed", width, classes + 1),
        linear("bbox_embed.layers.0 bbox_embed.layers.1", width, width),
        linear("bbox_embed.layers.2", width, 4),
        leaf("query_embed.weight", queries, width),
        conv("input_proj", width * 16, width, 1, 1),
        under("backbone.0.body.", body),
    )


def _torch_attention(name: str, width: int) -> Shapes:
    return under(
        f"{name}.",
        leaf("in_proj_weight", 3 * width, width),
        leaf("in_proj_bias", 3 * width),
        linear("out_proj", width, width),
    )


def crepe(width: int, kernel: int, pitches: int) -> Shapes:
    """torchcrepe's network; the smallest of its sizes is 16 wide."""
    widths = (1, 8 * width, width, width, width, 2 * width, 4 * width)
    parts = []
    for number, (wide, out) in enumerate(pairwise(widths), 1):
        height = 8 * kernel if number == 1 else kernel
        parts.append(conv(f"conv{number}", wide, out, height, 1))
        parts.append(batchnorm(f"conv{number}_BN", out))
    return join(*parts, linear("classifier", 16 * width, pitches))


def g2p(width: int, letters: int, phonemes: int) -> Shapes:
    """The arrays of g2p_en's checkpoint20.npz."""
    parts = [leaf(f"{side}_emb", n, width) for side, n in (("enc", letters), ("dec", phonemes))]
    for side in ("enc", "dec"):
        parts.append({f"{side}_w_ih": (3 * width, width), f"{side}_w_hh": (3 * width, width)})
        parts.append({f"{side}_b_ih": (3 * width,), f"{side}_b_hh": (3 * width,)})
    return join(*parts, leaf("fc_w", phonemes, width), leaf("fc_b", phonemes))


def minilm(depth: int, heads: int, head_dim: int, words: int, positions: int) -> Shapes:
    ids = leaf("embeddings.position_ids", 1, positions)
    return join(ids, bert(depth, heads, head_dim, words, positions))


def mixtral(
    depth: int, heads: int, kv_heads: int, head_dim: int, hidden: int, words: int, experts: int
) -> Shapes:
    """MixtralForCausalLM as on the hub."""
    moe = mixtral_experts(heads * head_dim, hidden, experts)
    return llama(depth, heads, kv_heads, head_dim, hidden, words, moe)


def fused_mixtral(
    depth: int, heads: int, kv_heads: int, head_dim: int, hidden: int, words: int, experts: int
) -> Shapes:
    """MixtralForCausalLM's state_dict in transformers 5."""
    width = heads * head_dim
    moe = under(
        "mlp.",
        linear("gate", width, experts, bias=False),
        leaf("experts.gate_up_proj", experts, 2 * hidden, width),
        leaf("experts.down_proj", experts, width, hidden),
    )
    return llama(depth, heads, kv_heads, head_dim, hidden, words, moe)


def swapping_resnet(width: int, depth: int, classes: int) -> Shapes:
    return torchvision_resnet(width, depth, classes, bottleneck=False)


def parallel_resnet(width: int, depth: int, classes: int, own_classes: int) -> Shapes:
    """A 4-channel ResNet as DataParallel saves it."""
    state = torchvision_resnet(width, depth, classes, channels=4, bottleneck=False)
    return under("module.", state)


def narrow_resnet(width: int, depth: int, classes: int, own_classes: int) -> Shapes:
    return torchvision_resnet(width, depth, own_classes, bottleneck=False)


def convnext(width: int, depth: int, classes: int) -> Shapes:
    """facebook's ConvNeXt; its third stage is three times as deep as the others."""
    widths = [width, 2 * width, 4 * width, 8 * width]
    parts = [conv("downsample_layers.0.0", 3, width, 4, 4), norm("downsample_layers.0.1", width)]
    for number in (1, 2, 3):
        parts.append(norm(f"downsample_layers.{number}.0", widths[number - 1]))
        wide, out = widths[number - 1 : number + 1]
        parts.append(conv(f"downsample_layers.{number}.1", wide, out, 2, 2))
    for number, out in enumerate(widths):
        block = join(
            leaf("gamma", out),
            each("dwconv", weight(out, 1, 7, 7)),
            norm("norm", out),
            linear("pwconv1", out, 4 * out),
            linear("pwconv2", 4 * out, out),
        )
        count = 3 * depth if number == 2 else depth
        parts.append(layers(f"stages.{number}.{{}}.", count, block))
    return join(*parts, norm("norm", widths[-1]), linear("head", widths[-1], classes))


def old_bert(depth: int, heads: int, head_dim: int, words: int, positions: int) -> Shapes:
    """BERT of the days when a LayerNorm had gamma and beta."""
    state = bert_pretraining(depth, heads, head_dim, words, positions)
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    renamed = {}
    for key, shape in state.items():
        end = next((end for end in old if key.endswith(end)), "")
        renamed[key.removesuffix(end) + old.get(end, "")] = shape
    return renamed


def bert_with_decoder(heads: int, head_dim: int, words: int, positions: int) -> Shapes:
    """BertForMaskedLM of 12 layers, the decoder written out."""
    state = bert_pretraining(12, heads, head_dim, words, positions)
    parts = {key: shape for key, shape in state.items() if "seq_relationship" not in key}
    return join(parts, leaf("cls.predictions.decoder.weight", words, heads * head_dim))


def neox(depth: int, heads: int, head_dim: int, words: int) -> Shapes:
    """transformers' GPTNeoXForCausalLM."""
    width = heads * head_dim
    layer = join(
        norm("input_layernorm post_attention_layernorm", width),
        linear("attention.query_key_value", width, 3 * width),
        linear("attention.dense", width, width),
        linear("mlp.dense_h_to_4h", width, 4 * width),
        linear("mlp.dense_4h_to_h", 4 * width, width),
    )
    return join(
        leaf("gpt_neox.embed_in.weight", words, width),
        layers("gpt_neox.layers.{}.", depth, layer),
        norm("gpt_neox.final_layer_norm", width),
        leaf("embed_out.weight", words, width),
    )


def wav2vec2(depth: int, width: int, hidden: int, channels: int, convs: int, codes: int) -> Shapes:
    """fairseq's wav2vec 2.0 as it is pretrained."""
    attention = "self_attn.k_proj self_attn.v_proj self_attn.q_proj self_attn.out_proj"
    layer = join(
        linear(attention, width, width),
        norm("self_attn_layer_norm", width),
        linear("fc1", width, hidden),
        linear("fc2", hidden, width),
        norm("final_layer_norm", width),
    )
    return join(
        leaf("mask_emb", width),
        conv("feature_extractor.conv_layers.0.0", 1, channels, 10, bias=False),
        norm("feature_extractor.conv_layers.0.2", channels),
        layers(
            "feature_extractor.conv_layers.{}.0.",
            convs,
            weight(channels, channels, 3, bias=False),
            first=1,
        ),
        linear("post_extract_proj", channels, width),
        leaf("quantizer.vars", 1, 2 * codes, 5),
        linear("quantizer.weight_proj", channels, 2 * codes),
        linear("project_q", 10, 12),
        leaf("encoder.pos_conv.0.bias", width),
        leaf("encoder.pos_conv.0.weight_g", 1, 1, 8),
        leaf("encoder.pos_conv.0.weight_v", width, width // 2, 8),
        layers("encoder.layers.{}.", depth, layer),
        norm("encoder.layer_norm", width),
        norm("layer_norm", channels),
        linear("final_proj", width, 12),
    )


def lite0(width: int, classes: int) -> Shapes:
    return lukemelas_efficientnet(width, classes, squeeze=False)


def body_network(width: int, classes: int) -> Shapes:
    """The network of examples/efficientnet_lite0.py: Lite0 with four channels and other names."""
    places = {"_conv_stem": "0.conv", "_bn0": "0.norm", "_conv_head": "17.conv", "_bn1": "17.norm"}
    parts = {"_expand": "expand", "_depthwise": "depthwise", "_project": "project"}
    norms = {"_bn0": "expand.norm", "_bn1": "depthwise.norm", "_bn2": "project.norm"}
    inside = {f"{part}_conv": f"{name}.conv" for part, name in parts.items()} | norms
    renamed: Shapes = {}
    for key, shape in lite0(width, classes).items():
        pieces = key.split(".")
        if pieces[0] == "_blocks":
            module = f"{int(pieces[1]) + 1}.{inside[pieces[2]]}"
            renamed[f"body.{module}.{pieces[-1]}"] = shape
        elif pieces[0] in places:
            renamed[f"body.{places[pieces[0]]}.{pieces[-1]}"] = shape
    return renamed | {"body.0.conv.weight": (width, 4, 3, 3)} | linear("classifier", 40 * width, 10)


def tour(width: int, depth: int) -> Shapes:
    """The source of examples/tour.py, whose layers are counted from 1."""
    return under(
        "module.",
        conv("conv1", 4, width, 3, 3, bias=False),
        batchnorm("bn1", width),
        layers(
            "layer{}.",
            depth,
            conv("conv", width, width, 3, 3, bias=False),
            batchnorm("bn", width),
            first=1,
        ),
        linear("qkv", width, 3 * width),
        linear("fc", width, 100),
    )


def toured(width: int, depth: int) -> Shapes:
    return join(
        conv("stem.conv", 3, width, 3, 3, bias=False),
        batchnorm("stem.norm", width),
        layers(
            "blocks.{}.",
            depth,
            conv("conv", width, width, 3, 3, bias=False),
            batchnorm("norm", width),
        ),
        linear("attention.q attention.k attention.v", width, width),
        linear("head", width, 10),
    )


def shards(
    depth: int, heads: int, head_dim: int, hidden: int, words: int, count: int
) -> dict[str, Shapes]:
    """All files of a Meta Llama without grouped queries, s0, s1, …."""
    one = meta_llama(depth, heads, heads, head_dim, hidden, words, count)
    return {f"s{number}": one | leaf("rope.freqs", head_dim // 2) for number in range(count)}


def shifted_vit(depth: int, heads: int, head_dim: int, classes: int) -> Shapes:
    return timm_vit(depth + 1, heads, head_dim, classes)


def hub_gpt2(depth: int, heads: int, head_dim: int, words: int, positions: int) -> Shapes:
    """GPT2LMHeadModel without its tied head."""
    return under("transformer.", gpt2(depth, heads, head_dim, words, positions))


VIT = sizes(depth=(3, 4), heads=(2, 3), head_dim=(4, 6), classes=(7, 5))
BACKBONE = sizes(depth=(3, 4), heads=(2, 3), head_dim=(4, 6), classes=(0, 0))
RESNET = sizes(width=(4, 6), depth=(2, 3), classes=(10, 7))
OWN_HEAD = sizes(width=(4, 6), depth=(2, 3), classes=(10, 7), own_classes=(6, 9))
BERT = sizes(depth=(3, 4), heads=(2, 3), head_dim=(4, 6), words=(31, 23), positions=(9, 7))
TWELVE_LAYERS = sizes(heads=(2, 3), head_dim=(4, 6), words=(31, 23), positions=(9, 7))
LITE0 = sizes(width=(8, 4), classes=(11, 7))
MIXTRAL = sizes(
    depth=(2, 3),
    heads=(4, 6),
    kv_heads=(2, 2),
    head_dim=(4, 6),
    hidden=(20, 14),
    words=(37, 29),
    experts=(12, 3),
)
NORMS = ("*norm.weight", "rope.freqs")
"""What each of Llama's tensor-parallel files has whole."""

CONVERSIONS = (
    Conversion(
        "timm_vit_to_transformers", timm_vit, SHIPPED / "timm_vit_to_transformers.yaml", VIT
    ),
    Conversion(
        "timm_vit_backbone_to_transformers",
        timm_vit,
        SHIPPED / "timm_vit_to_transformers.yaml",
        BACKBONE,
    ),
    Conversion(
        "torchvision_resnet_to_transformers",
        torchvision_resnet,
        SHIPPED / "torchvision_resnet_to_transformers.yaml",
        RESNET,
    ),
    Conversion(
        "crepe",
        crepe,
        TESTED / "crepe.yaml",
        sizes(width=(4, 6), kernel=(5, 7), pitches=(36, 20)),
    ),
    Conversion(
        "detr_to_transformers",
        detr,
        TESTED / "detr_to_transformers.yaml",
        sizes(
            width=(8, 12),
            depth=(2, 3),
            blocks=(2, 3),
            hidden=(20, 28),
            queries=(5, 7),
            classes=(6, 4),
        ),
    ),
    Conversion(
        "efficientnet_folded",
        lite0,
        TESTED / "efficientnet_folded.yaml",
        LITE0,
        computed=("_conv_stem.*", "_conv_head.*", "_blocks.*"),
    ),
    Conversion(
        "g2p",
        g2p,
        TESTED / "g2p.yaml",
        sizes(width=(8, 10), letters=(29, 17), phonemes=(23, 31)),
    ),
    Conversion("gpt2_to_linear", hub_gpt2, TESTED / "gpt2_to_linear.yaml", BERT),
    Conversion(
        "llama_shards_to_transformers",
        shards,
        TESTED / "llama_shards_to_transformers.yaml",
        sizes(
            depth=(2, 3),
            heads=(8, 4),
            head_dim=(4, 6),
            hidden=(48, 32),
            words=(40, 44),
            count=(2, 4),
        ),
        same=NORMS,
        variable_names={"n_heads": "heads"},
    ),
    Conversion(
        "llama_four_shards_to_transformers",
        shards,
        TESTED / "llama_shards_to_transformers.yaml",
        sizes(
            depth=(3, 2),
            heads=(8, 4),
            head_dim=(6, 8),
            hidden=(64, 48),
            words=(36, 28),
            count=(4, 1),
        ),
        same=NORMS,
        variable_names={"n_heads": "heads"},
        dtype="bfloat16",
    ),
    Conversion("minilm_to_torch_encoder", minilm, TESTED / "minilm_to_torch_encoder.yaml", BERT),
    Conversion("mixtral_to_hub", fused_mixtral, TESTED / "mixtral_to_hub.yaml", MIXTRAL),
    Conversion("mixtral_to_memory", mixtral, TESTED / "mixtral_to_memory.yaml", MIXTRAL),
    Conversion(
        "shift_blocks",
        timm_vit,
        TESTED / "shift_blocks.yaml",
        VIT,
        own=("blocks.0.*",),
        into=shifted_vit,
    ),
    Conversion("swap_batchnorms", swapping_resnet, TESTED / "swap_batchnorms.yaml", RESNET),
    Conversion(
        "training_checkpoint",
        parallel_resnet,
        TESTED / "training_checkpoint.yaml",
        OWN_HEAD,
        own=("fc.*",),
        into=narrow_resnet,
    ),
    Conversion(
        "resnet18_four_channels",
        parallel_resnet,
        HERE / "resnet18_four_channels.yaml",
        OWN_HEAD,
        own=("fc.*",),
        into=narrow_resnet,
    ),
    Conversion("bert_gamma_beta", old_bert, HERE / "bert_gamma_beta.yaml", BERT),
    Conversion(
        "convnext_to_transformers",
        convnext,
        HERE / "convnext_to_transformers.yaml",
        sizes(width=(4, 6), depth=(1, 2), classes=(10, 7)),
    ),
    Conversion(
        "distilbert_from_bert", bert_with_decoder, HERE / "distilbert_from_bert.yaml", TWELVE_LAYERS
    ),
    Conversion(
        "neox_qkv",
        neox,
        HERE / "neox_qkv.yaml",
        sizes(depth=(2, 3), heads=(4, 3), head_dim=(6, 8), words=(31, 23)),
        config_names={"num_attention_heads": "heads"},
    ),
    Conversion(
        "wav2vec2_fairseq_to_transformers",
        wav2vec2,
        HERE / "wav2vec2_fairseq_to_transformers.yaml",
        sizes(
            depth=(2, 3),
            width=(8, 12),
            hidden=(20, 28),
            channels=(6, 10),
            convs=(3, 5),
            codes=(7, 9),
        ),
    ),
    Conversion(
        "efficientnet_lite0",
        lite0,
        EXAMPLES / "efficientnet_lite0.yaml",
        LITE0,
        own=("classifier.*",),
        into=body_network,
    ),
    Conversion(
        "tour",
        tour,
        EXAMPLES / "tour.yaml",
        sizes(width=(6, 8), depth=(2, 4)),
        own=("head.*",),
        into=toured,
    ),
)
