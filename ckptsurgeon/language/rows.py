"""Captures as rows of values, and what is worked out of rows once for equal values."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from ckptsurgeon.language.expressions import Value

K = TypeVar("K")
V = TypeVar("V")

Row = tuple[Value, ...]
"""Values of captures, in an order that is known from elsewhere."""


class Memo(dict[K, V]):
    """What a function gives, by what it was given."""

    def __init__(self, function: Callable[[K], V]) -> None:
        self._function = function

    def __missing__(self, key: K) -> V:
        value = self[key] = self._function(key)
        return value


class OfRow(Generic[V]):
    """What is worked out of some columns of a row; other names are not its own to know."""

    def __init__(
        self,
        names: Iterable[str],
        columns: Sequence[str],
        work_out: Callable[[Mapping[str, Value]], V],
    ) -> None:
        known = [name for name in columns if name in frozenset(names)]
        self.pick: Callable[[Row], Hashable]
        self.memo: Memo[Any, V]
        if len(known) == 1:  # as is most often asked for
            self.pick = operator.itemgetter(columns.index(known[0]))
            self.memo = Memo(lambda value: work_out({known[0]: value}))
        else:
            self.pick = pick_columns([columns.index(name) for name in known])
            self.memo = Memo(lambda row: work_out(dict(zip(known, row, strict=True))))

    def __call__(self, row: Row) -> V:
        return self.memo[self.pick(row)]


def pick_columns(numbers: Sequence[int]) -> Callable[[Row], Row]:
    """What takes these columns out of a row, in this order."""
    if len(numbers) > 1:
        return operator.itemgetter(*numbers)
    if not numbers:
        return lambda row: ()
    return operator.itemgetter(slice(numbers[0], numbers[0] + 1))
