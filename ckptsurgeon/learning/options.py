"""Options of files that make rules shorter: wrappers around all names, and slashes for dots."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import structs

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.language.rules import OutputOptions, SourceOptions
from ckptsurgeon.suggesting.sources import choose_options


def choose_source_options(
    sources: Mapping[str, Checkpoint], converted: Collection[str]
) -> SourceOptions:
    """The options of sources, for a converted file whose keys are these with dots."""
    roots = {alias: one.contents.root for alias, one in sources.items() if one.contents.root}
    options = choose_options(sources, converted, roots)
    alone = any(one.contents.shard for one in sources.values())
    return structs.replace(options, one_shard=alone)


def choose_output_options(names: Collection[str]) -> OutputOptions:
    """The options of a file with these names."""
    return OutputOptions(separators={"": "/"} if _is_slashed(names) else {})


def _is_slashed(names: Collection[str]) -> bool:
    """Whether names are cut by slashes: most have one, and none has a dot."""
    slashed = sum("/" in name for name in names)
    return 2 * slashed > len(names) and not any("." in name for name in names)
