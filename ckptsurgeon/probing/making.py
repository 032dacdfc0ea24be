"""`probe`: a checkpoint like another, whose values tell where each of them goes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any, overload

from ckptsurgeon.checkpoints.memory import MemoryCheckpoint
from ckptsurgeon.checkpoints.models import unwrapped
from ckptsurgeon.checkpoints.planting import is_model
from ckptsurgeon.checkpoints.strict_json import shorten_all
from ckptsurgeon.checkpoints.tensors import is_torch, to_numpy, to_torch
from ckptsurgeon.engine.mover import Progress
from ckptsurgeon.errors import CheckpointError, CkptSurgeonError
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.probing.copying import HOLE, Copier
from ckptsurgeon.probing.designing import Design, make_design
from ckptsurgeon.probing.results import Probe
from ckptsurgeon.probing.writing import make_array, write_probe
from ckptsurgeon.request import Source, open_sources, refuse_root
from ckptsurgeon.specs import plural
from ckptsurgeon.wanted import Size, read_size, require, whole_number

Output = str | os.PathLike[str]


@overload
def probe(
    source: Source,
    output: None = None,
    *,
    seed: int = 0,
    root: str | None = None,
    one_shard: bool = False,
) -> dict[str, Any]: ...


@overload
def probe(
    source: Source,
    output: Output,
    *,
    seed: int = 0,
    root: str | None = None,
    force: bool = False,
    memory: Size | None = None,
    max_shard_size: Size | None = None,
    progress: Progress | None = None,
    one_shard: bool = False,
) -> Probe: ...


def probe(
    source: Source,
    output: Output | None = None,
    *,
    seed: int = 0,
    root: str | None = None,
    force: bool = False,
    memory: Size | None = None,
    max_shard_size: Size | None = None,
    progress: Progress | None = None,
    one_shard: bool = False,
) -> dict[str, Any] | Probe:
    """A checkpoint like `source`, with random values that all differ: of it, examples are made.

    `source` is what `plan` takes, `root` the wrapper to open. With an `output`, as `transplant`
    takes it (with `force`, `memory`, `max_shard_size` and `progress`), it is written, whole or not
    at all, and what was done is returned. Without one a new dict is: of a dict or a model nested
    and with entries as that is, its tensors of the same kinds and devices; of a file a flat one of
    arrays.

    Keys, shapes, dtypes and ties are the source's. Weights of norms are near 1, variances positive,
    all else small; F32 and F64 values differ in the whole checkpoint, while there are enough of
    them. Integers, bools and sorted tables are the source's own, but for counters and quantized
    weights; `Probe.kinds` tells which is what. What can't be read is left out: `Probe.left_out`,
    and a UserWarning where a dict is returned. The same `seed` and source give the same bytes.

    Raises CheckpointError, OutputError, and as `transplant` for sizes.
    """
    limits = read_size(memory, "memory"), read_size(max_shard_size, "max_shard_size")
    design = prepare_probe(source, seed, root, one_shard)
    if output is None:
        given = {"force": force, "memory": memory, "max_shard_size": max_shard_size}
        _refuse_without_output({**given, "progress": progress})
        return _make_dict(design, source)
    require("output", output, (str, os.PathLike), "the name of a file or a folder")
    write_probe(
        design,
        output,
        force=force,
        memory=limits[0],
        max_shard_size=limits[1],
        progress=progress,
    )
    return design.tell(os.fspath(output))


def prepare_probe(
    source: Source, seed: int = 0, root: str | None = None, one_shard: bool = False
) -> Design:
    """The design of a source's probe. Raises CheckpointError."""
    seed = whole_number("seed", seed, least=0)
    if root is not None:
        require("root", root, str, "a name")
        refuse_root(source, root)
    options = SourceOptions(roots={} if root is None else {"": root}, one_shard=one_shard)
    return make_design(open_sources({"": source}, options)[""], seed)


def _refuse_without_output(given: Mapping[str, Any]) -> None:
    """Raises CkptSurgeonError for what is said of an output that is not there."""
    for name, value in given.items():
        if value not in (None, False):
            raise CkptSurgeonError(f"{name}: is of an output, and none is named")


def _make_dict(design: Design, source: Source) -> dict[str, Any]:
    if design.unreadable:
        warnings.warn(_tell_left_out(design), UserWarning, stacklevel=3)
    held = design.checkpoint
    given = held.tensors if isinstance(held, MemoryCheckpoint) else {}
    made = {key: _make_tensor(design, key, given.get(key)) for key in design.own}
    tensors = {key: made[design.ties.get(key, key)] for key in design.specs}
    if is_model(source):
        source = unwrapped(source).state_dict(keep_vars=True)  # type: ignore[arg-type]
    if not isinstance(source, Mapping):
        return tensors
    return _copy_with(source, {id(given[key]): tensors[key] for key in tensors}, given)


def _tell_left_out(design: Design) -> str:
    count = plural(len(design.unreadable), "tensor")
    are = "is" if len(design.unreadable) == 1 else "are"
    return (
        f"{count} can't be read, and {are} not in the probe: {shorten_all(list(design.unreadable))}"
    )


def _make_tensor(design: Design, key: str, given: Any) -> Any:
    """A tensor of torch where one was given, on its device; else an array."""
    array, spec = make_array(design, key), design.specs[key]
    if given is None or not is_torch(given):
        return to_numpy(array, spec)
    return to_torch(array, spec, "cpu" if given.is_meta else given.device)


def _copy_with(
    source: Mapping[str, Any], tensors: Mapping[int, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The nested dict with other tensors. Raises CheckpointError for one that no dict leads to."""
    copier = Copier(tensors)
    copied = copier.copy(source)
    lost = tensors.keys() - copier.placed
    hidden = [key for key, one in given.items() if id(one) in lost]
    if hidden:
        raise CheckpointError(
            f"{shorten_all(hidden)}: held by an object that is no dict, list or model, and can't "
            "be copied; name an output to write, or give a dict of its tensors"
        )
    return {} if copied is HOLE else copied
