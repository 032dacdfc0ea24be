"""Problems gathered: a reading fails by raising RulesetError, and its siblings go on regardless."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from ckptsurgeon.errors import Place, Problem, RulesetError, nearest

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Other = TypeVar("Other")

MAX_PROBLEMS = 200
"""Most problems told of one file: a file with more is not the one that was meant."""

MAX_SHOWN = 60


class Gathering:
    """Runs readings one by one and keeps the problems of those that fail, to raise all at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.failed = False

    def attempt(
        self,
        read: Callable[Parameters, Result],
        *args: Parameters.args,
        **options: Parameters.kwargs,
    ) -> Result | None:
        """What the reading gives, or None where it failed."""
        try:
            return read(*args, **options)
        except RulesetError as error:
            self.add(error.problems)
            return None

    def add(self, problems: Iterable[Problem]) -> None:
        self.problems += problems
        self.failed = True

    @property
    def full(self) -> bool:
        return len(self.problems) >= MAX_PROBLEMS

    def finish(self) -> None:
        """Raises RulesetError if anything failed."""
        if self.failed:
            raise RulesetError(self.problems)


def both(first: Callable[[], Result], second: Callable[[], Other]) -> tuple[Result, Other]:
    """What two readings give; if the first fails the second is tried, so that both are told."""
    try:
        result = first()
    except RulesetError as error:
        try:
            second()
        except RulesetError as further:
            raise RulesetError((*error.problems, *further.problems)) from None
        raise
    return result, second()


def wrong(place: Place, message: str, help: str = "") -> RulesetError:
    """The error of one problem at one place."""
    return RulesetError((Problem(message, place, help),))


def shown(text: str) -> str:
    """A text of a rule file in quotes, cut to a readable length, its odd characters escaped."""
    return repr(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…")


def suggestion(word: str, known: Iterable[str]) -> str:
    """`did you mean 'where'?`, or the list of what is known."""
    words = list(known)
    return nearest(word[:MAX_SHOWN], words) or f"known here: {', '.join(words)}"
