"""Rules that can be run: captures resolved, ops placed in their grids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.errors import Place
from ckptsurgeon.language.expressions import OF_TENSOR
from ckptsurgeon.language.patterns import Capture, Matcher, Pattern, WrittenIndex
from ckptsurgeon.language.rules import At, OpCall, Options, PlainRule, Stage, Var
from ckptsurgeon.ops.base import Arity

BATCHNORM_VECTORS = ("weight", "bias", "running_mean", "running_var")
BATCHNORM_PARTS = (*BATCHNORM_VECTORS, "num_batches_tracked")


class Reader(Struct, frozen=True):
    """A reference that reads keys. `alias` matches the source's alias, "" being the unnamed one."""

    alias: Matcher
    alias_pattern: Pattern
    pattern: Pattern
    keys: Matcher
    index: WrittenIndex | None
    place: Place
    text: str

    @property
    def of_destination(self) -> bool:
        """Whether it reads the destination's keys, as `for` alone may."""
        return self.alias_pattern.literal == DESTINATION

    @property
    def columns(self) -> tuple[str, ...]:
        """All names that it captures, once each, in the order in which rows hold them."""
        return tuple(dict.fromkeys((*self.alias.columns, *self.keys.columns)))

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.columns)


class PlacedOp(Struct, frozen=True):
    """An op of a rule with the dim that it closes or opens, "" for neither."""

    call: OpCall
    arity: Arity
    dim: str


class Join(Struct, frozen=True):
    """What stands in a list of `from`, references by their number or blocks, and the ops on it."""

    parts: tuple[int | Join, ...] = ()
    ops: tuple[PlacedOp, ...] = ()

    @property
    def first(self) -> int:
        """The number of the first reference in it."""
        part = self.parts[0]
        return part if isinstance(part, int) else part.first

    @property
    def joins(self) -> Iterator[Join]:
        """Those of blocks, and this one behind them."""
        for part in self.parts:
            if isinstance(part, Join):
                yield from part.joins
        yield self


class CompiledRule(Struct, frozen=True):
    """A rule of one stage, ready to look for its keys; what its references say is resolved.

    `steps_by` are the captures that name a step, `gathered` those that only sources have, in order
    of mention, `spread` those that only targets have. `namers` are the references of `for`, which
    read names. `lookups` read destination or output keys, those that are `aliased` of an output
    with a name. `join` is the tree of `from`, `ops` are all of it in the order in which they run.
    `remarks` are to be said of the rule as it is written. `separator` is what stands for the dots
    of a path in its names, None where they keep theirs.
    """

    rule: PlainRule
    group: int
    vars: Mapping[str, Var]
    captures: Mapping[str, Capture]
    readers: tuple[Reader, ...] = ()
    namers: tuple[Reader, ...] = ()
    targets: tuple[At, ...] = ()
    lookups: tuple[Pattern, ...] = ()
    aliased: tuple[bool, ...] = ()
    join: Join = Join()
    ops: tuple[PlacedOp, ...] = ()
    remarks: tuple[str, ...] = ()
    separator: str | None = None
    steps_by: frozenset[str] = frozenset()
    gathered: tuple[Capture, ...] = ()
    spread: tuple[Capture, ...] = ()

    @property
    def all_readers(self) -> tuple[Reader, ...]:
        """What reads keys: those of tensors, then those of names alone."""
        return (*self.readers, *self.namers)

    @property
    def step_columns(self) -> tuple[str, ...]:
        """The captures that name a step, in the order in which rows hold them."""
        names = (name for reader in self.all_readers for name in reader.columns)
        return tuple(dict.fromkeys(name for name in names if name in self.steps_by))

    @property
    def known(self) -> frozenset[str]:
        """The names that a value is known of: captures of the source, vars, `shape`, `dtype`."""
        known = {*self.captures, *self.vars, *self.looks}
        return frozenset(known.difference(capture.name for capture in self.spread))

    @property
    def looks(self) -> frozenset[str]:
        """`shape` and `dtype`, where they mean those of the tensor at hand."""
        return OF_TENSOR.difference(self.captures, self.vars)

    @property
    def where_names(self) -> frozenset[str]:
        """The captures that `where` looks at."""
        where = self.options.where
        return where.names & frozenset(self.captures) if where else frozenset()

    @property
    def where_looks(self) -> frozenset[str]:
        """What `where` asks of the tensor at hand, which is the first reference's in a step."""
        where = self.options.where
        return where.names & self.looks if where else frozenset()

    @property
    def where_by_step(self) -> bool:
        """Whether `where` needs captures of several references, and so a whole step."""
        return not any(map(self.has_condition, self.all_readers))

    def has_condition(self, reader: Reader) -> bool:
        """Whether `where` is asked of each key that a reference reads."""
        asked = reader is self.all_readers[0] or not (self.where_looks and self.targets)
        return asked and self.where_names <= reader.names

    @property
    def options(self) -> Options:
        return self.rule.options

    @property
    def place(self) -> Place:
        return self.rule.place


class CompiledStage(Struct, frozen=True):
    """A document whose rules can be run.

    Its outputs have names where a rule names one; `gives_unnamed` says that some rule gives keys of
    the output without a name, all the same.
    """

    stage: Stage
    rules: tuple[CompiledRule, ...]
    is_named: bool = False
    gives_unnamed: bool = True
