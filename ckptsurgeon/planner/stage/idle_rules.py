"""What is to be said of rules that do nothing, and are no error."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from ckptsurgeon.cutting import list_some
from ckptsurgeon.language.rules import Listing, Table
from ckptsurgeon.planner.compiling.compiled import CompiledRule, PlacedOp
from ckptsurgeon.planner.stage.dead_rules import present_values
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.plans.account import Note

SHOWN_ITEMS = 5

UNDONE = {"split": "concat", "unstack": "stack"}
"""What puts together again what an op parts, along the same dim."""


def absent_aliases(run: StageRun) -> Iterator[Note]:
    """Optional rules that name a source that is not there: they took nothing, and say so."""
    for rule in run.compiled.rules:
        for reader in rule.readers:
            named = (reader.alias.match(table.alias) for table in run.tables)
            if rule.options.optional and all(captures is None for captures in named):
                text = f"`{reader.text}` is of a source that was not given"
                yield Note("alias", text, rule=run.info(rule))


def copied_noise(run: StageRun) -> Iterator[Note]:
    """Noise that several keys share, for it was added before they were copied."""
    for rule in run.compiled.rules:
        names = [placed.call.name for join in rule.join.joins for placed in join.ops]
        if "noise" in names and "copies" in names[names.index("noise") :]:
            text = "all copies have the same noise: `[copies, noise]` gives each its own"
            yield Note("ops", text, rule=run.info(rule))


def rule_remarks(run: StageRun) -> Iterator[Note]:
    """What is to be said of rules as they are written, of each once."""
    for rule in run.compiled.rules:
        yield from (Note("ops", text, rule=run.info(rule)) for text in rule.remarks)


def unmet_entries(run: StageRun) -> Iterator[Note]:
    """How many entries of a file that `map` names, or of an optional `table`, no key has.

    What is met in one of the repetitions of a rule is met.
    """
    repetitions: dict[int, list[CompiledRule]] = {}
    for rule in run.compiled.rules:
        repetitions.setdefault(rule.group, []).append(rule)
    for repeated in repetitions.values():
        rule = repeated[0]
        for name, listing in rule.options.map.items():
            if isinstance(listing, Listing):
                present = (present_values(run, one, name) for one in repeated)
                met = set(map(str, itertools.chain.from_iterable(present)))
                unmet = sum(entry.old not in met for entry in listing.entries)
                if unmet:
                    total = len(listing.entries)
                    text = f"{unmet:,} of {total:,} entries of {listing.file} met nothing"
                    yield Note("map", text, rule=run.info(rule))
        if isinstance(rule.rule, Table) and rule.options.optional:
            total = len(run.listing(rule, rule.rule).entries)
            unmet = total - len(run.alive.get(rule.group, ()))
            if unmet:
                yield Note(
                    "table", f"{unmet:,} of {total:,} entries met nothing", rule=run.info(rule)
                )


def unasked_items(run: StageRun) -> Iterator[Note]:
    """Items of a var's list that no layer asked for, where others were asked for by number."""
    for vars in run.vars.values():
        for name, listed in vars.lists():
            unasked = sorted(set(range(len(listed))) - listed.asked) if listed.asked else []
            if unasked:
                items = list_some([f"{name}[{number}]" for number in unasked], SHOWN_ITEMS)
                were = "was" if len(unasked) == 1 else "were"
                yield Note("unasked", f"{items} {were} not asked for")


def undone_splits(run: StageRun) -> Iterator[Note]:
    """Ops that part a tensor, of which the next op makes the same again."""
    for rule in run.compiled.rules:
        for first, second in _undone(rule):
            text = (
                f"`{first.call.name}` and `{second.call.name}` over `{first.dim}` along one dim "
                "leave the tensor as it was"
            )
            yield Note("ops", text, rule=run.info(rule))


def _undone(rule: CompiledRule) -> Iterator[tuple[PlacedOp, PlacedOp]]:
    pairs = (itertools.pairwise(join.ops) for join in rule.join.joins)
    for first, second in itertools.chain.from_iterable(pairs):
        dims = {one.call.arguments.get("dim", 0) for one in (first, second)}
        undoes = UNDONE.get(first.call.name) == second.call.name
        if undoes and first.dim == second.dim and len(dims) == 1:
            yield first, second
