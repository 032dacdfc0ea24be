"""The paths of outputs, made of their aliases: these hold texts of strangers' keys."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from ckptsurgeon.errors import OutputError
from ckptsurgeon.file_names.sides import parse_sides, tell_word, told, write_texts
from ckptsurgeon.language.expressions import Scope
from ckptsurgeon.language.patterns import Literal, Pattern, compile_pattern
from ckptsurgeon.language.rows import Row
from ckptsurgeon.visible import visible

LONGEST_NAME = 255
"""Bytes that a file's name may have."""


@dataclass(frozen=True, slots=True)
class OutputName:
    """`rank<r>=tp4/mp_rank_<r:02>.pt`: which aliases it names, and where their files go."""

    left: str
    right: str
    _columns: tuple[str, ...]
    _read: Callable[[str], Row | None]
    _path: Pattern

    @classmethod
    def parse(cls, left: str, right: str) -> OutputName:
        """The name that `left=right` says; raises OutputError for what says none."""
        with told(tell_word(left, right, "output"), OutputError):
            sides = parse_sides(left, right, "output")
            matcher = compile_pattern(sides.read, "/")
        return cls(left, right, matcher.columns, matcher.row_reader(), sides.written)

    def path_of(self, alias: str) -> str | None:
        """The path of an output; None for one that this doesn't name.

        Raises OutputError for a text that would lead out of its folder, or that no name can have.
        """
        row = self._read(alias.replace("/", "_"))  # which no capture reads
        if row is None:
            return None
        if "/" in alias:
            raise _refused(alias)
        with told(str(self), OutputError):
            path = self._write(dict(zip(self._columns, row, strict=True)))
        _check_lengths(path)
        return path

    def _write(self, scope: Scope) -> str:
        path = ""
        for piece, text in write_texts(self._path, scope):
            if not isinstance(piece, Literal):
                _check_captured(text, first=path.endswith("/") or not path)
            path += text
        return path

    def __str__(self) -> str:
        return tell_word(self.left, self.right, "output")


def _check_captured(text: str, *, first: bool) -> None:
    """Raises OutputError for a text that may not be a part of a path.

    `first` says that it begins the name of a file or a folder, which a dot would hide.
    """
    odd = text in ("", ".", "..") or "/" in text or "\\" in text or visible(text) != text
    if odd or (first and text.startswith(".")):
        raise _refused(text)


def _refused(text: str) -> OutputError:
    return OutputError(f'"{visible(text)}" can\'t be part of a file name')


def _check_lengths(path: str) -> None:
    for name in path.split("/"):
        if len(os.fsencode(name)) > LONGEST_NAME:
            raise OutputError(
                f"{name[:40]}… is a file name of {len(os.fsencode(name))} bytes; at most "
                f"{LONGEST_NAME}"
            )
