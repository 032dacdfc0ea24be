"""`diff`: two checkpoints compared tensor by tensor, by the values that they hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from itertools import starmap

from ckptsurgeon.checkpoints.several import Several
from ckptsurgeon.comparing.change import Change, Compared, Measure
from ckptsurgeon.comparing.difference import Conditions, Difference, Row, Status
from ckptsurgeon.comparing.elements import compare_blocks
from ckptsurgeon.comparing.halves import A, B, Half, converted_half, half_of
from ckptsurgeon.comparing.moved import Origin, find_moved
from ckptsurgeon.comparing.notes import tell_beside
from ckptsurgeon.comparing.workers import Reader, Workers
from ckptsurgeon.engine.execution import refuse_changed, stamps_of
from ckptsurgeon.engine.mover import Progress, count_up
from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.language.rulesets import Rules
from ckptsurgeon.request import Config, Given, Into, Request, Root, Source, open_request
from ckptsurgeon.selecting import read_patterns, select
from ckptsurgeon.specs import TensorSpec, UnreadableSpec
from ckptsurgeon.wanted import Size, check_count, read_size, require, require_progress
from ckptsurgeon.wording import argument, choose

Tell = Callable[[int, str], None]


def diff(
    a: Source | None,
    b: Into,
    *,
    rules: Rules | None = None,
    sources: Mapping[str, Source] | None = None,
    config: Config | None = None,
    variables: Given | None = None,
    root: Root | None = None,
    one_shard: bool = False,
    only: str | Collection[str] = (),
    exact: bool = False,
    atol: float = 0.0,
    rtol: float = 0.0,
    any_dtype: bool = False,
    headers: bool = False,
    sizes: bool = True,
    memory: Size | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Difference:
    """How `b` differs from `a`: keys, dtypes, shapes, and how far which values moved.

    Both are paths, factories by name, dicts of tensors, models or open checkpoints. With `rules`
    (and `sources`, `config`, `variables`, as in `plan`) what they make of `a` is compared; `b` is
    then a dict by alias where they give several outputs. `root` is the wrapper to open in both, or
    a dict by alias in which "" is `a` and `dst` is `b`. `only` are patterns as rules have them, of
    which a key must match one.

    NaN equals NaN at the same place and -0.0 equals 0.0, unless bits are to be equal (`exact`).
    With a tolerance a value is close enough where |b - a| <= atol + rtol |b|, as in
    `torch.allclose`. `any_dtype` says that another dtype alone is no difference. `headers` compares
    no values; so it is where one of the two has none. `sizes` counts the differences of elements by
    powers of two, which takes a third more of time. `memory` bounds what is held of tensors
    (256 MiB) over all of `jobs` threads.

    Raises CheckpointError for what can't be read, what `plan` raises for rules, and
    CkptSurgeonError for words that don't go together.
    """
    limits = read_size(memory, "memory"), check_count(jobs, "jobs")
    request = open_request(
        rules,
        a,
        b,
        sources=sources,
        config=config,
        variables=variables,
        root=root,
        one_shard=one_shard,
    )
    names = tuple(ruleset.file for ruleset in request.rulesets) if rules is not None else ()
    conditions = Conditions(
        exact, atol, rtol, any_dtype, headers, sizes, read_patterns(only), names
    )
    _refuse_words(conditions)
    require_progress(progress)
    first, second = _open_halves(request, are_converted=rules is not None)
    if conditions.only:
        chosen = select(conditions.only, (*first.specs, *first.left, *second.specs), "A and B")
        first, second = first.restrict(chosen), second.restrict(chosen)
    return _compare_halves(Workers(first, second, *limits), conditions, progress)


def _compare_halves(
    workers: Workers, conditions: Conditions, progress: Progress | None
) -> Difference:
    """The difference of two halves; by headers alone where one of them has no values."""
    first, second = workers.first, workers.second
    shapes = [half for half in (first, second) if not half.has_values]
    if shapes and (conditions.exact or conditions.tolerance):
        raise CkptSurgeonError(_tell_no_values(shapes[0], conditions))
    if shapes:
        conditions = replace(conditions, headers=True)
    stamps = {**stamps_of(first.checkpoints), **stamps_of(second.checkpoints)}
    rows = Comparison(workers, conditions, progress).rows()
    refuse_changed(stamps, "compare again")
    return Difference(
        first.sides,
        second.sides,
        conditions,
        tuple(rows),
        tuple(tell_beside(first, second, has_entries=not conditions.only)),
    )


def _tell_no_values(half: Half, conditions: Conditions) -> str:
    """Why values can't be compared as somebody asked."""
    side = next(side for side in half.sides if not side.has_values)
    names = ("exact",) if conditions.exact else ("atol", "rtol")
    asked = " and ".join(argument(name) for name in names if getattr(conditions, name))
    return f"{side.path}: holds shapes alone, no values; name the weights, or leave out {asked}"


