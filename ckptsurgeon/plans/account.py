"""The account of a plan: what became of every key, by which rule, and what is left open.

Outputs, steps and fates are told one by one, but held in columns: there may be millions.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TypeVar, overload

import msgspec

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.ops.base import Op
from ckptsurgeon.ops.indexing import Index
from ckptsurgeon.plans.graph import (
    Leaf,
    Node,
    Operand,
    RuleInfo,
    op_texts,
    operands_of,
    text_of,
)
from ckptsurgeon.specs import TensorSpec

T = TypeVar("T")

Address = tuple[str, str]
"""A key with its alias."""


class Entries(Sequence[T]):
    """Entries in order, each made when it is looked at."""

    @overload
    def __getitem__(self, at: int) -> T: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[T]: ...

    def __getitem__(self, at: int | slice) -> T | Sequence[T]:
        return tuple(self)[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # as of lists


# --- outputs --------------------------------------------------------------------------------------


class Status(enum.Enum):
    """How an output key got its value."""

    RENAMED = "renamed"  # a whole source tensor, by a rule (its name may be the same)
    COPIED = "copied"  # a whole source tensor, by no rule
    CHANGED = "changed"  # through ops or parts
    KEPT = "kept"  # the destination's own value
    INITIALISED = "initialised"


OF_KIND = {"keep": Status.KEPT, "init": Status.INITIALISED}
"""What rules give that are no source's."""


def status_of(node: Node, rule: RuleInfo | None) -> Status:
    """How the tensor that a rule gives came about; None gives what is copied or kept by itself."""
    if rule is not None and rule.kind in OF_KIND:
        return OF_KIND[rule.kind]
    if not isinstance(node, Leaf):
        return Status.CHANGED if operands_of(node) else Status.INITIALISED
    if node.source == DESTINATION:
        return Status.KEPT
    return Status.COPIED if rule is None else Status.RENAMED


class Output(msgspec.Struct, frozen=True, gc=False):
    """A key of the result, `name` in the file. `rule` gave it, in the last stage that touched it.

    `wanted` is the destination's spec; `allowed` names the finding that was accepted for it
    ("missing", "mismatched").
    """

    key: str
    name: str
    node: Node
    rule: RuleInfo | None
    wanted: TensorSpec | None = None
    allowed: str = ""

    @property
    def spec(self) -> TensorSpec:
        return self.node.spec

    @property
    def status(self) -> Status:
        return status_of(self.node, self.rule)

    @property
    def sources(self) -> tuple[Operand, ...]:
        """The checkpoint keys that it is made from."""
        return operands_of(self.node)

    @property
    def ops(self) -> tuple[str, ...]:
        """The ops on the way, in words: `split(dim=0)`."""
        return op_texts(self.node)


class Outputs(Mapping[str, Output]):
    """The outputs by key, in output order. `name_of` gives the name that a file knows a key by."""

    def __init__(
        self,
        nodes: Mapping[str, Node],
        rules: Mapping[str, RuleInfo | None],
        name_of: Callable[[str], str],
        wanted: Mapping[str, TensorSpec],
        allowed: Mapping[str, str],
    ) -> None:
        self.nodes, self.rules, self.allowed = nodes, rules, allowed
        self._name_of, self._wanted = name_of, wanted

    def __getitem__(self, key: str) -> Output:
        return Output(
            key,
            self._name_of(key),
            self.nodes[key],
            self.rules[key],
            self._wanted.get(key),
            self.allowed.get(key, ""),
        )

    def __contains__(self, key: object) -> bool:
        return key in self.nodes

    def __iter__(self) -> Iterator[str]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)


# --- steps ----------------------------------------------------------------------------------------


class Product(msgspec.Struct, frozen=True, gc=False):
    """A key that a step gives, with the place in it that is filled."""

    key: str
    index: Index | None = None


class Step(msgspec.Struct, frozen=True, gc=False):
    """One rule applied to concrete keys; the operands are in the names that its stage sees."""

    rule: RuleInfo
    operands: tuple[Operand, ...]
    products: tuple[Product, ...]
    ops: tuple[Op, ...] = ()

    @property
    def stage(self) -> int:
        return self.rule.stage

    @property
    def texts(self) -> tuple[str, ...]:
        """The ops on the way, in words."""
        return tuple(text_of(op, self.rule) for op in self.ops)


class Batch(msgspec.Struct, frozen=True):
    """The steps of one rule, in columns: their operands in a row, and their products.

    `slices` and `places` hold the indices of those that are parts, by their number in the row;
    `widths` and `ops` say of each step how many keys it reads and gives, and through what.
    """

    rule: RuleInfo
    aliases: list[str] = []
    keys: list[str] = []
    slices: dict[int, Index] = {}
    products: list[str] = []
    places: dict[int, Index] = {}
    widths: list[tuple[int, int]] = []
    ops: list[tuple[Op, ...]] = []

    def add(
        self,
        aliases: Sequence[str],
        keys: Sequence[str],
        products: Sequence[tuple[str, Index | None]],
        ops: tuple[Op, ...],
    ) -> None:
        """Adds a step that reads whole keys."""
        self.aliases.extend(aliases)
        self.keys.extend(keys)
        for key, index in products:
            if index is not None:
                self.places[len(self.products)] = index
            self.products.append(key)
        self.widths.append((len(keys), len(products)))
        self.ops.append(ops)

    def cut(self, slices: Sequence[Index | None]) -> None:
        """Says which parts of its keys the last step reads."""
        for number, index in enumerate(slices, len(self.keys) - len(slices)):
            if index is not None:
                self.slices[number] = index

    def __len__(self) -> int:
        return len(self.widths)

    def __iter__(self) -> Iterator[Step]:
        read = given = 0
        for (reads, gives), ops in zip(self.widths, self.ops, strict=True):
            operands = (self._operand(at) for at in range(read, read + reads))
            products = (self._product(at) for at in range(given, given + gives))
            yield Step(self.rule, tuple(operands), tuple(products), ops)
            read, given = read + reads, given + gives

    def _operand(self, at: int) -> Operand:
        return Operand(self.aliases[at], self.keys[at], self.slices.get(at))

    def _product(self, at: int) -> Product:
        return Product(self.products[at], self.places.get(at))


