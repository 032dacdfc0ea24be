"""What a stage's rules leave: rules that matched nothing, wrong counts, keys that nobody took."""

from __future__ import annotations

import bisect
import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from ckptsurgeon.errors import Place, Problem
from ckptsurgeon.language.reading.arrows import FILE as COMMAND_LINE
from ckptsurgeon.language.rules import Init, Keep, Require, Span, Tie
from ckptsurgeon.ops.indexing import Taken
from ckptsurgeon.ops.regions import overlap, overlapping, taken_count
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.scope import Scope
from ckptsurgeon.planner.stage.calling import evaluate
from ckptsurgeon.planner.stage.production import Contribution
from ckptsurgeon.planner.stage.reading_keys import matches, readings
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.planner.stage.tables import Address, Leaves, Origin, Table
from ckptsurgeon.plans.account import Fate, Note, RuleInfo, SourceFate
from ckptsurgeon.plans.logs import Log, TakenKeys

SEARCHED_KEYS = 20_000
"""How many keys are compared when the nearest one is looked for."""

SEARCHES = 8
"""For how many rules the nearest key is looked for, which takes a moment each."""

LONGEST_KEY = 200
"""The longest key that is compared, in characters."""

SHOWN_SPANS = 5

COUNTED_PARTS = 500
"""How many overlapping parts of one tensor are looked at when its share is counted."""


def tell_dead_rules(run: StageRun) -> None:
    """Every rule, or entry of its list, that matches nothing in any repetition."""
    told: set[int] = set()
    nearest = _NearestKeys(run)
    for rule in run.compiled.rules:
        if rule.group in told or rule.group in run.failed:
            continue
        told.add(rule.group)
        if not rule.options.optional and not isinstance(rule.rule, Tie):
            _tell_dead_entries(run, rule, nearest)


def _tell_dead_entries(run: StageRun, rule: CompiledRule, nearest: _NearestKeys) -> None:
    alive = run.alive.get(rule.group, set())
    for number, reader in enumerate(rule.readers):
        if number not in alive and not _overridden(run, rule, reader):
            message, help = _why_dead(run, rule, reader, nearest)
            run.problems.add(message, reader.place, help)
    if isinstance(rule.rule, Keep | Init):
        for number, (pattern, at) in enumerate(zip(rule.lookups, rule.rule.targets, strict=True)):
            if number not in alive:
                run.problems.add(f"no key of the destination matches `{pattern}`", at.place)


def _overridden(run: StageRun, rule: CompiledRule, reader: Reader) -> bool:
    """Whether all that the reference matches is taken by rules of the command line, to win."""
    addresses = [match.address for match in matches(rule, reader, run.tables, run.vars_of(rule))]
    takers = map(run.holdings.taker, addresses)
    return bool(addresses) and all(taker and taker.place.file == COMMAND_LINE for taker in takers)


def absent_aliases(run: StageRun) -> Iterator[Note]:
    """Optional rules that name a source that is not there: they took nothing, and say so."""
    for rule in run.compiled.rules:
        for reader in rule.readers:
            named = (reader.alias.match(table.alias) for table in run.tables)
            if rule.options.optional and all(captures is None for captures in named):
                text = f"`{reader.text}` is of a source that was not given"
                yield Note("alias", text, rule=run.info(rule))


