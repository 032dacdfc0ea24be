"""What stands beside the rules: the separator of a source, and prefixes that all its keys have."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.language.yaml.quoting import quoted
from ckptsurgeon.language.yaml.writing import write_key_text
from ckptsurgeon.plans.views import renamed_keys

WRAPPERS = ("module", "_orig_mod", "_forward_module")
"""What DataParallel, torch.compile and Lightning put before all keys of the network in them."""

ANYWHERE = ("_orig_mod",)
"""Those that stand before the keys of single modules, too: torch.compile of a part."""

SLASHED = 0.5
"""The share of keys with a slash from which on it is the separator."""


def choose_options(
    sources: Mapping[str, Checkpoint], destination: Collection[str], roots: Mapping[str, str]
) -> SourceOptions:
    """The options under which the sources' keys are most like the destination's."""
    names = [list(one.contents.specs) for one in sources.values()]
    separator = _choose_separator([name for some in names for name in some], destination)
    cut = [name for some in names for name in (one.replace(separator, ".") for one in some)]
    strip: list[str] = []
    while (prefix := _find_wrapper(cut, destination)) is not None:
        strip.append(prefix)
        cut = [name.removeprefix(prefix) for name in cut]
    anywhere = tuple(piece for piece in ANYWHERE if _is_inside(piece, cut, destination))
    options = SourceOptions(dict(roots), tuple(dict.fromkeys(strip)), anywhere, separator)
    return options if _is_possible(sources, options) else SourceOptions(dict(roots))


def _choose_separator(names: Sequence[str], destination: Collection[str]) -> str:
    with_slash = sum("/" in name for name in names)
    plain = not any("/" in key for key in destination)
    return "/" if plain and with_slash > SLASHED * len(names) else "."


def _find_wrapper(names: Collection[str], destination: Collection[str]) -> str | None:
    """A prefix that all keys begin with, and none of the destination."""
    for piece in WRAPPERS:
        prefix = f"{piece}."
        if (
            names
            and all(name.startswith(prefix) for name in names)
            and not any(key.startswith(prefix) for key in destination)
        ):
            return prefix
    return None


def _is_inside(piece: str, names: Collection[str], destination: Collection[str]) -> bool:
    """Whether a piece stands inside keys of a source, and in none of the destination."""
    inside = f".{piece}."
    there = any(inside in f".{name}" for name in names)
    return there and not any(inside in f".{key}" for key in destination)


def _is_possible(sources: Mapping[str, Checkpoint], options: SourceOptions) -> bool:
    """Whether no two keys become one."""
    try:
        for one in sources.values():
            renamed_keys(one.contents.specs, options, "")
    except CheckpointError:
        return False
    return True


def write_section(options: SourceOptions) -> list[str]:
    """`source: {…}`, where there is something to be said."""
    words: list[str] = []
    if options.roots:
        words.append(f"root: {_roots(options.roots)}")
    strip = [quoted(one) for one in options.strip]
    if options.strip_anywhere:
        strip.append(f"anywhere: [{', '.join(map(quoted, options.strip_anywhere))}]")
    if strip:
        words.append(f"strip: [{', '.join(strip)}]")
    if options.separator != ".":
        words.append(f"separator: {options.separator}")
    if options.one_shard:
        words.append("one_shard: true")
    return [f"source: {{{', '.join(words)}}}"] if words else []


def _roots(roots: Mapping[str, str]) -> str:
    if set(roots) == {""}:
        return write_key_text(roots[""])
    named = ", ".join(
        f"{alias or quoted('')}: {write_key_text(one)}" for alias, one in roots.items()
    )
    return f"{{{named}}}"
