"""The commands that look at files: inspect, check, rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ckptsurgeon.cli.commands import Command, Group
from ckptsurgeon.cli.options import PATH, color, formats_with, memory, only
from ckptsurgeon.cli.printing import (
    LONG_WORK,
    PAGES,
    Style,
    print_json,
    print_out,
    print_page,
    say,
    shown_progress,
)
from ckptsurgeon.cli.streams import refuse_stream
from ckptsurgeon.cli.words import load_rules, read_factory_arguments
from ckptsurgeon.errors import Problem, RulesetError


@click.command(
    cls=Command,
    short_help="What a checkpoint holds.",
    examples=(
        "ckptsurgeon inspect model.pt",
        "ckptsurgeon inspect model.safetensors --only 'layers.<i>.mlp.**' -v",
        "ckptsurgeon inspect model.safetensors --stats",
        "ckptsurgeon inspect folder/ --format spec > shapes.json",
        "ckptsurgeon inspect timm:resnet18",
    ),
)
@click.argument("checkpoint", type=PATH)
@click.option("--root", help="The wrapper to open; '' for everything.")
@only
@click.option("--model-args", metavar="JSON", help="Arguments of a factory.")
@click.option("--stats", is_flag=True, help="Read the values too, and tell what they are like.")
@memory
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", *PAGES, "spec"]),
    default="text",
    show_default=True,
    help="How it is printed; a spec is what --into takes.",
)
@color
@click.option("-v", "--verbose", is_flag=True, help="List every tensor.")
def inspect(
    checkpoint: str,
    root: str | None,
    only: Sequence[str],
    model_args: str | None,
    stats: bool,
    memory: int | None,
    form: str,
    color: str,
    verbose: bool,
) -> None:
    """What is in CHECKPOINT: tensors, ties, wrappers, entries; with --stats their values.

    CHECKPOINT is a file, a folder, or a factory as pkg.mod:name, transformers:FOLDER, timm:NAME.
    """
    from ckptsurgeon.inspecting import inspect as look

    refuse_stream(checkpoint, "a checkpoint")
    arguments = read_factory_arguments(checkpoint, model_args)
    _check_words(stats, memory, form)
    with shown_progress(LONG_WORK if stats else 0) as progress:
        found = look(
            checkpoint,
            root=root,
            only=only,
            arguments=arguments,
            stats=stats,
            memory=memory,
            progress=progress,
        )
    if form == "spec":
        _print_spec(found)
    elif form == "json":
        from ckptsurgeon.render.inspection_json import inspection_json

        print_out(inspection_json(found))
    elif form in PAGES:
        print_page(found, form, verbose)
    else:
        from ckptsurgeon.render.inspection import render_inspection

        style = Style(verbose, color)
        print_out([render_inspection(found, **style.layout, pictures=style.draws)])


def _check_words(stats: bool, memory: int | None, form: str) -> None:
    """Raises UsageError for words that say nothing together."""
    if memory is not None and not stats:
        raise click.UsageError("--memory: values are read with --stats alone")
    if stats and form == "spec":
        raise click.UsageError("--stats: a spec has no values; leave one of the two out")


def _print_spec(found: Any) -> None:
    """The shapes as JSON; what has none that is certain is told on stderr."""
    from ckptsurgeon.checkpoints.spec import dump
    from ckptsurgeon.checkpoints.strict_json import shorten_all
    from ckptsurgeon.specs import UnreadableSpec

    specs = found.specs
    readable = {k: s for k, s in specs.items() if not isinstance(s, UnreadableSpec)}
    print_out([dump(readable)])
    left = [key for key in specs if key not in readable]
    if left:
        say(f"left out, for they are unreadable: {shorten_all(left)}", 0)


@click.command(
    cls=Command,
    short_help="Validate rule files.",
    examples=(
        "ckptsurgeon check rules.yaml",
        "ckptsurgeon check first.yaml second.yaml",
        "ckptsurgeon check --each rules/*.yaml --format github   # a gate for CI",
    ),
)
@click.argument("rules", nargs=-1, required=True, type=PATH)
@click.option("--each", is_flag=True, help="RULES stand alone, and are no stages.")
@formats_with("github")
def check(rules: Sequence[str], each: bool, form: str) -> None:
    """Validate rule files without a checkpoint; several are stages, one after the other.

    RULES are rule files, shipped rulesets, or - for stdin.
    """
    files = [[name] for name in rules] if each else [list(rules)]
    compiled = _compile_each(files)
    if form == "json":
        count = sum(len(stage.rules) for stages in compiled for stage in stages)
        names = {"files": list(rules), "rules": count, "stages": sum(map(len, compiled))}
        print_json({"version": 1, "clean": True, "exit_code": 0, **names, "problems": []})
        return
    print_out(_tell_checked(*pair) for pair in zip(files, compiled, strict=True))


def _compile_each(files: Sequence[Sequence[str]]) -> list[Sequence[Any]]:
    """The stages of each of some lists of rule files; raises RulesetError with all problems."""
    from ckptsurgeon.planner.compiling.compilation import compile_rulesets

    compiled: list[Sequence[Any]] = []
    problems: list[Problem] = []
    for names in files:
        try:
            compiled.append(compile_rulesets(load_rules(names)))
        except RulesetError as error:
            problems += error.problems
    if problems:
        raise RulesetError(problems)
    return compiled


def _tell_checked(names: Sequence[str], stages: Sequence[Any]) -> str:
    """`rules.yaml: 3 rules, no problems`."""
    from ckptsurgeon.visible import tame

    count = sum(len(stage.rules) for stage in stages)
    number = f", {len(stages)} stages" if len(stages) > 1 else ""
    told = f"{', '.join(names)}: {count} rule{'s' * (count != 1)}{number}, no problems"
    return f"{tame(told)}\n"


@click.group(cls=Group, short_help="Shipped rulesets; the schema.")
def rules() -> None:
    """Shipped rulesets, and the schema of rule files."""


@rules.command("list", examples=("ckptsurgeon rules list",))
def rules_list() -> None:
    """Name and purpose of each shipped ruleset."""
    from ckptsurgeon.language import catalog

    names = catalog.names()
    width = max(map(len, names), default=0)
    print_out(f"{name:{width}}  {catalog.about(name)}\n" for name in names)


@rules.command("show", examples=("ckptsurgeon rules show timm_vit_to_transformers > rules.yaml",))
@click.argument("name")
def rules_show(name: str) -> None:
    """The text of a shipped ruleset."""
    from ckptsurgeon.language import catalog

    print_out([catalog.path_of(name).read_text(encoding="utf-8")])


@rules.command("schema", examples=("ckptsurgeon rules schema > rules.schema.json",))
def rules_schema() -> None:
    """The JSON Schema of rule files, for editors."""
    from ckptsurgeon.language.reading.schema import json_schema

    print_json(json_schema())
