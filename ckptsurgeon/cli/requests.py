"""What the words of a command ask for: a request, and the execution of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ckptsurgeon.cli.words import build_factory, named_sources, read_request


def request(words: Mapping[str, Any], *, has_unnamed: bool = False) -> Any:
    """The Request that the words of `inputs` make."""
    from ckptsurgeon.request import open_request

    return open_request(**read_request(words), allow=words["allow"], has_unnamed=has_unnamed)


def prepare(words: Mapping[str, Any], output: str | Mapping[str, str] | None) -> Any:
    """The Execution that a command's words ask for; `output` is what it will write, if anything."""
    has_unnamed = isinstance(output, str) or (output is not None and "" in output)
    return aim(request(words, has_unnamed=has_unnamed).prepare(), output, words)


def aim(execution: Any, output: str | Mapping[str, str] | None, words: Mapping[str, Any]) -> Any:
    """The execution with the paths of its outputs."""
    from ckptsurgeon.file_names import paths_of_outputs

    paths = {"": output} if isinstance(output, str) else {}
    if output is not None and not execution.plan.open_findings:
        paths = paths_of_outputs(output, execution.plan)
    return execution.aim(paths, *limits(words))


def prepare_saved(
    saved: str, words: Mapping[str, Any], output: str | Mapping[str, str] | None
) -> Any:
    """The Execution of a saved plan, which has its rules and all that was said beside them."""
    from ckptsurgeon import saved as saved_plans

    names = {"rules": "-r", "arrows": "-e", "given": "--set"}
    for word in ("rules", "arrows", "config", "given", "allow", "root"):
        if words[word]:
            name = names.get(word, f"--{word}")
            raise click.UsageError(f"--plan takes no {name}: it has its own")
    words = build_factory(words)
    execution = saved_plans.prepare_saved(
        Path(saved), words["source"], named_sources(words), words["into"], words["one_shard"]
    )
    return aim(execution, output, words)


def limits(words: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Memory and threads that a run may use."""
    return words["memory"], words.get("jobs")
