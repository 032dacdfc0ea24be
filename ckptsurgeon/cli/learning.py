"""The command learn."""

from __future__ import annotations

import itertools
from typing import Any

import click

from ckptsurgeon.cli.commands import Command
from ckptsurgeon.cli.options import PATH, further_sources, memory, report, rule_file
from ckptsurgeon.cli.printing import Style, print_out, say, shown_progress
from ckptsurgeon.cli.streams import refuse_stream
from ckptsurgeon.cli.words import named_sources, read_roots, read_rule_file
from ckptsurgeon.wording import calling


@click.command(
    cls=Command,
    short_help="The rules that made one checkpoint of another.",
    examples=(
        "ckptsurgeon learn old.pt converted.safetensors -o rules.yaml",
        "ckptsurgeon learn --source 's*=shard_*.pt' converted.safetensors -o rules.yaml",
        "ckptsurgeon learn small.pt made.pt --example large.pt made_large.pt -o rules.yaml",
        "ckptsurgeon probe old.pt -o probe.pt   # then your own script on it, and learn from both",
    ),
)
@click.argument("files", metavar="[SRC] CONVERTED", nargs=-1, required=True, type=PATH)
@further_sources("CONVERTED")
@click.option(
    "--example",
    "examples",
    multiple=True,
    nargs=2,
    metavar="SRC CONVERTED",
    type=PATH,
    help="A further pair, of another size: it tells which numbers are sizes. May be repeated.",
)
@click.option("--config", metavar="JSON", type=PATH, help="Model config, to name sizes by.")
@rule_file
@click.option(
    "--full/--sample",
    "whole",
    default=None,
    help="Read everything, or a few layers and samples of the rest; up to 4 GB all, unless given.",
)
@memory
@report
@calling(into=("CONVERTED", "converted"))
def learn(
    files: tuple[str, ...],
    named: tuple[str, ...],
    root: tuple[str, ...],
    one_shard: bool,
    examples: tuple[tuple[str, str], ...],
    config: str | None,
    output: str | None,
    force: bool,
    whole: bool | None,
    memory: int | None,
    form: str,
    verbose: bool,
    color: str,
) -> int:
    """Find the rules that make CONVERTED of SRC, by the values of both, and prove them.

    Renames, slices, splits, joins, transposes, orders of rows and what is computed, such as merged
    LoRA. Exits 0 where every tensor is settled, 1 where some are likely or unexplained (the rule
    file is written in both cases), 2 where the two are not the same weights.
    """
    from ckptsurgeon.learning.making import learn as learn_from

    source, converted = _read_files(files, named)
    for name in (source, converted, *itertools.chain(*examples)):
        if name is not None:
            refuse_stream(name, "a checkpoint")
    file = read_rule_file(output, force=force)
    with shown_progress() as progress:
        found = learn_from(
            source,
            converted,
            sources=named_sources({"named": named}),
            examples=examples,
            config=config,
            root=read_roots(root),
            one_shard=one_shard,
            memory=memory,
            sample=None if whole is None else not whole,
            progress=progress,
        )
    if file is not None:
        found.save(file, force=force)
    _print(found, file, form, Style(verbose, color))
    return int(found.exit_code)


def _read_files(files: tuple[str, ...], named: tuple[str, ...]) -> tuple[str | None, str]:
    """The source, if one has no name, and the converted checkpoint."""
    if len(files) == 2:
        return files[0], files[1]
    if len(files) == 1 and named:
        return None, files[0]
    if len(files) == 1:
        raise click.UsageError("wanted SRC and CONVERTED, what was made of it")
    raise click.UsageError("wanted SRC and CONVERTED; further sources are `--source NAME=PATH`")


def _print(found: Any, output: str | None, form: str, style: Style) -> None:
    """The rules on stdout, unless they are in a file, and what is known of them."""
    from ckptsurgeon.render.learning import learned_json, render_learned

    if form == "json":
        print_out([learned_json(found)])
        return
    text = render_learned(found, **style.layout)
    if output is not None:
        print_out([text])
        say(f"{output}: written", 0)
    else:
        print_out([found.text()])
        say(text.rstrip("\n"), 0)
