"""The protocol of an op: `infer`, `apply` and `inverse`, side by side, with no key in sight.

An op is a frozen struct whose fields are its YAML parameters, already evaluated. It comes in one
of three arities: EACH maps one tensor to one, JOIN maps n to one, SPLIT maps one to n.

Arrays are NumPy arrays in the *carrier* dtype of their spec (see `specs.py`): unsigned integers of
the item's width. An op that moves elements is a `Move` and never looks further; one that computes
asks `carriers.decode` for numbers and gives back `carriers.encode` of the result. A result may be a
view of what came in, and what comes in need not be contiguous.
"""

from __future__ import annotations

import enum
import functools
import math
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops.mosaic import Mosaic
from ckptsurgeon.ops.movable import M, MovableArray, NotAMosaic
from ckptsurgeon.specs import BITS, MAX_BYTES, Specs, TensorSpec, human_bytes

if TYPE_CHECKING:
    import numpy as np

    from ckptsurgeon.ops.indexing import Region

    Array = np.ndarray[Any, Any]
    Arrays = tuple[Array, ...]

Mosaics = tuple[Mosaic, ...]

MAX_MADE_BYTES = 2**40
"""Largest tensor that an op may make out of a smaller one."""

MAX_DIMS = 32
"""Most dims of a tensor that an op takes or makes: what every NumPy can hold."""

MAX_PARTS = 2**16
"""Most tensors that one op may split one into, so that a hostile shape can't ask for billions."""

SHOWN_SPECS = 4
"""Most specs that an error lists one by one."""


class Arity(enum.Enum):
    """How many tensors go in and come out."""

    EACH = "each"
    JOIN = "join"
    SPLIT = "split"


