"""Convolutions: implicit layers, spectral norm, branches folded into one."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from worked.job import Job, Near, random


def jobs() -> list[Job]:
    return [
        yolo_implicit((8, 16, 32), outputs=21),
        yolo_implicit((4, 6), outputs=7),
        spectral_norm(3, 4, 2),
        spectral_norm(2, 6, 5),
    ]


def yolo_implicit(channels: tuple[int, ...], outputs: int) -> Job:
    source: dict[str, Tensor] = {}
    wanted: dict[str, object] = {}
    for number, size in enumerate(channels):
        weight, bias = random(outputs, size, 1, 1), random(outputs)
        before, after = random(1, size, 1, 1), random(1, outputs, 1, 1)
        layer = f"model.105.m.{number}"
        source |= {f"{layer}.weight": weight, f"{layer}.bias": bias}
        source[f"model.105.ia.{number}.implicit"] = before
        source[f"model.105.im.{number}.implicit"] = after
        wanted[f"{layer}.weight"] = weight * after.reshape(-1, 1, 1, 1)
        products = (weight.double() * before.double()).flatten(1)
        factor = after.flatten().double()
        value = (bias.double() + products.sum(1)) * factor
        terms = (bias.double().abs() + products.abs().sum(1)) * factor.abs()
        # Each product is rounded, each sum of so many, and the last product.
        wanted[f"{layer}.bias"] = Near(value, size + 3, terms)
    source["model.105.anchors"] = wanted["model.105.anchors"] = random(3, 3, 2)
    return Job(
        f"YOLOv7's implicit layers, {len(channels)}",
        "yolo_implicit",
        {"model": source, "epoch": 299},
        {"model": wanted, "epoch": 299},
        lost=(r"model\.105\.(m|ia|im)\..*",),
        front="model.",
        source_name="source.pt",
        output_name="output.pt",
    )


def spectral_norm(taken: int, between: int, given: int) -> Job:
    """The second is transposed: its outputs are the second dim of its weight."""
    net = _trained(taken, between, given)
    source = {f"module.generator.{key}": tensor for key, tensor in net.state_dict().items()}
    wanted: dict[str, object] = {}
    for number, dim in ((0, 0), (2, 1)):
        wanted[f"generator.{number}.bias"] = net[number].bias.detach()
        wanted[f"generator.{number}.weight"] = _normed(net[number], dim)
    return Job(
        f"spectral norm, {taken} -> {between} -> {given}",
        "spectral_norm",
        source,
        wanted,
        lost=(r".*weight_(orig|u|v)",),
        front="module.",
        source_name="source.pth",
    )


def _trained(taken: int, between: int, given: int) -> nn.Sequential:
    """A network whose u and v came by some steps, in eval: its weights are those it computes by."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has a newer spectral norm; checkpoints, the old one
        first = nn.utils.spectral_norm(nn.Conv2d(taken, between, 3))
        second = nn.utils.spectral_norm(nn.ConvTranspose2d(between, given, 3))
    net = nn.Sequential(first, nn.ReLU(), second)
    for _ in range(3):
        net(random(2, taken, 8, 8))
    net.eval()
    net(random(2, taken, 8, 8))
    return net


def _normed(layer: nn.Module, dim: int) -> Near:
    """torch's own weight; sigma is a sum of products, which errs by its terms."""
    original = layer.weight_orig.detach().double()
    matrix = original.movedim(dim, 0).flatten(1)
    u, v = layer.weight_u.double(), layer.weight_v.double()
    sigma, size = u @ matrix @ v, u.abs() @ matrix.abs() @ v.abs()
    torch.testing.assert_close(layer.weight.detach().double(), original / sigma)
    return Near(original / sigma, sum(matrix.shape) + 2, original.abs() / sigma * size / sigma)
