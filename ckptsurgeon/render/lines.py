"""What is told of tensors, one by one as entries, and of many on one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from ckptsurgeon.keys import Box
from ckptsurgeon.specs import TensorSpec


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One tensor to be told. `origins` are the keys it comes from; `label` holds what must agree.

    `before` is told only where it differs from `after`.
    """

    key: str
    after: TensorSpec | None
    origins: tuple[str, ...] = ()
    before: TensorSpec | None = None
    label: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        before, after = self.before, self.after
        return before is not None and before is not after and before != after


@dataclass(frozen=True, slots=True)
class Line:
    """Entries of one label.

    `names` are the last pieces of their keys, empty where `box` is of whole keys; `of_modules` says
    that `origins` lack them, too. `before` tells the specs that change, "" where they don't.
    """

    box: Box
    names: tuple[str, ...]
    origins: tuple[Box, ...]
    label: tuple[str, ...]
    before: str
    after: str
    of_modules: bool = False

    @property
    def keys(self) -> Iterator[str]:
        """Every key that the line tells of."""
        for key in self.box.keys:
            yield from (f"{key}.{name}" for name in self.names) if self.names else (key,)


def unfold_entries(entries: Iterable[Entry]) -> list[Line]:
    """A line for each entry."""
    return [
        Line(
            box=_whole(entry.key),
            names=(),
            origins=tuple(map(_whole, entry.origins)),
            label=entry.label,
            before=spec_range((entry.before,)) if entry.changed else "",
            after=spec_range((entry.after,)),
        )
        for entry in entries
    ]


def _whole(key: str) -> Box:
    return Box(((key,), ()), ())


def spec_range(specs: Iterable[TensorSpec | None]) -> str:
    """`F32[64..512, 3]`: the one text of specs of equal dtype and rank; "" where there is none."""
    known = [spec for spec in {id(spec): spec for spec in specs}.values() if spec is not None]
    if not known:
        return ""
    dims = (sorted(set(sizes)) for sizes in zip(*(spec.shape for spec in known), strict=True))
    texts = (str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]}..{sizes[-1]}" for sizes in dims)
    return f"{known[0].dtype}[{', '.join(texts)}]"
