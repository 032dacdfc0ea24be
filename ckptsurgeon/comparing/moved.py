"""Tensors that stand in both halves under different names, found by their values."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from ckptsurgeon.comparing.halves import Half
from ckptsurgeon.comparing.workers import SHORT, Array, Reader, Workers
from ckptsurgeon.keys import prefixes_of
from ckptsurgeon.ops import carriers
from ckptsurgeon.ops.indexing import Region
from ckptsurgeon.specs import BITS, CARRIERS, FLOATING, TensorSpec, UnreadableSpec

DIGEST = 16
"""Bytes of a digest of a front; what has an equal one is read whole."""

HEAD = 1024
"""Items at the front of a tensor that must be equal before all of it is read."""


MOST_NAMES = 256
"""Tensors of equal values of which the one with the nearest name is looked for, and fronts."""


class Asked(NamedTuple):
    """A tensor of either half, as values of a dtype."""

    is_first: bool
    name: str
    dtype: str


class Seen(NamedTuple):
    """What is seen of a tensor's values: what is equal for equal ones, and whether all are one."""

    digest: bytes
    is_constant: bool = False


class Equals(NamedTuple):
    """The tensors of A and of B that have the same values; A's of B's dtype stand first."""

    exact: list[str]
    rounded: list[str]
    second: list[str]
    is_constant: bool

    @property
    def first(self) -> list[str]:
        return [*self.exact, *self.rounded]


@dataclass(frozen=True, slots=True)
class Origin:
    """The tensor of A that one of B has the values of; `is_copy` where A's stands elsewhere."""

    name: str
    is_copy: bool


def find_moved(
    workers: Workers,
    left: Collection[str],
    settled: Collection[str],
    wanted: Collection[str],
    tell: Callable[[int, str], None],
    *,
    are_rounded: bool,
) -> dict[str, Origin]:
    """The tensors of B among `wanted` that have the values of one of A under another name.

    `left` are A's tensors that have no place in B yet; what equals one of those that are `settled`
    is a copy. With `are_rounded`, floating values that were rounded to another dtype count as the
    same, while none became infinite. Values that are all one tell nothing alone: such a tensor goes
    where others with its front went.
    """

    def nbytes(asked: Asked) -> int:
        half = workers.first if asked.is_first else workers.second
        return half.specs[asked.name].nbytes

    def told(asked: Asked) -> None:
        tell(nbytes(asked), asked.name)

    asked = _ask(workers, [*left, *settled], wanted, are_rounded=are_rounded)
    heads = workers.run(asked, _see_head)
    alike = [one for group in _group(heads) for one in group]
    seen = workers.run(alike, _see_all, nbytes, told)
    groups = [_equals(group, seen, workers.first) for group in _group(seen)]
    return _choose(groups, dict.fromkeys(left))


def _ask(
    workers: Workers, sources: Sequence[str], wanted: Collection[str], *, are_rounded: bool
) -> list[Asked]:
    """The tensors that may have a partner, by dtype and number of elements."""
    own = {name: spec for name in wanted if (spec := _readable(workers.second.specs[name])).count}
    counts: dict[str, set[int]] = defaultdict(set)
    for spec in own.values():
        counts[spec.dtype].add(spec.count)
    found = [Asked(False, name, spec.dtype) for name, spec in own.items()]
    for name in sources:
        spec = _readable(workers.first.specs[name])
        found += [
            Asked(True, name, dtype)
            for dtype, known in counts.items()
            if spec.count in known
            and (spec.dtype == dtype or (are_rounded and _may_be_rounded(spec.dtype, dtype)))
        ]
    return found


def _may_be_rounded(*dtypes: str) -> bool:
    """Whether values of these dtypes can stand for each other."""
    return all(dtype in FLOATING and BITS[dtype] in CARRIERS for dtype in dtypes)


_NOTHING = TensorSpec("U8", (0,))


def _readable(spec: TensorSpec) -> TensorSpec:
    """The spec; one of no elements where there are no values to be read."""
    return _NOTHING if isinstance(spec, UnreadableSpec) else spec


def _group(seen: Mapping[Asked, Seen]) -> Iterator[list[Asked]]:
    """Those of both halves that look alike."""
    groups: dict[tuple[str, bytes], list[Asked]] = defaultdict(list)
    for asked, one in seen.items():
        groups[asked.dtype, one.digest].append(asked)
    return (group for group in groups.values() if len({one.is_first for one in group}) == 2)


def _equals(group: Sequence[Asked], seen: Mapping[Asked, Seen], first: Half) -> Equals:
    of_first = [one for one in group if one.is_first]
    return Equals(
        [one.name for one in of_first if first.specs[one.name].dtype == one.dtype],
        [one.name for one in of_first if first.specs[one.name].dtype != one.dtype],
        [one.name for one in group if not one.is_first],
        seen[group[0]].is_constant,
    )


# --- what is read ---------------------------------------------------------------------------------


