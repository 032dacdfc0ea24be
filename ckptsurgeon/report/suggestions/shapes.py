"""Keys of another shape: heads are kept, larger tensors sliced, transposed ones turned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from ckptsurgeon.language.patterns import write_literal
from ckptsurgeon.plans.graph import RuleInfo
from ckptsurgeon.report.suggestions.exact import Glob, exact_globs, exact_key
from ckptsurgeon.report.suggestions.leftovers import keep_lines
from ckptsurgeon.report.suggestions.model import (
    Degree,
    Keys,
    Mismatch,
    Specs,
    Suggestion,
    placement,
)
from ckptsurgeon.report.suggestions.remedies import Remedy, find_remedy, find_resize
from ckptsurgeon.report.suggestions.writing import (
    alias_prefix,
    arrow,
    quoted,
    rule_lines,
    sayable,
)
from ckptsurgeon.specs import TensorSpec

MOST_LINES = 8
MOST_REMEDIES = 6
"""Remedies that are written out; each costs a pass over the keys, and nobody reads more."""


def shape_suggestions(mismatched: Sequence[Mismatch], keys: Keys) -> Iterator[Suggestion]:
    """A suggestion for every mismatch, those of one remedy and one rule together."""
    heads = _heads(mismatched)
    remedies: dict[tuple[Remedy, int], list[Mismatch]] = {}
    kept: dict[int, list[Mismatch]] = {}
    for one in mismatched:
        remedy = _remedy(one, heads, keys)
        if remedy is None:
            kept.setdefault(id(one.rule), []).append(one)
        else:
            remedies.setdefault((remedy, id(one.rule)), []).append(one)
    for group in list(kept.values())[:MOST_REMEDIES]:
        yield _keep(group, keys)
    differ = {one.key for one in mismatched}
    copied = {key: keys.destination[key] for key in keys.copied if key not in differ}
    groups = sorted(remedies.items(), key=lambda one: -len(one[1]))
    for (remedy, _), group in groups[:MOST_REMEDIES]:
        yield _apply(remedy, group, keys, copied)
    rest = [one for _, group in groups[MOST_REMEDIES:] for one in group]
    if rest:
        yield Suggestion(
            f"{_what(rest)}: shapes that differ in other ways, each wants its own rule",
            degree=Degree.OPEN,
        )


def _heads(mismatched: Iterable[Mismatch]) -> frozenset[str]:
    """Modules whose weight and bias both differ in dim 0 alone: another number of classes."""
    ranks: dict[str, set[bool]] = {}
    for one in mismatched:
        same = one.found.shape[1:] == one.wanted.shape[1:]
        if same and one.found.shape and one.wanted.shape:
            ranks.setdefault(one.key.rpartition(".")[0], set()).add(len(one.wanted.shape) > 1)
    return frozenset(module for module, both in ranks.items() if len(both) == 2)


def _remedy(one: Mismatch, heads: Collection[str], keys: Keys) -> Remedy | None:
    """What makes the shape fit; a head is never cut, its classes are others."""
    if one.origin is None or not (sayable(one.key) and sayable(one.origin)):
        return None
    if one.key.rpartition(".")[0] in heads:
        return None
    return find_resize(one) or find_remedy(one, keys)


def _apply(remedy: Remedy, group: Sequence[Mismatch], keys: Keys, copied: Specs) -> Suggestion:
    same = all(one.key == one.origin and not one.alias for one in group)
    number = Counter((one.found, one.wanted) for one in group)
    globs = _sides(group, keys) if same else [_pair(one) for one in group]
    lines = [
        arrow(glob.source + remedy.source_slice, glob.target + remedy.target_slice, remedy.op)
        for glob in globs[:MOST_LINES]
    ]
    found, wanted = next(iter(number))
    what = _what(group)
    rest = "" if len(globs) <= MOST_LINES else f" (the first {MOST_LINES} of {len(globs):,})"
    where = placement(group[0].rule, len(group))
    sentence = f"{what}: {remedy.reason} ({found} -> {wanted}){remedy.besides}{where}{rest}"
    return Suggestion(sentence, "\n".join(lines), _degree(remedy, group, copied))


def _degree(remedy: Remedy, group: Sequence[Mismatch], copied: Specs) -> Degree:
    """Likely where a part is lost, values are computed, or what is turned may be something else."""
    if not remedy.exact or any(one.degree is Degree.LIKELY for one in group):
        return Degree.LIKELY
    if remedy.op != "transpose":
        return Degree.SURE
    names = {one.key.rpartition(".")[2] for one in group}
    squares = any(_is_square(key, spec, names) for key, spec in copied.items())
    told = all(_bias_tells(one, copied) for one in group)
    return Degree.SURE if told and not squares else Degree.LIKELY


def _bias_tells(one: Mismatch, copied: Specs) -> bool:
    """Whether the module's bias fits both sides: widths that are swapped would change it, too."""
    bias = copied.get(f"{one.key.rpartition('.')[0]}.bias")
    return bias is not None and bias.shape == one.wanted.shape[:1]


