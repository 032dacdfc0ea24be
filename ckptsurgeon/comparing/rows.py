"""The row of each tensor: what it is in the other checkpoint, by specs and by values."""

from __future__ import annotations

from ckptsurgeon.comparing.change import Change, Compared
from ckptsurgeon.comparing.conditions import Conditions
from ckptsurgeon.comparing.difference import Row, Status
from ckptsurgeon.specs import TensorSpec, UnreadableSpec, shapes_agree


def make_row(
    name: str,
    before: TensorSpec | None,
    after: TensorSpec,
    compared: Compared | None,
    conditions: Conditions,
    *,
    is_kept: bool,
) -> Row:
    """The row of a tensor of B, as far as its own name tells; `is_kept` says that it is B's own."""
    if before is None:
        return Row(name, Status.ADDED, "", None, after)
    change, rank = compared or (None, 0)
    rows = 0
    if change is not None and before.count != after.count:
        rows = min(before.shape[0], after.shape[0])
    status = Status.KEPT if is_kept else _find_status(before, after, change, conditions)
    return Row(name, status, name, before, after, change, rows, rank)


def _find_status(
    before: TensorSpec, after: TensorSpec, change: Change | None, conditions: Conditions
) -> Status:
    if not shapes_agree(before, after):
        return Status.RESHAPED
    if isinstance(before, UnreadableSpec) or isinstance(after, UnreadableSpec):
        are_alike = conditions.headers and before == after
        return Status.ALIKE if are_alike else Status.UNREADABLE
    if before.dtype != after.dtype and not conditions.any_dtype:
        return Status.RETYPED
    if change is None:
        return Status.ALIKE
    if change.are_equal:
        return Status.EQUAL
    if change.are_close:
        return Status.CLOSE
    is_rounded = change.is_rounded and not conditions.is_loose  # else the tolerance decides
    return Status.ROUNDED if is_rounded else Status.CHANGED


def make_moved_row(row: Row, origin: str, before: TensorSpec, is_copy: bool) -> Row:
    """The row of a tensor that has the values of another one of A."""
    return Row(row.key, Status.COPIED if is_copy else Status.MOVED, origin, before, row.after)


def make_gone_row(name: str, spec: TensorSpec, *, is_replaced: bool) -> Row:
    """The row of a tensor of A that B lacks; `is_replaced` as in Row."""
    return Row(name, Status.GONE, name, spec, None, is_replaced=is_replaced)


def is_searched(row: Row) -> bool:
    """Whether a tensor of B may have come from another one of A.

    That is none whose values, all of them, are those under its own name, if rounded.
    """
    if row.status in (Status.CHANGED, Status.RETYPED, Status.RESHAPED):
        change = row.change
        if change is None or row.rows or (row.spec.count and not change.count):
            return True
        return not change.is_rounded
    return row.status is Status.ADDED
