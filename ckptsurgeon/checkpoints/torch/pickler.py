"""Writing inert values as a pickle of protocol 2 that `torch.load(weights_only=True)` reads."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ckptsurgeon.checkpoints.counts import are_counts
from ckptsurgeon.checkpoints.torch.inert import (
    DTYPE_CODES,
    DictValue,
    GlobalName,
    ObjectValue,
    OddKey,
    StorageRecord,
    Stretch,
    TensorRecord,
)
from ckptsurgeon.checkpoints.torch.keys import is_plain_key
from ckptsurgeon.checkpoints.torch.rebuild import ORDERED_DICT, SIZE
from ckptsurgeon.errors import OutputError
from ckptsurgeon.specs import DTYPE_NAMES

DEVICE = re.compile(
    r"(?:cpu|cuda|hip|hpu|ipu|lazy|maia|meta|mps|mtia|privateuseone|ve|vulkan|xla|xpu)(?::(?:0|[1-9]\d?))?"
)
"""What torch.device takes without other packages."""


def _are_counts(arguments: tuple[Any, ...]) -> bool:
    return len(arguments) == 1 and are_counts(arguments[0])


def _are_keys(arguments: tuple[Any, ...]) -> bool:
    items = arguments[0] if len(arguments) == 1 else None
    return isinstance(items, (list, tuple)) and all(map(is_plain_key, items))


def _are_numbers(arguments: tuple[Any, ...]) -> bool:
    return 0 < len(arguments) <= 2 and all(map(_is_number, arguments))


def _is_number(value: Any) -> bool:
    """Whether a value is one that a float holds."""
    return type(value) is float or (type(value) is int and value.bit_length() < 1024)


def _is_device(arguments: tuple[Any, ...]) -> bool:
    known = tuple(map(type, arguments)) in ((str,), (str, int))
    return known and DEVICE.fullmatch(":".join(map(str, arguments))) is not None


CALLS: Mapping[GlobalName, Callable[[tuple[Any, ...]], bool]] = {
    SIZE: _are_counts,
    GlobalName("torch", "device"): _is_device,
    GlobalName("builtins", "set"): _are_keys,
    GlobalName("builtins", "complex"): _are_numbers,
}
"""Calls that torch makes under `weights_only` and that give plain values, of such arguments."""

MODULES = {"builtins": "__builtin__"}
"""Names that protocol 2 writes as Python 2 had them."""

ENCODE = GlobalName("_codecs", "encode")

REBUILD = GlobalName("torch._utils", "_rebuild_tensor_v2")

REBUILD_WITH_DTYPE = GlobalName("torch._utils", "_rebuild_tensor_v3")

MAX_BITS = 255 * 8
"""Bits of the longest integer, with its sign, of the opcodes that torch reads."""

MAX_DEPTH = 100
"""Deepest nesting that is written."""

MAX_UNFOLDED = 1 << 24
"""Values that are written for one entry: as many as are read."""

MAX_PICKLE = 512 << 20
"""Bytes of a pickle that are written: no longer one is read where it is deflated."""

EMPTY_TUPLE, REDUCE, BUILD, PERSISTENT, MARK, STOP = b")", b"R", b"b", b"Q", b"(", b"."


def is_plain(value: Any, known: dict[int, int], depth: int = MAX_DEPTH) -> bool:
    """True for what can be written again: numbers, texts, and containers of them.

    False for what holds an object, a tensor, or itself, is nested too deep, or shares parts so that
    it unfolds to over MAX_UNFOLDED values. `known` is of containers that were looked at: how many
    values each unfolds to, 0 for what can't be written.
    """
    return 0 < _unfolded(value, known, depth) <= MAX_UNFOLDED


def _unfolded(value: Any, known: dict[int, int], depth: int) -> int:
    """How many values are written for this one; 0 where it can't be."""
    if isinstance(value, int):
        return _bits(value) < MAX_BITS
    if value is None or isinstance(value, (float, str, bytes, Stretch)):
        return 1
    if isinstance(value, GlobalName):
        return value.module == "torch" and value.name in DTYPE_CODES
    if id(value) not in known:
        known[id(value)] = 0  # what holds itself can't be written
        parts = _parts(value)
        if parts is not None and depth > 0:
            counts = [_unfolded(part, known, depth - 1) for part in parts]
            known[id(value)] = 1 + sum(counts) if all(counts) else 0
    return known[id(value)]


def _bits(value: int) -> int:
    """The bits of an integer, without that of its sign."""
    return (value if value >= 0 else ~value).bit_length()


def _parts(value: Any) -> Iterable[Any] | None:
    """What a value that can be written is made of; None for one that can't."""
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, DictValue):
        return (*value.entries, *value.entries.values(), value.attributes)
    if isinstance(value, OddKey):
        return (value.value,)
    if isinstance(value, ObjectValue) and value.name in CALLS and value.state is None:
        return value.arguments if CALLS[value.name](value.arguments) else None
    return None


