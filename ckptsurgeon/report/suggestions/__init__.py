"""For every finding, what to write in the rule file: one line where one line settles many.

    given         what rules give under a name that the destination lacks
    prefixes      `module.conv1.weight` for `conv1.weight`, told once for all keys
    fusions       many tensors that are the bytes of few: experts, q, k and v
    lookalikes    modules under another name, where there is only one that they can be
    pairs         single keys that differ in one piece of their names
    shapes        heads kept, larger tensors sliced, transposed ones turned, grids resized
    shifts        lists of equal names whose items are counted from elsewhere
    ties          keys that share a storage with one that is given
    leftovers     the rest: kept, made anew, dropped
    untrained     buffers that modules fill by themselves, which alone are settled so

The lines stand in an order in which they can be pasted at the end of a rule file: what speaks of
few keys comes before what takes all that are left. Each has a degree: what isn't sure, and what
would lose trained weights or leave keys untrained, is pasted as a comment, and comes last. Nothing
is guessed that must be paid for with more than a few passes over the keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.report.suggestions.fusions import equal_bytes, equal_bytes_suggestion
from ckptsurgeon.report.suggestions.given import settle_given
from ckptsurgeon.report.suggestions.leftovers import (
    STRANGERS,
    missing_suggestions,
    unused_suggestions,
)
from ckptsurgeon.report.suggestions.model import (
    Degree,
    Keys,
    Open,
    Suggestion,
    read_keys,
    read_open,
)
from ckptsurgeon.report.suggestions.renames import Renames, settle_renames
from ckptsurgeon.report.suggestions.shapes import shape_suggestions
from ckptsurgeon.report.suggestions.ties import settle_ties, tie_suggestions, tied_groups

__all__ = ["Degree", "Suggestion", "make_suggestions"]


def make_suggestions(plan: Plan) -> tuple[Suggestion, ...]:
    """Suggestions for the open findings of a plan, in the order in which they can be pasted."""
    if not plan.open_findings:
        return ()
    keys, groups = read_keys(plan), tied_groups(plan)
    still, tied = settle_ties(groups, read_open(plan))
    still, given = settle_given(plan, still, keys)
    still, keys, renames = settle_renames(still, keys)
    still, tied_then = settle_ties(groups, still)
    ties = [*tie_suggestions(tied, plan), *tie_suggestions(tied_then, plan, renames.degree)]
    return (
        *given,
        *renames.strip,
        *shape_suggestions(still.mismatched, keys),
        *_rest(still, keys, renames, ties),
    )


def _rest(
    still: Open, keys: Keys, renames: Renames, ties: Iterable[Suggestion]
) -> Iterator[Suggestion]:
    """What is left: buffers are dropped before a prefix changes that takes all."""
    drops = [one for a, specs in still.spare.items() for one in unused_suggestions(a, specs, keys)]
    yield from (one for one in drops if one.degree is Degree.SURE)
    yield from renames.specific
    yield from _told_equals(still)
    yield from renames.general
    yield from ties
    if still.missing and len(still.missing) == len(keys.destination):
        yield Suggestion(STRANGERS, degree=Degree.OPEN)
    else:
        yield from missing_suggestions(still.missing, keys)
    yield from (one for one in drops if one.degree is not Degree.SURE)


def _told_equals(still: Open) -> Iterator[Suggestion]:
    """Words for keys that are the bytes of others."""
    for spare in still.spare.values():
        for ours, theirs in equal_bytes(spare, still.missing):
            yield equal_bytes_suggestion(ours, theirs, spare, still.missing)
