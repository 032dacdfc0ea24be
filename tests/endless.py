"""What a test asks of time: that the body ends. How fast it is, is for `benchmarks/`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

ENDLESS = 60.0
"""CPU seconds: ten times what the slowest of the tests takes on a slow machine."""


@contextmanager
def ending() -> Iterator[None]:
    """Fails where the body takes as long as only what is out of all proportion does."""
    start = time.process_time()
    yield
    assert time.process_time() - start < ENDLESS
