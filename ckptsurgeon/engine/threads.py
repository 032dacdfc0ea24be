"""Work in several threads, of which the first that fails stops all."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context

from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.specs import plural

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

    running: list[Future[None]] = []
    with ThreadPoolExecutor(threads) as pool:
        try:
            with _stopping(stopped):
                for work in works:
                    with _telling_no_room(threads):
                        running.append(pool.submit(copy_context().run, run, work))
                if here is not None:
                    here(stopped)
                for future in running:
                    future.result()
        finally:
            _wait_for(running)


def _wait_for(running: Sequence[Future[None]]) -> None:
    """Waits until all have ended, however often Ctrl-C comes: they write to files that close."""
    if all(future.done() for future in running):
        return
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main else None
    try:
        wait(running)
    finally:
        if is_main:
            signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)


@contextlib.contextmanager
def _telling_no_room(threads: int) -> Iterator[None]:
    """Raises CkptSurgeonError where the machine has no room for another thread."""
    try:
        yield
    except RuntimeError as error:
        raise CkptSurgeonError(
            f"no room for {plural(threads, 'thread')} ({error}): raise the limit of memory or of "
            "processes (ulimit -v, ulimit -u)"
        ) from None


@contextlib.contextmanager
def _stopping(stopped: Stopped) -> Iterator[None]:
    """Stops all others where the body fails."""
    try:
        yield
    except BaseException:
        stopped.set()
        raise
