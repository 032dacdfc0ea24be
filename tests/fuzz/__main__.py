"""`python -m fuzz SECONDS [TARGET ...]`: runs the targets for so long in all.

Prints how many inputs each target ran. One that fails is made small, saved in `found` beside this
file, where the suite runs it from then on, and makes the exit code 1.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
import traceback
from pathlib import Path

from fuzz.targets import TARGETS
from hypothesis import HealthCheck, given, seed, settings

FOUND = Path(__file__).parent / "found"

ROUND = 500
"""Inputs that are made of one seed."""

SLOW = 20.0
"""Seconds of a processor that one input may take, each of which is small."""


class Fuzzing:
    """One target's runs: how many there were, and the last input."""

    def __init__(self, name: str, folder: Path, until: float) -> None:
        self.target, self.folder, self.until = TARGETS[name], folder, until
        self.runs, self.last = 0, b""

    def run_one(self, data: bytes) -> None:
        """Fails as the target does, or where it is slow; does nothing when the time is over."""
        if time.monotonic() > self.until:
            return
        self.runs, self.last, start = self.runs + 1, data, time.process_time()
        self.target.check(data, self.folder)
        assert time.process_time() - start < SLOW, "it takes very long"

    def run_round(self, number: int) -> None:
        """Runs the inputs of one seed; raises what the first that fails raises, made small."""
        chosen = settings(
            max_examples=ROUND, deadline=None, database=None, suppress_health_check=[*HealthCheck]
        )
        seed(number)(chosen(given(self.target.inputs)(self.run_one)))()


def fuzz(name: str, seconds: float) -> bool:
    """Whether no input of a target failed within some seconds."""
    with tempfile.TemporaryDirectory() as folder:
        fuzzing = Fuzzing(name, Path(folder), time.monotonic() + seconds)
        number = first = time.time_ns()
        try:
            while time.monotonic() < fuzzing.until:
                fuzzing.run_round(number)
                number += 1
        except Exception:
            traceback.print_exc()
            print(f"{name}: failed, input saved as {save(name, fuzzing.last)}", flush=True)
            return False
        print(f"{name}: {fuzzing.runs} inputs, seeds from {first}", flush=True)
        return True


def save(name: str, data: bytes) -> Path:
    """Where an input that failed is kept."""
    folder = FOUND / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path


def main(seconds: float, names: list[str]) -> int:
    chosen = names or list(TARGETS)
    passed = [fuzz(name, seconds / len(chosen)) for name in chosen]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
