"""What a file is that holds no checkpoint which is read, by its bytes, then by its name."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from ckptsurgeon.checkpoints.detection import looks_pickle, looks_safetensors
from ckptsurgeon.checkpoints.foreign import formats
from ckptsurgeon.checkpoints.foreign.formats import Foreign
from ckptsurgeon.checkpoints.foreign.protobufs import find_protobuf
from ckptsurgeon.checkpoints.foreign.tars import find_tar
from ckptsurgeon.checkpoints.foreign.texts import WORD_VECTORS, describe_text
from ckptsurgeon.checkpoints.foreign.zips import find_zip, list_zip
from ckptsurgeon.errors import CheckpointError

LOOK = 4096
"""First bytes by which a file is recognised; some formats are known by names that come late."""

FETCHED = "probably an error told by a server: fetch it again"

WORDS: tuple[tuple[bytes, str], ...] = (
    (
        b"version https://git-lfs",
        "is a git-lfs pointer, not the file itself: run `git lfs pull` in its repository",
    ),
    (b"<!doctype html", f"is an HTML page, {FETCHED}"),
    (b"<html", f"is an HTML page, {FETCHED}"),
    (b"<?xml", f"is an XML document, {FETCHED}"),
    (b"\x1f\x8b", "is compressed with gzip: unpack it by `gunzip`, or `tar -xzf` if it is a tar"),
    (b"\x1f\x9d", "is compressed with compress: unpack it by `uncompress`"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd: unpack it by `unzstd`"),
    (b"\xfd7zxz", "is compressed with xz: unpack it by `unxz`, or `tar -xJf` if it is a tar"),
    (b"bzh", "is compressed with bzip2: unpack it by `bunzip2`, or `tar -xjf` if it is a tar"),
    (b"\x04\x22m\x18", "is compressed with lz4: unpack it by `unlz4`"),
    (b"\x02\x21l\x18", "is compressed with lz4: unpack it by `unlz4`"),
    (b"\x5d\0\0", "is compressed with lzma: unpack it by `unlzma`"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it by `7z x`"),
    (b"rar!\x1a\x07", "is a rar archive: unpack it by `unrar x`"),
    (b"\x93numpy", "is a single .npy array, no checkpoint: put it in an archive with numpy.savez"),
    (b"[", "is a list in JSON, wanted an object {key: [dtype, [shape]]}"),
)
"""First bytes (in lower case) of what is taken for a checkpoint by mistake, and words for it."""

SECTION = re.compile(rb"\[[a-z][\w .-]*\]\s*\n")
"""How a config in sections begins, as Darknet's, which is no list in JSON."""

