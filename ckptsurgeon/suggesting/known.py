"""What rules settled before something is suggested for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ckptsurgeon.drafting.steps import Step
from ckptsurgeon.suggesting.units import Specs


@dataclass(frozen=True, slots=True)
class Known:
    """The steps of rules, with both sides as they are with these: evidence for the rest."""

    steps: Sequence[Step] = ()
    source: Specs = field(default_factory=dict)
    target: Specs = field(default_factory=dict)

    def beside(self, source: Specs, target: Specs) -> Known:
        """The same with what is left of both sides."""
        return Known(self.steps, {**self.source, **source}, {**self.target, **target})


NOTHING = Known()
