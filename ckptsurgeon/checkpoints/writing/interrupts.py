"""Ctrl-C and SIGTERM that wait until what must not be left half done is done."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A Ctrl-C that came when all was put in place, and changes nothing of that."""


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Signals that would end the run wait for the end of the block; in the main thread alone.

    What was to be done is done then: a Ctrl-C raises Interrupted. Where the block raises by itself
    that ends the run, and there is no need of another exception.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals in the main thread only
        return
    came: list[signal.Signals] = []
    handlers: dict[signal.Signals, Any] = {}
    try:
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if handler is signal.SIG_DFL or callable(handler):
                handlers[number] = handler
                signal.signal(number, lambda number, _: came.append(signal.Signals(number)))
        yield
    except BaseException:
        came = [number for number in came if number != signal.SIGINT]
        raise
    finally:
        for number in reversed(handlers):  # that of Ctrl-C last, for it may raise at once
            signal.signal(number, handlers[number])
        for number in dict.fromkeys(came):
            _deliver(number, handlers[number])


def _deliver(number: signal.Signals, handler: Any) -> None:
    """Have a signal do what it would have done."""
    with stopped_when_done():
        if callable(handler):
            handler(number, None)
        else:
            signal.raise_signal(number)


@contextlib.contextmanager
def stopped_when_done() -> Iterator[None]:
    """A Ctrl-C within the block is Interrupted: all is in place already."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted from error