def _is_square(key: str, spec: TensorSpec, names: Collection[str]) -> bool:
    shape = spec.shape
    return len(shape) == 2 and shape[0] == shape[1] > 1 and key.rpartition(".")[2] in names


def _sides(group: Sequence[Mismatch], keys: Keys) -> list[Glob]:
    return exact_globs([one.key for one in group], keys.sources.get("", ()))


def _pair(one: Mismatch) -> Glob:
    alias = alias_prefix(one.alias)
    return Glob(alias + write_literal(one.origin or ""), exact_key(one.key).target)


def _keep(group: Sequence[Mismatch], keys: Keys) -> Suggestion:
    """Keep or make the destination's; what a rule gives is dropped before that rule."""
    if any(one.rule and one.origin is None for one in group):
        step = "change its ops or its sizes"
        if all(_lacks_ones(one) for one in group):
            step = "a size of 1 is gone: `keepdim: true` of the op keeps it, or `reshape` makes it"
        return Suggestion(f"{_rule_gives(group[0].rule, group)}: {step}", degree=Degree.OPEN)
    lines = list(_drops([one for one in group if one.rule or one.origin != one.key], keys))
    specs = {one.key: one.wanted for one in group}
    what = _what(group)
    verb = "keep the destination's own" if keys.has_values else "make them anew"
    return Suggestion(
        f"{what}: another shape, {verb}{placement(group[0].rule, len(group))}",
        "\n".join([*lines, *keep_lines(specs, keys)]),
        Degree.OPEN,
    )


def _lacks_ones(one: Mismatch) -> bool:
    """Whether sizes of 1 are all that a shape lacks."""
    found, wanted = ([size for size in spec.shape if size != 1] for spec in (one.found, one.wanted))
    return found == wanted and len(one.found.shape) < len(one.wanted.shape)


def _what(group: Sequence[Mismatch]) -> str:
    """`conv1.weight`, or how many keys there are and one of them."""
    first = quoted(group[0].key)
    return first if len(group) == 1 else f"{len(group):,} keys such as {first}"


def _drops(group: Sequence[Mismatch], keys: Keys) -> Iterator[str]:
    origins: dict[str, list[str]] = {}
    for one in group:
        if one.origin:
            origins.setdefault(one.alias, []).append(one.origin)
    for alias, found in origins.items():
        name = alias_prefix(alias)
        globs = exact_globs(found, keys.sources.get(alias, ()), most=MOST_LINES)
        if globs:
            yield rule_lines("drop", [name + glob.source for glob in globs])


def _rule_gives(rule: RuleInfo | None, group: Sequence[Mismatch]) -> str:
    one = group[0]
    place = quoted(rule.place.file_line) if rule else "something"
    more = f" and {len(group) - 1:,} more" if len(group) > 1 else ""
    return f"{place} gives {quoted(one.key)}{more} as {one.found}, {one.wanted} is wanted"
