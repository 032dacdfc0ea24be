"""How a report is laid out: how wide, in which colours, and how many lines of what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ckptsurgeon.cutting import cut
from ckptsurgeon.plans.graph import RuleInfo
from ckptsurgeon.render.columns import GAP, Aligned, Palette, align
from ckptsurgeon.render.folding import fold_lots
from ckptsurgeon.render.lines import Line, Lot, unfold_lots
from ckptsurgeon.render.sections import Section
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.render.words import merge_lines
from ckptsurgeon.wording import tell_more

INDENT = "  "

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Limits:
    """Lines that are shown of a list before the rest is only counted."""

    section: int
    finding: int
    note: int
    suggestion: int


CLEAN = Limits(section=24, finding=8, note=3, suggestion=16)
UNSETTLED = Limits(section=6, finding=4, note=1, suggestion=16)
"""With findings the rest is short: they must be in sight."""

EVERYTHING = Limits(*[10**12] * 4)


@dataclass(frozen=True, slots=True)
class View:
    """How a report is to be shown; `pictures` are drawn only where there is colour."""

    width: int
    palette: Palette
    verbose: bool
    limits: Limits
    pictures: bool = False

    def fold(self, lots: Iterable[Lot], show: Callable[[Line], Aligned], limit: int) -> list[str]:
        """The entries of lots on few lines, at most `limit` of them."""
        return self.table(self.unite(lots), show, limit)

    def unite(self, lots: Iterable[Lot]) -> Sequence[Line]:
        """The entries of lots on few lines; each on its own where nothing is to be folded."""
        return unfold_lots(lots) if self.verbose else merge_lines(fold_lots(lots))

    def show(self, section: Section | None) -> list[str]:
        """A section: its title, its lines, and how many more there are."""
        if section is None:
            return []
        paint = self.palette.bad if section.is_wrong else self.palette.bold
        heads = [Aligned(section.heads[:-1])] if section.shows_heads else []
        told = f"{GAP}{self.palette.dim(section.told)}" if section.told else ""
        return [
            f"{paint(section.title)}{told}",
            *self.table(section.items, section.show, section.limit, heads=heads),
            *(INDENT + self.palette.hint(hint) for hint in section.hints),
        ]

    def table(
        self,
        lines: Sequence[Item],
        show: Callable[[Item], Aligned],
        limit: int,
        indent: str = INDENT,
        heads: Sequence[Aligned] = (),
    ) -> list[str]:
        """The lines that `show` makes, aligned below heads, and how many more there are."""
        first, left_out = cut(lines, limit)
        shown = self.align([*heads, *map(show, first)], indent)
        if left_out:
            shown.append(self.palette.dim(f"{indent}... {left_out:,} more lines ({tell_more()})"))
        return shown

    def align(self, lines: Sequence[Aligned], indent: str = INDENT) -> list[str]:
        """The lines in columns, all of them."""
        return align(lines, self.width, self.palette, indent, self.verbose)

    @staticmethod
    def page(*blocks: Sequence[str]) -> str:
        """Blocks of lines with an empty line between; those without lines are left out."""
        return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def place_text(rule: RuleInfo | None) -> str:
    """`rules.yaml:4`: the rule behind a line; of a table the lines of all its entries."""
    if rule is None:
        return ""
    return rule.place.file_line if rule.lines is None else str(rule.lines)


def join_texts(texts: Sequence[str], limit: int) -> str:
    """`a, b, +3 more`, safe to show."""
    shown, left = cut(texts, limit)
    return ", ".join(map(safe, shown)) + (f", +{left:,} more" if left else "")
