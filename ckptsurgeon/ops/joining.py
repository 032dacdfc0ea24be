"""Ops that make one tensor of several, and several of one: concat, split, stack, unstack, same."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ckptsurgeon.ops.base import MAX_PARTS, Arity, Move, Op, alike, only, position
from ckptsurgeon.ops.movable import M, cut
from ckptsurgeon.specs import Specs, TensorSpec, with_item, with_new

if TYPE_CHECKING:
    from ckptsurgeon.ops.base import Array, Arrays


class Split(Move, frozen=True, kw_only=True):
    """[n, …] -> [n / parts, …] as often as there are parts, or the given sizes, on any one dim."""

    name: ClassVar[str] = "split"
    arity: ClassVar[Arity] = Arity.SPLIT
    first: ClassVar[str | None] = "dim"
    no_dim: ClassVar[str] = "; how many it gives is `parts`"
    sized: ClassVar[tuple[str, ...]] = ("sizes",)
    counted: ClassVar[str] = "parts"

    dim: int = 0
    parts: int | None = None
    sizes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.parts is not None and self.sizes is not None:
            raise self.error("takes `parts` or `sizes`, not both")
        _check_count(self, "parts", self.parts)
        if self.sizes is not None and (not self.sizes or min(self.sizes) < 0):
            raise self.error(f"`sizes` must be one or more of 0 up, found {list(self.sizes)}")

    def _sizes(self, spec: TensorSpec, dim: int) -> tuple[int, ...]:
        """The size of each part on the dim; they sum to the tensor's."""
        size = spec.shape[dim]
        if self.sizes is not None:
            if sum(self.sizes) == size:
                return self.sizes
            shown = " + ".join(map(str, self.sizes[:8])) + (" + …" if len(self.sizes) > 8 else "")
            raise self.error(f"{shown} is {sum(self.sizes)}, not the {size} of dim {dim}", (spec,))
        if self.parts is None:
            raise self.error("needs `parts` or `sizes`", (spec,))
        if size % self.parts:
            what = "rows" if dim == 0 else "items"
            raise self.error(
                f"{size} {what} on dim {dim} don't divide into {self.parts} parts", (spec,)
            )
        return (size // self.parts,) * self.parts

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        dim = position(self, self.dim, only(self, specs))
        return cut(tensors[0], dim, self._sizes(specs[0], dim))

    def inverse(self, specs: Specs) -> Op | None:
        return Concat(dim=position(self, self.dim, only(self, specs)))


class Concat(Move, frozen=True, kw_only=True):
    """[n, …] and [m, …] -> [n + m, …] on any one dim; the other dims and the dtypes are equal."""

    name: ClassVar[str] = "concat"
    arity: ClassVar[Arity] = Arity.JOIN
    first: ClassVar[str | None] = "dim"

    dim: int = 0

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        first = alike(self, specs)
        dim = position(self, self.dim, first)
        rest = with_item(first.shape, dim, 0)
        for number, spec in enumerate(specs, 1):
            if with_item(spec.shape, dim, 0) != rest:
                raise self.error(
                    f"the shapes must be equal beside dim {dim};"
                    f" number {number} is {spec}, the first {first}"
                )
        return (tensors[0].concat(dim, tensors[1:]),)

    def inverse(self, specs: Specs) -> Op | None:
        dim = position(self, self.dim, alike(self, specs))
        return Split(dim=dim, sizes=tuple(spec.shape[dim] for spec in specs))


class Stack(Move, frozen=True, kw_only=True):
    """[…] as often as there are tensors, n -> [n, …], the new dim standing anywhere."""

    name: ClassVar[str] = "stack"
    arity: ClassVar[Arity] = Arity.JOIN
    first: ClassVar[str | None] = "dim"

    dim: int = 0

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        first = _equal(self, specs)
        dim = position(self, self.dim, first, extra=1)
        rows = [tensor.reshape(with_new(first.shape, dim, 1)) for tensor in tensors]
        return (rows[0].concat(dim, rows[1:]),)

    def inverse(self, specs: Specs) -> Op | None:
        return Unstack(dim=position(self, self.dim, alike(self, specs), extra=1))


class Unstack(Move, frozen=True, kw_only=True):
    """[n, …] -> […] n times, the dim that goes standing anywhere."""

    name: ClassVar[str] = "unstack"
    arity: ClassVar[Arity] = Arity.SPLIT
    first: ClassVar[str | None] = "dim"

    dim: int = 0

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        shape = only(self, specs).shape
        dim = position(self, self.dim, specs[0])
        count = shape[dim]
        if not 1 <= count <= MAX_PARTS:
            raise self.error(f"dim {dim} must have from 1 to {MAX_PARTS} items, has {count}", specs)
        parts = cut(tensors[0], dim, (1,) * count)
        return tuple(part.reshape(shape[:dim] + shape[dim + 1 :]) for part in parts)

    def inverse(self, specs: Specs) -> Op | None:
        return Stack(dim=position(self, self.dim, only(self, specs)))


class Copies(Move, frozen=True, kw_only=True):
    """[…] -> […] as often as there are takers; a plan has the tensor itself, and no op."""

    name: ClassVar[str] = "copies"
    arity: ClassVar[Arity] = Arity.SPLIT
    first: ClassVar[str | None] = "times"
    counted: ClassVar[str] = "times"
    sized: ClassVar[tuple[str, ...]] = ("times",)

    times: int | None = None

    def __post_init__(self) -> None:
        _check_count(self, "times", self.times)

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        only(self, specs)
        if self.times is None:
            raise self.error("needs `times`", specs)
        return tensors * self.times

    def inverse(self, specs: Specs) -> Op | None:
        return self if self.times == 1 else None


def _check_count(op: Op, word: str, count: int | None) -> None:
    """Raises ShapeError where an op would give none, or more than a rule may make."""
    if count is not None and not 1 <= count <= MAX_PARTS:
        raise op.error(f"`{word}` must be from 1 to {MAX_PARTS}, found {count}")


class Same(Op, frozen=True, kw_only=True):
    """[…] as often as there are tensors -> […]; that all are equal bit for bit is seen when run."""

    name: ClassVar[str] = "same"
    arity: ClassVar[Arity] = Arity.JOIN

    def infer(self, specs: Specs) -> Specs:
        return (_equal(self, specs),)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        for number, array in enumerate(arrays[1:], 2):
            count = _differing(arrays[0], array)
            if count:
                raise self.error(
                    f"number {number} of {len(arrays)} differs from the first"
                    f" in {count} of {array.size} elements; all must be equal bit for bit",
                    specs[:1],
                )
        return arrays[:1]

    def inverse(self, specs: Specs) -> Op | None:
        return None


def _equal(op: Op, specs: Specs) -> TensorSpec:
    first = alike(op, specs)
    for number, spec in enumerate(specs, 1):
        if spec.shape != first.shape:
            raise op.error(
                f"the shapes must be equal; number {number} is {spec}, the first {first}"
            )
    return first


def _differing(one: Array, other: Array) -> int:
    """How many items differ in any bit."""
    from ckptsurgeon.ops import carriers

    # The carrier of C128 is itself a number, whose NaNs are unequal: its halves are compared.
    unit = min(one.itemsize, 8)
    return sum(
        int((left.view(f"u{unit}") != right.view(f"u{unit}")).reshape(left.size, -1).any(1).sum())
        for left, right in carriers.blocks(one, other)
    )
