"""Files that are numbered by their order, or by their names: holes, steps, and where they begin."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ckptsurgeon.keys import INTEGER
from ckptsurgeon.plans.account import Note

OF_FILES = "files"
"""The kind of these notes."""

MOST_NAMES, LONGEST = 4, 60
"""Files that are named of those that are not there, and characters that the names may take."""

MOST_FILES = 100_000
"""More than this is believed of no name."""

OF = re.compile(r"[-_ ]of[-_ ]", re.IGNORECASE)
"""What stands between a file's number and how many there are."""


class File(NamedTuple):
    """A file with the alias that it has got, its name in texts, and the numbers between these."""

    alias: str
    name: str
    texts: tuple[str, ...]
    digits: tuple[str, ...]
    numbers: tuple[int, ...]

    def __str__(self) -> str:
        return f"`{self.alias}` is {self.name}"


def number_notes(
    pattern: str, numbered: Sequence[tuple[str, str]], *, holes_alone: bool = False
) -> Iterator[Note]:
    """Where numbers in the names of files have holes, go by steps, or don't begin at 0.

    `numbered` are aliases and paths in order, `pattern` is the path with a star that they match.
    Where aliases have the files' own numbers, holes alone are worth a word.
    """
    folder = os.path.commonpath([os.path.dirname(path) for _, path in numbered])
    groups: dict[tuple[str, ...], list[File]] = {}
    for alias, path in numbered:
        file = _read(alias, os.path.relpath(path, folder or os.curdir))
        groups.setdefault(file.texts, []).append(file)
    for files in groups.values():
        varying = _find_varying(files)
        if len(numbered) == 1 and os.path.dirname(pattern) == folder:
            varying = _find_starred(os.path.basename(pattern), files[0])
        if varying:
            yield from (Note(OF_FILES, text) for text in _tell(files, varying, holes_alone))


def _read(alias: str, name: str) -> File:
    parts = INTEGER.split(name)
    numbers = tuple(map(int, parts[1::2]))
    return File(alias, name, tuple(parts[::2]), tuple(parts[1::2]), numbers)


def _find_varying(files: Sequence[File]) -> list[int]:
    """Which numbers of the names differ; only one where it tells all files apart."""
    columns = list(enumerate(map(set, zip(*(one.numbers for one in files), strict=True))))
    whole = [(max(ns) - min(ns), at) for at, ns in columns if len(ns) == len(files) > 1]
    return [min(whole)[1]] if whole else [at for at, numbers in columns if len(numbers) > 1]


def _find_starred(pattern: str, only: File) -> list[int]:
    """Which number of the only file's name the star stands for, if any."""
    before = re.split(r"[*?[]", pattern)[0].rstrip("0123456789")
    at = len(INTEGER.findall(before))
    return [at] if at < len(only.digits) else []


def _tell(files: Sequence[File], varying: Sequence[int], holes_alone: bool) -> Iterator[str]:
    """What is to be said of files whose names differ in these numbers alone."""
    axes = [_find_range(files, at) for at in varying]
    there = {_place(one, varying) for one in files}
    holes = math.prod(map(len, axes)) - len(there)
    if len(axes) > 1 and holes > len(there):  # they make no grid
        return
    if holes:
        one, *others = axes  # the only one may be long
        points = itertools.product(*axes) if others else ((number,) for number in one)
        lost = itertools.islice((point for point in points if point not in there), MOST_NAMES)
        yield _tell_lost(files, varying, list(lost), holes)
    if holes_alone:
        return
    steps = [axis.step for axis in axes if axis.step > 1]
    yield from (f"{files[1]}: the files count by {step:,}" for step in steps[:1])
    starts = [min(one.numbers[at] for one in files) for at in varying]
    yield from (f"{files[0]}: the files count from {start:,}" for start in filter(None, starts[:1]))


def _place(one: File, varying: Sequence[int]) -> tuple[int, ...]:
    return tuple(one.numbers[at] for at in varying)


def _find_range(files: Sequence[File], at: int) -> range:
    """The numbers that files should have: up to the highest, or to the one behind an `-of-`."""
    numbers = sorted({one.numbers[at] for one in files})
    first, last = numbers[0], numbers[-1]
    if len(files[0].digits) > at + 1 and OF.fullmatch(files[0].texts[at + 1]):
        first, total = min(first, 1), files[0].numbers[at + 1]
        return range(first, max(last, min(total, MOST_FILES) - (first == 0)) + 1)
    steps = {after - before for before, after in itertools.pairwise(numbers)}
    return range(first, last + 1, steps.pop() if len(numbers) > 2 and len(steps) == 1 else 1)


def _tell_lost(
    files: Sequence[File], varying: Sequence[int], lost: Sequence[tuple[int, ...]], count: int
) -> str:
    """Which files are not there, and the alias that the next one has got for it."""
    behind = next((one for one in files if _place(one, varying) > lost[0]), None)
    names = [_write(files, varying, point) for point in lost]
    while len(names) > 1 and len(", ".join(names)) > LONGEST:
        names.pop()
    more = f" and {count - len(names):,} more" if count > len(names) else ""
    lead = "" if behind is None else f"{behind}: "
    return f"{lead}{', '.join(names)}{more} {'is' if count == 1 else 'are'} not there"


def _write(files: Sequence[File], varying: Sequence[int], point: Sequence[int]) -> str:
    """The name that a file with these numbers would have, or the number where others vary too."""
    digits = list(files[0].digits)
    if any(len({one.digits[at] for one in files}) > 1 for at in {*range(len(digits))} - {*varying}):
        return f"number {point[0]}"
    for at, number in zip(varying, point, strict=True):
        widths = [len(one.digits[at]) for one in files if one.digits[at][0] == "0"]
        digits[at] = f"{number:0{min(widths, default=0)}d}"
    parts = itertools.zip_longest(files[0].texts, digits, fillvalue="")
    return "".join(map("".join, parts))
