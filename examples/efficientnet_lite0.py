"""EfficientNet-Lite0 twice: with the module names its weights were published under, and with ours.

The architecture is Google's (TensorFlow, 2020): inverted residual blocks with ReLU6 and without
squeeze-and-excitation. Two traits come from TensorFlow: `SAME` padding, which puts the odd pixel
on the right and the bottom, and BatchNorm's eps of 1e-3, which no checkpoint records.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

BATCHNORM_EPS = 1e-3
STEM_WIDTH = 32
HEAD_WIDTH = 1280


class Stage(NamedTuple):
    """Some blocks of one width; the first has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


class Shape(NamedTuple):
    """What one block is built from."""

    incoming: int
    hidden: int
    width: int
    kernel: int
    stride: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def block_shapes() -> Iterator[Shape]:
    """The shapes of the 16 blocks, from the image to the head."""
    incoming = STEM_WIDTH
    for stage in STAGES:
        for number in range(stage.blocks):
            stride = stage.stride if number == 0 else 1
            hidden = incoming * stage.expansion
            yield Shape(incoming, hidden, stage.width, stage.kernel, stride)
            incoming = stage.width


class SameConv2d(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow's `SAME`."""

    def __init__(
        self, incoming: int, width: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(incoming, width, kernel, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        bottom = self._missing(input.shape[-2])
        right = self._missing(input.shape[-1])
        padding = (right // 2, right - right // 2, bottom // 2, bottom - bottom // 2)
        return super().forward(functional.pad(input, padding))

    def _missing(self, size: int) -> int:
        kernel, stride = self.kernel_size[0], self.stride[0]
        return max((-(-size // stride) - 1) * stride + kernel - size, 0)


def batchnorm(width: int) -> nn.BatchNorm2d:
    """A BatchNorm with TensorFlow's eps."""
    return nn.BatchNorm2d(width, eps=BATCHNORM_EPS)


# --- the published names --------------------------------------------------------------------------


class PublishedBlock(nn.Module):
    """A block whose convolutions and BatchNorms stand side by side."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.expands = shape.hidden != shape.incoming
        self.adds = shape.stride == 1 and shape.incoming == shape.width
        if self.expands:
            self._expand_conv = SameConv2d(shape.incoming, shape.hidden, 1)
            self._bn0 = batchnorm(shape.hidden)
        self._depthwise_conv = SameConv2d(
            shape.hidden, shape.hidden, shape.kernel, shape.stride, groups=shape.hidden
        )
        self._bn1 = batchnorm(shape.hidden)
        self._project_conv = SameConv2d(shape.hidden, shape.width, 1)
        self._bn2 = batchnorm(shape.width)

    def forward(self, input: Tensor) -> Tensor:
        hidden = input
        if self.expands:
            hidden = functional.relu6(self._bn0(self._expand_conv(hidden)))
        hidden = functional.relu6(self._bn1(self._depthwise_conv(hidden)))
        result: Tensor = self._bn2(self._project_conv(hidden))
        return result + input if self.adds else result


class PublishedNetwork(nn.Module):
    """The network that `efficientnet-lite0-57934424.pth` loads into: RGB, 1000 classes."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, STEM_WIDTH, 3, stride=2)
        self._bn0 = batchnorm(STEM_WIDTH)
        self._blocks = nn.ModuleList(map(PublishedBlock, block_shapes()))
        self._conv_head = SameConv2d(STAGES[-1].width, HEAD_WIDTH, 1)
        self._bn1 = batchnorm(HEAD_WIDTH)
        self._fc = nn.Linear(HEAD_WIDTH, 1000)

    def features(self, image: Tensor) -> Tensor:
        """image[N, 3, H, W] -> features[N, 1280]."""
        hidden = functional.relu6(self._bn0(self._conv_stem(image)))
        for block in self._blocks:
            hidden = block(hidden)
        return functional.relu6(self._bn1(self._conv_head(hidden))).mean((2, 3))

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self._fc(self.features(image))
        return scores


# --- our names ------------------------------------------------------------------------------------


class ConvNorm(nn.Module):
    """A convolution, its BatchNorm and, unless it is linear, ReLU6."""

    def __init__(self, conv: SameConv2d, linear: bool = False) -> None:
        super().__init__()
        self.conv = conv
        self.norm = batchnorm(conv.out_channels)
        self.linear = linear

    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = self.norm(self.conv(input))
        return result if self.linear else functional.relu6(result)


class Block(nn.Module):
    """A block of three named parts; the first stage's has no `expand`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.adds = shape.stride == 1 and shape.incoming == shape.width
        self.expand: nn.Module = nn.Identity()
        if shape.hidden != shape.incoming:
            self.expand = ConvNorm(SameConv2d(shape.incoming, shape.hidden, 1))
        self.depthwise = ConvNorm(
            SameConv2d(shape.hidden, shape.hidden, shape.kernel, shape.stride, shape.hidden)
        )
        self.project = ConvNorm(SameConv2d(shape.hidden, shape.width, 1), linear=True)

    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = self.project(self.depthwise(self.expand(input)))
        return result + input if self.adds else result


class Network(nn.Module):
    """Our network: any number of channels and classes, one numbered `body` from stem to head."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        stem = ConvNorm(SameConv2d(channels, STEM_WIDTH, 3, stride=2))
        top = ConvNorm(SameConv2d(STAGES[-1].width, HEAD_WIDTH, 1))
        self.body = nn.Sequential(stem, *map(Block, block_shapes()), top)
        self.classifier = nn.Linear(HEAD_WIDTH, classes)

    def features(self, image: Tensor) -> Tensor:
        """image[N, channels, H, W] -> features[N, 1280]."""
        hidden: Tensor = self.body(image)
        return hidden.mean((2, 3))

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.features(image))
        return scores


def four_channel_network(classes: int) -> Network:
    """A fresh network whose stem has a fourth channel that adds nothing yet."""
    network = Network(channels=4, classes=classes)
    stem = network.body[0]
    assert isinstance(stem, ConvNorm)
    with torch.no_grad():
        stem.conv.weight[:, 3] = 0
    return network
