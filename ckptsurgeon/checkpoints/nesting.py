"""How tensors are nested in a file of dicts: under a root, and in dicts that are fronts of keys."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import combinations

Path = tuple[str, ...]
"""The names of dicts in one another, from the outside in; a name may hold dots itself."""


@dataclass(frozen=True, slots=True)
class Nesting:
    """The dicts of a file that hold tensors: `root`, and below it those of `wrappers`.

    `{"m": {"ema": {"a.w": T}, "b": T}}` has the root `m` and the wrapper `ema`: its keys are
    `ema.a.w` and `b`. `prefix` is what keys have in front of the rest in their dict, where the root
    that was opened is a prefix and no dict; `separator` stands in keys besides dots. `homes` are
    the wrappers of keys that don't lie in the longest one which begins them: in
    `{"a": {"w": T}, "a.b": T}` that of `a.b` is `()`. `integers` are the dotted paths, from the top
    on, of dicts and tensors whose names are integers and no texts, as in optimizers.
    """

    root: Path = ()
    wrappers: tuple[Path, ...] = ()
    prefix: str = ""
    separator: str = "."
    homes: tuple[tuple[str, Path], ...] = ()
    integers: tuple[str, ...] = ()

    @property
    def is_nested(self) -> bool:
        """Whether a tensor may lie in another dict than the outermost."""
        return bool(self.root or self.wrappers)

    @property
    def is_sound(self) -> bool:
        """Whether it can be written: no more dicts in one another than are read, and integers."""
        paths = (*self.wrappers, *(path for _, path in self.homes), ())
        names = (path.rpartition(".")[2] for path in self.integers)
        return max(map(len, paths)) + len(self.root) <= MOST_NAMES and all(
            map(INTEGER_NAME.fullmatch, names)
        )

    @property
    def root_text(self) -> str:
        """The root as a user names it."""
        return ".".join((*self.root, *([self.prefix] if self.prefix else ())))

    @property
    def wrapper_texts(self) -> tuple[str, ...]:
        """The wrappers as a user names them."""
        return tuple(map(".".join, self.wrappers))

    def locate(self, key: str) -> Path:
        """The names of the dicts that lead to the tensor of a dotted key."""
        leading = (path for path in self.wrappers if key.startswith(".".join(path) + "."))
        return (*self.root, *max(leading, key=lambda path: len(".".join(path)), default=()))


INTEGER_NAME = re.compile("-?[0-9]{1,18}")
"""An integer as a name of a dict or tensor; longer ones are names of texts when written."""

FLAT = Nesting()
"""All tensors in the outermost dict."""

MOST_NAMES = 100
"""Dicts in one another that a root and a wrapper lead through, together."""


def split_path(text: str, known: tuple[Path, ...]) -> Path:
    """The names of dicts that a dotted text is: each dot parts two, but in names that are known.

    `known` are paths of dicts that there are. `split_path("model.ema.x", (("model.ema",),))` is
    `("model.ema", "x")`.
    """
    parts = (path[a:b] for path in known for a, b in combinations(range(len(path) + 1), 2))
    fronts = [part for part in parts if f"{text}.".startswith(".".join(part) + ".")]
    front = max(fronts, key=lambda path: len(".".join(path)), default=())
    rest = text[len(".".join(front)) :].removeprefix(".")
    return (*front, *(rest.split(".") if rest else ()))
