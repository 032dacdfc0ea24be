"""Files that tensors are read from, open for all threads, and never too many of them at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ckptsurgeon.checkpoints.transfer import naming, open_source
from ckptsurgeon.checkpoints.writing.open_files import MOST_OPEN, OpenFiles


class SourceFiles(OpenFiles):
    """Files that tensors are read from."""

    def __init__(self, most: int = MOST_OPEN) -> None:
        super().__init__(open_source, most)

    @contextlib.contextmanager
    def opened(self, path: Path) -> Iterator[int]:
        """The file's descriptor, which stays open at least as long as the block.

        Raises CheckpointError where the OS gives none; one that the block raises is named by it.
        """
        with super().opened(path) as descriptor, naming(path):
            yield descriptor
