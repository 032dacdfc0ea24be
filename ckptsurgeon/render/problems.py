"""Problems as text for a terminal: what they quote of files is escaped, long lists are cut."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from ckptsurgeon.cutting import cut, cut_middle
from ckptsurgeon.errors import CkptSurgeonError, Place, Problem, ProblemsError
from ckptsurgeon.visible import visible
from ckptsurgeon.wording import tell_more

MOST_PROBLEMS = 50

PLACE = ("file", "line", "column")

LONGEST = 2000
"""Characters of a message that are shown: a dozen of the longest keys that models have."""


def render_error(error: CkptSurgeonError, *, verbose: bool = False) -> str:
    """An error with all its problems, without a line break at the end."""
    if not isinstance(error, ProblemsError):
        return f"error: {shorten_text(str(error))}"
    problems, more = (error.problems, 0) if verbose else cut(error.problems, MOST_PROBLEMS)
    blocks = [render_problem(problem) for problem in problems]
    if more:
        blocks.append(f"... and {more} more problems ({tell_more()})")
    if len(error.problems) > 1:
        blocks.append(f"{len(error.problems)} problems")
    return "\n\n".join(blocks)


def render_problem(problem: Problem) -> str:
    """`file:line:column: message`, the line with a caret, and the next step."""
    message = shorten_text(problem.message)
    place = _escaped_place(problem.place) if problem.place else None
    return str(
        Problem(message if place else f"error: {message}", place, shorten_text(problem.help))
    )


def shorten_text(text: str) -> str:
    """The text escaped; of one that quotes something endless, both ends."""
    return cut_middle(text, LONGEST, LONGEST // 2, visible)


def _escaped_place(place: Place) -> Place:
    """The place with its line escaped; the caret moves along."""
    before, after = place.text[: place.column - 1], place.text[place.column - 1 :]
    start = visible(before.replace("\t", " "))
    text = start + visible(after.replace("\t", " "))
    file, via = visible(place.file), visible(place.via)
    return replace(place, file=file, column=len(start) + 1, text=text, via=via)


def error_json(error: CkptSurgeonError) -> str:
    """An error as JSON, for who asked for JSON: every problem with its place, and the exit code."""
    head = {"version": 1, "clean": False, "exit_code": error.exit_code}
    return json.dumps({**head, "problems": describe_problems(error)}, indent=2)


def describe_problems(error: CkptSurgeonError) -> list[dict[str, Any]]:
    """Every problem of an error as plain values, with its place."""
    problems = error.problems if isinstance(error, ProblemsError) else (Problem(str(error)),)
    return [
        {
            "message": problem.message,
            **{word: getattr(problem.place, word, None) for word in PLACE},
            "included_at": getattr(problem.place, "via", "") or None,
            "help": problem.help or None,
        }
        for problem in problems
    ]
