"""Rows of fused heads and of rotary embeddings: shapes don't tell their order."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ckptsurgeon.drafting.steps import Step
from ckptsurgeon.keys import without_integers
from ckptsurgeon.suggesting.names import cut_leaf
from ckptsurgeon.suggesting.roles import roles_of

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


def doubt_rows(step: Step, rotary: bool) -> str:
    """What may be wrong with the order of rows; empty where nothing says so."""
    if not (step.sources.keys and step.targets.keys) or step.unit is not None:
        return ""
    modules = [cut_leaf(keys[0])[0] for keys in (step.sources.keys, step.targets.keys)]
    names = [module.rpartition(".")[2] for module in modules]
    if names[0] == names[1] and len(step.sources.keys) == len(step.targets.keys):
        return ""
    if _are_headwise(names):
        return "rows of fused heads: split_qkv or fuse_qkv with their layout and heads"
    if rotary and len(COMPLEX.intersection(names)) == 1 and _is_part(modules, ("q", "k")):
        return ROTARY
    return ""


def is_of_another_attention(step: Step) -> bool:
    """Whether a layer of queries or keys keeps its name in an attention that is called otherwise.

    Codebases that name these alike order their rows in two ways: transformers by halves of a head,
    torchtune and Meta by pairs.
    """
    if not step.is_move:
        return False
    modules = [cut_leaf(keys[0])[0] for keys in (step.sources.keys, step.targets.keys)]
    parents = [without_integers(one.rpartition(".")[0]).rpartition(".")[2] for one in modules]
    return parents[0] != parents[1] and _is_part(modules, ("q", "k"))


def _are_headwise(names: Collection[str]) -> bool:
    return not HEADWISE.isdisjoint(names)


def _is_part(modules: Sequence[str], parts: Collection[str]) -> bool:
    found = [roles_of(without_integers(module)).get("part") for module in modules]
    return all(one is not None and one.value in parts for one in found)
