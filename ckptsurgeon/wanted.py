"""Arguments of another kind than the one that is wanted, told before anything is done with them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NoReturn

from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.specs import parse_bytes

Size = int | str
"""Bytes as a number, or as text with a unit: "128MiB", "5GB"."""


def kind_of(value: object) -> str:
    """What somebody gave, in a few words: `a list`, `an int`, `the class Net`, `None`."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}"


def whole_number(what: str, value: Any, *, least: int | None = None) -> int:
    """A whole number in any form that is one: of NumPy, of torch, `5e9`.

    Raises CkptSurgeonError for anything else, and for less than `least`.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = int(value) if isinstance(value, float) else operator.index(value)
        if number != value:
            raise TypeError
    except (TypeError, ValueError, OverflowError):
        refuse(what, value, "a whole number")
    if least is not None and number < least:
        raise CkptSurgeonError(f"{what}={number}: wanted at least {least}")
    return number


def read_size(size: Size | None, what: str) -> int | None:
    """The bytes that a size says; raises ValueError, CkptSurgeonError for what is no number."""
    if not isinstance(size, str):
        return check_count(size, what)
    try:
        return parse_bytes(size)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def check_count(count: int | None, what: str) -> int | None:
    """A count of at least 1, if there is one; raises as `read_size`."""
    if count is None:
        return None
    number = whole_number(what, count)
    if number < 1:
        raise ValueError(f"{what}={number}: wanted at least 1")
    return number


def require(
    what: str, value: object, kinds: type | tuple[type, ...], wanted: str, *, help: str = ""
) -> None:
    """Raises CkptSurgeonError where a value is none of these kinds; `bool` is no number."""
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        refuse(what, value, wanted, help=help)


def require_progress(progress: object) -> None:
    """Raises CkptSurgeonError where what is to hear of the work can't be called."""
    if progress is not None and not callable(progress):
        refuse("progress", progress, "a function of (done, total, key)")


def refuse(what: str, value: object, wanted: str, *, help: str = "") -> NoReturn:
    """Raises CkptSurgeonError for a value where another one is wanted."""
    tail = f"; {help}" if help else ""
    raise CkptSurgeonError(f"{what}: {kind_of(value)} where {wanted} is wanted{tail}")


def refuse_word(what: str, value: object, known: Sequence[str]) -> None:
    """Raises CkptSurgeonError for a value that is none of these words."""
    if value not in known:
        found = repr(value) if isinstance(value, str) else kind_of(value)
        words = " or ".join(map(repr, known))
        raise CkptSurgeonError(f"{what}: {found} where {words} is wanted")
