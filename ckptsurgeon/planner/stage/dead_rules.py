"""Rules that matched nothing, or not what they say: with the reason, and the nearest key."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence

import msgspec

from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import Place
from ckptsurgeon.keys import fold_keys
from ckptsurgeon.language.expressions import Value, names_in
from ckptsurgeon.language.patterns import Pattern
from ckptsurgeon.language.places import COMMAND_LINE
from ckptsurgeon.language.rules import At, Init, Keep, Move, Require, evaluate
from ckptsurgeon.language.rules import Table as NameTable
from ckptsurgeon.language.yaml.writing import write_key_text
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.scope import Scope
from ckptsurgeon.planner.stage.absences import NONE_IS_FINE, explain_absence, find_alike
from ckptsurgeon.planner.stage.lookups import readable
from ckptsurgeon.planner.stage.reading_keys import match_keys, name_conditions, read_keys
from ckptsurgeon.planner.stage.searching import Reason, Search
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.planner.stage.strange_rules import explain_strange_rules
from ckptsurgeon.planner.stage.table_rules import dead_entries
from ckptsurgeon.planner.stage.tables import Leaves, Table, tell_taken
from ckptsurgeon.planner.stage.varying import spans_of
from ckptsurgeon.plans.addresses import COLONS
from ckptsurgeon.plans.graph import RuleInfo, full_key
from ckptsurgeon.wording import argument

MANY = 3
"""Rules from which on it is one problem that none of them matches."""

SHOWN_SPANS = 5


def tell_dead_rules(run: StageRun) -> None:
    """Every rule, or entry of its list, that matches nothing in any repetition.

    Where no rule of many matches anything, that is one problem: the rules are for other keys.
    """
    search = Search()
    dead = list(_dead_entries(run))
    run.dead.update(rule.group for rule, _ in dead)
    reading = [one for one in dead if not isinstance(one[0].rule, Require)]
    if _nothing_matches(run, reading) and (strange := explain_strange_rules(run, reading, search)):
        message, help = strange
        run.problems.add(message, reading[0][1].place, help)
        dead = [one for one in dead if isinstance(one[0].rule, Require)]
    for rule, reader in dead:
        why = _why_no_name if reader in rule.namers else _why_dead
        message, help = why(run, rule, reader, search)
        run.problems.add(message, reader.place, help)
    for rule in _sound_rules(run):
        if isinstance(rule.rule, NameTable) and not rule.options.optional:
            run.problems.take(dead_entries(run, rule, rule.rule, search))
        if isinstance(rule.rule, Keep | Init) and not rule.options.optional:
            _tell_dead_lookups(run, rule, rule.rule, search)


def _once(run: StageRun) -> list[CompiledRule]:
    """Each rule of the file once, as `within` unfolds it first."""
    first: dict[int, CompiledRule] = {}
    for rule in run.compiled.rules:
        first.setdefault(rule.group, rule)
    return list(first.values())


def _sound_rules(run: StageRun) -> list[CompiledRule]:
    """Each rule once that had no problems of its own."""
    return [rule for rule in _once(run) if rule.group not in run.failed]


def _dead_entries(run: StageRun) -> Iterator[tuple[CompiledRule, Reader]]:
    """The references of rules that took nothing, and should have."""
    typed = any(one.place.file == COMMAND_LINE for one in run.compiled.rules)
    for rule in _sound_rules(run):
        alive = run.alive.get(rule.group, set())
        for number, reader in enumerate(rule.all_readers):
            if number in alive or rule.options.optional:
                continue
            if not (typed and _overridden(run, rule, reader)):
                yield rule, reader


def _nothing_matches(run: StageRun, dead: Sequence[tuple[CompiledRule, Reader]]) -> bool:
    """Whether these are all references of many rules, and no key is like any of them."""
    reading = [rule for rule in _sound_rules(run) if not isinstance(rule.rule, Require)]
    wanted = [rule for rule in reading if rule.readers and not rule.options.optional]
    if len(wanted) < MANY or sum(len(rule.readers) for rule in wanted) != len(dead):
        return False
    return not any(any(find_alike(reader.pattern, run.tables)) for _, reader in dead)


def _tell_dead_lookups(
    run: StageRun, rule: CompiledRule, written: Keep | Init, search: Search
) -> None:
    """Entries of a `keep` or an `init` that name no key of the destination."""
    if not rule.lookups:  # its keys are named by `for`
        return
    alive, view = run.alive.get(rule.group, set()), run.destination
    tables = [] if view is None else [Table(view.alias, Leaves(view))]
    for number, (pattern, at) in enumerate(zip(rule.lookups, written.targets, strict=True)):
        if number not in alive:
            own, reason = readable(pattern, run.vars_of(rule)), Reason()
            if search.may_explain():
                reason = _why_no_lookup(run, own, at, tables, search)
            message = f"no key of the destination matches `{_address(pattern, at)}`"
            run.problems.add(_join(message, reason), at.place, reason.help)


def _why_no_lookup(
    run: StageRun, pattern: Pattern, at: At, tables: Sequence[Table], search: Search
) -> Reason:
    reason = search.find_reading(pattern, tables, lambda near: _address(near.pattern, at))
    if not reason.help:
        reason = _of_a_source(run, pattern) or reason
    near = search.nearest(pattern, itertools.chain(*(table.nodes for table in tables)))
    if reason.help or not near:
        return reason
    return Reason(reason.why, f"the nearest key is `{near}`")


def _address(pattern: Pattern, at: At) -> str:
    """The pattern of a destination's keys as it is written, behind the alias of an output."""
    return str(pattern) if at.alias is None else str(pattern).replace("\\::", COLONS, 1)


