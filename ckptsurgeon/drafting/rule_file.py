"""A rule file that was made, as people hold it: its text, its rules, and how it is saved."""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ckptsurgeon.drafting.saving import save_text
from ckptsurgeon.language.rules import Ruleset
from ckptsurgeon.language.rulesets import parse_ruleset
from ckptsurgeon.showing import Shown
from ckptsurgeon.wanted import require


@dataclass(frozen=True, slots=True, repr=False)
class RuleFile(Shown):
    """A rule file and what is known of it; `name` is what messages call it before it is saved."""

    file: str

    name: ClassVar[str]

    def text(self) -> str:
        """The rule file."""
        return self.file

    @property
    def rules(self) -> Ruleset:
        """The rules, as `plan` and `transplant` take them."""
        return parse_ruleset(self.file, self.name)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Writes the rule file, whole or not at all; OutputError where it exists (`force`)."""
        require("save", path, (str, os.PathLike), "a path")
        save_text(self.file, Path(path), force=force)

    @property
    @abstractmethod
    def bottom_line(self) -> str:
        """The one sentence to read where there is no time for more."""

    @property
    def summary(self) -> str:
        """The bottom line."""
        return self.bottom_line
