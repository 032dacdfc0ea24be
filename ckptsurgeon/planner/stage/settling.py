"""What becomes of every key that a stage reads; those that no rule took are copied or left."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

import msgspec

from ckptsurgeon.errors import Problem
from ckptsurgeon.language.patterns import Formula, Pattern, compile_pattern, write_literal
from ckptsurgeon.language.yaml.writing import write_key_text
from ckptsurgeon.ops.regions import covered_count
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.planner.stage.tables import Table, TakenPart
from ckptsurgeon.plans.addresses import check_unnamed
from ckptsurgeon.plans.fates import Claim, Fate, KeyFates, Why
from ckptsurgeon.plans.graph import Leaf, Node, RuleInfo
from ckptsurgeon.specs import TensorSpec, UnreadableSpec

COPIED, UNUSED, UNREADABLE = Claim(Fate.COPIED), Claim(Fate.UNUSED), Claim(Fate.UNREADABLE)
LEFT = Claim(Fate.DROPPED, why=Why.UNMATCHED)

MOST_PATTERNS = 8
"""Patterns in the help for one rule."""


def settle_keys(run: StageRun) -> Iterator[KeyFates]:
    """The fates of all keys, by table; keys are copied where `unmatched` says so."""
    shares: Shares = {}
    onto: list[str] = []
    for table in run.tables:
        held = table.held
        claims = held.whole
        if len(held.whole) < len(table.nodes) or held.winners or held.reused:
            again = held.winners.keys() | held.reused.keys()
            others = (k for k in table.nodes if k not in held.whole or k in again)
            claims = held.whole | {key: _claim(run, table, key, shares, onto) for key in others}
        yield KeyFates(run.number, table.alias, table.specs, claims)
    _tell_copied_onto(run, onto)


def unreadable_left(run: StageRun) -> dict[str, Node]:
    """The unnamed source's tensors that can't be read and that no rule took: the next stage's."""
    return {
        key: table.nodes[key]
        for table in run.tables
        if table.has_unreadable and not table.alias and run.compiled.stage.unmatched != "drop"
        for key, spec in table.specs.items()
        if isinstance(spec, UnreadableSpec) and key not in table.held.whole
    }


Shares = dict[Hashable, Claim]
"""What became of keys of which the same parts were taken; parts are told by their ids."""


def _claim(run: StageRun, table: Table, key: str, shares: Shares, onto: list[str]) -> Claim:
    """What became of a key that was not simply taken whole."""
    held = table.held
    claim = held.whole.get(key)
    if claim is None and key in held.parts:
        parts, spec = held.parts[key], table.specs[key]
        alike = (id(spec), *[(id(part.region), id(part.claim)) for part in parts])
        claim = shares.get(alike) or shares.setdefault(alike, _partly(parts, spec))
    reused = held.reused.get(key)
    if claim is None or (claim.fate is Fate.DROPPED and reused is not None):
        claim = reused  # a drop of what another rule reads loses nothing
    if claim is None:
        return _unmatched(run, table, key, onto)
    winner = held.winners.get(key)
    if winner is None:
        return claim
    return msgspec.structs.replace(claim, why=Why.GAVE_WAY, winner=winner)


def _partly(parts: Sequence[TakenPart], spec: TensorSpec) -> Claim:
    """What became of a key of which slices were taken."""
    taking = [part for part in parts if part.claim.fate is not Fate.DROPPED]
    dropping = [part for part in parts if part.claim.fate is Fate.DROPPED]
    claim = (taking or dropping)[0].claim
    if not spec.count:
        return claim
    touched = covered_count([part.region for part in parts])
    taken = covered_count([part.region for part in taking]) if taking else touched
    claim = msgspec.structs.replace(claim, untaken=1 - touched / spec.count)
    if not (taking and dropping):
        return claim
    dropped, dropper = (touched - taken) / spec.count, dropping[0].claim.rule
    return msgspec.structs.replace(claim, dropped=dropped, dropper=dropper)


def _unmatched(run: StageRun, table: Table, key: str, onto: list[str]) -> Claim:
    """What becomes of a key that no rule took; `onto` gets those that a rule gives as well."""
    stage = run.compiled.stage
    claimer = run.claimed.get(key) if not table.alias else None
    if claimer is not None:
        return Claim(Fate.DROPPED, claimer)
    if not table.alias and stage.unmatched == "drop":
        return LEFT
    if isinstance(table.specs[key], UnreadableSpec):
        if table.alias or run.is_last:
            return UNREADABLE
        if key in run.production:
            onto.append(key)
        return COPIED
    if table.alias or stage.unmatched == "error" or not run.copies_unnamed:
        return UNUSED
    if key in run.production:
        onto.append(key)
    elif run.destination is not None and "" in run.held and key not in run.destination.specs:
        return UNUSED
    else:
        if run.compiled.is_named:
            with run.problems.at(stage.place):
                check_unnamed(key)
        run.production.give(key, table.nodes[key], table.rules.get(key), stage.place)
    return COPIED


