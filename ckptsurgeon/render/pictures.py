"""Bars for people on a terminal: what became of the bytes, and which dtypes they have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ckptsurgeon.plans.account import FindingKind
from ckptsurgeon.plans.outputs import Status
from ckptsurgeon.render.accounting import share_sources
from ckptsurgeon.render.columns import GAP
from ckptsurgeon.render.terminal import width_of
from ckptsurgeon.render.view import View
from ckptsurgeon.report.report import Report
from ckptsurgeon.specs import TensorSpec, human_bytes, percent

SIGNS = "█■"
"""What bars and legends are drawn with; a terminal that can't write them gets no picture."""

LONGEST_BAR = 72
MOST_DTYPES = 6

OF_STATUS = {
    Status.MOVED: "32",
    Status.RENAMED: "36",
    Status.COPIED: "34",
    Status.CHANGED: "33",
    Status.KEPT: "35",
    Status.INITIALISED: "95",
}
"""The colours of what is given."""

WRONG, LEFT = "31", "2;37"
"""The colours of what is not given though it is wanted, and of what is left of the sources."""

OF_DTYPES = ("36", "33", "35", "34", "32", "95", "2;37")
"""The colours of dtypes, the largest first; the last one is of all others."""


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a bar: its name and what is told of it, its bytes, its colour."""

    name: str
    nbytes: int
    color: str
    told: str = ""


def draw_report(report: Report, view: View) -> list[str]:
    """The bytes by fate, and those of the output by dtype; nothing where there are no pictures."""
    if not view.pictures:
        return []
    shares = [share for share in _fates(report) if share.nbytes]
    whole = sum(share.nbytes for share in shares)
    told = [Share(s.name, s.nbytes, s.color, percent(s.nbytes, whole)) for s in shares]
    outputs = report.rows.outputs
    kinds = [kind for kinds in report.kinds.values() for kind in kinds]
    sized = ((outputs.first(kind).spec, len(kind.keys)) for kind in kinds)
    return [*_draw("bytes", told, view), *_draw("dtypes", share_dtypes(sized), view)]


def draw_dtypes(specs: Iterable[TensorSpec], view: View) -> list[str]:
    """The bytes of some tensors by dtype."""
    return _draw("", share_dtypes((spec, 1) for spec in specs), view) if view.pictures else []


def _fates(report: Report) -> Iterator[Share]:
    """The bytes that are given, those that are wanted and not given, those that are left."""
    for status, color in OF_STATUS.items():
        yield Share(status.value, report.counts[status].nbytes, color)
    for kind in (FindingKind.MISSING, FindingKind.MISMATCHED):
        wanted = (one.wanted for one in report.open_findings if one.kind is kind)
        yield Share(kind.value, sum(spec.nbytes for spec in wanted if spec), WRONG)
    for name, tally in share_sources(report):
        if name != "used":
            yield Share(name, tally.nbytes, LEFT)


def share_dtypes(specs: Iterable[tuple[TensorSpec, int]]) -> list[Share]:
    """The bytes by dtype, the most first; dtypes beyond some are one share."""
    found = Counter[str]()
    for spec, number in specs:
        found[spec.dtype] += spec.nbytes * number
    pairs = [(name, nbytes) for name, nbytes in found.most_common() if nbytes]
    if len(pairs) > MOST_DTYPES + 1:
        rest = pairs[MOST_DTYPES:]
        pairs[MOST_DTYPES:] = [(f"{len(rest)} more", sum(nbytes for _, nbytes in rest))]
    return [
        Share(name, nbytes, color, human_bytes(nbytes))
        for (name, nbytes), color in zip(pairs, OF_DTYPES, strict=False)
    ]


def _draw(name: str, shares: Sequence[Share], view: View) -> list[str]:
    """A bar and its legend; nothing of fewer than two shares, which a bar tells nothing of."""
    if len(shares) < 2:
        return []
    indent = (name and f"{name:6}{GAP}") or GAP
    room = view.width - len(indent)
    sizes = divide([share.nbytes for share in shares], min(room, LONGEST_BAR))
    parts = zip(shares, sizes, strict=True)
    bar = "".join(view.palette.paint(share.color, SIGNS[0] * size) for share, size in parts)
    legend = _wrap([_entry(share, view) for share in shares], room)
    return [indent + bar, *(" " * len(indent) + line for line in legend)]


def _entry(share: Share, view: View) -> tuple[str, int]:
    """A share in a legend, and the columns that it takes."""
    text = f"{share.name} {share.told}"
    return f"{view.palette.paint(share.color, SIGNS[1])} {text}", width_of(text) + 2


def _wrap(entries: Iterable[tuple[str, int]], room: int) -> Iterator[str]:
    """Entries on as few lines as have room for them."""
    line, used = "", 0
    for text, size in entries:
        if line and used + len(GAP) + size > room:
            yield line
            line, used = "", 0
        line, used = (f"{line}{GAP}{text}", used + len(GAP) + size) if line else (text, size)
    yield line


def divide(parts: Sequence[int], width: int) -> list[int]:
    """Columns for parts of a whole: `width` in all, for each one at least where there are so many.

    By largest remainders; what parts smaller than a column get more is the largest's.
    """
    whole = sum(parts)
    sizes = [max(1, part * width // whole) for part in parts]
    larger = [at for at, part in enumerate(parts) if part * width >= whole]
    by_remainder = sorted(larger, key=lambda at: -(parts[at] * width % whole))
    for at in by_remainder[: max(0, width - sum(sizes))]:
        sizes[at] += 1
    while sum(sizes) > width and max(sizes) > 1:
        sizes[sizes.index(max(sizes))] -= 1
    return sizes
