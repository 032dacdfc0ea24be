"""A step as it was found: whole keys, the ops between them, and how certain it is."""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ckptsurgeon.ops.indexing import Index


@functools.total_ordering
class Degree(enum.Enum):
    """How far a rule can be trusted, from the best on."""

    PROVED = "proved"  # values were compared, element for element
    SAMPLED = "sampled"  # values were compared on samples
    NEAR = "within tolerance"  # values were computed, and are equal but for rounding
    SURE = "sure"  # names, shapes and structure leave one reading
    LIKELY = "likely"  # something else would fit as well
    OPEN = "open"  # a user's word is wanted

    def __init__(self, _: str) -> None:
        self._place = len(type(self).__members__)

    def __lt__(self, other: Degree) -> bool:
        """Whether this one is the more certain."""
        return self._place < other._place


@dataclass(frozen=True, slots=True)
class Size:
    """A number that an example shows once: as a var it gets a name, such as `heads`.

    Sizes of one name are one var, whatever it is worth in an example.
    """

    value: int = field(compare=False)
    name: str


Value = str | int | float | bool | Size | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """An op as a rule has it: its word, parameters, and the dim of the grid that it works on.

    `over` counts the gathered dims of the step's sources, or, of a split, the dims that its targets
    are spread over; a text is a name of its own, that a split opens and a join closes.
    """

    op: str
    parameters: tuple[tuple[str, Value], ...] = ()
    over: int | str | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """Keys laid out in row order on dims of these sizes; one key has none."""

    keys: tuple[str, ...]
    sizes: tuple[int, ...] = ()


UnitKind = tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]
"""The name of a rule for modules, the words for its sources, and its parameters."""


@dataclass(frozen=True, slots=True)
class UnitRule:
    """A rule of its own kind, whose patterns are prefixes of modules: `fold_batchnorm`.

    `words` say what each source prefix is, `takes` and `gives` are the keys below them,
    `parameters` are further words of the rule.
    """

    name: str
    words: tuple[str, ...]
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...] = ()

    @property
    def kind(self) -> UnitKind:
        """What steps must share to be one rule."""
        return self.name, self.words, self.parameters


@dataclass(frozen=True, slots=True)
class Step:
    """Source keys, with the aliases of their sources, that become target keys.

    With a `unit`, these are the prefixes of its rule. Without targets they are dropped, without
    sources the destination's own are kept. `index` is a slice of every source. A step that
    `lacks_scale` would give quantized values without what they are multiplied by.
    """

    sources: Grid
    targets: Grid
    calls: tuple[Call, ...] = ()
    index: Index = ()
    degree: Degree = Degree.PROVED
    remark: str = ""
    unit: UnitRule | None = None
    lacks_scale: bool = False

    @property
    def takes(self) -> tuple[str, ...]:
        """The source keys that it reads."""
        return self.sources.keys if self.unit is None else self.unit.takes

    @property
    def gives(self) -> tuple[str, ...]:
        """The target keys that it makes."""
        return self.targets.keys if self.unit is None else self.unit.gives

    def doubted(self, remark: str, degree: Degree = Degree.LIKELY) -> Step:
        """The step, no more certain than that; without a remark, or less certain, as it is."""
        if not remark or self.degree >= degree:
            return self
        return replace(self, degree=degree, remark=remark)

    @property
    def is_move(self) -> bool:
        """Whether it is one whole tensor under another name, or its own."""
        alone = len(self.sources.keys) == 1 == len(self.targets.keys)
        return alone and not (self.calls or self.index or self.unit)


def move(source: str, target: str, degree: Degree = Degree.PROVED, remark: str = "") -> Step:
    """The step that gives one tensor one name."""
    return Step(Grid((source,)), Grid((target,)), degree=degree, remark=remark)


def drop(source: str, degree: Degree = Degree.PROVED, remark: str = "") -> Step:
    """The step that makes nothing of a tensor."""
    return Step(Grid((source,)), Grid(()), degree=degree, remark=remark)


def keep(target: str, degree: Degree = Degree.PROVED, remark: str = "") -> Step:
    """The step that leaves the destination its own."""
    return Step(Grid(()), Grid((target,)), degree=degree, remark=remark)


def taken_by(steps: Iterable[Step]) -> set[str]:
    """The source keys that any of the steps reads."""
    return {key for step in steps for key in step.takes}


def given_by(steps: Iterable[Step]) -> set[str]:
    """The target keys that any of the steps makes."""
    return {key for step in steps for key in step.gives}
