"""What a stage reads: the tensors of each alias by key, and who has taken what of them."""

from __future__ import annotations

import bisect
import heapq
import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

from ckptsurgeon.language.patterns import ConcreteIndex, Matcher
from ckptsurgeon.ops.indexing import Taken
from ckptsurgeon.planner.compiling.compiled import CompiledRule
from ckptsurgeon.plans.account import Operand, RuleInfo
from ckptsurgeon.plans.graph import Leaf, Node
from ckptsurgeon.specs import TensorSpec

_INTEGER = re.compile("[0-9]+")


@dataclass(frozen=True, slots=True)
class Origin:
    """A tensor on its way: its graph, the checkpoint keys it comes from, who gave it and how."""

    node: Node
    sources: tuple[Operand, ...]
    rule: RuleInfo | None = None
    ops: tuple[str, ...] = ()


class Leaves(Mapping[str, Origin]):
    """The tensors of a checkpoint by the rules' keys, each made a leaf when it is asked for."""

    def __init__(self, alias: str, specs: Mapping[str, TensorSpec]) -> None:
        self._alias, self._specs = alias, specs
        self._leaves: dict[str, Leaf] = {}

    def leaf(self, key: str) -> Leaf:
        """The one leaf of a key."""
        leaf = self._leaves.get(key)
        if leaf is None:
            leaf = self._leaves[key] = Leaf(self._alias, key, self._specs[key])
        return leaf

    def __getitem__(self, key: str) -> Origin:
        return Origin(self.leaf(key), (Operand(self._alias, key),))

    def __contains__(self, key: object) -> bool:
        return key in self._specs

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)


LARGE = 1000
"""Keys from which on it pays to sort them by what they are without their integers."""


class Table:
    """The tensors of one alias; finds keys by the literal text that they hold."""

    def __init__(self, alias: str, origins: Mapping[str, Origin]) -> None:
        self.alias = alias
        self.origins = origins
        self._sorted: list[str] | None = None
        self._by_form: dict[str, list[str]] | None = None

    def candidates(self, matcher: Matcher) -> Iterable[str]:
        """The keys that can match: sorted where it has a literal prefix, else as they stand."""
        if matcher.literal:
            return (matcher.prefix,) if matcher.prefix in self.origins else ()
        if not matcher.prefix and not matcher.needle:
            return self.origins
        if self._sorted is None:
            self._sorted = sorted(self.origins)
        if len(self._sorted) >= LARGE and not _has_digits(matcher.prefix + matcher.needle):
            return self._of_forms(self._sorted, matcher)
        if not matcher.prefix:
            return self.origins
        start = bisect.bisect_left(self._sorted, matcher.prefix)
        return itertools.islice(self._sorted, start, _end(self._sorted, matcher.prefix, start))

    def _of_forms(self, keys: Sequence[str], matcher: Matcher) -> Iterable[str]:
        """The keys whose forms hold the matcher's literals: often those that it matches.

        A form is a key with `0` for each integer: there are few of them, even of a million keys.
        """
        if self._by_form is None:
            self._by_form = {}
            for key in keys:
                self._by_form.setdefault(_INTEGER.sub("0", key), []).append(key)
        found = [
            keys
            for form, keys in self._by_form.items()
            if form.startswith(matcher.prefix) and matcher.needle in form
        ]
        if found and not matcher.prefix:
            known = set(itertools.chain(*found))
            return (key for key in self.origins if key in known)
        return found[0] if len(found) == 1 else heapq.merge(*found)


def _has_digits(text: str) -> bool:
    return _INTEGER.search(text) is not None


def _end(keys: Sequence[str], prefix: str, start: int) -> int:
    """Where the sorted keys that begin with a prefix end: before the prefix with a later letter."""
    stem = prefix.rstrip(chr(sys.maxunicode))
    if not stem:
        return len(keys)
    return bisect.bisect_left(keys, stem[:-1] + chr(ord(stem[-1]) + 1), start)


Address = tuple[str, str]
"""A key with its alias."""


@dataclass(frozen=True, slots=True)
class TakenPart:
    """What a slice took of a key; `index` is the slice."""

    region: Taken
    rule: CompiledRule
    info: RuleInfo
    index: ConcreteIndex


class Takers(MutableMapping[Address, RuleInfo]):
    """Rules by the key that each took."""

    def __init__(self) -> None:
        self._by_alias: dict[str, dict[str, RuleInfo]] = {}

    def of(self, alias: str) -> dict[str, RuleInfo]:
        """The takers of one source's keys."""
        found = self._by_alias.get(alias)
        return self._by_alias.setdefault(alias, {}) if found is None else found

    def __getitem__(self, address: Address) -> RuleInfo:
        return self._by_alias[address[0]][address[1]]

    def __contains__(self, address: object) -> bool:
        if not isinstance(address, tuple):
            return False
        return address[1] in self._by_alias.get(address[0], ())

    def __setitem__(self, address: Address, info: RuleInfo) -> None:
        self.of(address[0])[address[1]] = info

    def __delitem__(self, address: Address) -> None:
        del self._by_alias[address[0]][address[1]]

    def __iter__(self) -> Iterator[Address]:
        return ((alias, key) for alias, keys in self._by_alias.items() for key in keys)

    def __len__(self) -> int:
        return sum(map(len, self._by_alias.values()))


@dataclass(slots=True)
class Holdings:
    """Who has taken which key of a stage, whole or in parts."""

    whole: Takers = field(default_factory=Takers)
    reused: dict[Address, RuleInfo] = field(default_factory=dict)
    parts: dict[Address, list[TakenPart]] = field(default_factory=dict)
    sliced: dict[Address, RuleInfo] = field(default_factory=dict)

    def taker(self, address: Address) -> RuleInfo | None:
        return self.whole.get(address)

    def used(self, address: Address) -> bool:
        """Whether any rule has read the key or a part of it."""
        return address in self.whole or address in self.reused or address in self.parts
