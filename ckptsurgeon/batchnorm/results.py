"""What functions of this package give back, as text: names folded, a block a subject."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterable, Sequence

import msgspec

from ckptsurgeon.render.columns import Aligned, Palette
from ckptsurgeon.render.lines import Entry, Line, gather_lots
from ckptsurgeon.render.shown import LOOKS, Look
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.render.view import CLEAN, EVERYTHING, View
from ckptsurgeon.showing import Shown

Layers = Iterable[tuple[str, tuple[str, ...]]]
"""Names of layers, each with those that it comes from, if any."""


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """A subject, and the layers that it is true of."""

    title: str
    layers: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def of(cls, title: str, layers: Layers) -> Block:
        """The block of some layers that come from others."""
        return cls(title, tuple(layers))

    @classmethod
    def names(cls, title: str, names: Iterable[str]) -> Block:
        """The block of names alone."""
        return cls(title, tuple((name, ()) for name in names))


class NormResult(Shown):
    """A result that is told as blocks of layers."""

    __slots__ = ()

    @property
    @abstractmethod
    def blocks(self) -> Sequence[Block]:
        """What is told, in order; a block without layers is left out."""


def _render(shown: NormResult, *, width: int, color: bool, verbose: bool) -> str:
    """The layers folded, a block a subject, and a line that sums up."""
    view = View(width, Palette(color), verbose, EVERYTHING if verbose else CLEAN)
    blocks = [_show_block(block, view) for block in shown.blocks if block.layers]
    return view.page(*blocks, [shown.summary])


LOOKS[NormResult] = Look(_render, lambda shown: msgspec.json.encode(shown).decode())
"""The fields are its JSON."""


def _show_block(block: Block, view: View) -> list[str]:
    lots = gather_lots(Entry(name or "(the model)", None, froms) for name, froms in block.layers)
    title = f"{view.palette.bold(block.title)}  {view.palette.dim(f'{len(block.layers):,}')}"
    return [title, *view.fold(lots, _show_line, view.limits.section)]


def _show_line(line: Line) -> Aligned:
    key, came = safe(str(line.box)), ", ".join(safe(str(origin)) for origin in line.origins)
    return Aligned((key, f"<- {came}" if came and came != key else ""), "", line.names)
