"""Files whose paths a pattern reads, each with the alias that is written for it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import CheckpointError, TextError
from ckptsurgeon.file_names.sides import Option, Sides, parse_sides, tell_word, told, write_texts
from ckptsurgeon.files import near_file
from ckptsurgeon.language.expressions import Value
from ckptsurgeon.language.patterns import (
    Capture,
    Kind,
    Literal,
    Matcher,
    Pattern,
    Piece,
    compile_pattern,
    is_plain_integer,
)
from ckptsurgeon.language.rows import Row

MOST_FILES = 4096
"""Files that one pattern may find."""

MOST_ENTRIES = 100_000
"""Files and folders that are looked at for one pattern."""

SHOWN = 3
"""Files that a message names."""

NO_FOLDER = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""What an OS says of what is no folder, or a link that leads nowhere."""

COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Found(NamedTuple):
    """A file with the values of its captures."""

    path: str
    row: Row


def find_files(left: str, right: str, option: Option = "source") -> list[tuple[str, str]]:
    """The files that the path `right` reads, in natural order, each behind its alias.

    `option` says who asks. Raises CheckpointError where none is found, where two have one alias,
    for an alias that is no name, and where there are too many.
    """
    place = tell_word(left, right, option)
    with told(place, CheckpointError):
        sides = parse_sides(left, right, option)
        search = _Search.of(sides.read)
        found = sorted(search.find(), key=_order)
    if not found:
        raise CheckpointError(f"{place}: no file matches{_advise(search)}")
    if len(found) > MOST_FILES:
        raise CheckpointError(
            f"{place}: {len(found):,} files match, at most {MOST_FILES:,}; name fewer by words, as "
            "`<r:0|1>`"
        )
    return _name_all(found, sides, search.columns, place)


def _name_all(
    found: Iterable[Found], sides: Sides, columns: Sequence[str], place: str
) -> list[tuple[str, str]]:
    """Each file behind its alias; raises CheckpointError where two have the same."""
    named: dict[str, str] = {}
    for path, row in found:
        with told(f"{place}: {path}", CheckpointError):
            scope = dict(zip(columns, row, strict=True))
            alias = "".join(text for _, text in write_texts(sides.written, scope))
        _check_alias(alias, path, place)
        if alias in named:
            raise CheckpointError(
                f"{place}: {named[alias]} and {path} are both {alias}: capture what tells them "
                "apart, and write it in the alias"
            )
        named[alias] = path
    return list(named.items())


def _check_alias(alias: str, path: str, place: str) -> None:
    if alias == DESTINATION:
        raise CheckpointError(f"{place}: {path}: the alias {alias} means the destination")
    if not re.fullmatch(r"[^\W\d]\w*", alias):
        raise CheckpointError(
            f"{place}: {path}: its alias would be {alias!r}, and an alias is a name of letters, "
            "digits and _; words rename: `<n:a-b=a_b>`"
        )


def _order(found: Found) -> list[tuple[int, str]]:
    """Integers by value, also those in texts: 2 before 10."""
    return [key for value in (*found.row, found.path) for key in _natural(value)]


def _natural(value: Value) -> Iterator[tuple[int, str]]:
    for at, part in enumerate(re.split(r"([0-9]+)", str(value))):
        yield (int(part), "") if at % 2 else (-1, part)