def dump_pickle(value: Any) -> bytes:
    """The pickle of an inert value; the same value gives the same bytes."""
    encoder = _Encoder()
    encoder.put(value)
    return bytes(encoder.out + STOP)


class _Encoder:
    """The bytes so far, and the memo of the names and words that recur with every tensor."""

    def __init__(self) -> None:
        self.out = bytearray(b"\x80\x02")
        self._memo: dict[GlobalName | str, int] = {}

    def put(self, value: Any) -> None:
        if len(self.out) > MAX_PICKLE:
            raise OutputError(
                f"the plain entries of the template take over {MAX_PICKLE:,} bytes where they are "
                "spelled out, since they share parts; write safetensors"
            )
        if value is None:
            self.out += b"N"
        elif isinstance(value, bool):
            self.out += b"\x88" if value else b"\x89"
        elif isinstance(value, int):
            self._integer(value)
        elif isinstance(value, float):
            self.out += b"G" + struct.pack(">d", value)
        elif isinstance(value, str):
            self._text(value)
        elif isinstance(value, bytes):
            self._call(ENCODE, (value.decode("latin-1"), "latin1"))
        elif isinstance(value, GlobalName) and is_plain(value, {}):
            self._recurring(value)
        else:
            self._composed(value)

    def _composed(self, value: Any) -> None:
        if isinstance(value, TensorRecord):
            self._tensor(value)
        elif isinstance(value, tuple):
            self._tuple(value)
        elif isinstance(value, list):
            self._filled(b"]", value, b"e")
        elif isinstance(value, DictValue):
            self._dict(value)
        elif isinstance(value, Stretch):
            self.put(value.read())
        elif isinstance(value, OddKey):
            self.put(value.value)
        elif isinstance(value, ObjectValue) and value.name in CALLS:
            self._call(value.name, value.arguments)
        else:
            raise OutputError(f"a {type(value).__name__} can't be written to a torch file")

    def _integer(self, value: int) -> None:
        if 0 <= value < 1 << 8:
            self.out += b"K" + value.to_bytes(1, "little")
        elif 0 <= value < 1 << 16:
            self.out += b"M" + value.to_bytes(2, "little")
        elif -(1 << 31) <= value < 1 << 31:
            self.out += b"J" + value.to_bytes(4, "little", signed=True)
        else:
            data = value.to_bytes(_bits(value) // 8 + 1, "little", signed=True)
            self.out += b"\x8a" + len(data).to_bytes(1, "little") + data

    def _text(self, value: str) -> None:
        data = value.encode("utf-8", "surrogatepass")
        self.out += b"X" + len(data).to_bytes(4, "little") + data

    def _recurring(self, value: GlobalName | str) -> None:
        """A name or a text that recurs: written once, then taken from the memo."""
        known = value in self._memo
        index = self._memo.setdefault(value, len(self._memo))
        if not known and isinstance(value, GlobalName):
            module = MODULES.get(value.module, value.module)
            self.out += f"c{module}\n{value.name}\n".encode()
        elif not known:
            self._text(str(value))
        # One byte: names of dtypes, storages and few others are far below 256.
        self.out += (b"h" if known else b"q") + index.to_bytes(1, "little")

    def _call(self, name: GlobalName, arguments: tuple[Any, ...]) -> None:
        self._recurring(name)
        self._tuple(arguments)
        self.out += REDUCE

    def _tuple(self, values: tuple[Any, ...]) -> None:
        if values:
            self._filled(b"", values, b"t")
        else:
            self.out += EMPTY_TUPLE

    def _filled(self, empty: bytes, values: Iterable[Any], fill: bytes) -> None:
        self.out += empty + MARK
        for value in values:
            self.put(value)
        self.out += fill

    def _dict(self, value: DictValue) -> None:
        empty = b"}"
        if value.kind == "OrderedDict":
            self._call(ORDERED_DICT, ())
            empty = b""
        pairs = (part for pair in value.entries.items() for part in pair)
        self._filled(empty, pairs, b"u")
        if value.kind == "OrderedDict" and value.attributes is not None:
            self.put(value.attributes)
            self.out += BUILD

    def _tensor(self, record: TensorRecord) -> None:
        """`_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)`."""
        typed = record.storage.dtype == record.dtype
        self._recurring(REBUILD if typed else REBUILD_WITH_DTYPE)
        self.out += MARK
        self._storage(record.storage)
        for part in (record.offset, record.shape, record.stride, False):
            self.put(part)
        self._call(ORDERED_DICT, ())
        if not typed:
            self._recurring(GlobalName("torch", DTYPE_NAMES[record.dtype]))
        self.out += b"t" + REDUCE

    def _storage(self, storage: StorageRecord) -> None:
        self.out += MARK
        self._recurring("storage")
        module = "torch" if storage.dtype else "torch.storage"
        self._recurring(GlobalName(module, storage.kind))
        self._text(storage.key)
        self._recurring(storage.location)
        self.put(storage.numel)
        self.out += b"t" + PERSISTENT
