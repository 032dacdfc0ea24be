"""Jobs without tensors: plans of very many keys, and what it takes to start at all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import headers
from benchmarks.measuring import Cost, measured, medians
from benchmarks.running import OURS, remove

COUNTS = (10_000, 100_000, 1_000_000)
QUICK_COUNTS = (10_000,)


@dataclass(frozen=True, slots=True)
class Timing:
    """The medians of a command's runs, and the CPU seconds that are allowed, 0 for any."""

    name: str
    cost: Cost
    most: float = 0.0


MOST_SECONDS = {100_000: 3.0, 1_000_000: 20.0}


def plan_timings(
    folder: Path, runs: int, quick: bool, say: Callable[[str], None]
) -> Iterator[Timing]:
    """Plans of 23 rules over more and more keys, with a destination and without."""
    rules = folder / "renames.yaml"
    rules.write_text(headers.rules(), encoding="utf-8")
    for count in QUICK_COUNTS if quick else COUNTS:
        source, destination = folder / "old", folder / "new"
        headers.write_shards(source, count, renamed=False)
        headers.write_shards(destination, count, renamed=True)
        for into in ([], ["--into", str(destination)]):
            name = f"plan of {count:,} keys" + (" --into" if into else "")
            say(name)
            command = [*OURS, "plan", str(source), "-r", str(rules), *into]
            costs = [measured(command) for _ in range(runs)]
            yield Timing(name, medians(costs), MOST_SECONDS.get(count, 0.0))
        remove(source)
        remove(destination)
    remove(rules)


def start_timings(folder: Path, runs: int) -> Iterator[Timing]:
    """What starting costs, over that of an empty Python; in turns, as all of it is short."""
    rules = folder / "twenty.yaml"
    lines = headers.rules().splitlines(keepends=True)
    rules.write_text("".join(lines[:22]), encoding="utf-8")
    commands = {
        "--version": [*OURS, "--version"],
        "check of 20 rules": [*OURS, "check", str(rules)],
    }
    allowed = {"--version": 0.1, "check of 20 rules": 0.15}
    costs: dict[str, list[Cost]] = {name: [] for name in ("", *commands)}
    for _ in range(4 * runs):
        costs[""].append(measured([sys.executable, "-c", ""]))
        for name, command in commands.items():
            costs[name].append(measured(command))
    remove(rules)
    empty = medians(costs[""])
    yield Timing("an empty Python", empty)
    for name in commands:
        cost = medians(costs[name])
        over = Cost(cost.wall - empty.wall, cost.cpu - empty.cpu, cost.private, cost.resident)
        yield Timing(f"{name}, over an empty Python", over, allowed[name])
