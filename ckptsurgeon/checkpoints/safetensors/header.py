"""The header of a safetensors file: one parser that both checks and reads.

The format: eight bytes of header length, a JSON header, then the tensors' bytes without a gap.
"""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec

from ckptsurgeon.checkpoints.base import Contents
from ckptsurgeon.checkpoints.counts import MAX_DIMS, are_counts
from ckptsurgeon.checkpoints.strict_json import distinct, load_object, shorten
from ckptsurgeon.errors import CheckpointError, OutputError
from ckptsurgeon.specs import BITS, TensorSpec

MAX_HEADER = 100_000_000
"""Longest header, in bytes, that the format allows."""

ABSENT = frozenset({"C128"})
"""Dtypes that other formats have and this one lacks."""

METADATA = "__metadata__"

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What a header says of one tensor; offsets count from the header's end."""

    dtype: str
    shape: Annotated[tuple[Count, ...], msgspec.Meta(max_length=MAX_DIMS)]
    data_offsets: tuple[Count, Count]


_DECODER = msgspec.json.Decoder(dict[str, Entry])

_METADATA_DECODER = json.JSONDecoder(object_pairs_hook=distinct)

TEXTS_PER_ENTRY = 5
"""Texts in an entry and its key: the key, three fields, a dtype."""


def parse_header(header: bytes, data_nbytes: int) -> Contents:
    """What the header's bytes say of the `data_nbytes` bytes of tensors that follow it.

    Tensors lie one behind the other without a gap, so that the specs, in the file's order, say
    where each begins.

    Raises CheckpointError for anything but a JSON object of distinct names whose tensors fill the
    data from its first byte to its last, without gap or overlap, each with the size of its spec.
    """
    if not header.startswith(b"{"):
        raise CheckpointError(f"its header begins with {header[:8]!r}, wanted a JSON object")
    entries, metadata = _read_fast(header) or _read_strictly(header)
    ordered: Iterable[tuple[str, Entry]] = entries.items()
    offsets = [entry.data_offsets for entry in entries.values()]
    if any(map(operator.gt, offsets, offsets[1:])):
        ordered = sorted(ordered, key=lambda item: item[1].data_offsets)
    specs: dict[str, TensorSpec] = {}
    known: dict[tuple[str, tuple[int, ...]], tuple[TensorSpec, int]] = {}
    at = 0
    for key, entry in ordered:
        kind = entry.dtype, entry.shape
        spec, nbytes = known.get(kind) or known.setdefault(kind, _sized(key, entry))
        begin, end = entry.data_offsets
        if begin != at or end - begin != nbytes:
            raise _misplaced(key, spec, entry, at)
        specs[key], at = spec, end
    if at != data_nbytes:
        cut = ": it was cut, fetch it again" if at > data_nbytes else ""
        raise CheckpointError(f"its tensors take {at} bytes, the file has {data_nbytes}{cut}")
    return Contents(specs, metadata=metadata)


Entries = tuple[dict[str, Entry], dict[str, str]]


def _read_fast(header: bytes) -> Entries | None:
    """The tensors' entries and the metadata, for headers as writers make them; else None.

    A decoder for these very types doesn't see names that stand twice. But without escapes each
    entry has a known number of quotes, so that one name too many shows in their sum.
    """
    try:
        text, start = header.decode("utf-8"), f'{{"{METADATA}":'
        metadata: Any = {}
        if text.startswith(start):
            metadata, end = _METADATA_DECODER.raw_decode(text, len(start))
            if text[end] != ",":
                return None
            text = "{" + text[end + 1 :]
        entries = _DECODER.decode(text)
    except (ValueError, IndexError, RecursionError, CheckpointError):
        return None
    unusual = b"\\" in header or b"-0" in header or not entries
    if unusual or text.count('"') != 2 * TEXTS_PER_ENTRY * len(entries):
        return None
    return entries, _metadata(metadata)


def _read_strictly(header: bytes) -> Entries:
    """The same for any header, or a CheckpointError that says what is wrong in it."""
    loaded = load_object(header)
    metadata = _metadata(loaded.pop(METADATA, {}))
    return {key: _entry(key, found) for key, found in loaded.items()}, metadata


def _metadata(found: Any) -> dict[str, str]:
    if not isinstance(found, dict):
        raise CheckpointError(f"{METADATA} is {shorten(found)}, wanted an object of texts")
    for name, text in found.items():
        if not isinstance(text, str):
            raise CheckpointError(
                f"{METADATA} has {shorten(text)} for {shorten(name)}, wanted text"
            )
    return found


def _entry(key: str, found: Any) -> Entry:
    if type(found) is not dict or found.keys() != set(Entry.__struct_fields__):
        raise CheckpointError(
            f"{shorten(key)}: {shorten(found)}, wanted dtype, shape and data_offsets alone"
        )
    dtype, shape, offsets = found["dtype"], found["shape"], found["data_offsets"]
    if type(dtype) is not str:
        raise CheckpointError(f"{shorten(key)}: dtype {shorten(dtype)}, wanted a dtype's name")
    if not are_counts(shape):
        raise CheckpointError(
            f"{shorten(key)}: shape {shorten(shape)}, wanted at most {MAX_DIMS} sizes from 0"
        )
    if not are_counts(offsets, 2) or len(offsets) != 2:
        raise CheckpointError(
            f"{shorten(key)}: data_offsets {shorten(offsets)}, wanted two offsets from 0"
        )
    return Entry(dtype, tuple(shape), (offsets[0], offsets[1]))


_spec = functools.lru_cache(maxsize=4096)(TensorSpec)
"""Specs of which there are few, however many tensors and files there are."""


def _sized(key: str, entry: Entry) -> tuple[TensorSpec, int]:
    try:
        spec = _spec(entry.dtype, entry.shape)
    except CheckpointError as error:
        raise CheckpointError(f"{shorten(key)}: {error}") from error
    if fault := unfit(spec):
        raise CheckpointError(f"{shorten(key)}: {fault}")
    return spec, spec.nbytes


def unfit(spec: TensorSpec) -> str:
    """Why the format can't hold a tensor of this spec; "" where it can."""
    if spec.dtype in ABSENT:
        return f"safetensors has no {spec.dtype}"
    if spec.count * BITS[spec.dtype] % 8:
        return f"{spec} does not fill whole bytes"
    return ""


def _misplaced(key: str, spec: TensorSpec, entry: Entry, at: int) -> CheckpointError:
    begin, end = entry.data_offsets
    if end - begin != spec.nbytes:
        said = f"{spec} takes {spec.nbytes} bytes, its offsets span {end - begin}"
    else:
        word = "a gap" if begin > at else "an overlap"
        said = f"begins at {begin}, the tensor before it ends at {at}: {word}"
    return CheckpointError(f"{shorten(key)}: {said}")


def write_header(entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a file before its tensors, whose entries come in the file's order.

    Spaces at its end let the tensors begin aligned. Raises OutputError for keys that the format
    can't hold.
    """
    if METADATA in entries:
        raise OutputError(f"the key {METADATA} can't be a tensor's in safetensors; rename it")
    try:
        text = msgspec.json.encode({METADATA: dict(sorted(metadata.items())), **entries})
    except UnicodeEncodeError as error:
        raise OutputError(
            f"{shorten(error.object)} is no Unicode text, as keys in safetensors must be"
        ) from error
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise OutputError(
            f"a header of {len(text)} bytes, safetensors allows {MAX_HEADER}; write shards to a "
            "folder instead"
        )
    return len(text).to_bytes(8, "little") + text
