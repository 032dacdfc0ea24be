"""The life of a network's BatchNorms, from pretraining to export, each step's claim checked.

A small ResNet-18 is trained on four channels. Its BatchNorms are frozen while it learns a new head;
its weights go into a network with a stem for three channels and one more BatchNorm per block; that
one learns from it with mirrored BatchNorms, and is folded for export. Run it as
`python examples/batchnorm_story.py`; it takes seconds.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.autograd import backward
from torch.nn import functional

from ckptsurgeon import batchnorm, modules

STEPS = 10
TOLERANCE = 1e-3
"""A new BatchNorm divides by sqrt(1 + 1e-5), in each of eight blocks."""

RULES = [
    "conv1.weight[:, :3] -> conv1.weight",  # three of the four input channels
    "layer<i>.<j>.bn2.* -> layer<i>.<j>.bn3.*",  # what came last in a block comes last there
    {"keep": "layer<i>.<j>.bn2.*"},  # the new BatchNorms are as they were made
]

State = Mapping[str, Tensor]


# --- the networks, with torchvision's names -------------------------------------------------------


class Block(nn.Module):
    """Two convolutions and a shortcut; with `extra`, a BatchNorm of its own between them."""

    def __init__(self, incoming: int, width: int, stride: int, extra: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(incoming, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.bn3 = nn.BatchNorm2d(width) if extra else None
        self.downsample = (
            None
            if incoming == width
            else nn.Sequential(
                nn.Conv2d(incoming, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )
        )

    def forward(self, input: Tensor) -> Tensor:
        shortcut = input if self.downsample is None else self.downsample(input)
        hidden = functional.relu(self.bn1(self.conv1(input)))
        if self.bn3 is None:
            hidden = self.bn2(self.conv2(hidden))
        else:
            hidden = self.bn3(self.conv2(self.bn2(hidden)))
        return functional.relu(hidden + shortcut)


class Network(nn.Module):
    """ResNet-18 with an eighth of its width."""

    def __init__(self, channels: int, classes: int, extra: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(Block(8, 8, 1, extra), Block(8, 8, 1, extra))
        self.layer2 = nn.Sequential(Block(8, 16, 2, extra), Block(16, 16, 1, extra))
        self.layer3 = nn.Sequential(Block(16, 32, 2, extra), Block(32, 32, 1, extra))
        self.layer4 = nn.Sequential(Block(32, 64, 2, extra), Block(64, 64, 1, extra))
        self.fc = nn.Linear(64, classes)

    def forward(self, images: Tensor) -> Tensor:
        hidden = functional.relu(self.bn1(self.conv1(images)))
        hidden = functional.max_pool2d(hidden, 3, 2, 1)
        hidden = self.layer4(self.layer3(self.layer2(self.layer1(hidden))))
        scores: Tensor = self.fc(hidden.mean((2, 3)))
        return scores


# --- what the steps share -------------------------------------------------------------------------


def claim(text: str, holds: bool) -> None:
    """Prints what has been shown, or ends the program."""
    if not holds:
        sys.exit(f"does NOT hold: {text}")
    print(f"  {text}")


def batches(classes: int) -> Iterable[tuple[Tensor, Tensor]]:
    """(images[16, 4, 32, 32], labels[16]): each class is a shade, in noise."""
    generator = torch.Generator().manual_seed(classes)
    for _ in range(STEPS):
        labels = torch.randint(classes, (16,), generator=generator)
        noise = torch.randn(16, 4, 32, 32, generator=generator)
        yield noise + labels[:, None, None, None], labels


def train(network: nn.Module, classes: int) -> None:
    """Some steps of SGD in train mode, on what requires gradients."""
    network.train()
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.01)
    for images, labels in batches(classes):
        optimizer.zero_grad()
        backward(functional.cross_entropy(network(images), labels))
        optimizer.step()


def batchnorm_state(network: nn.Module) -> dict[str, Tensor]:
    """A copy of all tensors of the BatchNorms, by key."""
    norms = [n for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)]
    state = network.state_dict()
    return {key: state[key].clone() for key in state if key.rpartition(".")[0] in norms}


def same(one: State, other: State) -> bool:
    """Whether two states hold the same keys with the same bits."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def without_fourth(images: Tensor) -> Tensor:
    """The images with zeros in their fourth channel."""
    return torch.cat([images[:, :3], torch.zeros_like(images[:, 3:])], 1)