def _refuse_words(conditions: Conditions) -> None:
    """Raises CkptSurgeonError for words of other kinds, and for those that don't go together."""
    for name in ("exact", "any_dtype", "headers", "sizes"):
        require(name, getattr(conditions, name), bool, "true or false")
    for name, value in (("atol", conditions.atol), ("rtol", conditions.rtol)):
        require(name, value, (int, float), "a number")
        if not 0 <= value < math.inf:
            told = argument(name, str(value), str(value))
            raise CkptSurgeonError(f"{told}: wanted a number from 0 on")
    exact, headers = argument("exact", "", "True"), argument("headers", "", "True")
    if conditions.exact and (conditions.tolerance or conditions.any_dtype):
        raise CkptSurgeonError(
            f"{exact}: bits are equal or not; leave it out, or the tolerance and any dtype"
        )
    if conditions.headers and (conditions.tolerance or conditions.exact):
        raise CkptSurgeonError(
            f"{headers}: no values are compared; leave it out, or the tolerance and exact bits"
        )


def _tell_several(name: str, are: str) -> str:
    rules = choose("-r RULES", "`rules`")
    return f"{choose(name, name.lower())}: several are {are}; give {rules}, or one of them"


def _open_halves(request: Request, *, are_converted: bool) -> tuple[Half, Half]:
    inputs = request.inputs
    if inputs.destination is None:
        raise CkptSurgeonError("b: nothing to compare with; name a checkpoint")
    if are_converted:
        return converted_half(request.prepare()), half_of(inputs.destination, B)
    if isinstance(inputs.destination, Several):
        raise CkptSurgeonError(_tell_several("B", "what rules give alone"))
    if len(inputs.sources) > 1:
        raise CkptSurgeonError(_tell_several("A", "one checkpoint by rules alone"))
    (source,) = inputs.sources.values()
    return half_of(source, A), half_of(inputs.destination, B)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two halves, by several threads, under some conditions; `progress` hears of bytes read."""

    workers: Workers
    conditions: Conditions
    progress: Progress | None = None

    @property
    def first(self) -> Half:
        return self.workers.first

    @property
    def second(self) -> Half:
        return self.workers.second

    def rows(self) -> list[Row]:
        """B's tensors in its order, then those of A that B has under no name."""
        tell = count_up(self.progress, self._count_bytes())
        compared = self._compare_values(tell)
        rows = {name: self._row(name, compared.get(name)) for name in self.second.specs}
        rows |= {} if self.conditions.headers else self._moved(rows, tell)
        placed = {row.origin for row in rows.values()}
        specs = {k: spec for k, spec in self.first.specs.items() if k not in placed}
        return [*rows.values(), *starmap(_gone_row, (*specs.items(), *self.first.left.items()))]

    def _count_bytes(self) -> int:
        specs = (*self.first.specs.values(), *self.second.specs.values())
        return sum(spec.nbytes for spec in specs)

    # --- values -----------------------------------------------------------------------------------

    def _compare_values(self, tell: Tell) -> dict[str, Compared]:
        """The changes of all tensors whose values can be compared, the largest first."""
        if self.conditions.headers:
            return {}
        names = [name for name in self.second.specs if self._is_comparable(name)]

        def nbytes(name: str) -> int:
            return self.first.specs[name].nbytes + self.second.specs[name].nbytes

        return self.workers.run(names, self._compare, nbytes, lambda name: tell(nbytes(name), name))

    def _is_comparable(self, name: str) -> bool:
        before, after = self.first.specs.get(name), self.second.specs[name]
        if before is None or name in self.first.kept:
            return False
        if isinstance(before, UnreadableSpec) or isinstance(after, UnreadableSpec):
            return False
        are_rows = bool(before.shape and after.shape) and before.shape[1:] == after.shape[1:]
        return before.count == after.count or are_rows

    def _compare(self, name: str, first: Reader, second: Reader) -> Compared:
        asked = self.conditions
        measure = Measure(asked.atol, asked.rtol, asked.exact, asked.sizes)
        specs = self.first.specs[name], self.second.specs[name]
        return compare_blocks(first.blocks(name), second.blocks(name), *specs, measure)

    # --- rows -------------------------------------------------------------------------------------

    def _row(self, name: str, compared: Compared | None) -> Row:
        """The row of a tensor of B, as far as its own name tells."""
        before, after = self.first.specs.get(name), self.second.specs[name]
        if before is None:
            return Row(name, Status.ADDED, "", None, after)
        change, rank = compared or (None, 0)
        rows = 0
        if change is not None and before.count != after.count:
            rows = min(before.shape[0], after.shape[0])
        return Row(
            name, self._status(name, before, after, change), name, before, after, change, rows, rank
        )

    def _status(
        self, name: str, before: TensorSpec, after: TensorSpec, change: Change | None
    ) -> Status:
        if name in self.first.kept:
            return Status.KEPT
        if isinstance(before, UnreadableSpec) or isinstance(after, UnreadableSpec):
            return Status.UNREADABLE
        if before.shape != after.shape:
            return Status.RESHAPED
        if before.dtype != after.dtype and not self.conditions.any_dtype:
            return Status.RETYPED
        if change is None:
            return Status.ALIKE
        if change.are_equal:
            return Status.EQUAL
        return Status.CLOSE if change.are_close else Status.CHANGED

    def _moved(self, rows: Mapping[str, Row], tell: Tell) -> dict[str, Row]:
        """New rows for the tensors of B that have the values of others of A."""
        wanted = [name for name, row in rows.items() if _is_searched(row)]
        own = {row.origin for row in rows.values() if row.origin and not _is_searched(row)}
        names = [name for name in self.first.specs if name not in self.first.kept]
        left = [name for name in names if name not in own]
        settled = [name for name in names if name in own]
        are_rounded = not self.conditions.exact
        found = find_moved(self.workers, left, settled, wanted, tell, are_rounded=are_rounded)
        return {name: self._moved_row(rows[name], origin) for name, origin in found.items()}

    def _moved_row(self, row: Row, origin: Origin) -> Row:
        status = Status.COPIED if origin.is_copy else Status.MOVED
        return Row(row.key, status, origin.name, self.first.specs[origin.name], row.after)


def _gone_row(name: str, spec: TensorSpec) -> Row:
    """The row of a tensor of A that B lacks."""
    unreadable = isinstance(spec, UnreadableSpec)
    return Row(name, Status.UNREADABLE if unreadable else Status.GONE, name, spec, None)


def _is_searched(row: Row) -> bool:
    """Whether a tensor of B may have come from another one of A."""
    if row.change is not None and row.status is Status.RETYPED:
        return not row.change.is_rounded
    if row.change is not None and row.status is Status.RESHAPED and not row.rows:
        return not row.change.is_rounded
    return row.status in (Status.ADDED, Status.CHANGED, Status.RETYPED, Status.RESHAPED)
