"""Modules that a number alone tells from those beside them: codebases count these in their ways."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from ckptsurgeon.drafting.steps import Degree, Step
from ckptsurgeon.keys import has_digits, without_integers
from ckptsurgeon.suggesting.blocks import Blocks, name_of
from ckptsurgeon.suggesting.names import cut_leaf
from ckptsurgeon.suggesting.units import Specs

LEAST = 3
"""Modules of equal shapes, as norm1, norm2 and norm3, of which each library has its order."""


class Numbers:
    """The modules of both sides with what their numbers tell apart, and what is in each block."""

    def __init__(self, source: Specs, target: Specs) -> None:
        self._sides = _Side(source), _Side(target)
        self._blocks = Blocks(source, target)

    def judge(self, step: Step) -> Step:
        """The step, likely at most where its module is one of several that a number tells apart.

        It is sure where the blocks around it hold the same by the same names.
        """
        if step.degree is not Degree.SURE or not step.is_move:
            return step
        keys = step.takes[0], step.gives[0]
        beside = [side.beside(key) for side, key in zip(self._sides, keys, strict=True)]
        most = max(beside, key=lambda names: len(names))
        if len(most) < LEAST or self._blocks.are_one(*keys):
            return step
        told = f"{', '.join(sorted(most))}: told apart by their numbers alone"
        return step.doubted(told)


class _Side:
    """The modules of one side that have numbers, by what they have in common."""

    def __init__(self, specs: Specs) -> None:
        self._alike: Mapping[object, set[str]] = defaultdict(set)
        self._specs = specs
        for key in specs:
            if (form := self._form(key)) is not None:
                self._alike[form].add(name_of(key))

    def _form(self, key: str) -> object:
        """What modules have in common that a number tells apart; None for another module."""
        name = name_of(key)
        if not has_digits(name) or name.isdecimal():
            return None
        module, _, kind = cut_leaf(key)
        return module[: -len(name)], without_integers(name), kind, self._specs[key].shape

    def beside(self, key: str) -> set[str]:
        """The names of modules that a number tells from that of a key, with its own."""
        form = self._form(key) if key in self._specs else None
        return self._alike.get(form, set())
