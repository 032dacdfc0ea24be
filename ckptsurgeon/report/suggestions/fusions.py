"""Many keys that are the bytes of few: experts to be stacked, q, k and v to be split or joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from ckptsurgeon.report.suggestions.bundles import (
    STACKED,
    WORD,
    Family,
    Skeleton,
    find_families,
    joined_shapes,
    read_skeleton,
    shapes_of,
    word_sizes,
)
from ckptsurgeon.report.suggestions.model import Degree, Keys, Specs, Suggestion
from ckptsurgeon.report.suggestions.writing import alias_prefix, arrow, quoted, sayable
from ckptsurgeon.specs import TensorSpec

MOST_RIVALS = 1000
"""Pairs of families of the same shapes that are looked at; more than that are never sole."""

KINDS = ((True, True), (True, False), (False, True))
"""Words and stacks, words alone, stacks alone: what says most comes first."""


@dataclass(frozen=True, slots=True)
class Fusion:
    """A family of parts, that of the tensors which they make, and the dim that the words share.

    `joins` says that the parts are the source's.
    """

    parts: Family
    whole: Family
    dim: int | None
    joins: bool

    @property
    def source(self) -> Family:
        return self.parts if self.joins else self.whole

    @property
    def target(self) -> Family:
        return self.whole if self.joins else self.parts


def find_fusions(spare: Specs, missing: Specs) -> list[Fusion]:
    """The fusions that shapes and repetitions allow, where they allow just one."""
    found: list[Fusion] = []
    if not spare or not missing:
        return found
    for words, stacked in KINDS:
        for joins in (True, False):
            parts, whole = (spare, missing) if joins else (missing, spare)
            gone = {key for one in found for side in (one.parts, one.whole) for key in side.keys}
            found += _find(_left(parts, gone), _left(whole, gone), words, stacked, joins)
    return found


def _left(specs: Specs, gone: set[str]) -> Specs:
    return {key: spec for key, spec in specs.items() if key not in gone}


def _find(parts: Specs, whole: Specs, words: bool, stacked: bool, joins: bool) -> Iterator[Fusion]:
    families = list(find_families(parts, words, stacked))
    if not families:
        return
    wholes: dict[Hashable, list[Family]] = {}
    for family in find_families(whole, words=False, stacked=False):
        wholes.setdefault(family.signature(shapes_of(family, whole)), []).append(family)
    rivals: dict[Hashable, list[Fusion]] = {}
    for family in families:
        for dim, shapes in joined_shapes(family, parts):
            signature = family.signature(shapes)
            fitting = wholes.get(signature, [])
            known = rivals.setdefault(signature, [])
            if len(known) <= MOST_RIVALS:
                known += (Fusion(family, one, dim, joins) for one in fitting)
    taken: set[str] = set()
    for one in (one for fusions in rivals.values() for one in _sole(fusions)):
        keys = {*one.parts.keys, *one.whole.keys}
        if not keys & taken:
            taken |= keys
            yield one


def _sole(fusions: list[Fusion]) -> list[Fusion]:
    """Of those in one module, or else of all, the ones whose families have no second partner."""
    near = [one for one in fusions if _in_module(one)]
    chosen = near or fusions
    if len(chosen) > MOST_RIVALS:
        return []
    partners = Counter(id(family) for one in chosen for family in (one.parts, one.whole))
    return [one for one in chosen if partners[id(one.parts)] == partners[id(one.whole)] == 1]


def _in_module(one: Fusion) -> bool:
    module = one.parts.module
    return one.whole.skeleton[: len(module)] == module


# --- as text --------------------------------------------------------------------------------------


def fusion_suggestions(
    alias: str, fusions: list[Fusion], spare: Specs, missing: Specs, keys: Keys
) -> Iterator[Suggestion]:
    """The arrows that stack, join, split and unstack: no shape tells in which order they stand."""
    exact = _exact(fusions, keys.untaken(alias)) if fusions else set()
    for number, one in enumerate(fusions):
        parts = spare if one.joins else missing
        line = _line(alias, one, parts) if number in exact else ""
        yield Suggestion(_sentence(one, spare, missing), line, Degree.LIKELY)


def _exact(fusions: list[Fusion], untaken: Iterable[str]) -> set[int]:
    """The numbers of the fusions whose patterns take, of the untaken keys, their own alone."""
    readers: dict[Skeleton, list[int]] = {}
    for number, one in enumerate(fusions):
        for skeleton in one.source.plain:
            readers.setdefault(skeleton, []).append(number)
    left = [len(one.source.keys) for one in fusions]
    fixed = [one.source.fixed for one in fusions]
    for key in untaken:
        if (read := read_skeleton(key)) is None:
            continue
        for number in readers.get(read[0], ()):
            left[number] -= all(read[1][hole] == value for hole, value in fixed[number].items())
    return {number for number, count in enumerate(left) if count == 0}


def _line(alias: str, one: Fusion, parts: Specs) -> str:
    if not all(sayable(key) for family in (one.parts, one.whole) for key in family.keys):
        return ""
    ops = _ops(one, parts)
    if not ops:
        return ""
    name = alias_prefix(alias)
    lowest, wanted = one.source.lowest, one.target.lowest
    shifts = [new - old for old, new in zip(lowest, wanted, strict=True)]
    source = one.source.pattern([0] * len(lowest))
    return arrow(name + source, one.target.pattern(shifts), ops)


def _ops(one: Fusion, parts: Specs) -> str:
    """The ops of the arrow; "" where the words' shares are not the same everywhere."""
    if one.dim is None:
        return "stack" if one.joins else "unstack"
    both = one.parts.stacked is not None
    if one.joins:
        if both:
            return f"[stack: {{over: {STACKED}}}, concat: {{over: {WORD}, dim: {one.dim}}}]"
        return f"{{concat: {one.dim}}}" if one.dim else "concat"
    shares = word_sizes(one.parts, parts, one.dim)
    if len(shares) > 1:
        return ""
    sizes = list(next(iter(shares)))
    words = [f"sizes: {sizes}"] if len(set(sizes)) > 1 else []
    if both:
        fields = ", ".join([f"over: {WORD}", f"dim: {one.dim}", *words])
        return f"[split: {{{fields}}}, unstack: {{over: {STACKED}}}]"
    if words:
        return f"{{split: {{dim: {one.dim}, {words[0]}}}}}"
    return f"{{split: {one.dim}}}" if one.dim else "split"


