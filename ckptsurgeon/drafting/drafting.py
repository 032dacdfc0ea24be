"""Steps in, a rule file out: generalised as far as it still makes just these steps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ckptsurgeon.drafting.arrows import Arrow, arrows_of
from ckptsurgeon.drafting.blocks import Entry, fold
from ckptsurgeon.drafting.captures import share_captures
from ckptsurgeon.drafting.checking import Ground
from ckptsurgeon.drafting.covering import cover
from ckptsurgeon.drafting.files import Head, write_file
from ckptsurgeon.drafting.joining import join_endings, join_leaves, join_words
from ckptsurgeon.drafting.ordering import order, spare
from ckptsurgeon.drafting.steps import Step
from ckptsurgeon.keys import without_integers

Generalise = Callable[[Sequence[Arrow]], list[Arrow]]


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule file, and its rules in order."""

    text: str
    entries: tuple[Entry, ...]


def draft(
    steps: Sequence[Step],
    head: Head,
    ground: Ground,
    *,
    copies: bool = True,
    footer: Sequence[str] = (),
    left: Collection[str] = (),
) -> Draft | None:
    """The shortest rule file of those tried that makes these steps; None where none does.

    With `copies`, keys that no rule takes keep their names. `footer` are lines behind the rules,
    `left` source keys that no rule is to take.
    """
    expected = ground.expect(steps)
    for generalise in _WAYS:
        entries = generalise(steps, copies, left)
        if entries is not None:
            found = Draft(write_file(head, entries, footer), tuple(entries))
            if ground.holds(found.text, expected):
                return found
    return None


def draft_most(
    steps: Sequence[Step],
    head: Head,
    ground: Ground,
    *,
    copies: bool = True,
    footer: Sequence[str] = (),
    left: Collection[str] = (),
) -> tuple[Draft, list[Step]]:
    """The draft of all steps that one file can hold, and those that it can't."""
    some_left = _few_of(left)
    found = draft(steps, head, ground, copies=copies, footer=footer, left=some_left)
    if found is not None:
        return found, []
    held: list[Step] = []
    waiting = [list(steps)]
    lost: list[Step] = []
    best = Draft(write_file(head, (), footer), ())
    while waiting:
        some = waiting.pop()
        found = draft([*held, *some], head, ground, copies=copies, footer=footer, left=some_left)
        if found is not None:
            held, best = [*held, *some], found
        elif len(some) > 1:
            half = len(some) // 2
            waiting += [some[half:], some[:half]]
        else:
            lost += some
    return best, lost


# --- ways -----------------------------------------------------------------------------------------


def _few_of(keys: Collection[str]) -> list[str]:
    """The first and the last key of each form: patterns that take others take these."""
    forms: dict[str, tuple[str, str]] = {}
    for key in keys:
        form = without_integers(key)
        forms[form] = forms[form][0] if form in forms else key, key
    return list(dict.fromkeys(key for pair in forms.values() for key in pair))


def _generalised(
    steps: Sequence[Step], generalise: Generalise, left: Collection[str]
) -> list[Entry] | None:
    arrows = arrows_of(steps)
    ordered = None if arrows is None else order(spare(generalise(arrows), left))
    return None if ordered is None else fold(ordered)


def _whole(steps: Sequence[Step], copies: bool, left: Collection[str]) -> list[Entry] | None:
    def generalise(arrows: Sequence[Arrow]) -> list[Arrow]:
        ends = join_endings(share_captures(arrows))
        return join_words(cover(join_leaves(spare(ends, left)), copies=copies, left=left))

    return _generalised(steps, generalise, left)


def _without_shared(
    steps: Sequence[Step], copies: bool, left: Collection[str]
) -> list[Entry] | None:
    def generalise(arrows: Sequence[Arrow]) -> list[Arrow]:
        return join_words(cover(join_leaves(arrows), copies=copies, left=left))

    return _generalised(steps, generalise, left)


def _without_words(
    steps: Sequence[Step], copies: bool, left: Collection[str]
) -> list[Entry] | None:
    def generalise(arrows: Sequence[Arrow]) -> list[Arrow]:
        return cover(join_leaves(arrows), copies=copies, left=left)

    return _generalised(steps, generalise, left)


def _as_they_are(steps: Sequence[Step], copies: bool, left: Collection[str]) -> list[Entry] | None:
    return _generalised(steps, list, left)


def _literal(steps: Sequence[Step], copies: bool, left: Collection[str]) -> list[Entry] | None:
    """A rule for each step, but for copies."""
    arrows = [arrow for step in steps for arrow in arrows_of([step]) or ()]
    ordered = order(arrows)
    return None if ordered is None else list(ordered)


_WAYS = (_whole, _without_shared, _without_words, _as_they_are, _literal)
"""How rules are generalised, from the shortest on."""
