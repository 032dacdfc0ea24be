"""What a source's values look like, from as little of them as tells it.

Of a tensor that is dense in a file a corner is read first, and all of it only where that corner is
sorted: trained weights never are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.transfer import Extent, read_extent, read_ranges
from ckptsurgeon.checkpoints.writing.source_files import SourceFiles
from ckptsurgeon.ops.base import MAX_DIMS
from ckptsurgeon.ops.ranges import COMPLEX
from ckptsurgeon.specs import BITS, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MOST_BYTES = 4 << 20
"""Largest tensor that is looked at as a whole: tables are small."""

FEWEST = 10
"""Numbers that must be sorted: of random ones, one row in 1.8 million is."""

BEGINNING = 64 << 10
"""Bytes from which a mask is told."""


@dataclass(frozen=True, slots=True)
class Looker:
    """Looks at the values of a checkpoint; what it opens is closed with `files`."""

    checkpoint: Checkpoint
    files: SourceFiles

    def is_finite(self, key: str) -> bool:
        """Whether a tensor is small enough to be a table, and holds numbers alone."""
        from ckptsurgeon.ops.carriers import all_finite

        spec = self.checkpoint.contents.specs[key]
        return _is_small(spec) and all_finite(self.checkpoint.read(key), spec.dtype)

    def is_sorted(self, key: str) -> bool:
        """Whether a floating tensor rises or falls along a dim, as no trained one does."""
        spec = self.checkpoint.contents.specs[key]
        if not _is_small(spec) or spec.dtype in COMPLEX or max(_matrix(spec)) < FEWEST:
            return False
        extent = self.checkpoint.extent(key)
        if extent is not None and not _is_monotone(self._corner(extent, spec), spec):
            return False
        whole = self.checkpoint.read(key).reshape(_matrix(spec))
        return _is_monotone(whole, spec) and self.is_finite(key)

    def is_mask(self, key: str) -> bool:
        """Whether a tensor holds at most two values."""
        import numpy as np

        spec, extent = self.checkpoint.contents.specs[key], self.checkpoint.extent(key)
        if extent is not None:
            nbytes = min(spec.nbytes, BEGINNING)
            words = read_extent(Extent(extent.path, extent.offset, nbytes))
            return len(np.unique(words.view(_words_of(spec)))) <= 2
        return _is_small(spec) and len(np.unique(self.checkpoint.read(key))) <= 2

    def _corner(self, extent: Extent, spec: TensorSpec) -> Array:
        """The first numbers of the first rows, in their carrier."""
        import numpy as np

        rows, columns = _matrix(spec)
        itemsize = BITS[spec.dtype] // 8
        shape = min(rows, FEWEST), min(columns, FEWEST)
        corner = np.empty(shape, spec.carrier)
        starts = range(0, shape[0] * columns * itemsize, columns * itemsize)
        with self.files.opened(extent.path) as descriptor:
            out = corner.reshape(-1).view(np.uint8).data
            read_ranges(descriptor, extent, starts, shape[1] * itemsize, out)
        return corner


def _words_of(spec: TensorSpec) -> str:
    """Words as wide as a tensor's items, or as half of them where numpy has none so wide."""
    return f"<u{min(8, BITS[spec.dtype] // 8)}"


def _is_small(spec: TensorSpec) -> bool:
    return 0 < spec.nbytes <= MOST_BYTES and len(spec.shape) <= MAX_DIMS


def _matrix(spec: TensorSpec) -> tuple[int, int]:
    """Rows and columns of a tensor, where sizes of 1 are no dims."""
    sizes = [size for size in spec.shape if size != 1]
    columns = sizes[-1] if sizes else 1
    return spec.count // columns, columns


def _is_monotone(matrix: Array, spec: TensorSpec) -> bool:
    """Whether all rows, or all columns, rise, or all of them fall; they must be long enough."""
    import numpy as np

    from ckptsurgeon.ops.carriers import decode

    numbers = decode(np.ascontiguousarray(matrix), spec.dtype)
    with np.errstate(invalid="ignore"):  # a NaN is neither above nor below
        return any(
            bool((after > before).all() or (after < before).all())
            for after, before in _neighbours(numbers)
        )


def _neighbours(numbers: Array) -> list[tuple[Array, Array]]:
    """Numbers and those before them, along each dim that is long enough."""
    along = numbers, numbers.T
    return [(dim[..., 1:], dim[..., :-1]) for dim in along if dim.shape[-1] >= FEWEST]
