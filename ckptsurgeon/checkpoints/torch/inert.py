"""The inert values that a torch pickle is read into, and torch's names for dtypes and storages.

Nothing here can be called, and nothing holds more memory than the file itself spelled out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ckptsurgeon.checkpoints.stored import Coding, Stored
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import DTYPE_NAMES, UnreadableSpec, unreadable_spec

DTYPE_CODES: Mapping[str, str] = {name: code for code, name in DTYPE_NAMES.items()}
"""Our dtype code, by the name of torch's dtype."""

STORAGE_CODES: Mapping[str, str] = {
    "BoolStorage": "BOOL",
    "ByteStorage": "U8",
    "CharStorage": "I8",
    "ShortStorage": "I16",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "IntStorage": "I32",
    "FloatStorage": "F32",
    "LongStorage": "I64",
    "DoubleStorage": "F64",
    "ComplexFloatStorage": "C64",
    "ComplexDoubleStorage": "C128",
}
"""Our dtype code, by the name of torch's typed storage; the other dtypes have none."""

STORAGE_NAMES = {code: name for name, code in STORAGE_CODES.items()}

UNTYPED = "UntypedStorage"
"""The storage class that counts bytes and leaves the dtype to the tensor."""


LONGEST_NAME = 1000
"""Characters of the name of a class or function; it may be told for each tensor."""


@dataclass(frozen=True, slots=True)
class GlobalName:
    """A class or function that the pickle names; `__builtin__` is told as `builtins`."""

    module: str
    name: str

    def __str__(self) -> str:
        return self.name if self.module == "builtins" else f"{self.module}.{self.name}"


class Inert:
    """A value that is no plain one. Its parts may be shared, and unfold to more than fits."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


@dataclass(frozen=True, slots=True)
class StorageRecord:
    """A storage as the pickle describes it: `numel` items of the class `kind`, under `key`."""

    kind: str
    key: str
    location: str
    numel: int
    view: bool = False

    @property
    def dtype(self) -> str | None:
        """The code of its items; None for untyped bytes and for dtypes without a code."""
        return STORAGE_CODES.get(self.kind)


@dataclass(slots=True, eq=False, repr=False)
class TensorRecord(Inert):
    """A strided view of a storage, in items of `dtype`; not yet held against the file.

    `conjugate` and `negative` are torch's bits: the values are stored before these are done.
    `state` are the attributes that the tensor's object has, as it pickles them.
    """

    storage: StorageRecord
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    conjugate: bool = False
    negative: bool = False
    state: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """A long text, or long bytes, that a pickle holds and that stay in its file until wanted.

    `packed` bytes of the file from `offset` on; a text's are UTF-8.
    """

    path: Path
    offset: int
    packed: int
    is_text: bool
    coding: Coding = Coding.PLAIN

    def may_be(self, nbytes: int) -> bool:
        """Whether it may hold so many bytes; those beyond ASCII take two in UTF-8."""
        if self.coding is Coding.LATIN:
            return nbytes <= self.packed <= 2 * nbytes
        return nbytes == self.packed

    def stored(self, nbytes: int) -> Stored:
        """The bytes, of which there should be so many."""
        return Stored(self.path, self.offset, self.packed, nbytes, self.coding)

    def read(self) -> str | bytes:
        """The text or the bytes; raises CheckpointError for what stands for neither."""
        data = b"".join(self.stored(self.packed).decoded())
        if not self.is_text:
            return data
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise CheckpointError(f"{self.path}: a text that is no UTF-8: damaged") from None


@dataclass(slots=True, eq=False, repr=False)
class ArrayRecord(Inert):
    """A NumPy array that the pickle spells out, when its state was set.

    `data` are its items, big-endian where `swapped`, `stride` items from one to the next. Without a
    dtype it is one of texts or dates, and no tensor, unless `unreadable` says why it is.
    """

    data: bytes | Stretch = b""
    dtype: str | None = None
    shape: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    swapped: bool = False
    unreadable: UnreadableSpec | None = None
    text: str = "without a state"


@dataclass(slots=True, eq=False, repr=False)
class DictValue(Inert):
    """A dict of any class (`kind`), with the attributes that its object had beside its entries.

    Keys are text, bytes, bool, None or int; what else stood there is wrapped in OddKey.
    """

    kind: str = "dict"
    entries: dict[Any, Any] = field(default_factory=dict)
    attributes: DictValue | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class OddKey(Inert):
    """A dict key that is never hashed: a float, a tuple, an object.

    The hash of nested tuples, or of many equal ones, costs what the file's author wants.
    """

    value: Any


@dataclass(slots=True, eq=False, repr=False)
class ObjectValue(Inert):
    """A call that the pickle asks for and that nobody makes: `name(*arguments)`, then its state.

    `is_new` is true of an object of the class `name`, whose arguments are its own parts, as a
    tuple's; `unreadable` says why a tensor stands here and not as a TensorRecord.
    """

    name: GlobalName
    arguments: tuple[Any, ...] = ()
    state: Any = None
    entries: DictValue | None = None
    items: list[Any] = field(default_factory=list)
    is_new: bool = False
    unreadable: UnreadableSpec | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HeldTensor(Inert):
    """A tensor or an array in memory; `unreadable` says why its values can't be read."""

    value: Any
    unreadable: UnreadableSpec | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one that can be read."""
        return tuple(self.value.shape)


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor or an array of numbers, readable or not."""
    if isinstance(value, ArrayRecord):
        return value.dtype is not None or value.unreadable is not None
    return isinstance(value, TensorRecord | HeldTensor) or why_unreadable(value) is not None


def why_unreadable(value: Any) -> UnreadableSpec | None:
    """Why the values of a tensor can't be read; None for what is none, and for those that can."""
    if isinstance(value, StorageRecord):
        what = f"a storage of {value.numel} items, without a tensor"
        return unreadable_spec(what, "save a tensor of it", value.dtype, (value.numel,))
    return value.unreadable if isinstance(value, (ObjectValue, ArrayRecord, HeldTensor)) else None
