"""`table`: keys by name, each entry a rule of its own, all of them run at once."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import Place, PlanError, Problem
from ckptsurgeon.language.patterns import Literal, Pattern
from ckptsurgeon.language.problems import shown
from ckptsurgeon.language.rules import Entry, Listing, Table
from ckptsurgeon.planner.compiling.compiled import CompiledRule
from ckptsurgeon.planner.stage.searching import Search
from ckptsurgeon.planner.stage.state import StageRun, tell_needed
from ckptsurgeon.planner.stage.tables import Table as KeyTable
from ckptsurgeon.planner.stage.tables import tell_taken
from ckptsurgeon.plans.addresses import check_unnamed
from ckptsurgeon.plans.fates import Claim, Fate, Why
from ckptsurgeon.plans.graph import full_key, place_reading
from ckptsurgeon.plans.steps import Batch
from ckptsurgeon.specs import UnreadableSpec
from ckptsurgeon.wording import name_alias

SHOWN_KEYS = 5
"""Entries of one table that an error names."""


def run_table(run: StageRun, rule: CompiledRule, written: Table) -> None:
    """Takes the keys of all entries, and gives them their new names."""
    table = next((one for one in run.tables if one.alias == written.alias), None)
    if table is None:
        there = ", ".join(name_alias(one.alias) for one in run.tables)
        text = f"`table` behind `{written.alias}::`, and no source has that alias"
        raise PlanError([Problem(text, rule.place, f"there are: {there}")])
    listing = run.listing(rule, written)
    info = run.info(rule)
    taking, dropping = Claim(Fate.TAKEN, info), Claim(Fate.DROPPED, info, Why.NULL)
    whole, sliced = table.held.whole, table.held.sliced
    taken = table.held.reused if rule.options.reuse else whole
    alive, (before, after) = run.alive[rule.group], written.before
    read: list[tuple[str, str]] = []
    given: list[tuple[str, None]] = []
    for number, entry in enumerate(listing.entries):
        key = before + entry.old
        if key not in table.nodes or key in whole or key in sliced:
            continue
        alive.add(number)
        if entry.new is None:
            whole[key] = dropping
            continue
        if table.has_unreadable:
            _refuse_unreadable(table, key, Place(listing.file, entry.line, 1))
        taken[key] = taking
        new = after + entry.new
        if run.compiled.is_named and not after:
            check_unnamed(new)
        place = Place(listing.file, entry.line, 1)
        run.production.give(new, table.nodes[key], info, place)
        read.append((table.alias, key))
        given.append((new, None))
    run.made[rule.group] += len(read)
    batch = run.batches.setdefault(id(rule), Batch(info))
    batch.add(read, (), given, [(1, 1, ())] * len(read))


def _refuse_unreadable(table: KeyTable, key: str, place: Place) -> None:
    spec = table.specs[key]
    if isinstance(spec, UnreadableSpec):
        raise PlanError([tell_needed(key, spec, place)])


def dead_entries(
    run: StageRun, rule: CompiledRule, written: Table, search: Search
) -> Iterator[Problem]:
    """Entries whose keys are not there, or taken; the first few, and how many more there are."""
    listing, alive = run.listing(rule, written), run.alive.get(rule.group, set())
    table = next(one for one in run.tables if one.alias == written.alias)
    before, _ = written.before
    dead = [one for number, one in enumerate(listing.entries) if number not in alive]
    for entry in (one for one in dead if before + one.old in table.nodes):
        key = before + entry.old
        taker = table.held.taker(key) or table.held.sliced.get(key)
        where = f" by {place_reading(taker, key)}" if taker else ""
        text = f"`{full_key(table.alias, key)}` is taken{where}"
        yield Problem(text, Place(listing.file, entry.line, 1), tell_taken(taker))
    lacking = [one for one in dead if before + one.old not in table.nodes]
    if lacking:
        yield _tell_lacking(written, listing, lacking, table, search)


def _tell_lacking(
    written: Table, listing: Listing, lacking: list[Entry], table: KeyTable, search: Search
) -> Problem:
    """One problem for all entries whose keys are not there."""
    keys = [written.before[0] + one.old for one in lacking]
    some = list_some(
        (f"{shown(key)} (line {one.line})" for key, one in zip(keys, lacking, strict=True)),
        SHOWN_KEYS,
    )
    near = search.nearest(Pattern((Literal(keys[0]),)), table.nodes)
    help = f"the nearest key to the first is `{near}`; " if near else ""
    if lacking[0].line == 1 and not near and listing.file.lower().endswith(".csv"):
        help += "line 1 of a table is no header; "
    text = f"the source has no key {some if len(keys) > 1 else shown(keys[0])}"
    if re.search(r"[<*]", lacking[0].old):
        help += "keys of a table are no patterns: write an arrow for these"
    else:
        help += "`optional: true` beside `table` passes over entries without a key"
    return Problem(text, Place(listing.file, lacking[0].line, 1), help)
