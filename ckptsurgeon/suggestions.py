"""Rules that write themselves: `suggest`, for all that a checkpoint may be given as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.planner.planning import uncollected
from ckptsurgeon.request import Root, Source, open_request, read_roots
from ckptsurgeon.suggesting.suggesting import suggest_whole
from ckptsurgeon.suggesting.suggestion import Suggestion
from ckptsurgeon.wanted import refuse_word
from ckptsurgeon.wording import argument

Least: TypeAlias = Literal["sure", "likely", "all"]
"""Down to which degree rules are written; `all` has those that are open as comments, too."""


def suggest(
    source: Source | None,
    into: Source,
    *,
    sources: Mapping[str, Source] | None = None,
    root: Root | None = None,
    one_shard: bool = False,
    least: Least = "likely",
) -> Suggestion:
    """A rule file for a source and a destination, made of names, shapes and structure.

    The words are those of `plan`. Rules of which names, shapes and structure leave one reading are
    sure; those of which something else would fit as well are likely, and `# CHECK:` says what; what
    is open stands as a comment, and so does all that would lose weights or leave them untrained.
    `least` is "sure", "likely" or "all": down to which degree rules are written; "all" has those
    that are open as comments, too. No tensor is read. Raises CheckpointError.

    The result's `rules` are what `plan` and `transplant` take, `text()` is the file, `save(path)`
    writes it; `sure`, `likely`, `open` and `unused` say what is settled.
    """
    refuse_word("least", least, get_args(Least))
    if into is None:
        raise CheckpointError(f"no destination: give it by {argument('into', 'DST')}")
    request = open_request(None, source, into, sources=sources, root=root, one_shard=one_shard)
    sources, destination = request.inputs.sources, request.inputs.destination
    if destination is None:
        raise CheckpointError("no destination")
    roots = read_roots(root)
    with uncollected():
        return suggest_whole(sources, destination, roots, one_shard=one_shard, least=least)
