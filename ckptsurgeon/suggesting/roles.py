"""What a module is for, as its name says: one table of patterns, each with its reason."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ckptsurgeon.keys import without_integers
from ckptsurgeon.suggesting.names import cut_leaf, spell, words_of


class Role(NamedTuple):
    """A facet of modules and its value, where a pattern is found in their words.

    A weak one is a habit of some libraries: others mean another thing by the name.
    """

    facet: str
    value: str
    pattern: str
    weak: bool = False


class Found(NamedTuple):
    """A facet's value, and whether the name says it in plain words."""

    value: str
    weak: bool


ROLES = (
    # What of attention it is. Fused ones first, for they hold the words of their parts.
    Role("part", "qkv", r" (qkv|wqkv|in proj|q k v|c attn|w pack) "),  # torch, timm, GPT-2, NeoX
    Role("part", "kv", r" (kv|wkv|k v) (?!(a|b|c) )"),  # SegFormer, Falcon; not MLA's kv_a, kv_b
    Role("part", "q", r" (q|wq|q lin|que) (?!(a|b) |proj (a|b) |former)"),  # not MLA's q_a, q_b
    Role("part", "k", r" (k|wk) "),
    Role("part", "v", r" (v|wv|val) "),
    Role("part", "o", r" attn (.* )?(out|o|wo|proj|c proj|linear|out proj) (\d |linear )?$"),
    Role("part", "o", r" (wo|o proj|out proj) $", weak=True),  # T5's MLP has a wo, too
    # What of an MLP it is.
    Role("ffn", "gate_up", r" (gate up|up gate|w 12|w 13) "),  # Phi-3, DINOv2, vLLM
    Role("ffn", "gate", r" gate (proj|linear) "),  # a gate alone may be an MoE's router
    Role("ffn", "gate", r" (w 1|wi 0) ", weak=True),  # Llama's and T5's own files
    Role("ffn", "up", r" (up proj|c linear|c fc|intermediate|h to 4 h) "),
    Role("ffn", "up", r" ffn (.* )?up "),
    Role("ffn", "up", r" ffn (.* )?linear 1 ", weak=True),  # of three, LitGPT's is the gate
    Role("ffn", "up", r" (linear 1|w 3|wi 1|linear in) ", weak=True),
    Role("ffn", "down", r" (down proj|4 h to h) "),
    Role("ffn", "down", r" ffn (.* )?(down|c proj|out linear) "),
    Role("ffn", "down", r" ffn (.* )?linear 2 ", weak=True),  # of three, LitGPT's is up
    Role("ffn", "down", r" (linear 2|w 2|linear out) ", weak=True),
    Role("ffn", "down", r" ffn proj $", weak=True),  # LitGPT
    Role("ffn", "down", r" (?<!attn )out linear $", weak=True),  # BERT
    # Which norm of a block it is: in the order of a block, the attention's comes first.
    Role("norm", "post_ffn", r" post ffn "),  # Gemma 2 has four of them
    Role("norm", "ffn", r" (pre ffn|ffn norm|norm ffn) "),
    Role("norm", "post_attn", r" post (self )?attn norm "),  # not its own: it follows that
    Role("norm", "cross", r" (cross attn norm|encoder attn norm|pre cross attn( norm)?) "),
    Role("norm", "embed", r" embed (.* )?norm $"),
    Role("norm", "head", r" head (.* )?norm $"),
    Role("norm", "attn", r" (input norm|pre attn( norm)?|norm attn|attn norm) $"),
    Role("norm", "attn", r" attn out norm $", weak=True),  # BERT's stands behind the attention
    Role("norm", "ffn", r" norm after ", weak=True),  # transformers' ViTs
    Role("norm", "attn", r" norm before ", weak=True),
    Role("norm", "attn", r" norm 1 ", weak=True),  # timm, GPT-2 (ln_1)
    Role("norm", "ffn", r" norm (2|3) ", weak=True),
    Role("norm", "ffn", r" (final norm|out norm) $", weak=True),  # fairseq, BERT
    Role("order", "pre", r" pre norm $"),
    Role("order", "post", r" post norm $"),
    Role("holder", "attn", r"^(?!.* ffn ).* attn "),
    Role("holder", "ffn", r"^(?!.* attn ).* ffn "),
    Role("kind", "norm", r" norm $"),
    Role("kind", "linear", r" (linear|conv|proj) $"),
    # What is embedded, and what is read off at the end.
    Role("embed", "position", r" (wpe|position) "),
    Role("embed", "token", r" (wte|embed token|token embed|word embed|word embeddings) $"),
    Role("embed", "segment", r" token type "),
    Role("embed", "patch", r" patch (embed )?"),
    Role("embed", "class", r" class (token|embed) $"),
    Role("embed", "mask", r" mask (token|embed) "),
    Role("embed", "head", r" (lm head|classifier|head|predictions|logits linear) $"),
    Role("embed", "head", r" (head|predictions|classifier) (linear|decoder|out proj|\d) $"),
    # Which of two halves of a network.
    Role("half", "encoder", r" encoder (?!attn|decoder)"),
    Role("half", "decoder", r" decoder "),
    Role("modality", "vision", r" (vision|pixel) "),
    Role("modality", "text", r" text "),
    Role("way", "down", r" down "),
    Role("way", "up", r" up (?!proj)"),
    Role("attention", "cross", r" (cross|encoder decoder|enc dec|encoder attn|multihead attn) "),
    Role("attention", "self", r" self "),
    # What convolutions are between.
    Role("conv", "expansion", r" expansion "),
    Role("conv", "depthwise", r" depthwise "),
    Role("conv", "downsample", r" downsample "),
    Role("squeeze", "reduce", r" squeeze (.* )?(reduce|reduction|linear 1) "),
    Role("squeeze", "expand", r" squeeze (.* )?(expansion|linear 2) "),
)
"""In order: of each facet the first that is found holds."""