# --- the search -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Search:
    """The folders that are gone through, a part of the path at a time.

    `matchers` read the path up to the end of each part: links lead no deeper than the pattern. What
    is found is remembered up to the part that nothing matched.
    """

    root: str
    parts: tuple[tuple[Piece, ...], ...]
    matchers: tuple[Matcher, ...]
    of_folders: bool
    seen: int = 0
    levels: list[list[str]] = field(default_factory=lambda: [[""]])

    @classmethod
    def of(cls, pattern: Pattern) -> _Search:
        parts = list(_split_parts(pattern))
        named = tuple(part for part in parts if part)
        return cls("" if parts[0] else "/", named, _matchers_of(named), not parts[-1])

    @property
    def columns(self) -> tuple[str, ...]:
        return self.matchers[-1].columns if self.matchers else ()

    @property
    def pattern(self) -> Pattern:
        return list(_prefixes(self.parts))[-1]

    def find(self) -> Iterator[Found]:
        """The files that match the whole pattern."""
        for part, matcher in zip(self.parts, self.matchers, strict=True):
            found = list(self._matching(part, matcher))
            if not found:
                return
            self.levels.append(found)
        read = self.matchers[-1].row_reader() if self.matchers else _read_nothing
        for path in self.levels[-1]:
            row = read(path)
            if row is not None and (not self.of_folders or os.path.isdir(self.root + path)):
                yield Found(self.root + path, row)

    def _matching(self, part: tuple[Piece, ...], matcher: Matcher) -> Iterator[str]:
        """The paths, up to this part, that are there and match."""
        read = matcher.row_reader()
        literal = Pattern(part).literal
        for before in self.levels[-1]:
            lead = f"{before}/" if before else ""
            if literal is not None:
                if os.path.lexists(self.root + lead + literal):
                    yield lead + literal
                continue
            for name in self._list(before):
                if (name[0] != "." or _hides(part)) and read(lead + name) is not None:
                    yield lead + name

    def _list(self, folder: str) -> Iterator[str]:
        """The names in a folder; none of what is no folder."""
        try:
            with os.scandir(self.root + folder or os.curdir) as entries:
                for entry in entries:
                    self._count()
                    yield entry.name
        except (OSError, ValueError) as error:  # names that no file can have
            if getattr(error, "errno", None) in NO_FOLDER:
                return
            reason = getattr(error, "strerror", None) or error
            raise CheckpointError(f"{self.root + folder}: can't be listed: {reason}") from None

    def _count(self) -> None:
        self.seen += 1
        if self.seen > MOST_ENTRIES:
            raise CheckpointError(
                f"{self.root}{self.pattern}: more than {MOST_ENTRIES:,} files are in the folders "
                "that it looks through; name the folders"
            )


def _read_nothing(path: str) -> None:
    """Reads no path: of the root alone."""


def _matchers_of(parts: Iterable[tuple[Piece, ...]]) -> tuple[Matcher, ...]:
    """What reads the path up to each of its parts."""
    return tuple(compile_pattern(pattern, "/") for pattern in _prefixes(parts))


def _hides(part: tuple[Piece, ...]) -> bool:
    return isinstance(part[0], Literal) and part[0].text.startswith(".")


def _split_parts(pattern: Pattern) -> Iterator[tuple[Piece, ...]]:
    """The pieces of each folder's name and of the file's; nothing where slashes have none."""
    part: list[Piece] = []
    for piece in pattern.pieces:
        texts = piece.text.split("/") if isinstance(piece, Literal) else []
        for text in texts[:-1]:
            yield (*part, *([Literal(text)] if text else []))
            part = []
        last = Literal(texts[-1]) if texts else piece
        if not isinstance(last, Literal) or last.text:
            part.append(last)
    yield tuple(part)


def _prefixes(parts: Iterable[tuple[Piece, ...]]) -> Iterator[Pattern]:
    """The path up to each of its parts."""
    pieces: tuple[Piece, ...] = ()
    for part in parts:
        pieces = (*pieces, *((Literal("/"),) if pieces else ()), *part)
        yield Pattern(pieces)


def tell_left_out(right: str) -> str:
    """What is to be said of files that the path `right` reads but for how many digits they have.

    That is `""` where there are none. A path that can't be read is told by `find_files`.
    """
    try:
        search = _Search.of(parse_sides("a", right, "source").read)
        loose = _loosened(search)
        found, others = {one.path for one in search.find()}, sorted(loose.find(), key=_order)
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


# --- where none is found --------------------------------------------------------------------------


def _advise(search: _Search) -> str:
    """What may have been meant, where no file matches."""
    if not search.parts:
        return "; it names the root folder alone"
    return _find_other_kind(search) or _find_nearest(search)


def _find_other_kind(search: _Search) -> str:
    """A file that matches but for what its integers are, and how these are captured."""
    other = _loosened(search)
    try:
        found = min(other.find(), key=_order, default=None)
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


def _integers_of(search: _Search) -> dict[str, Capture]:
    captures = search.pattern.captures
    return {one.name: one for one in captures if one.kind is Kind.INT and not one.nameless}


def _loosened(search: _Search) -> _Search:
    """The search for the same with any text in the place of integers."""
    loose = tuple(tuple(map(_loosen, part)) for part in search.parts)
    return _Search(search.root, loose, _matchers_of(loose), search.of_folders)


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


def _find_nearest(search: _Search) -> str:
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
