"""The command diff."""

from __future__ import annotations

from typing import Any

import click

from ckptsurgeon.cli.commands import Command
from ckptsurgeon.cli.guesses import tell_extra
from ckptsurgeon.cli.options import (
    PATH,
    further_sources,
    given_rules,
    jobs,
    memory,
    only,
    report_with,
    variables,
)
from ckptsurgeon.cli.printing import PAGES, Style, print_out, print_page, shown_progress
from ckptsurgeon.cli.words import collect_paths, read_request
from ckptsurgeon.wording import AS_COMPARED, calling


@click.command(
    cls=Command,
    short_help="How two checkpoints differ.",
    examples=(
        "ckptsurgeon diff base.safetensors tuned.safetensors",
        "ckptsurgeon diff old.pt new.safetensors -r rules.yaml   # what rules make of old.pt",
        "ckptsurgeon diff a.pt b.pt --rtol 1e-3 --atol 1e-6      # a gate for CI",
        "ckptsurgeon diff a.pt b.pt --exact --only 'layers.<i>.**'",
        "ckptsurgeon diff a.safetensors timm:resnet18            # shapes alone",
    ),
)
@click.argument("files", metavar="[A] B", nargs=-1, required=True, type=PATH)
@given_rules
@further_sources("B", "A")
@variables
@click.option(
    "--model-args", metavar="JSON", help="Arguments of the factory that B, or else A, is."
)
@only
@click.option("--exact", is_flag=True, help="Equal is equal in every bit: of NaN and -0.0, too.")
@click.option(
    "--atol",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="NUMBER",
    help="Values are close enough within atol + rtol * |B|; 0 unless given.",
)
@click.option(
    "--rtol", type=click.FloatRange(min=0), default=0.0, metavar="NUMBER", help="The same, of |B|."
)
@click.option(
    "--any-dtype", is_flag=True, help="Another dtype, and its rounding, is no difference."
)
@click.option("--headers", is_flag=True, help="Compare names, dtypes and shapes, and no values.")
@memory
@jobs
@report_with(*PAGES)
@calling(**AS_COMPARED)
def diff(
    files: tuple[str, ...],
    memory: int | None,
    jobs: int | None,
    form: str,
    verbose: bool,
    color: str,
    **words: Any,
) -> int:
    """What is in B that is not in A: names, dtypes, shapes, and how far which values moved.

    A and B are files, folders, JSON specs (- for stdin) or factories. With rules, what they make of
    A is compared; for several outputs B is ALIAS=PATH each, or 'rank<r>=mp_rank_<r:02>.pt'. NaN
    equals NaN at the same place, -0.0 equals 0.0. Exits 0 where all is equal, 1 where something
    differs, 2 where it can't be told.
    """
    from ckptsurgeon.comparing.comparing import diff as compare
    from ckptsurgeon.render.difference import difference_json, render_difference

    source, into = _read_files(files, words["named"])
    asked = read_request({**words, "source": source, "into": into})
    with shown_progress() as progress:
        found = compare(
            asked.pop("source"),
            asked.pop("into"),
            **asked,
            **{name: words[name] for name in _PLAIN},
            sizes=form not in ("text", "markdown"),
            memory=memory,
            jobs=jobs,
            progress=progress,
        )
    if form == "json":
        print_out(difference_json(found))
    elif form in PAGES:
        print_page(found, form, verbose)
    else:
        print_out([render_difference(found, **Style(verbose, color).layout)])
    return found.exit_code


_PLAIN = ("only", "exact", "atol", "rtol", "any_dtype", "headers")
"""Words that the function takes as they are."""


def _read_files(
    files: tuple[str, ...], named: tuple[str, ...]
) -> tuple[str | None, str | dict[str, str]]:
    """A, if it has no name, and B: the last word, or all words that are ALIAS=PATH."""
    from ckptsurgeon.file_names import split_word

    plain = [word for word in files if split_word(word) is None]
    several = collect_paths([word for word in files if split_word(word) is not None], "B")
    most = 1 if several else 2
    if len(plain) > most:
        told = tell_extra("diff", plain[most])
        raise click.UsageError(f"{plain[most]!r} is one word too many: {told}")
    if several:
        return (plain[0] if plain else None), several
    if len(plain) == 2:
        return plain[0], plain[1]
    if not named:
        raise click.UsageError("the second checkpoint is missing: `ckptsurgeon diff A B`")
    return None, plain[0]
