"""safetensors files whose tensors are holes: as large as a test wants, and no bytes on the disk."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path

SIZES = {"F32": 4, "BF16": 2}


def write_sparse(path: Path, dtype: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Writes a file of zeros; the offset of each tensor's first byte in it."""
    entries, starts, at = {}, {}, 0
    for key, shape in shapes.items():
        end = at + SIZES[dtype] * math.prod(shape)
        entries[key] = {"dtype": dtype, "shape": shape, "data_offsets": (at, end)}
        starts[key], at = at, end
    header = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + at)
    return {key: 8 + len(header) + start for key, start in starts.items()}


def write_sparse_shards(folder: Path, dtype: str, shards: list[dict[str, tuple[int, ...]]]) -> None:
    """Writes a folder of such files and its index."""
    folder.mkdir()
    weight_map = {}
    for number, shapes in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_sparse(folder / name, dtype, shapes)
        weight_map.update(dict.fromkeys(shapes, name))
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
