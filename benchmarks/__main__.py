"""`python -m benchmarks`: makes its inputs, runs every job, and prints the tables."""

from __future__ import annotations

import argparse
import compileall
import sys
from pathlib import Path

import ckptsurgeon
from benchmarks.asking import ask_timings
from benchmarks.jobs import JOBS
from benchmarks.planning import plans, run_plans
from benchmarks.running import run_jobs
from benchmarks.starting import start_timings
from benchmarks.tables import (
    JOB_HEADS,
    PLAN_HEADS,
    TIMING_HEADS,
    VALUE_HEADS,
    job_cells,
    machine,
    plan_cells,
    table,
    timing_cells,
    value_cells,
)
from benchmarks.values import VALUE_JOBS, run_value_jobs


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/bench"), help="for all files")
    parser.add_argument("--runs", type=int, default=3, help="runs of each command in a table")
    parser.add_argument("--tables", type=int, default=3, help="runs of the whole table of jobs")
    parser.add_argument("--quick", action="store_true", help="small sources, to see that it works")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows with this in their names")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there, too")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    given.folder.mkdir(parents=True, exist_ok=True)
    compileall.compile_dir(Path(ckptsurgeon.__file__).parent, quiet=1)  # as pip does with packages
    jobs = [job for job in JOBS if given.only in job.name]
    runs = [
        list(run_jobs(jobs, given.folder, given.runs, given.quick, _say))
        for _ in range(given.tables)
    ]
    tables = [table(JOB_HEADS, map(job_cells, zip(*runs, strict=True)))] if jobs else []
    reading = [job for job in VALUE_JOBS if given.only in job.name]
    if reading:
        rows = run_value_jobs(reading, given.folder, given.runs, given.quick, _say)
        tables.append(table(VALUE_HEADS, map(value_cells, rows)))
    planned = [plan for plan in plans(given.quick) if given.only in plan.name]
    if planned:
        plan_rows = run_plans(planned, given.folder, given.runs, _say)
        tables.append(table(PLAN_HEADS, map(plan_cells, plan_rows)))
    if given.only in "start":
        timings = start_timings(given.folder, given.runs)
        tables.append(table(TIMING_HEADS, map(timing_cells, timings)))
    if given.only in "learn":
        timings = ask_timings(given.folder, given.runs, given.quick)
        tables.append(table(TIMING_HEADS, map(timing_cells, timings)))
    told = f"medians of {given.runs} runs; of {given.tables} tables: median (least - most)"
    text = "\n".join((f"{machine()}; {told}\n", *tables))
    print(text)
    if given.markdown is not None:
        given.markdown.write_text(text, encoding="utf-8")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
