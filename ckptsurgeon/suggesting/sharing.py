"""Which layers of tensor-parallel ranks are one, so that their parts are joined as they are.

What a name doesn't tell to be one layer may hold several: in each rank lies a part of each.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import NamedTuple

from ckptsurgeon.plans.scales import weight_of
from ckptsurgeon.suggesting.names import cut_leaf, spell
from ckptsurgeon.suggesting.roles import NEAR, WHOLES, part_of, roles_of, value_of

UNKNOWN = "its name doesn't tell whether it is fused: joined, its parts would lie rank by rank"

ALONE = re.compile(
    r" (attn |self |cross |to |add |w )*(q|k|v)( a| b| up)?( proj| linear| layer)* "
    r"| (wq|wk|wv)( b)? "
    r"| (wkv|kv) b( proj)? "  # of MLA, head by head
    r"| (ffn )?(gate|up|down)( proj| linear) | ffn (gate|up|down) "
    r"| (attn |to |linear |w )*(o|out)( proj| linear)? | wo "
    r"| embed (out )?"
)
"""The last pieces of names of layers that are one, whatever dim their ranks share."""

BEHIND = re.compile(r" (linear )?proj | linear ")
"""The last pieces of names of attention's output, where ranks share what it takes."""

FFN = frozenset({"gate", "up", "down", "gate_up"})
"""The parts of an MLP: of these one gives what another takes."""


class Joined(NamedTuple):
    """The dim, from the end, in which a tensor's parts are joined, and the size that results."""

    dim: int
    size: int


class Layers:
    """The layers that ranks share, by the tensors of them that are joined."""

    def __init__(self, joined: Mapping[str, Joined], names: Collection[str]) -> None:
        self._joined = joined
        self._names = dict.fromkeys(names)
        self._weights: dict[str, str] = {}
        self._held: dict[str, set[tuple[str, Joined]]] = defaultdict(set)
        for name in names:
            module, _, kind = cut_leaf(name)
            if kind != "weight" or weight_of(name, self._names):
                continue
            self._weights.setdefault(module, name)
            if name in joined:
                for holder in _holders(module):
                    self._held[holder].add((part_of(module), joined[name]))

    def count(self, name: str) -> int:
        """How many layers a tensor holds, a bias or a scale as its weight; 0 if nothing tells."""
        weight = weight_of(name, self._names) or name
        module = cut_leaf(weight)[0]
        weight = self._weights.get(module, weight)
        own = self._joined.get(weight)
        part = part_of(module)
        if own is None or part in WHOLES:
            return 0
        if several := self._several(module, part, own):
            return several
        others = self._others(module, own) if part in FFN else set()
        if not others:
            return int(_is_alone(module, weight, own))
        return int(
            self._is_fed(module, part, own, others) or {size for _, size in others} == {own.size}
        )

    def _several(self, module: str, part: str, own: Joined) -> int:
        """How many layers it holds, where they give more than the next one takes; else 0."""
        words = _near_words(module)
        if part in ("gate", "up"):
            sizes = {size for _, size in self._others(module, own)}
            return 2 if {2 * size for size in sizes} == {own.size} else 0
        beside = self._held.get(_holders(module)[0], set())
        sizes = {one.size for _, one in beside if one.dim != own.dim}
        if " ffn " in words and not part:
            return 2 if own.size in {2 * size for size in sizes} else 0
        is_open = " attn " in words and not ALONE.fullmatch(_last_words(module))
        return 3 if is_open and own.size in {3 * size for size in sizes} else 0

    def _is_fed(self, module: str, part: str, own: Joined, others: set[tuple[str, int]]) -> bool:
        """Whether a layer takes half of what one gives that holds gate and up."""
        is_gated = " ffn " in _near_words(module) or {part for part, _ in others} == {"gate_up"}
        return part == "down" and is_gated and {size for _, size in others} == {2 * own.size}

    def _others(self, module: str, own: Joined) -> set[tuple[str, int]]:
        """The nearest parts of an MLP that are joined in the other dim, and what they share."""
        for holder in _holders(module):
            held = self._held.get(holder, set())
            if found := {
                (part, one.size) for part, one in held if part in FFN and one.dim != own.dim
            }:
                return found
        return set()


def _holders(module: str) -> list[str]:
    """What a module is in, and what that is in where it is named after the layer.

    `intermediate.dense` is in `intermediate` and what holds it, an MLP's `net.0.proj` in `net`.
    """
    first = module.rpartition(".")[0]
    before, _, number = first.rpartition(".")
    is_plain = _last_words(module) == " linear " and part_of(module) in FFN
    if is_plain or part_of(first) in FFN:
        return [first, before]
    is_numbered = number.isdecimal() and not part_of(module) and " ffn " in _near_words(module)
    return [before if is_numbered else first]


def _near_words(module: str) -> str:
    return spell(".".join(module.split(".")[-NEAR:]))


def _last_words(module: str) -> str:
    """The words of the last piece of a module that is no number."""
    return spell(next((one for one in reversed(module.split(".")) if not one.isdecimal()), ""))


def _is_alone(module: str, weight: str, own: Joined) -> bool:
    """Whether the name of a layer tells that it is one that is shared in that dim."""
    words = _last_words(module)
    if ALONE.fullmatch(words):
        return True
    roles = roles_of(module)
    if value_of(roles, "embed") in ("token", "head") and "holder" not in roles:
        return True
    if value_of(roles, "part") != "o" or roles["part"].weak:
        return False
    taken = -2 if weight.endswith(".kernel") else -1
    return words == " c proj " or (own.dim == taken and BEHIND.fullmatch(words) is not None)
