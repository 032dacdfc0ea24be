"""A rule file as written: what its lines say, with the place of each, before any checkpoint.

Patterns and expressions are parsed; captures are not yet resolved, `within` is not yet unfolded,
and numbers of ops may still be expressions. `planner/compiling/` makes of this what can be run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from msgspec import Struct, field

from ckptsurgeon.errors import Place, Problem
from ckptsurgeon.language.expressions import Expression, Plain, Scope
from ckptsurgeon.language.patterns import Reference, WrittenIndex

MAX_RULES = 50_000
"""Most rules of a list, and of a stage with all that `within` repeats."""

Number = int | float | Expression
"""A number as written: a literal, or an expression over captures, vars, `shape` and `dtype`."""

Argument = bool | int | float | str | Expression | WrittenIndex | tuple["Argument", ...] | None
"""An op's parameter as written."""


def evaluate(value: Argument, scope: Scope) -> object:
    """An argument with its expressions worked out."""
    if isinstance(value, Expression | WrittenIndex):
        return value.evaluate(scope)
    if isinstance(value, tuple):
        return tuple(evaluate(item, scope) for item in value)
    return value


class OpCall(Struct, frozen=True):
    """One op of a rule as written. `over` is the planner's: the capture it closes or opens."""

    name: str
    arguments: Mapping[str, Argument]
    over: str | None
    place: Place


class Block(Struct, frozen=True):
    """A block within `from`: its ops run on what it holds; `outer` is the block around it."""

    ops: tuple[OpCall, ...]
    place: Place
    outer: Block | None = None


class At(Reference, frozen=True, kw_only=True):
    """A reference of a rule, with its place (the start of its text) and the block it stands in."""

    place: Place
    block: Block | None = None


class Span(Struct, frozen=True):
    """`a..b` of a pick, both ends included; a single integer is a span of itself."""

    first: int | Expression
    last: int | Expression


Pick = tuple[Span, ...] | Expression
"""What `pick` lists of a capture; an expression gives a list of integers."""


class Entry(Struct, frozen=True, gc=False):
    """A key of a table and its new name, None where it is dropped; `line` is where it stands."""

    old: str
    new: str | None
    line: int


class Listing(Plain, frozen=True):
    """The entries of a table, and the file that they stand in."""

    entries: tuple[Entry, ...]
    file: str


Renames = Mapping[str, str] | Listing | Expression
"""The table of a `map`, old to new, or that of a file; an expression gives one."""


class Options(Struct, frozen=True):
    """The words that most rules take besides their own."""

    where: Expression | None = None
    map: Mapping[str, Renames] = field(default_factory=dict)
    pick: Mapping[str, Pick] = field(default_factory=dict)
    optional: bool = False
    count: int | Expression | None = None
    reuse: bool = False
    fallback: bool = False
    places: Mapping[str, Place] = field(default_factory=dict)
    """Where each word that is given stands."""


class BaseRule(Struct, frozen=True, kw_only=True):
    """What every rule but a `within` has."""

    options: Options = Options()
    place: Place


