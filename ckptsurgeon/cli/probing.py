"""The command probe."""

from __future__ import annotations

import shlex
import time
from typing import Any

import click

from ckptsurgeon.cli.commands import Command
from ckptsurgeon.cli.options import PATH, memory, one_shard, report
from ckptsurgeon.cli.printing import Style, print_out, say, shown_progress
from ckptsurgeon.cli.streams import STREAM, open_spec_stream, refuse_stream
from ckptsurgeon.cli.words import read_bytes, read_factory_arguments


@click.command(
    cls=Command,
    short_help="A checkpoint of values that all differ.",
    examples=(
        "ckptsurgeon probe old.pt -o probe.pt",
        "ckptsurgeon probe folder/ -o probe/ --seed 1",
        "ckptsurgeon probe timm:resnet18 -o probe.safetensors",
    ),
)
@click.argument("source", metavar="SRC", type=PATH)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    type=PATH,
    help="What is written, by its suffix: .safetensors, .pt; folder/ for shards.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the values.")
@click.option("--root", metavar="NAME", help="Wrapper to open in SRC; '' for everything.")
@click.option("--force", is_flag=True, help="Replace an output that exists.")
@click.option(
    "--max-shard-size",
    metavar="SIZE",
    callback=read_bytes,
    help="Bytes of tensors in one shard of a folder; the shards of SRC, else 5GB, unless given.",
)
@memory
@one_shard
@click.option("--model-args", metavar="JSON", help="Arguments of a factory.")
@report
def probe(
    source: str,
    output: str,
    seed: int,
    root: str | None,
    force: bool,
    max_shard_size: int | None,
    memory: int | None,
    one_shard: bool,
    model_args: str | None,
    form: str,
    verbose: bool,
    color: str,
) -> int:
    """Write OUT, as SRC is but for its values: random ones that all differ.

    To run a conversion on, so that its output tells where each value went. Keys, shapes, dtypes,
    nesting, ties, entries and shards are SRC's; tables of integers, bools and sorted numbers keep
    their values. SRC is a file, a folder, a JSON spec (- for stdin) or a factory. Exits 1 where
    tensors are left out, for they can't be read.
    """
    from ckptsurgeon.cli.summary import summarise
    from ckptsurgeon.probing.making import prepare_probe

    start = time.perf_counter()
    refuse_stream(output, "a checkpoint")
    design = prepare_probe(_open(source, model_args), seed, root, one_shard)
    moved = _write(design, output, force=force, memory=memory, max_shard_size=max_shard_size)
    made = design.tell(output)
    _print(made, form, Style(verbose, color))
    seconds = time.perf_counter() - start
    code: int = made.exit_code
    told = f"{output}: {summarise(len(made.specs), moved, seconds)}"
    then = f"ckptsurgeon learn {shlex.quote(output)} CONVERTED -o rules.yaml"
    return say(f"{told}\nnext: run your conversion on it, then {then}", code)


def _open(source: str, model_args: str | None) -> Any:
    """The source, opened where its name alone doesn't say all of it."""
    from ckptsurgeon.factories import open_factory

    if source == STREAM:
        return open_spec_stream()
    arguments = read_factory_arguments(source, model_args)
    return source if arguments is None else open_factory(source, arguments)


def _write(design: Any, output: str, **words: Any) -> Any:
    """Writes the output, with a bar on a terminal where that takes long."""
    from ckptsurgeon.probing.writing import write_probe

    nbytes = sum(design.specs[key].nbytes for key in design.own)
    with shown_progress(nbytes) as progress:
        return write_probe(design, output, **words, progress=progress)


def _print(made: Any, form: str, style: Style) -> None:
    from ckptsurgeon.render.probing import probe_json, render_probe

    if form == "json":
        print_out([probe_json(made)])
    else:
        print_out([render_probe(made, **style.layout)])
