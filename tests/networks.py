"""Small networks with the module names of well-known libraries, and random but lively weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Give every parameter and buffer values of its own, so that no two can be confused.

    Fresh BatchNorms are all alike: a conversion that swaps two would go unnoticed.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for number, (key, tensor) in enumerate(module.state_dict().items()):
            if not tensor.dtype.is_floating_point:
                tensor.fill_(number)
            elif key.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            else:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.2)


# --- ResNet, torchvision's names ------------------------------------------------------------------


def downsample(incoming: int, width: int, stride: int) -> nn.Sequential | None:
    """The shortcut of a block that changes its input's shape; None for one that doesn't."""
    if stride == 1 and incoming == width:
        return None
    conv = nn.Conv2d(incoming, width, 1, stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width))


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, incoming: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(incoming, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample(incoming, planes, stride)

    def forward(self, input: Tensor) -> Tensor:
        shortcut = input if self.downsample is None else self.downsample(input)
        hidden = functional.relu(self.bn1(self.conv1(input)))
        return functional.relu(self.bn2(self.conv2(hidden)) + shortcut)


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, incoming: int, planes: int, stride: int) -> None:
        super().__init__()
        width = planes * self.expansion
        self.conv1 = nn.Conv2d(incoming, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.downsample = downsample(incoming, width, stride)

    def forward(self, input: Tensor) -> Tensor:
        shortcut = input if self.downsample is None else self.downsample(input)
        hidden = functional.relu(self.bn1(self.conv1(input)))
        hidden = functional.relu(self.bn2(self.conv2(hidden)))
        return functional.relu(self.bn3(self.conv3(hidden)) + shortcut)


class ResNet(nn.Module):
    """A ResNet of two blocks per layer, eight planes at its start."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck] = BasicBlock,
        layers: int = 4,
        channels: int = 3,
        classes: int = 5,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        incoming = 8
        for number in range(layers):
            planes, stride = 8 * 2**number, 1 if number == 0 else 2
            width = planes * block.expansion
            blocks = [block(incoming, planes, stride), block(width, planes, 1)]
            self.add_module(f"layer{number + 1}", nn.Sequential(*blocks))
            incoming = width
        self.fc = nn.Linear(incoming, classes)

    def forward(self, image: Tensor) -> Tensor:
        hidden = functional.relu(self.bn1(self.conv1(image)))
        hidden = functional.max_pool2d(hidden, 3, 2, 1)
        for name, module in self.named_children():
            if name.startswith("layer"):
                hidden = module(hidden)
        scores: Tensor = self.fc(hidden.mean((2, 3)))
        return scores


# --- ViT, timm's names ----------------------------------------------------------------------------


class Attention(nn.Module):
    """Self-attention with one projection for query, key and value."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        parts = self.qkv(tokens).reshape(batch, count, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, count, width))
        return result


class MultiLayerPerceptron(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        result: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return result


class TransformerBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MultiLayerPerceptron(width, 2 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        result: Tensor = tokens + self.mlp(self.norm2(tokens))
        return result


class PatchEmbedding(nn.Module):
    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, image: Tensor) -> Tensor:
        tokens: Tensor = self.proj(image).flatten(2).transpose(1, 2)
        return tokens


class VisionTransformer(nn.Module):
    """A ViT for images of 16 by 16 pixels in patches of 4 by 4."""

    def __init__(self, width: int = 16, depth: int = 3, heads: int = 2, classes: int = 5) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 17, width))
        self.patch_embed = PatchEmbedding(width, 4)
        self.blocks = nn.Sequential(*[TransformerBlock(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, classes)

    def forward(self, image: Tensor) -> Tensor:
        patches = self.patch_embed(image)
        tokens = torch.cat([self.cls_token.expand(len(image), -1, -1), patches], 1)
        tokens = self.blocks(tokens + self.pos_embed)
        scores: Tensor = self.head(self.norm(tokens)[:, 0])
        return scores


# --- CREPE, our names -----------------------------------------------------------------------------


class PitchLayer(nn.Module):
    """A convolution over time whose BatchNorm comes after the ReLU."""

    def __init__(self, incoming: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(incoming, width, (kernel, 1), (stride, 1))
        self.norm = nn.BatchNorm2d(width, eps=1e-3)
        self.padding = (0, 0, (kernel - stride) // 2, (kernel - stride + 1) // 2)

    def forward(self, input: Tensor) -> Tensor:
        hidden = functional.relu(self.conv(functional.pad(input, self.padding)))
        return functional.max_pool2d(self.norm(hidden), (2, 1), (2, 1))


class PitchNetwork(nn.Module):
    """CREPE's smallest size: audio[N, 1024] -> scores[N, 360] of pitches."""

    WIDTHS = (128, 16, 16, 16, 32, 64)

    def __init__(self) -> None:
        super().__init__()
        incoming = (1, *self.WIDTHS)
        first = PitchLayer(1, self.WIDTHS[0], 512, 4)
        others = [PitchLayer(incoming[n], self.WIDTHS[n], 64, 1) for n in range(1, 6)]
        self.layers = nn.Sequential(first, *others)
        self.pitch = nn.Linear(256, 360)

    def forward(self, audio: Tensor) -> Tensor:
        hidden = self.layers(audio[:, None, :, None])
        scores: Tensor = self.pitch(hidden.permute(0, 2, 1, 3).reshape(len(audio), -1))
        return scores


# --- g2p, our names -------------------------------------------------------------------------------


START, END = 2, 3


class Recurrence(nn.Module):
    """An embedding and the GRU cell that reads it."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 256)
        self.cell = nn.GRUCell(256, 256)


class Pronouncer(nn.Module):
    """g2p's network: letters in, phonemes out."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Recurrence(29)
        self.decoder = Recurrence(74)
        self.phonemes = nn.Linear(256, 74)

    def pronounce(self, letters: list[int], longest: int = 20) -> list[int]:
        """The phonemes of a word, greedily: both as numbers, 2 starts and 3 ends."""
        state, phoneme, phonemes = torch.zeros(1, 256), START, list[int]()
        for letter in letters:
            state = self.encoder.cell(self.encoder.embedding.weight[letter][None], state)
        while len(phonemes) < longest:
            state = self.decoder.cell(self.decoder.embedding.weight[phoneme][None], state)
            phoneme = int(self.phonemes(state).argmax())
            if phoneme == END:
                break
            phonemes.append(phoneme)
        return phonemes
