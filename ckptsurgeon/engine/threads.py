"""Work in several threads, of which the first that fails stops all."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

Stopped = threading.Event
"""Is set where a thread failed, or the user wished to stop: the others end soon."""

Work = Callable[[Stopped], None]


def run_all(works: Sequence[Work], threads: int, here: Work | None = None) -> None:
    """Does some works in so many threads, and meanwhile one in this thread.

    When all have ended, raises what one that failed has raised, or KeyboardInterrupt.
    """
    stopped = Stopped()

    def run(work: Work) -> None:
        with _stopping(stopped):
            work(stopped)

    with ThreadPoolExecutor(threads) as pool, _stopping(stopped):
        running = [pool.submit(run, work) for work in works]
        if here is not None:
            run(here)
        for future in running:
            future.result()


@contextlib.contextmanager
def _stopping(stopped: Stopped) -> Iterator[None]:
    """Stops all others where the body fails."""
    try:
        yield
    except BaseException:
        stopped.set()
        raise