MAGIC: tuple[tuple[int, bytes, Foreign], ...] = (
    (0, b"\x89HDF\r\n\x1a\n", formats.HDF5),
    (0, b"GGUF", formats.GGUF),
    *((0, magic, formats.GGML) for magic in (b"lmgg", b"fmgg", b"tjgg", b"algg", b"nsgg")),
    *((0, magic, formats.GGML) for magic in (b"ggml", b"ggmf", b"ggjt", b"ggla", b"ggsn")),
    (0, b"\xba\x16\x4f\x2f", formats.FASTTEXT),
    (0, b"\x12\x01\0\0\0\0\0\0", formats.MXNET),
    (0, b"MATLAB 5.0 MAT-file", formats.MATLAB),
    (0, b"MATLAB 7.3 MAT-file", formats.MATLAB_HDF5),
    (0, b"ptrt", formats.TENSORRT),
    (0, b"ftrt", formats.TENSORRT),
    (0, b"RKNN", formats.RKNN),
    (0, b"7767517\n", formats.NCNN),
    (0, b"\0B<", formats.KALDI),
    (0, b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1", formats.TORCH7),
    *((0, b"x" + level, formats.JOBLIB) for level in (b"\x01", b"\x9c", b"\xda")),
    *((0, magic, formats.LLAMAFILE) for magic in (b"\x7fELF", b"MZ\x90\0", b"\xcf\xfa\xed\xfe")),
    (4, b"TFL3", formats.TFLITE),
    (4, b"PTMF", formats.MOBILE),
    (4, b"ORTM", formats.ORT),
    *((4, b"ET%d" % version, formats.EXECUTORCH) for version in range(10, 20)),
)
"""Bytes at an offset, and the format that has them there."""

SHAPED: tuple[tuple[re.Pattern[bytes], Foreign], ...] = (
    (re.compile(rb"\s*<\?xml[^>]*>\s*(?:<!--.*?-->\s*)?<net\s", re.DOTALL), formats.OPENVINO),
    (re.compile(rb"\s*<net\s+name="), formats.OPENVINO),
    (WORD_VECTORS, formats.WORD2VEC),
    # Of zlib at a low level; what begins so and has but ASCII is a text.
    (re.compile(rb"x\^.{0,60}?[\x80-\xff]", re.DOTALL), formats.JOBLIB),
    # As Ultralytics writes it: a length, a JSON object, and the engine.
    (re.compile(rb"..\0\0\{\"", re.DOTALL), formats.TENSORRT),
    # The version of a tensor, its level of detail, its version again; then a protobuf's length.
    (re.compile(rb"\0{16}.\0\0\0\x08[\0-\x20]", re.DOTALL), formats.PADDLE),
    # Version 0.1 or 0.2, its revision, and how many images it was trained on, many.
    (re.compile(rb"\0{4}[\1\2]\0{3}[\0-\5]\0{3}(?![\0\1]\0{3})", re.DOTALL), formats.DARKNET),
    # A map of few names, or of up to 65,535 or more, the first of which is a text.
    (
        re.compile(rb"(?:[\x81-\x8f]|\xde..|\xdf....)(?:[\xa1-\xbf]|\xd9.)[ -~]+", re.DOTALL),
        formats.FLAX,
    ),
)
"""Patterns of first bytes, for formats without a magic of their own."""

PICKLES: tuple[tuple[re.Pattern[bytes], Foreign], ...] = (
    (
        re.compile(
            rb"cjoblib\.numpy_pickle\n\w*ArrayWrapper\n"
            rb"|joblib\.numpy_pickle\x94?\x8c.\w*ArrayWrapper\x94?\x93",
            re.DOTALL,
        ),
        formats.JOBLIB,
    ),
    (re.compile(rb"ctorch\.distributed\.checkpoint\.metadata\n"), formats.DCP_FILE),
    (re.compile(rb"\x8c.torch\.distributed\.checkpoint\.metadata\x94", re.S), formats.DCP_FILE),
)
"""What stands near the start of pickles that belong to other formats."""

SUFFIXES: tuple[tuple[re.Pattern[str], Foreign], ...] = (
    (re.compile(r".*\.(?:engine|plan|trt)"), formats.TENSORRT),
    (re.compile(r".*\.pdiparams|.*\.pdmodel"), formats.PADDLE),
    (re.compile(r".*\.onnx"), formats.ONNX),
    (re.compile(r".*\.mlmodel"), formats.COREML),
    (re.compile(r".*\.caffemodel"), formats.CAFFE),
    (re.compile(r".*\.weights"), formats.DARKNET),
    (re.compile(r".*\.mat"), formats.MATLAB),
    (re.compile(r".*\.tflite"), formats.TFLITE),
    (re.compile(r".*\.meta"), formats.META_GRAPH),
    (re.compile(r".*\.msgpack"), formats.FLAX),
    (re.compile(r".*\.pte"), formats.EXECUTORCH),
    (re.compile(r".*\.pb"), formats.FROZEN_GRAPH),
    (re.compile(r".*\.t7"), formats.TORCH7),
)
"""Names of files whose bytes say nothing, and the format that has such names."""

PART = re.compile(r"([^.].*)\.(?:index|data-\d+-of-\d+)")
"""A file of TensorFlow's checkpoint; the first part is what the checkpoint is called."""

TABLE_END = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
"""The end of TensorFlow's .index, and of its checkpoints in one file."""


def refuse_likeness(path: Path, head: bytes) -> None:
    """Raises CheckpointError for what begins like a file that is read, and belongs to another."""
    found = formats.DCP_FILE if path.suffix == ".distcp" else None
    if path.name == "data.pkl" and (path.with_name("version")).is_file():
        raise CheckpointError(f"{path}: {formats.UNPACKED.describe(path.parent)}")
    if looks_pickle(head):
        found = next((known for shape, known in PICKLES if shape.search(head)), found)
    if found:
        raise CheckpointError(f"{path}: {found.describe(path)}")


def describe_file(head: bytes, path: Path, tail: bytes = b"") -> str:
    """Words for a file that begins and ends so and is no checkpoint that can be read."""
    if not head:
        return "is empty: fetch or copy it again"
    if found := find_format(head, path, tail):
        return found.describe(path)
    if not head.strip(b"\0"):
        return "begins with zeros alone: its download did not finish, fetch it again"
    lowered = head.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    words = next((words for start, words in WORDS if lowered.startswith(start)), "")
    words = describe_text(head) if SECTION.match(lowered) else words or describe_text(head)
    if words:
        return words
    named = _find_named(path)
    return named.describe(path) if named else _describe_unknown(head)


def _describe_unknown(head: bytes) -> str:
    return (
        f"is no checkpoint that is known: it begins with {head[:16]!r}; wanted safetensors, "
        "a torch file, npz, or a JSON spec or index"
    )


def find_format(head: bytes, path: Path, tail: bytes = b"") -> Foreign | None:
    """The format of a file by its bytes, and by the names that TensorFlow gives."""
    for offset, magic, known in MAGIC:
        if head.startswith(magic, offset):
            return known
    if part := PART.fullmatch(path.name):
        return formats.tensorflow_checkpoint(path.with_name(part[1]))
    if path.suffix == ".meta" and path.with_suffix(".index").is_file():
        return formats.tensorflow_checkpoint(path.with_suffix(""))
    if tail.endswith(TABLE_END):
        return formats.tensorflow_checkpoint(path)
    if latest := formats.find_latest(head):
        return formats.tensorflow_checkpoint(path.with_name(latest))
    if path.name == "saved_model.pb":
        return formats.saved_model(path.parent)
    if head[257:262] == b"ustar":
        return find_tar(path)
    shaped = (known for shape, known in SHAPED if shape.match(head))
    return next(shaped, None) or find_protobuf(head, path)


def find_foreign(path: Path) -> Foreign | None:
    """The format of a file in a folder; None for what is none, is read, or is not known."""
    if not path.is_file():
        return None
    head = read_head(path)
    if head.startswith(b"PK"):
        with contextlib.suppress(CheckpointError):
            return find_zip(list_zip(path))
        return None
    if looks_pickle(head) or looks_safetensors(head):
        return None
    return find_format(head, path) or (None if describe_text(head) else _find_named(path))


def read_head(path: Path) -> bytes:
    """The first bytes of a file; none of what can't be read."""
    return _read_end(path, 0)


def read_tail(path: Path) -> bytes:
    """The last bytes of a file."""
    return _read_end(path, -len(TABLE_END))


def _read_end(path: Path, start: int) -> bytes:
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(start, os.SEEK_END if start < 0 else os.SEEK_SET)
        return file.read(LOOK)
    return b""


def _find_named(path: Path) -> Foreign | None:
    """The format by the file's name and by what lies beside it."""
    for beside, known in ((".xml", formats.OPENVINO_BIN), (".param", formats.NCNN)):
        if path.suffix == ".bin" and path.with_suffix(beside).is_file():
            return known
    return next((known for shape, known in SUFFIXES if shape.fullmatch(path.name.lower())), None)
