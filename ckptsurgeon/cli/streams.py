"""`-` in place of a file: what is read from standard input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ckptsurgeon.errors import CheckpointError, CkptSurgeonError

STREAM = "-"
"""What is written for standard input, and for standard output."""

NAME = "<stdin>"


def read_stream(limit: int, what: str) -> bytes:
    """All of standard input; raises CkptSurgeonError where it is closed, or over the limit."""
    if sys.stdin is None:  # closed by the shell: `<&-`
        raise CkptSurgeonError(f"{NAME}: closed, where {what} would be read")
    data = sys.stdin.buffer.read(limit + 1)
    if len(data) > limit:
        raise CkptSurgeonError(f"{NAME}: {what} of more than {limit >> 20} MiB")
    return data


def read_ruleset_stream() -> Any:
    """The ruleset that standard input says, with its problems."""
    from ckptsurgeon.language.reading.documents import read_ruleset
    from ckptsurgeon.language.yaml.composing import MAX_TEXT, decode

    return read_ruleset(decode(read_stream(MAX_TEXT, "rules"), NAME), NAME)


def open_spec_stream() -> Any:
    """The shapes that standard input lists as JSON; a checkpoint can't be a stream."""
    from ckptsurgeon.checkpoints.detection import looks_json
    from ckptsurgeon.checkpoints.spec import open_spec
    from ckptsurgeon.checkpoints.strict_json import MAX_JSON, load_index

    data = read_stream(MAX_JSON, "a spec")
    if not looks_json(data[:4096]):
        raise CheckpointError(
            f"{NAME}: a checkpoint can't be a stream, for its tensors are read in their own order: "
            "write it into a file, and name that; `-` reads a JSON spec, as `inspect --format "
            "spec` prints it"
        )
    return open_spec(Path(NAME), load_index(data))


def read_config_stream() -> Any:
    """The config that standard input has as a JSON object."""
    from ckptsurgeon.checkpoints.strict_json import load_object
    from ckptsurgeon.request import MAX_WHOLE

    try:
        return load_object(read_stream(MAX_WHOLE, "a config"))
    except CheckpointError as error:
        raise CkptSurgeonError(f"{NAME}: the config is no JSON object: {error}") from None


def refuse_stream(name: str, what: str) -> None:
    """Raises CkptSurgeonError where `-` names what can't be a stream."""
    if name == STREAM:
        raise CkptSurgeonError(f"{what} can't be a stream: name a file; ./- is one of that name")
