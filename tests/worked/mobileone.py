"""MobileOne: blocks of branches in training, which are one convolution each when it is run."""

from __future__ import annotations

import json
from itertools import pairwise

import torch
import torch.nn.functional as F
from networks import randomise
from torch import Tensor, nn

from worked.job import Job, Near


class Block(nn.Module):
    """The branches of one block: convolutions, one of 1x1 beside wider ones, and the input."""

    def __init__(self, taken: int, given: int, kernel: int, branches: int, stride: int = 1) -> None:
        super().__init__()
        groups = taken if kernel > 1 else 1
        self.kernel, self.groups, self.stride = kernel, groups, stride
        self.rbr_conv = nn.ModuleList(
            Normed(taken, given, kernel, groups, stride) for _ in range(branches)
        )
        self.rbr_scale = Normed(taken, given, 1, groups, stride) if kernel > 1 else None
        self.rbr_skip = nn.BatchNorm2d(taken) if taken == given and stride == 1 else None

    def forward(self, image: Tensor) -> Tensor:
        branches = [*self.rbr_conv, self.rbr_scale, self.rbr_skip]
        return torch.stack([one(image) for one in branches if one is not None]).sum(0)


class Normed(nn.Module):
    """A convolution and its BatchNorm."""

    def __init__(self, taken: int, given: int, kernel: int, groups: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(taken, given, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(given)

    def forward(self, image: Tensor) -> Tensor:
        normed: Tensor = self.bn(self.conv(image))
        return normed


def network(widths: tuple[int, ...], branches: int) -> nn.ModuleDict:
    """A stage for each width but the first, which is the input's: depthwise blocks, and of 1x1.

    A stage begins with a block of stride 2, which has no branch for the input itself, and no more
    has the block of 1x1 that widens.
    """
    stages = {}
    for number, (taken, given) in enumerate(pairwise(widths), 1):
        stages[f"stage{number}"] = nn.Sequential(
            Block(taken, taken, 3, branches, stride=2),
            Block(taken, given, 1, branches),
            Block(given, given, 3, branches),
            Block(given, given, 1, branches),
        )
    return nn.ModuleDict(stages).eval()


def jobs() -> list[Job]:
    return [mobileone((8, 8, 12), branches=3), mobileone((4, 6), branches=1)]


def mobileone(widths: tuple[int, ...], branches: int) -> Job:
    net = network(widths, branches)
    randomise(net)
    wanted = {}
    for name, block in net.named_modules():
        if isinstance(block, Block):
            wanted |= {f"{name}.reparam_conv.{kind}": one for kind, one in fused(block).items()}
    return Job(
        f"MobileOne of {len(widths) - 1} stages, {branches} branches",
        "mobileone",
        dict(net.state_dict()),
        wanted,
        words=("--set", f"n={branches}", "--set", f"width={json.dumps(widths[1:])}"),
        lost=(".*",),
    )


def fused(block: Block) -> dict[str, Near]:
    """The one convolution that does what all branches do."""
    branches = [(one.conv.weight, one.bn) for one in block.rbr_conv]
    if block.rbr_scale is not None:
        branches.append((block.rbr_scale.conv.weight, block.rbr_scale.bn))
    if block.rbr_skip is not None:
        branches.append((identity(block), block.rbr_skip))
    folded = [fold(weight.double(), norm) for weight, norm in branches]
    weights = [widened(weight, block.kernel) for weight, _, _ in folded]
    # The variance with eps, its root, the quotient and both products; then a sum of the branches.
    roundings = 6 + len(branches)
    return {
        "weight": Near(sum_of(weights), roundings, sum_of([one.abs() for one in weights])),
        "bias": Near(
            sum_of([shift for _, shift, _ in folded]),
            roundings + 1,
            sum_of([terms for _, _, terms in folded]),
        ),
    }


def fold(weight: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor, Tensor]:
    """Weight and bias of a convolution with its BatchNorm, and the sizes of the bias' terms."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    scale = norm.weight.double() / (variance.double() + norm.eps).sqrt()
    shift = mean.double() * scale
    bias = norm.bias.double()
    return weight * scale[:, None, None, None], bias - shift, bias.abs() + shift.abs()


def identity(block: Block) -> Tensor:
    """A kernel of 1x1 that gives what it takes."""
    channels = block.rbr_conv[0].conv.weight.shape[0]
    each = channels // block.groups
    return torch.eye(each).repeat(block.groups, 1)[:, :, None, None]


def widened(weight: Tensor, kernel: int) -> Tensor:
    """A kernel with zeros around it."""
    beside = (kernel - weight.shape[-1]) // 2
    return F.pad(weight, (beside,) * 4)


def sum_of(tensors: list[Tensor]) -> Tensor:
    return torch.stack(tensors).sum(0).detach()


class Fused(nn.Module):
    """A block as it is run."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        given, taken = block.rbr_conv[0].conv.weight.shape[:2]
        self.reparam_conv = nn.Conv2d(
            taken * block.groups,
            given,
            block.kernel,
            block.stride,
            block.kernel // 2,
            groups=block.groups,
        )

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.reparam_conv(image)
        return result


def fused_network(net: nn.ModuleDict) -> nn.ModuleDict:
    """The network as it is run, with weights of its own."""
    stages = {name: nn.Sequential(*(Fused(one) for one in stage)) for name, stage in net.items()}
    return nn.ModuleDict(stages).eval()
