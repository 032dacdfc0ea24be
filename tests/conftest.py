"""What holds for every test: quiet libraries, no network or hurry, one thread, the same numbers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
# No quarrel over the cores among pytest-xdist's processes; no test counts on the order of sums.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No test fails because the machine was busy.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Torch's random numbers are those of the test alone, whatever ran before it."""
    import torch  # after the settings above, which it reads when it is imported

    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _forgotten(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Modules that a test wrote and imported are forgotten; the next may write others so named."""
    before = set(sys.modules)
    yield
    written = str(tmp_path_factory.getbasetemp())
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(written):
            del sys.modules[name]