# --- copies onto what rules give ------------------------------------------------------------------


def _tell_copied_onto(run: StageRun, keys: Sequence[str]) -> None:
    """Tells of keys that rules give and that would be copied: of each rule the first."""
    if not keys:
        return
    last = run.compiled.rules[-1].place
    (table,) = (table for table in run.tables if not table.alias)
    modules, targets = _by_module(table.nodes), _targets_by_group(run)
    picked = _picked_by_group(run)
    fallbacks = {rule.group for rule in run.compiled.rules if rule.options.fallback}
    by_giver: dict[RuleInfo | None, list[str]] = {}
    for key in keys:
        by_giver.setdefault(run.production.rules[key], []).append(key)
    for giver, given in by_giver.items():
        patterns = _of_target(table, targets.get(giver.number, ()) if giver else (), given)
        patterns = patterns or _passed_over(picked.get(giver.number, ()) if giver else (), given)
        patterns = patterns or _patterns_of(modules, given)
        dropped = ", ".join(map(write_key_text, patterns[:MOST_PATTERNS]))
        drop = f"`drop: {f'[{dropped}]' if len(patterns) > 1 else dropped}`"
        more = len(patterns) - MOST_PATTERNS
        rest = f", and {more:,} patterns more" if more > 0 else ""
        rest += " behind it"
        if giver and giver.number in fallbacks:
            drop = " and ".join(f"`{one} -> {one}`" for one in patterns[:MOST_PATTERNS])
            rest = " before it"
        for key in given:
            told = Problem(
                f"two producers of `{key}`: this rule, and the source's own `{key}`, "
                "which is copied",
                giver.place if giver else last,
                f"no rule up to the last one ({last}) takes it: add {drop}{rest}"
                f"{_tell_gone(run, key)}",
            )
            run.production.collide(giver, told)


def _tell_gone(run: StageRun, key: str) -> str:
    """The next step where a key stays wanted under its own name, too, and isn't given."""
    gone = _find_gone(run, key)
    if not gone:
        return ""
    both = f"{{from: {write_key_text(gone)}, to: [{write_key_text(gone)}, {write_key_text(key)}]}}"
    return f"; to keep `{gone}` as well, write both targets, as `{both}`"


def _find_gone(run: StageRun, key: str) -> str:
    """The unnamed source's key that is given under another one, and under its own no longer."""
    node = run.production.nodes[key]
    if not isinstance(node, Leaf) or node.source or node.key in run.production:
        return ""
    kept = run.destination is None or node.key in run.destination.specs
    return node.key if kept and node.key != key else ""


def _by_module(keys: Iterable[str]) -> dict[str, list[str]]:
    """The keys by the module that they belong to."""
    modules: dict[str, list[str]] = {}
    for key in keys:
        modules.setdefault(key.rpartition(".")[0], []).append(key)
    return modules


def _targets_by_group(run: StageRun) -> dict[int, list[Pattern]]:
    """The targets with captures alone, by the number of their rule."""
    groups: dict[int, list[Pattern]] = {}
    for rule in run.compiled.rules:
        for target in rule.targets:
            pattern = target.pattern
            if any(isinstance(piece, Formula) for piece in pattern.pieces):
                continue
            if pattern.literal is None:
                groups.setdefault(rule.group, []).append(pattern)
    return groups


def _picked_by_group(run: StageRun) -> dict[int, list[Pattern]]:
    """What rules with `pick` read, and take a part of, by the number of their rule."""
    groups: dict[int, list[Pattern]] = {}
    for rule in run.compiled.rules:
        if rule.options.pick:
            groups.setdefault(rule.group, []).extend(reader.pattern for reader in rule.readers)
    return groups


def _passed_over(picked: Sequence[Pattern], keys: Sequence[str]) -> list[str]:
    """The pattern of a rule that matches these keys, which its `pick` passes over."""
    for pattern in picked:
        read = compile_pattern(pattern).row_reader()
        if all(read(key) is not None for key in keys):
            return [str(pattern)]
    return []


def _of_target(table: Table, targets: Sequence[Pattern], keys: Sequence[str]) -> list[str]:
    """The target that matches just these of the source's keys, if there is one."""
    for pattern in targets:
        matcher = compile_pattern(pattern)
        read = matcher.row_reader()
        found = {key for key in table.candidates(matcher) if read(key) is not None}
        if found == set(keys):
            return [str(pattern)]
    return []


def _patterns_of(modules: Mapping[str, Sequence[str]], keys: Sequence[str]) -> list[str]:
    """Patterns of these keys alone, `module.*` where they are all of a module."""
    patterns: list[str] = []
    for module, own in _by_module(keys).items():
        if module and 1 < len(own) == len(modules[module]):
            patterns.append(f"{write_literal(module)}.*")
        else:
            patterns += map(write_literal, own)
    return patterns
