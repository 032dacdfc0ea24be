"""What the rules of a plan did: their steps, told one by one and held in columns by the rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import msgspec

from ckptsurgeon.ops.base import Op
from ckptsurgeon.ops.batchnorms import OfBatchNorm
from ckptsurgeon.ops.indexing import Index
from ckptsurgeon.plans.entries import Entries
from ckptsurgeon.plans.graph import Address, Operand, RuleInfo, text_of


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
        texts = [text_of(op, self.rule) for op in self.ops]
        is_norm = any(isinstance(op, OfBatchNorm) for op in self.ops)  # told by their rule, once
        return tuple(dict.fromkeys(texts) if is_norm else texts)


class Batch(msgspec.Struct):
    """The steps of one rule, in columns: their operands in a row, and their products.

    `slices` and `places` hold the indices of those that are parts, by their number in the row;
    `reads`, `gives` and `ops` say of each step how many keys it reads and gives, and through what.
    """

    rule: RuleInfo
    aliases: list[str] = []
    keys: list[str] = []
    slices: dict[int, Index] = {}
    products: list[str] = []
    places: dict[int, Index] = {}
    reads: list[int] = []
    gives: list[int] = []
    ops: list[tuple[Op, ...]] = []

    def add(
        self,
        keys: Sequence[Address],
        slices: Sequence[Index | None],
        products: Sequence[tuple[str, Index | None]],
        steps: Sequence[tuple[int, int, tuple[Op, ...]]],
    ) -> None:
        """Adds steps: what they read, with the slices if there are any, and what they give."""
        self.slices.update(_find_parts(slices, len(self.keys)))
        self.places.update(_find_parts([index for _, index in products], len(self.products)))
        self.aliases += [alias for alias, _ in keys]
        self.keys += [key for _, key in keys]
        self.products += [key for key, _ in products]
        self.reads += [reads for reads, _, _ in steps]
        self.gives += [gives for _, gives, _ in steps]
        self.ops += [ops for _, _, ops in steps]

    def __len__(self) -> int:
        return len(self.ops)

    def __iter__(self) -> Iterator[Step]:
        read = given = 0
        for reads, gives, ops in zip(self.reads, self.gives, self.ops, strict=True):
            operands = (self._operand(at) for at in range(read, read + reads))
            products = (self._product(at) for at in range(given, given + gives))
            yield Step(self.rule, tuple(operands), tuple(products), ops)
            read, given = read + reads, given + gives

    def _operand(self, at: int) -> Operand:
        return Operand(self.aliases[at], self.keys[at], self.slices.get(at))

    def _product(self, at: int) -> Product:
        return Product(self.products[at], self.places.get(at))


def _find_parts(indices: Sequence[Index | None], first: int) -> Iterator[tuple[int, Index]]:
    return ((at, index) for at, index in enumerate(indices, first) if index is not None)


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
