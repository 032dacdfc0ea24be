"""NumPy's arrays, dtypes and scalars as pickles spell them out, told without NumPy.

An array is a call of `_reconstruct` and a state, or in protocol 5 one of `_frombuffer`; its items
are bytes, or before protocol 3 text that stands for bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ckptsurgeon.checkpoints.counts import are_counts
from ckptsurgeon.checkpoints.npy import (
    CODES,
    MASKED,
    SAVE_PLAIN,
    TEXT_KINDS,
    explain_dtype,
    kind_of,
)
from ckptsurgeon.checkpoints.stored import Held
from ckptsurgeon.checkpoints.strict_json import shorten
from ckptsurgeon.checkpoints.strided import View, column_strides
from ckptsurgeon.checkpoints.torch.inert import (
    DTYPE_CODES,
    ArrayRecord,
    GlobalName,
    ObjectValue,
    Stretch,
)
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import (
    BITS,
    DTYPE_NAMES,
    UNKNOWN,
    TensorSpec,
    row_strides,
    unreadable_spec,
)

DTYPE = GlobalName("numpy", "dtype")

BYTEARRAY = GlobalName("builtins", "bytearray")

LONGEST_DESCR = 80
"""Characters of a dtype's name that are told, for each array."""

PLAIN_ARRAYS = frozenset(("ndarray", "memmap", "matrix"))
"""Classes whose state says no more than an ndarray's."""

FLOATS = {2: "<e", 4: "<f", 8: "<d"}
"""Layouts of floating numbers by their bytes, as `struct` has them."""


@dataclass(frozen=True, slots=True)
class ArrayDtype:
    """What is known of a dtype: its code here, its byte order, and what it is called."""

    code: str | None
    swapped: bool
    descr: str
    is_text: bool = False


def read_dtype(value: Any) -> ArrayDtype:
    """What the pickle of a `numpy.dtype` says: a call with a name, and a state with the order."""
    named = value.arguments[0] if isinstance(value, ObjectValue) and value.arguments else None
    if isinstance(value, ObjectValue) and value.name.name == "StringDType":
        return ArrayDtype(None, False, "texts", is_text=True)
    if not isinstance(value, ObjectValue) or value.name != DTYPE:
        return ArrayDtype(None, False, "?")
    state = value.state if isinstance(value.state, tuple) else ()
    order = state[1] if len(state) > 1 and isinstance(state[1], str) else ""
    if isinstance(named, GlobalName):  # of ml_dtypes, whose dtypes are classes
        code = DTYPE_CODES.get(named.name) if named.module.startswith("ml_dtypes") else None
        return ArrayDtype(code, order == ">", str(named))
    text = named[:LONGEST_DESCR] if isinstance(named, str) else "?"
    fields = len(state) > 3 and state[3] is not None
    code = None if fields else CODES.get(text.lstrip("<>|="))
    swapped = ">" in (order, text[:1]) and code is not None and BITS[code] > 8
    is_text = code is None and not fields and kind_of(text) in TEXT_KINDS
    return ArrayDtype(code, swapped, "structured" if fields else text, is_text)


