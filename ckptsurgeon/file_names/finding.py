"""Files whose paths a pattern reads, each with the alias that is written for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ckptsurgeon.checkpoints.several import MOST_OUTPUTS
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.file_names.advising import advise
from ckptsurgeon.file_names.searching import Found, Search, in_order
from ckptsurgeon.file_names.sides import Option, Sides, parse_sides, tell_word, told, write_texts
from ckptsurgeon.plans.addresses import check_alias


def find_files(left: str, right: str, option: Option = "source") -> list[tuple[str, str]]:
    """The files that the path `right` reads, in natural order, each behind its alias.

    `option` says who asks. Raises CheckpointError where none is found, where two have one alias,
    for an alias that is no name, and where there are too many.
    """
    place = tell_word(left, right, option)
    with told(place, CheckpointError):
        sides = parse_sides(left, right, option)
        search = Search.of(sides.read)
        found = sorted(search.find(), key=in_order)
    if not found:
        raise CheckpointError(f"{place}: no file matches{advise(search)}")
    if len(found) > MOST_OUTPUTS:
        raise CheckpointError(
            f"{place}: {len(found):,} files match, at most {MOST_OUTPUTS:,}; name fewer by "
            "words, as `<r:0|1>`"
        )
    return _name_all(found, sides, search.columns, place)


def _name_all(
    found: Iterable[Found], sides: Sides, columns: Sequence[str], place: str
) -> list[tuple[str, str]]:
    """Each file behind its alias; raises CheckpointError where two have the same."""
    named: dict[str, str] = {}
    for path, row in found:
        with told(f"{place}: {path}", CheckpointError):
            scope = dict(zip(columns, row, strict=True))
            alias = check_alias(
                "".join(text for _, text in write_texts(sides.written, scope)), "a source"
            )
        if alias in named:
            raise CheckpointError(
                f"{place}: {named[alias]} and {path} are both {alias}: capture what tells them "
                "apart, and write it in the alias"
            )
        named[alias] = path
    return list(named.items())
