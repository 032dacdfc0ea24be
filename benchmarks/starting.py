"""What it takes to start at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import Cost, measured, medians
from benchmarks.rulesets import rules
from benchmarks.running import OURS, remove


@dataclass(frozen=True, slots=True)
class Timing:
    """The medians of a command's runs, and the CPU seconds that are allowed, 0 for any."""

    name: str
    cost: Cost
    most: float = 0.0


def start_timings(folder: Path, runs: int) -> Iterator[Timing]:
    """What starting costs, over that of an empty Python; in turns, as all of it is short."""
    twenty = folder / "twenty.yaml"
    text = "".join(("format: 1\nrules:\n", *rules("rename")[:20]))
    twenty.write_text(text, encoding="utf-8")
    commands = {
        "--version": [*OURS, "--version"],
        "check of 20 rules": [*OURS, "check", str(twenty)],
    }
    allowed = {"--version": 0.1, "check of 20 rules": 0.15}
    costs: dict[str, list[Cost]] = {name: [] for name in ("", *commands)}
    for _ in range(4 * runs):
        costs[""].append(measured([sys.executable, "-c", ""]))
        for name, command in commands.items():
            costs[name].append(measured(command))
    remove(twenty)
    empty = medians(costs[""])
    yield Timing("an empty Python", empty)
    for name in commands:
        cost = medians(costs[name])
        over = Cost(cost.wall - empty.wall, cost.cpu - empty.cpu, cost.private, cost.resident)
        yield Timing(f"{name}, over an empty Python", over, allowed[name])
