"""Keys chosen by patterns, as `--only` gives them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from ckptsurgeon.errors import CheckpointError, PatternError, Place
from ckptsurgeon.language.patterns import compile_pattern, parse_reference
from ckptsurgeon.language.problems import Problems
from ckptsurgeon.language.rules import At
from ckptsurgeon.planner.compiling.captures import find_kinds, resolve
from ckptsurgeon.specs import plural
from ckptsurgeon.wanted import require
from ckptsurgeon.wording import argument


def read_patterns(only: str | Collection[str]) -> tuple[str, ...]:
    """The patterns that were given, one alone or several; raises CkptSurgeonError for others."""
    if isinstance(only, str):
        return (only,)
    require("only", only or (), Collection, "a pattern, or a list of them,")
    for pattern in only or ():
        require("only", pattern, str, "a pattern")
    return tuple(only or ())


def select(patterns: Sequence[str], keys: Collection[str], where: str) -> frozenset[str]:
    """The keys that match a pattern; raises CheckpointError for a pattern that none does."""
    names = set(keys)
    chosen: set[str] = set()
    for text in patterns:
        read = _read_pattern(text)
        found = {key for key in names if read(key) is not None}
        if not found:
            message = f"{where}: no key matches `{text}`; `*` is one piece, `**` are one or more"
            raise CheckpointError(message + _tell_near(text, names))
        chosen |= found
    return frozenset(chosen)


def _tell_near(text: str, keys: Collection[str]) -> str:
    """What a pattern may have been meant to be, with the number of keys that it matches."""
    name = text.strip("*. ")
    for meant in (f"{name}.**", f"**.{name}.**", f"**.{name}"):
        with suppress(CheckpointError):
            read = _read_pattern(meant)
            count = sum(read(key) is not None for key in keys)
            if name and count:
                return f"; `{meant}` would match {plural(count, 'key')}"
    return ""


def _read_pattern(text: str) -> Callable[[str], object]:
    """What gives the captures of a key that a pattern matches, else None."""
    place, problems = Place("only", 1, 1, text), Problems()
    try:
        reference = parse_reference(text)
    except PatternError as error:
        told = argument("only", shlex.quote(text), repr(text))
        raise CheckpointError(f"{told}: {error}") from None
    pattern = reference.pattern
    if reference.index is not None:
        told = argument("only", shlex.quote(text), repr(text))
        raise CheckpointError(f"{told}: takes whole tensors; leave out the slice")
    known, _ = find_kinds([At(pattern, place=place)], (), (), problems)
    problems.raise_if_any()
    return compile_pattern(resolve(pattern, known)).row_reader()
