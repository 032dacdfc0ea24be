"""How far values moved, as a folded tree of modules with the figures of each beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ckptsurgeon.comparing.change import Change, add_changes
from ckptsurgeon.comparing.difference import Row
from ckptsurgeon.keys import read_key
from ckptsurgeon.render.columns import Aligned, fit_names
from ckptsurgeon.render.tree import Branch, grow_tree, part_names
from ckptsurgeon.specs import TensorSpec, percent

HEADS = ("", "relative L2", "", "max |Δ|", "cosine", "equal", "")
"""What the columns are."""

MARKS = "·▁▂▃▄▅▆▇█"
"""What a strip draws by height."""

HIGHEST = len(MARKS) - 1

WIDEST_STRIP = 32
"""Siblings that a strip shows one by one; of more, each mark is of several, and of the farthest."""

LONGEST_NAMES = 64

SMALL, NEAR = 1e-5, 1e-4
"""A share, and a distance of cosines, below which its power of ten says more than its digits."""


@dataclass(frozen=True, slots=True)
class Moves:
    """The changes of tensors by key, and of modules by path."""

    tensors: Mapping[str, Row]
    modules: Mapping[str, Change]

    def of(self, key: str, *, is_tensor: bool) -> Change:
        """The change of a tensor, or of all of a module."""
        return self.tensors[key].change or Change() if is_tensor else self.modules[key]


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """A module, or tensors that are alike; `changes` are of each of the siblings that repeat.

    `rows` are the tensors; there are none of a module.
    """

    label: str
    depth: int
    changes: tuple[Change, ...]
    rows: tuple[Row, ...]

    @property
    def whole(self) -> Change:
        """The change of all of it."""
        return add_changes(self.changes)

    @property
    def counted(self) -> Change:
        """The change of all of it as far as the whole has it: integers are just counted."""
        parts = (row.part for row in self.rows if row.part is not None)
        return add_changes(parts) if self.rows else self.whole

    @property
    def told(self) -> str:
        """The specs of tensors, and what is remarkable of their differences."""
        return tell_rows(self.rows) if self.rows else ""


def grow_changes(rows: Sequence[Row], modules: Mapping[str, Change]) -> list[ChangeLine]:
    """A line for each module of these tensors and for each tensor, repeated ones folded."""
    moves = Moves({row.key: row for row in rows}, modules)
    tree = grow_tree({row.key: row.spec for row in rows})
    return list(_branch_lines(tree, (("",),), 0, moves))


def show_change(line: ChangeLine) -> Aligned:
    """The line in columns."""
    far, *others = list_figures(line.whole)
    cells = f"{'  ' * line.depth}{line.label}", far, draw_strip(line.changes), *others
    return Aligned(cells, line.told)


Groups = Sequence[Sequence[str]]
"""The paths of modules that are alike: by the first integers that tell them apart, as of layers."""


def _branch_lines(branch: Branch, groups: Groups, depth: int, moves: Moves) -> Iterator[ChangeLine]:
    """The lines below some modules that are alike."""
    for child in part_names(branch):
        label, own = _label(child), _extend(groups, child.names)
        while len(parts := part_names(child)) == 1:
            (child,) = parts
            label, own = f"{label}.{_label(child)}", _extend(own, child.names, ".")
        is_tensor = child.spec is not None
        moved = ([moves.of(path, is_tensor=is_tensor) for path in paths] for paths in own)
        keys = [path for paths in own for path in paths] if is_tensor else []
        yield ChangeLine(
            label,
            depth,
            tuple(map(add_changes, moved)),
            tuple(map(moves.tensors.__getitem__, keys)),
        )
        below = [[f"{path}." for path in paths] for paths in own]
        yield from _branch_lines(child, below, depth + 1, moves)


def _extend(groups: Groups, names: Sequence[str], dot: str = "") -> Groups:
    """The paths with names behind them: names with integers part one group into several."""
    points = [read_key(name) for name in names]
    if len(groups) == 1 and len(names) > 1 and len({template for template, _ in points}) == 1:
        in_order = sorted(names, key=lambda name: read_key(name)[1])
        return [[f"{path}{dot}{name}" for path in groups[0]] for name in in_order]
    return [[f"{path}{dot}{name}" for path in paths for name in names] for paths in groups]


def _label(branch: Branch) -> str:
    return fit_names(branch.names, LONGEST_NAMES)


def tell_rows(rows: Sequence[Row]) -> str:
    """`F32[256, 768], Δ of rank 8, NaN 0 -> 3`: what is told of tensors that are alike."""
    specs = dict.fromkeys(tell_change(row.before, row.after) for row in rows)
    strange = tell_strange(add_changes(row.change for row in rows if row.change is not None))
    return ", ".join(filter(None, (" or ".join(specs), tell_rank(rows), strange)))


def tell_rank(rows: Sequence[Row]) -> str:
    """`Δ of rank 8`, or `4..8`, where the differences of tensors that are alike have a low one."""
    least, most = (choose(row.rank for row in rows) for choose in (min, max))
    ranks = str(least) if least == most else f"{least}..{most}"
    return f"Δ of rank {ranks}" if least else ""


def tell_change(before: TensorSpec | None, after: TensorSpec | None) -> str:
    """`F32[64, 4] -> F32[64, 3]`, or the one spec that there is."""
    if before is None or after is None or before == after:
        return str(after or before)
    return f"{before} -> {after}"


def draw_strip(changes: Sequence[Change]) -> str:
    """`▁▂▃█`: how far each of some siblings moved, relative to the farthest; "" for one alone."""
    return "".join(MARKS[height] for height in find_heights(changes))


def find_heights(changes: Sequence[Change]) -> list[int]:
    """How far each of some siblings moved, from 0 (not at all) to 8; of one alone nothing."""
    if len(changes) < 2:
        return []
    size = -(-len(changes) // WIDEST_STRIP)
    parts = [changes[at : at + size] for at in range(0, len(changes), size)]
    moved = [max(change.distance for change in part) for part in parts]
    most = max((one for one in moved if math.isfinite(one)), default=0.0)
    return [_height(one, most) for one in moved]


def _height(moved: float, most: float) -> int:
    if not moved:
        return 0
    share = moved / most if math.isfinite(moved) and most else 1.0
    return min(int(share * HIGHEST), HIGHEST - 1) + 1


# --- figures --------------------------------------------------------------------------------------


def list_figures(change: Change) -> tuple[str, str, str, str]:
    """Relative L2, the largest |Δ|, the cosine and the share of equal elements.

    What was not measured is "", as of integers in modules, of NaN, of items of less than a byte.
    """
    if not change.is_measured:
        return "", "", "", tell_percent(change.equal, change.count)
    return (
        tell_share(change.relative),
        tell_number(change.largest),
        tell_cosine(change),
        tell_percent(change.equal, change.count),
    )


def tell_figures(change: Change) -> list[str]:
    """The figures with their names, and what is not finite."""
    relative, largest, cosine, equal = list_figures(change)
    named = (f"relative L2 {relative}", f"max |Δ| {largest}", f"cosine {cosine}")
    strange = tell_strange(change)
    return [
        *(named if change.is_measured else ()),
        f"{equal} equal",
        *([strange] if strange else ()),
    ]


def tell_share(share: float) -> str:
    """A share in per cent with two digits; what is smaller by its power of ten."""
    if share == 0 or not math.isfinite(share):
        return "0" if share == 0 else _strange(share)
    if not SMALL <= share < 100:
        return f"{share:.1e}"
    return f"{100 * share:.2g}%" if share < 0.995 else f"{100 * share:.0f}%"


def tell_percent(part: int, whole: int) -> str:
    """`98.3%`: a share; of nothing it is all."""
    return percent(part, whole) if whole else "100%"


def tell_number(number: float) -> str:
    """A size of a difference, with two digits."""
    if number == 0 or not math.isfinite(number):
        return "0" if number == 0 else _strange(number)
    return f"{number:.1e}"


def tell_cosine(change: Change) -> str:
    """`0.9993`; what is nearer to 1 as `1-3e-09`."""
    distance = change.cosine_distance
    if not math.isfinite(distance):
        return "-"
    if distance == 0:
        return "1"
    return f"1-{distance:.0e}" if distance < NEAR else f"{1 - distance:.4f}"


def _strange(number: float) -> str:
    return "inf" if number == math.inf else "NaN"


def tell_strange(change: Change) -> str:
    """What is not finite on either side: `NaN 0 -> 3, inf 1 -> 1`."""
    told = (("NaN", change.nans), ("inf", change.infinities))
    return ", ".join(f"{word} {a:,} -> {b:,}" for word, (a, b) in told if a or b)
