"""The op rearrange: einops' patterns, read once into a recipe of reshape, permute, reshape."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

import msgspec

from ckptsurgeon.errors import ShapeError, nearest
from ckptsurgeon.ops.base import Move, Op, only, result_spec
from ckptsurgeon.ops.layout import Reshape
from ckptsurgeon.ops.movable import M
from ckptsurgeon.specs import Specs

ELLIPSIS = "..."
_TOKEN = re.compile(r"\s*(\.\.\.|->|[()]|1(?!\w)|[A-Za-z_][A-Za-z0-9_]*|\S\w*)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|\.\.\.")

Side = tuple[tuple[str, ...], ...]
"""One side of a pattern: for each dim the axes it is made of; `1` and `()` have none."""


class Pattern(msgspec.Struct, frozen=True):
    """Both sides of `(h d) i -> h d i`. They hold the same names, each once."""

    left: Side
    right: Side

    def expand(self, dims: int) -> Pattern:
        """The pattern for a tensor of that many dims: `...` replaced by a name for each."""
        spare = dims - sum(group != (ELLIPSIS,) for group in self.left)
        names = tuple((f"{ELLIPSIS}{number}",) for number in range(spare))
        return Pattern(_fill(self.left, names), _fill(self.right, names))


def _fill(side: Side, names: Side) -> Side:
    if (ELLIPSIS,) not in side:
        return side
    at = side.index((ELLIPSIS,))
    return side[:at] + names + side[at + 1 :]


def axes(side: Side) -> tuple[str, ...]:
    """The names of one side in order."""
    return tuple(name for group in side for name in group)


@functools.lru_cache(256)
def parse_pattern(text: str) -> Pattern:
    """The pattern that the text writes; raises ShapeError where it is none."""
    tokens = _TOKEN.findall(text)
    if tokens.count("->") != 1:
        raise ShapeError(f"the pattern {text!r} must have one `->`")
    arrow = tokens.index("->")
    left, right = _side(tokens[:arrow], text), _side(tokens[arrow + 1 :], text)
    lone = set(axes(left)) ^ set(axes(right))
    if lone:
        names = ", ".join(sorted(lone))
        raise ShapeError(f"the pattern {text!r} must have {names} on both sides of `->`")
    return Pattern(left, right)


def _side(tokens: list[str], text: str) -> Side:
    groups: list[tuple[str, ...]] = []
    group: list[str] | None = None
    for token in tokens:
        if token == "(" and group is None:
            group = []
        elif token == ")" and group is not None:
            groups.append(tuple(group))
            group = None
        elif token == "1" or (_NAME.fullmatch(token) and (token != ELLIPSIS or group is None)):
            names = [] if token == "1" else [token]
            if group is None:
                groups.append(tuple(names))
            else:
                group += names
        else:
            raise ShapeError(
                f"{token!r} can't stand there in the pattern {text!r};"
                " it takes names, 1, ( ) around names, and `...` outside of them"
            )
    if group is not None:
        raise ShapeError(f"a `(` is not closed in the pattern {text!r}")
    _refuse_repeats(groups, text)
    return tuple(groups)


def _refuse_repeats(groups: list[tuple[str, ...]], text: str) -> None:
    for name, count in Counter(axes(tuple(groups))).items():
        if count > 1:
            raise ShapeError(f"{name} stands twice on one side of the pattern {text!r}")


class Recipe(msgspec.Struct, frozen=True):
    """What a pattern does to tensors of one shape: `split`, then `order`, then `merged`."""

    sizes: Mapping[str, int]
    split: tuple[int, ...]
    order: tuple[int, ...]
    merged: tuple[int, ...]


class Rearrange(Move, frozen=True, kw_only=True):
    """[h * d, i] -> [h, d, i] by `(h d) i -> h d i` with the size of h or of d."""

    name: ClassVar[str] = "rearrange"
    first: ClassVar[str | None] = "pattern"
    further: ClassVar[str | None] = "sizes"
    sized: ClassVar[tuple[str, ...]] = ("sizes",)

    pattern: str
    sizes: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        known = [name for name in axes(self._parsed().left) if name != ELLIPSIS]
        if len(dict(self.sizes)) != len(self.sizes):
            raise self.error("`sizes` must name each axis once")
        for name, size in self.sizes:
            if name not in known:
                hint = nearest(name, known) or f"the axes are {', '.join(known)}"
                raise self.error(f"`{name}` is no axis of {self.pattern!r}; {hint}")
            if size < 1:
                raise self.error(f"the size of `{name}` must be 1 or more, found {size}")

    def _parsed(self) -> Pattern:
        try:
            return parse_pattern(self.pattern)
        except ShapeError as error:
            raise self.error(str(error)) from None

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        recipe = _recipe(self, specs)
        split = tensors[0].reshape(recipe.split)
        return (split.permute(recipe.order).reshape(recipe.merged),)

    def inverse(self, specs: Specs) -> Op | None:
        if not only(self, specs).count:
            # A pattern can't state an axis of size 0; without elements any reshape is exact.
            return Reshape(shape=specs[0].shape)
        left, right = self.pattern.split("->")
        solved = _recipe(self, specs).sizes.items()
        sizes = sorted((name, size) for name, size in solved if _NAME.fullmatch(name))
        return Rearrange(pattern=f"{right.strip()} -> {left.strip()}", sizes=tuple(sizes))

    def _solve(self, specs: Specs) -> tuple[Pattern, Mapping[str, int]]:
        """The pattern for this number of dims, and the size of each of its axes."""
        shape, parsed = only(self, specs).shape, self._parsed()
        pattern = parsed.expand(len(shape))
        if len(pattern.left) != len(shape):
            least = " or more" if (ELLIPSIS,) in parsed.left else ""
            dims = sum(group != (ELLIPSIS,) for group in parsed.left)
            raise self.error(f"the left side of {self.pattern!r} has {dims}{least} dims", specs)
        sizes = dict(self.sizes)
        for dim, (group, size) in enumerate(zip(pattern.left, shape, strict=True)):
            sizes |= self._group_sizes(group, size, dim, specs)
        return pattern, sizes

    def _group_sizes(
        self, group: tuple[str, ...], size: int, dim: int, specs: Specs
    ) -> Mapping[str, int]:
        """The sizes of the axes that one dim is made of; at most one of them was not given."""
        given = dict(self.sizes)
        sizes = {name: given[name] for name in group if name in given}
        unknown = [name for name in group if name not in given]
        known = math.prod(sizes.values())
        text = group[0] if len(group) == 1 else f"({' '.join(group)})"
        if len(unknown) > 1:
            raise self.error(f"{text} needs the size of {' or '.join(unknown)}", specs)
        if not unknown and known != size:
            raise self.error(f"{text} makes {known}, dim {dim} has {size}", specs)
        if unknown and size % known:
            raise self.error(f"dim {dim} of {size} in {text} doesn't divide by {known}", specs)
        return sizes | dict.fromkeys(unknown, size // known)


@functools.lru_cache(256)
def _recipe(op: Rearrange, specs: Specs) -> Recipe:
    """Worked out once for all tensors of one spec; raises ShapeError where the pattern is off."""
    pattern, sizes = op._solve(specs)
    before, after = axes(pattern.left), axes(pattern.right)
    split = tuple(sizes[name] for name in before)
    result_spec(op, specs[0].dtype, split, specs)  # an array of that shape is made on the way
    return Recipe(
        sizes,
        split,
        tuple(map(before.index, after)),
        tuple(math.prod(sizes[name] for name in group) for group in pattern.right),
    )
