"""The stack machine that pickle opcodes drive: marks, memo, and one method for each action.

What a byte can make is counted against a budget.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any

from ckptsurgeon.checkpoints.counts import MAX_DIMS
from ckptsurgeon.checkpoints.torch.arrays import BYTEARRAY, set_state
from ckptsurgeon.checkpoints.torch.inert import (
    LONGEST_NAME,
    ArrayRecord,
    DictValue,
    GlobalName,
    ObjectValue,
    StorageRecord,
    Stretch,
    TensorRecord,
)
from ckptsurgeon.checkpoints.torch.keys import dict_key
from ckptsurgeon.checkpoints.torch.rebuild import call, new_object, storage
from ckptsurgeon.checkpoints.torch.window import CutError, Window
from ckptsurgeon.errors import CheckpointError

MAX_VALUES = 1 << 24
"""Containers and other values of more than a few bytes that one pickle may make; a tensor takes
seven."""

FEW = 1000
"""Values that any pickle may make, beside two for each of its bytes."""

MAX_INDEX = 1 << 32
"""Number of places in the memo; such indices hash to themselves."""

MAX_LONG_BYTES = 255
"""Longest integer: what opcode LONG1 can say, and all that torch itself reads."""

PROTOCOLS = range(6)

UTF8 = "utf-8", "surrogatepass"
"""How a pickle spells texts: halves of surrogate pairs as well."""

PYTHON2 = {b"__builtin__": b"builtins", b"copy_reg": b"copyreg"}
"""What modules were called in Python 2, and in pickles up to protocol 2."""

SET = GlobalName("builtins", "set")

UNDERFLOW = "an opcode that wants more values than stand on the stack"


class Machine:
    """The stack, the marks and the memo of one pickle being read from a window."""

    __slots__ = (
        "_budget",
        "_floor",
        "_granted",
        "_marks",
        "_memo",
        "_names",
        "_stack",
        "input",
        "storages",
    )

    def __init__(self, window: Window) -> None:
        self.input = window
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._floor = 0
        self._memo: dict[int, Any] = {}
        self._names: dict[tuple[bytes, bytes], GlobalName] = {}
        self._budget = self._granted = FEW
        self.storages: list[StorageRecord] = []

    # --- stack

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        if len(self._stack) <= self._floor:
            raise CheckpointError(UNDERFLOW)
        return self._stack.pop()

    def top(self) -> Any:
        if len(self._stack) <= self._floor:
            raise CheckpointError(UNDERFLOW)
        return self._stack[-1]

    def _drop_mark(self) -> int:
        start = self._marks.pop()
        self._floor = self._marks[-1] if self._marks else 0
        return start

    def since_mark(self) -> list[Any]:
        if not self._marks:
            raise CheckpointError("an opcode that wants a MARK, and none stands on the stack")
        start = self._drop_mark()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def spend(self, count: int) -> None:
        """Counts values against what the bytes read so far can make."""
        self._budget -= count
        if self._budget < 0:
            granted = min(MAX_VALUES, 2 * self.input.passed + FEW)
            self._budget, self._granted = self._budget + granted - self._granted, granted
        if self._budget < 0:
            raise CheckpointError(
                "makes more values than torch writes for so many bytes, or than are read at all"
            )

    # --- opcodes

    def protocol(self) -> None:
        found = self.input.byte()
        if found not in PROTOCOLS:
            raise CheckpointError(f"protocol {found}; protocols 0 to 5 are read")

    def frame(self) -> None:
        size = self.input.number(8)
        if size > self.input.left:
            raise CutError(f"a frame of {size} bytes, which reaches beyond the end")

    def mark(self) -> None:
        self._floor = len(self._stack)
        self._marks.append(self._floor)

    def drop(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._drop_mark()
        else:
            self.pop()

    def made(self, value: Any) -> None:
        self._budget -= 1
        if self._budget < 0:
            self.spend(0)
        self._stack.append(value)

    def fixed_tuple(self, count: int) -> None:
        if len(self._stack) - self._floor < count:
            raise CheckpointError(UNDERFLOW)
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        self.made(items)

    def long(self, width: int) -> None:
        size = self.input.number(width)
        if size > MAX_LONG_BYTES:
            raise CheckpointError(f"an integer of {size} bytes; at most {MAX_LONG_BYTES} are read")
        self.push(int.from_bytes(self.input.take(size), "little", signed=True))

    def text(self, width: int) -> None:
        data = self.input.payload(self.input.number(width), is_text=True)
        self.push(data if isinstance(data, Stretch) else _text(data))

    def python2_text(self, width: int) -> None:
        """Python 2's str, which is text where it can be, else bytes."""
        data = self.input.payload(self.input.number(width), is_text=False)
        self.push(data if isinstance(data, Stretch) else _text_or_bytes(data))

    def payload(self, width: int) -> None:
        self.push(self.input.payload(self.input.number(width), is_text=False))

    def byte_array(self, width: int) -> None:
        data = self.input.payload(self.input.number(width), is_text=False)
        self.made(ObjectValue(BYTEARRAY, (data,)))

    def set_of(self, items: list[Any], name: GlobalName) -> None:
        """A set, which takes the memory of four values."""
        self.spend(3)
        self.made(ObjectValue(name, (items,)))

    # --- opcodes of protocol 0, which are lines of text

    def integer_line(self) -> None:
        """An integer, or as `I01` a truth value; a long one ends in L."""
        line = self.input.line()
        if len(line) > MAX_LONG_BYTES * 3:
            raise CheckpointError(f"an integer of {len(line)} digits")
        self.push(line == b"01" if line in (b"00", b"01") else _integer(line.rstrip(b"L")))

    def float_line(self) -> None:
        try:
            self.push(float(self.input.line()))
        except ValueError:
            raise CheckpointError("a number that is none") from None

    def text_line(self) -> None:
        try:
            self.push(self.input.line().decode("raw-unicode-escape"))
        except UnicodeDecodeError:
            raise CheckpointError("text that is no UTF-8") from None

    def quoted_line(self) -> None:
        """Python 2's str between quotes, with escapes."""
        line = self.input.line()
        if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"'):
            raise CheckpointError("a text without its quotes")
        try:
            self.push(_text_or_bytes(codecs.escape_decode(line[1:-1])[0]))
        except ValueError:
            raise CheckpointError("a text with an escape that is none") from None

    def index_line(self) -> int:
        """The number of a place in the memo."""
        return _integer(self.input.line())

    def listed(self, kind: type) -> None:
        """The values since the mark, as a list or a dict."""
        items = self.since_mark()
        self.made(items if kind is list else DictValue())
        if kind is dict:
            self.set_items(items)

    def persistent_line(self) -> None:
        self.input.line()
        raise CheckpointError("a persistent id that is text; torch writes tuples")

    def instance(self) -> None:
        """An object of a class that stands in two lines, or lies below its arguments."""
        name = self._named(self.input.line(), self.input.line())
        self.made(ObjectValue(name, tuple(self.since_mark()), is_new=True))

    def object_of_class(self) -> None:
        kind, *arguments = self.since_mark() or [None]
        self._call(new_object, kind, tuple(arguments))

    def put(self, index: int) -> None:
        if not 0 <= index < MAX_INDEX:
            raise CheckpointError(f"puts a value at {index} of the memo; wanted one of 32 bits")
        self._memo[index] = self.top()

    def memoize(self) -> None:
        self._memo[len(self._memo)] = self.top()

    def get(self, index: int) -> None:
        if index not in self._memo:
            raise CheckpointError(f"takes value {index} of the memo, which was never put there")
        self._stack.append(self._memo[index])

    def global_name(self) -> None:
        self.push(self._named(self.input.line(), self.input.line()))

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise CheckpointError("a class whose module and name are no text")
        self.push(self._named(module.encode(*UTF8), name.encode(*UTF8)))

    def _named(self, module: bytes, name: bytes) -> GlobalName:
        known = self._names.get((module, name))
        if known is None:
            if len(module) + len(name) > LONGEST_NAME:
                raise CheckpointError(f"a class whose name has over {LONGEST_NAME} characters")
            plain = PYTHON2.get(module, module)
            known = self._names[module, name] = GlobalName(_text(plain), _text(name))
        return known

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(arguments, tuple):
            raise CheckpointError("a call whose arguments are no tuple")
        self._call(call, function, arguments)

    def new(self) -> None:
        """An object of a class, from the arguments of its `__new__`."""
        arguments, kind = self.pop(), self.pop()
        if not isinstance(arguments, tuple):
            raise CheckpointError("NEWOBJ without a tuple of arguments")
        self._call(new_object, kind, arguments)

    def new_with_keywords(self) -> None:
        keywords, arguments, made = self.pop(), self.pop(), self.pop()
        if not isinstance(arguments, tuple):
            raise CheckpointError("NEWOBJ_EX without a tuple of arguments")
        self._call(call, made, (*arguments, keywords))

    def _call(
        self, make: Callable[[Any, tuple[Any, ...]], Any], function: Any, arguments: tuple[Any, ...]
    ) -> None:
        """What a call makes of its arguments, which costs what it looks at, and what it copies."""
        self.spend(_cost(arguments))
        value = make(function, arguments)
        self.spend(_size(value))
        self.made(value)

    def persistent(self) -> None:
        value = storage(self.pop())
        if isinstance(value, StorageRecord):
            self.storages.append(value)
        self.made(value)

    def build(self) -> None:
        state, target = self.pop(), self.top()
        if isinstance(state, tuple):
            self.spend(sum(_copied(part) for part in state if isinstance(part, str)))
        if isinstance(target, DictValue):
            first = state[0] if isinstance(state, tuple) and state else state
            target.attributes = first if isinstance(first, DictValue) else None
        elif isinstance(target, ObjectValue):
            if target.unreadable is None:  # else it is how a class of tensors keeps its values
                target.state = state
        elif isinstance(target, ArrayRecord):
            set_state(target, state)
        elif isinstance(target, TensorRecord):
            target.state = state
        else:
            raise CheckpointError(f"gives a state to a value that takes none: {_kind(target)}")

    def set_items(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise CheckpointError("a dict entry without its value")
        entries = self._entries()
        for index in range(0, len(items), 2):
            key = items[index]
            if isinstance(key, ObjectValue):
                self.spend(_spelled(key))
            entries[dict_key(key)] = items[index + 1]

    def _entries(self) -> dict[Any, Any]:
        target = self.top()
        if isinstance(target, ObjectValue):
            if target.entries is None:
                target.entries = DictValue()
            target = target.entries
        if not isinstance(target, DictValue):
            raise CheckpointError(f"sets an entry of a value that has none: {_kind(target)}")
        return target.entries

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def extend(self, items: list[Any]) -> None:
        target = self.top()
        if isinstance(target, ObjectValue):
            holder = target.arguments[0] if target.name == SET and target.arguments else None
            target = holder if isinstance(holder, list) else target.items
        if not isinstance(target, list):
            raise CheckpointError(f"appends to a value that is no list: {_kind(target)}")
        target.extend(items)


def _spelled(key: ObjectValue) -> int:
    """What it may cost to read a text out of a NumPy scalar, in values."""
    return sum(len(one) >> 4 for one in key.arguments if isinstance(one, bytes))


def _cost(arguments: tuple[Any, ...]) -> int:
    """What a call with these may cost, in values: each is looked at, and many are copied."""
    return (len(arguments) >> 3) + sum(map(_copied, arguments))


def _size(made: Any) -> int:
    """The entries of what a call made, which may be copies of those that it was given."""
    if isinstance(made, DictValue):
        return len(made.entries)
    return len(made.items) if isinstance(made, ObjectValue) else 0


def _copied(argument: Any) -> int:
    """What a call that copies this argument may cost, in values."""
    if isinstance(argument, str):
        return len(argument) >> 4
    if isinstance(argument, tuple):
        return len(argument) if len(argument) > MAX_DIMS else 0  # shapes are for nothing
    return len(argument) if isinstance(argument, list) else 0


def _text(data: bytes) -> str:
    try:
        return data.decode(*UTF8)
    except UnicodeDecodeError:
        raise CheckpointError("text that is no UTF-8") from None


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _integer(line: bytes) -> int:
    try:
        return int(line)
    except ValueError:
        raise CheckpointError("an integer that is none") from None


def _kind(value: Any) -> str:
    return str(value.name) if isinstance(value, ObjectValue) else type(value).__name__
