"""What the values of converted tensors decide alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ckptsurgeon.drafting.steps import Call, Step, taken_by
from ckptsurgeon.learning.decisions import Decisions
from ckptsurgeon.learning.doubles import choose_doubles
from ckptsurgeon.learning.doubts import doubt_order, doubt_scalar
from ckptsurgeon.learning.example import Example
from ckptsurgeon.learning.grouping import steps_of
from ckptsurgeon.learning.ways import Way

MOST_LISTED = 1 << 16
"""Indices that a rule lists."""

MOST_TRIED = 32
"""Ways to make one tensor that are tried on its values."""


def decide_by_values(example: Example) -> Decisions:
    """What values decide alone."""
    decisions = Decisions(example)
    found: dict[str, Way] = {}
    for target, spec in example.wanted.items():
        matcher, signature = example.matchers[spec.dtype], example.signatures[target]
        equal = matcher.equals(signature, spec.shape)
        if len(equal) == 1 and not signature.constant:
            found[target] = Way((equal[0],))
        elif len(equal) > 1 and (shared := _shards(example, equal)) is not None:
            found[target] = shared
        elif equal:
            decisions.ambiguous[target] = equal
        elif (one := _first(example, target, matcher.find(signature, spec.shape))) is not None:
            found[target] = one
        else:
            decisions.open[target] = None
    for step in map(doubt_order, _steps(example, found)):
        if _is_writable(step):
            decisions.steps.append(doubt_scalar(step, example))
        else:
            decisions.open |= dict.fromkeys(step.gives)
    decisions.steps = list(choose_doubles(decisions))
    decisions.used = taken_by(decisions.steps)
    return decisions


def _is_writable(step: Step) -> bool:
    """Whether a person can read what a rule would list."""
    lists = (value for call in step.calls for _, value in call.parameters)
    return all(len(value) <= MOST_LISTED for value in lists if isinstance(value, tuple))


def _first(example: Example, target: str, ways: Iterator[Way]) -> Way | None:
    """The first way that makes the target's values."""
    for one, _ in zip(ways, range(MOST_TRIED), strict=False):
        (step,) = _steps(example, {target: one})
        if example.gives(step):
            return one
    return None


def _steps(example: Example, found: Mapping[str, Way]) -> list[Step]:
    shapes = {key: tensor.spec.shape for key, tensor in example.tensors.items()}
    return steps_of(found, shapes)


def _shards(example: Example, keys: Sequence[str]) -> Way | None:
    """`same`, where every source has the tensor under one key, and there are several sources."""
    tensors = [example.tensors[key] for key in keys]
    every = len({one.source for one in tensors}) == len(example.ground.sources) == len(keys)
    if not every or len({tensor.key for tensor in tensors}) > 1:
        return None
    return Way(tuple(keys), (len(keys),), joins=(Call("same", (), 0),))
