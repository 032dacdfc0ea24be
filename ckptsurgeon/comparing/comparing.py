"""`diff`: two checkpoints compared tensor by tensor, by the values that they hold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from ckptsurgeon.checkpoints.several import Several
from ckptsurgeon.comparing.change import Compared
from ckptsurgeon.comparing.conditions import Conditions
from ckptsurgeon.comparing.difference import Difference, Row, Status
from ckptsurgeon.comparing.elements import compare_blocks
from ckptsurgeon.comparing.halves import A, B, Half, convert_half, open_half
from ckptsurgeon.comparing.moved import find_moved
from ckptsurgeon.comparing.notes import tell_beside
from ckptsurgeon.comparing.rows import is_searched, make_gone_row, make_moved_row, make_row
from ckptsurgeon.comparing.workers import Reader, Workers
from ckptsurgeon.engine.execution import refuse_changed, stamps_of
from ckptsurgeon.engine.mover import Progress, count_up
from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.language.rulesets import Rules
from ckptsurgeon.request import Config, Given, Into, Request, Root, Source, open_request
from ckptsurgeon.selecting import read_patterns, select
from ckptsurgeon.specs import UnreadableSpec
from ckptsurgeon.wanted import Size, check_count, read_size, require_progress
from ckptsurgeon.wording import AS_COMPARED, argument, calling, choose

Tell = Callable[[int, str], None]


@calling(**AS_COMPARED)
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
    then a dict by alias where they give several outputs. `root` is the wrapper to open in `a`, or a
    dict by alias in which "" is `a` and `dst` is `b`. `only` are patterns as rules have them, of
    which a key must match one.

    NaN equals NaN at the same place and -0.0 equals 0.0, unless bits are to be equal (`exact`).
    With a tolerance a value is close enough where |b - a| <= atol + rtol |b|, as in
    `torch.allclose`. `any_dtype` says that another dtype alone is no difference, nor is its
    rounding where there is no tolerance. `headers` compares
    no values; so it is where one of the two has none. `sizes` counts the differences of elements by
    powers of two, which takes a third more of time. `memory` bounds what is held of tensors
    (256 MiB) over all of `jobs` threads; `progress` is called with (bytes read, bytes in all, key).
    `one_shard` says that a file which is one shard of a set is meant, without the others.

    Raises CheckpointError for what can't be read, what `plan` raises for rules, ValueError for a
    size or a number of jobs below 1, and CkptSurgeonError for words that don't go together.
    """
    if rules is None and (variables or config is not None):
        given = choose("--set", "variables") if variables else argument("config")
        raise CkptSurgeonError(f"{given}: is for rules, and there are none")
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
    conditions = Conditions(
        exact=exact,
        atol=atol,
        rtol=rtol,
        any_dtype=any_dtype,
        headers=headers,
        sizes=sizes,
        only=read_patterns(only),
        rules=tuple(ruleset.file for ruleset in request.rulesets) if rules is not None else (),
    )
    conditions.check()
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
    for side in (*first.sides, *second.sides):
        if not side.has_values:
            conditions.refuse_shapes(side.path)
            conditions = replace(conditions, headers=True)
    stamps = {**stamps_of(first.checkpoints), **stamps_of(second.checkpoints)}
    rows = Comparison(workers, conditions, progress).rows()
    refuse_changed(stamps, "compare again")
    notes = [*tell_beside(first, second, has_entries=not conditions.only)]
    if not conditions.rules and {Status.ADDED, Status.GONE} <= {row.status for row in rows}:
        notes.append(("names", _tell_suggest()))
    return Difference(first.sides, second.sides, conditions, tuple(rows), tuple(notes))


def _tell_suggest() -> str:
    """What compares tensors that have other names and other values."""
    ways = choose("`suggest A B` and -r", "`suggest(a, b)` and `rules`")
    return f"of tensors with other names and other values none is compared: {ways} do that"


def _tell_several(name: str, are: str) -> str:
    rules = choose("-r RULES", "`rules`")
    return f"{choose(name, name.lower())}: several are {are}; give one of them, or {rules} for all"


def _open_halves(request: Request, *, are_converted: bool) -> tuple[Half, Half]:
    inputs = request.inputs
    if inputs.destination is None:
        raise CkptSurgeonError("b: nothing to compare with; name a checkpoint")
    if are_converted:
        return convert_half(request.prepare()), open_half(inputs.destination, B)
    if isinstance(inputs.destination, Several):
        raise CkptSurgeonError(_tell_several("B", "what rules give alone"))
    if len(inputs.sources) > 1:
        raise CkptSurgeonError(_tell_several("A", "one checkpoint by rules alone"))
    (source,) = inputs.sources.values()
    return open_half(source, A), open_half(inputs.destination, B)


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
        gone = [(key, spec) for key, spec in self.first.specs.items() if key not in placed]
        there = self.second.specs
        return [
            *rows.values(),
            *(
                make_gone_row(key, spec, is_replaced=key in there)
                for key, spec in (*gone, *self.first.left.items())
            ),
        ]

    def _count_bytes(self) -> int:
        specs = (*self.first.specs.values(), *self.second.specs.values())
        return sum(spec.nbytes for spec in specs)

    def _row(self, name: str, compared: Compared | None) -> Row:
        """The row of a tensor of B, as far as its own name tells."""
        before, after = self.first.specs.get(name), self.second.specs[name]
        is_kept = name in self.first.kept
        return make_row(name, before, after, compared, self.conditions, is_kept=is_kept)

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
        specs = self.first.specs[name], self.second.specs[name]
        return compare_blocks(first.blocks(name), second.blocks(name), *specs, self.conditions)

    def _moved(self, rows: Mapping[str, Row], tell: Tell) -> dict[str, Row]:
        """New rows for the tensors of B that have the values of others of A."""
        wanted = [name for name, row in rows.items() if is_searched(row)]
        own = {row.origin for row in rows.values() if row.origin and not is_searched(row)}
        names = [name for name in self.first.specs if name not in self.first.kept]
        left = [name for name in names if name not in own]
        settled = [name for name in names if name in own]
        are_rounded = not self.conditions.exact
        found = find_moved(self.workers, left, settled, wanted, tell, are_rounded=are_rounded)
        specs = self.first.specs
        return {
            name: make_moved_row(rows[name], origin.name, specs[origin.name], origin.is_copy)
            for name, origin in found.items()
        }
