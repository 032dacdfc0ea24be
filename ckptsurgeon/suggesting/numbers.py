"""Modules that a number alone tells from those beside them: codebases count these in their ways."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from ckptsurgeon.drafting.steps import Degree, Step
from ckptsurgeon.keys import has_digits, without_integers
from ckptsurgeon.suggesting.blocks import block_of
from ckptsurgeon.suggesting.names import cut_leaf
from ckptsurgeon.suggesting.units import Specs

LEAST = 3
"""Modules of equal shapes, as norm1, norm2 and norm3, of which each library has its order."""


class Numbers:
    """The modules of both sides with what their numbers tell apart, and what is in each block."""

    def __init__(self, source: Specs, target: Specs) -> None:
        self._sides = _Side(source), _Side(target)

    def judge(self, step: Step) -> Step:
        """The step, likely at most where its module is one of several that a number tells apart.

        It is sure where the blocks around it hold the same by the same names.
        """
        if step.degree is not Degree.SURE or not step.is_move:
            return step
        keys = step.takes[0], step.gives[0]
        beside = [side.beside(key) for side, key in zip(self._sides, keys, strict=True)]
        most = max(beside, key=lambda names: len(names))
        if len(most) < LEAST or self._are_one(*keys):
            return step
        told = f"{', '.join(sorted(most))}: told apart by their numbers alone"
        return step.doubted(told)

    def _are_one(self, own: str, to: str) -> bool:
        """Whether the blocks of two keys are called the same, and one holds what the other does."""
        blocks = _block_around(own), _block_around(to)
        names = [_list_name(without_integers(one)) for one in blocks]
        held = [side.blocks[one] for side, one in zip(self._sides, blocks, strict=True)]
        return names[0] == names[1] and (held[0] <= held[1] or held[1] <= held[0])


class _Side:
    """The blocks of one side with what they hold, and its modules with numbers by their forms."""

    def __init__(self, specs: Specs) -> None:
        self.blocks: Mapping[str, set[str]] = defaultdict(set)
        self._alike: Mapping[object, set[str]] = defaultdict(set)
        self._specs = specs
        for key in specs:
            block = _block_around(key)
            self.blocks[block].add(key[len(block) :])
            if (form := self._form(key)) is not None:
                self._alike[form].add(_name_of(key))

    def _form(self, key: str) -> object:
        """What modules have in common that a number tells apart; None for another module."""
        name = _name_of(key)
        if not has_digits(name) or name.isdecimal():
            return None
        module, _, kind = cut_leaf(key)
        return module[: -len(name)], without_integers(name), kind, self._specs[key].shape

    def beside(self, key: str) -> set[str]:
        """The names of modules that a number tells from that of a key, with its own."""
        form = self._form(key) if key in self._specs else None
        return self._alike.get(form, set())


def _name_of(key: str) -> str:
    return cut_leaf(key)[0].rpartition(".")[2]


def _list_name(block: str) -> list[str]:
    """The piece that names a block, with its number where that is a piece of its own."""
    *before, last, _ = ["", *block.split(".")]
    return [*before[-1:], last] if last.isdecimal() else [last]


def _block_around(key: str) -> str:
    """The block that a key is in; for one in none what holds its module."""
    module = cut_leaf(key)[0]
    return block_of(key) or module[: len(module) - len(_name_of(key))]
