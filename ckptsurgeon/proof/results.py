"""What `verify` finds out: findings by kind, and how far two networks' outputs lie apart."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass

from ckptsurgeon.showing import Paged
from ckptsurgeon.specs import plural


class Kind(enum.Enum):
    """What can be wrong with a checkpoint; each can be accepted by its name."""

    MISSING = "missing"  # the model has it, the checkpoint doesn't
    UNEXPECTED = "unexpected"  # the checkpoint has it, the model doesn't
    MISMATCHED = "mismatched"  # shapes differ
    REFUSED = "refused"  # the model's own loading code says no
    META = "meta"  # left without values by the load
    UNTIED = "untied"  # one parameter in the model, different values in the checkpoint
    NAN = "nan"
    INFINITE = "infinite"
    VARIANCE = "variance"  # a running variance below zero
    GARBAGE = "garbage"  # looks like memory that was never written
    ZERO = "zero"  # a parameter of zeros alone, no bias
    CONSTANT = "constant"  # a parameter of two or more dims with one value
    FRESH = "fresh"  # BatchNorm statistics as a new layer has them
    DIFFERENT = "different"  # the networks' outputs disagree


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; `key` is a tensor's, or the name of an output."""

    kind: Kind
    key: str
    text: str
    allowed: bool = False


@dataclass(frozen=True, slots=True)
class Delta:
    """How far one output of the checked network lies from the reference's.

    `largest` is max |a - b|, `relative` that over max |reference|, `cosine` of all elements as one
    vector, `top1` the share of rows (along the last dim) with one argmax, None where there is none
    to choose. Not a number where an output is not finite.
    """

    name: str
    shape: tuple[int, ...]
    largest: float
    relative: float
    cosine: float
    top1: float | None
    within: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two networks given the same seeded input; `notes` tell where it came from."""

    reference: str
    reference_model: str
    input_shape: tuple[int, ...]
    reference_input_shape: tuple[int, ...]
    seed: int
    tolerance: float
    dtype: str
    deltas: tuple[Delta, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Verification(Paged):
    """All that `verify` found. `comparison` is None where there was nothing to compare with."""

    checkpoint: str
    model: str
    tensors: int
    nbytes: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    comparison: Comparison | None = None

    @property
    def open_findings(self) -> tuple[Finding, ...]:
        """The findings that were not allowed."""
        return tuple(finding for finding in self.findings if not finding.allowed)

    @property
    def clean(self) -> bool:
        """Whether there was no finding, not even one that was allowed."""
        return not self.findings

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 1 where a finding is open, else 0."""
        return 1 if self.open_findings else 0

    @property
    def summary(self) -> str:
        """The bottom line."""
        return self.bottom_line

    @property
    def bottom_line(self) -> str:
        """The one sentence to read where there is no time for more."""
        if self.open_findings:
            found = self.open_findings
            they = "it is" if len(found) == 1 else "they are"
            return f"{_counted(found)}: don't use it before {they} settled"
        allowed = f"allowed: {_kinds(self.findings)}; " if self.findings else "clean: "
        loads = f"{allowed}loads strictly"
        if self.comparison is None:
            return loads
        if any(finding.kind is Kind.DIFFERENT for finding in self.findings):
            return f"{loads}; the outputs DIFFER, which was allowed"
        return f"{loads}, and the outputs agree{_how_well(self.comparison)}"


def _counted(findings: tuple[Finding, ...]) -> str:
    """`3 findings: 2 zero, 1 nan`."""
    return f"{plural(len(findings), 'finding')}: {_kinds(findings)}"


def _kinds(findings: tuple[Finding, ...]) -> str:
    """`2 zero, 1 nan`, in the order in which the kinds are defined."""
    counts = Counter(finding.kind for finding in findings)
    return ", ".join(f"{counts[kind]:,} {kind.value}" for kind in Kind if counts[kind])


def _how_well(comparison: Comparison) -> str:
    if all(delta.largest == 0 for delta in comparison.deltas):
        return " exactly: difference 0"
    return f" within {comparison.tolerance:g}"
