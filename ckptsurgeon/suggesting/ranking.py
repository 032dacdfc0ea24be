"""The order of ranks: that of the numbers in their aliases, whatever order they were given in."""

from __future__ import annotations

from collections.abc import Sequence

from ckptsurgeon.keys import integers_in, without_integers

AS_GIVEN = "joined in the order in which the sources are given: their names tell none"

SEVERAL = "joined in the order of several numbers of the sources: is one of them alone meant?"


def order_ranks(aliases: Sequence[str]) -> tuple[list[str], str]:
    """The aliases in the order in which their tensors are joined, and why it is a guess.

    `rank11, rank10, rank9` -> `rank9, rank10, rank11`; what no number tells apart stays as given.
    """
    numbers = {alias: tuple(map(int, integers_in(alias))) for alias in aliases}
    forms = {without_integers(alias) for alias in aliases}
    if len(forms) > 1 or len(set(numbers.values())) < len(aliases):
        return list(aliases), AS_GIVEN
    varied = [len(set(column)) > 1 for column in zip(*numbers.values(), strict=True)]
    return sorted(aliases, key=lambda alias: numbers[alias]), SEVERAL if sum(varied) > 1 else ""
