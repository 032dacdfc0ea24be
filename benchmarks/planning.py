"""Plans of very many keys: ours and the script that it replaces, from headers alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import ckptsurgeon
from benchmarks.header_scripts import EDITS
from benchmarks.headers import LAYERS, Specs, first_keys, model, write_shards
from benchmarks.measuring import Cost, Failed, measured, medians
from benchmarks.rulesets import rule_file
from benchmarks.running import HERE, OURS, remove

COUNTS = (10_000, 100_000, 1_000_000)
QUICK_COUNT = 2_500
COMPARED_COUNT = 10_000
"""Keys that suffice to hold our names and specs against the script's."""

MOST_AGAINST_SCRIPT = 1.0
"""CPU time that we allow ourselves, in times of the script's; below 50,000 keys all is start-up."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One row: a kind of rules over so many keys, at most so often, with a destination or not."""

    kind: str
    count: int
    runs: int
    into: bool = True

    @property
    def name(self) -> str:
        return f"plan: {self.kind}, {self.count:,} keys" + " --into" * self.into


@dataclass(frozen=True, slots=True)
class PlanRow:
    """The medians of a plan's runs."""

    plan: Plan
    ours: Cost
    script: Cost

    @property
    def against_script(self) -> float:
        return self.ours.cpu / self.script.cpu

    @property
    def most(self) -> float:
        """The ratio that is wanted, 0 for any."""
        return MOST_AGAINST_SCRIPT if self.plan.count >= 50_000 else 0.0


def plans(quick: bool) -> list[Plan]:
    """All rows. A million keys under rules that do more than rename are planned once only."""
    if quick:
        return [Plan(kind, QUICK_COUNT, 1) for kind in EDITS]
    rows = [
        Plan("rename", count, runs, into)
        for count, runs in zip(COUNTS, (5, 5, 3), strict=True)
        for into in (False, True)
    ]
    for kind in EDITS:
        if kind not in ("rename", "stack"):
            rows += (
                Plan(kind, count, runs) for count, runs in zip(COUNTS[1:], (3, 1), strict=True)
            )
    whole = sum(1 for _ in model(LAYERS))
    return [*rows, *(Plan("stack", count, runs) for count, runs in ((whole, 3), (COUNTS[-1], 1)))]


def run_plans(
    rows: Sequence[Plan], folder: Path, runs: int, say: Callable[[str], None]
) -> Iterator[PlanRow]:
    """A row for each plan; those of one kind and count share their files."""
    for (kind, count), group in groupby(rows, lambda row: (row.kind, row.count)):
        source, destination, rules = folder / "old", folder / "new", folder / "plan.yaml"
        rules.write_text(rule_file(kind), encoding="utf-8")
        compare(kind, rules, first_keys(min(count, COMPARED_COUNT)))
        specs = first_keys(count)
        write_shards(source, specs)
        write_shards(destination, EDITS[kind](specs))
        del specs
        for row in group:
            say(row.name)
            yield _run_plan(row, min(runs, row.runs), [str(source), str(rules), str(destination)])
        for path in (source, destination, rules):
            remove(path)


def compare(kind: str, rules: Path, specs: Specs) -> None:
    """Holds the names and specs of our plan against the script's; raises Failed."""
    source = rules.with_name("compared")
    write_shards(source, specs)
    nodes = ckptsurgeon.plan(source, rules).outputs.nodes
    ours = {key: (node.spec.dtype, node.spec.shape) for key, node in nodes.items()}
    remove(source)
    differing = ours.items() ^ EDITS[kind](dict(specs)).items()
    if differing:
        raise Failed(f"{kind}: ours and the script's differ, for one in {min(differing)}")


def _run_plan(row: Plan, runs: int, paths: Sequence[str]) -> PlanRow:
    """Runs of ours and of the script in turns. With a destination either fails where it differs."""
    source, rules, destination = paths
    ours = [*OURS, "plan", source, "-r", rules, *(["--into", destination] if row.into else [])]
    script = [sys.executable, str(HERE / "header_scripts.py"), row.kind, source]
    script += [destination] if row.into else []
    costs = [(measured(ours), measured(script)) for _ in range(runs)]
    mine, theirs = zip(*costs, strict=True)
    return PlanRow(row, medians(mine), medians(theirs))
