"""Steps in, a rule file out: generalised as far as it still makes just these steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ckptsurgeon.drafting.arrows import Arrow, arrows_of
from ckptsurgeon.drafting.blocks import Entry, fold
from ckptsurgeon.drafting.captures import share_captures
from ckptsurgeon.drafting.covering import cover
from ckptsurgeon.drafting.files import Head, write_file
from ckptsurgeon.drafting.joining import join_endings, join_leaves, join_words
from ckptsurgeon.drafting.ordering import order
from ckptsurgeon.drafting.steps import Step


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule file, and its rules in order."""

    text: str
    entries: tuple[Entry, ...]


def draft(
    steps: Sequence[Step],
    head: Head,
    holds: Callable[[str], bool],
    *,
    copies: bool = True,
    footer: Sequence[str] = (),
) -> Draft:
    """The shortest rule file of those tried that makes these steps, as `holds` says of its text.

    With `copies`, keys that no rule takes keep their names. `footer` are lines behind the rules.
    """
    for generalise in _WAYS:
        arrows = arrows_of(steps)
        ordered = None if arrows is None else order(generalise(arrows, copies))
        if ordered is None:
            continue
        entries = fold(ordered)
        found = Draft(write_file(head, entries, footer), tuple(entries))
        if holds(found.text):
            return found
    return _literal(steps, head, footer)


def _whole(arrows: Sequence[Arrow], copies: bool) -> list[Arrow]:
    shared = share_captures(arrows)
    return join_words(cover(join_leaves(join_endings(shared)), copies=copies))


def _without_shared(arrows: Sequence[Arrow], copies: bool) -> list[Arrow]:
    return join_words(cover(join_leaves(arrows), copies=copies))


def _without_words(arrows: Sequence[Arrow], copies: bool) -> list[Arrow]:
    return cover(join_leaves(arrows), copies=copies)


def _as_they_are(arrows: Sequence[Arrow], copies: bool) -> list[Arrow]:
    return list(arrows)


_WAYS = (_whole, _without_shared, _without_words, _as_they_are)
"""How rules are generalised, from the shortest on."""


def _literal(steps: Sequence[Step], head: Head, footer: Sequence[str]) -> Draft:
    """A rule for each step, as it is."""
    arrows = [arrow for step in steps for arrow in arrows_of([step]) or ()]
    return Draft(write_file(head, arrows, footer), tuple(arrows))
