"""The commands that look at files: inspect, check, rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ckptsurgeon.cli.commands import Command, Group
from ckptsurgeon.cli.options import PATH, color, formats, load_rules, only, read_factory_arguments
from ckptsurgeon.cli.printing import Style, print_json, print_out, say
from ckptsurgeon.cli.streams import refuse_stream


@click.command(
    cls=Command,
    short_help="What a checkpoint holds.",
    examples=(
        "ckptsurgeon inspect model.pt",
        "ckptsurgeon inspect model.safetensors --only 'layers.<i>.mlp.**' -v",
        "ckptsurgeon inspect folder/ --format spec > shapes.json",
        "ckptsurgeon inspect timm:resnet18",
    ),
)
@click.argument("checkpoint", type=PATH)
@click.option("--root", help="The wrapper to open; '' for everything.")
@only
@click.option("--model-args", metavar="JSON", help="Arguments of a factory.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "html", "spec"]),
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
    form: str,
    color: str,
    verbose: bool,
) -> None:
    """What is in CHECKPOINT: tensors, ties, wrappers, entries.

    CHECKPOINT is a file, a folder, or a factory as pkg.mod:name, transformers:FOLDER, timm:NAME.
    """
    from ckptsurgeon.inspecting import inspect as look

    refuse_stream(checkpoint, "a checkpoint")
    arguments = read_factory_arguments(checkpoint, model_args)
    found = look(checkpoint, root=root, only=only, arguments=arguments)
    if form == "spec":
        _print_spec(found)
    elif form == "json":
        from ckptsurgeon.render.inspection import inspection_json

        print_out(inspection_json(found))
    elif form == "html":
        from ckptsurgeon.render.html.inspection_page import render_inspected

        print_out([render_inspected(found)])
    else:
        from ckptsurgeon.render.inspection import render_inspection

        print_out([render_inspection(found, **Style(verbose, color).layout)])


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
    examples=("ckptsurgeon check rules.yaml", "ckptsurgeon check first.yaml second.yaml"),
)
@click.argument("rules", nargs=-1, required=True, type=PATH)
@formats
def check(rules: Sequence[str], form: str) -> None:
    """Validate rule files without a checkpoint; several are stages, one after the other.

    RULES are rule files, shipped rulesets, or - for stdin.
    """
    from ckptsurgeon.planner.compiling.compilation import compile_rulesets
    from ckptsurgeon.visible import visible

    compiled = compile_rulesets(load_rules(rules))
    count = sum(len(stage.rules) for stage in compiled)
    if form == "json":
        names = {"files": list(rules), "rules": count, "stages": len(compiled)}
        print_json({"version": 1, "clean": True, "exit_code": 0, **names, "problems": []})
        return
    stages = f", {len(compiled)} stages" if len(compiled) > 1 else ""
    names_told = ", ".join(map(visible, rules))
    print_out([f"{names_told}: {count} rule{'s' * (count != 1)}{stages}, no problems\n"])


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
