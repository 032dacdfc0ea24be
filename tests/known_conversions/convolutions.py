"""Conversions of convolutional networks, and of what belongs to diffusion models."""

from __future__ import annotations

from known_conversions.architectures import lukemelas_efficientnet, torchvision_resnet
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


def old_densenet(growth: int, depth: int, classes: int) -> Shapes:
    """torchvision's DenseNet-121 with names of before torch 0.4, and fewer layers a block."""
    wide = 2 * growth
    parts = [conv("features.conv0", 3, wide, 7, 7, bias=False), batchnorm("features.norm0", wide)]
    for block in (1, 2, 3, 4):
        for number in range(1, depth + block):
            prefix = f"features.denseblock{block}.denselayer{number}."
            parts.append(under(prefix, _dense_layer(wide, growth)))
            wide += growth
        if block < 4:
            transition = join(
                batchnorm("norm", wide), conv("conv", wide, wide // 2, 1, 1, bias=False)
            )
            parts.append(under(f"features.transition{block}.", transition))
            wide //= 2
    return join(*parts, batchnorm("features.norm5", wide), linear("classifier", wide, classes))


def _dense_layer(wide: int, growth: int) -> Shapes:
    return join(
        batchnorm("norm.1", wide),
        conv("conv.1", wide, 4 * growth, 1, 1, bias=False),
        batchnorm("norm.2", 4 * growth),
        conv("conv.2", 4 * growth, growth, 3, 3, bias=False),
    )


VGG = {0: 1, 2: 1, 5: 2, 7: 2, 10: 4, 12: 4, 14: 4, 17: 8, 19: 8, 21: 8, 24: 8, 26: 8, 28: 8}
"""VGG-16's convolutions by their places, and their widths as multiples of the first."""


def vgg16(width: int, hidden: int, classes: int) -> Shapes:
    wide, parts = 3, []
    for place, factor in VGG.items():
        parts.append(conv(f"features.{place}", wide, width * factor, 3, 3))
        wide = width * factor
    return join(
        *parts,
        linear("classifier.0", 9 * wide, hidden),
        linear("classifier.3", hidden, hidden),
        linear("classifier.6", hidden, classes),
    )


def efficientnet_b0(width: int, classes: int) -> Shapes:
    return lukemelas_efficientnet(width, classes, squeeze=True)


MOBILENET = ((1, 1, 2), (2, 6, 3), (3, 6, 4), (4, 6, 8), (3, 6, 12), (3, 6, 20), (1, 6, 40))
"""MobileNetV2's stages: repeats, factor, out in units of an eighth of 64."""


def mobilenet_v2(unit: int, classes: int) -> Shapes:
    """torchvision's MobileNetV2; its stem is four units wide."""
    wide = 4 * unit
    parts = [conv("features.0.0", 3, wide, 3, 3, bias=False), batchnorm("features.0.1", wide)]
    place = 1
    for repeats, factor, units in MOBILENET:
        for _ in range(repeats):
            block = _mobile_block(wide, units * unit, factor)
            parts.append(under(f"features.{place}.conv.", block))
            wide, place = units * unit, place + 1
    last = 160 * unit
    return join(
        *parts,
        conv("features.18.0", wide, last, 1, 1, bias=False),
        batchnorm("features.18.1", last),
        linear("classifier.1", last, classes),
    )


def _mobile_block(wide: int, out: int, factor: int) -> Shapes:
    inner, parts, place = wide * factor, list[Shapes](), 0
    if factor > 1:
        expansion = conv("0.0", wide, inner, 1, 1, bias=False)
        parts, place = [expansion, batchnorm("0.1", inner)], 1
    return join(
        *parts,
        each(f"{place}.0", weight(inner, 1, 3, 3, bias=False)),
        batchnorm(f"{place}.1", inner),
        conv(f"{place + 1}", inner, out, 1, 1, bias=False),
        batchnorm(f"{place + 2}", out),
    )


def regnet_y(width: int, depth: int, classes: int) -> Shapes:
    """torchvision's RegNetY with groups of two channels."""
    wide = 2 * width
    parts = [conv("stem.0", 3, wide, 3, 3, bias=False), batchnorm("stem.1", wide)]
    for stage in (1, 2, 3, 4):
        out = width * 3 * stage
        for number in range(depth + stage % 2):
            block = _regnet_block(wide, out)
            parts.append(under(f"trunk_output.block{stage}.block{stage}-{number}.", block))
            wide = out
    return join(*parts, linear("fc", wide, classes))


def _regnet_block(wide: int, out: int) -> Shapes:
    shortcut = join(conv("proj.0", wide, out, 1, 1, bias=False), batchnorm("proj.1", out))
    return join(
        shortcut if wide != out else {},
        conv("f.a.0", wide, out, 1, 1, bias=False),
        conv("f.b.0", 2, out, 3, 3, bias=False),
        batchnorm("f.a.1 f.b.1 f.c.1", out),
        conv("f.se.fc1", out, max(1, wide // 4), 1, 1),
        conv("f.se.fc2", max(1, wide // 4), out, 1, 1),
        conv("f.c.0", out, out, 1, 1, bias=False),
    )


def detectron2_resnet(width: int, depth: int, classes: int) -> Shapes:
    """Detectron2's ResNet-50: frozen BatchNorms beneath their convolutions."""
    renamed: Shapes = {}
    for key, shape in torchvision_resnet(width, depth, 0, counter=False).items():
        renamed["backbone.bottom_up." + _detectron2_key(key)] = shape
    return renamed


def _detectron2_key(key: str) -> str:
    for number in (1, 2, 3):
        key = key.replace(f"bn{number}.", f"conv{number}.norm.")
    key = key.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
    if not key.startswith("layer"):
        return "stem." + key
    return f"res{int(key[5]) + 1}{key[6:]}"


def frozen_resnet(width: int, depth: int, classes: int) -> Shapes:
    return torchvision_resnet(width, depth, classes, counter=False)


def moco(width: int, depth: int, out: int, queue: int, classes: int) -> Shapes:
    """MoCo v2 as DistributedDataParallel saves it: two encoders and a queue."""
    encoder = torchvision_resnet(width, depth, 0)
    head = join(linear("fc.0", 32 * width, 32 * width), linear("fc.2", 32 * width, out))
    return under(
        "module.",
        under("encoder_q.", encoder, head),
        under("encoder_k.", encoder, head),
        leaf("queue", out, queue),
        leaf("queue_ptr", 1),
    )


def probed_resnet(width: int, depth: int, out: int, queue: int, classes: int) -> Shapes:
    return torchvision_resnet(width, depth, classes)


YOLO_NECK = (
    ("9.cv1", 16, 8, 1),
    ("9.cv2", 32, 16, 1),
    ("10", 16, 8, 1),
    ("14", 8, 4, 1),
    ("18", 4, 4, 3),
    ("21", 8, 8, 3),
)
"""Single convolutions: place, in, out (in units of width), kernel."""


def yolov5(width: int, depth: int, classes: int) -> Shapes:
    """Ultralytics' YOLOv5: sixteen units of width at its deepest."""
    parts = [_yolo_conv("0", 3, width, 6)]
    for number, factor in ((1, 2), (3, 4), (5, 8), (7, 16)):
        parts.append(_yolo_conv(f"{number}", factor * width // 2, factor * width, 3))
        parts.append(under(f"{number + 1}.", _yolo_stage(factor * width, factor * width, depth)))
    for name, wide, out, kernel in YOLO_NECK:
        parts.append(_yolo_conv(name, wide * width, out * width, kernel))
    for number, wide, out in ((13, 16, 8), (17, 8, 4), (20, 8, 8), (23, 16, 16)):
        parts.append(under(f"{number}.", _yolo_stage(wide * width, out * width, depth)))
    heads = [conv(f"24.m.{n}", 2 ** (n + 2) * width, 3 * (classes + 5), 1, 1) for n in range(3)]
    return under("model.", *parts, leaf("24.anchors", 3, 3, 2), *heads)


def _yolo_conv(name: str, wide: int, out: int, kernel: int) -> Shapes:
    convolution = conv("conv", wide, out, kernel, kernel, bias=False)
    return under(f"{name}.", convolution, batchnorm("bn", out))


def _yolo_stage(wide: int, out: int, depth: int) -> Shapes:
    half = out // 2
    bottleneck = join(_yolo_conv("cv1", half, half, 1), _yolo_conv("cv2", half, half, 3))
    return join(
        _yolo_conv("cv1", wide, half, 1),
        _yolo_conv("cv2", wide, half, 1),
        _yolo_conv("cv3", out, out, 1),
        layers("m.{}.", depth, bottleneck),
    )


def ldm_vae(width: int, depth: int, latent: int) -> Shapes:
    """Stable Diffusion's VAE: four levels, the decoder with one block more at each."""
    widths = [width, 2 * width, 4 * width, 4 * width]
    last = widths[-1]
    encoder, wide = [conv("conv_in", 3, width, 3, 3)], width
    for level, out in enumerate(widths):
        encoder.append(under(f"down.{level}.", _vae_level(wide, out, depth)))
        if level < 3:
            encoder.append(conv(f"down.{level}.downsample.conv", out, out, 3, 3))
        wide = out
    decoder, wide = [conv("conv_in", latent, last, 3, 3)], last
    for level, out in reversed(list(enumerate(widths))):
        decoder.append(under(f"up.{level}.", _vae_level(wide, out, depth + 1)))
        if level > 0:
            decoder.append(conv(f"up.{level}.upsample.conv", out, out, 3, 3))
        wide = out
    encoder += [_vae_middle(last), norm("norm_out", last), conv("conv_out", last, 2 * latent, 3, 3)]
    decoder += [_vae_middle(last), norm("norm_out", width), conv("conv_out", width, 3, 3, 3)]
    return join(
        under("encoder.", *encoder),
        under("decoder.", *decoder),
        conv("quant_conv", 2 * latent, 2 * latent, 1, 1),
        conv("post_quant_conv", latent, latent, 1, 1),
    )


def _vae_level(wide: int, out: int, count: int) -> Shapes:
    blocks = [_vae_block(out if number else wide, out) for number in range(count)]
    return join(*(under(f"block.{number}.", block) for number, block in enumerate(blocks)))


def _vae_block(wide: int, out: int) -> Shapes:
    return join(
        norm("norm1", wide),
        conv("conv1", wide, out, 3, 3),
        norm("norm2", out),
        conv("conv2", out, out, 3, 3),
        conv("nin_shortcut", wide, out, 1, 1) if wide != out else {},
    )


def _vae_middle(width: int) -> Shapes:
    block = _vae_block(width, width)
    attention = join(norm("norm", width), conv("q k v proj_out", width, width, 1, 1))
    return under(
        "mid.", under("block_1.", block), under("attn_1.", attention), under("block_2.", block)
    )


def stable_diffusion(width: int, depth: int, context: int, hint: int) -> Shapes:
    """The UNet of Stable Diffusion in CompVis' names, of two levels."""
    encoder = _unet_encoder(width, depth, context)
    return under("model.diffusion_model.", encoder, _unet_decoder(width))


def _unet_encoder(width: int, depth: int, context: int) -> Shapes:
    parts = [linear("time_embed.0", width, 4 * width), linear("time_embed.2", 4 * width, 4 * width)]
    parts.append(conv("input_blocks.0.0", 4, width, 3, 3))
    for number in range(1, depth + 1):
        parts.append(under(f"input_blocks.{number}.0.", _unet_block(width, width, width)))
        parts.append(under(f"input_blocks.{number}.1.", _unet_attention(width, context)))
    parts.append(conv(f"input_blocks.{depth + 1}.0.op", width, width, 3, 3))
    wider = under(f"input_blocks.{depth + 2}.0.", _unet_block(width, 2 * width, width))
    middle = (
        under("middle_block.0.", _unet_block(2 * width, 2 * width, width)),
        under("middle_block.1.", _unet_attention(2 * width, context)),
        under("middle_block.2.", _unet_block(2 * width, 2 * width, width)),
    )
    return join(*parts, wider, *middle)


def _unet_decoder(width: int) -> Shapes:
    return join(
        under("output_blocks.0.0.", _unet_block(4 * width, 2 * width, width)),
        under("output_blocks.1.0.", _unet_block(3 * width, width, width)),
        norm("out.0", width),
        conv("out.2", width, 4, 3, 3),
    )


def _unet_block(wide: int, out: int, base: int) -> Shapes:
    return join(
        norm("in_layers.0", wide),
        conv("in_layers.2", wide, out, 3, 3),
        linear("emb_layers.1", 4 * base, out),
        norm("out_layers.0", out),
        conv("out_layers.3", out, out, 3, 3),
        conv("skip_connection", wide, out, 1, 1) if wide != out else {},
    )


def _unet_attention(width: int, context: int) -> Shapes:
    block = join(
        linear("attn1.to_q attn1.to_k attn1.to_v attn2.to_q", width, width, bias=False),
        linear("attn2.to_k attn2.to_v", context, width, bias=False),
        linear("attn1.to_out.0 attn2.to_out.0", width, width),
        norm("norm1 norm2 norm3", width),
        linear("ff.net.0.proj", width, 8 * width),
        linear("ff.net.2", 4 * width, width),
    )
    return join(
        norm("norm", width),
        conv("proj_in proj_out", width, width, 1, 1),
        under("transformer_blocks.0.", block),
    )


def controlled_diffusion(width: int, depth: int, context: int, hint: int) -> Shapes:
    """Stable Diffusion with ControlNet beside it, before any training."""
    zeros = [conv(f"zero_convs.{number}.0", width, width, 1, 1) for number in range(depth + 2)]
    control = join(
        _unet_encoder(width, depth, context),
        *zeros,
        conv(f"zero_convs.{depth + 2}.0", 2 * width, 2 * width, 1, 1),
        conv("input_hint_block.0", 3, hint, 3, 3),
        conv("input_hint_block.2", hint, width, 3, 3),
        conv("middle_block_out.0", 2 * width, 2 * width, 1, 1),
    )
    return join(stable_diffusion(width, depth, context, hint), under("control_model.", control))


def kohya_lora(width: int, depth: int, context: int, rank: int) -> Shapes:
    """A LoRA of the UNet's attention: two attentions at each level, down and up."""
    modules: dict[str, tuple[int, int]] = {}
    for side, levels in (("down", range(depth)), ("up", range(1, depth + 1))):
        for level in levels:
            for number in (0, 1):
                prefix = f"lora_unet_{side}_blocks_{level}_attentions_{number}_"
                wide = width * (1 + level)
                modules |= {prefix + name: size for name, size in _loras(wide, context).items()}
    return join(*(_kohya_module(name, *size, rank) for name, size in modules.items()))


def _loras(width: int, context: int) -> dict[str, tuple[int, int]]:
    """Module -> its input's and its output's width."""
    names = ("attn1_to_q", "attn1_to_k", "attn1_to_v", "attn1_to_out_0", "attn2_to_q")
    inner = dict.fromkeys((*names, "attn2_to_out_0"), (width, width))
    inner |= dict.fromkeys(("attn2_to_k", "attn2_to_v"), (context, width))
    inner |= {"ff_net_0_proj": (width, 8 * width), "ff_net_2": (4 * width, width)}
    named = {f"transformer_blocks_0_{name}": size for name, size in inner.items()}
    return {"proj_in": (width, width), **named, "proj_out": (width, width)}


def _kohya_module(name: str, wide: int, out: int, rank: int) -> Shapes:
    kernel = (1, 1) if name.endswith(("proj_in", "proj_out")) else ()
    return {
        f"{name}.alpha": (),
        f"{name}.lora_down.weight": (rank, wide, *kernel),
        f"{name}.lora_up.weight": (out, rank, *kernel),
    }


def hifigan(width: int, mels: int, ups: int, kernels: int) -> Shapes:
    """HiFi-GAN's generator with weight norm in all of its convolutions."""
    parts, wide = [_weight_normed("conv_pre", width, mels, 7)], width
    for number in range(ups):
        out = wide // 2
        up = _weight_normed(f"ups.{number}", wide, out, 4) | {f"ups.{number}.bias": (out,)}
        parts.append(up)
        for kernel in range(kernels):
            prefix = f"resblocks.{number * kernels + kernel}."
            names = [f"convs{which}.{place}" for which in (1, 2) for place in range(3)]
            block = [_weight_normed(name, out, out, 3 + 2 * kernel) for name in names]
            parts.append(under(prefix, *block))
        wide = out
    return join(*parts, _weight_normed("conv_post", 1, wide, 7))


def _weight_normed(name: str, out: int, wide: int, kernel: int) -> Shapes:
    return {
        f"{name}.bias": (out,),
        f"{name}.weight_g": (out, 1, 1),
        f"{name}.weight_v": (out, wide, kernel),
    }


RESNET = sizes(width=(4, 6), depth=(2, 3), classes=(7, 5))

CONVERSIONS = (
    Conversion(
        "densenet_old_names",
        old_densenet,
        HERE / "densenet_old_names.yaml",
        sizes(growth=(4, 6), depth=(2, 3), classes=(7, 5)),
    ),
    Conversion(
        "vgg_to_keras_names",
        vgg16,
        HERE / "vgg_to_keras_names.yaml",
        sizes(width=(2, 3), hidden=(20, 14), classes=(7, 5)),
    ),
    Conversion(
        "efficientnet_lukemelas_to_timm",
        efficientnet_b0,
        HERE / "efficientnet_lukemelas_to_timm.yaml",
        sizes(width=(8, 4), classes=(11, 7)),
    ),
    Conversion(
        "mobilenetv2_torchvision_to_timm",
        mobilenet_v2,
        HERE / "mobilenetv2_torchvision_to_timm.yaml",
        sizes(unit=(1, 2), classes=(11, 7)),
    ),
    Conversion(
        "regnet_torchvision_to_timm",
        regnet_y,
        HERE / "regnet_torchvision_to_timm.yaml",
        sizes(width=(4, 6), depth=(1, 2), classes=(7, 5)),
    ),
    Conversion(
        "detectron2_resnet_to_torchvision",
        detectron2_resnet,
        HERE / "detectron2_resnet_to_torchvision.yaml",
        RESNET,
        own=("fc.*",),
        into=frozen_resnet,
    ),
    Conversion(
        "torchvision_resnet_to_detectron2",
        torchvision_resnet,
        HERE / "torchvision_resnet_to_detectron2.yaml",
        RESNET,
    ),
    Conversion(
        "moco_to_torchvision",
        moco,
        HERE / "moco_to_torchvision.yaml",
        sizes(width=(4, 6), depth=(2, 1), out=(5, 3), queue=(11, 13), classes=(7, 9)),
        own=("fc.*",),
        into=probed_resnet,
    ),
    Conversion(
        "yolov5_to_mmyolo",
        yolov5,
        HERE / "yolov5_to_mmyolo.yaml",
        sizes(width=(2, 4), depth=(1, 2), classes=(3, 5)),
    ),
    Conversion(
        "ldm_vae_to_diffusers",
        ldm_vae,
        HERE / "ldm_vae_to_diffusers.yaml",
        sizes(width=(4, 6), depth=(2, 1), latent=(2, 3)),
    ),
    Conversion(
        "stable_diffusion_to_controlnet",
        stable_diffusion,
        HERE / "stable_diffusion_to_controlnet.yaml",
        sizes(width=(6, 8), depth=(2, 1), context=(5, 7), hint=(4, 3)),
        own=(
            "control_model.zero_convs.*",
            "control_model.input_hint_block.*",
            "control_model.middle_block_out.*",
        ),
        into=controlled_diffusion,
    ),
    Conversion(
        "kohya_lora_to_peft",
        kohya_lora,
        HERE / "kohya_lora_to_peft.yaml",
        sizes(width=(6, 8), depth=(2, 3), context=(5, 7), rank=(3, 2)),
    ),
    Conversion(
        "hifigan_without_weight_norm",
        hifigan,
        HERE / "hifigan_without_weight_norm.yaml",
        sizes(width=(16, 24), mels=(5, 7), ups=(2, 3), kernels=(2, 1)),
        computed=("*.weight",),
    ),
)
