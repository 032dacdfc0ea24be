"""Jobs that read values and write none: ours, scripts that do the same, and reading the file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any

from benchmarks.measuring import Cost, Failed, measured, medians
from benchmarks.running import HERE, LAYERS, OURS, QUICK_LAYERS, remove, size_of

READ = 'cat -- "$@" > /dev/null'

TOLERANCE = 1e-4
"""How far a script's mean and deviation may lie from ours, of the deviation: torch adds in F32."""

CHANGES = ("max_delta", "relative_l2", "cosine")
"""The figures of a change that a script tells, too."""

ROUNDINGS = 1e-9
"""How far a script's may lie from ours, as a part of them: sums in F64 in another order."""

HALVES = "format: 1\noutput: {dtype: BF16}\n"
"""The rule file that makes a source of half the size."""

TUNED = "format: 1\nrules:\n  - {from: '**', to: '**', ops: {noise: {std: 1e-3, seed: 0}}}\n"
"""The rule file that changes every value a little."""


@dataclass(frozen=True, slots=True)
class ValueJob:
    """One row: what we run on the sources, and what the scripts call the same.

    `compare` is given both results as JSON, and raises Failed where they differ. `codes` are those
    that ours may end with.
    """

    name: str
    sources: tuple[str, ...]
    words: tuple[str, ...]
    script: str
    libraries: tuple[str, ...]
    compare: Callable[[Any, Any], None]
    codes: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class ValueRow:
    """The medians of a job's runs; `scripts` by the library that computes."""

    job: ValueJob
    nbytes: int
    ours: Cost
    read: Cost
    scripts: Mapping[str, Cost]


def compare_statistics(ours: Any, theirs: Any) -> None:
    """Raises Failed for a tensor that the script tells otherwise."""
    for key, wanted in theirs.items():
        found = ours["tensors"][key]["statistics"]
        near = all(
            isclose(found[name], wanted[name], rel_tol=TOLERANCE, abs_tol=TOLERANCE * wanted["std"])
            for name in ("mean", "std")
        )
        counted = sum(found["histogram"]["counts"])
        same = all(found[name] == wanted[name] for name in ("min", "max", "zeros", "nan"))
        if not (near and same and counted == wanted["counted"]):
            raise Failed(f"{key}: {found} where the script has {wanted}")


def compare_changes(ours: Any, theirs: Any) -> None:
    """Raises Failed for a tensor whose change the script tells otherwise."""
    rows = {row["key"]: row["change"] for row in ours["rows"]}
    for key, wanted in theirs.items():
        found = rows[key]
        near = all(isclose(found[name], wanted[name], rel_tol=ROUNDINGS) for name in CHANGES)
        if not near or found["equal"] != wanted["equal"]:
            raise Failed(f"{key}: {found} where the script has {wanted}")


STATISTICS = tuple(
    ValueJob(
        f"values: inspect --stats, {dtype}",
        (source,),
        ("inspect", "--stats"),
        "stats",
        ("numpy", "torch"),
        compare_statistics,
    )
    for dtype, source in (("F32", "llama.safetensors"), ("BF16", "halves.safetensors"))
)

DIFFERENCES = tuple(
    ValueJob(
        f"values: diff, {dtype}",
        (source, f"tuned.{source}"),
        ("diff",),
        "diff",
        ("numpy", "torch"),
        compare_changes,
        (1,),
    )
    for dtype, source in (("F32", "llama.safetensors"), ("BF16", "halves.safetensors"))
)

VALUE_JOBS = (*STATISTICS, *DIFFERENCES)


def run_value_jobs(
    jobs: Sequence[ValueJob], folder: Path, runs: int, quick: bool, say: Callable[[str], None]
) -> Iterator[ValueRow]:
    """A row for each job. Sources are made when they are needed, and go after the last job."""
    names = {name for job in jobs for name in job.sources}
    _make_sources(folder, names, quick)
    for job in jobs:
        row = run_value_job(job, folder, runs)
        walls = (row.ours.wall, row.read.wall, *(cost.wall for cost in row.scripts.values()))
        say(f"{job.name}: {', '.join(f'{wall:.2f}' for wall in walls)} s")
        yield row
    for name in names:
        remove(folder / name)


def run_value_job(job: ValueJob, folder: Path, runs: int) -> ValueRow:
    """The row of a job: one run of each to warm up and to compare, then `runs` of each in turns."""
    paths = [str(folder / name) for name in job.sources]
    ours = [*OURS, job.words[0], *paths, *job.words[1:]]
    script = [sys.executable, str(HERE / "value_scripts.py"), job.script]
    contenders = {library: [*script, library, *paths] for library in job.libraries}
    told = _result([*ours, "--format", "json"], job.codes)
    for command in contenders.values():
        job.compare(told, _result(command))
    contenders |= {"ours": ours, "read": ["sh", "-c", READ, "sh", *paths]}
    costs: dict[str, list[Cost]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, command in contenders.items():
            costs[name].append(measured(command, job.codes if name == "ours" else (0,)))
    found = {name: medians(some) for name, some in costs.items()}
    scripts = {library: found[library] for library in job.libraries}
    nbytes = sum(size_of(folder / name) for name in job.sources)
    return ValueRow(job, nbytes, found["ours"], found["read"], scripts)


def _result(command: Sequence[str], codes: Sequence[int] = (0,)) -> Any:
    ran = subprocess.run(command, capture_output=True, check=False)
    if ran.returncode not in codes:
        raise Failed(f"{' '.join(command)}: code {ran.returncode}\n{ran.stderr.decode()[-2000:]}")
    return json.loads(ran.stdout)


def _make_sources(folder: Path, names: set[str], quick: bool) -> None:
    """A decoder of nine layers in F32, the same in BF16, of twice the layers, and both tuned."""
    layers = QUICK_LAYERS if quick else LAYERS
    for name, times in (("llama.safetensors", 1), ("halves.safetensors", 2)):
        if name in names:
            words = ("llama", folder / name, layers * times)
            measured([sys.executable, str(HERE / "weights.py"), *map(str, words)])
    if "halves.safetensors" in names:
        whole = folder / "whole.safetensors"
        (folder / "halves.safetensors").rename(whole)
        _convert(whole, HALVES, folder / "halves.safetensors")
        remove(whole)
    for name in names:
        if name.startswith("tuned."):
            _convert(folder / name.removeprefix("tuned."), TUNED, folder / name)


def _convert(path: Path, text: str, output: Path) -> None:
    """What rules make of a checkpoint."""
    rules = output.with_suffix(".yaml")
    rules.write_text(text, encoding="utf-8")
    measured([*OURS, "transplant", str(path), "-r", str(rules), "-o", str(output)])
    remove(rules)
