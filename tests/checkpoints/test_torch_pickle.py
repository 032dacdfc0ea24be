"""Pickles from strangers: nothing is run, nothing large is allocated, and refusals say why."""

from __future__ import annotations

import argparse
import collections
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ckptsurgeon.checkpoints.torch.described import describe
from ckptsurgeon.checkpoints.torch.inert import DictValue, GlobalName, ObjectValue, OddKey
from ckptsurgeon.checkpoints.torch.interpreter import Pickle, load_pickle
from ckptsurgeon.checkpoints.torch.keys import LONGEST_TEXT, key_text
from ckptsurgeon.checkpoints.torch.pickler import is_plain
from ckptsurgeon.checkpoints.torch.window import CutError, Window
from ckptsurgeon.errors import CheckpointError

PROTO = b"\x80\x02"


def load(data: bytes) -> Pickle:
    return load_pickle(Window(data))


class Runs:
    """Pickled as a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_of_every_protocol(protocol: int) -> None:
    value = {
        "a": [1, -2, 300, 70000, 2**40, -(2**70)],
        "b": (None, True, 2.5),
        "c": b"\xff\0",
        "é": (),
    }
    found = load(pickle.dumps(value, protocol)).value
    assert isinstance(found, DictValue)
    assert found.entries == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ("NoneType", "None")),
        (3, ("int", "3")),
        ("line\n\x1b[31m", ("str", "'line\\n\\x1b[31m'")),
        ("x" * 99, ("str", "'" + "x" * 58 + "…")),
        ([1, (2, 3)], ("list", "[1, tuple of 2]")),
        ({"a": 1}, ("dict", "1 entry: 'a'")),
        ({}, ("dict", "empty")),
        (collections.Counter("aab"), ("Counter", "2 entries: 'a', 'b'")),
        (np.float64(0.5), ("numpy.float64", "0.5")),
        (np.int32(-7), ("numpy.int32", "-7")),
        (torch.float16, ("dtype", "torch.float16")),
        (torch.Size([2, 3]), ("torch.Size", "tuple of 2")),
        (torch.device("cuda", 1), ("torch.device", "'cuda', 1")),
        (argparse.Namespace(lr=0.1), ("argparse.Namespace", "1 entry: 'lr'")),
        (print, ("type", "print")),
    ],
)
def test_entries_in_a_few_safe_words(value: Any, text: tuple[str, str]) -> None:
    assert describe(load(pickle.dumps(value, 2)).value) == text


def test_a_call_is_described_and_not_made(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    found = load(pickle.dumps(Runs(f"touch {trace}"), 2)).value
    assert isinstance(found, ObjectValue)
    assert found.name == GlobalName(os.system.__module__, "system")
    assert not trace.exists()


@pytest.mark.parametrize(
    "data",
    [
        PROTO + b"c__builtin__\nbytearray\n\x8a\x05" + (12 << 30).to_bytes(5, "little") + b"\x85R.",
        PROTO + b"]r\xff\xff\xff\xff.",
        PROTO + b"c__builtin__\nrange\nJ\xff\xff\xff\x7f\x85R.",
        PROTO + b"(" * 1000 + b"1" * 1000 + b"N.",
    ],
    ids=["bytearray of 12 GB", "memo index 2**32 - 1", "range", "marks"],
)
def test_small_files_take_small_memory(data: bytes) -> None:
    tracemalloc.start()
    load(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    "data",
    [
        b"](]q\0(K\1K\2e" + b"h\0" * 10000 + b"eq\1" + b"ccollections\nOrderedDict\nh\1\x85R" * 999,
        b"X\0\0\x10\0"
        + b"x" * (1 << 20)
        + b"q\2"
        + b"c_codecs\nencode\nh\2X\6\0\0\0latin1\x86R" * 9999,
        b"}(" + b"".join(b"M" + n.to_bytes(2, "little") + b"N" for n in range(9999)) + b"u"
        b"\x85q\1" + b"ccollections\nOrderedDict\nh\1R" * 999,
        b"(" + b"N" * 50000 + b"t\x85q\1" + b"ccollections\ndeque\nh\1R" * 9999,
        b"(" + b"N" * 50000 + b"tq\1" + b"cm\nf\nh\1R" * 9999,
        b"\x8f" * 9999,
    ],
    ids=["pairs", "bytes", "entries", "items", "arguments", "sets"],
)
def test_shared_values_are_not_copied_without_measure(data: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="makes more values than torch writes"):
        load(PROTO + data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * len(data)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "before the STOP opcode"),
        (b"I1x\n.", "an integer that is none"),
        (b"Fx\n.", "a number that is none"),
        (b"Sx\n.", "a text without its quotes"),
        (b"S'\\x'\n.", "an escape that is none"),
        (b"Px\n.", "a persistent id that is text"),
        (b"\x80\x09.", "protocol 9"),
        (PROTO + b"\x82\x01.", "opcode EXT1"),
        (PROTO + b"\x97.", "opcode NEXT_BUFFER"),
        (PROTO + b"\xff.", "byte 0xff, which is no opcode"),
        (PROTO + b".", "more values than stand on the stack"),
        (PROTO + b"(N\x86.", "more values than stand on the stack"),
        (PROTO + b"N(0R.", "more values than stand on the stack"),
        (PROTO + b"Nt.", "wants a MARK"),
        (PROTO + b"Np4294967296\n.", "at 4294967296 of the memo; wanted one of 32 bits"),
        (PROTO + b"c" + b"m" * 1000 + b"\nf\n.", "a class whose name has over 1000 characters"),
        (PROTO + b"h\x05.", "takes value 5 of the memo"),
        (PROTO + b"\x8b\xff\xff\xff\x7f\x00.", "an integer of 2147483647 bytes"),
        (PROTO + b"X\xff\xff\xff\xff.", "the file was cut"),
        (PROTO + b"\x8d" + b"\xff" * 8 + b".", "the file was cut"),
        (PROTO + b"\x95" + b"\xff" * 8 + b".", "reaches beyond the end"),
        (PROTO + b"cos\nsystem", "the file was cut"),
        (PROTO + b"}(K\x01u.", "without its value"),
        (PROTO + b"](K\x01K\x02u.", "sets an entry of a value that has none: list"),
        (PROTO + b"}(K\x01e.", "appends to a value that is no list"),
        (PROTO + b"K\x01}b.", "gives a state to a value that takes none: int"),
        (PROTO + b"cos\nsystem\n]R.", "arguments are no tuple"),
        (PROTO + b"X\x02\0\0\0\xff\xfe.", "no UTF-8"),
        (PROTO + b"K\x01K\x02\x93.", "no text"),
        (PROTO + b"K\x01Q.", "persistent id"),
        (PROTO + b"(X\x07\0\0\0storageK\x01K\x01K\x01K\x01tQ.", "of the wrong type"),
    ],
)
def test_refusals_say_what_was_found(data: bytes, told: str) -> None:
    with pytest.raises(CheckpointError, match=told.replace("(", r"\(")):
        load(data)


def test_every_cut_is_noticed() -> None:
    data = pickle.dumps({"a": [1.5, "text", 2**40], "b": collections.OrderedDict(x=b"y")}, 2)
    for end in range(1, len(data)):
        with pytest.raises(CutError):
            load(data[:end])


def test_keys_that_cost_their_reader_are_never_hashed() -> None:
    nested = b")q\x00"
    for index in range(60):
        nested += b"h" + bytes([index]) + b"h" + bytes([index]) + b"\x86q" + bytes([index + 1])
    found = load(PROTO + nested + b"0}h\x3cK\x01s.")
    assert len(found.value.entries) == 1


def nest_keys(levels: int, most: int) -> bytes:
    """A dict whose keys are dicts, whose keys are dicts: each the same one, many times."""
    return b"}q\0" + (b"0}(" + b"h\0N" * most + b"uq\0") * levels


def test_dicts_as_keys_of_dicts_are_told_in_a_line() -> None:
    for levels, most in ((3000, 1), (30, 4)):
        value = load(PROTO + nest_keys(levels, most) + b".").value
        assert describe(value)[0] == "dict"
        assert len(describe(value)[1]) < 200


def test_tuples_that_share_parts_are_spelled_no_further_than_is_told() -> None:
    part: Any = ()
    for _ in range(15):
        part = (part,) * 16
    text = key_text(OddKey(part))
    assert (text[:4], text[-1], len(text)) == ("((((", "…", LONGEST_TEXT)


def test_shared_parts_that_unfold_without_measure_are_not_plain() -> None:
    part: Any = ((),)
    for _ in range(8):
        part = (part,) * 16
    assert not is_plain(part, {})
    assert is_plain(((part[0][0][0],) * 3, [1, "a"]), {})
