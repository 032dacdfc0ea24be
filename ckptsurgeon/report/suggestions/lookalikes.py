"""Modules under another name: the only ones with these last names, shapes and repetitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass

from ckptsurgeon.keys import Point, Template, read_key, without_integers
from ckptsurgeon.language.patterns import write_literal
from ckptsurgeon.report.suggestions.exact import NAMES
from ckptsurgeon.report.suggestions.model import Degree, Keys, Specs, Suggestion
from ckptsurgeon.report.suggestions.writing import alias_prefix, arrow, quoted, sayable

Slot = tuple[Point, str]
"""Where a key stands in its group: its repetition, counted from 0, and its last name."""


@dataclass(frozen=True, slots=True)
class Group:
    """Keys whose modules have one template.

    `holes` are those whose integers differ, `lowest` the first integer of each, `point` the
    integers of one module; `name` is the last name of all the keys, or `*`.
    """

    template: Template
    holes: tuple[int, ...]
    lowest: Point
    point: Point
    keys: Mapping[Slot, str]
    name: str

    @property
    def module(self) -> str:
        """The last piece of the modules' names."""
        return next(iter(self.keys.values())).rpartition(".")[0].rpartition(".")[2]

    @property
    def fixed(self) -> Point:
        """The integers that are the same in all keys."""
        return tuple(n for hole, n in enumerate(self.point) if hole not in self.holes)

    @property
    def home(self) -> str:
        """The module in which the modules lie, whatever its integers."""
        return (
            without_integers(next(iter(self.keys.values()))).rpartition(".")[0].rpartition(".")[0]
        )

    def takes(self, point: Point, name: str) -> bool:
        """Whether the pattern matches a key of the template with these integers and name."""
        fixed = (hole for hole in range(len(point)) if hole not in self.holes)
        same = all(point[hole] == self.point[hole] for hole in fixed)
        return same and self.name in ("*", name)

    def signature(self, specs: Specs, named: bool) -> Hashable:
        """What makes two groups look alike; with the name of their modules if `named`."""
        shapes = frozenset((slot, specs[key].shape) for slot, key in self.keys.items())
        return shapes, self.module if named else ""

    def pattern(self, lowest: Point) -> str:
        """The keys as a pattern, whose integers count from `lowest` where they are read."""
        texts, widths = self.template
        written = text = ""
        for hole, part in enumerate(texts[:-1]):
            text += part
            if hole not in self.holes:
                text += f"{self.point[hole]:0{widths[hole]}d}"
                continue
            number = self.holes.index(hole)
            shift = self.lowest[number] - lowest[number]
            written += (write_literal(text) if text else "") + _hole(NAMES[number], shift)
            text = ""
        text += f"{texts[-1]}."
        return (
            written + write_literal(text) + (write_literal(self.name) if self.name != "*" else "*")
        )


def _hole(name: str, shift: int) -> str:
    return f"<{name}{shift:+d}>" if shift else f"<{name}>"


@dataclass(frozen=True, slots=True)
class Alike:
    """A group of spare keys and the group of missing ones that it looks like."""

    alias: str
    spare: Group
    missing: Group

    @property
    def pairs(self) -> Mapping[str, str]:
        return {key: self.missing.keys[slot] for slot, key in self.spare.keys.items()}


def find_alike(alias: str, spare: Specs, missing: Specs, keys: Keys) -> list[Alike]:
    """Pairs of groups that look like each other and like no third; first those of equal names."""
    found: list[Alike] = []
    for named in (True, False):
        gone = {key for one in found for pair in one.pairs.items() for key in pair}
        ours = _groups(key for key in spare if key not in gone)
        theirs = _groups(key for key in missing if key not in gone)
        found += _pair(alias, ours, theirs, spare, missing, named)
    exact = _sole((one.spare for one in found), keys.untaken(alias))
    return [one for one in found if one.spare.template in exact and _sayable(one)]