def start_array(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """(class, shape, dtype code) -> an array without items, until its state is set."""
    kind = arguments[0] if arguments else None
    if isinstance(kind, GlobalName) and kind.name in PLAIN_ARRAYS:
        return ArrayRecord(unreadable=unreadable_spec("a NumPy array without its state"))
    what = f"an array of {kind}" if isinstance(kind, GlobalName) else "an array of no known class"
    return ObjectValue(function, arguments, unreadable=unreadable_spec(what, SAVE_PLAIN))


def start_masked(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """(class, base class, shape, dtype code) -> an array of which a part is masked."""
    why = unreadable_spec(*MASKED)
    return ObjectValue(function, arguments, unreadable=why)


def set_state(array: ArrayRecord, state: Any) -> None:
    """Gives an array what its state says: (version, shape, dtype, by columns, items)."""
    match state:
        case (int(), tuple(shape), dtype, fortran, items) if isinstance(fortran, (bool, int)):
            strides = column_strides if fortran else row_strides
            _fill(array, shape, strides, read_dtype(dtype), items)
        case _:
            raise CheckpointError("a NumPy array whose state is none that NumPy writes")


def array_from_buffer(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """(items, dtype, shape, order, axes) -> the array, as protocol 5 writes it.

    Of an array whose dims are turned, `shape` is as its items lie, and `axes` turns them.
    """
    match arguments:
        case (items, dtype, tuple(shape), str(order), *axes):
            if isinstance(items, ObjectValue) and items.name == BYTEARRAY and items.arguments:
                items = items.arguments[0]
            array = ArrayRecord()
            strides = column_strides if order == "F" else row_strides
            _fill(array, shape, strides, read_dtype(dtype), items)
            return _turned(array, axes[0]) if axes and axes[0] is not None else array
    return ObjectValue(function, arguments, unreadable=unreadable_spec("a NumPy array in pieces"))


def _turned(array: ArrayRecord, axes: Any) -> ArrayRecord:
    """The array with its dims in another order."""
    if not are_counts(axes) or sorted(axes) != list(range(len(array.shape))):
        raise CheckpointError("a NumPy array whose dims are in no order")
    array.shape = tuple(array.shape[axis] for axis in axes)
    array.stride = tuple(array.stride[axis] for axis in axes)
    return array


def _fill(
    array: ArrayRecord,
    shape: tuple[Any, ...],
    strides: Callable[[tuple[int, ...]], tuple[int, ...]],
    dtype: ArrayDtype,
    items: Any,
) -> None:
    if not are_counts(shape):
        raise CheckpointError(f"a NumPy array of the shape {shorten(shape)}")
    array.shape, array.stride, array.swapped = shape, strides(shape), dtype.swapped
    array.text = f"{dtype.descr}[{', '.join(map(str, shape))}]"
    array.dtype, array.unreadable = dtype.code, None
    if dtype.code is None:
        array.unreadable = None if dtype.is_text else explain_dtype(dtype.descr, shape)
        return
    if isinstance(items, str):  # of Python 2, whose bytes were taken for text
        items = items.encode("utf-8", "surrogatepass")
    if not isinstance(items, (bytes, Stretch)):
        raise CheckpointError("a NumPy array whose items are no bytes")
    spec = TensorSpec(dtype.code, shape)
    if isinstance(items, bytes) and len(items) != spec.nbytes:
        raise CheckpointError(f"a NumPy array of {spec}, of which {len(items)} bytes are there")
    if isinstance(items, Stretch) and not items.may_be(spec.nbytes):
        raise CheckpointError(f"a NumPy array of {spec}, of which {items.packed} bytes are there")
    array.data = items


def view_of_array(array: ArrayRecord) -> View:
    """Where the items of an array of numbers lie."""
    dtype, shape = array.dtype or UNKNOWN, array.shape
    data = array.data
    nbytes = TensorSpec(dtype, shape).nbytes
    items = data.stored(nbytes) if isinstance(data, Stretch) else Held(data)
    return View(items, dtype, 0, shape, array.stride, array.swapped)


def scalar_of(value: Any) -> tuple[str, bool | int | float] | None:
    """The dtype and the number of a NumPy scalar, which is a dtype and its bytes."""
    if not isinstance(value, ObjectValue) or value.name.name != "scalar":
        return None
    if not value.name.module.endswith("multiarray") or len(value.arguments) != 2:
        return None
    dtype, data = read_dtype(value.arguments[0]), value.arguments[1]
    code = dtype.code
    if code is None or code not in _KINDS or not isinstance(data, bytes):
        return None
    if len(data) * 8 != BITS[code]:
        return None
    return DTYPE_NAMES[code], _number(_KINDS[code], data[::-1] if dtype.swapped else data)


def scalar_text(value: Any) -> str | bytes | None:
    """The text of a NumPy scalar that is one; None for what is none."""
    if not isinstance(value, ObjectValue) or value.name.name != "scalar":
        return None
    match value.arguments:
        case (dtype, bytes(data)):
            kind = kind_of(read_dtype(dtype).descr)
            if kind == "U" and len(data) % 4 == 0:
                return data.decode("utf-32-le", "replace").rstrip("\0")
            return data.rstrip(b"\0") if kind == "S" else None
    return None


_KINDS = {code: name[0] for name, code in CODES.items() if name[0] != "c"}
"""NumPy's letter for the kind of a dtype, by its code."""


def _number(kind: str, data: bytes) -> bool | int | float:
    if kind == "f":
        return float(struct.unpack(FLOATS[len(data)], data)[0])
    number = int.from_bytes(data, "little", signed=kind == "i")
    return number != 0 if kind == "b" else number


Build = Callable[[GlobalName, tuple[Any, ...]], Any]

ARRAYS: Mapping[GlobalName, Build] = {
    GlobalName(f"numpy.{core}.{module}", name): build
    for core in ("core", "_core")
    for module, name, build in (
        ("multiarray", "_reconstruct", start_array),
        ("numeric", "_frombuffer", array_from_buffer),
    )
} | {
    GlobalName(f"numpy.ma.{module}", "_mareconstruct"): start_masked for module in ("core", "_core")
}
"""NumPy's functions that make arrays, by the names that they have had."""
