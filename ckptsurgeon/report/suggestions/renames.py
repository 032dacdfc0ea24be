"""Source keys under other names: first all that are sure, then what is likely of what is left.

Of each, what explains most keys comes first. No sure one rests on one that is only likely.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ckptsurgeon.report.suggestions.fusions import find_fusions, fusion_suggestions
from ckptsurgeon.report.suggestions.lookalikes import agreeing, alike_suggestion, find_alike
from ckptsurgeon.report.suggestions.model import Degree, Keys, Mismatch, Open, Suggestion
from ckptsurgeon.report.suggestions.pairs import find_pairs, find_spelled, pair_suggestion
from ckptsurgeon.report.suggestions.prefixes import (
    Change,
    find_change,
    rename_suggestion,
    strip_suggestion,
    strips,
)
from ckptsurgeon.report.suggestions.shifts import find_shifts, shift_suggestion

MOST_CHANGES = 6
MOST_OPEN = 20_000
"""Open keys that are looked at one by one; of more, only prefixes that most of them share."""

CLEAR = 0.5
"""The share of the open keys that a prefix explains, if it is looked at before single modules."""


@dataclass(frozen=True, slots=True)
class Renames:
    """What was found, as it can be pasted: `specific` lines before `general` ones."""

    strip: list[Suggestion] = field(default_factory=list)
    specific: list[Suggestion] = field(default_factory=list)
    general: list[Suggestion] = field(default_factory=list)

    @property
    def degree(self) -> Degree:
        """That of the least sure one."""
        found = (*self.strip, *self.specific, *self.general)
        return Degree.SURE if all(one.degree is Degree.SURE for one in found) else Degree.LIKELY


def settle_renames(still: Open, keys: Keys) -> tuple[Open, Keys, Renames]:
    """What is open once all keys have their names, the keys without their prefix, and how."""
    strip, still, keys = _strip(still, keys)
    found = Renames(strip)
    alone = [alias for alias in still.spare if not _has_twin(alias, still)]
    for degree, aliases in ((Degree.SURE, alone), (Degree.LIKELY, list(still.spare))):
        for alias in aliases:
            still = _rename(_Search(alias, keys, degree), still, found)
    return still, keys, found


def _has_twin(alias: str, still: Open) -> bool:
    """Whether another source has mostly the same keys to offer: a rank, or an average."""
    ours = still.spare[alias].keys()
    others = (specs.keys() for name, specs in still.spare.items() if name != alias)
    return any(2 * len(ours & theirs) >= min(len(ours), len(theirs)) > 0 for theirs in others)


def _strip(still: Open, keys: Keys) -> tuple[list[Suggestion], Open, Keys]:
    """The prefix that `strip` takes off, and what is open once it is off."""
    change = find_change("", still.spare.get("", {}), still.missing, CLEAR)
    if change is None or not strips(change, keys) or _has_twin("", still):
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


@dataclass(frozen=True, slots=True)
class _Search:
    """Which source's keys are looked at, and how much evidence they need."""

    alias: str
    keys: Keys
    degree: Degree

    @property
    def sure(self) -> bool:
        return self.degree is Degree.SURE


def _rename(search: _Search, still: Open, found: Renames) -> Open:
    """Prefixes that many keys share, single modules, prefixes of a few keys, then single keys."""
    if len(still.spare.get(search.alias, {})) + len(still.missing) > MOST_OPEN:
        return _prefixes(search, still, CLEAR, found.general)
    if not search.sure:
        still = _shifts(search, still, found.specific)
    still = _prefixes(search, still, CLEAR, found.general)
    if not search.sure:
        still = _fusions(search, still, found.specific)
    still = _alike(search, still, found.specific)
    still = _prefixes(search, still, 0.0, found.specific)
    return _pairs(search, still, found.specific)


def _shifts(search: _Search, still: Open, found: list[Suggestion]) -> Open:
    alias = search.alias
    for shift in find_shifts(alias, still.spare.get(alias, {}), still.missing, search.keys):
        found.append(shift_suggestion(shift))
        still = still.without(shift.missing, alias, shift.spare)
    return still


def _fusions(search: _Search, still: Open, found: list[Suggestion]) -> Open:
    alias, spare = search.alias, still.spare.get(search.alias, {})
    fusions = find_fusions(spare, still.missing)
    found += fusion_suggestions(alias, fusions, spare, still.missing, search.keys)
    for one in fusions:
        still = still.without(one.target.keys, alias, one.source.keys)
    return still


def _alike(search: _Search, still: Open, found: list[Suggestion]) -> Open:
    alias = search.alias
    groups = find_alike(alias, still.spare.get(alias, {}), still.missing, search.keys)
    for one in agreeing(groups, search.keys) if search.sure else groups:
        found.append(alike_suggestion(one, search.degree))
        still = still.without(one.pairs.values(), alias, one.pairs)
    return still


def _pairs(search: _Search, still: Open, found: list[Suggestion]) -> Open:
    alias, spare = search.alias, still.spare.get(search.alias, {})
    find = find_spelled if search.sure else find_pairs
    pairs = find(spare, still.missing)
    if pairs:
        untaken = search.keys.untaken(alias)
        found.append(pair_suggestion(alias, pairs, untaken, search.degree))
    return still.without(pairs.values(), alias, pairs)


def _prefixes(search: _Search, still: Open, share: float, found: list[Suggestion]) -> Open:
    for _ in range(MOST_CHANGES):
        spare = still.spare.get(search.alias, {})
        change = find_change(search.alias, spare, still.missing, share)
        if change is None or (search.sure and not change.sure):
            break
        change = replace(change, sure=search.sure)
        found.append(rename_suggestion(change, still, search.keys))
        still = _settle(still, change)
    return still


def _settle(still: Open, change: Change) -> Open:
    """What is open once the prefix is changed: keys that then differ in shape among it."""
    spare = still.spare.get(change.alias, {})
    differing = tuple(
        Mismatch(key, spare[origin], still.missing[key], change.alias, origin, degree=change.degree)
        for origin, key in change.pairs.items()
        if spare[origin].shape != still.missing[key].shape
    )
    left = still.without(change.pairs.values(), change.alias, change.pairs)
    return replace(left, mismatched=left.mismatched + differing)