class Op(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tensor operation with concrete parameters.

    `name` is its word in a rule file, `first` the parameter that may stand alone
    (`cast: BF16`), `further` the field that takes parameters of any other name as (name, value)
    pairs, `arithmetic` whether it computes (and so may round), `keeps_shape` whether it always
    gives the shape that it is given, `no_dim` what to add where there is no such dim. `sized` are
    the parameters whose numbers may be sizes of one network: other networks have others. `counted`
    is the parameter that says how many tensors it gives, where that follows from what takes them.
    """

    name: ClassVar[str]
    arity: ClassVar[Arity] = Arity.EACH
    first: ClassVar[str | None] = None
    further: ClassVar[str | None] = None
    arithmetic: ClassVar[bool] = False
    keeps_shape: ClassVar[bool] = False
    no_dim: ClassVar[str] = ""
    sized: ClassVar[tuple[str, ...]] = ()
    counted: ClassVar[str] = ""

    @property
    def lacks_size(self) -> bool:
        """Whether a size was left out that only a destination can tell."""
        return False

    def fitted(self, wanted: TensorSpec) -> Op:
        """The op with the size that was left out, as it must be for a result like `wanted`.

        The op itself where `wanted` has too few dims to tell it.
        """
        return self

    def infer(self, specs: Specs) -> Specs:
        """The specs of what `apply` gives for tensors of these specs; raises ShapeError."""
        raise NotImplementedError

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        """The new arrays, in the carriers of `infer(specs)`; never alters its arguments."""
        raise NotImplementedError

    def trace(self, mosaics: Mosaics, specs: Specs) -> Mosaics:
        """Where the elements of the results lie, where those of the inputs lie as told.

        Raises NotAMosaic for an op that computes, or whose moves no mosaic tells.
        """
        raise NotAMosaic

    def inverse(self, specs: Specs) -> Op | None:
        """The op that turns `infer(specs)` back into `specs` to the byte; None where none can."""
        raise NotImplementedError

    def grain(self, number: int, specs: Specs) -> tuple[int, ...] | None:
        """Of which sizes the boxes of a result must be, on each dim, to be computed one by one.

        None for an op that needs whole tensors.
        """
        return None

    def part(self, number: int, box: Region, specs: Specs) -> tuple[Op, tuple[Region, ...]]:
        """The op that makes a box of a result, and what it takes of each input.

        Of inputs of the result's shape that is the box itself.
        """
        raise NotImplementedError

    def overflows(self, before: Arrays, after: Arrays, specs: Specs) -> int:
        """How many finite values of `before` are not finite in `after = apply(before, specs)`."""
        return 0

    def error(self, message: str, specs: Specs = (), help: str = "") -> ShapeError:
        """A ShapeError that names the op first and the tensors it was given last."""
        given = f"; given {list_specs(specs)}" if specs else ""
        return ShapeError(f"{self.word}: {message}{given}", help)

    @property
    def word(self) -> str:
        """What a rule calls the op."""
        return self.name


class Move(Op, frozen=True, kw_only=True):
    """An op that only puts elements elsewhere: told once, for shapes, arrays and mosaics."""

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        """The results, made of the tensors by the words of `Movable` alone.

        Raises ShapeError for specs that it does not take.
        """
        raise NotImplementedError

    def infer(self, specs: Specs) -> Specs:
        return _moved_specs(self, specs)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        moved = self.move(tuple(map(MovableArray, arrays)), specs)
        return tuple(tensor.array for tensor in moved)

    def trace(self, mosaics: Mosaics, specs: Specs) -> Mosaics:
        return self.move(mosaics, specs)


@functools.lru_cache(256)
def _moved_specs(op: Move, specs: Specs) -> Specs:
    """Worked out once for all tensors of one spec, with mosaics that are shapes alone."""
    moved = op.move(tuple(Mosaic(spec.shape, ()) for spec in specs), specs)
    shapes = [mosaic.shape for mosaic in moved]
    made = {shape: larger_spec(op, specs[0].dtype, shape, specs) for shape in {*shapes}}
    return tuple(made[shape] for shape in shapes)


def list_specs(specs: Specs) -> str:
    """The specs as text, `F32[3, 4], F32[3, 5] and 6 more`."""
    return list_some(map(str, specs), SHOWN_SPECS)


def only(op: Op, specs: Specs) -> TensorSpec:
    """The one spec that an op of arity EACH or SPLIT is given."""
    if len(specs) != 1:
        raise op.error(f"takes one tensor, was given {len(specs)}", specs)
    return whole(op, specs)[0]


_NUMBERS = {2: "two", 3: "three"}


def one_each(op: Op, specs: Specs, *names: str) -> Specs:
    """The specs that an op is given which takes one tensor for each of these names."""
    if len(specs) != len(names):
        named = f"{', '.join(names[:-1])} and {names[-1]}"
        takes = f"takes {_NUMBERS[len(names)]} tensors, {named}"
        raise op.error(f"{takes}, was given {len(specs)}", specs)
    return whole(op, specs)


def alike(op: Op, specs: Specs) -> TensorSpec:
    """The first of one or more specs, which must all have its dtype and its number of dims."""
    if not specs:
        raise op.error("takes one or more tensors, was given none")
    first = whole(op, specs)[0]
    for position, spec in enumerate(specs, 1):
        if spec.dtype != first.dtype:
            raise op.error(f"the dtypes must be equal; number {position} is {spec}, not {first}")
        if len(spec.shape) != len(first.shape):
            raise op.error(f"the shapes must fit; number {position} is {spec}, the first {first}")
    return first


def whole(op: Op, specs: Specs) -> Specs:
    """The specs themselves; raises ShapeError for those that no NumPy could hold.

    These are of items that are smaller than a byte, and of very many dims.
    """
    for spec in specs:
        if len(spec.shape) > MAX_DIMS:
            raise op.error(f"takes tensors of at most {MAX_DIMS} dims", specs)
        if spec.carrier is None:
            raise op.error(
                f"{spec.dtype} items are smaller than a byte; only whole tensors can be moved",
                specs,
            )
    return specs


def position(op: Op, dim: int, spec: TensorSpec, extra: int = 0) -> int:
    """The dim counted from 0; `extra` dims may follow those that the tensor has."""
    dims = len(spec.shape) + extra
    if -dims <= dim < dims:
        return dim % dims
    has = f"{-dims} to {dims - 1} can be named" if dims else "it has none"
    has += op.no_dim
    raise op.error(f"there is no dim {dim}: {has}", (spec,))


def result_spec(op: Op, dtype: str, shape: tuple[int, ...], specs: Specs) -> TensorSpec:
    """The spec of a result; raises ShapeError where no array could have that shape."""
    if len(shape) > MAX_DIMS:
        raise op.error(f"{len(shape)} dims would be made; {MAX_DIMS} is the most", specs)
    # An empty tensor has no bytes, yet NumPy counts the other dims' sizes all the same.
    if math.prod(max(size, 1) for size in shape) * BITS[dtype] > MAX_BYTES * 8:
        raise op.error("the result would be beyond 2**63 bytes", specs)
    return TensorSpec(dtype, shape)


def larger_spec(op: Op, dtype: str, shape: tuple[int, ...], specs: Specs) -> TensorSpec:
    """The spec of a result that may be larger than its inputs; raises ShapeError past 1 TiB."""
    result = result_spec(op, dtype, shape, specs)
    if result.nbytes > max(sum(spec.nbytes for spec in specs), MAX_MADE_BYTES):
        raise op.error(
            f"{result} would take {human_bytes(result.nbytes)}; an op makes at most"
            f" {human_bytes(MAX_MADE_BYTES)} out of less",
            specs,
        )
    return result