def _of_a_source(run: StageRun, pattern: Pattern) -> Reason | None:
    """The reason where a pattern that the destination lacks matches keys of a source."""
    table = next((table for table, _ in find_alike(pattern, run.tables)), None)
    if table is None:
        return None
    drop = write_key_text(full_key(table.alias, str(pattern)))
    return Reason("it is the source's", f"the source's is left out by `drop: {drop}`")


def _join(message: str, reason: Reason) -> str:
    return f"{message}: {reason.why}" if reason.why else message


def _overridden(run: StageRun, rule: CompiledRule, reader: Reader) -> bool:
    """Whether rules of the command line take all that a file's reference matches, to win."""
    if rule.place.file == COMMAND_LINE:
        return False
    found = read_keys(rule, reader, run.tables, run.vars_of(rule))
    takers = [match.table.held.taker(match.key) for match in found]
    return bool(takers) and all(taker and taker.place.file == COMMAND_LINE for taker in takers)


def _why_dead(run: StageRun, rule: CompiledRule, reader: Reader, search: Search) -> tuple[str, str]:
    """The message for a reference that took nothing, and the next step."""
    text = reader.text
    every = ((one, key) for one, found in match_keys(reader, run.tables) for key, _ in found)
    table, passed = next(every, (None, ""))
    found = None
    if table is not None:
        found = next(iter(read_keys(rule, reader, run.tables, run.vars_of(rule))), None)
    if found is not None:
        key, held = found.key, found.table.held
        taker = held.taker(key) or held.sliced.get(key)
        where = f" by {taker.place}" if taker else ""
        how, help = "", tell_taken(taker)
        if key not in held.whole:
            how = " in slices"
            reads = isinstance(rule.rule, Move)
            help = (
                "`KEY[...]` with `reuse: true` reads one" if reads else "name the part that is left"
            )
            help = f"a whole reference passes over these; {help}"
        name = full_key(found.table.alias, key)
        return f"`{text}` matches only keys that are taken: `{name}`{how}{where}", help
    if table is not None:
        words = name_conditions(rule)
        leave = "leaves" if len(words) == 1 else "leave"
        asked = f", {table.nodes[passed].spec}" if rule.where_looks else ""
        told = f"{' and '.join(words)} {leave} out `{passed}`{asked}"
        return f"`{text}` matches no key: {told}", ""
    reason = explain_absence(run, rule, reader, search)
    lacks = "the source lacks" if isinstance(rule.rule, Require) else "no key matches"
    return _join(f"{lacks} `{_whole(reader)}`", reason), reason.help


