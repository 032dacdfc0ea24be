"""Names cut into words, the words that mean one thing, and the ends of keys that do."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|#")

LEAVES = {
    "weight": "weight",
    "bias": "bias",
    "kernel": "weight",  # Flax, Keras and TensorFlow, whose dense kernels are [in, out]
    "embedding": "weight",  # Flax's nn.Embed
    "rel_embedding": "weight",  # T5X's relative attention
    "gamma": "weight",  # Keras, and BERT before 2019
    "beta": "bias",
    "scale": "weight",  # Flax's norms, Haiku, JAX
    "offset": "bias",  # Haiku's norms
    "w": "weight",  # Haiku
    "b": "bias",
    "running_mean": "mean",
    "moving_mean": "mean",  # TensorFlow
    "mean": "mean",  # Flax's batch_stats
    "running_var": "var",
    "moving_variance": "var",
    "variance": "var",
    "var": "var",
    "num_batches_tracked": "count",
    "weight_g": "g",  # torch.nn.utils.weight_norm
    "weight_v": "v",
    "original0": "g",  # torch.nn.utils.parametrizations.weight_norm
    "original1": "v",
    "weight_orig": "orig",  # torch.nn.utils.spectral_norm
    "weight_u": "u",
}
"""The last pieces of keys, and what they are in torch's modules."""

PARAMETRIZED = (".parametrizations.weight",)
"""What stands between a module and the parts of its weight."""

JOINED_LEAVES = ("weight", "bias")
"""Leaves that some modules write behind another word: `in_proj_weight`."""

SAME_WORDS = {
    "attention": "attn",
    "att": "attn",
    "mha": "attn",
    "layernorm": "norm",
    "layrnorm": "norm",  # as CLIP's files spell it
    "ln": "norm",
    "bn": "norm",
    "batchnorm": "norm",
    "groupnorm": "norm",
    "rmsnorm": "norm",
    "normalization": "norm",
    "query": "q",
    "key": "k",
    "value": "v",
    "embedding": "embed",
    "embeddings": "embed",
    "emb": "embed",
    "embedder": "embed",
    "positional": "position",
    "positions": "position",
    "pos": "position",
    "projection": "proj",
    "convolution": "conv",
    "conv2d": "conv",
    "conv1d": "conv",
    "dense": "linear",
    "fc": "linear",
    "lin": "linear",
    "output": "out",
    "visual": "vision",
    "image": "vision",
    "img": "vision",
    "language": "text",
    "txt": "text",
    "context": "text",  # what diffusers calls the stream of the prompt beside that of the image
    "tok": "token",
    "tokens": "token",
    "blk": "block",
    "blocks": "block",
    "layers": "layer",
    "stages": "stage",
    "resblocks": "block",
    "enc": "encoder",
    "dec": "decoder",
    "mlp": "ffn",
    "feedforward": "ffn",
    "ff": "ffn",
    "ffw": "ffn",  # Gemma's own files
    "expand": "expansion",
    "dw": "depthwise",
    "pw": "pointwise",
    "cls": "class",
    "se": "squeeze",
    "shortcut": "downsample",  # what a residual block adds to its result, resized
    "skip": "downsample",
    "identity": "downsample",
}
"""Words that people write for one thing; on the right the one that stands for all."""

SPLIT = {"crossattention": ("cross", "attention"), "selfattention": ("self", "attention")}
"""Words that are two."""

RUNS = {
    ("layer", "norm"): "norm",
    ("batch", "norm"): "norm",
    ("group", "norm"): "norm",
    ("feed", "forward"): "ffn",
}
"""Two words that are one."""

EMPTY = frozenset({"weight", "bias", "module", "model", "layer", "block", "forward", "#"})
"""Words that nearly every network has, and that tell nothing."""


@functools.lru_cache(maxsize=1 << 16)
def words_of(text: str) -> tuple[str, ...]:
    """The words of a name in order, those of one meaning alike; integers are words."""
    cut = (word.lower() for word in _WORDS.findall(text))
    found = [word for one in cut for word in SPLIT.get(one, (one,))]
    return tuple(SAME_WORDS.get(word, word) for word in _joined(found))


def _joined(words: Sequence[str]) -> list[str]:
    joined: list[str] = []
    for word in words:
        if joined and (one := RUNS.get((joined[-1], word))) is not None:
            joined[-1] = one
        else:
            joined.append(word)
    return joined


def cut_leaf(key: str) -> tuple[str, str, str]:
    """(module, leaf, what the leaf is) of a key; a key that is no module's is its own module."""
    module, _, leaf = key.rpartition(".")
    kind = LEAVES.get(leaf)
    if kind is not None and (module or kind in JOINED_LEAVES):
        for part in PARAMETRIZED:
            if module.endswith(part) and kind in ("g", "v"):
                return module.removesuffix(part), key[len(module) - len(part) + 1 :], kind
        return module, leaf, kind
    for kind in JOINED_LEAVES:
        head = leaf.removesuffix(f"_{kind}")
        if head != leaf:
            return f"{module}.{head}".lstrip("."), kind, kind
    return key, "", "weight"


def spell(module: str) -> str:
    """The words of a module, with spaces around each, as patterns of roles read them."""
    return f" {' '.join(words_of(module))} "


def share_start(one: str, other: str) -> bool:
    """Whether two words may be one, one of them shortened."""
    short, long = sorted((one, other), key=len)
    return len(short) >= 4 and long.startswith(short)
