"""Random networks under two names, with what becomes of each tensor: some of it no header tells.

`make_pair(seed)` is one of them. Parts are what people do to checkpoints: other libraries' names,
prefixes, lists counted from elsewhere, fused projections, transposed layers, new heads, gaps,
twins, towers, ranks. Names without a meaning are among them, and widths that are all alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
Role = tuple[str, ...]
"""What a tensor is in its network: (layer, part, leaf), or (part, leaf)."""

Shapes = dict[Role, tuple[int, ...]]
Naming = Callable[[Role], str]


@dataclass(frozen=True)
class Pair:
    """Sources by alias, a destination with values of its own, and what is right for each key."""

    sources: dict[str, Arrays]
    own: Arrays
    expected: Arrays
    told: tuple[str, ...] = field(default=())
    """What was done, for who reads a failure."""


TRANSFORMERS: tuple[tuple[str, Mapping[str, str]], ...] = (
    (
        "h.{}.",
        {
            "norm1": "ln_1",
            "norm2": "ln_2",
            "q": "attn.q",
            "k": "attn.k",
            "v": "attn.v",
            "qkv": "attn.c_attn",
            "o": "attn.c_proj",
            "fc1": "mlp.c_fc",
            "fc2": "mlp.c_proj",
            "token": "wte",
            "position": "wpe",
            "final": "ln_f",
            "head": "lm_head",
        },
    ),
    (
        "blocks.{}.",
        {
            "norm1": "norm1",
            "norm2": "norm2",
            "q": "attn.q_proj",
            "k": "attn.k_proj",
            "v": "attn.v_proj",
            "qkv": "attn.qkv",
            "o": "attn.proj",
            "fc1": "mlp.fc1",
            "fc2": "mlp.fc2",
            "token": "token_embed",
            "position": "pos_embed",
            "final": "norm",
            "head": "head",
        },
    ),
    (
        "encoder.layer.{}.",
        {
            "norm1": "attention.output.LayerNorm",
            "norm2": "output.LayerNorm",
            "q": "attention.self.query",
            "k": "attention.self.key",
            "v": "attention.self.value",
            "qkv": "attention.self.query_key_value",
            "o": "attention.output.dense",
            "fc1": "intermediate.dense",
            "fc2": "output.dense",
            "token": "embeddings.word_embeddings",
            "position": "embeddings.position_embeddings",
            "final": "norm",
            "head": "classifier",
        },
    ),
    (
        "vit.encoder.layer.{}.",
        {
            "norm1": "layernorm_before",
            "norm2": "layernorm_after",
            "q": "attention.attention.query",
            "k": "attention.attention.key",
            "v": "attention.attention.value",
            "qkv": "attention.attention.qkv",
            "o": "attention.output.dense",
            "fc1": "intermediate.dense",
            "fc2": "output.dense",
            "token": "vit.embeddings.word_embeddings",
            "position": "vit.embeddings.position_embeddings",
            "final": "vit.layernorm",
            "head": "classifier",
        },
    ),
    (
        "model.layers.{}.",
        {
            "norm1": "input_layernorm",
            "norm2": "post_attention_layernorm",
            "q": "self_attn.q_proj",
            "k": "self_attn.k_proj",
            "v": "self_attn.v_proj",
            "qkv": "self_attn.qkv_proj",
            "o": "self_attn.o_proj",
            "fc1": "mlp.up_proj",
            "fc2": "mlp.down_proj",
            "token": "model.embed_tokens",
            "position": "model.embed_positions",
            "final": "model.norm",
            "head": "lm_head",
        },
    ),
    (
        "layers.{}.",
        {
            "norm1": "self_attn_layer_norm",
            "norm2": "final_layer_norm",
            "q": "self_attn.q_proj",
            "k": "self_attn.k_proj",
            "v": "self_attn.v_proj",
            "qkv": "self_attn.in_proj",
            "o": "self_attn.out_proj",
            "fc1": "fc1",
            "fc2": "fc2",
            "token": "embed_tokens",
            "position": "embed_positions",
            "final": "layer_norm",
            "head": "output_projection",
        },
    ),
    (
        "transformer.layers_{}.",
        {
            "norm1": "norm1",
            "norm2": "norm2",
            "q": "attn.to_q",
            "k": "attn.to_k",
            "v": "attn.to_v",
            "qkv": "attn.to_qkv",
            "o": "attn.to_out.0",
            "fc1": "ff.net.0",
            "fc2": "ff.net.2",
            "token": "tok",
            "position": "positional",
            "final": "norm_out",
            "head": "proj_out",
        },
    ),
)

CONVOLUTIONS: tuple[tuple[str, Mapping[str, str]], ...] = (
    (
        "layer1.{}.",
        {
            "conv1": "conv1",
            "bn1": "bn1",
            "conv2": "conv2",
            "bn2": "bn2",
            "down": "downsample.0",
            "downbn": "downsample.1",
            "stem": "conv1",
            "stembn": "bn1",
            "head": "fc",
        },
    ),
    (
        "stages.0.layers.{}.",
        {
            "conv1": "layer.0.convolution",
            "bn1": "layer.0.normalization",
            "conv2": "layer.1.convolution",
            "bn2": "layer.1.normalization",
            "down": "shortcut.convolution",
            "downbn": "shortcut.normalization",
            "stem": "embedder.convolution",
            "stembn": "embedder.normalization",
            "head": "classifier",
        },
    ),
    (
        "body.{}.",
        {
            "conv1": "0",
            "bn1": "1",
            "conv2": "3",
            "bn2": "4",
            "down": "skip.0",
            "downbn": "skip.1",
            "stem": "stem.0",
            "stembn": "stem.1",
            "head": "head",
        },
    ),
    (
        "res2.{}.",
        {
            "conv1": "conv1",
            "bn1": "conv1.norm",
            "conv2": "conv2",
            "bn2": "conv2.norm",
            "down": "shortcut",
            "downbn": "shortcut.norm",
            "stem": "stem.conv1",
            "stembn": "stem.conv1.norm",
            "head": "linear",
        },
    ),
)

WORDS = ("alpha", "bravo", "cargo", "delta", "ember", "fjord", "glyph", "haven", "ivory", "jolly")

PREFIXES = ("", "", "", "module.", "model.", "net.", "backbone.", "encoder.", "a.b.", "student.")

TWINS = ("ema.", "teacher.", "encoder_k.", "target.", "other.")


def make_pair(seed: int) -> Pair:
    """One random pair."""
    return _Maker(random.Random(seed)).make()


class _Maker:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.values = np.random.default_rng(chance.randrange(2**32))
        self.told: list[str] = []
        self.spoken: set[str] = set()

    def make(self) -> Pair:
        shapes, styles = self.chance.choice((self.transformer, self.convolutions))()
        source = {role: self.fresh(shape) for role, shape in shapes.items()}
        target = dict(source)
        for change in (self.lengths, self.lose, self.head, self.stem, self.fuse, self.turn):
            source, target = change(source, target)
        names = self.naming(styles), self.naming(styles)
        if self.maybe(0.2):
            self.told.append("one naming")
            names = names[0], names[0]
        given = self.named(source, names[0])
        expected = self.named(target, names[1])
        own = {key: self.fresh(array.shape) for key, array in expected.items()}
        expected = {
            key: own[key] if array.size and np.isnan(array).all() else array
            for key, array in expected.items()
        }
        return self.doubled(given, own, expected)

    # --- networks

    def transformer(self) -> tuple[Shapes, Any]:
        width = self.chance.choice((2, 4, 4))
        hidden = width * self.chance.choice((1, 2, 4))
        rows = self.chance.choice((width, 6, 10))
        bias = self.maybe(0.7)
        shapes: Shapes = {("token", "weight"): (rows, width)}
        if self.maybe(0.6):
            shapes["position", "weight"] = (self.chance.choice((rows, 5, width)), width)
        for layer in range(self.chance.randint(1, 4)):
            for part, shape in (
                ("norm1", (width,)),
                ("q", (width, width)),
                ("k", (width, width)),
                ("v", (width, width)),
                ("o", (width, width)),
                ("norm2", (width,)),
                ("fc1", (hidden, width)),
                ("fc2", (width, hidden)),
            ):
                shapes[str(layer), part, "weight"] = shape
                if bias:
                    shapes[str(layer), part, "bias"] = shape[:1]
        shapes["final", "weight"] = (width,)
        if bias:
            shapes["final", "bias"] = (width,)
        shapes["head", "weight"] = (self.chance.choice((rows, 7)), width)
        return shapes, TRANSFORMERS

    def convolutions(self) -> tuple[Shapes, Any]:
        width = self.chance.choice((2, 4))
        kernel = self.chance.choice((1, 3))
        shapes: Shapes = {("stem", "weight"): (width, self.chance.choice((3, width)), 3, 3)}
        self.norm(shapes, ("stembn",), width)
        for layer in range(self.chance.randint(1, 4)):
            for number in "12":
                shapes[str(layer), f"conv{number}", "weight"] = (width, width, kernel, kernel)
                self.norm(shapes, (str(layer), f"bn{number}"), width)
            if not layer and self.maybe(0.5):
                shapes[str(layer), "down", "weight"] = (width, width, 1, 1)
                self.norm(shapes, (str(layer), "downbn"), width)
        shapes["head", "weight"] = (7, width)
        shapes["head", "bias"] = (7,)
        return shapes, CONVOLUTIONS

    def norm(self, shapes: Shapes, role: Role, width: int) -> None:
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            shapes[(*role, leaf)] = (width,)

    # --- what becomes of them: nan stands for the destination's own

    def lengths(self, source: Any, target: Any) -> Any:
        """Fewer layers on one side: which ones, no header tells."""
        layers = sorted({int(role[0]) for role in source if len(role) == 3})
        if len(layers) < 2 or not self.maybe(0.2):
            return source, target
        count = self.chance.randint(1, len(layers) - 1)
        chosen = sorted(self.chance.sample(layers, count))
        self.told.append(f"layers {chosen} of {layers}")
        kept = {}
        for role, array in target.items():
            if len(role) < 3:
                kept[role] = array
            elif int(role[0]) in chosen:
                kept[str(chosen.index(int(role[0]))), role[1], role[2]] = array
        if self.maybe(0.3):  # the other way around: layers of the target are its own
            back = {}
            for role, array in target.items():
                back[role] = np.full_like(array, np.nan) if len(role) == 3 else array
            for role, array in kept.items():
                if len(role) == 3:
                    back[str(chosen[int(role[0])]), role[1], role[2]] = array
            return kept, back
        return source, kept

    def lose(self, source: Any, target: Any) -> Any:
        """Modules that the source lacks, and such that it alone has."""
        modules = sorted({role[:-1] for role in source})
        for module in modules:
            fate = self.chance.random()
            if fate < 0.04:
                self.told.append(f"source lacks {module}")
                source = {role: a for role, a in source.items() if role[:-1] != module}
                target = {
                    role: np.full_like(a, np.nan) if role[:-1] == module else a
                    for role, a in target.items()
                }
            elif fate < 0.08:
                self.told.append(f"target lacks {module}")
                target = {role: a for role, a in target.items() if role[:-1] != module}
        return source, target

    def head(self, source: Any, target: Any) -> Any:
        if not self.maybe(0.3):
            return source, target
        self.told.append("another head")
        rows = self.chance.choice((3, 8))
        return source, {
            role: np.full((rows, *a.shape[1:]), np.nan, np.float32) if role[0] == "head" else a
            for role, a in target.items()
        }

    def stem(self, source: Any, target: Any) -> Any:
        role = ("stem", "weight")
        if role not in target or not self.maybe(0.2):
            return source, target
        self.told.append("another stem")
        shape = target[role].shape
        channels = self.chance.choice([one for one in (1, 2, 5) if one != shape[1]])
        other = self.fresh((shape[0], channels, *shape[2:]))
        return source, {**target, role: other}

    def fuse(self, source: Any, target: Any) -> Any:
        if not self.maybe(0.35):
            return source, target
        heads = self.chance.choice((1, 2))
        self.told.append(f"fused, {heads} heads")
        if self.maybe(0.5):
            return self.fused(source, heads), target
        return source, self.fused(target, heads)

    def fused(self, side: Any, heads: int) -> Any:
        found = {}
        for role, array in side.items():
            parts = [side.get((role[0], part, role[-1])) for part in "qkv"] if len(role) > 2 else []
            if len(role) < 3 or role[1] not in "qkv" or any(one is None for one in parts):
                found[role] = array
            elif role[1] == "q":
                cut = [np.split(one, heads) for one in parts]
                rows = [piece for head in zip(*cut, strict=True) for piece in head]
                found[role[0], "qkv", role[-1]] = np.concatenate(rows)
        return found

    def turn(self, source: Any, target: Any) -> Any:
        """All layers of one side [in, out], as GPT-2's."""
        plain = ("token", "position", "head")
        layers = {role[0] for role in target if len(role) == 3}
        seen = {
            role[0]
            for role, a in target.items()
            if len(role) == 3 and a.ndim == 2 and a.shape[0] != a.shape[1] and role in source
        }
        if layers - seen or not self.maybe(0.2):
            return source, target  # where all are squares, no header tells it
        self.told.append("transposed")
        return source, {
            role: a.T.copy() if a.ndim == 2 and role[0] not in plain else a
            for role, a in target.items()
        }

    # --- names

    def naming(self, styles: Any) -> Naming:
        if self.maybe(0.15):
            return self.nonsense()
        start = self.chance.choice((0, 0, 0, 1, 2))
        step = self.chance.choice((1, 1, 1, 1, 2))
        before, names = self.chance.choice(styles)
        prefix = self.chance.choice(PREFIXES)
        told = dict(names)
        if self.maybe(0.1) and {"norm1", "norm2"} <= told.keys():
            told["norm1"], told["norm2"] = f"{before[0]}n_a", f"{before[0]}n_b"
            self.told.append("norms without a meaning")
        self.told.append(f"{prefix}{before} from {start} by {step}")

        def name(role: Role) -> str:
            if len(role) == 2:
                return f"{prefix}{told[role[0]]}.{role[1]}"
            number = start + step * int(role[0])
            return f"{prefix}{before.format(number)}{told[role[1]]}.{role[2]}"

        return name

    def nonsense(self) -> Naming:
        """Names that say nothing, some of which differ in numbers alone; none means two things."""
        self.told.append("nonsense")
        words = self.chance.sample(WORDS, 3)
        known: dict[str, str] = {}

        def of(part: str) -> str:
            while part not in known:
                word = f"{self.chance.choice(words)}{self.chance.choice(('', '_'))}"
                made = f"{word}{self.chance.randrange(20)}"
                if made not in self.spoken:
                    known[part] = made
                    self.spoken.add(made)
            return known[part]

        def name(role: Role) -> str:
            if len(role) == 2:
                return f"{of(role[0])}.{role[1]}"
            return f"{words[0]}.{role[0]}.{of(role[1])}.{role[2]}"

        return name

    def named(self, side: Any, name: Naming) -> Arrays:
        found: Arrays = {}
        for role, array in side.items():
            found.setdefault(name(role), array)
        return found

    # --- several of them

    def doubled(self, given: Arrays, own: Arrays, expected: Arrays) -> Pair:
        fate = self.chance.random()
        told = self.told
        if fate < 0.1:
            told.append("twin in the source")
            first, second = self.chance.sample((*TWINS, "student.", "model."), 2)
            twin = {f"{second}{key}": self.fresh(a.shape) for key, a in given.items()}
            given = {f"{first}{key}": a for key, a in given.items()} | twin
            if not own.keys().isdisjoint(twin):
                given = {key: a for key, a in given.items() if key not in own}  # the right names
        elif fate < 0.2:
            told.append("tower of the target's own")
            first, second = self.chance.sample((*TWINS, "online.", "model."), 2)
            tower = {
                f"{second}{key}": self.fresh(a.shape)
                for key, a in own.items()
                if f"{second}{key}" not in given  # the right names
            }
            own = {f"{first}{key}": a for key, a in own.items()} | tower
            expected = {f"{first}{key}": a for key, a in expected.items()} | tower
        elif fate < 0.3 and "another stem" not in told:
            return self.ranks(given, own, expected)
        elif fate < 0.4:
            told.append("extra modules")
            for word in self.chance.sample(WORDS, 2):
                like = self.chance.choice(list(own))
                array = self.fresh(own[like].shape)
                own, expected = (
                    {**own, f"{word}.weight": array},
                    {**expected, f"{word}.weight": array},
                )
                given = {**given, f"{word}x.weight": self.fresh(own[like].shape)}
        return Pair({"": given}, own, expected, tuple(told))

    def ranks(self, given: Arrays, own: Arrays, expected: Arrays) -> Pair:
        """Two tensor-parallel ranks, each tensor cut in one of its dims, or in both files."""
        self.told.append("ranks")
        sources: dict[str, Arrays] = {"r0": {}, "r1": {}}
        for key, array in given.items():
            dims = [dim for dim, size in enumerate(array.shape[:2]) if size % 2 == 0]
            dim = self.chance.choice(dims) if array.ndim > 1 and dims else None
            parts = [array, array] if dim is None else np.split(array, 2, dim)
            for rank, part in enumerate(parts):
                sources[f"r{rank}"][key] = part
        return Pair(sources, own, expected, tuple(self.told))

    def maybe(self, chance: float) -> bool:
        return self.chance.random() < chance

    def fresh(self, shape: tuple[int, ...]) -> Array:
        return self.values.random(shape).astype(np.float32) + np.float32(1)
