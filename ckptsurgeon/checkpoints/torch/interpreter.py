"""An interpreter of a closed list of pickle opcodes that describes what it reads and builds none.

It imports nothing, calls nothing, and allocates by what the bytes hold. Protocols 0 to 5 are read;
buffers outside of the pickle and extension codes are refused by name.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ckptsurgeon.checkpoints.torch.inert import DictValue, GlobalName, StorageRecord
from ckptsurgeon.checkpoints.torch.machine import SET, Machine
from ckptsurgeon.checkpoints.torch.window import CutError, Window
from ckptsurgeon.errors import CheckpointError

STOP = ord(".")

FROZENSET = GlobalName("builtins", "frozenset")


@dataclass(frozen=True, slots=True)
class Pickle:
    """What a pickle says: its inert value, the place behind it, and the storages it names."""

    value: Any
    end: int
    storages: tuple[StorageRecord, ...]


def load_pickle(window: Window) -> Pickle:
    """What the pickle says that a window begins with.

    Raises CheckpointError for an opcode outside the closed list, with its name and place, and
    CutError for bytes that end early.
    """
    machine = Machine(window)
    try:
        value = _run(machine)
    except CheckpointError as error:
        raise type(error)(f"in the pickle, before byte {window.position}: {error}") from None
    return Pickle(value, window.position, tuple(machine.storages))


def _run(machine: Machine) -> Any:
    window, actions = machine.input, _ACTIONS
    while True:
        if window.at == len(window.data):
            if not window.left:
                raise CutError("the bytes end before the STOP opcode: the file was cut")
            window.fill(1)
        code = window.data[window.at]
        window.at += 1
        if code == STOP:
            return machine.pop()
        action = actions.get(code)
        if action is None:
            raise CheckpointError(_refusal(code))
        action(machine)


def _refusal(code: int) -> str:
    import pickletools  # only a pickle that is refused needs it

    names = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
    if code not in names:
        return f"byte {code:#04x}, which is no opcode: no pickle, or a damaged one"
    return f"opcode {names[code]}, which needs what stands outside of the file and is not read"


_ACTIONS: Mapping[int, Callable[[Machine], object]] = {
    ord(letter): action
    for letter, action in (
        ("\x80", Machine.protocol),
        ("\x95", Machine.frame),
        ("(", Machine.mark),
        ("0", Machine.drop),
        ("1", Machine.since_mark),
        ("N", lambda machine: machine.push(None)),
        ("\x88", lambda machine: machine.push(True)),
        ("\x89", lambda machine: machine.push(False)),
        ("J", lambda machine: machine.push(struct.unpack("<i", machine.input.take(4))[0])),
        ("K", lambda machine: machine.push(machine.input.byte())),
        ("M", lambda machine: machine.push(machine.input.number(2))),
        ("\x8a", lambda machine: machine.long(1)),
        ("\x8b", lambda machine: machine.long(4)),
        ("G", lambda machine: machine.push(struct.unpack(">d", machine.input.take(8))[0])),
        ("\x8c", lambda machine: machine.text(1)),
        ("X", lambda machine: machine.text(4)),
        ("\x8d", lambda machine: machine.text(8)),
        ("U", lambda machine: machine.python2_text(1)),
        ("T", lambda machine: machine.python2_text(4)),
        ("C", lambda machine: machine.payload(1)),
        ("B", lambda machine: machine.payload(4)),
        ("\x8e", lambda machine: machine.payload(8)),
        ("\x96", lambda machine: machine.byte_array(8)),
        (")", lambda machine: machine.push(())),
        ("t", lambda machine: machine.made(tuple(machine.since_mark()))),
        ("\x85", lambda machine: machine.fixed_tuple(1)),
        ("\x86", lambda machine: machine.fixed_tuple(2)),
        ("\x87", lambda machine: machine.fixed_tuple(3)),
        ("]", lambda machine: machine.made([])),
        ("a", lambda machine: machine.extend([machine.pop()])),
        ("e", lambda machine: machine.extend(machine.since_mark())),
        ("}", lambda machine: machine.made(DictValue())),
        ("s", Machine.set_item),
        ("u", lambda machine: machine.set_items(machine.since_mark())),
        ("\x8f", lambda machine: machine.set_of([], SET)),
        ("\x90", lambda machine: machine.extend(machine.since_mark())),
        ("\x91", lambda machine: machine.set_of(machine.since_mark(), FROZENSET)),
        ("q", lambda machine: machine.put(machine.input.byte())),
        ("r", lambda machine: machine.put(machine.input.number(4))),
        ("\x94", Machine.memoize),
        ("h", lambda machine: machine.get(machine.input.byte())),
        ("j", lambda machine: machine.get(machine.input.number(4))),
        ("c", Machine.global_name),
        ("\x93", Machine.stack_global),
        ("R", Machine.reduce),
        ("\x81", Machine.new),
        ("\x92", Machine.new_with_keywords),
        ("b", Machine.build),
        ("Q", Machine.persistent),
        ("I", Machine.integer_line),
        ("L", Machine.integer_line),
        ("F", Machine.float_line),
        ("S", Machine.quoted_line),
        ("V", Machine.text_line),
        ("P", Machine.persistent_line),
        ("p", lambda machine: machine.put(machine.index_line())),
        ("g", lambda machine: machine.get(machine.index_line())),
        ("2", lambda machine: machine.push(machine.top())),
        ("l", lambda machine: machine.listed(list)),
        ("d", lambda machine: machine.listed(dict)),
        ("i", Machine.instance),
        ("o", Machine.object_of_class),
    )
}
"""The closed list: what each opcode does, by its byte."""
