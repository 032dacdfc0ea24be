"""The folders that a pattern of paths leads through, looked at a part of the path at a time."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.language.expressions import Value
from ckptsurgeon.language.patterns import Literal, Matcher, Pattern, Piece, compile_pattern
from ckptsurgeon.language.rows import Row

MOST_ENTRIES = 100_000
"""Files and folders that are looked at for one pattern."""

NO_FOLDER = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""What an OS says of what is no folder, or a link that leads nowhere."""


class Found(NamedTuple):
    """A file with the values of its captures."""

    path: str
    row: Row


def in_order(found: Found) -> list[tuple[int, str]]:
    """Integers by value, also those in texts: 2 before 10."""
    return [key for value in (*found.row, found.path) for key in _natural(value)]


def _natural(value: Value) -> Iterator[tuple[int, str]]:
    for at, part in enumerate(re.split(r"([0-9]+)", str(value))):
        yield (int(part), "") if at % 2 else (-1, part)


@dataclass(slots=True)
class Search:
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
    def of(cls, pattern: Pattern) -> Search:
        parts = list(_split_parts(pattern))
        named = tuple(part for part in parts if part)
        return cls("" if parts[0] else "/", named, matchers_of(named), not parts[-1])

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


def matchers_of(parts: Iterable[tuple[Piece, ...]]) -> tuple[Matcher, ...]:
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