class Move(BaseRule, frozen=True):
    """An arrow or a block. `targets` is empty where `to` is left out.

    `names` are the references of `for`, whose keys give captures and no tensor.
    """

    sources: tuple[At, ...]
    targets: tuple[At, ...] = ()
    ops: tuple[OpCall, ...] = ()
    names: tuple[At, ...] = ()

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks within `from`, those within others first."""
        found: dict[int, Block] = {}
        for at in self.sources:
            block = at.block
            while block is not None:
                found.setdefault(id(block), block)
                block = block.outer
        return tuple(found.values())

    @property
    def calls(self) -> tuple[OpCall, ...]:
        """All ops: those of blocks, and those of the rule."""
        return (*(call for block in self.blocks for call in block.ops), *self.ops)

    @property
    def plain(self) -> bool:
        """Whether nothing stands behind the arrow."""
        given = self.ops or self.names
        return not given and self.options == Options(places=self.options.places)


class Table(BaseRule, frozen=True):
    """Keys by name, as they are; an expression gives a table when it is run.

    `alias` is the source's, `before` what stands in front of the keys on both sides.
    """

    entries: Listing | Expression
    alias: str = ""
    before: tuple[str, str] = ("", "")


class Drop(BaseRule, frozen=True):
    sources: tuple[At, ...]


class Keep(BaseRule, frozen=True):
    targets: tuple[At, ...]


FILLS = ("zeros", "ones", "eye", "normal")


class Init(BaseRule, frozen=True):
    """`fill` is one of FILLS, or a number; `names` are the references of `for`."""

    targets: tuple[At, ...]
    fill: str | Number
    std: Number = 0.02
    seed: int | Expression = 0
    shape: tuple[int | Expression, ...] | None = None
    dtype: str | None = None
    names: tuple[At, ...] = ()


class BaseNorms(BaseRule, frozen=True):
    """A rule that reads BatchNorms. Source and target are prefixes without the last dot."""

    word: ClassVar[str]

    source: At
    target: At

    @property
    def reads(self) -> tuple[tuple[At, str], ...]:
        """The prefixes that are read, each with the tensor that stands for those behind it."""
        return ((self.source, "running_mean"),)


class BatchNorm(BaseNorms, frozen=True):
    """A BatchNorm as one unit."""

    word: ClassVar[str] = "batchnorm"


class FoldBatchNorm(BaseNorms, frozen=True):
    """A BatchNorm worked into the layer before it, or into an identity where `conv` is None."""

    word: ClassVar[str] = "fold_batchnorm"

    conv: At | None = None
    eps: Number = 1e-5
    groups: int | Expression = 1
    transposed: bool = False

    @property
    def reads(self) -> tuple[tuple[At, str], ...]:
        """As those of other rules, the layer first."""
        layer = ((self.conv, "weight"),) if self.conv else ()
        return (*layer, *super().reads)


class FreezeBatchNorm(BaseNorms, frozen=True):
    """A BatchNorm as constants: `form` is `buffers` or `affine`."""

    word: ClassVar[str] = "freeze_batchnorm"

    form: str = "buffers"
    eps: Number = 1e-5


class Tie(BaseRule, frozen=True):
    targets: tuple[At, ...]


class Require(BaseRule, frozen=True):
    """`options.count` is the number of keys that must match."""

    source: At
    shape: tuple[int | Expression, ...] | None = None
    dtype: str | None = None


class Prefix(Struct, frozen=True):
    """One `A -> B` of a `within`; A alone stands for both sides (`target` is None)."""

    source: Reference
    target: Reference | None
    place: Place


class Within(Struct, frozen=True):
    """Rules under one or several prefixes; `vars` are those of an included ruleset."""

    prefixes: tuple[Prefix, ...]
    rules: tuple[Rule, ...]
    vars: Mapping[str, Var] | None
    place: Place


Norms = BatchNorm | FoldBatchNorm | FreezeBatchNorm
"""The rules that read BatchNorms by their prefixes."""

PlainRule = Move | Table | Drop | Keep | Init | Norms | Tie | Require

Rule = PlainRule | Within


class ShapeVar(Struct, frozen=True):
    """`{shape: KEY, dim: n}`; the reference may have an alias, `dst` being the destination."""

    reference: Reference
    dim: int | Expression


Given = Expression | bool | int | float | str | tuple["Given", ...] | dict[str, "Given"]
"""What a var is given: a value, an expression, or lists and tables of these."""


class ConfigVar(Struct, frozen=True):
    """`{config: a.b, default: …}`."""

    path: str
    default: Given | None = None


class Var(Struct, frozen=True):
    value: Given | ShapeVar | ConfigVar
    place: Place


class SourceOptions(Struct, frozen=True):
    """`source:`. `roots` is by alias, "" standing for every source that is not named there.

    With `one_shard`, a source may be one file of a set of shards.
    """

    roots: Mapping[str, str] = field(default_factory=dict)
    strip: tuple[str, ...] = ()
    strip_anywhere: tuple[str, ...] = ()
    separator: str = "."
    one_shard: bool = False


class Front(Struct, frozen=True):
    """A dict of an output as written, dots in front of those inside, with its place."""

    path: str
    place: Place


class OutputOptions(Struct, frozen=True):
    """`output:`. `dtype` is a code, or `destination`.

    `separators`, `roots` and `wrappers` are by alias, which may be a pattern; "" stands for every
    output that is not named there.
    """

    dtype: str | None = None
    separators: Mapping[str, str] = field(default_factory=dict)
    roots: Mapping[str, Front] = field(default_factory=dict)
    wrappers: Mapping[str, tuple[Front, ...]] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    """Where each alias stands that is named."""

    @property
    def separator(self) -> str:
        """What stands for dots in every output that has none of its own."""
        return self.separators.get("", ".")


class Stage(Struct, frozen=True):
    """One document of a rule file."""

    rules: tuple[Rule, ...]
    place: Place
    about: str = ""
    source: SourceOptions = SourceOptions()
    output: OutputOptions = OutputOptions()
    unmatched: str = "copy"
    vars: Mapping[str, Var] = field(default_factory=dict)


class Ruleset(Struct, frozen=True):
    """A whole rule file: its stages, each seeing the output of the one before.

    One that has `problems` can't be run: what could not be read is left out of it. `texts` are of
    the files that it was read from, those that it includes among them, by the names in places.
    """

    file: str
    stages: tuple[Stage, ...]
    problems: tuple[Problem, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
