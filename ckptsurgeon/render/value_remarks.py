"""What of the values wants a look, a line for each kind of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from ckptsurgeon.render.columns import Aligned
from ckptsurgeon.render.sections import Section
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.render.view import View
from ckptsurgeon.report.values import ValueRemark, tell_values


def tell_remarks(remarks: Sequence[ValueRemark], view: View) -> Section:
    """The remarks with their keys: folded, one line for all of a kind."""
    lines = list(_list(remarks) if view.verbose else _fold(remarks))
    heads = ("tensor", "what", "") if view.verbose else ("what", "tensors")
    return Section("worth a look", "", lines, limit=len(lines), heads=heads)


def _list(remarks: Iterable[ValueRemark]) -> Iterator[Aligned]:
    return (Aligned((safe(remark.key), remark.text)) for remark in remarks)


def _fold(remarks: Iterable[ValueRemark]) -> Iterator[Aligned]:
    for kind, alike in groupby(remarks, attrgetter("kind")):
        some = tuple(alike)
        found, total = ([getattr(one, name) for one in some] for name in ("found", "total"))
        text = tell_values(kind, (min(found), max(found)), (min(total), max(total)))
        yield Aligned((text,), names=tuple(one.key for one in some))
