"""Rows of figures as text that lines up, which is a Markdown table too."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence

from benchmarks.planning import Timing
from benchmarks.running import Row

MEGA = 1_000_000

JOB_HEADS = (
    "job",
    "output",
    "ours",
    "copy + fsync",
    "script",
    "ours / copy",
    "wanted",
    "script / ours",
    "CPU ours",
    "CPU script",
    "private ours",
    "private script",
    "resident ours",
    "resident script",
)

TIMING_HEADS = ("command", "wall", "CPU", "wanted", "private", "resident")


def job_cells(row: Row) -> tuple[str, ...]:
    """A job's figures: seconds, ratios and MB."""
    ours, script = row.ours, row.script
    return (
        row.job.name,
        _megabytes(row.nbytes),
        f"{ours.wall:.2f} s",
        f"{row.copy.wall:.2f} s",
        f"{script.wall:.2f} s",
        f"{row.against_copy:.2f}",
        f"{row.job.most:.2f}" if row.job.most else "",
        f"{row.against_script:.1f}",
        f"{ours.cpu:.2f} s",
        f"{script.cpu:.2f} s",
        *map(_megabytes, (ours.private, script.private, ours.resident, script.resident)),
    )


def timing_cells(timing: Timing) -> tuple[str, ...]:
    """A command's figures."""
    cost = timing.cost
    most = f"{timing.most:g} s" if timing.most else ""
    return (
        timing.name,
        f"{cost.wall:.3f} s",
        f"{cost.cpu:.3f} s",
        most,
        _megabytes(cost.private),
        _megabytes(cost.resident),
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with its columns lined up."""
    body = [list(heads), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*body, strict=True)]
    lines = [_line(cells, widths) for cells in body]
    rule = "|".join(
        f" {'-' * width} " if at == 0 else f" {'-' * (width - 1)}: "
        for at, width in enumerate(widths)
    )
    return "\n".join((lines[0], f"|{rule}|", *lines[1:])) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = cells
    aligned = [first.ljust(widths[0])]
    aligned += (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
    return f"| {' | '.join(aligned)} |"


def _megabytes(nbytes: int) -> str:
    return f"{nbytes / MEGA:.0f} MB"


def machine() -> str:
    """The machine in a line: processors, memory, kernel, Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return (
        f"{os.cpu_count()} processors ({_processor()}), {memory / 2**30:.0f} GiB of memory, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            ]
    except OSError:
        names = []
    return names[0] if names else platform.machine()
