"""Jobs run: ours, a copy and the script in turns, in a folder that is empty again afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.jobs import Job
from benchmarks.measuring import Cost, measured, medians, recycle_memory

HERE = Path(__file__).parent
OURS = (sys.executable, "-m", "ckptsurgeon")
COPY = 'cp -r -- "$1" "$2" && if [ -d "$2" ]; then sync -- "$2"/*; else sync -- "$2"; fi'
"""`sync FILE` is an fsync of it: our output is synced too."""

RULES = "rules.yaml"

LAYERS, QUICK_LAYERS = 9, 1

RECYCLED = 3
"""Times the size of an output that memory is used once for before each run."""


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of a job's runs; `nbytes` is the size of our output.

    `start` is the cost of its plan alone: Python started, headers read, rules planned.
    """

    job: Job
    nbytes: int
    ours: Cost
    copy: Cost
    script: Cost
    start: Cost

    @property
    def against_copy(self) -> float:
        return self.ours.wall / self.copy.wall

    @property
    def cpu_against_copy(self) -> float:
        return self.ours.cpu / self.copy.cpu

    @property
    def against_script(self) -> float:
        """How many times as long as ours the script takes."""
        return self.script.wall / self.ours.wall


def run_jobs(
    jobs: Sequence[Job], folder: Path, runs: int, quick: bool, say: Callable[[str], None]
) -> Iterator[Row]:
    """A row for each job. Sources are made when they are needed, and go after their last job."""
    for at, job in enumerate(jobs):
        source = folder / job.source
        if not source.exists():
            say(f"making {source}")
            layers = QUICK_LAYERS if quick else LAYERS
            _run(sys.executable, HERE / "weights.py", job.kind, source, layers)
        row = run_job(job, source, folder, runs)
        walls = (row.ours.wall, row.copy.wall, row.script.wall)
        say(f"{job.name}: {', '.join(f'{wall:.2f}' for wall in walls)} s")
        yield row
        if job.source not in [later.source for later in jobs[at + 1 :]]:
            remove(source)
    remove(folder / RULES)


def run_job(job: Job, source: Path, folder: Path, runs: int) -> Row:
    """The row of a job: one run of each to warm up and to compare, then `runs` of each in turns."""
    rules = folder / RULES
    rules.write_text(job.rule_file, encoding="utf-8")
    kept = folder / f"kept{job.out}"
    contenders, plan = _contenders(job, source, rules, kept), [*OURS, "plan", str(source)]
    _compare(contenders, kept, folder / f"script{job.out}")
    nbytes = size_of(kept)
    costs: dict[str, list[Cost]] = {name: [] for name in (*contenders, "start")}
    for turn in range(runs):
        names = list(contenders)
        for name in (*names[turn % 3 :], *names[: turn % 3]):
            target = folder / f"{name}{job.out}"
            recycle_memory(RECYCLED * nbytes)
            costs[name].append(measured([*contenders[name], str(target)]))
            remove(target)
            os.sync()
        costs["start"].append(measured([*plan, "-r", str(rules)]))
    remove(kept)
    return Row(job, nbytes, **{name: medians(costs[name]) for name in costs})


def _contenders(job: Job, source: Path, rules: Path, kept: Path) -> dict[str, list[str]]:
    """The commands of a job, each without the name of its output, which comes last."""
    shards = [] if job.out else ["--max-shard-size", str(-(-size_of(source) // 5))]
    ours = [*OURS, "transplant", str(source), "-r", str(rules), *shards, "-o"]
    script = [sys.executable, str(HERE / "scripts.py"), job.edit, str(source)]
    return {"ours": ours, "copy": ["sh", "-c", COPY, "sh", str(kept)], "script": script}


def _compare(contenders: dict[str, list[str]], kept: Path, other: Path) -> None:
    """Makes our output and the script's, and holds them against each other; raises Failed."""
    measured([*contenders["ours"], str(kept)])
    measured([*contenders["script"], str(other)])
    measured([sys.executable, str(HERE / "comparing.py"), str(kept), str(other)])
    remove(other)
    os.sync()


def _run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True)
    os.sync()


def remove(path: Path) -> None:
    """Removes a file or folder that may be there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files of a folder."""
    files = path.iterdir() if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files)
