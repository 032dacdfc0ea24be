"""Lines that differ in a word alone told as one: `h.<0..11>.<query|key> <- l.<0..11>.<q|k>`."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.keys import Box
from ckptsurgeon.render.lines import Folded, Line

MOST_WORDS = 8
"""Words that one line tells."""

MOST_LINES = 2000
"""Lines that are held against each other; of more, few are shown."""


@dataclass(frozen=True, slots=True)
class Words:
    """Keys whose texts differ in one piece: they read as one, with the words in its place."""

    boxes: tuple[Folded, ...]

    @property
    def keys(self) -> Iterator[str]:
        """Every key, those of one text after the other."""
        return itertools.chain.from_iterable(box.keys for box in self.boxes)

    def __str__(self) -> str:
        rows = list(zip(*(_pieces(box) for box in self.boxes), strict=True))
        pieces = (row[0] if len(set(row)) == 1 else f"<{'|'.join(row)}>" for row in rows)
        return ".".join(pieces)


def join_words(boxes: Sequence[Folded]) -> list[Folded]:
    """The boxes, those that follow one another and differ in one word as one."""
    told: list[Folded] = []
    group: list[Folded] = []
    for box in boxes:
        if group and not _differ_in_a_word((*group, box)):
            told.append(_join(group))
            group = []
        group.append(box)
    return [*told, _join(group)] if group else told


def merge_lines(lines: Sequence[Line]) -> list[Line]:
    """The lines, those of one rule whose keys and origins differ in one word each as one."""
    if len(lines) > MOST_LINES:
        return list(lines)
    groups: dict[Hashable, list[list[Line]]] = {}
    for line in lines:
        alike = groups.setdefault(_kind(line), [])
        fitting = (group for group in alike if _fit([*group, line]))
        group = next(fitting, None) if _has_rule(line) else None
        if group is None:
            alike.append([line])
        else:
            group.append(line)
    order = {id(line): number for number, line in enumerate(lines)}
    merged = [group for alike in groups.values() for group in alike]
    return [_merge(group) for group in sorted(merged, key=lambda group: order[id(group[0])])]


def _has_rule(line: Line) -> bool:
    """Whether a rule gave it, whose words these can be."""
    return bool(line.label and line.label[-1])


def _kind(line: Line) -> Hashable:
    """What must be equal in lines that are told as one."""
    lengths = tuple(len(_pieces(box)) for box in (line.box, *line.origins))
    axes = tuple(_axes(box) for box in (line.box, *line.origins))
    return line.label, line.names, line.before, line.after, line.of_modules, lengths, axes


def _axes(box: Folded) -> Hashable:
    """The integers of a box that are more than one, so that words may hold others."""
    return tuple(axis for axis in box.axes if len(axis) > 1) if isinstance(box, Box) else None


def _fit(lines: Sequence[Line]) -> bool:
    """Whether lines of one kind differ in one word of their keys, and of each origin."""
    keys = [line.box for line in lines]
    columns = list(zip(*(line.origins for line in lines), strict=True))
    alike = all(len(set(map(str, column))) == 1 or _differ_in_a_word(column) for column in columns)
    return _differ_in_a_word(keys) and alike


def _differ_in_a_word(boxes: Sequence[Folded]) -> bool:
    """Whether texts differ in one piece, which is another one in each."""
    if len(boxes) > MOST_WORDS or len({len(_pieces(box)) for box in boxes}) > 1:
        return False
    rows = [set(row) for row in zip(*map(_pieces, boxes), strict=True)]
    varying = [row for row in rows if len(row) > 1]
    plain = not any(char in word for row in varying for word in row for char in "<|>")
    return len(varying) == 1 and len(varying[0]) == len(boxes) and plain


def _pieces(box: Folded) -> list[str]:
    return str(box).split(".")


def _join(boxes: Sequence[Folded]) -> Folded:
    return boxes[0] if len(boxes) == 1 else Words(tuple(boxes))


def _merge(lines: Sequence[Line]) -> Line:
    """One line for some that differ in a word."""
    if len(lines) == 1:
        return lines[0]
    columns = zip(*(line.origins for line in lines), strict=True)
    origins = (
        column[0] if len(set(map(str, column))) == 1 else Words(column) for column in columns
    )
    return replace(lines[0], box=Words(tuple(line.box for line in lines)), origins=tuple(origins))
