"""Keys that no rule was found for, as comments that a user may make rules of."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from ckptsurgeon.drafting.arrows import Arrow, arrows_of
from ckptsurgeon.drafting.covering import cover
from ckptsurgeon.drafting.joining import join_words
from ckptsurgeon.drafting.lines import line_of
from ckptsurgeon.drafting.ordering import order
from ckptsurgeon.drafting.saying import is_sayable
from ckptsurgeon.drafting.steps import Degree, drop
from ckptsurgeon.drafting.units import Units, cut_key
from ckptsurgeon.keys import without_integers
from ckptsurgeon.visible import tame

MOST_OTHERS = 1000
"""Other keys that patterns are held against; of more, those of some layers stand for all."""

MOST_TOLD = 200
"""Comments that are written; of more it is told how many there are."""


def leave_keys(
    word: Literal["keep", "drop"], remarks: Mapping[str, str], others: Collection[str]
) -> list[str]:
    """Few rules that `keep` or `drop` just these keys, each with what is said of its keys.

    No rule takes any of the others. Of keys that none can name it is told in words; of very many
    rules the first are written, and how many more there would be.
    """
    named = {key: remark for key, remark in remarks.items() if is_sayable(_own(key), remarked=True)}
    known = set(map(without_integers, others))
    whole = [key for key in named if without_integers(key) not in known]
    places = {key: at for at, key in enumerate(named)}
    drops = arrows_of([drop(key, Degree.OPEN, named[key]) for key in whole]) or []
    drops += [
        Arrow(cut_key(key), (), degree=Degree.OPEN, remark=remark, samples=(key,))
        for key, remark in named.items()
        if without_integers(key) in known
    ]
    deep = [arrow for arrow in drops if arrow.is_deep]
    shallow = [arrow for arrow in drops if not arrow.is_deep]
    rules = [*join_words(cover(shallow, copies=True, left=few_of(others))), *deep]
    rules.sort(key=lambda rule: min(places[key] for key in rule.samples))
    same: dict[Units, list[Arrow]] = {}
    for rule in order(rules) or rules:
        same.setdefault(rule.source, []).append(rule)
    odd = [key for key in remarks if key not in named]
    told = [
        *(_line(word, some) for some in itertools.islice(same.values(), MOST_TOLD)),
        *(f"{tame(key)}: {remarks[key]}; no rule can name it" for key in odd[:MOST_TOLD]),
    ]
    more = len(same) + len(odd) - MOST_TOLD
    return [*told[:MOST_TOLD], f"… and {more:,} more to {word}"] if more > 0 else told


def _line(word: str, rules: Sequence[Arrow]) -> str:
    """The rule of one pattern, with all that is said of its keys."""
    rule = line_of(rules[0]).replace("drop", word, 1)
    return f"- {rule}  # {'; '.join(one.remark for one in rules)}"


def _own(key: str) -> str:
    """A key without the alias before it."""
    alias, sign, own = key.partition("::")
    return own if sign and alias.isidentifier() else key


def few_of(keys: Collection[str]) -> Collection[str]:
    """Keys that patterns are held against: of very many, the first and the last of each form."""
    if len(keys) <= MOST_OTHERS:
        return keys
    forms: dict[str, tuple[str, str]] = {}
    for key in keys:
        form = without_integers(key)
        forms[form] = forms[form][0] if form in forms else key, key
    return list(dict.fromkeys(key for pair in forms.values() for key in pair))
