"""Gathering problems, so that all of them are told at once."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
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
        except CkptSurgeonError as error:
            for problem in problems_of(error, place):
                lead = "" if isinstance(error, ProblemsError) else about
                self.add(f"{lead}{problem.message}", problem.place, problem.help)

    def raise_if_any(self, kind: type[ProblemsError]) -> None:
        if self._found:
            raise kind(sorted(self._found, key=_in_file_order))

    def __bool__(self) -> bool:
        return bool(self._found)

    def __len__(self) -> int:
        return len(self._found)


def problems_of(error: CkptSurgeonError, place: Place) -> tuple[Problem, ...]:
    """The problems that an error holds; one without any is a problem at this place."""
    if isinstance(error, ProblemsError):
        return error.problems
    help = error.help if isinstance(error, ExpressionError | PatternError) else ""
    return (Problem(str(error), place, help),)


def _in_file_order(problem: Problem) -> tuple[str, int, int]:
    place = problem.place
    return (place.file, place.line, place.column) if place else ("", 0, 0)


class Folded:
    """Problems of which a thousand may be alike: of each group the first, and how many more.

    `noun` and `of` say what there are more of: "step", "of this rule".
    """

    def __init__(self, problems: Problems, noun: str, of: str) -> None:
        self._problems, self._noun, self._of = problems, noun, of
        self._groups: dict[Hashable, tuple[Problem, int]] = {}

    def add(self, group: Hashable, problem: Problem) -> None:
        first, count = self._groups.get(group, (problem, -1))
        self._groups[group] = first, count + 1

    @contextmanager
    def at(self, group: Hashable, place: Place) -> Iterator[None]:
        """Notes an error of the body, and goes on behind it."""
        try:
            yield
        except CkptSurgeonError as error:
            self.add(group, problems_of(error, place)[0])

    def tell(self) -> None:
        """Hands over what was noted."""
        for problem, count in self._groups.values():
            more = f"; {count} more {self._noun}{'s' * (count > 1)} {self._of} likewise"
            message = problem.message + more if count else problem.message
            self._problems.add(message, problem.place, problem.help)
        self._groups.clear()

    def __len__(self) -> int:
        return len(self._groups)
