"""What becomes of every key that a stage reads; those that no rule took are copied or left."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

import msgspec

from ckptsurgeon.errors import Problem
from ckptsurgeon.language.patterns import Formula, compile_pattern, write_literal
from ckptsurgeon.language.yaml.writing import write_key_text
from ckptsurgeon.ops.regions import covered_count
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.planner.stage.tables import Table, TakenPart
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
        if len(held.whole) < len(table.nodes) or held.winners:
            others = (k for k in table.nodes if k not in held.whole or k in held.winners)
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
    claim = claim or held.reused.get(key)
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
    if table.alias or stage.unmatched == "error":
        return UNUSED
    if key in run.production:
        onto.append(key)
    elif run.destination is not None and key not in run.destination.specs:
        return UNUSED
    else:
        run.production.give(key, table.nodes[key], table.rules.get(key), stage.place)
    return COPIED


# --- copies onto what rules give ------------------------------------------------------------------


def _tell_copied_onto(run: StageRun, keys: Sequence[str]) -> None:
    """Tells of keys that rules give and that would be copied: of each rule the first."""
    if not keys:
        return
    last = run.compiled.rules[-1].place
    (table,) = (table for table in run.tables if not table.alias)
    modules = _by_module(table.nodes)
    by_giver: dict[RuleInfo | None, list[str]] = {}
    for key in keys:
        by_giver.setdefault(run.production.rules[key], []).append(key)
    for giver, given in by_giver.items():
        target = _target_of(run, giver, given[0])
        patterns = [target] if target else _patterns_of(modules, given)
        dropped = ", ".join(map(write_key_text, patterns))
        drop = f"`drop: {f'[{dropped}]' if len(patterns) > 1 else dropped}`"
        gone = _find_gone(run, given[0])
        both = f"; to keep `{gone}` as well, write `to: [OLD, NEW]`" if gone else ""
        for key in given:
            told = Problem(
                f"two producers of `{key}`: this rule, and the source's own `{key}`, "
                "which is copied",
                giver.place if giver else last,
                f"no rule up to the last one ({last}) takes it: add {drop}{both}",
            )
            run.production.collide(giver, told)


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


def _target_of(run: StageRun, giver: RuleInfo | None, key: str) -> str:
    """The target with captures by which a rule gave a key; "" where it can't be read."""
    for rule in run.compiled.rules:
        for target in rule.targets if giver and rule.group == giver.number else ():
            pieces = target.pattern.pieces
            if target.pattern.literal is not None or any(
                isinstance(piece, Formula) for piece in pieces
            ):
                continue
            if compile_pattern(target.pattern).match(key) is not None:
                return str(target.pattern)
    return ""


def _patterns_of(modules: Mapping[str, Sequence[str]], keys: Sequence[str]) -> list[str]:
    """Patterns of these keys alone, `module.*` where they are all of a module; the first few."""
    patterns: dict[str, None] = {}
    known = set(keys)
    for key in keys:
        module = key.rpartition(".")[0]
        whole = module and len(modules[module]) > 1 and known.issuperset(modules[module])
        patterns[f"{write_literal(module)}.*" if whole else write_literal(key)] = None
        if len(patterns) == MOST_PATTERNS:
            break
    return list(patterns)
