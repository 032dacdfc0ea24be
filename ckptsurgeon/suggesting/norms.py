"""Norms of one block, which are equal in shape: their names alone tell them apart."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from ckptsurgeon.drafting.steps import Degree, Step
from ckptsurgeon.keys import without_integers
from ckptsurgeon.suggesting.names import cut_leaf, words_of
from ckptsurgeon.suggesting.roles import roles_of_tensor
from ckptsurgeon.suggesting.squares import block_of
from ckptsurgeon.suggesting.units import Specs


class Norms:
    """The norms of each block on both sides: equal ones are told apart by their names alone."""

    def __init__(self, source: Specs, target: Specs) -> None:
        self._source = _norms_by_block(source)
        self._target = _norms_by_block(target)

    def judge(self, step: Step) -> Step:
        """A norm among others of its block is likely at most, unless both names say which it is."""
        if step.degree is not Degree.SURE or not step.is_move:
            return step
        modules = [cut_leaf(keys[0])[0] for keys in (step.sources.keys, step.targets.keys)]
        if modules[0].rpartition(".")[2] == modules[1].rpartition(".")[2]:
            return step
        roles = [
            roles_of_tensor(keys[0]).get("norm") for keys in (step.sources.keys, step.targets.keys)
        ]
        if roles == [None, None] or (roles[0] == roles[1] and roles[0] and not roles[0].weak):
            return step
        beside = self._source[block_of(modules[0])] - {modules[0]}
        plain = [role for role in roles if role is not None and not role.weak]
        if len(plain) == 1 and None in roles:
            told = "one name says which norm it is, the other doesn't"
            return replace(step, degree=Degree.LIKELY, remark=told)
        if not beside and len(self._target[block_of(modules[1])]) < 2:
            return step
        others = ", ".join(sorted(module.rpartition(".")[2] for module in beside)[:2])
        remark = f"{others} would fit as well" if others else "another norm of the block would fit"
        return replace(step, degree=Degree.LIKELY, remark=remark)


def _norms_by_block(specs: Specs) -> dict[str, set[str]]:
    """The modules whose names are those of norms, by the block that they are in."""
    found: dict[str, set[str]] = defaultdict(set)
    for key in specs:
        module = cut_leaf(key)[0]
        if "norm" in words_of(without_integers(module)):
            found[block_of(module)].add(module)
    return found
