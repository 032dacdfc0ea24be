"""Rows of fused heads and of rotary embeddings: shapes don't tell their order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from ckptsurgeon.drafting.steps import Degree, Step
from ckptsurgeon.keys import prefixes_of, without_integers
from ckptsurgeon.suggesting.blocks import block_of
from ckptsurgeon.suggesting.names import cut_leaf, words_of
from ckptsurgeon.suggesting.roles import (
    WHOLES,
    part_of,
    part_of_tensor,
    roles_of,
    roles_of_tensor,
    value_of,
)
from ckptsurgeon.suggesting.units import Specs

HEADWISE = frozenset(
    {
        "query_key_value",  # BLOOM, GPT-NeoX, Falcon, Megatron: head by head, or group by group
        "linear_qkv",  # Megatron-Core, group by group
    }
)
"""Names of fused layers whose rows are not all of query, all of key, all of value."""

COMPLEX = frozenset({"wq", "wk"})
"""Meta's names: its rotary embeddings pair neighbouring rows, others pair halves of a head."""

ROTARY = "rotary rows: as they are, or by permute_rope"


TURNS = frozenset({"rotary", "rope", "freq", "freqs", "ids"})
"""Words of what is called after positions, and is no table of them that is added."""


class Rows:
    """What both sides tell of their positions: the rows of q and k are in the order of these."""

    def __init__(self, source: Specs, target: Specs) -> None:
        self._sides = _Side(source), _Side(target)
        forms = {without_integers(key) for side in (source, target) for key in side}
        embeds = {found.value for form in forms if (found := roles_of_tensor(form).get("embed"))}
        self._has_tokens = "token" in embeds or not embeds
        self._is_relative = any(map(_is_relative, forms))
        self._gated = {
            block_of(key)
            for side in (source, target)
            for key in side
            if part_of_tensor(key) == "gate"
        }

    def judge(self, step: Step) -> Step:
        """The step, open where its rows may well lie in another order; where they might, likely."""
        if not (step.takes and step.gives) or step.unit is not None:
            return step
        modules = [cut_leaf(key)[0] for key in (step.takes[0], step.gives[0])]
        told = self._ask(step, modules)
        if not told and step.degree < Degree.LIKELY and self._may_turn(step, modules):
            return step.doubted(ROTARY)
        return step.doubted(told, Degree.OPEN)

    def _ask(self, step: Step, modules: Sequence[str]) -> str:
        names = [module.rpartition(".")[2] for module in modules]
        if names[0] == names[1] and len(step.sources.keys) == len(step.targets.keys):
            return ""
        if not HEADWISE.isdisjoint(names):
            return "rows of fused heads: split_qkv or fuse_qkv with their layout and heads"
        is_complex = len(COMPLEX.intersection(names)) == 1 and _is_part(modules, ("q", "k"))
        return ROTARY if is_complex and not self._has_table(step) else ""

    def _may_turn(self, step: Step, modules: Sequence[str]) -> bool:
        if not step.is_move or not self._is_of_another_attention(modules):
            return False
        if not self._gated.isdisjoint(map(block_of, (step.takes[0], step.gives[0]))):
            return True
        return self._has_tokens and not (self._is_relative or self._has_table(step))

    def _is_of_another_attention(self, modules: Sequence[str]) -> bool:
        """Whether a layer of queries or keys goes to an attention that is called otherwise.

        Or to one that holds others beside it. Codebases that name these alike order their rows in
        two ways: transformers by halves of a head; torchtune, fairseq2 and Meta by pairs.
        """
        if not _is_part(modules, ("q", "k")):
            return False
        holders = [module.rpartition(".")[0] for module in modules]
        names = [without_integers(one).rpartition(".")[2] for one in holders]
        ends = zip(self._sides, holders, strict=True)
        mine, theirs = (side.held.get(one, set()) for side, one in ends)
        return names[0] != names[1] or not (mine <= theirs or theirs <= mine)

    def _has_table(self, step: Step) -> bool:
        """Whether one side has a table of positions for what a step moves."""
        ends = zip(self._sides, (step.takes[0], step.gives[0]), strict=True)
        return any(side.are_told(key) for side, key in ends)


class _Side:
    """What the attentions of one side hold, and its tables of positions with their towers.

    A tower is told by the prefix of the attentions that a table is for.
    """

    def __init__(self, specs: Specs) -> None:
        self.held: Mapping[str, set[str]] = defaultdict(set)
        for key in specs:
            holder, _, name = cut_leaf(key)[0].rpartition(".")
            self.held[holder].add(name)
        forms = set(map(without_integers, specs))
        self._tables: list[tuple[str, str]] = []
        tables = list(filter(_is_table, forms))
        attended = {
            prefix
            for form in forms
            if tables and "part" in roles_of_tensor(form)
            for prefix in prefixes_of(form)
        }
        for table in tables:
            around = [prefix for prefix in prefixes_of(table) if prefix in attended]
            tower = f"{max(around, key=len)}." if around else ""
            self._tables.append((tower, _modality(table)))

    def are_told(self, key: str) -> bool:
        """Whether the tower of a key has a table: the one that both are in, of its modality."""
        form = without_integers(key)
        return any(
            form.startswith(tower) and modality in ("", _modality(form))
            for tower, modality in self._tables
        )


def _is_table(form: str) -> bool:
    is_position = value_of(roles_of_tensor(form), "embed") == "position"
    return is_position and TURNS.isdisjoint(words_of(form))


def _modality(form: str) -> str:
    return value_of(roles_of_tensor(form), "modality")


def _is_relative(form: str) -> bool:
    """Whether a tensor is a table of relative positions, which take the place of rotary ones."""
    return "relative" in words_of(cut_leaf(form)[0]) or "rel" in words_of(form)


def is_headwise(module: str) -> bool:
    """Whether the rows of a fused layer lie head by head, or group by group, as its name tells."""
    return module.rpartition(".")[2] in HEADWISE


def doubt_fused(step: Step) -> str:
    """What may be wrong with fused rows that go to a module of another name, or in another one."""
    if not step.is_move or step.takes == step.gives:
        return ""
    modules = [without_integers(cut_leaf(key)[0]) for key in (step.takes[0], step.gives[0])]
    if {part_of(module) for module in modules}.isdisjoint(WHOLES):
        return ""
    ends = [module.split(".")[-2:] for module in modules]
    name = modules[0].rpartition(".")[2]
    return f"the rows of {name} may lie in another order" if ends[0] != ends[1] else ""


def _is_part(modules: Sequence[str], parts: Collection[str]) -> bool:
    return all(value_of(roles_of(without_integers(one)), "part") in parts for one in modules)
