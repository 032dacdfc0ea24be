"""What a stage reads: the tensors of each alias by key, and who has taken what of them."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ckptsurgeon.ops.indexing import Taken
from ckptsurgeon.patterns import Matcher
from ckptsurgeon.planner.compiled import CompiledRule
from ckptsurgeon.planner.model import Node, Operand, RuleInfo


@dataclass(frozen=True, slots=True)
class Origin:
    """A tensor on its way: its graph, the checkpoint keys it comes from, who gave it and how."""

    node: Node
    sources: tuple[Operand, ...]
    rule: RuleInfo | None = None
    ops: tuple[str, ...] = ()


class Table:
    """The tensors of one alias; finds keys by the literal text that they start with."""

    def __init__(self, alias: str, origins: Mapping[str, Origin]) -> None:
        self.alias = alias
        self.origins = origins
        self._sorted: list[str] | None = None

    def candidates(self, matcher: Matcher) -> Iterable[str]:
        """The keys that can match, by their literal prefix."""
        if matcher.literal:
            return (matcher.prefix,) if matcher.prefix in self.origins else ()
        if not matcher.prefix:
            return self.origins
        if self._sorted is None:
            self._sorted = sorted(self.origins)
        start = bisect.bisect_left(self._sorted, matcher.prefix)
        return _while_prefixed(self._sorted, start, matcher.prefix)


def _while_prefixed(keys: list[str], start: int, prefix: str) -> Iterator[str]:
    for at in range(start, len(keys)):
        if not keys[at].startswith(prefix):
            return
        yield keys[at]


Address = tuple[str, str]
"""A key with its alias."""


@dataclass(frozen=True, slots=True)
class TakenPart:
    """What a slice took of a key."""

    region: Taken
    rule: CompiledRule
    info: RuleInfo


@dataclass(slots=True)
class Holdings:
    """Who has taken which key of a stage, whole or in parts."""

    whole: dict[Address, RuleInfo] = field(default_factory=dict)
    reused: dict[Address, RuleInfo] = field(default_factory=dict)
    parts: dict[Address, list[TakenPart]] = field(default_factory=dict)
    sliced: dict[Address, RuleInfo] = field(default_factory=dict)

    def taker(self, address: Address) -> RuleInfo | None:
        return self.whole.get(address)

    def used(self, address: Address) -> bool:
        """Whether any rule has read the key or a part of it."""
        return address in self.whole or address in self.reused or address in self.parts


def overlap(one: Taken, other: Taken) -> bool:
    """Whether two slices of one tensor share an element: they do where every dim does."""
    return all(_meet(a, b) for a, b in zip(one, other, strict=True))


def _meet(one: int | range, other: int | range) -> bool:
    a = range(one, one + 1) if isinstance(one, int) else one
    b = range(other, other + 1) if isinstance(other, int) else other
    if not a or not b:
        return False
    first, last = max(a[0], b[0]), min(a[-1], b[-1])
    if a.step == 1 and b.step == 1:
        return first <= last
    divisor = math.gcd(a.step, b.step)
    if (b[0] - a[0]) % divisor:
        return False
    period = b.step // divisor
    turns = ((b[0] - a[0]) // divisor * pow(a.step // divisor, -1, period)) % period
    common = a[0] + turns * a.step
    lcm = a.step * period
    if common < first:
        common += -(-(first - common) // lcm) * lcm
    return common <= last


def taken_count(region: Taken) -> int:
    """How many elements a slice takes."""
    return math.prod(1 if isinstance(item, int) else len(item) for item in region)
