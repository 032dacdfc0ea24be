"""Rules that matched nothing, or not what they say: with the reason, and the nearest key."""

from __future__ import annotations

import bisect
import difflib
import itertools
import re
from collections.abc import Iterator, Sequence

import msgspec

from ckptsurgeon.errors import Place
from ckptsurgeon.keys import without_integers
from ckptsurgeon.language.reading.arrows import FILE as COMMAND_LINE
from ckptsurgeon.language.rules import Init, Keep, Require, Span, Tie, evaluate
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.scope import Scope
from ckptsurgeon.planner.stage.reading_keys import match_keys, name_conditions, read_keys
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.planner.stage.tables import FIRST_TAKES, Table
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.graph import RuleInfo

SEARCHED_KEYS = 20_000
"""How many keys are compared when the nearest one is looked for."""

SEARCHES = 8
"""For how many rules the nearest key is looked for, which takes a moment each."""

LONGEST_KEY = 200
"""The longest key that is compared, in characters."""

SHOWN_SPANS = 5


def tell_dead_rules(run: StageRun) -> None:
    """Every rule, or entry of its list, that matches nothing in any repetition."""
    searches = iter(range(SEARCHES))
    for rule in _sound_rules(run):
        if not rule.options.optional and not isinstance(rule.rule, Tie):
            _tell_dead_entries(run, rule, searches)


def _once(run: StageRun) -> list[CompiledRule]:
    """Each rule of the file once, as `within` unfolds it first."""
    first: dict[int, CompiledRule] = {}
    for rule in run.compiled.rules:
        first.setdefault(rule.group, rule)
    return list(first.values())


def _sound_rules(run: StageRun) -> list[CompiledRule]:
    """Each rule once that had no problems of its own."""
    return [rule for rule in _once(run) if rule.group not in run.failed]


def _tell_dead_entries(run: StageRun, rule: CompiledRule, searches: Iterator[int]) -> None:
    alive = run.alive.get(rule.group, set())
    for number, reader in enumerate(rule.readers):
        if number not in alive and not _overridden(run, rule, reader):
            message, help = _why_dead(run, rule, reader, searches)
            run.problems.add(message, reader.place, help)
    if isinstance(rule.rule, Keep | Init):
        for number, (pattern, at) in enumerate(zip(rule.lookups, rule.rule.targets, strict=True)):
            if number not in alive:
                run.problems.add(f"no key of the destination matches `{pattern}`", at.place)


def _overridden(run: StageRun, rule: CompiledRule, reader: Reader) -> bool:
    """Whether rules of the command line take all that a file's reference matches, to win."""
    if rule.place.file == COMMAND_LINE:
        return False
    found = read_keys(rule, reader, run.tables, run.vars_of(rule))
    takers = [match.table.held.taker(match.key) for match in found]
    return bool(takers) and all(taker and taker.place.file == COMMAND_LINE for taker in takers)


def absent_aliases(run: StageRun) -> Iterator[Note]:
    """Optional rules that name a source that is not there: they took nothing, and say so."""
    for rule in run.compiled.rules:
        for reader in rule.readers:
            named = (reader.alias.match(table.alias) for table in run.tables)
            if rule.options.optional and all(captures is None for captures in named):
                text = f"`{reader.text}` is of a source that was not given"
                yield Note("alias", text, rule=run.info(rule))


def _why_dead(
    run: StageRun, rule: CompiledRule, reader: Reader, searches: Iterator[int]
) -> tuple[str, str]:
    """The message for a reference that took nothing, and the next step."""
    text = reader.text
    found = next(iter(read_keys(rule, reader, run.tables, run.vars_of(rule))), None)
    if found is not None:
        key, held = found.key, found.table.held
        taker = held.taker(key) or held.sliced.get(key)
        where = f" by {taker.place}" if taker else ""
        how, help = "", FIRST_TAKES
        if key not in held.whole:
            how = " in slices"
            help = "a whole reference passes over these; `KEY[...]` with `reuse: true` reads one"
        return f"`{text}` matches only keys that are taken: `{key}`{how}{where}", help
    matched = itertools.chain(*(found for _, found in match_keys(reader, run.tables)))
    passed = next(matched, None)
    if passed is not None:
        words = name_conditions(rule)
        leave = "leaves" if len(words) == 1 else "leave"
        return f"`{text}` matches no key: {' and '.join(words)} {leave} out `{passed[0]}`", ""
    return f"no key matches `{_whole(reader)}`", _advise(run, reader, searches)


