"""Conversions of transformers that see or hear."""

from __future__ import annotations

from known_conversions.architectures import timm_vit, timm_vit_block
from known_conversions.conversion import Conversion, sizes
from known_conversions.places import HERE
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


def transformers_vit(depth: int, heads: int, head_dim: int, classes: int, tokens: int) -> Shapes:
    """transformers' ViTForImageClassification."""
    width = heads * head_dim
    parts = " ".join(f"attention.attention.{part}" for part in ("query", "key", "value"))
    layer = join(
        linear(parts, width, width),
        linear("attention.output.dense", width, width),
        linear("intermediate.dense", width, 4 * width),
        linear("output.dense", 4 * width, width),
        norm("layernorm_before layernorm_after", width),
    )
    return join(
        leaf("vit.embeddings.cls_token", 1, 1, width),
        leaf("vit.embeddings.position_embeddings", 1, tokens, width),
        conv("vit.embeddings.patch_embeddings.projection", 3, width, 4, 4),
        layers("vit.encoder.layer.{}.", depth, layer),
        norm("vit.layernorm", width),
        linear("classifier", width, classes),
    )


def openai_clip(
    depth: int, deep: int, width: int, wide: int, out: int, words: int, tokens: int, patches: int
) -> Shapes:
    """OpenAI's CLIP with a ViT: texts are `width` wide, images `wide`."""
    return join(
        leaf("positional_embedding", tokens, width),
        leaf("text_projection", width, out),
        leaf("logit_scale"),
        leaf("input_resolution"),
        leaf("context_length"),
        leaf("vocab_size"),
        leaf("visual.class_embedding", wide),
        leaf("visual.positional_embedding", patches + 1, wide),
        leaf("visual.proj", wide, out),
        leaf("visual.conv1.weight", wide, 3, 4, 4),
        norm("visual.ln_pre visual.ln_post", wide),
        layers("visual.transformer.resblocks.{}.", deep, _clip_block(wide)),
        layers("transformer.resblocks.{}.", depth, _clip_block(width)),
        leaf("token_embedding.weight", words, width),
        norm("ln_final", width),
    )


def _clip_block(width: int) -> Shapes:
    return join(
        leaf("attn.in_proj_weight", 3 * width, width),
        leaf("attn.in_proj_bias", 3 * width),
        linear("attn.out_proj", width, width),
        norm("ln_1", width),
        linear("mlp.c_fc", width, 4 * width),
        linear("mlp.c_proj", 4 * width, width),
        norm("ln_2", width),
    )