def agreeing(found: Collection[Alike], keys: Keys) -> list[Alike]:
    """Those that lie in one module and lead to one module, where several of equal names do.

    A lone name tells little: `attn.norm` is not `mlp.norm`. Nor do items of a list that other
    items are missing of, or that have other numbers: they may be counted from elsewhere.
    """
    whole = _sole((one.missing for one in found), keys.destination)
    homes: dict[tuple[str, str], dict[str, list[Alike]]] = {}
    for one in found:
        fixed = {one.spare.fixed, one.missing.fixed} - {()}
        same = one.spare.module == one.missing.module
        if same and one.missing.template in whole and len(fixed) < 2:
            name = without_integers(one.spare.module)
            homes.setdefault((one.spare.home, one.missing.home), {}).setdefault(name, []).append(
                one
            )
    sides = [Counter(pair[side] for pair in homes) for side in (0, 1)]
    return [
        one
        for (ours, theirs), by_name in homes.items()
        if len(by_name) > 1 and sides[0][ours] == sides[1][theirs] == 1
        for groups in by_name.values()
        for one in groups
    ]


def _pair(
    alias: str,
    ours: list[Group],
    theirs: list[Group],
    spare: Specs,
    missing: Specs,
    named: bool,
) -> list[Alike]:
    left, right = _by_signature(ours, spare, named), _by_signature(theirs, missing, named)
    return [
        Alike(alias, groups[0], right[signature][0])
        for signature, groups in left.items()
        if len(groups) == 1 and len(right.get(signature, ())) == 1 and len(groups[0].keys) > 1
    ]


def _by_signature(
    groups: Iterable[Group], specs: Specs, named: bool
) -> dict[Hashable, list[Group]]:
    found: dict[Hashable, list[Group]] = {}
    for group in groups:
        found.setdefault(group.signature(specs, named), []).append(group)
    return found


def _groups(keys: Iterable[str]) -> list[Group]:
    by_template: dict[Template, list[tuple[Point, str]]] = {}
    for key in keys:
        module, _, _ = key.rpartition(".")
        if module and all(key.split(".")):
            template, point = read_key(module)
            by_template.setdefault(template, []).append((point, key))
    return [_group(template, members) for template, members in by_template.items()]


def _group(template: Template, members: list[tuple[Point, str]]) -> Group:
    axes = [set(values) for values in zip(*(point for point, _ in members), strict=True)]
    holes = tuple(h for h, values in enumerate(axes) if len(values) > 1 and not template[1][h])
    lowest = tuple(min(axes[hole]) for hole in holes)
    slots = {}
    for point, key in members:
        place = tuple(point[h] - low for h, low in zip(holes, lowest, strict=True))
        slots[place, key.rpartition(".")[2]] = key
    names = {name for _, name in slots}
    name = names.pop() if len(names) == 1 else "*"
    return Group(template, holes, lowest, members[0][0], slots, name)


def _sole(found: Iterable[Group], universe: Iterable[str]) -> set[Template]:
    """The templates whose patterns take, of all these keys, those of their group alone."""
    groups = {group.template: group for group in found}
    left = {template: len(group.keys) for template, group in groups.items()}
    for key in universe if groups else ():
        module, _, name = key.rpartition(".")
        template, point = read_key(module)
        if template in groups and groups[template].takes(point, name):
            left[template] -= 1
    return {template for template, number in left.items() if number == 0}


def _sayable(one: Alike) -> bool:
    return all(sayable(key) for pair in one.pairs.items() for key in pair)


def alike_suggestion(one: Alike, degree: Degree) -> Suggestion:
    """The arrow that renames the group."""
    alias = alias_prefix(one.alias)
    number = len(one.spare.keys)
    first, like = next(iter(one.pairs.items()))
    return Suggestion(
        f"{number:,} keys such as {quoted(first)} have their only likeness in {quoted(like)}",
        arrow(alias + one.spare.pattern(one.spare.lowest), one.missing.pattern(one.spare.lowest)),
        degree,
    )
