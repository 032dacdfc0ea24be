"""The stack machine that pickle opcodes drive: marks, memo, and one method for each action.

No method allocates by a number that the pickle claims: what is taken is first held against the
bytes that are left, and what a byte can make is counted against a budget.
"""

from __future__ import annotations

from typing import Any

from ckptsurgeon.checkpoints.torch.inert import (
    DictValue,
    GlobalName,
    ObjectValue,
    StorageRecord,
    dict_key,
)
from ckptsurgeon.checkpoints.torch.rebuild import call, storage
from ckptsurgeon.errors import CheckpointError

MAX_VALUES = 1 << 24
"""Containers and other values of more than a few bytes that one pickle may make; a tensor takes
seven."""

FEW = 1000
"""Values that any pickle may make, beside two for each of its bytes."""

MAX_LONG_BYTES = 255
"""Longest integer: what opcode LONG1 can say, and all that torch itself reads."""

PROTOCOLS = range(2, 6)

SET = GlobalName("builtins", "set")

UNDERFLOW = "an opcode that wants more values than stand on the stack"


class CutError(CheckpointError):
    """The bytes end before the pickle does."""


class Machine:
    """The stack, the marks and the memo of one pickle being read."""

    __slots__ = (
        "_budget",
        "_floor",
        "_marks",
        "_memo",
        "_names",
        "_stack",
        "at",
        "data",
        "storages",
    )

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._floor = 0
        self._memo: dict[int, Any] = {}
        self._names: dict[tuple[str, str], GlobalName] = {}
        self._budget = min(MAX_VALUES, 2 * len(data) + FEW)
        self.storages: list[StorageRecord] = []

    # --- bytes

    def take(self, count: int) -> bytes:
        start = self.at
        if count > len(self.data) - start:
            raise CutError(
                f"wants {count} bytes where {len(self.data) - start} are left: the file was cut"
            )
        self.at = start + count
        return self.data[start : self.at]

    def byte(self) -> int:
        try:
            value = self.data[self.at]
        except IndexError:
            raise CutError("the bytes end within an opcode: the file was cut") from None
        self.at += 1
        return value

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def line(self) -> str:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise CutError("a name without its end of line: the file was cut")
        return _text(self.take(end + 1 - self.at)[:-1])

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
        self._budget -= count
        if self._budget < 0:
            raise CheckpointError(
                "makes more values than torch writes for so many bytes, or than are read at all"
            )

    # --- opcodes

    def protocol(self) -> None:
        found = self.number(1)
        if found not in PROTOCOLS:
            raise CheckpointError(f"protocol {found}; protocols 2 to 5 are read")

    def frame(self) -> None:
        size = self.number(8)
        if size > len(self.data) - self.at:
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
        size = self.number(width)
        if size > MAX_LONG_BYTES:
            raise CheckpointError(f"an integer of {size} bytes; at most {MAX_LONG_BYTES} are read")
        self.push(int.from_bytes(self.take(size), "little", signed=True))

    def text(self, width: int) -> None:
        self.push(_text(self.take(self.number(width))))

    def python2_text(self, width: int) -> None:
        """Python 2's str, which is text where it can be, else bytes."""
        data = self.take(self.number(width))
        try:
            self.push(data.decode("utf-8"))
        except UnicodeDecodeError:
            self.push(data)

    def bytes(self, width: int) -> None:
        self.push(self.take(self.number(width)))

    def put(self, index: int) -> None:
        self._memo[index] = self.top()

    def memoize(self) -> None:
        self._memo[len(self._memo)] = self.top()

    def get(self, index: int) -> None:
        if index not in self._memo:
            raise CheckpointError(f"takes value {index} of the memo, which was never put there")
        self._stack.append(self._memo[index])

    def global_name(self) -> None:
        self.push(self._named(self.line(), self.line()))

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise CheckpointError("a class whose module and name are no text")
        self.push(self._named(module, name))

    def _named(self, module: str, name: str) -> GlobalName:
        known = self._names.get((module, name))
        if known is None:
            plain = "builtins" if module == "__builtin__" else module
            known = self._names[module, name] = GlobalName(plain, name)
        return known

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if isinstance(arguments, tuple):
            self.spend(sum(map(_copied, arguments)))
        self.made(call(function, arguments))

    def new_with_keywords(self) -> None:
        keywords, arguments, made = self.pop(), self.pop(), self.pop()
        if not isinstance(arguments, tuple) or not isinstance(made, GlobalName):
            raise CheckpointError("NEWOBJ_EX without a class and a tuple of arguments")
        self.spend(len(arguments))
        self.made(ObjectValue(made, (*arguments, keywords)))

    def persistent(self) -> None:
        value = storage(self.pop())
        if isinstance(value, StorageRecord):
            self.storages.append(value)
        self.made(value)

    def build(self) -> None:
        state, target = self.pop(), self.top()
        if isinstance(target, DictValue):
            first = state[0] if isinstance(state, tuple) and state else state
            target.attributes = first if isinstance(first, DictValue) else None
        elif isinstance(target, ObjectValue):
            target.state = state
        else:
            raise CheckpointError(f"gives a state to a value that takes none: {_kind(target)}")

    def set_items(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise CheckpointError("a dict entry without its value")
        entries = self._entries()
        for index in range(0, len(items), 2):
            entries[dict_key(items[index])] = items[index + 1]

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


def _copied(argument: Any) -> int:
    """What a call that copies this argument may cost, in values."""
    if isinstance(argument, str):
        return len(argument) >> 4
    return len(argument) if isinstance(argument, list) else 0


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise CheckpointError("text that is no UTF-8") from None


def _kind(value: Any) -> str:
    return str(value.name) if isinstance(value, ObjectValue) else type(value).__name__