def _why_dead(
    run: StageRun, rule: CompiledRule, reader: Reader, nearest: _NearestKeys
) -> tuple[str, str]:
    """The message for a reference that took nothing, and the next step."""
    text = reader.text
    found = list(itertools.islice(matches(rule, reader, run.tables, run.vars_of(rule)), 3))
    if found:
        address = found[0].address
        taker = run.holdings.taker(address) or run.holdings.sliced.get(address)
        where = f" by {taker.place}" if taker else ""
        how = "" if address in run.holdings.whole else " in slices"
        help = (
            "the first rule that matches a key takes it: reorder, or give the other `reuse: true`"
        )
        if how:
            help = "a whole reference passes over these; `KEY[...]` with `reuse: true` reads one"
        return f"`{text}` matches only keys that are taken: `{address[1]}`{how}{where}", help
    raw = next(iter(readings(reader, run.tables)), None)
    if raw is not None:
        words = [f"`{w}`" for w in ("where", "map", "pick") if w in rule.options.places]
        leave = "leaves" if len(words) == 1 else "leave"
        return f"`{text}` matches no key: {' and '.join(words)} {leave} out `{raw[2]}`", ""
    return f"no key matches `{_whole(reader)}`", nearest.help(reader)


def _whole(reader: Reader) -> str:
    """A reference with all that `within` and `batchnorm` put around it."""
    pattern = str(reader.pattern)
    return reader.text if pattern in reader.text else pattern


class _NearestKeys:
    """Finds keys that look like a pattern, for the first few dead rules alone."""

    def __init__(self, run: StageRun) -> None:
        self._tables = run.tables
        self._searches = 0

    def help(self, reader: Reader) -> str:
        """The nearest key, or which sources there are where the alias names none."""
        tables = [table for table in self._tables if reader.alias.match(table.alias) is not None]
        if not tables:
            aliases = ", ".join(sorted(table.alias or "SRC" for table in self._tables))
            return f"no source has that alias; there are: {aliases}"
        near = self._nearest(tables, str(reader.pattern))
        allows = "`optional: true` allows none"
        return f"the nearest key is `{near}`; {allows}" if near else allows

    def _nearest(self, tables: list[Table], pattern: str) -> str | None:
        self._searches += 1
        if self._searches > SEARCHES or len(pattern) > LONGEST_KEY:
            return None
        keys = itertools.islice(itertools.chain(*(t.origins for t in tables)), SEARCHED_KEYS)
        shapes: dict[str, str] = {}
        for key in keys:
            if len(key) <= LONGEST_KEY:
                shapes.setdefault(_without_numbers(key), key)
        text = _without_numbers(re.sub(r"<[^>]*>", "0", pattern))
        close = difflib.get_close_matches(text, shapes, n=1, cutoff=0.6)
        return shapes[close[0]] if close else None


def _without_numbers(key: str) -> str:
    """The key in small letters, its numbers alike: of a thousand layers one is compared."""
    return re.sub("[0-9]+", "0", key.lower())


def check_counts(run: StageRun) -> None:
    """Tells rules that made more or fewer steps than their `count`, and picks that took nothing."""
    seen: set[int] = set()
    for rule in run.compiled.rules:
        if rule.group in seen or rule.group in run.failed:
            continue
        seen.add(rule.group)
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
        for _, raw, _ in readings(reader, run.tables):
            value = raw.get(name)
            if isinstance(value, int):
                yield value


def _span_text(span: Span) -> str:
    return str(span.first) if span.first == span.last else f"{span.first}..{span.last}"


# --- keys -----------------------------------------------------------------------------------------


def settle_unmatched(run: StageRun) -> Log[SourceFate]:
    """The fate of every key; those that no rule took are copied where `unmatched` says so."""
    fates: Log[SourceFate] = Log()
    for table in run.tables:
        if isinstance(table.origins, Leaves) and not run.dropped and not run.lost:
            _settle_leaves(run, table, table.origins, fates)
        else:
            for key, origin in table.origins.items():
                fates.append(_fate(run, table, key, origin))
    return fates


def _settle_leaves(run: StageRun, table: Table, source: Leaves, fates: Log[SourceFate]) -> None:
    """The same for a table of which many keys were taken whole."""
    whole = run.holdings.whole.of(table.alias)
    for taken, keys in itertools.groupby(source, whole.__contains__):
        if taken:
            fates.add(TakenKeys([source.leaf(key) for key in keys], lambda leaf: whole[leaf.key]))
        else:
            for key in keys:
                fates.append(_fate(run, table, key, source[key]))