def openai_whisper(depth: int, width: int, mels: int, frames: int, words: int) -> Shapes:
    """OpenAI's Whisper, whose keys have no bias."""
    attention = join(
        linear("query value out", width, width), linear("key", width, width, bias=False)
    )
    mlp = join(
        linear("mlp.0", width, 4 * width), linear("mlp.2", 4 * width, width), norm("mlp_ln", width)
    )
    own = join(under("attn.", attention), norm("attn_ln", width))
    cross = join(under("cross_attn.", attention), norm("cross_attn_ln", width))
    return join(
        conv("encoder.conv1", mels, width, 3),
        conv("encoder.conv2", width, width, 3),
        leaf("encoder.positional_embedding", frames, width),
        layers("encoder.blocks.{}.", depth, own, mlp),
        norm("encoder.ln_post", width),
        leaf("decoder.token_embedding.weight", words, width),
        leaf("decoder.positional_embedding", frames // 2, width),
        layers("decoder.blocks.{}.", depth, own, cross, mlp),
        norm("decoder.ln", width),
    )


def microsoft_swin(width: int, depth: int, window: int, classes: int) -> Shapes:
    """Swin: the third stage has three times as many pairs of blocks, every second block a mask."""
    parts = [conv("patch_embed.proj", 3, width, 4, 4), norm("patch_embed.norm", width)]
    for stage in range(4):
        wide, heads = width * 2**stage, 2**stage
        for number in range(2 * depth * (3 if stage == 2 else 1)):
            block = _swin_block(wide, heads, window)
            if number % 2 and stage < 3:
                block |= leaf("attn_mask", 4 ** (3 - stage), window**2, window**2)
            parts.append(under(f"layers.{stage}.blocks.{number}.", block))
        if stage < 3:
            reduction = linear("reduction", 4 * wide, 2 * wide, bias=False)
            parts.append(under(f"layers.{stage}.downsample.", reduction, norm("norm", 4 * wide)))
    return join(*parts, norm("norm", 8 * width), linear("head", 8 * width, classes))


def _swin_block(width: int, heads: int, window: int) -> Shapes:
    return join(
        timm_vit_block(width, 4 * width),
        leaf("attn.relative_position_bias_table", (2 * window - 1) ** 2, heads),
        leaf("attn.relative_position_index", window**2, window**2),
    )


def mmseg_segformer(width: int, depth: int, fused: int, classes: int) -> Shapes:
    """SegFormer with its decode head; the last stage's attention sees every place."""
    widths = [width, 2 * width, 5 * width, 8 * width]
    parts: list[Shapes] = []
    for stage, out in enumerate(widths):
        wide, ratio = ([3, *widths])[stage], 8 >> stage
        kernel = 7 if stage == 0 else 3
        block = _segformer_block(out, ratio)
        parts += [
            conv(f"backbone.patch_embed{stage + 1}.proj", wide, out, kernel, kernel),
            norm(f"backbone.patch_embed{stage + 1}.norm", out),
            layers(f"backbone.block{stage + 1}.{{}}.", depth, block),
            norm(f"backbone.norm{stage + 1}", out),
            linear(f"decode_head.linear_c{stage + 1}.proj", out, fused),
        ]
    head = join(
        conv("conv_seg", 128, classes, 1, 1),
        conv("linear_fuse.conv", 4 * fused, fused, 1, 1, bias=False),
        batchnorm("linear_fuse.bn", fused),
        conv("linear_pred", fused, classes, 1, 1),
    )
    return join(*parts, under("decode_head.", head))


def _segformer_block(width: int, ratio: int) -> Shapes:
    reduction = join(conv("attn.sr", width, width, ratio, ratio), norm("attn.norm", width))
    return join(
        norm("norm1", width),
        linear("attn.q", width, width),
        linear("attn.kv", width, 2 * width),
        linear("attn.proj", width, width),
        reduction if ratio > 1 else {},
        norm("norm2", width),
        linear("mlp.fc1", width, 4 * width),
        each("mlp.dwconv.dwconv", weight(4 * width, 1, 3, 3)),
        linear("mlp.fc2", 4 * width, width),
    )


def meta_sam(depth: int, heads: int, head_dim: int, grid: int, window: int, out: int) -> Shapes:
    """Segment Anything; the last block alone sees the whole grid."""
    width = heads * head_dim
    blocks = []
    for number in range(depth):
        reach = grid if number == depth - 1 else window
        tables: Shapes = {f"attn.rel_pos_{axis}": (2 * reach - 1, head_dim) for axis in "hw"}
        blocks.append(under(f"blocks.{number}.", _sam_block(width), tables))
    neck = join(
        conv("neck.0", width, out, 1, 1, bias=False),
        norm("neck.1 neck.3", out),
        conv("neck.2", out, out, 3, 3, bias=False),
    )
    encoder = join(
        leaf("pos_embed", 1, grid, grid, width),
        conv("patch_embed.proj", 3, width, 4, 4),
        *blocks,
        neck,
    )
    return join(
        under("image_encoder.", encoder),
        under("prompt_encoder.", _sam_prompts(out)),
        under("mask_decoder.", _sam_masks(out)),
    )


def _sam_block(width: int) -> Shapes:
    return join(
        norm("norm1", width),
        linear("attn.qkv", width, 3 * width),
        linear("attn.proj", width, width),
        norm("norm2", width),
        linear("mlp.lin1", width, 4 * width),
        linear("mlp.lin2", 4 * width, width),
    )


def _sam_prompts(out: int) -> Shapes:
    return join(
        leaf("pe_layer.positional_encoding_gaussian_matrix", 2, out // 2),
        layers("point_embeddings.{}.", 4, leaf("weight", 1, out)),
        leaf("not_a_point_embed.weight", 1, out),
        conv("mask_downscaling.0", 1, 4, 2, 2),
        norm("mask_downscaling.1", 4),
        conv("mask_downscaling.3", 4, 16, 2, 2),
        norm("mask_downscaling.4", 16),
        conv("mask_downscaling.6", 16, out, 1, 1),
        leaf("no_mask_embed.weight", 1, out),
    )


def _sam_masks(out: int) -> Shapes:
    cross = _sam_attention(out, out // 2)
    layer = join(
        under("self_attn.", _sam_attention(out, out)),
        norm("norm1 norm2 norm3 norm4", out),
        under("cross_attn_token_to_image.", cross),
        under("cross_attn_image_to_token.", cross),
        linear("mlp.lin1", out, 8 * out),
        linear("mlp.lin2", 8 * out, out),
    )
    upscaling = join(
        each("0", {"weight": (out, out // 4, 2, 2), "bias": (out // 4,)}),
        norm("1", out // 4),
        each("3", {"weight": (out // 4, out // 8, 2, 2), "bias": (out // 8,)}),
    )
    return join(
        layers("transformer.layers.{}.", 2, layer),
        under("transformer.final_attn_token_to_image.", cross),
        norm("transformer.norm_final_attn", out),
        leaf("iou_token.weight", 1, out),
        leaf("mask_tokens.weight", 4, out),
        under("output_upscaling.", upscaling),
        layers("output_hypernetworks_mlps.{}.", 4, _sam_mlp(out, out, out // 8)),
        under("iou_prediction_head.", _sam_mlp(out, 3 * out, 4)),
    )


def _sam_attention(width: int, inner: int) -> Shapes:
    return join(linear("q_proj k_proj v_proj", width, inner), linear("out_proj", inner, width))


def _sam_mlp(wide: int, hidden: int, out: int) -> Shapes:
    return join(
        linear("layers.0", wide, hidden),
        linear("layers.1", hidden, hidden),
        linear("layers.2", hidden, out),
    )


def dinov2(depth: int, heads: int, head_dim: int, hidden: int, tokens: int) -> Shapes:
    """DINOv2 of the giant kind, with SwiGLU and scaled layers."""
    width = heads * head_dim
    block = join(
        norm("norm1", width),
        linear("attn.qkv", width, 3 * width),
        linear("attn.proj", width, width),
        leaf("ls1.gamma", width),
        norm("norm2", width),
        linear("mlp.w12", width, 2 * hidden),
        linear("mlp.w3", hidden, width),
        leaf("ls2.gamma", width),
    )
    return join(
        leaf("cls_token", 1, 1, width),
        leaf("pos_embed", 1, tokens, width),
        leaf("mask_token", 1, width),
        conv("patch_embed.proj", 3, width, 7, 7),
        layers("blocks.{}.", depth, block),
        norm("norm", width),
    )


def distilled_deit(depth: int, heads: int, head_dim: int, classes: int) -> Shapes:
    """timm's distilled DeiT: one token and one head more than a ViT."""
    width = heads * head_dim
    return join(
        timm_vit(depth, heads, head_dim, classes),
        leaf("dist_token", 1, 1, width),
        linear("head_dist", width, classes),
    ) | leaf("pos_embed", 1, 11, width)


def wrapped_mae(
    depth: int, heads: int, head_dim: int, decoder_layers: int, width: int, classes: int
) -> Shapes:
    """A masked autoencoder as DistributedDataParallel and torch.compile leave it."""
    decoder = join(
        linear("decoder_embed", heads * head_dim, width),
        leaf("decoder_pos_embed", 1, 10, width),
        layers("decoder_blocks.{}.", decoder_layers, timm_vit_block(width, 4 * width)),
        norm("decoder_norm", width),
        linear("decoder_pred", width, 48),
    )
    return under(
        "module._orig_mod.",
        timm_vit(depth, heads, head_dim, classes=0),
        leaf("mask_token", 1, 1, width),
        decoder,
    )


def finetuned_mae(
    depth: int, heads: int, head_dim: int, decoder_layers: int, width: int, classes: int
) -> Shapes:
    return timm_vit(depth, heads, head_dim, classes)


def larger_vit(depth: int, heads: int, head_dim: int, classes: int, own_classes: int) -> Shapes:
    return timm_vit(depth, heads, head_dim, own_classes, grid=4)


def smaller_vit(depth: int, heads: int, head_dim: int, classes: int, own_classes: int) -> Shapes:
    return timm_vit(depth, heads, head_dim, classes)


def vit_runs(depth: int, heads: int, head_dim: int, classes: int, runs: int) -> dict[str, Shapes]:
    one = timm_vit(depth, heads, head_dim, classes)
    return {f"run{number}": one for number in range(runs)}


CONVERSIONS = (
    Conversion(
        "vit_transformers_to_timm",
        transformers_vit,
        HERE / "vit_transformers_to_timm.yaml",
        sizes(depth=(3, 2), heads=(2, 3), head_dim=(4, 6), classes=(7, 5), tokens=(10, 17)),
    ),
    Conversion(
        "clip_openai_to_transformers",
        openai_clip,
        HERE / "clip_openai_to_transformers.yaml",
        sizes(
            depth=(2, 3),
            deep=(3, 2),
            width=(6, 10),
            wide=(8, 12),
            out=(5, 7),
            words=(31, 23),
            tokens=(9, 7),
            patches=(4, 9),
        ),
    ),
    Conversion(
        "whisper_openai_to_transformers",
        openai_whisper,
        HERE / "whisper_openai_to_transformers.yaml",
        sizes(depth=(2, 3), width=(8, 12), mels=(5, 7), frames=(18, 14), words=(31, 23)),
    ),
    Conversion(
        "swin_microsoft_to_transformers",
        microsoft_swin,
        HERE / "swin_microsoft_to_transformers.yaml",
        sizes(width=(4, 6), depth=(1, 2), window=(3, 2), classes=(7, 5)),
    ),
    Conversion(
        "segformer_mmseg_to_transformers",
        mmseg_segformer,
        HERE / "segformer_mmseg_to_transformers.yaml",
        sizes(width=(4, 6), depth=(2, 3), fused=(14, 10), classes=(7, 5)),
    ),
    Conversion(
        "sam_to_transformers",
        meta_sam,
        HERE / "sam_to_transformers.yaml",
        sizes(
            depth=(3, 4), heads=(2, 3), head_dim=(4, 6), grid=(5, 6), window=(3, 2), out=(16, 24)
        ),
    ),
    Conversion(
        "dinov2_to_transformers",
        dinov2,
        HERE / "dinov2_to_transformers.yaml",
        sizes(depth=(3, 2), heads=(2, 3), head_dim=(4, 6), hidden=(10, 14), tokens=(10, 17)),
    ),
    Conversion(
        "deit_distilled_to_transformers",
        distilled_deit,
        HERE / "deit_distilled_to_transformers.yaml",
        sizes(depth=(3, 2), heads=(2, 3), head_dim=(4, 6), classes=(7, 5)),
    ),
    Conversion(
        "mae_to_timm",
        wrapped_mae,
        HERE / "mae_to_timm.yaml",
        sizes(
            depth=(3, 4),
            heads=(2, 3),
            head_dim=(4, 6),
            decoder_layers=(2, 1),
            width=(6, 10),
            classes=(7, 5),
        ),
        own=("head.*",),
        into=finetuned_mae,
    ),
    Conversion(
        "timm_vit_at_another_size",
        smaller_vit,
        HERE / "timm_vit_at_another_size.yaml",
        sizes(depth=(3, 2), heads=(2, 3), head_dim=(4, 6), classes=(7, 5), own_classes=(4, 9)),
        own=("head.*",),
        computed=("pos_embed",),
        into=larger_vit,
    ),
    Conversion(
        "vit_soup",
        vit_runs,
        HERE / "vit_soup.yaml",
        sizes(depth=(2, 3), heads=(2, 3), head_dim=(4, 6), classes=(7, 5), runs=(3, 2)),
        computed=("*",),
    ),
)