def distance(one: Tensor, other: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((one - other).abs().max() / one.abs().max())


# --- the story ------------------------------------------------------------------------------------


def pretrain() -> Network:
    """A network for four channels and ten classes that has learned something."""
    print("pretraining: four channels, ten classes")
    network = Network(channels=4, classes=10)
    before = batchnorm_state(network)
    train(network, classes=10)
    after = batchnorm_state(network)
    moved = [key for key in before if not torch.equal(before[key], after[key])]
    claim(f"all {len(before)} tensors of its BatchNorms moved", len(moved) == len(before))
    return network


def learn_new_head(network: Network) -> None:
    """Five new classes, learned while every BatchNorm stands still."""
    print("a new head, BatchNorms frozen")
    network.fc = nn.Linear(64, 5)
    frozen = batchnorm.freeze(network)
    before = batchnorm_state(network)
    weights = {name: one.detach().clone() for name, one in network.named_parameters()}
    train(network, classes=5)
    claim(
        f"{len(frozen.layers)} BatchNorms are bit for bit what they were, through train()",
        same(before, batchnorm_state(network)),
    )
    others = {name: one for name, one in network.named_parameters() if name not in before}
    moved = [name for name, one in others.items() if not torch.equal(one, weights[name])]
    claim(f"all {len(others)} other parameters learned", len(moved) == len(others))


def transplant(network: Network) -> Network:
    """The weights in a network with another stem and one more BatchNorm per block."""
    print("transplanted: three channels, one more BatchNorm per block")
    grown = Network(channels=3, classes=5, extra=True)
    report = modules.transplant(network, grown, RULES)
    claim(f"every tensor is accounted for: {report.coverage.wanted} of them", report.clean)
    network.eval()
    grown.eval()
    images, _ = next(iter(batches(5)))
    with torch.no_grad():
        wanted, scores = network(without_fourth(images)), grown(images[:, :3])
    claim("with a fourth channel of zeros, the scores agree", distance(wanted, scores) < TOLERANCE)
    return grown


def distill(teacher: Network, student: Network) -> None:
    """The student learns the teacher's scores; its old BatchNorms follow the teacher's."""
    print("distilled: BatchNorms mirrored")
    batchnorm.unfreeze(teacher)
    new = {key: one for key, one in batchnorm_state(student).items() if ".bn2." in key}
    with batchnorm.mirror(teacher, student, RULES) as mirror:
        for pair in mirror.pairs.pairs:
            batchnorm.freeze(student.get_submodule(pair.destination))
        in_step = learn_from(teacher, student)
    claim(f"in each of {STEPS} forwards the student's were the teacher's", in_step == STEPS)
    after = batchnorm_state(student)
    moved = [key for key in new if not torch.equal(new[key], after[key])]
    claim(f"all {len(new)} tensors of the new ones learned", len(moved) == len(new))


def learn_from(teacher: Network, student: Network) -> int:
    """In how many steps the student's mirrored BatchNorms were bit for bit the teacher's.

    The teacher is in train mode: its statistics move with every batch.
    """
    teacher.train()
    student.train()
    learning = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.001)
    in_step = 0
    for images, _ in batches(5):
        with torch.no_grad():
            wanted = teacher(without_fourth(images))
        scores = student(images[:, :3])
        in_step += same(expected_of(teacher), mirrored_of(student))
        optimizer.zero_grad()
        backward(functional.mse_loss(scores, wanted))
        optimizer.step()
    return in_step


def expected_of(teacher: Network) -> dict[str, Tensor]:
    """The teacher's BatchNorms by their names in the student: the last of a block is its third."""
    return {key.replace(".bn2.", ".bn3."): one for key, one in batchnorm_state(teacher).items()}


def mirrored_of(student: Network) -> dict[str, Tensor]:
    return {key: one for key, one in batchnorm_state(student).items() if ".bn2." not in key}


def export(network: Network) -> Network:
    """The network without the BatchNorms that can be worked into a convolution."""
    print("folded for export")
    network.eval()
    folded = copy.deepcopy(network)
    folds = batchnorm.fold(folded)
    left = [name for name, one in folded.named_modules() if isinstance(one, nn.BatchNorm2d)]
    claim(
        f"{len(folds.pairs)} BatchNorms are in their convolutions; {len(left)} after a ReLU stay",
        len(folds.pairs) == 20 and all(name.endswith("bn2") for name in left),
    )
    images, _ = next(iter(batches(5)))
    with torch.no_grad():
        wanted, scores = network(images[:, :3]), folded(images[:, :3])
    claim("the scores are the same but for rounding", distance(wanted, scores) < 1e-4)
    return folded


def main() -> None:
    torch.manual_seed(0)
    network = pretrain()
    learn_new_head(network)
    grown = transplant(network)
    distill(network, grown)
    export(grown)
    print("All is well.")


if __name__ == "__main__":
    main()
