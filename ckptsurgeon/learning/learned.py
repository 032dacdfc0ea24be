"""What was learned: the rule file, and how certain each tensor of it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ckptsurgeon.drafting.rule_file import RuleFile
from ckptsurgeon.drafting.steps import Degree
from ckptsurgeon.specs import UnreadableSpec, plural


@dataclass(frozen=True, slots=True, repr=False)
class Learned(RuleFile):
    """A rule file by an example, and what is known of every tensor of the converted checkpoint.

    `degrees` are by key; `unexplained` are the keys that no tensor of the source explains, which
    stand as comments, `unreadable` those without values that can be read. `dropped` are the source
    keys, with their aliases, that nothing is made of. `rule_count` counts the rules,
    `misses` has for each further example the tensors that they don't make there. `once` are numbers
    that were seen at one size alone (vars, and numbers of slices, ops and names): constants, or
    sizes. `asked` are vars that differ between the examples, and that a user must tell.
    """

    source: str
    converted: str
    degrees: Mapping[str, Degree]
    unexplained: tuple[str, ...]
    dropped: tuple[str, ...]
    unreadable: Mapping[str, UnreadableSpec]
    rule_count: int
    misses: tuple[tuple[str, ...], ...] = ()
    once: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()

    name: ClassVar[str] = "learned.yaml"

    @property
    def failed(self) -> int:
        """The further examples that the rules don't hold on."""
        return sum(map(bool, self.misses))

    @property
    def counts(self) -> Mapping[Degree, int]:
        """How many tensors are of each degree, the most certain first."""
        found = Counter(self.degrees.values())
        return {degree: found[degree] for degree in Degree if found[degree]}

    @property
    def likely(self) -> tuple[str, ...]:
        """The keys whose rules want a look: `# CHECK` stands before them."""
        return tuple(key for key, degree in self.degrees.items() if degree is Degree.LIKELY)

    @property
    def open(self) -> tuple[str, ...]:
        """The keys that no rule gives."""
        return (*self.unexplained, *self.unreadable)

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 1 where something is likely or open, else 0."""
        return 1 if self.likely or self.open or self.failed else 0

    @property
    def bottom_line(self) -> str:
        """The one sentence to read where there is no time for more."""
        told = [f"{count:,} {degree.value}" for degree, count in self.counts.items()]
        told += [f"{len(self.open):,} UNEXPLAINED"] if self.open else []
        told += [f"WRONG on {plural(self.failed, 'further example')}"] if self.failed else []
        told += [f"{plural(len(self.once), 'number')} seen once"] if self.once else []
        told += [f"{plural(len(self.asked), 'number')} to be told"] if self.asked else []
        total = len(self.degrees) + len(self.open)
        return f"{plural(self.rule_count, 'rule')} for {plural(total, 'tensor')}: {', '.join(told)}"
