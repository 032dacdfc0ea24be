"""Options of files that make rules shorter: wrappers around all names, and slashes for dots."""

from __future__ import annotations

from collections.abc import Collection

from ckptsurgeon.language.rules import OutputOptions, SourceOptions

WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and `torch.compile` put before every name."""


def choose_source_options(keys: Collection[str], converted: Collection[str]) -> SourceOptions:
    """The options of sources with these names, for a converted file with those."""
    separator = "/" if _is_slashed(keys) else "."
    wrapped = bool(keys) and all(key.startswith(WRAPPERS) for key in keys)
    kept = any(key.startswith(WRAPPERS) for key in converted)
    strip = tuple(one for one in WRAPPERS if any(key.startswith(one) for key in keys))
    return SourceOptions(strip=strip if wrapped and not kept else (), separator=separator)


def choose_output_options(keys: Collection[str]) -> OutputOptions:
    """The options of a file with these names."""
    return OutputOptions(separator="/" if _is_slashed(keys) else ".")


def _is_slashed(keys: Collection[str]) -> bool:
    """Whether names are cut by slashes: most have one, and none has a dot."""
    slashed = sum("/" in key for key in keys)
    return 2 * slashed > len(keys) and not any("." in key for key in keys)
