"""The options that several commands share."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from functools import reduce
from typing import Any

import click

from ckptsurgeon.cli.guesses import KINDS_OF_FINDING
from ckptsurgeon.cli.words import read_bytes, read_paths

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _join(*options: Decorator) -> Decorator:
    """One decorator for several options, which `--help` shows in this order."""
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


class Name(click.Path):
    """A name of a file, a folder or a factory, as it is; shells complete it like one of a file.

    What there is of it is told later: click would ask the disk, which some names stop.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name itself."""
        return value


PATH = Name()


class Kinds(click.Choice[str]):
    """Kinds of finding to accept; who names a key is told how single ones are accepted."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The kind; raises BadParameter."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            several = re.split(r"\s*,\s*", str(value))
            if len(several) > 1 and all(one in self.choices for one in several):
                how = " ".join(f"--allow {one}" for one in several)
                raise click.BadParameter(f"write {how}", ctx, param) from None
            if "." not in str(value):
                raise
            drop, keep = (shlex.quote(f"{word}: {value}") for word in ("drop", "keep"))
            how = f"a kind is of all keys: of one say -e {keep}, and -e {drop} if the source has it"
            raise click.BadParameter(f"{error.message}; {how}", ctx, param) from None


KINDS = Kinds(KINDS_OF_FINDING)

one_shard = click.option(
    "--one-shard", is_flag=True, help="A shard of a set is meant, not all of it."
)


def further_sources(second: str = "DST", first: str = "SRC") -> Decorator:
    """The options that name further sources, and say how they and both files are opened."""
    return _join(
        click.option(
            "--source",
            "named",
            multiple=True,
            metavar="ALIAS=PATH",
            help="Further source, whose keys are ALIAS::KEY in rules; 's*=GLOB' numbers files, "
            "'r<r>=mp_rank_<r:02>.pt' takes their numbers. May be repeated.",
        ),
        click.option(
            "--root",
            multiple=True,
            metavar="[ALIAS=]NAME",
            help=f"Wrapper to open in {first}, or in the source ALIAS; "
            f"dst=NAME in {second}. May be repeated.",
        ),
        one_shard,
    )


rule_file = _join(
    click.option(
        "-o",
        "--output",
        metavar="RULES",
        type=PATH,
        help="The rule file that is written; without it the rules are printed.",
    ),
    click.option("--force", is_flag=True, help="Replace a rule file that exists."),
)
"""The options of every command that writes rules."""


given_rules = _join(
    click.option(
        "-r",
        "--rules",
        multiple=True,
        metavar="RULES",
        type=PATH,
        help="Rule file, shipped ruleset, or - for stdin. May be repeated: each further one is a "
        "stage that reads what the one before gives.",
    ),
    click.option(
        "-e",
        "--rule",
        "arrows",
        multiple=True,
        metavar="RULE",
        help="One rule, as 'A -> B'; stands before those of the last file. May be repeated.",
    ),
)
"""The options that give rules."""

variables = _join(
    click.option(
        "--config",
        metavar="JSON",
        type=PATH,
        help="Model config that vars may look into.",
    ),
    click.option(
        "--set",
        "given",
        multiple=True,
        metavar="NAME=VALUE",
        help="Overrides a var by an expression, as 8 or '[[1, 3], [0, 2]]'. May be repeated.",
    ),
)
"""The options that vars of rules look into."""

inputs = _join(
    click.argument("source", metavar="[SRC]", required=False, type=PATH),
    click.option(
        "--into",
        metavar="[ALIAS=]DST",
        type=PATH,
        multiple=True,
        callback=read_paths,
        help="What the result must fit: checkpoint, JSON spec (- for stdin), or factory "
        "(pkg.mod:name, transformers:FOLDER, timm:NAME). Of several outputs one for each, also as "
        "'rank<r>=mp_rank_<r:02>.pt'.",
    ),
    click.option(
        "--model-args",
        metavar="JSON",
        help="Arguments of the factory that DST, or else SRC, names.",
    ),
    given_rules,
    further_sources(),
    variables,
    click.option(
        "--allow",
        multiple=True,
        type=KINDS,
        metavar="KIND",
        help="Accepts findings of this kind: missing or mismatched (the keys keep DST's values), "
        "unexpected, unused, unreadable, nothing. May be repeated.",
    ),
)
"""The options of every command that makes a plan."""

only = click.option(
    "--only",
    multiple=True,
    metavar="PATTERN",
    help="Tensors whose keys match, as in rules: 'fc.*', 'layers.<i>.**'. May be repeated.",
)

MOST_JOBS = 64
"""More threads than processors gain nothing; far more only cost."""

jobs = click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(1, MOST_JOBS),
    help="Threads; one for each processor, up to 8, unless given.",
)

memory = click.option(
    "--memory",
    metavar="SIZE",
    callback=read_bytes,
    help="Bytes to hold of tensors at a time, as 128MiB; 256MiB unless given.",
)


def formats_with(*further: str) -> Decorator:
    """The option that says how a result is printed: as text, as JSON, or in a further format."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(["text", "json", *further]),
        default="text",
        show_default=True,
        help="How it is printed; JSON is complete, and never folded.",
    )


formats = formats_with()
color = click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Colours; auto: on a terminal, unless NO_COLOR is set or TERM is dumb.",
)
verbose = click.option(
    "-v", "--verbose", is_flag=True, help="Fold and cut nothing; pages fold, and have bounds."
)


def report_with(*further: str) -> Decorator:
    """The options of a command that prints a report, in text, JSON or a further format."""
    return _join(formats_with(*further), color, verbose)


report = report_with()

quiet = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    help="Print no report unless there are findings; of those allowed, the last line.",
)
