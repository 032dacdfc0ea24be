"""For every finding, what to write in the rule file: one line where one line settles many.

    prefixes      `module.conv1.weight` for `conv1.weight`, told once for all keys
    lookalikes    modules under another name, where there is only one that they can be
    shapes        heads kept, larger tensors sliced, transposed ones turned
    leftovers     the rest: kept, made anew, dropped

The lines stand in an order in which they can be pasted at the end of a rule file: what speaks of
few keys comes before what takes all that are left. Nothing is guessed that must be paid for with
more than a few passes over the keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ckptsurgeon.planner.model import Finding, FindingKind, Plan
from ckptsurgeon.suggestions.leftovers import missing_suggestions, unused_suggestion
from ckptsurgeon.suggestions.lookalikes import alike_suggestion, find_alike
from ckptsurgeon.suggestions.model import Keys, Mismatch, Open, Suggestion, read_keys, read_open
from ckptsurgeon.suggestions.prefixes import (
    Change,
    find_change,
    rename_suggestion,
    strip_suggestion,
    strips,
)
from ckptsurgeon.suggestions.shapes import shape_suggestions
from ckptsurgeon.suggestions.writing import quoted

__all__ = ["Suggestion", "make_suggestions"]

MOST_CHANGES = 6
CLEAR = 0.5
"""The share of the open keys that a prefix explains, if it is looked at before single modules."""


def make_suggestions(plan: Plan) -> tuple[Suggestion, ...]:
    """Suggestions for the open findings of a plan, in the order in which they can be pasted."""
    if not plan.open_findings:
        return ()
    still, keys = read_open(plan), read_keys(plan)
    given = _given(plan, still)
    spare = still.spare
    strip, still, keys = _strip(still, keys)
    renames: list[Suggestion] = []
    for alias in spare:
        still, found = _rename(alias, still, keys)
        renames += found
    return (
        *strip,
        *shape_suggestions(still.mismatched, keys),
        *(unused_suggestion(a, specs, keys) for a, specs in still.spare.items() if specs),
        *renames,
        *given,
        *missing_suggestions(still.missing, keys),
    )


def _strip(still: Open, keys: Keys) -> tuple[list[Suggestion], Open, Keys]:
    """The prefix that `strip` takes off, and what is open once it is off."""
    change = find_change("", still.spare.get("", {}), still.missing, CLEAR)
    if change is None or not strips(change, keys):
        return [], still, keys
    cut = len(change.old)

    def bare(key: str) -> str:
        return key[cut:] if key.startswith(change.old) else key

    spare = {bare(key): spec for key, spec in still.spare[""].items()}
    known = {bare(key): taken for key, taken in keys.sources[""].items()}
    stripped = {bare(key): key for key in change.pairs}
    change_of_names = replace(change, old="", pairs={key: key for key in stripped})
    left = _settle(replace(still, spare={**still.spare, "": spare}), change_of_names)
    return [strip_suggestion(change)], left, replace(keys, sources={**keys.sources, "": known})


def _rename(alias: str, still: Open, keys: Keys) -> tuple[Open, list[Suggestion]]:
    """Prefixes that many keys share, then single modules, then prefixes of a few keys."""
    specific: list[Suggestion] = []
    general: list[Suggestion] = []
    still = _prefixes(alias, still, keys, CLEAR, general)
    for one in find_alike(alias, still.spare.get(alias, {}), still.missing, keys):
        specific.append(alike_suggestion(one))
        still = still.without(one.pairs.values(), alias, one.pairs)
    still = _prefixes(alias, still, keys, 0.0, specific)
    return still, specific + general


def _prefixes(alias: str, still: Open, keys: Keys, share: float, found: list[Suggestion]) -> Open:
    for _ in range(MOST_CHANGES):
        spare = still.spare.get(alias, {})
        change = find_change(alias, spare, still.missing, share)
        if change is None:
            break
        found.append(rename_suggestion(change, spare, keys))
        still = _settle(still, change)
    return still


def _settle(still: Open, change: Change) -> Open:
    """What is open once the prefix is changed: keys that then differ in shape among it."""
    spare = still.spare.get(change.alias, {})
    differing = tuple(
        Mismatch(key, spare[origin], still.missing[key], change.alias, origin)
        for origin, key in change.pairs.items()
        if spare[origin].shape != still.missing[key].shape
    )
    left = still.without(change.pairs.values(), change.alias, change.pairs)
    return replace(left, mismatched=left.mismatched + differing)


def _given(plan: Plan, still: Open) -> list[Suggestion]:
    """For keys that rules give and the destination lacks: the rule, and what would be right."""
    by_rule: dict[int, list[Finding]] = {}
    for finding in plan.open_findings:
        if finding.kind is FindingKind.UNEXPECTED and finding.rule is not None:
            by_rule.setdefault(id(finding.rule), []).append(finding)
    return [_unexpected(findings, still) for findings in by_rule.values()]


def _unexpected(findings: Iterable[Finding], still: Open) -> Suggestion:
    given = {finding.key: finding.found for finding in findings if finding.found}
    rule = next(finding.rule for finding in findings if finding.rule)
    place = quoted(f"{rule.place.file}:{rule.place.line}")
    specs = {key: spec for key, spec in given.items() if spec is not None}
    change = find_change("", specs, still.missing, 0.0)
    if change is None:
        example = quoted(next(iter(specs), rule.text))
        sentence = f"{place} gives {len(specs):,} keys such as {example} that the destination lacks"
        return Suggestion(f"{sentence}: change its target, or drop its sources before it")
    number = f"{len(change.pairs):,} of {len(specs):,} keys that {place} gives"
    return Suggestion(f"{number} match after {change.how}: change its target")
