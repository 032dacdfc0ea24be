"""Arguments of another kind than the one that is wanted, told before anything is done with them."""

from __future__ import annotations

from ckptsurgeon.errors import CkptSurgeonError


def kind_of(value: object) -> str:
    """What somebody gave, in a few words: `a list`, `an int`, `the class Net`, `None`."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}"


def require(
    what: str, value: object, kinds: type | tuple[type, ...], wanted: str, *, help: str = ""
) -> None:
    """Raises CkptSurgeonError where a value is none of these kinds; `bool` is no number."""
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    if isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)):
        return
    tail = f"; {help}" if help else ""
    raise CkptSurgeonError(f"{what}: {kind_of(value)} where {wanted} is wanted{tail}")
