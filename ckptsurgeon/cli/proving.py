"""The command verify."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from ckptsurgeon.cli.commands import Command
from ckptsurgeon.cli.options import PATH, report_with
from ckptsurgeon.cli.printing import PAGES, Style, print_out, print_page
from ckptsurgeon.cli.streams import refuse_stream
from ckptsurgeon.cli.words import read_roots


@click.command(
    cls=Command,
    short_help="Prove an output in its network.",
    examples=(
        "ckptsurgeon verify out.pt --model pkg.models:build",
        "ckptsurgeon verify out.safetensors --model timm:resnet18 --against old.pt",
    ),
)
@click.argument("checkpoint", metavar="OUT", type=PATH)
@click.option(
    "--model",
    required=True,
    metavar="FACTORY",
    help="Its network: pkg.mod:name, transformers:FOLDER or timm:NAME.",
)
@click.option(
    "--root",
    multiple=True,
    metavar="[against=]NAME",
    help="Wrapper to open in OUT; against=NAME in SRC. May be repeated.",
)
@click.option("--model-args", metavar="JSON", help="Arguments of FACTORY.")
@click.option(
    "--against", metavar="SRC", type=PATH, help="A checkpoint whose network must give the same."
)
@click.option("--source-model", metavar="FACTORY", help="SRC's network, if it is another.")
@click.option("--source-model-args", metavar="JSON", help="Arguments of SRC's FACTORY.")
@click.option("--input", "shape", metavar="SIZES", help="Shape of the input, as 1,3,224,224.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the input.")
@click.option(
    "--tolerance",
    metavar="NUMBER",
    type=click.FloatRange(min=0),
    default=1e-5,
    show_default=True,
    help="Largest relative error of an output.",
)
@click.option(
    "--allow",
    multiple=True,
    metavar="KIND",
    help="Accepts findings of this kind, in loading on both sides. May be repeated.",
)
@report_with(*PAGES)
def verify(checkpoint: str, model: str, form: str, verbose: bool, color: str, **words: Any) -> int:
    """Prove OUT in its network: it loads strictly, its values are sane, its outputs are SRC's.

    Runs the code of FACTORY. Without --against nothing is computed, and the model takes no memory.
    Exits 0 where nothing is wrong, 1 where there are findings, 2 where it can't be tried.
    """
    refuse_stream(checkpoint, "a checkpoint")
    from ckptsurgeon.proof.verifying import verify as prove
    from ckptsurgeon.render.verification import render_verification, verification_json

    found = prove(checkpoint, model, **_read_words(words))
    if form == "json":
        print_out([verification_json(found)])
    elif form in PAGES:
        print_page(found, form, verbose)
    else:
        print_out([render_verification(found, **Style(verbose, color).layout)])
    return found.exit_code


def _read_words(words: Mapping[str, Any]) -> dict[str, Any]:
    """The words of `verify` as its function takes them."""
    from ckptsurgeon.factories import read_arguments

    if words["against"] is None and words["source_model"] is not None:
        raise click.UsageError("--source-model: is the network of --against, which is not given")
    if words["source_model"] is None and words["source_model_args"] is not None:
        raise click.UsageError("--source-model-args: there is no --source-model")
    named = {"arguments": "model_args", "source_arguments": "source_model_args"}
    given: dict[str, Any] = {
        name: read_arguments(words[word], f"--{word.replace('_', '-')}")
        for name, word in named.items()
        if words[word] is not None
    }
    plain = ("against", "source_model", "seed", "tolerance", "allow")
    given |= {"root": read_roots(words["root"]), "shape": _read_shape(words["shape"])}
    return {**given, **{name: words[name] for name in plain}}


def _read_shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    sizes = text.split(",")
    if not all(size.isascii() and size.isdigit() and int(size) for size in sizes):
        raise click.UsageError(f"--input {text}: wanted sizes, such as 1,3,224,224")
    return tuple(map(int, sizes))
