"""The command suggest."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import click

from ckptsurgeon.cli.commands import Command
from ckptsurgeon.cli.options import PATH, formats, further_sources, rule_file
from ckptsurgeon.cli.printing import print_out, say
from ckptsurgeon.cli.words import (
    build_factory,
    named_sources,
    open_streams,
    read_roots,
    read_rule_file,
)
from ckptsurgeon.wording import calling


@click.command(
    cls=Command,
    short_help="A rule file from two headers.",
    examples=(
        "ckptsurgeon suggest old.pt new.safetensors -o rules.yaml",
        "ckptsurgeon suggest old.pt timm:vit_base_patch16_224",
        "ckptsurgeon suggest --source 'r*=mp_rank_*.pt' new.safetensors -o rules.yaml",
        "ckptsurgeon suggest old.pt shapes.json --least sure",
    ),
)
@click.argument("first", metavar="[SRC]", type=PATH)
@click.argument("second", metavar="DST", required=False, type=PATH)
@further_sources()
@click.option(
    "--model-args", metavar="JSON", help="Arguments of the factory that DST, or else SRC, names."
)
@rule_file
@click.option(
    "--least",
    type=click.Choice(["sure", "likely", "all"]),
    default="likely",
    show_default=True,
    help="Down to which degree rules are written; all has the open ones as comments, rule by rule.",
)
@formats
@calling(into=("DST", "into"))
def suggest(
    first: str,
    second: str | None,
    output: str | None,
    force: bool,
    least: str,
    form: str,
    **words: Any,
) -> int:
    """Write a rule file that makes DST of SRC, from names and shapes.

    Rules of which names, shapes and structure leave one reading are plain lines; those of which
    something else would fit are marked `# CHECK:`; what is open, and what would lose weights,
    stands as comments. No tensor is read. Exits 1 where something is open; the file is written all
    the same.
    """
    from ckptsurgeon.suggestions import suggest as make

    file = read_rule_file(output, force=force)
    source, into = _read_places(first, second, words["named"])
    asked = open_streams(build_factory({**words, "source": source, "into": into, **_UNASKED}))
    made = make(
        asked["source"],
        asked["into"],
        sources=named_sources(asked),
        root=read_roots(asked["root"]),
        one_shard=asked["one_shard"],
        least=least,  # type: ignore[arg-type]  # click has one of them
    )
    if file is not None:
        made.save(file, force=force)
    _print(made, file, form)
    told = made.bottom_line if file is None else f"{file}: {made.bottom_line}"
    steps = () if file is None else _next_steps(made, source, words["named"], into, file)
    return say("\n".join((told, *steps)), made.exit_code)


_UNASKED = {"config": None, "rules": ()}
"""What other commands may read from standard input."""


def _read_places(first: str, second: str | None, named: Any) -> tuple[str | None, str]:
    """The source, if one has no name, and the destination, which comes last."""
    if second is not None:
        return first, second
    if not named:
        raise click.UsageError("the destination is missing: `ckptsurgeon suggest SRC DST`")
    return None, first


def _print(made: Any, file: str | None, form: str) -> None:
    """The suggestion on standard output, but for what a file has."""
    if form == "json":
        from ckptsurgeon.render.suggestion import suggestion_json

        print_out([suggestion_json(made)])
    elif file is None:
        print_out([made.text()])


def _next_steps(
    made: Any, source: str | None, named: Sequence[str], into: str, file: str
) -> Iterator[str]:
    """What to do with the file; above it the rulesets that come along and do the same."""
    above = itertools.takewhile(lambda line: line.startswith("# "), made.text().splitlines())
    yield from (line.removeprefix("# ") for line in above)
    sources = [source] if source is not None else []
    sources += [word for one in named for word in ("--source", one)]
    yield f"next: {shlex.join(['ckptsurgeon', 'plan', *sources, '--into', into, '-r', file])}"
