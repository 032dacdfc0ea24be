"""Why a reference matches no key of its sources: where else the key is, or what was meant."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec.structs import astuple, replace

from ckptsurgeon.checkpoints.base import name_outside
from ckptsurgeon.errors import PatternError
from ckptsurgeon.language.patterns import (
    Capture,
    Literal,
    Pattern,
    compile_pattern,
    parse_reference,
)
from ckptsurgeon.language.problems import Problems
from ckptsurgeon.language.reading.move_guesses import other_sides, tell_call, tell_listed
from ckptsurgeon.language.rules import At, Drop, Move, Norms, PlainRule, Require
from ckptsurgeon.language.yaml.writing import write_key_text
from ckptsurgeon.planner.compiling.captures import find_kinds, resolve
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.stage.known_paths import naming_targets
from ckptsurgeon.planner.stage.near import Use
from ckptsurgeon.planner.stage.rewriting import dot_within, index_text, once_within, write_rule
from ckptsurgeon.planner.stage.searching import Reason, Search
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.planner.stage.tables import Leaves, Table
from ckptsurgeon.plans.graph import full_key
from ckptsurgeon.specs import plural
from ckptsurgeon.wording import PYTHON_SOURCE, SHELL_SOURCE, name_alias, name_root

MOST_OUTSIDE = 200_000
"""Keys outside of a root that are looked through."""

NONE_IS_FINE = "`optional: true` lets the rule match none"


def explain_absence(run: StageRun, rule: CompiledRule, reader: Reader, search: Search) -> Reason:
    """Why no key matches a reference, and the next step; of the first ones of a plan alone."""
    return search.explain_once(reader, lambda: _explain(run, rule, reader, search))


def _explain(run: StageRun, rule: CompiledRule, reader: Reader, search: Search) -> Reason:
    if not search.may_explain():
        return Reason(help=NONE_IS_FINE)
    own = [table for table in run.tables if reader.alias.match(table.alias) is not None]
    index = index_text(rule, reader)
    if not own:
        elsewhere = None if reader.alias_pattern.pieces else _in_other_source(run, reader, index)
        return _as_alias(run, reader, index) or elsewhere or _no_alias(run, reader)
    elsewhere = (
        _as_alias(run, reader, index)
        or _in_other_source(run, reader, index)
        or _in_earlier_stage(run, reader)
        or _in_this_stage(run, reader)
        or _outside_root(run, reader)
    )
    if elsewhere is not None:
        return elsewhere
    if nameless := _no_names(run, rule, reader, search):
        return nameless
    miswritten = _wrong_prefix(run, own, rule, reader) or _several(own, rule, reader)
    if miswritten is not None:
        return miswritten
    write = write_rule(run.compiled.stage.rules, rule, reader)
    found = search.find_reading(reader.pattern, own, write, _use_of(rule.rule))
    if found.why and found.help:
        return found
    if isinstance(rule.rule, Drop) and _in_destination(run, reader):
        kept = write_key_text(str(reader.pattern))
        return Reason("it is the destination's", f"its own value stays by `keep: {kept}`")
    near = search.nearest(reader.pattern, itertools.chain(*(table.nodes for table in own)))
    nearest = f"the nearest key is `{near}`" if near else ""
    none = "" if isinstance(rule.rule, Require) else NONE_IS_FINE
    return Reason(found.why, "; ".join(filter(None, (nearest, none))), near or "")


def _no_names(run: StageRun, rule: CompiledRule, reader: Reader, search: Search) -> Reason | None:
    """A capture that is read by names, of which none is known, or none of the keys holds one."""
    for capture in reader.keys.flat:
        names = [one for one in rule.namers if capture.name in one.names]
        origin = "`for`" if names else "the destination"
        if known := reader.keys.paths.get(capture.name):
            if any(find_alike(_with_any_path(reader.pattern), run.tables)):
                some = next(iter(known.values()))[0]
                text = f"none of the {len(known):,} names for `{capture}` is in a key"
                return Reason(text, f"the names are such as `{some}`, as {origin} has them")
            continue
        why = f"{origin} has 0 names for `{capture}`"
        targets = [] if names else naming_targets(rule, capture)
        if not targets:
            return Reason(why, NONE_IS_FINE)
        wanted = [] if run.wanted is None else [run.wanted]
        found = search.find_reading(targets[0].pattern, wanted, lambda near: str(near.pattern))
        matches = f"no key of it matches `{targets[0].pattern}`"
        return Reason(why, "; ".join(filter(None, (matches, found.help))))
    return None


def _with_any_path(pattern: Pattern) -> Pattern:
    """The pattern where captures that are read by names match whatever stands there."""
    pieces = pattern.pieces
    return Pattern(
        tuple([replace(one, separator=None) if isinstance(one, Capture) else one for one in pieces])
    )


def _in_destination(run: StageRun, reader: Reader) -> bool:
    """Whether a pattern that no source has matches keys of the destination."""
    view = run.destination
    return view is not None and any(find_alike(reader.pattern, [Table("", Leaves(view))]))


def _use_of(rule: PlainRule) -> Use:
    if isinstance(rule, Norms):
        return Use.LAYER
    return Use.DROP if isinstance(rule, Drop) else Use.MOVE


def _some_key(text: str, own: Sequence[Table]) -> Iterator[str]:
    """The keys that a text names, or matches as a pattern of stars."""
    with suppress(PatternError):
        if any("*" in text or text in table.nodes for table in own):
            yield from (key for _, key in find_alike(parse_reference(text).pattern, own))


def _in_other_notation(own: Sequence[Table], rule: Move, reader: Reader) -> Reason | None:
    """An arrow with groups of a regular expression in it, which are text here."""
    if reader.text != str(reader.pattern):  # a `within` has changed it
        return None
    for left, _, line in other_sides(rule):
        if left == reader.text:
            continue
        with suppress(PatternError):
            at = At(*astuple(parse_reference(left)), place=reader.place)
            read, _ = find_kinds([at], (), (), Problems())
            count = sum(1 for _ in find_alike(resolve(at.pattern, read), own))
            if count:
                help = f"`{line}` would match {plural(count, 'key')}"
                return Reason("captures are written otherwise here", help)
    return None


def find_alike(pattern: Pattern, tables: Iterable[Table]) -> Iterator[tuple[Table, str]]:
    """The keys that a pattern matches in some tables, each with its table."""
    matcher = compile_pattern(pattern)
    read = matcher.row_reader()
    for table in tables:
        yield from ((table, key) for key in table.candidates(matcher) if read(key) is not None)


def _wrong_prefix(
    run: StageRun, own: Sequence[Table], rule: CompiledRule, reader: Reader
) -> Reason | None:
    """A `within` that lacks the dot at its end, or that a rule repeats."""
    rules = run.compiled.stage.rules
    dotted_pattern, doubled = dot_within(rules, rule, reader), once_within(rules, rule, reader)
    if dotted_pattern is not None and any(find_alike(dotted_pattern[0], own)):
        return Reason("the prefix of `within` lacks its dot", f"write `{dotted_pattern[1]}`")
    if doubled is not None and any(find_alike(doubled[0], own)):
        return Reason("`within` has put its prefix in front", f"write `{doubled[1]}`")
    return None


def _several(own: Sequence[Table], rule: CompiledRule, reader: Reader) -> Reason | None:
    """Several keys, or an op, that stand in one text: `drop: a, b`, `a, b -> x`, `cat(a) -> x`."""
    if isinstance(rule.rule, Move):
        if help := tell_call(rule.rule):
            return Reason("ops stand behind the arrow", help)
        if help := tell_listed(rule.rule):
            return Reason("it names several keys", help)
        return _in_other_notation(own, rule.rule, reader)
    if not isinstance(rule.rule, Drop):
        return None
    keys = re.split(r"\s*[,;|]\s*|\s+(?:and\s+)?", reader.text.strip("(){} "))
    if len(keys) == 1 or not all(any(_some_key(key, own)) for key in keys):
        return None
    return Reason("it names several keys", f"write `[{', '.join(keys)}]`")


# --- where else the key is ------------------------------------------------------------------------


def _no_alias(run: StageRun, reader: Reader) -> Reason:
    """An alias that no source has, and one that is missing."""
    written, plain = str(reader.alias_pattern), f"`{reader.pattern}`"
    if written and run.earlier:
        why = "sources have names in the first stage alone"
        return Reason(why, f"write {plain}: a stage reads what the one before gives")
    aliases = ", ".join(name_alias(table.alias) for table in run.tables)
    if written in (SHELL_SOURCE, PYTHON_SOURCE):
        return Reason("the first source is written without a name", f"write {plain}")
    if not written:
        return Reason("all sources have names", f"write one of them and `::` in front: {aliases}")
    if not any(table.alias for table in run.tables):
        return Reason("the source has no name", f"write {plain}")
    return Reason("no source has that alias", f"there are: {aliases}")


def _as_alias(run: StageRun, reader: Reader, index: str) -> Reason | None:
    """A name of a source in front that lacks its `::`: `s<s>.norm.weight`, `vision:norm.weight`."""
    pieces = reader.pattern.pieces
    numbered = ((at, one) for at, one in enumerate(pieces) if isinstance(one, Literal))
    at, first = next(((at, one) for at, one in numbered if re.search("[.:]", one.text)), (0, None))
    if first is None or str(reader.alias_pattern):
        return None
    name, rest = re.split("[.:]", first.text, maxsplit=1)
    alias = Pattern((*pieces[:at], *([Literal(name)] if name else [])))
    key = Pattern((*([Literal(rest)] if rest else []), *pieces[at + 1 :]))
    if not (alias.pieces and key.pieces):
        return None
    matcher = compile_pattern(alias)
    named = [
        table for table in run.tables if table.alias and matcher.match(table.alias) is not None
    ]
    if not any(find_alike(key, named)):
        return None
    return Reason("`::` stands between a source's name and a key", f"write `{alias}::{key}{index}`")


def _in_other_source(run: StageRun, reader: Reader, index: str) -> Reason | None:
    others = [table for table in run.tables if reader.alias.match(table.alias) is None]
    for table, key in find_alike(reader.pattern, others):
        return Reason(
            f"the source {name_alias(table.alias)} has `{key}`",
            f"write `{full_key(table.alias, str(reader.pattern))}{index}`",
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
            renamed = earlier.given_as(rule, table.alias, key)
            if renamed:
                such = "" if reader.pattern.literal is not None else "what it gives, such as "
                why = f"{stage} gives {name} as `{renamed}`{by}"
                return Reason(why, f"read {such}`{renamed}`")
            if not reused and rule.kind != "move":
                help = f"`{rule.kind}` leaves no key to others: take it out of that rule{apart}"
                return Reason(f"{stage} has used {name}{by}", help)
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
    if rule is None or rule.kind == "keep":
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
        for key in itertools.islice(contents.outside_keys, MOST_OUTSIDE):
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