def _sentence(one: Fusion, spare: Specs, missing: Specs) -> str:
    source = _number(one.source.keys, spare)
    target = _number(one.target.keys, missing)
    have = "has" if len(one.source.keys) == 1 else "have"
    sentence = f"{source} {have} the bytes of {target}"
    if one.parts.words:
        order = ", ".join(one.parts.words)
        return f"{sentence}; that they stand as {order} is a guess, names don't prove it: verify"
    return sentence


def _number(keys: list[str], specs: Specs) -> str:
    first = f"{quoted(keys[0])} {specs[keys[0]]}"
    return first if len(keys) == 1 else f"{len(keys):,} keys such as {first}"


# --- what no names tell ---------------------------------------------------------------------------


def equal_bytes(spare: Specs, missing: Specs) -> list[tuple[list[str], list[str]]]:
    """Spare keys of a shape that are as many elements as the missing ones of another shape.

    Only where no second shape is as many.
    """
    ours, theirs = _by_total(spare), _by_total(missing)
    return [
        (ours[total][0], theirs[total][0])
        for total in ours
        if len(ours[total]) == len(theirs.get(total, ())) == 1
        and spare[ours[total][0][0]].shape != missing[theirs[total][0][0]].shape
        and len(ours[total][0]) != len(theirs[total][0])
    ]


def _by_total(specs: Specs) -> dict[int, list[list[str]]]:
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for key, spec in specs.items():
        if spec.floating and spec.count > 1:
            by_shape.setdefault(spec.shape, []).append(key)
    totals: dict[int, list[list[str]]] = {}
    for shape, keys in by_shape.items():
        totals.setdefault(TensorSpec("F32", shape).count * len(keys), []).append(keys)
    return totals


def equal_bytes_suggestion(
    ours: list[str], theirs: list[str], spare: Specs, missing: Specs
) -> Suggestion:
    """In words: which ops would make the ones of the others."""
    have = "has" if len(ours) == 1 else "have"
    ops = "`stack` or `concat`" if len(ours) > len(theirs) else "`split` or `unstack`"
    return Suggestion(
        f"{_number(ours, spare)} {have} the bytes of {_number(theirs, missing)}:"
        f" if they belong together, {ops} makes the one from the other",
        degree=Degree.OPEN,
    )
