"""Rows of fused heads and of rotary embeddings: shapes don't tell their order."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ckptsurgeon.drafting.steps import Step
from ckptsurgeon.keys import without_integers
from ckptsurgeon.suggesting.names import cut_leaf
from ckptsurgeon.suggesting.roles import part_of, roles_of

HEADWISE = frozenset(
    {
        "query_key_value",  # BLOOM, GPT-NeoX, Falcon, Megatron: head by head, or group by group
        "linear_qkv",  # Megatron-Core, group by group
    }
)
"""Names of fused layers whose rows are not all of query, all of key, all of value."""

COMPLEX = frozenset({"wq", "wk"})
"""Meta's names: its rotary embeddings pair neighbouring rows, others pair halves of a head."""

FUSED = frozenset({"qkv", "kv", "gate_up"})
"""Parts that are several in one: codebases put their rows in several orders."""

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


def doubt_fused(step: Step) -> str:
    """What may be wrong with fused rows that go to a module of another name, or in another one."""
    if not step.is_move or step.takes == step.gives:
        return ""
    modules = [without_integers(cut_leaf(key)[0]) for key in (step.takes[0], step.gives[0])]
    if {part_of(module) for module in modules}.isdisjoint(FUSED):
        return ""
    ends = [module.split(".")[-2:] for module in modules]
    name = modules[0].rpartition(".")[2]
    return f"the rows of {name} may lie in another order" if ends[0] != ends[1] else ""


def _are_headwise(names: Collection[str]) -> bool:
    return not HEADWISE.isdisjoint(names)


def _is_part(modules: Sequence[str], parts: Collection[str]) -> bool:
    found = [roles_of(without_integers(module)).get("part") for module in modules]
    return all(one is not None and one.value in parts for one in found)
