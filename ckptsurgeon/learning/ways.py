"""How one tensor of the converted file comes from the sources, as its values tell."""

from __future__ import annotations

from dataclasses import dataclass

from ckptsurgeon.drafting.steps import Call
from ckptsurgeon.learning.words import Array


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A part of one dim: the items of `order`, or with `gone` the only one, whose dim goes."""

    dim: int
    order: Array
    gone: bool = False

    @property
    def is_run(self) -> bool:
        """Whether its items are neighbours in order."""
        return len(self.order) == int(self.order[-1]) - int(self.order[0]) + 1 and bool(
            (self.order[1:] > self.order[:-1]).all()
        )


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """Sources on a grid of these sizes, the ops on each, what joins them, and ops on the result.

    `parts` are taken of every source, before all ops.
    """

    keys: tuple[str, ...]
    sizes: tuple[int, ...] = ()
    parts: tuple[Part, ...] = ()
    before: tuple[Call, ...] = ()
    joins: tuple[Call, ...] = ()
    after: tuple[Call, ...] = ()