class Steps(Entries[Step]):
    """The steps of all rules, in the order of the rules."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.batches = tuple(batches)

    def __len__(self) -> int:
        return sum(map(len, self.batches))

    def __iter__(self) -> Iterator[Step]:
        return chain.from_iterable(self.batches)

    def reading(self, alias: str, key: str) -> Iterator[Step]:
        """The steps that read a key."""
        for batch in self.batches:
            if key in batch.keys:
                yield from (s for s in batch if any(o.at == (alias, key) for o in s.operands))


# --- fates ----------------------------------------------------------------------------------------


class Fate(enum.Enum):
    """What became of a source key."""

    TAKEN = "taken"
    COPIED = "copied"
    DROPPED = "dropped"
    UNUSED = "unused"


class Why(enum.Enum):
    """What else is to be said of a fate."""

    GAVE_WAY = "gave way to "  # and the rule that gives the key
    UNMATCHED = "by `unmatched: drop`"
    OWN = "the destination's own"
    MADE = "made by `init`"
    UNNEEDED = "not needed"


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What became of keys: `rule` took or dropped them.

    `untaken` is the share of each that no slice took, `dropped` the share that slices of `dropper`
    did (0..1). `winner` gives what the keys would have given.
    """

    fate: Fate
    rule: RuleInfo | None = None
    why: Why | None = None
    winner: RuleInfo | None = None
    untaken: float = 0.0
    dropped: float = 0.0
    dropper: RuleInfo | None = None

    @property
    def is_plain(self) -> bool:
        """Whether a rule took the keys whole, and no more is to be said."""
        return self.fate is Fate.TAKEN and not (self.why or self.untaken or self.dropped)

    @property
    def reason(self) -> str:
        """More, where more is to say: "by `unmatched: drop`", "gave way to line 3"."""
        if self.why is None:
            return ""
        return f"{self.why.value}{self.winner.place if self.winner else ''}"


class SourceFate(msgspec.Struct, frozen=True, gc=False):
    """What became of one key of a stage (0 reads the checkpoints)."""

    stage: int
    source: str
    key: str
    spec: TensorSpec
    claim: Claim

    @property
    def fate(self) -> Fate:
        return self.claim.fate

    @property
    def rule(self) -> RuleInfo | None:
        return self.claim.rule

    @property
    def untaken(self) -> float:
        return self.claim.untaken

    @property
    def reason(self) -> str:
        return self.claim.reason


class KeyFates(msgspec.Struct, frozen=True):
    """The fates of all keys that a stage reads under one alias; a claim is of many keys."""

    stage: int
    source: str
    specs: Mapping[str, TensorSpec]
    claims: Mapping[str, Claim]

    def of(self, key: str) -> SourceFate:
        return SourceFate(self.stage, self.source, key, self.specs[key], self.claims[key])

    def __len__(self) -> int:
        return len(self.specs)

    def __iter__(self) -> Iterator[SourceFate]:
        return map(self.of, self.specs)


class Fates(Entries[SourceFate]):
    """The fates of every key of every stage."""

    def __init__(self, tables: Sequence[KeyFates]) -> None:
        self.tables = tuple(tables)

    def __len__(self) -> int:
        return sum(map(len, self.tables))

    def __iter__(self) -> Iterator[SourceFate]:
        return chain.from_iterable(self.tables)

    @property
    def remarkable(self) -> Iterator[SourceFate]:
        """Those of keys that were not simply taken whole by a rule."""
        for table in self.tables:
            claims = table.claims
            yield from (table.of(key) for key in table.specs if not claims[key].is_plain)

    def find(self, stage: int, alias: str, key: str) -> SourceFate | None:
        """The fate of one key; None where the stage reads no such key."""
        for table in self.tables:
            if (table.stage, table.source) == (stage, alias) and key in table.specs:
                return table.of(key)
        return None


# --- what is left to say --------------------------------------------------------------------------


class FindingKind(enum.Enum):
    MISSING = "missing"
    UNEXPECTED = "unexpected"
    UNUSED = "unused"
    MISMATCHED = "mismatched"


class Finding(msgspec.Struct, frozen=True, gc=False):
    """A key that does not come out even.

    `found` and `wanted` are specs where the kind has them (mismatched both, missing the wanted
    one, unexpected and unused the found one). `source` is the alias of an unused key.
    """

    kind: FindingKind
    key: str
    found: TensorSpec | None = None
    wanted: TensorSpec | None = None
    rule: RuleInfo | None = None
    source: str = ""
    sources: tuple[Operand, ...] = ()
    allowed: bool = False


class Note(msgspec.Struct, frozen=True, gc=False):
    """Something that is no finding but that a user should know: a dtype change, a part not taken.

    `kind` groups notes: dtype, untaken, rest, wrapper, strip, opaque, ties, copied, fallback, …
    """

    kind: str
    text: str
    key: str = ""
    rule: RuleInfo | None = None


class CheckedTie(msgspec.Struct, frozen=True, gc=False):
    """A tie of two output keys that were made apart: their values are compared when run."""

    key: str
    leader: str
    rule: RuleInfo | None
