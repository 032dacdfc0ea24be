"""`learn`: the rules that made one checkpoint of another."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.engine.mover import Progress
from ckptsurgeon.errors import CheckpointError, CkptSurgeonError
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.learning.learned import Learned
from ckptsurgeon.learning.learning import Pair, learn_rules
from ckptsurgeon.learning.sampling import LARGE, count_bytes
from ckptsurgeon.request import (
    Config,
    Root,
    Source,
    gather_sources,
    open_destination,
    open_sources,
    read_config,
    read_roots,
)
from ckptsurgeon.specs import UnreadableSpec
from ckptsurgeon.wanted import Size, read_size, refuse, require
from ckptsurgeon.wording import choose


def learn(
    source: Source | None,
    converted: Source,
    *,
    sources: Mapping[str, Source] | None = None,
    examples: Sequence[tuple[Source, Source]] = (),
    config: Config | None = None,
    root: Root | None = None,
    one_shard: bool = False,
    memory: Size | None = None,
    sample: bool | None = None,
    progress: Progress | None = None,
) -> Learned:
    """The rules that make `converted` of `source`, found by the values of both.

    Both are paths, dicts of tensors, models or open checkpoints; `sources` names further ones by
    alias, as in `plan`. The values must be there, and be the same weights in two layouts: values
    that all differ leave nothing open, as those of `probe`. `examples` are further pairs, of other
    sizes: they tell which numbers are sizes, and the rules hold on all of them. `config` is the
    model's, for the same. With `sample` a few layers are read, and stretches of the rest; if false
    everything; unless told, more than 4 GB are sampled. `progress` is called with (bytes read,
    bytes in all, key).

    The result's `rules` are what `plan` and `transplant` take, `text()` is the file, `save(path)`
    writes it; `degrees` says how each tensor was proved, `unexplained` what no rule makes.
    Raises CheckpointError where a side has no values, or the two are not the same weights.
    """
    if progress is not None and not callable(progress):
        refuse("progress", progress, "a function of (done, total, key)")
    require("sources", sources or {}, Mapping, "a dict of paths, dicts or models by alias")
    pairs = [_open(source, converted, sources or {}, read_roots(root), one_shard)]
    for number, one in enumerate(examples, 1):
        if not isinstance(one, (tuple, list)) or len(one) != 2:
            refuse(f"example {number}", one, "a pair (source, converted)")
        pairs.append(_open(one[0], one[1], {}, read_roots(root), one_shard))
    first = pairs[0]
    whole = count_bytes(first.sources, first.converted) <= LARGE if sample is None else not sample
    tell = _count(pairs, progress)
    limit = read_size(memory, "memory")
    return learn_rules(pairs, _config(config), limit, whole=whole, tell=tell)


def _open(
    source: Source | None,
    converted: Source,
    sources: Mapping[str, Source],
    roots: Mapping[str, str],
    one_shard: bool,
) -> Pair:
    """A pair, opened; raises CheckpointError for what has no values."""
    gathered, _ = gather_sources(source, sources)
    opened = open_sources(gathered, SourceOptions(roots=roots, one_shard=one_shard))
    result = open_destination(converted, roots, one_shard)
    for alias, checkpoint in opened.items():
        _refuse_shapes_alone(checkpoint, f"the source {alias!r}" if alias else "the source")
    _refuse_shapes_alone(result, "the converted checkpoint")
    return Pair(opened, result)


def _config(config: Config | None) -> Mapping[str, Any] | None:
    if config is not None:
        require("config", config, (str, os.PathLike, Mapping), "a path, or a dict")
    found = read_config(config)
    if found is not None and not isinstance(found, Mapping):
        raise CkptSurgeonError("config: wanted a JSON object, or a dict")
    return found


def _refuse_shapes_alone(checkpoint: Checkpoint, what: str) -> None:
    """Raises CheckpointError for a checkpoint without values, or without a tensor to read."""
    if not checkpoint.has_values:
        way = choose("`ckptsurgeon suggest SRC DST`", "`suggest(source, into)`")
        raise CheckpointError(
            f"{checkpoint.path}: {what} has shapes alone, and rules are learned from values; "
            f"{way} goes by names and shapes"
        )
    if all(isinstance(spec, UnreadableSpec) for spec in checkpoint.contents.specs.values()):
        raise CheckpointError(f"{checkpoint.path}: {what} has no tensor that can be read")


def _count(pairs: Sequence[Pair], progress: Progress | None) -> Progress:
    """What tells a progress how many bytes are read; every tensor is read once or more."""
    total = sum(count_bytes(pair.sources, pair.converted) for pair in pairs)
    done = 0

    def tell(nbytes: int, _: int, key: str) -> None:
        nonlocal done
        done = min(done + nbytes, total)
        if progress is not None:
            progress(done, total, key)

    return tell
