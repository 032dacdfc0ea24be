"""Why a reference matches no key of its sources: where else the key is, or what was meant."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from ckptsurgeon.checkpoints.base import name_outside
from ckptsurgeon.language.patterns import Pattern, compile_pattern
from ckptsurgeon.language.reading.arrows import FILE as COMMAND_LINE
from ckptsurgeon.language.rules import At, BatchNorm, Drop, Move, Norms, Require
from ckptsurgeon.language.yaml.quoting import quoted
from ckptsurgeon.language.yaml.traps import PYTHON_RULES
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.stage.near_readings import Near
from ckptsurgeon.planner.stage.searching import Reason, Search, Write
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.planner.stage.tables import Table
from ckptsurgeon.plans.graph import full_key
from ckptsurgeon.wording import name_alias, name_root

LOOKED_AT = 200_000
"""Keys outside of a root that are looked through."""


NONE_IS_FINE = "`optional: true` lets the rule match none"


def explain_absence(run: StageRun, rule: CompiledRule, reader: Reader, search: Search) -> Reason:
    """Why no key matches a reference, and the next step; of the first ones of a plan alone."""
    if not search.may_explain():
        return Reason(help=NONE_IS_FINE)
    own = [table for table in run.tables if reader.alias.match(table.alias) is not None]
    if not own:
        aliases = ", ".join(name_alias(table.alias) for table in run.tables)
        return Reason("no source has that alias", f"there are: {aliases}")
    elsewhere = (
        _in_other_source(run, reader)
        or _in_earlier_stage(run, reader)
        or _in_this_stage(run, reader)
        or _outside_root(run, reader)
    )
    if elsewhere is not None:
        return elsewhere
    found = search.find_reading(reader.pattern, own, write_rule(rule, reader))
    if found.why:
        return found
    near = search.nearest(reader.pattern, own)
    if near is None:
        return Reason(help=NONE_IS_FINE)
    return Reason(help=f"the nearest key is `{near}`; {NONE_IS_FINE}", near=near)


def find_alike(pattern: Pattern, tables: Iterable[Table]) -> Iterator[tuple[Table, str]]:
    """The keys that a pattern matches in some tables, each with its table."""
    matcher = compile_pattern(pattern)
    read = matcher.row_reader()
    for table in tables:
        yield from ((table, key) for key in table.candidates(matcher) if read(key) is not None)


# --- the rule as it may have been meant -----------------------------------------------------------


def write_rule(rule: CompiledRule, reader: Reader) -> Write:
    """What writes a rule with a near reading of one of its patterns; of a list, the reference."""
    written = rule.rule
    at, suffix = _as_written(rule, reader)
    whole = str(reader.pattern).removesuffix(suffix)
    prefix = whole.removesuffix(str(at.pattern))
    alias, index = f"{at.alias}::" if at.alias else "", at.index or ""

    def write(near: Near) -> str:
        pattern = str(near.pattern).removesuffix(suffix).removeprefix(prefix)
        source = f"{alias}{pattern}{index}"
        if isinstance(written, Move) and len(written.sources) == len(written.targets) == 1:
            to = written.targets[0]
            return _quote(rule, f"{source} -> {near.change(to.pattern)}{to.index or ''}")
        if isinstance(written, BatchNorm):
            return f"batchnorm: {source} -> {written.target}"
        return f"drop: {source}" if isinstance(written, Drop) else source

    return write


def _as_written(rule: CompiledRule, reader: Reader) -> tuple[At, str]:
    """The reference of a rule file that a reader reads by, and what was put behind it."""
    number, written = rule.readers.index(reader), rule.rule
    if isinstance(written, Move | Drop):
        return written.sources[number], ""
    if isinstance(written, Norms):
        at, name = written.reads[number]
        return at, f".{name}"
    if isinstance(written, Require):
        return written.source, ""
    raise TypeError(f"{written} reads no keys")


def _quote(rule: CompiledRule, text: str) -> str:
    """A rule as its file would have it: YAML takes one with a star in front for an alias."""
    in_file = rule.place.file not in (COMMAND_LINE, PYTHON_RULES)
    return quoted(text) if in_file and text.startswith("*") else text


# --- where else the key is ------------------------------------------------------------------------


def _in_other_source(run: StageRun, reader: Reader) -> Reason | None:
    others = [table for table in run.tables if reader.alias.match(table.alias) is None]
    for table, key in find_alike(reader.pattern, others):
        return Reason(
            f"the source {name_alias(table.alias)} has `{key}`",
            f"write `{full_key(table.alias, str(reader.pattern))}`",
        )
    return None


def _in_earlier_stage(run: StageRun, reader: Reader) -> Reason | None:
    """Keys that a stage before has read, and not given again under their names."""
    for earlier in reversed(run.earlier):
        for table, key in find_alike(reader.pattern, earlier.tables):
            held, stage = table.held, f"stage {earlier.number + 1}"
            reused = held.reused.get(key)
            claim = held.whole.get(key) or reused
            rule = claim.rule if claim else held.sliced.get(key)
            by = f" at {rule.place.file_line}" if rule else ""
            again = f"{full_key(table.alias, str(reader.pattern))} -> {reader.pattern}"
            name = f"`{full_key(table.alias, key)}`"
            files = {earlier.compiled.stage.place.file, reader.place.file}
            apart = f"; {_tell_files(files)}" if len(files) > 1 else ""
            if rule is None:
                why = f"{stage} has {name}, and doesn't give it: its `unmatched` says so"
                return Reason(why, f"add `{again}` to {stage}{apart}")
            leave = "" if reused else f", and `reuse: true` to the rule{by}"
            return Reason(
                f"{stage} has used {name}{by}",
                f"a stage reads what the one before gives: add `{again}` to {stage}{leave}{apart}",
            )
    return None


def _tell_files(files: Iterable[str]) -> str:
    """How the rules of several files become one stage."""
    listed = ", ".join(f"./{Path(file).name}" for file in sorted(files))
    return f"files given one after the other are stages; `- include: [{listed}]` makes one of them"


def _in_this_stage(run: StageRun, reader: Reader) -> Reason | None:
    """Keys that rules of the same stage give."""
    rules = run.production.rules
    read = compile_pattern(reader.pattern).row_reader()
    key = next((key for key in rules if read(key) is not None), None)
    rule = rules[key] if key is not None else None
    if rule is None:
        return None
    return Reason(
        f"`{key}` is given by {rule.place.file_line}, and rules read the source as it was",
        "put this rule into a second stage: behind `---`, with a `format: 1` of its own",
    )


def _outside_root(run: StageRun, reader: Reader) -> Reason | None:
    """Keys that stand in the file, and outside of the root that was opened."""
    read = compile_pattern(reader.pattern).row_reader()
    for view in run.views if not run.earlier else ():
        if reader.alias.match(view.alias) is None:
            continue
        contents = view.contents
        for key in itertools.islice(contents.outside_keys, LOOKED_AT):
            name = name_outside(key, contents.root)
            if read(key.removeprefix(f"{name}.")) is not None or read(key) is not None:
                opened = f"the root `{contents.root}`" if contents.root else "the root"
                return Reason(f"it is outside of {opened}, under `{name}`", _open(view.alias, name))
    return None


def _open(alias: str, name: str) -> str:
    """How to open another root."""
    root = f"{{{alias}: {name}}}" if alias else name
    return (
        f"`{name_root(name, alias)}` opens it, as `source: {{root: {root}}}` does; "
        "the root '' opens all, with the wrappers' names in front"
    )
