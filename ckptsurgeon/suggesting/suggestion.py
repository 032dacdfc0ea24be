"""What `suggest` gives: a rule file, and how certain each tensor of it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ckptsurgeon.drafting.rule_file import RuleFile
from ckptsurgeon.drafting.steps import Degree


@dataclass(frozen=True, slots=True, repr=False)
class Suggestion(RuleFile):
    """A rule file made of the headers of two checkpoints.

    `degrees` are by key of the destination; `open` are its keys that nothing is written for, or
    that a user is asked about, `unused` keys of sources likewise, each with what is said of it.
    """

    degrees: Mapping[str, Degree]
    open: Mapping[str, str]
    unused: Mapping[str, str]

    name: ClassVar[str] = "suggested.yaml"

    @property
    def sure(self) -> tuple[str, ...]:
        """The destination's keys of which names, shapes and structure leave one reading."""
        return tuple(key for key, one in self.degrees.items() if one is Degree.SURE)

    @property
    def likely(self) -> tuple[str, ...]:
        """Those of which something else would fit as well."""
        return tuple(key for key, one in self.degrees.items() if one is Degree.LIKELY)

    @property
    def exit_code(self) -> int:
        """How the command line ends: with 1 where something is open or nothing is given, else 0."""
        return 1 if self.open or self.unused or not self.degrees else 0

    @property
    def bottom_line(self) -> str:
        """The one line to read where there is no time for more."""
        wanted = len(self.degrees) + len(self.open)
        told = [f"{len(self.sure):,} of {wanted:,} tensors sure", f"{len(self.likely):,} likely"]
        told += [f"{len(self.open):,} OPEN"] if self.open else []
        told += [f"{len(self.unused):,} of the source OPEN"] if self.unused else []
        return ", ".join(told)