KINDS = frozenset({"order", "kind", "holder"})
"""Facets of which two values can't be one module, and one value says nothing."""

EXCLUSIVE = KINDS | {"part", "ffn", "norm", "embed", "modality", "half", "squeeze"}
"""Facets of which two values can't be one module."""

TELLING = frozenset({"part", "ffn", "norm", "embed", "squeeze"})
"""Facets that say what a module is, and not only where."""

WHOLES: Mapping[str, tuple[str, tuple[tuple[str, ...], ...]]] = {
    "qkv": ("part", (("q", "k", "v"), ("q", "kv"))),
    "kv": ("part", (("k", "v"),)),
    "gate_up": ("ffn", (("gate", "up"),)),
}
"""By what a whole is: the facet of its parts, and the parts in the order of its rows.

Codebases put these rows in several orders.
"""

PARTS = frozenset(
    {"q", "k", "v", "kv", "wq", "wk", "wv", "wkv", "que", "val", "gate", "up", "w", "wi"}
)
"""Words by which parts of one whole differ: those of the roles that parts have."""

OF_LAYERS = frozenset({"part", "ffn", "norm", "holder"})
"""Facets of single layers, which the last pieces of a name tell: `w2v_model.layers.0` is no v."""

NEAR = 4
"""How many pieces these are."""

_COMPILED = tuple((role, re.compile(role.pattern)) for role in ROLES)

ROLE_WORDS = frozenset(re.findall("[a-z]+", " ".join(role.pattern for role in ROLES)))
"""All words of the patterns: what has none of them has no role."""

TWINS = frozenset({"ema", "averaged", "shadow", "swa", "polyak", "target", "momentum"})
"""Words of copies that follow a network's weights: the raw ones are beside them."""

NETWORKS = TWINS | {
    *("vision", "text", "audio", "control"),
    *("policy", "value", "v", "actor", "critic", "generator", "discriminator", "disc"),
    *("q", "query", "passage", "teacher", "student", "thinker", "talker", "draft", "mtp", "lpips"),
    *("grad", "delta", "avg"),  # of an optimizer, and of averages: these are no weights
}
"""Words for one network of several: what lacks them may be another."""

REVERSED = frozenset({"up", "decoder", "fusion", "refinenet"})
"""Words of lists that some libraries count from the other end: of the way up in U-shaped nets."""


@functools.lru_cache(maxsize=1 << 14)
def roles_of(module: str) -> Mapping[str, Found]:
    """The facets that a module's name tells."""
    if ROLE_WORDS.isdisjoint(words_of(module)):
        return {}
    every = spell(module)
    near = spell(".".join(module.split(".")[-NEAR:]))
    found: dict[str, Found] = {}
    for role, pattern in _COMPILED:
        text = near if role.facet in OF_LAYERS else every
        if role.facet not in found and pattern.search(text):
            found[role.facet] = Found(role.value, role.weak)
    if "norm" in found:  # a norm beside attention is none of its projections
        found.pop("part", None) if found.get("part", Found("", False)).value == "o" else None
    if found.get("kind") == Found("norm", False):  # one behind attention is the MLP's
        found.pop("holder", None)
    return found


def roles_of_tensor(key: str) -> Mapping[str, Found]:
    """The facets that the module of a tensor tells; its integers tell nothing of that here."""
    return roles_of(cut_leaf(without_integers(key))[0])


def has_attention(keys: Iterable[str]) -> bool:
    """Whether a module of these, or one that holds these tensors, is a part of attention."""
    return any("part" in roles_of(key) or "part" in roles_of_tensor(key) for key in keys)


def value_of(roles: Mapping[str, Found], facet: str) -> str:
    """What roles say of a facet; empty where they don't."""
    found = roles.get(facet)
    return "" if found is None else found.value


def is_twin(text: str) -> bool:
    """Whether a key or a prefix is of a copy that follows a network's weights."""
    return not TWINS.isdisjoint(words_of(text))


def part_of_tensor(key: str) -> str:
    """Which of attention's or the MLP's parts the module of a tensor is; else empty."""
    return part_of(cut_leaf(without_integers(key))[0])


def part_of(module: str) -> str:
    """Which of attention's or the MLP's parts a module is: `q`, `gate`, …; else empty."""
    roles = roles_of(module)
    return value_of(roles, "part") or value_of(roles, "ffn")