def _why_no_name(run: StageRun, _: CompiledRule, reader: Reader, search: Search) -> tuple[str, str]:
    """The message for a reference of `for` that no key matches, and the next step."""
    tables = run.tables_of(reader)
    if reader.of_destination and not tables:
        if not run.is_last:
            return f"`{reader.text}`: the last stage alone sees the destination", "move it there"
        return f"`{reader.text}`: there is no destination", f"give {argument('into', 'DST')}"
    own = [table for table in tables if reader.alias.match(table.alias) is not None]
    near = search.nearest(reader.pattern, itertools.chain(*(table.nodes for table in own)))
    help = f"the nearest key is `{near}`; " if near else ""
    what = "key of the destination" if reader.of_destination else "key"
    return f"no {what} matches `{_whole(reader)}`", f"{help}{NONE_IS_FINE}"


def _whole(reader: Reader) -> str:
    """A reference with all that `within` and `batchnorm` put around it."""
    pattern = str(reader.pattern)
    return reader.text if pattern in reader.text else pattern


def check_counts(run: StageRun) -> None:
    """Tells rules that made more or fewer steps than their `count`, and picks that took nothing."""
    for rule in _sound_rules(run):
        if rule.group in run.dead:
            continue
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
    for name, pick in rule.options.pick.items():
        for captures, present in _present(run, rule, name, names_in(pick)).items():
            among, there = dict(captures), sorted(present)
            spans = spans_of(pick, Scope(among, run.vars_of(rule)))
            dead = [span for span in spans if not _meets(span, there)]
            if dead:
                place = rule.options.places.get("pick", rule.place)
                shown = list_some(map(_span_text, dead), SHOWN_SPANS)
                where = " and ".join(f"`{other}` = {value}" for other, value in among.items())
                where = f" where {where}" if where else ""
                boxes = fold_keys(map(str, there))
                have = list_some((str(one).strip("<>") for one in boxes), SHOWN_SPANS)
                help = f"the keys have {have}"
                run.problems.add(f"pick: no key has `{name}` = {shown}{where}", place, help)


def _meets(span: tuple[int, int], present: list[int]) -> bool:
    at = bisect.bisect_left(present, span[0])
    return at < len(present) and present[at] <= span[1]


def present_values(run: StageRun, rule: CompiledRule, name: str) -> Iterator[Value]:
    """What a capture is in the keys that the patterns of a rule match."""
    for reader in rule.all_readers:
        if name in reader.names:
            at = reader.columns.index(name)
            for _, found in match_keys(reader, run.tables_of(reader)):
                yield from (row[at] for _, row in found)


def _present(
    run: StageRun, rule: CompiledRule, name: str, asked: frozenset[str]
) -> dict[tuple[tuple[str, Value], ...], set[int]]:
    """The integers that a capture has, by the values of other captures that are asked for."""
    found: dict[tuple[tuple[str, Value], ...], set[int]] = {}
    for reader in rule.readers:
        if name not in reader.names:
            continue
        number = reader.columns.index(name)
        others = [(at, other) for at, other in enumerate(reader.columns) if other in asked]
        for _, row in itertools.chain(*(rows for _, rows in match_keys(reader, run.tables))):
            among = tuple([(other, row[at]) for at, other in others])
            value = row[number]
            found.setdefault(among, set()).update([value] if isinstance(value, int) else [])
    return {among: present for among, present in found.items() if present}


def _span_text(span: tuple[int, int]) -> str:
    return str(span[0]) if span[0] == span[1] else f"{span[0]}..{span[1]}"


def rule_infos(run: StageRun) -> list[RuleInfo]:
    """Each rule of the file once, with the number of steps that it made."""
    return [
        msgspec.structs.replace(run.info(rule), steps=run.made.get(rule.group, 0))
        for rule in _once(run)
    ]
