"""Folded keys taken apart: into the pieces that a tree is made of, and for the page's search."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence

from ckptsurgeon.keys import Box, Point, fold_keys, range_text
from ckptsurgeon.render.lines import Folded, Line
from ckptsurgeon.render.words import Words

Searched = str | list[int] | dict[str, list[list["Searched"]]]
"""A part of keys as the page's script reads it: a text, integers, or one of several lists of parts.

Integers are `[width, first, last, first, last, …]`.
"""

LONGEST_TEXT = 400
"""Characters of a text that the search knows."""

MOST_RUNS = 64
"""Runs of integers that it knows apart; of more it knows the first and the last integer."""

MOST_NAMES = 100
"""Names of a module's tensors that it knows, and origins of a line."""


def pieces_of(folded: Folded, alias_apart: bool = False) -> tuple[str, ...]:
    """`blocks`, `<0..11>`, `weight`: the text of keys, cut at their dots.

    `alias_apart` cuts at the first `::` as well.
    """
    if isinstance(folded, Words):
        columns = itertools.zip_longest(
            *(pieces_of(box, alias_apart) for box in folded.boxes), fillvalue=""
        )
        return tuple(_one_of(column) for column in columns)
    assert isinstance(folded, Box)  # there is no third kind
    texts, widths = folded.template
    pieces = [""]
    for text, hole in itertools.zip_longest(texts, map(range_text, folded.axes, widths)):
        first, *others = text.split(".")
        pieces[-1] += first
        pieces += others
        pieces[-1] += hole or ""
    if alias_apart:
        alias, mark, rest = pieces[0].partition("::")
        pieces[:1] = [alias, rest] if mark else [pieces[0]]
    return tuple(pieces)


def _one_of(words: Sequence[str]) -> str:
    different = list(dict.fromkeys(words))
    return different[0] if len(different) == 1 else f"<{'|'.join(different)}>"


def searched_keys(folded: Folded) -> list[Searched]:
    """The keys as the search reads them."""
    if isinstance(folded, Words):
        return [{"any": [searched_keys(box) for box in folded.boxes]}]
    assert isinstance(folded, Box)  # there is no third kind
    texts, widths = folded.template
    found: list[Searched] = []
    for text, axis, width in itertools.zip_longest(texts, folded.axes, widths):
        found.append(text[:LONGEST_TEXT])
        if axis is not None:
            found.append([width, *_runs(axis)])
    return [one for one in found if one != ""]


def _runs(axis: Point) -> list[int]:
    """The first and the last integer of each run."""
    runs: list[int] = []
    for value in axis:
        if runs and value == runs[-1] + 1:
            runs[-1] = value
        else:
            runs += [value, value]
    return runs if len(runs) <= 2 * MOST_RUNS else [axis[0], axis[-1]]


def searched_origins(line: Line) -> tuple[Searched, ...]:
    """The keys that those of a line come from, as the search reads them; none where they stay."""
    texts = {str(one): one for one in itertools.islice(line.origins, MOST_NAMES)}
    texts.pop(str(line.box), None)
    return ({"any": list(map(searched_keys, texts.values()))},) if texts else ()


def searched_names(names: Iterable[str]) -> list[Searched]:
    """Names of siblings as the search reads them."""
    boxes = fold_keys(itertools.islice(names, MOST_NAMES))
    alternatives = list(map(searched_keys, boxes))
    return alternatives[0] if len(alternatives) == 1 else [{"any": alternatives}]


def write_searched(searched: Sequence[Searched]) -> str:
    """What the page's script reads, in pure ASCII."""
    return json.dumps(searched, separators=(",", ":"))
