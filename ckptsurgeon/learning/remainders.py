"""What is told of tensors that nothing makes, or that nothing is made of."""

from __future__ import annotations

from collections.abc import Sequence

from ckptsurgeon.drafting.leaving import leave_keys
from ckptsurgeon.keys import without_integers
from ckptsurgeon.learning.example import Example
from ckptsurgeon.specs import plural

MOST_SHARED = 200
"""Targets that nothing makes of which it is looked for parts."""


def footer_of(unexplained: Sequence[str], example: Example) -> list[str]:
    """What is told of tensors that nothing explains."""
    remarks = dict.fromkeys(unexplained, "no rule was found that makes it")
    for target, (key, count) in find_shared(unexplained, example).items():
        remarks[target] = tell_planes(count, key)
    return leave_keys("keep", remarks, [key for key in example.wanted if key not in remarks])


def find_shared(targets: Sequence[str], example: Example) -> dict[str, tuple[str, int]]:
    """For targets that nothing makes the source with planes in common, and how many."""
    found: dict[str, tuple[str, int]] = {}
    for target in targets[:MOST_SHARED]:
        matcher = example.matchers[example.wanted[target].dtype]
        if (one := matcher.shared(example.signatures[target])) is not None:
            found[target] = one
    return found


def tell_planes(count: int, key: str) -> str:
    """What is said of a tensor that has so many planes in common with another."""
    verb = "is" if count == 1 else "are"
    return f"{plural(count, 'plane')} of it {verb} in {without_integers(key, '<i>')}"
