"""Gathering problems, so that all of them are told at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ckptsurgeon.errors import (
    CkptSurgeonError,
    ExpressionError,
    PatternError,
    Place,
    Problem,
    ProblemsError,
)


class Problems:
    """The problems found so far, each once."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}

    def add(self, message: str, place: Place | None = None, help: str = "") -> None:
        self._found.setdefault(Problem(message, place, help))

    @contextmanager
    def at(self, place: Place, about: str = "") -> Iterator[None]:
        """Notes an error of the body as a problem at this place, and goes on behind it.

        `about` goes before its message; an error that has places of its own keeps them.
        """
        try:
            yield
        except ProblemsError as error:
            self._found.update(dict.fromkeys(error.problems))
        except CkptSurgeonError as error:
            help = error.help if isinstance(error, ExpressionError | PatternError) else ""
            self.add(f"{about}{error}", place, help)

    def raise_if_any(self, kind: type[ProblemsError]) -> None:
        if self._found:
            raise kind(sorted(self._found, key=_in_file_order))

    def __bool__(self) -> bool:
        return bool(self._found)

    def __len__(self) -> int:
        return len(self._found)


def _in_file_order(problem: Problem) -> tuple[str, int, int]:
    place = problem.place
    return (place.file, place.line, place.column) if place else ("", 0, 0)
