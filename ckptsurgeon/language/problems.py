"""Problems gathered, so that all of them are told at once.

There is one way: a reading or a compiling gives its result, or raises a ProblemsError. `Problems`
keeps what was raised, so that what stands beside it goes on regardless, and raises all at the end.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ckptsurgeon.errors import (
    CkptSurgeonError,
    Place,
    Problem,
    ProblemsError,
    RulesetError,
    nearest,
)
from ckptsurgeon.language.synonyms import find_meant

Item = TypeVar("Item")
Result = TypeVar("Result")
Other = TypeVar("Other")

MAX_PROBLEMS = 200
"""Most problems told of rule files: one with more is not the one that was meant."""

MAX_SHOWN = 60


class Problems:
    """The problems found so far, each once.

    It is true where anything failed, also where that was told elsewhere and adds no problem.
    """

    def __init__(self, *, failed: bool = False) -> None:
        self._found: dict[Problem, None] = {}
        self._failed = failed

    def add(self, message: str, place: Place | None = None, help: str = "") -> None:
        self.take((Problem(message, place, help),))

    def take(self, problems: Iterable[Problem]) -> None:
        """Keeps problems that were found elsewhere."""
        self._found.update(dict.fromkeys(problems))
        self._failed = self._failed or bool(self._found)

    @contextmanager
    def at(self, place: Place | None = None, about: str = "") -> Iterator[None]:
        """Keeps an error of the body as a problem at this place, and goes on behind it.

        `about` goes before its message; an error that has places of its own keeps them.
        """
        try:
            yield
        except ProblemsError as error:
            self.take(error.problems)
            self._failed = True
        except CkptSurgeonError as error:
            self.add(f"{about}{error}", place, getattr(error, "help", ""))

    def gather(self, read: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """What a reading gives for each item that it can read, until too many problems are kept."""
        found = []
        for item in items:
            with self.at():
                found.append(read(item))
            if self.full:
                break
        return found

    def raise_if_any(self, kind: type[ProblemsError] = RulesetError) -> None:
        """Raises an error of this kind if anything failed, its problems in the file's order."""
        if not self._failed:
            return
        found = sorted(self._found, key=_in_file_order)
        if kind is RulesetError and len(found) > MAX_PROBLEMS:
            more = Problem(f"more than {MAX_PROBLEMS} problems; the others are not listed")
            found = [*found[:MAX_PROBLEMS], more]
        raise kind(found)

    @property
    def full(self) -> bool:
        """Whether there are as many as are told of rule files."""
        return len(self._found) >= MAX_PROBLEMS

    def __bool__(self) -> bool:
        return self._failed

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)


def _in_file_order(problem: Problem) -> tuple[bool, str, int, int]:
    place = problem.place or Place("", 0, 0)
    return problem.place is None, place.file, place.line, place.column


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
        """Keeps the first problem of an error of the body, and goes on behind it."""
        found = Problems()
        with found.at(place):
            yield
        if problem := next(iter(found), None):
            self.add(group, problem)

    def run_each(
        self, group: Hashable, place: Place, run: Callable[..., Result], *columns: Iterable[object]
    ) -> list[Result | None]:
        """What a function gives for each row of some columns; None where it fails, which is kept.

        The columns end with the shortest.
        """
        results: list[Result | None] = []
        rows = zip(*columns, strict=False)
        while True:
            with self.at(group, place):
                results.extend(itertools.starmap(run, rows))  # keeps those before a failure
                return results
            results.append(None)

    def tell(self) -> None:
        """Hands over what was kept."""
        for problem, count in self._groups.values():
            more = f"; {count} more {self._noun}{'s' * (count > 1)} {self._of} likewise"
            message = problem.message + more if count else problem.message
            self._problems.add(message, problem.place, problem.help)
        self._groups.clear()

    def __len__(self) -> int:
        return len(self._groups)


def both(first: Callable[[], Result], second: Callable[[], Other]) -> tuple[Result, Other]:
    """What two readings give; the second is tried where the first fails, so that both are told."""
    problems = Problems()
    with problems.at():
        one = first()
    with problems.at():
        other = second()
    problems.raise_if_any()
    return one, other


def wrong(place: Place, message: str, help: str = "") -> RulesetError:
    """The error of one problem at one place."""
    return RulesetError((Problem(message, place, help),))


def told() -> RulesetError:
    """An error that adds nothing to what was told already."""
    return RulesetError(())


def shown(text: str) -> str:
    """A text of a rule file in quotes, cut to a readable length, its odd characters escaped."""
    return repr(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…")


def suggestion(word: str, known: Iterable[str]) -> str:
    """`did you mean 'where'?`, or the list of what is known."""
    words = list(known)
    meant = find_meant(word, words) or nearest(word, words)
    return meant or f"known here: {', '.join(words)}"
