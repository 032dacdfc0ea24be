"""Everything this package raises, and where in a rule file it happened.

CkptSurgeonError            exit code 2 unless said otherwise
├── CheckpointError         a file that can't be read as a checkpoint
├── OutputError             an output that can't be written
├── ShapeError              an op that does not fit the tensors it is given
├── TextError               a text of a rule
│   ├── ExpressionError     an expression that can't be read or evaluated
│   └── PatternError        a pattern that can't be read
└── ProblemsError           one or more located problems, told together
    ├── RulesetError        of a rule file in itself
    ├── PlanError           of a rule file against its checkpoints
    └── FindingsError       a plan whose result would not fit (exit code 1)
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ckptsurgeon.visible import visible


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands in a rule file: `file:line:column`, both counted from 1.

    `text` is the whole line, for the caret. `via` is where the file was included, if it was; a file
    that is included twice has its mistakes once. A rule from the API or `-e` has a made-up file
    name.
    """

    file: str
    line: int
    column: int
    text: str = ""
    via: str = field(default="", compare=False, repr=False)

    @property
    def file_line(self) -> str:
        """`rules.yaml:4`: file and line, for lists."""
        return f"{self.file}:{self.line}"

    def __str__(self) -> str:
        return f"{self.file_line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: place, what was found and wanted, and the next step."""

    message: str
    place: Place | None = None
    help: str = ""

    def __str__(self) -> str:
        message = _shorten(self.message)
        lines = [f"{self.place}: {message}" if self.place else message]
        if self.place and self.place.text.strip():
            lines += _excerpt(self.place)
        if self.place and self.place.via:
            lines.append(f"  included at {self.place.via}")
        if self.help:
            lines.append(f"  help: {_shorten(self.help)}")
        return "\n".join(map(visible, lines))


LONGEST_MESSAGE = 2000
"""Longest message, and longest help, that an error shows as a text."""


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}…"


EXCERPT_WIDTH = 100
"""Longest part of a line that an error shows; the part around the caret is kept."""


def _excerpt(place: Place) -> list[str]:
    text = place.text.replace("\t", " ")
    at = max(0, min(place.column - 1, len(text)))  # a saved plan may say anything
    if len(text) > EXCERPT_WIDTH:
        start = max(0, min(at - EXCERPT_WIDTH // 2, len(text) - EXCERPT_WIDTH))
        text, at = text[start : start + EXCERPT_WIDTH], at - start
    return [f"    {text.rstrip()}", "    " + " " * at + "^"]


class CkptSurgeonError(Exception):
    """The root of all errors that a user can cause."""

    exit_code = 2


class CheckpointError(CkptSurgeonError):
    """A checkpoint that can't be read: says the file, what was found, and what was wanted."""


class OutputError(CkptSurgeonError):
    """An output that can't be written."""


class ShapeError(CkptSurgeonError):
    """An op that does not fit: says the shapes it was given and what must hold.

    `help` is the next step, where there is one.
    """

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help


class CastOverflow(ShapeError):
    """Finite values that a cast made infinite: says how many, and the dtype."""


class TextError(CkptSurgeonError):
    """A text of a rule that is wrong at its `column`, counted from 0; `help` is the next step."""

    def __init__(self, message: str, column: int = 0, help: str = "") -> None:
        super().__init__(message)
        self.column, self.help = column, help


class ExpressionError(TextError):
    """An expression that can't be read or evaluated."""


class PatternError(TextError):
    """A pattern that can't be read."""


class ProblemsError(CkptSurgeonError):
    """Several problems at once, in the order of their places."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)  # from which copies are made

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class RulesetError(ProblemsError):
    """A rule file that is wrong in itself."""


class PlanError(ProblemsError):
    """A rule file that is wrong for these checkpoints: nothing matched, two producers, overlap."""


class FindingsError(ProblemsError):
    """A plan with findings that were not allowed, of any kind of `FindingKind`.

    `report` has them with what would settle them, and its text is the error's unless another `text`
    is given; None where a value, not a plan, is wrong, and in an error that was pickled.
    """

    exit_code = 1

    def __init__(self, problems: Iterable[Problem], report: Any = None, text: str = "") -> None:
        super().__init__(problems)
        self.report, self._text = report, text

    def __str__(self) -> str:
        if self._text or self.report is None:
            return self._text or super().__str__()
        return str(self.report.advice_text)

    @property
    def suggestion(self) -> Any:
        """The `Suggestion` for what the rules leave; None where there is none."""
        return None if self.report is None else self.report.advice.suggestion

    def __reduce__(self) -> tuple[type[FindingsError], tuple[Any, ...]]:
        return FindingsError, (self.problems, None, str(self))


ALIKE = 4
"""Letters at the beginning of a word that count more than others."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean 'transpose'?`, or nothing where no known word is near.

    Of those that are near, one that begins alike is nearer (as W. E. Winkler has it for names).
    """

    def likeness(other: str) -> float:
        ratio = difflib.SequenceMatcher(a=other, b=word).ratio()
        pairs = zip(word[:ALIKE], other[:ALIKE], strict=False)
        alike = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        return ratio + alike * 0.1 * (1 - ratio)

    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.6)
    return f"did you mean {max(close, key=likeness)!r}?" if close else ""
