"""A progress bar on a terminal for long work: bytes, speed, time left, current tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ckptsurgeon.render.terminal import safe


@contextmanager
def shown_progress() -> Iterator[Callable[[int, int, str], None]]:
    """A function to call after each tensor: bytes done, bytes in all, its key.

    The bar goes with the block.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        BarColumn(bar_width=24),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)

        def show(done: int, total: int, key: str) -> None:
            progress.update(task, completed=done, total=total, description=safe(key))

        yield show
