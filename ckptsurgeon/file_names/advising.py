"""What may have been meant, where a pattern of paths reads no file, or not all."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec.structs import replace

from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import CheckpointError, TextError
from ckptsurgeon.file_names.searching import Search, in_order, matchers_of
from ckptsurgeon.file_names.sides import parse_sides
from ckptsurgeon.files import near_file
from ckptsurgeon.language.expressions import Value
from ckptsurgeon.language.patterns import (
    Capture,
    Kind,
    Literal,
    Pattern,
    Piece,
    compile_pattern,
    is_plain_integer,
)

SHOWN = 3
"""Files that a message names."""

COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def advise(search: Search) -> str:
    """What may have been meant, where no file matches."""
    if not search.parts:
        return "; it names the root folder alone"
    return _find_other_kind(search) or _find_nearest(search)


def tell_left_out(right: str) -> str:
    """What is to be said of files that the path `right` reads but for how many digits they have.

    That is `""` where there are none. A path that can't be read is told by `find_files`.
    """
    try:
        search = Search.of(parse_sides("a", right, "source").read)
        loose = _loosened(search)
        found, others = {one.path for one in search.find()}, sorted(loose.find(), key=in_order)
    except (CheckpointError, TextError):
        return ""
    of_digits = [at for at, name in enumerate(loose.columns) if name in _integers_of(search)]
    left = [
        one.path
        for one in others
        if one.path not in found and all(_is_number(one.row[at]) for at in of_digits)
    ]
    if not left:
        return ""
    own = ", ".join(map(_tell_capture, _integers_of(search).values()))
    have = "has" if len(left) == 1 else "have"
    return f"{list_some(left, SHOWN)} {have} another number of digits than {own}: not read"


def _find_other_kind(search: Search) -> str:
    """A file that matches but for what its integers are, and how these are captured."""
    other = _loosened(search)
    try:
        found = min(other.find(), key=in_order, default=None)
    except CheckpointError:  # too many: nothing can be said
        return ""
    if found is None:
        return ""
    values = dict(zip(other.columns, found.row, strict=True))
    named = _integers_of(search)
    fitting = {name: _fit(one, str(values[name])) for name, one in named.items()}
    changed = {name: kind for name, kind in fitting.items() if kind != named[name]}
    trial = Pattern(tuple(_exchange(piece, changed) for piece in search.pattern.pieces))
    path = found.path.removeprefix(search.root)
    if not changed or compile_pattern(trial, "/").match(path) is None:
        return ""
    what = _tell_text(str(values[next(iter(changed))]))
    return f"; {found.path} has {what}: {', '.join(map(_tell_capture, changed.values()))}"


def _integers_of(search: Search) -> dict[str, Capture]:
    captures = search.pattern.captures
    return {one.name: one for one in captures if one.kind is Kind.INT and not one.nameless}


def _loosened(search: Search) -> Search:
    """The search for the same with any text in the place of integers."""
    loose = tuple(tuple(map(_loosen, part)) for part in search.parts)
    return Search(search.root, loose, matchers_of(loose), search.of_folders)


def _loosen(piece: Piece) -> Piece:
    """An integer as any text."""
    if isinstance(piece, Capture) and piece.kind is Kind.INT:
        return replace(piece, kind=Kind.TEXT, width=0)
    return piece


def _exchange(piece: Piece, kinds: dict[str, Capture]) -> Piece:
    return kinds.get(piece.name, piece) if isinstance(piece, Capture) else piece


def _fit(capture: Capture, text: str) -> Capture:
    """The capture that reads a text: of its own kind, if it can be."""
    if not _is_number(text):
        return replace(capture, kind=Kind.TEXT, width=0)
    if capture.width == len(text) or (not capture.width and is_plain_integer(text)):
        return capture
    return replace(capture, width=0 if is_plain_integer(text) else len(text))


def _is_number(text: Value) -> bool:
    """Whether a text is digits, however many."""
    return isinstance(text, str) and text.isascii() and text.isdigit()


def _tell_text(text: str) -> str:
    if not _is_number(text):
        return f"{text!r} there"
    count = COUNTS[len(text)] if len(text) < len(COUNTS) else str(len(text))
    return f"{count} digit{'s' * (len(text) != 1)}"


def _tell_capture(capture: Capture) -> str:
    return str(capture) if capture.width or capture.kind is Kind.TEXT else f"<{capture.name}>"


def _find_nearest(search: Search) -> str:
    """The file whose name is nearest at the part of the path that nothing matched."""
    at = min(len(search.levels), len(search.parts)) - 1
    folder = search.root + search.levels[min(at, len(search.levels) - 1)][0]
    name = "".join(map(_sample, search.parts[at]))
    near = near_file(Path(folder or os.curdir) / name)
    if near:
        return f"; the nearest is {near}"
    if at < len(search.parts) - 1:
        return f"; there is no folder {Path(folder) / name}"
    return f"; {folder or 'the folder'} has none of that name"


def _sample(piece: Piece) -> str:
    """A text that the piece may read."""
    if isinstance(piece, Literal):
        return piece.text
    if not isinstance(piece, Capture) or piece.kind is Kind.TEXT:
        return ""
    return piece.words[0].left if piece.words else "0" * max(piece.width, 1)
