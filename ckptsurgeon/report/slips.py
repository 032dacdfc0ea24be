"""Keys that a rule gives by a slip: the missing one whose name is nearest was meant."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ckptsurgeon.keys import integers_in, without_integers
from ckptsurgeon.specs import TensorSpec

NEAR = 0.8
"""How alike two names are, integers apart, of which one is a slip of the other: difflib's ratio."""

LEAD = 0.02
"""By how much it is more alike than the next one."""

Specs = Mapping[str, TensorSpec]


@dataclass(slots=True)
class Slips:
    """The missing keys that were meant, by those that are given, and given ones of which a name
    is near and none is the one.
    """

    meant: dict[str, str] = field(default_factory=dict)
    unclear: set[str] = field(default_factory=set)


def find_slips(given: Specs, missing: Specs) -> Slips:
    """What was meant with keys that nobody wants."""
    families: dict[object, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for key, spec in missing.items():
        families[spec.shape][without_integers(key)].append(key)
    slips = Slips()
    known: dict[object, str] = {}
    for key, spec in given.items():
        form, forms = without_integers(key), families.get(spec.shape, {})
        if (form, spec.shape) not in known:
            known[form, spec.shape] = _nearest(form, forms)
        if not (near_form := known[form, spec.shape]):
            continue
        meant = _choose(key, forms[near_form], form == near_form)
        if meant and meant not in slips.meant.values():
            slips.meant[key] = meant
        else:
            slips.unclear.add(key)
    return slips


def _nearest(form: str, forms: Collection[str]) -> str:
    """The form that is near; empty where another is about as near."""
    near = difflib.get_close_matches(form, forms, n=2, cutoff=NEAR)
    rates = [difflib.SequenceMatcher(None, one, form).ratio() for one in near]
    if not near or (len(rates) > 1 and rates[0] - rates[1] < LEAD):
        return ""
    return near[0]


def _choose(key: str, near: Sequence[str], is_number: bool) -> str:
    """The one of near keys that has the integers of a key; if these are the slip, but for one."""
    own = integers_in(key)
    found = [one for one in near if integers_in(one) == own]
    if not found and is_number:
        found = [one for one in near if _differ_in_one(own, integers_in(one))]
    return found[0] if len(found) == 1 else ""


def _differ_in_one(one: Sequence[str], other: Sequence[str]) -> bool:
    return sum(mine != theirs for mine, theirs in zip(one, other, strict=True)) == 1
