"""The commands that look at files: inspect, check, rules."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ckptsurgeon.cli.printing import print_out, say, screen


@click.command()
@click.argument("checkpoint")
@click.option("--root", help="The wrapper to open; '' for everything.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "spec"]),
    default="text",
    show_default=True,
)
@click.option("-v", "--verbose", is_flag=True, help="List every tensor.")
def inspect(checkpoint: str, root: str | None, form: str, verbose: bool) -> None:
    """What is in CHECKPOINT: tensors, ties, wrappers, entries."""
    from ckptsurgeon.checkpoints.opening import open_checkpoint
    from ckptsurgeon.render.inspection import inspection_json, render_inspection

    opened = open_checkpoint(checkpoint, root, one_shard=True)
    if form == "spec":
        from ckptsurgeon.checkpoints.spec import dump
        from ckptsurgeon.checkpoints.strict_json import shorten_all
        from ckptsurgeon.specs import UnreadableSpec

        specs = opened.contents.specs
        readable = {k: s for k, s in specs.items() if not isinstance(s, UnreadableSpec)}
        print_out([dump(readable)])
        left = [key for key in specs if key not in readable]
        if left:
            say(f"left out, for they are unreadable: {shorten_all(left)}", 0)
    elif form == "json":
        print_out(inspection_json(opened))
    else:
        print_out([render_inspection(opened, **screen(verbose))])


@click.command()
@click.argument("rules", nargs=-1, required=True)
def check(rules: Sequence[str]) -> None:
    """Validate rule files without a checkpoint."""
    from ckptsurgeon.language.rulesets import load_with_problems
    from ckptsurgeon.planner.compiling.compilation import compile_rulesets
    from ckptsurgeon.render.terminal import visible

    compiled = compile_rulesets([load_with_problems(one) for one in rules])
    count = sum(len(stage.rules) for stage in compiled)
    stages = f", {len(compiled)} stages" if len(compiled) > 1 else ""
    names = ", ".join(map(visible, rules))
    print_out([f"{names}: {count} rule{'s' * (count != 1)}{stages}, no problems\n"])


@click.group()
def rules() -> None:
    """Shipped rulesets, and the schema of rule files."""


@rules.command("list")
def rules_list() -> None:
    """Name and purpose of each shipped ruleset."""
    from ckptsurgeon.language import catalog

    names = catalog.names()
    width = max(map(len, names), default=0)
    print_out(f"{name:{width}}  {catalog.about(name)}\n" for name in names)


@rules.command("show")
@click.argument("name")
def rules_show(name: str) -> None:
    """The text of a shipped ruleset."""
    from ckptsurgeon.language import catalog

    print_out([catalog.path_of(name).read_text(encoding="utf-8")])


@rules.command("schema")
def rules_schema() -> None:
    """The JSON Schema of rule files, for editors."""
    import json

    from ckptsurgeon.language.reading.schema import json_schema

    print_out([json.dumps(json_schema(), indent=2), "\n"])
