"""What was learned: the rule file, and how certain each tensor of it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ckptsurgeon.drafting.steps import Degree
from ckptsurgeon.language.rules import Ruleset
from ckptsurgeon.language.rulesets import parse_ruleset


@dataclass(frozen=True, slots=True)
class Learned:
    """A rule file by an example. `degrees` are by converted key; `unexplained` are the others."""

    file: str
    degrees: Mapping[str, Degree]
    unexplained: tuple[str, ...]

    def text(self) -> str:
        """The rule file."""
        return self.file

    @property
    def rules(self) -> Ruleset:
        """The rules, as `plan` and `transplant` take them."""
        return parse_ruleset(self.file, "learned.yaml")

    @property
    def counts(self) -> Mapping[Degree, int]:
        """How many tensors are of each degree."""
        return Counter(self.degrees.values())
