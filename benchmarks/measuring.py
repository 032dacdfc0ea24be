"""A command run once: how long it took, what it computed and how much memory it held."""

from __future__ import annotations

import mmap
import os
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

POLL_SECONDS = 0.002

MEGABYTE = 1 << 20


class Failed(Exception):
    """A command that ended otherwise than it should: its words, its code and what it said."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds on the clock and of all processors; bytes of memory at the peak.

    `private` is RssAnon, memory that only this process has; `resident` is VmHWM, which also counts
    pages of files that are mapped.
    """

    wall: float
    cpu: float
    private: int
    resident: int


def measured(command: Sequence[str], codes: Iterable[int] = (0,)) -> Cost:
    """The cost of a command, which must end with one of the codes; raises Failed.

    Time is the OS's own count of the ended process. Memory is what /proc/PID/status said last and
    most, asked every 2 ms by a thread: a peak of less than that can be missed.
    """
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        watch = _Watch(process.pid)
        said = process.stdout.read() if process.stdout else b""
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    watch.end()
    if process.returncode not in codes:
        raise Failed(f"{' '.join(command)}: code {process.returncode}\n{said.decode()[-2000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, watch.private, watch.resident)


def recycle_memory(nbytes: int) -> None:
    """Uses so many bytes of memory once and lets them go, half of what is available at most.

    Free memory of a virtual machine may have gone back to its host. Whoever comes first waits until
    it is there again, several times as long as a copy takes; that must not be who is measured.
    """
    pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    count = min(nbytes, pages // 2) // MEGABYTE
    if count:
        with mmap.mmap(-1, count * MEGABYTE) as memory:
            for _ in range(count):
                memory.write(b"\1" * MEGABYTE)


class _Watch(threading.Thread):
    """Asks the OS for the memory of a process until it is told to end."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self._ended = threading.Event()
        self.private = self.resident = 0
        self.start()

    def end(self) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            try:
                lines = self._status.read_text().splitlines()
            except OSError:  # ended; or not on Linux, where memory stays 0
                return
            fields = dict(line.split(":", 1) for line in lines if line.startswith(("Rss", "VmHWM")))
            self.private = max(self.private, _kilobytes(fields.get("RssAnon", "0")))
            self.resident = max(self.resident, _kilobytes(fields.get("VmHWM", "0")))


def _kilobytes(text: str) -> int:
    return int(text.split()[0]) * 1024


def medians(costs: Sequence[Cost]) -> Cost:
    """The median of each figure; of memory the highest."""
    return Cost(
        median(cost.wall for cost in costs),
        median(cost.cpu for cost in costs),
        max(cost.private for cost in costs),
        max(cost.resident for cost in costs),
    )
