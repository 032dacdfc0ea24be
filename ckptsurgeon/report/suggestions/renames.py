"""Source keys under other names, found in an order: what explains most keys comes first."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ckptsurgeon.report.suggestions.fusions import find_fusions, fusion_suggestions
from ckptsurgeon.report.suggestions.lookalikes import alike_suggestion, find_alike
from ckptsurgeon.report.suggestions.model import Keys, Mismatch, Open, Suggestion
from ckptsurgeon.report.suggestions.pairs import find_pairs, pair_suggestion
from ckptsurgeon.report.suggestions.prefixes import (
    Change,
    find_change,
    rename_suggestion,
    strip_suggestion,
    strips,
)

MOST_CHANGES = 6
CLEAR = 0.5
"""The share of the open keys that a prefix explains, if it is looked at before single modules."""


@dataclass(frozen=True, slots=True)
class Renames:
    """What was found, as it can be pasted: `specific` lines before `general` ones."""

    strip: list[Suggestion] = field(default_factory=list)
    specific: list[Suggestion] = field(default_factory=list)
    general: list[Suggestion] = field(default_factory=list)


def settle_renames(still: Open, keys: Keys) -> tuple[Open, Keys, Renames]:
    """What is open once all keys have their names, the keys without their prefix, and how."""
    strip, still, keys = _strip(still, keys)
    found = Renames(strip)
    for alias in still.spare:
        still = _rename(alias, still, keys, found)
    return still, keys, found


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


def _rename(alias: str, still: Open, keys: Keys, found: Renames) -> Open:
    """Prefixes that many keys share, single modules, prefixes of a few keys, then single keys."""
    still = _prefixes(alias, still, keys, CLEAR, found.general)
    still = _fusions(alias, still, keys, found.specific)
    for one in find_alike(alias, still.spare.get(alias, {}), still.missing, keys):
        found.specific.append(alike_suggestion(one))
        still = still.without(one.pairs.values(), alias, one.pairs)
    still = _prefixes(alias, still, keys, 0.0, found.specific)
    pairs = find_pairs(still.spare.get(alias, {}), still.missing)
    if pairs:
        found.specific.append(pair_suggestion(alias, pairs, keys.untaken(alias)))
    return still.without(pairs.values(), alias, pairs)


def _fusions(alias: str, still: Open, keys: Keys, found: list[Suggestion]) -> Open:
    spare = still.spare.get(alias, {})
    fusions = find_fusions(spare, still.missing)
    found += fusion_suggestions(alias, fusions, spare, still.missing, keys)
    for one in fusions:
        still = still.without(one.target.keys, alias, one.source.keys)
    return still


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