def _see_head(asked: Asked, first: Reader, second: Reader) -> Seen:
    reader = first if asked.is_first else second
    spec = reader.half.specs[asked.name]
    is_long = spec.nbytes > SHORT and spec.carrier is not None
    part = reader.part(asked.name, _front(spec.shape)) if is_long else None
    block = next(reader.blocks(asked.name)) if part is None else part
    items = _as_dtype(block, spec, asked.dtype)[:HEAD]
    head = spec.count.to_bytes(8, "little") + items.tobytes()
    return Seen(hashlib.blake2b(head, digest_size=DIGEST).digest())  # of each tensor one is held


def _front(shape: tuple[int, ...]) -> Region:
    """The first items in row order, HEAD of them or some more."""
    region: list[range] = []
    inner = 1
    for size in reversed(shape):
        taken = min(size, -(-HEAD // inner))
        region.append(range(taken))
        inner *= taken
    return tuple(reversed(region))


def _see_all(asked: Asked, first: Reader, second: Reader) -> Seen:
    reader = first if asked.is_first else second
    spec = reader.half.specs[asked.name]
    digest, one, is_constant = hashlib.blake2b(), None, True
    for block in reader.blocks(asked.name):
        items = _as_dtype(block, spec, asked.dtype)
        if _became_infinite(block, spec, items, asked.dtype):
            return Seen(repr(asked).encode())  # no other one is equal to it
        one = items[:1].copy() if one is None else one
        is_constant = is_constant and bool((items == one).all())
        digest.update(np.ascontiguousarray(items).data)
    return Seen(digest.digest(), is_constant)


def _as_dtype(block: Array, spec: TensorSpec, dtype: str) -> Array:
    """The values of a block of bytes, in the carrier of a dtype."""
    if spec.carrier is None or spec.dtype == dtype:
        return block.view(spec.carrier or np.uint8)
    return carriers.encode(carriers.decode(block.view(spec.carrier), spec.dtype), dtype)


def _became_infinite(block: Array, spec: TensorSpec, items: Array, dtype: str) -> bool:
    """Whether a finite value has none in another dtype."""
    if spec.carrier is None or spec.dtype == dtype:
        return False
    finite = np.isfinite(carriers.decode(block.view(spec.carrier), spec.dtype))
    return bool((finite & ~np.isfinite(carriers.decode(items, dtype))).any())


# --- which goes where -----------------------------------------------------------------------------


def _choose(groups: Sequence[Equals], free: dict[str, None]) -> dict[str, Origin]:
    """An origin for each tensor of B that has one; `free` are A's that have no place yet."""
    telling = [group for group in groups if not group.is_constant]
    chosen: dict[str, Origin] = {}
    for group, names in (*((g, g.exact) for g in telling), *((g, g.rounded) for g in telling)):
        _pair(group.second, names, free, chosen)
    for group in telling:
        for name in group.second:
            if name not in chosen and (origin := _nearest(name, group.first)) is not None:
                chosen[name] = Origin(origin, is_copy=True)
    went: dict[str, dict[str, None]] = defaultdict(dict)
    for name, one in chosen.items():
        front, own = _fronts(one.name, name)
        went[own][front] = None
    for group in groups:
        if group.is_constant:
            chosen |= _follow(group, free, went)
    return chosen


def _pair(
    second: Sequence[str], names: Sequence[str], free: dict[str, None], chosen: dict[str, Origin]
) -> None:
    """Chooses for each of B the nearest of some names of A that are free."""
    waiting = dict.fromkeys(name for name in names if name in free)
    for name in second:
        origin = None if name in chosen else _nearest(name, waiting)
        if origin is not None:
            chosen[name] = Origin(origin, is_copy=False)
            del waiting[origin], free[origin]


def _nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of some names, of very many the first few, that is most like another one."""
    others = (one for one in names if one != name)
    return max(islice(others, MOST_NAMES), key=lambda one: _likeness(one, name), default=None)


def _likeness(one: str, other: str) -> tuple[int, int]:
    """How many pieces two names share at their ends, and at their fronts."""
    pieces, others = one.split("."), other.split(".")
    return _shared(pieces[::-1], others[::-1]), _shared(pieces, others)


def _shared(pieces: Sequence[str], others: Sequence[str]) -> int:
    pairs = enumerate(zip(pieces, others, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(pieces), len(others)))


def _fronts(one: str, other: str) -> tuple[str, str]:
    """Two names without the pieces that they share at their ends."""
    pieces, others = one.split("."), other.split(".")
    shared = _shared(pieces[::-1], others[::-1])
    return ".".join(pieces[: len(pieces) - shared]), ".".join(others[: len(others) - shared])


def _follow(
    group: Equals, free: dict[str, None], went: Mapping[str, Iterable[str]]
) -> Iterator[tuple[str, Origin]]:
    """Those of one value throughout, where others went the same way from one front to another."""
    names = set(group.first)
    for name in group.second:
        fronts = (*prefixes_of(name), "")
        origins = (
            _replace(name, own, front)
            for own in fronts
            for front in islice(went.get(own, ()), MOST_NAMES)
        )
        found = (one for one in origins if one in names and one in free and one != name)
        origin = next(found, None)
        if origin is not None:
            del free[origin]
            yield name, Origin(origin, is_copy=False)


def _replace(name: str, own: str, front: str) -> str:
    """A name with another front."""
    rest = name.removeprefix(own).removeprefix(".")
    return f"{front}.{rest}" if front else rest
