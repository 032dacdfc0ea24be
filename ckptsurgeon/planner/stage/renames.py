"""Rules that rename whole keys one by one: the bulk of large plans, done with little for each key.

Such a rule has one reference whose captures all stand in its one target, as they were read: each
key is a step of its own, and no two become one. All other rules go step by step (`moves.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from ckptsurgeon.language.patterns import Capture, Kind, Literal, Matcher, Pattern
from ckptsurgeon.language.rules import Options
from ckptsurgeon.planner.compiling.compiled import CompiledRule
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.planner.stage.tables import Leaves, Table
from ckptsurgeon.plans.logs import Renames

Renamed = Callable[[str], str | None]
"""The key that a key becomes; None where the rule's pattern does not match it."""


def run_renames(run: StageRun, rule: CompiledRule) -> bool:
    """Whether the rule is of this kind, and its keys are renamed now."""
    renamed = renaming(rule)
    if renamed is None:
        return False
    tables = [table for table in run.tables if table.alias == rule.readers[0].alias.prefix]
    if not all(isinstance(table.origins, Leaves) for table in tables):
        return False
    for table in tables:
        if isinstance(table.origins, Leaves):
            _rename(run, rule, table, table.origins, renamed)
    return True


def _rename(
    run: StageRun, rule: CompiledRule, table: Table, source: Leaves, renamed: Renamed
) -> None:
    whole, sliced = run.holdings.whole.of(table.alias), run.holdings.sliced
    given: dict[str, str] = {}
    for key in table.candidates(rule.readers[0].keys):
        new = renamed(key)
        if new is None or key in whole or (sliced and (table.alias, key) in sliced):
            continue
        given[key] = new
    if not given:
        return
    info, leaves = run.info(rule), [source.leaf(key) for key in given]
    run.alive[rule.group].add(0)
    run.made[rule.group] += len(leaves)
    whole.update(dict.fromkeys(given, info))
    run.production.rename(info, rule.targets[0].place, zip(given.values(), leaves, strict=True))
    run.steps.add(Renames(run.number, info, leaves, renamed))


def renaming(rule: CompiledRule) -> Renamed | None:
    """What a rule makes of keys, if it is a plain rename."""
    if len(rule.readers) != 1 or len(rule.targets) != 1 or rule.ops or not _plain(rule.options):
        return None
    reader, target = rule.readers[0], rule.targets[0]
    captures = {capture.name: capture for capture in reader.keys.captures}
    whole = reader.index is None and target.index is None and reader.alias.literal
    named_once = len(captures) == len(reader.keys.captures)
    all_given = reader.names == captures.keys() == {c.name for c in target.pattern.captures}
    if not (whole and named_once and all_given and _written_as_read(target.pattern, captures)):
        return None
    return _writer(reader.keys, target.pattern, captures)


def _plain(options: Options) -> bool:
    conditions = (options.where, options.map, options.pick, options.reuse, options.fallback)
    return not any(conditions)


def _written_as_read(target: Pattern, captures: Mapping[str, Capture]) -> bool:
    """Whether a target holds literals and captures alone, each of its own kind."""
    for piece in target.pieces:
        if isinstance(piece, Capture):
            read = captures[piece.name]
            if (read.kind, read.width) != (piece.kind, piece.width) or not _distinct(read):
                return False
        elif not isinstance(piece, Literal):
            return False
    return True


def _distinct(capture: Capture) -> bool:
    """Whether each text that it matches is a value of its own; `01` and `1` are one integer."""
    values = {capture.value(word.left) for word in capture.words}
    return len(values) == len(capture.words)


def _writer(matcher: Matcher, target: Pattern, captures: Mapping[str, Capture]) -> Renamed:
    names, fullmatch, needle = list(captures), matcher.program.fullmatch, matcher.needle
    pieces = [piece for piece in target.pieces if isinstance(piece, Capture)]
    form = "".join(
        piece.text.replace("%", "%%") if isinstance(piece, Literal) else "%s"
        for piece in target.pieces
    )
    texts = _texts([names.index(piece.name) for piece in pieces], pieces, captures)

    def renamed(key: str) -> str | None:
        found = fullmatch(key) if needle in key else None
        return None if found is None else form % texts(found.groups())

    return renamed


def _texts(
    order: list[int], pieces: list[Capture], captures: Mapping[str, Capture]
) -> Callable[[tuple[str, ...]], Any]:
    """What makes a target's texts of those that were read."""
    if any(piece.kind is Kind.WORDS for piece in pieces):
        tables = [
            {word.left: piece.write(piece_read.value(word.left)) for word in piece_read.words}
            for piece, piece_read in ((piece, captures[piece.name]) for piece in pieces)
        ]
        return lambda read: tuple(
            table.get(read[at], read[at]) for table, at in zip(tables, order, strict=True)
        )
    if order == list(range(len(captures))):
        return tuple
    return itemgetter(*order) if order else tuple
