"""How two checkpoints differ: a row for every tensor of both, and the whole."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec

from ckptsurgeon.comparing.change import Change, add_changes
from ckptsurgeon.comparing.conditions import Conditions
from ckptsurgeon.keys import prefixes_of
from ckptsurgeon.ops.ranges import COMPLEX
from ckptsurgeon.report.sides import Side, Tally, count_tensors
from ckptsurgeon.showing import Paged
from ckptsurgeon.specs import FLOATING, TensorSpec, human_bytes, plural


class Status(enum.Enum):
    """What a tensor of A or B is in the other."""

    EQUAL = "equal"
    CLOSE = "within tolerance"
    ROUNDED = "rounded"  # to another dtype, which is no difference where that was said
    ALIKE = "alike"  # by their headers: values were not compared
    KEPT = "kept"  # B's own, by a rule
    MOVED = "moved"
    COPIED = "copied"
    CHANGED = "other values"
    RETYPED = "other dtype"
    RESHAPED = "other shape"
    ADDED = "added"
    GONE = "gone"
    UNREADABLE = "unreadable"


SAME = (Status.EQUAL, Status.CLOSE, Status.ROUNDED, Status.ALIKE, Status.KEPT)
"""The statuses that are no difference."""

OTHERS = (Status.CHANGED, Status.RETYPED, Status.RESHAPED)
"""The statuses of what is in both, and other than it was."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """A tensor of B, or one of A that B lacks.

    `key` is B's (A's where it is gone), `origin` the key in A ("" where it is added), `before` and
    `after` the specs there; `is_replaced` says that B has another tensor under the key of one that
    is gone. `change` is of the values, where they were compared; where shapes
    differ, of the first `rows` on dim 0, or of all elements in order (0). `rank` is that of b - a,
    where it is low (as of a merged LoRA), else 0.
    """

    key: str
    status: Status
    origin: str
    before: TensorSpec | None
    after: TensorSpec | None
    change: Change | None = None
    rows: int = 0
    rank: int = 0
    is_replaced: bool = False

    @property
    def differs(self) -> bool:
        return self.status not in SAME

    @property
    def came_from(self) -> str:
        """The key in A, where that is another one; "" where it is not."""
        return self.origin if self.origin != self.key else ""

    @property
    def spec(self) -> TensorSpec:
        """The spec in B, or in A where B has none."""
        spec = self.after or self.before
        if spec is None:
            raise ValueError(f"{self.key} is of neither checkpoint")
        return spec

    @property
    def part(self) -> Change | None:
        """What the change is in those of its modules and of the whole.

        Integers (counters, indices, masks) are counted; how far they moved says nothing of weights.
        """
        dtypes = {spec.dtype for spec in (self.before, self.after) if spec is not None}
        are_integers = dtypes.isdisjoint(FLOATING | COMPLEX)
        return self.change.counts if self.change is not None and are_integers else self.change


@dataclass(frozen=True, eq=False, repr=False)
class Difference(Paged):
    """What `diff` found. `rows` are B's tensors in its order, then those of A that B lacks.

    `sources` are A, or what A was made of by rules; `others` are B. `notes` say what else a user
    should know: what readers said, ties, entries, and what was not compared.
    """

    sources: tuple[Side, ...]
    others: tuple[Side, ...]
    conditions: Conditions
    rows: tuple[Row, ...]
    notes: tuple[tuple[str, str], ...] = ()

    @cached_property
    def by_status(self) -> Mapping[Status, Sequence[Row]]:
        """The rows of each status, in order."""
        found: dict[Status, list[Row]] = {status: [] for status in Status}
        for row in self.rows:
            found[row.status].append(row)
        return found

    @cached_property
    def counts(self) -> Mapping[Status, Tally]:
        """Tensors and bytes (B's, A's where B has none) by status."""
        rows = self.by_status.items()
        return {status: count_tensors(row.spec for row in own) for status, own in rows}

    @cached_property
    def whole(self) -> Change:
        """The change of all values that were compared; integers are just counted."""
        return add_changes(row.part for row in self.rows if row.part is not None)

    @cached_property
    def modules(self) -> Mapping[str, Change]:
        """The change of the values in each module, by its path, as in the whole; "" is that."""
        found: dict[str, list[Change]] = {}
        for row in self.rows:
            if row.part is not None:
                for path in prefixes_of(row.key):
                    found.setdefault(path, []).append(row.part)
        modules = {path: add_changes(changes) for path, changes in found.items() if path}
        return {"": self.whole, **modules}

    @property
    def equal(self) -> bool:
        """Whether nothing differs of what was compared: `conditions.headers` says if no values.

        Where all is B's own by rules, nothing was.
        """
        return not any(row.differs for row in self.rows) and not self._are_kept

    @property
    def _are_kept(self) -> bool:
        """Whether all tensors are B's own, and there are some."""
        return bool(self.rows) and all(row.status is Status.KEPT for row in self.rows)

    def __bool__(self) -> bool:
        """Raises TypeError: it could mean that they are equal, or that they differ."""
        raise TypeError("a difference is neither true nor false: ask for its `equal`")

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 0 equal, 1 different, 2 where that can't be told."""
        if self.equal:
            return 0
        differing = (row.status for row in self.rows if row.differs)
        return 1 if any(status is not Status.UNREADABLE for status in differing) else 2

    @property
    def farthest(self) -> Row | None:
        """The tensor whose values moved farthest, by relative L2; None where none did.

        Rounding to another dtype moves nothing, and integers don't move. What came to be NaN or
        infinite comes first, what was zero last.
        """
        moved = [
            ((part.lost > 0, part.base > 0, part.distance if part.base else part.largest), row)
            for row in self.rows
            if (part := row.part) is not None
            and (part.squares or part.lost)
            and not part.is_rounded
        ]
        return max(moved, key=lambda pair: pair[0])[1] if moved else None

    @property
    def summary(self) -> str:
        """The bottom line."""
        return self.bottom_line

    @property
    def bottom_line(self) -> str:
        """The one sentence to read where there is no time for more."""
        number = plural(len(self.rows), "tensor")
        if self._are_kept:
            return f"can't be told: {number}, B's own by `keep`, and nothing to compare"
        if not self.equal:
            how = "different" if self.exit_code == 1 else "can't be told"
            return f"{how}: {', '.join(self._told())}; {self._tell_same(number)}{self._tell_lost()}"
        kept = self.counts[Status.KEPT].tensors
        told = (
            f", of which {kept:,} {'is' if kept == 1 else 'are'} B's own by `keep`" if kept else ""
        )
        if self.conditions.headers:
            same = "names and shapes" if self.conditions.any_dtype else "names, dtypes and shapes"
            return f"alike: {number} of the same {same}{told}; values were not compared"
        rows = [*self.by_status[Status.CLOSE], *self.by_status[Status.ROUNDED]]
        if rows:
            changes = (row.change for row in rows if row.change is not None)
            largest = f"max |Δ| {add_changes(changes).largest:.1e}"
            loose = self.conditions.is_loose
            how = f"within {self.conditions.tolerance}" if loose else "but for dtypes' rounding"
            return f"equal {how}: {number}{told}, {largest}"
        how = "bit for bit" if self.conditions.exact else "in every value"
        size = human_bytes(count_tensors(row.spec for row in self.rows).nbytes)
        return f"equal {how}: {number}, {size}{told}"

    def _tell_same(self, number: str) -> str:
        """How many tensors are the same, and in what way."""
        counts = [(self.counts[status].tensors, status.value) for status in SAME]
        told = [(f"{count:,}", how) for count, how in counts if count]
        if not told:
            return "no tensor is equal"
        (count, how), *others = told
        are = "is" if count == "1" else "are"
        return ", ".join([f"{count} of {number} {are} {how}", *map(" ".join, others)])

    def _tell_lost(self) -> str:
        """In how many tensors NaN or infinities stand against other values."""
        lost = sum(row.change is not None and row.change.lost > 0 for row in self.rows)
        return f"; NaN or infinity against other values in {lost:,}" if lost else ""

    def _told(self) -> Iterator[str]:
        for status, tally in self.counts.items():
            if status not in SAME and tally.tensors:
                of = "with " if status in OTHERS else ""
                yield f"{tally.tensors:,} {of}{status.value}"
