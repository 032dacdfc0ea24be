"""Models that are protobuf messages: they have no magic, so their first fields tell which one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ckptsurgeon.checkpoints.foreign import formats
from ckptsurgeon.checkpoints.foreign.formats import Foreign

ONNX_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
"""Number and wire type of each field of ONNX's ModelProto."""

MOST_VERSION = 64
"""Far above any version of ONNX's IR or of CoreML's specification."""

VARINT, MESSAGE = 0, 2
CAFFE_LAYERS = 100
"""The field of Caffe's layers; those of its first version are 2."""


@dataclass(frozen=True, slots=True)
class Part:
    """A field of a message: its number, its wire type, a number or the bytes that are there."""

    number: int
    wire: int
    value: int
    data: bytes

    @property
    def text(self) -> bool:
        """Whether its bytes are of a text, as a name is."""
        try:
            return self.wire == MESSAGE and bool(self.data) and self.data.decode().isprintable()
        except UnicodeDecodeError:
            return False

    @property
    def parts(self) -> list[Part]:
        """The fields of its message."""
        return list(read_parts(self.data))


def read_parts(data: bytes) -> Iterator[Part]:
    """The fields that begin in these bytes, the last one perhaps cut; ends where none is."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value, at = _varint(data, at)
        if tag & 7 not in (VARINT, MESSAGE) or tag < 8 or value < 0:
            return
        taken = value if tag & 7 == MESSAGE else 0
        yield Part(tag >> 3, tag & 7, value, data[at : at + taken])
        at += taken


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends; -1 where there is none."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            return -1, at
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    return -1, at


def find_protobuf(head: bytes, path: Path) -> Foreign | None:
    """The format of a protobuf model that begins with these bytes."""
    parts = list(read_parts(head))
    if not parts or parts[0].number not in (1, 2, CAFFE_LAYERS):
        return None
    if (parts[0].number, parts[0].wire) == (1, VARINT):
        return _find_versioned(parts, path) if 0 < parts[0].value <= MOST_VERSION else None
    return _find_layered(parts)


def _find_versioned(parts: list[Part], path: Path) -> Foreign | None:
    """What begins with a version: ONNX, CoreML, and TensorFlow's SavedModel."""
    if len(parts) < 2:
        return None
    second = parts[1]
    if (second.number, second.wire) == (2, MESSAGE) and not second.text:
        feature = second.parts[:1]
        named = feature and feature[0].number == 1 and (feature[0].text or _is_named(feature[0]))
        if parts[0].value == 1 and not named:
            return formats.saved_model(path.parent)
        return formats.COREML if second.data[:1] == b"\n" else None
    if all(ONNX_FIELDS.get(part.number) == part.wire for part in parts[:-1]) and (
        ONNX_FIELDS.get(second.number) == MESSAGE == second.wire
    ):
        return formats.ONNX
    return None


def _is_named(part: Part) -> bool:
    """Whether a message begins with its name, as a feature of CoreML does."""
    return any(one.number == 1 and one.text for one in part.parts[:1])


def _find_layered(parts: list[Part]) -> Foreign | None:
    """What begins with names or layers: Caffe, MindSpore, Paddle, a graph of TensorFlow."""
    first = parts[0]
    if first.text and len(parts) > 1 and parts[1].number in (2, 3, CAFFE_LAYERS):
        return formats.CAFFE if parts[1].wire == MESSAGE else None
    inner = first.parts
    if first.number == CAFFE_LAYERS:
        return formats.CAFFE if _is_named(first) else None
    if first.number != 1 or len(inner) < 2:
        return None
    if [(one.number, one.wire) for one in inner[:2]] == [(1, VARINT), (2, VARINT)]:
        # A block of Paddle's: its number, then its parent's, which is -1 for the first.
        return formats.PADDLE if (inner[0].value, inner[1].value) == (0, 2**64 - 1) else None
    if not (inner[0].number == 1 and inner[0].text and inner[1].number == 2):
        return None
    if inner[1].text:
        return formats.FROZEN_GRAPH
    return formats.MINDSPORE if inner[1].wire == MESSAGE else None
