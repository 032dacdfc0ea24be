"""For every finding, what to write in the rule file: one line where one line settles many.

    given         what rules give under a name that the destination lacks
    prefixes      `module.conv1.weight` for `conv1.weight`, told once for all keys
    fusions       many tensors that are the bytes of few: experts, q, k and v
    lookalikes    modules under another name, where there is only one that they can be
    pairs         single keys that differ in one piece of their names
    shapes        heads kept, larger tensors sliced, transposed ones turned, grids resized
    ties          keys that share a storage with one that is given
    leftovers     the rest: kept, made anew, dropped

The lines stand in an order in which they can be pasted at the end of a rule file: what speaks of
few keys comes before what takes all that are left. What would lose trained weights comes last and
says so. Nothing is guessed that must be paid for with more than a few passes over the keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.report.suggestions.fusions import equal_bytes, equal_bytes_suggestion
from ckptsurgeon.report.suggestions.given import settle_given
from ckptsurgeon.report.suggestions.leftovers import (
    STRANGERS,
    missing_suggestions,
    part_leftovers,
    unused_suggestion,
)
from ckptsurgeon.report.suggestions.model import Keys, Open, Suggestion, read_keys, read_open
from ckptsurgeon.report.suggestions.renames import Renames, settle_renames
from ckptsurgeon.report.suggestions.shapes import shape_suggestions
from ckptsurgeon.report.suggestions.ties import settle_ties, tie_suggestions, tied_groups

__all__ = ["Suggestion", "make_suggestions"]


def make_suggestions(plan: Plan) -> tuple[Suggestion, ...]:
    """Suggestions for the open findings of a plan, in the order in which they can be pasted."""
    if not plan.open_findings:
        return ()
    keys, groups = read_keys(plan), tied_groups(plan)
    still, tied = settle_ties(groups, read_open(plan))
    still, given = settle_given(plan, still, keys)
    still, keys, renames = settle_renames(still, keys)
    still, tied_then = settle_ties(groups, still)
    return (
        *given,
        *renames.strip,
        *shape_suggestions(still.mismatched, keys),
        *_rest(still, keys, renames, tie_suggestions([*tied, *tied_then], plan)),
    )


def _rest(
    still: Open, keys: Keys, renames: Renames, ties: Iterable[Suggestion]
) -> Iterator[Suggestion]:
    """The renames, and what is left: it is dropped before a prefix changes that takes all."""
    told, equals = _told_equals(still)
    left = part_leftovers(still.spare, still.missing, equals)
    losses = [unused_suggestion(a, specs, keys, True) for a, specs in left.spare_rivals.items()]
    yield from (unused_suggestion(a, specs, keys) for a, specs in left.spare.items())
    yield from renames.specific
    yield from told
    if renames.general:
        yield from losses
    yield from renames.general
    yield from ties
    if still.missing and len(still.missing) == len(keys.destination):
        yield Suggestion(STRANGERS)
    else:
        yield from missing_suggestions(left.missing, keys)
        yield from missing_suggestions(left.missing_rivals, keys)
    if not renames.general:
        yield from losses


def _told_equals(still: Open) -> tuple[list[Suggestion], set[str]]:
    """Words for keys that are the bytes of others, and these keys."""
    told, equals = [], set[str]()
    for spare in still.spare.values():
        for ours, theirs in equal_bytes(spare, still.missing):
            told.append(equal_bytes_suggestion(ours, theirs, spare, still.missing))
            equals |= {*ours, *theirs}
    return told, equals
