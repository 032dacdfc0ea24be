"""Rows of figures as text that lines up, which is a Markdown table too."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from statistics import median

from benchmarks.planning import PlanRow
from benchmarks.running import Row
from benchmarks.starting import Timing
from benchmarks.values import ValueRow

MEGA = 1_000_000

JOB_HEADS = (
    "job",
    "output",
    "ours",
    "of it start-up",
    "copy + fsync",
    "script",
    "ours / copy",
    "wanted",
    "script / ours",
    "CPU ours",
    "of it start-up",
    "CPU copy",
    "CPU script",
    "CPU ours / copy",
    "private ours",
    "private script",
    "resident ours",
    "resident script",
)

PLAN_HEADS = (
    "plan",
    "wall ours",
    "wall script",
    "CPU ours",
    "CPU script",
    "CPU ours / script",
    "wanted",
    "memory ours",
    "memory script",
)

VALUE_HEADS = (
    "job",
    "read",
    "ours",
    "reading alone",
    "NumPy script",
    "torch script",
    "CPU ours",
    "CPU NumPy",
    "CPU torch",
    "private ours",
    "private NumPy",
    "private torch",
)

TIMING_HEADS = ("command", "wall", "CPU", "wanted", "private", "resident")


def job_cells(rows: Sequence[Row]) -> tuple[str, ...]:
    """A job's figures over several tables: seconds, ratios and MB."""
    job = rows[0].job
    return (
        job.name,
        _megabytes(rows[0].nbytes),
        _spread([row.ours.wall for row in rows], " s"),
        f"{median(row.start.wall for row in rows):.2f} s",
        _spread([row.copy.wall for row in rows], " s"),
        f"{median(row.script.wall for row in rows):.2f} s",
        _spread([row.against_copy for row in rows]),
        f"{job.most:.2f}" if job.most else "",
        f"{median(row.against_script for row in rows):.1f}",
        _spread([row.ours.cpu for row in rows], " s"),
        f"{median(row.start.cpu for row in rows):.2f} s",
        _spread([row.copy.cpu for row in rows], " s"),
        f"{median(row.script.cpu for row in rows):.2f} s",
        _spread([row.cpu_against_copy for row in rows]),
        _megabytes(max(row.ours.private for row in rows)),
        _megabytes(max(row.script.private for row in rows)),
        _megabytes(max(row.ours.resident for row in rows)),
        _megabytes(max(row.script.resident for row in rows)),
    )


def _spread(values: Sequence[float], unit: str = "") -> str:
    """The median, and the least and the most where there are several."""
    middle = f"{median(values):.2f}{unit}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.2f} - {max(values):.2f})"


def plan_cells(row: PlanRow) -> tuple[str, ...]:
    """A plan's figures beside those of its script."""
    return (
        row.plan.name,
        f"{row.ours.wall:.2f} s",
        f"{row.script.wall:.2f} s",
        f"{row.ours.cpu:.2f} s",
        f"{row.script.cpu:.2f} s",
        f"{row.against_script:.2f}",
        f"{row.most:.2f}" if row.most else "",
        _megabytes(row.ours.resident),
        _megabytes(row.script.resident),
    )


def value_cells(row: ValueRow) -> tuple[str, ...]:
    """The figures of a job that reads values; a script that nobody wrote leaves its cell empty."""
    numpy, torch = (row.scripts.get(library) for library in ("numpy", "torch"))
    costs = (row.ours, numpy, torch)
    return (
        row.job.name,
        _megabytes(row.nbytes),
        *(f"{cost.wall:.2f} s" if cost else "" for cost in (row.ours, row.read, numpy, torch)),
        *(f"{cost.cpu:.2f} s" if cost else "" for cost in costs),
        *(_megabytes(cost.private) if cost else "" for cost in costs),
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