def _whole(reader: Reader) -> str:
    """A reference with all that `within` and `batchnorm` put around it."""
    pattern = str(reader.pattern)
    return reader.text if pattern in reader.text else pattern


def _advise(run: StageRun, reader: Reader, searches: Iterator[int]) -> str:
    """The nearest key, or which sources there are where the alias names none.

    There is one search for each of `searches`.
    """
    tables = [table for table in run.tables if reader.alias.match(table.alias) is not None]
    if not tables:
        aliases = ", ".join(sorted(table.alias or "SRC" for table in run.tables))
        return f"no source has that alias; there are: {aliases}"
    near = _nearest(tables, str(reader.pattern)) if next(searches, None) is not None else None
    allows = "`optional: true` allows none"
    return f"the nearest key is `{near}`; {allows}" if near else allows


def _nearest(tables: Sequence[Table], pattern: str) -> str | None:
    """The first key of those that look most like a pattern."""
    if len(pattern) > LONGEST_KEY:
        return None
    keys = itertools.islice(itertools.chain(*(t.nodes for t in tables)), SEARCHED_KEYS)
    shapes: dict[str, str] = {}
    for key in keys:
        if len(key) <= LONGEST_KEY:
            shapes.setdefault(without_integers(key.lower()), key)
    text = without_integers(re.sub(r"<[^>]*>", "0", pattern).lower())
    close = difflib.get_close_matches(text, shapes, n=1, cutoff=0.6)
    return shapes[close[0]] if close else None


def check_counts(run: StageRun) -> None:
    """Tells rules that made more or fewer steps than their `count`, and picks that took nothing."""
    for rule in _sound_rules(run):
        place = rule.options.places.get("count", rule.place)
        with run.problems.at(place):
            if rule.options.count is not None:
                _check_count(run, rule, place)
        if rule.options.pick and not rule.options.optional:
            _check_picks(run, rule)


def _check_count(run: StageRun, rule: CompiledRule, place: Place) -> None:
    wanted = evaluate(rule.options.count, Scope({}, run.vars_of(rule)))
    made = run.made.get(rule.group, 0)
    if made != wanted:
        found = (
            f"{made} keys match" if isinstance(rule.rule, Require) else f"{made} steps were made"
        )
        run.problems.add(f"count: {wanted} wanted, {found}", place)


def _check_picks(run: StageRun, rule: CompiledRule) -> None:
    """Tells picked integers that no key has; nothing where the pattern matches no key at all."""
    for name, spans in rule.options.pick.items():
        present = sorted(set(_present(run, rule, name)))
        dead = [span for span in spans if present and not _meets(span, present)]
        if dead:
            place = rule.options.places.get("pick", rule.place)
            more = f" and {len(dead) - SHOWN_SPANS} more" if len(dead) > SHOWN_SPANS else ""
            shown = ", ".join(map(_span_text, dead[:SHOWN_SPANS]))
            run.problems.add(f"pick: no key has `{name}` = {shown}{more}", place)


def _meets(span: Span, present: list[int]) -> bool:
    at = bisect.bisect_left(present, span.first)
    return at < len(present) and present[at] <= span.last


def _present(run: StageRun, rule: CompiledRule, name: str) -> Iterator[int]:
    for reader in rule.readers:
        if name in reader.names:
            number = reader.columns.index(name)
            found = itertools.chain(*(found for _, found in match_keys(reader, run.tables)))
            values = (row[number] for _, row in found)
            yield from (value for value in values if isinstance(value, int))


def _span_text(span: Span) -> str:
    return str(span.first) if span.first == span.last else f"{span.first}..{span.last}"


def rule_infos(run: StageRun) -> list[RuleInfo]:
    """Each rule of the file once, with the number of steps that it made."""
    return [
        msgspec.structs.replace(run.info(rule), steps=run.made.get(rule.group, 0))
        for rule in _once(run)
    ]
