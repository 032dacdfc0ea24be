"""What names, shapes and structure say of tensors whose values fit several, as `suggest` has it.

It is heard where it doesn't contradict what values said of the tensors beside.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ckptsurgeon.drafting.steps import Degree, Step
from ckptsurgeon.keys import prefixes_of
from ckptsurgeon.learning.example import Example
from ckptsurgeon.suggesting.finding import find_steps


def suggested_steps(example: Example) -> dict[str, Step]:
    """The steps that names and shapes suggest, by the target."""
    source = {key: leaf.spec for key, leaf in example.tensors.items()}
    found = find_steps(source, example.wanted)
    return {
        target: step
        for step in found.steps
        if step.unit is None and step.degree < Degree.OPEN
        for target in step.gives
    }


class Beside:
    """What is known of the tensors around a key: where those under one prefix come from."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._sources: dict[str, list[str]] = defaultdict(list)
        self._renamed: dict[str, set[str]] = defaultdict(set)
        for step in steps:
            for target in step.gives:
                for prefix in prefixes_of(target):
                    self._sources[prefix] += step.takes
            if step.is_move and step.degree is Degree.PROVED:
                own, to = _differing(step)
                self._renamed[own].add(to)

    def settle(self, step: Step) -> Step:
        """The step, sure where values say of tensors beside that they are renamed as it says."""
        own, to = _differing(step) if step.is_move else ("", "")
        if not own or self._renamed.get(own) != {to}:
            return step
        return replace(step, degree=min(step.degree, Degree.SURE), remark="")

    def agrees(self, step: Step) -> bool:
        """Whether a step reads under the prefix that those beside its targets are read under."""
        return all(self._agrees(target, step.takes) for target in step.gives)

    def _agrees(self, target: str, takes: Sequence[str]) -> bool:
        known = [self._sources[one] for one in prefixes_of(target) if one in self._sources]
        if not known:
            return True
        common = _common_prefix(known[-1])
        return all(f"{key}.".startswith(common) for key in takes)


def _differing(step: Step) -> tuple[str, str]:
    """What the keys of a move begin with up to what they have in common."""
    own, to = step.takes[0].split("."), step.gives[0].split(".")
    while own and to and own[-1] == to[-1]:
        own, to = own[:-1], to[:-1]
    return ".".join(own), ".".join(to)


def _common_prefix(keys: Sequence[str]) -> str:
    """The whole pieces that all keys begin with but for their last, with a dot behind."""
    common = keys[0].split(".")[:-1]
    for key in keys[1:]:
        pairs = zip(common, key.split(".")[:-1], strict=False)
        common = [a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return "".join(f"{piece}." for piece in common)
