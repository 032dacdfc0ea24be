"""What `suggest` gives: a rule file, and how certain each tensor of it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ckptsurgeon.drafting.saving import save_text
from ckptsurgeon.drafting.steps import Degree
from ckptsurgeon.language.rules import Ruleset
from ckptsurgeon.language.rulesets import parse_ruleset
from ckptsurgeon.showing import Shown
from ckptsurgeon.wanted import require

NAME = "suggested.yaml"
"""What the rules are called in messages while no file holds them."""


@dataclass(frozen=True, slots=True, repr=False)
class Suggestion(Shown):
    """A rule file made of the headers of two checkpoints.

    `degrees` are by key of the destination; `open` are its keys that nothing is written for, or
    that a user is asked about, `unused` keys of sources likewise, each with what is said of it.
    """

    file: str
    degrees: Mapping[str, Degree]
    open: Mapping[str, str]
    unused: Mapping[str, str]

    def text(self) -> str:
        """The rule file."""
        return self.file

    @property
    def rules(self) -> Ruleset:
        """The rules, as `plan` and `transplant` take them."""
        return parse_ruleset(self.file, NAME)

    @property
    def sure(self) -> tuple[str, ...]:
        """The destination's keys of which names, shapes and structure leave one reading."""
        return tuple(key for key, one in self.degrees.items() if one is Degree.SURE)

    @property
    def likely(self) -> tuple[str, ...]:
        """Those of which something else would fit as well."""
        return tuple(key for key, one in self.degrees.items() if one is Degree.LIKELY)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Writes the rule file, whole or not at all; OutputError where it exists (`force`)."""
        require("save", path, (str, os.PathLike), "a path")
        save_text(self.file, Path(path), force=force)

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 1 where something is open, else 0."""
        return 1 if self.open or self.unused else 0

    @property
    def summary(self) -> str:
        """The one line to read where there is no time for more."""
        wanted = len(self.degrees) + len(self.open)
        told = [f"{len(self.sure):,} of {wanted:,} tensors sure", f"{len(self.likely):,} likely"]
        told += [f"{len(self.open):,} OPEN"] if self.open else []
        told += [f"{len(self.unused):,} of the source OPEN"] if self.unused else []
        return ", ".join(told)
