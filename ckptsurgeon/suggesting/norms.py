"""Norms of one block, which are equal in shape: their names alone tell them apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from ckptsurgeon.drafting.steps import Degree, Step
from ckptsurgeon.keys import without_integers
from ckptsurgeon.suggesting.blocks import block_of
from ckptsurgeon.suggesting.names import cut_leaf, spell, words_of
from ckptsurgeon.suggesting.roles import Found, roles_of, roles_of_tensor
from ckptsurgeon.suggesting.units import Specs

THIRD, OWN = " norm 3 ", " post self attn norm "
"""Words of norms that change what those beside them are: of a third, and of GLM-4's."""


def tell_norm(name: str) -> frozenset[str]:
    """What a norm says of itself that matters to those beside it; nothing where it is none."""
    role, text = roles_of(name).get("norm"), spell(name)
    told = frozenset(words for words in (THIRD, OWN) if words in text)
    return told if role is None else told | {role.value}


def settle_norm(name: str, beside: Collection[str]) -> Found | None:
    """Which norm of a block a name says it is, beside norms that say these; None where none."""
    found = roles_of(name).get("norm")
    if found is None:
        return None
    text, value = spell(name), found.value
    if THIRD in beside and found.weak:  # a decoder's: of itself, of the encoder, of the MLP
        value = "cross" if " norm 2 " in text else "ffn" if THIRD in text else value
    is_last = "ffn" not in beside if OWN not in beside else OWN not in text
    if value == "post_attn" and is_last:
        value = "ffn"  # what follows attention is the MLP
    return Found(value, found.weak)


class Norms:
    """The norms of each block on both sides: equal ones are told apart by their names alone."""

    def __init__(self, source: Specs, target: Specs) -> None:
        self._sides = _norms_by_block(source), _norms_by_block(target)
        self._norms = [set().union(*side.values()) for side in self._sides]

    def judge(self, step: Step) -> Step:
        """A norm among others of its block is likely at most, unless both names say which it is."""
        if step.degree is not Degree.SURE or not step.is_move:
            return step
        modules = [cut_leaf(keys[0])[0] for keys in (step.sources.keys, step.targets.keys)]
        if not (modules[0] in self._norms[0] or modules[1] in self._norms[1]):
            return step
        blocks = [side[block_of(module)] for side, module in zip(self._sides, modules, strict=True)]
        norms = [module in block for module, block in zip(modules, blocks, strict=True)]
        if norms[0] != norms[1] and not any(map(_is_number, modules)):
            told = "one is a norm by its name, the other isn't"
            return step.doubted(told)
        roles = [roles_of_tensor(key).get("norm") for key in (step.takes[0], step.gives[0])]
        names = {module.rpartition(".")[2] for module in modules}
        if len(names) == 1 and roles[0] == roles[1]:
            return step
        even = len(blocks[0]) == len(blocks[1])
        is_told = even and roles[0] == roles[1] and self._is_told(modules)
        if roles == [None, None] or is_told:
            return step
        plain = [role for role in roles if role is not None and not role.weak]
        if len(plain) == 1 and None in roles:
            told = "one name says which norm it is, the other doesn't"
            return step.doubted(told)
        mine, theirs = (block - {module} for block, module in zip(blocks, modules, strict=True))
        if not (mine or theirs):
            return step
        others = ", ".join(sorted(module.rpartition(".")[2] for module in mine)[:2])
        remark = f"{others} would fit as well" if others else "another norm of the block would fit"
        return step.doubted(remark)

    def _is_told(self, modules: list[str]) -> bool:
        """Whether both names say the same in plain words, beside the other norms too."""
        found = []
        for side, module in zip(self._sides, modules, strict=True):
            beside = {word for one in side[block_of(module)] for word in tell_norm(one)}
            found.append(settle_norm(without_integers(module), beside))
        return found[0] == found[1] and found[0] is not None and not found[0].weak


def _is_number(module: str) -> bool:
    return module.rpartition(".")[2].isdecimal()


def _norms_by_block(specs: Specs) -> Mapping[str, set[str]]:
    """The modules whose names are those of norms, by the block that they are in."""
    found: dict[str, set[str]] = defaultdict(set)
    for key in specs:
        module = cut_leaf(key)[0]
        if "norm" in words_of(without_integers(module)):
            found[block_of(module)].add(module)
    return found