def _fate(run: StageRun, table: Table, key: str, origin: Origin) -> SourceFate:
    taken = _taken(run, (table.alias, key), origin)
    return taken or _unmatched(run, table, key, origin)


def _taken(run: StageRun, address: Address, origin: Origin) -> SourceFate | None:
    held, spec = run.holdings, origin.node.spec
    if address in run.dropped:
        return SourceFate(*address, spec, Fate.DROPPED, run.dropped[address], stage=run.number)
    if address in held.parts and address not in held.whole:
        parts = held.parts[address]
        taken = sum(map(taken_count, _disjoint(part.region for part in parts)))
        untaken = max(0.0, 1 - taken / spec.count) if spec.count else 0.0
        return SourceFate(*address, spec, Fate.TAKEN, parts[0].info, untaken, stage=run.number)
    rule = held.whole.get(address) or held.reused.get(address)
    if rule is None:
        return None
    winner = run.lost.get(address)
    reason = f"gave way to {winner.place}" if winner else ""
    return SourceFate(*address, spec, Fate.TAKEN, rule, reason=reason, stage=run.number)


def _disjoint(regions: Iterable[Taken]) -> Sequence[Taken]:
    """Regions that share no element, the largest first: rules that reuse may take overlapping ones.

    What is taken is never counted too high, so that a part which nobody took is always told.
    """
    ordered = sorted(set(regions), key=taken_count, reverse=True)
    if overlapping(ordered) is None:
        return ordered
    kept: list[Taken] = []
    for region in ordered[:COUNTED_PARTS]:
        if not any(overlap(region, other) for other in kept):
            kept.append(region)
    return kept


def _unmatched(run: StageRun, table: Table, key: str, origin: Origin) -> SourceFate:
    """The fate of a key that no rule took."""
    stage, spec, alias = run.compiled.stage, origin.node.spec, table.alias
    claimer = run.claimed.get(key) if not alias else None
    if claimer is not None:
        return SourceFate(alias, key, spec, Fate.DROPPED, claimer, stage=run.number)
    if alias or stage.unmatched == "error":
        return SourceFate(alias, key, spec, Fate.UNUSED, stage=run.number)
    if stage.unmatched == "drop":
        reason = "by `unmatched: drop`"
        return SourceFate(alias, key, spec, Fate.DROPPED, reason=reason, stage=run.number)
    if key in run.production:
        _tell_copied_onto(run, key)
    elif run.destination is not None and key not in run.destination.specs:
        return SourceFate(alias, key, spec, Fate.UNUSED, stage=run.number)
    else:
        _copy(run, table, key, origin)
    return SourceFate(alias, key, spec, Fate.COPIED, stage=run.number)


def _copy(run: StageRun, table: Table, key: str, origin: Origin) -> None:
    place = run.compiled.stage.place
    if isinstance(table.origins, Leaves):
        run.production.rename(None, place, ((key, table.origins.leaf(key)),))
    else:
        run.production.give(key, Contribution(origin, None, place))


def _tell_copied_onto(run: StageRun, key: str) -> None:
    giver = run.production.giver(key)
    last = run.compiled.rules[-1].place
    run.production.collide(
        giver,
        Problem(
            f"two producers of `{key}`: this rule, and the source's own `{key}`, which is copied",
            giver.place if giver else last,
            f"no rule up to the last one ({last}) takes it: add `- drop: {key}`",
        ),
    )


def rule_infos(run: StageRun) -> list[RuleInfo]:
    """Each rule of the file once, with the number of steps that it made."""
    infos: dict[int, RuleInfo] = {}
    for rule in run.compiled.rules:
        if rule.group not in infos:
            made = run.made.get(rule.group, 0)
            info = run.info(rule)
            infos[rule.group] = RuleInfo(info.stage, info.number, info.text, info.place, made)
    return list(infos.values())
