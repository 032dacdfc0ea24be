"""What is decided of an example, and what is still open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ckptsurgeon.drafting.steps import Degree, Step
from ckptsurgeon.learning.example import Example
from ckptsurgeon.learning.folds import Folds
from ckptsurgeon.learning.likeness import Likeness
from ckptsurgeon.learning.structure import suggested_steps
from ckptsurgeon.suggesting.ties import tied_sources


@dataclass
class Decisions:
    """The steps that were found, and the source keys that they read (`used`).

    `ambiguous` has the sources that a target's values fit, `open` the targets that nothing makes;
    `tried` counts those of a form that ops were tried on.
    """

    example: Example
    steps: list[Step] = field(default_factory=list)
    ambiguous: dict[str, list[str]] = field(default_factory=dict)
    open: dict[str, None] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    tried: Counter[str] = field(default_factory=Counter)

    @cached_property
    def suggested(self) -> Mapping[str, Step]:
        """What names and shapes suggest, by target."""
        return suggested_steps(self.example)

    @cached_property
    def tied(self) -> Mapping[str, Sequence[str]]:
        """The keys of sources that share a storage, by each of them."""
        return tied_sources(self.example.ground.views)

    @cached_property
    def folds(self) -> Folds:
        """What finds BatchNorms that were folded."""
        return Folds(self.example)

    def likeness(self) -> Likeness:
        """How alike names are, by what is decided."""
        moves = [step for step in self.steps if step.is_move]
        known = [(step.sources.keys[0], step.targets.keys[0]) for step in moves]
        return Likeness(self.example.tensors, self.example.wanted, known)

    def waits(self, target: str) -> bool:
        """Whether a target is not decided."""
        return target in self.ambiguous or target in self.open

    def take(self, step: Step, target: str) -> bool:
        """Whether a step is right for the target, and so was taken."""
        known = all(key in self.example.tensors for key in step.sources.keys)
        if target not in step.targets.keys or not known:
            return False
        if not all(map(self.waits, step.targets.keys)):
            return False
        if step.is_move:
            keys = self.ambiguous.get(target, ())
            if step.sources.keys[0] not in keys or self._is_spoken_for(step, keys):
                return False
        elif not self._gives(step):
            return False
        degree = step.degree if step.degree is Degree.NEAR else max(Degree.SURE, step.degree)
        self.settle(replace(step, degree=degree))
        return True

    def _gives(self, step: Step) -> bool:
        """Whether a step makes the values of its targets, those that are near only nearly."""
        is_near = step.degree is Degree.NEAR
        return self.example.is_near(step) if is_near else self.example.gives(step)

    def _is_spoken_for(self, step: Step, keys: Sequence[str]) -> bool:
        """Whether another target has a source already, while others of its values are nobody's."""
        return step.sources.keys[0] in self.used and any(key not in self.used for key in keys)

    def settle(self, step: Step) -> None:
        """Takes a step; its targets are decided."""
        self.steps.append(step)
        self.used.update(step.takes)
        for target in step.gives:
            self.ambiguous.pop(target, None)
            self.open.pop(target, None)
