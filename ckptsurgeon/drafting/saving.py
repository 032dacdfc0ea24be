"""A rule file written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from ckptsurgeon.checkpoints.transfer import write_bytes
from ckptsurgeon.checkpoints.writing.staging import staged_file
from ckptsurgeon.errors import OutputError
from ckptsurgeon.language.catalog import RULE_FILES


def refuse_name(path: Path) -> None:
    """Raises OutputError for a name that is none of a rule file."""
    if path.suffix not in RULE_FILES:
        raise OutputError(f"{path}: a rule file is YAML: name it `{path.stem}.yaml`")


def save_text(text: str, path: Path, *, force: bool = False) -> None:
    """Writes a rule file; one that exists is replaced with `force`. Raises OutputError."""
    refuse_name(path)
    data = text.encode("utf-8", "surrogatepass")
    with staged_file(path, force=force, nbytes=len(data)) as staged, staged.opened() as descriptor:
        write_bytes(descriptor, 0, data)
