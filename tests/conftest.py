"""What holds for every test: quiet libraries, no network, one thread per test process."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
# Sums in one order on every machine, and no quarrel among pytest-xdist's processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
