"""A process that kills itself at one of its calls: for scripts whose leavings tests look at."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any


class Moments:
    """Calls that are counted; at the one of this number the process is killed, 0 being none."""

    def __init__(self, last: int) -> None:
        self.last, self.count = last, 0

    def watch(self, *names: str) -> None:
        """Counts the calls of these functions of `os`."""
        for name in names:
            setattr(os, name, self.counted(getattr(os, name)))

    def counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its calls counted."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count == self.last:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return wrapped
