"""The inert values that a torch pickle is read into, and torch's names for dtypes and storages.

Nothing here can be called, and nothing holds more memory than the file itself spelled out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ckptsurgeon.specs import DTYPE_NAMES

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


@dataclass(frozen=True, slots=True)
class GlobalName:
    """A class or function that the pickle names; `__builtin__` is told as `builtins`."""

    module: str
    name: str

    def __str__(self) -> str:
        return self.name if self.module == "builtins" else f"{self.module}.{self.name}"


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


@dataclass(frozen=True, slots=True, eq=False)
class TensorRecord:
    """A strided view of a storage, in items of `dtype`; not yet held against the file."""

    storage: StorageRecord
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(slots=True, eq=False)
class DictValue:
    """A dict of any class (`kind`), with the attributes that its object had beside its entries.

    Keys are text, bytes, bool, None or int; what else stood there is wrapped in OddKey.
    """

    kind: str = "dict"
    entries: dict[Any, Any] = field(default_factory=dict)
    attributes: DictValue | None = None


@dataclass(frozen=True, slots=True, eq=False)
class OddKey:
    """A dict key that is never hashed: a float, a tuple, an object.

    The hash of nested tuples, or of many equal ones, costs what the file's author wants.
    """

    value: Any


@dataclass(slots=True, eq=False)
class ObjectValue:
    """A call that the pickle asks for and that nobody makes: `name(*arguments)`, then its state.

    `reason` says why a tensor stands here and not as a TensorRecord.
    """

    name: GlobalName
    arguments: tuple[Any, ...] = ()
    state: Any = None
    entries: DictValue | None = None
    items: list[Any] = field(default_factory=list)
    reason: str = ""


HASHED_INTEGERS = 2**60
"""Integers below hash to themselves; beyond, thousands can be made to share one hash."""


def dict_key(key: Any) -> Any:
    """The key itself where hashing it is cheap and spread, else an OddKey."""
    if isinstance(key, (str, bytes, bool)) or key is None:
        return key
    if isinstance(key, int) and abs(key) < HASHED_INTEGERS:
        return key
    return OddKey(key)


def key_text(key: Any) -> str | None:
    """The piece that a dict key gives to a dotted key; None for keys that are no text or int."""
    if isinstance(key, str):
        return key
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    return None
