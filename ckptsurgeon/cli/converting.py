"""The commands that make a plan: plan, transplant, invert, explain."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ckptsurgeon.checkpoints.writing.interrupts import stopped_when_done
from ckptsurgeon.cli.commands import Command
from ckptsurgeon.cli.options import PATH, formats, inputs, jobs, memory, quiet, report_with
from ckptsurgeon.cli.printing import (
    PAGES,
    Style,
    print_beginning,
    print_ending,
    print_json,
    print_out,
    print_quietly,
    print_report,
    report_of,
    say,
    shown_progress,
)
from ckptsurgeon.cli.requests import prepare, prepare_saved, request
from ckptsurgeon.cli.streams import STREAM, refuse_stream
from ckptsurgeon.cli.words import read_bytes, read_paths
from ckptsurgeon.errors import FindingsError, OutputError


@click.command(
    cls=Command,
    short_help="Dry run: what the rules do.",
    examples=(
        "ckptsurgeon plan old.pt --into new.pt -r rules.yaml",
        "ckptsurgeon plan old.pt --into pkg.models:build -e 'module.** -> **'",
        "ckptsurgeon plan old.pt --into shapes.json -r rules.yaml -q   # a gate for CI",
        "ckptsurgeon plan old.pt -r rules.yaml -o plan.json",
        "ckptsurgeon plan old.pt --plan plan.json                      # does it still hold?",
    ),
)
@inputs
@memory
@report_with(*PAGES, "github")
@click.option(
    "-o",
    "--output",
    metavar="PLAN",
    type=PATH,
    help="Save the plan as JSON, for `transplant --plan`; - writes it to stdout, and the last line "
    "of the report to stderr.",
)
@click.option(
    "--plan", "saved", metavar="PLAN", type=PATH, help="Check whether a saved plan still holds."
)
@quiet
def plan(
    output: str | None,
    saved: str | None,
    quiet: bool,
    form: str,
    verbose: bool,
    color: str,
    **words: Any,
) -> int:
    """Dry run: report what the rules do with SRC.

    Reads headers alone. Exits 0 where the result would fit, 1 where there are findings, 2 where the
    rules are wrong.
    """
    made = (prepare_saved(saved, words, None) if saved is not None else prepare(words, None)).plan
    code = FindingsError.exit_code if made.open_findings else 0
    if _save(made, output):
        return say(report_of(made).bottom_line, code)
    style = Style(verbose, color)
    if not quiet or made.open_findings:
        print_report(made, form, style)
    elif made.findings or form == "json":
        print_quietly(report_of(made), form, style)
    return code


def _save(plan: Any, output: str | None) -> bool:
    """Whether the plan is on stdout now, where nothing else can be then."""
    from ckptsurgeon.plans.files.saving import encode_plan

    if output == STREAM:
        print_out([encode_plan(plan, output).decode(), "\n"])
    elif output is not None:
        plan.save(output)
    return output == STREAM


@click.command(
    cls=Command,
    short_help="Write the converted checkpoint.",
    examples=(
        "ckptsurgeon transplant old.pt --into new.pt -r rules.yaml -o out.safetensors",
        "ckptsurgeon transplant old.pt -e 'module.** -> **' -o out.pt",
        "ckptsurgeon transplant --source 's*=shard_*.pt' -r rules.yaml -o folder/",
        "ckptsurgeon transplant old.pt --plan plan.json -o out.safetensors",
        "ckptsurgeon transplant old.pt -r tp.yaml -o 'rank<r>=tp4/mp_rank_<r:02>.pt'",
    ),
)
@inputs
@memory
@jobs
@click.option(
    "--max-shard-size",
    metavar="SIZE",
    callback=read_bytes,
    help="Bytes of tensors in one shard of a folder; 5GB unless given.",
)
@report_with(*PAGES, "github")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="[ALIAS=]OUT",
    type=PATH,
    multiple=True,
    callback=read_paths,
    help="What is written, by its suffix: .safetensors, .pt; folder/ for shards. Of several "
    "outputs one for each, also as 'rank<r>=tp4/mp_rank_<r:02>.pt'; all appear together.",
)
@click.option("--plan", "saved", metavar="PLAN", type=PATH, help="Run a plan that `plan -o` saved.")
@click.option("--force", is_flag=True, help="Replace an output that exists.")
@quiet
def transplant(
    output: str | dict[str, str],
    max_shard_size: int | None,
    saved: str | None,
    force: bool,
    quiet: bool,
    form: str,
    verbose: bool,
    color: str,
    **words: Any,
) -> int:
    """Plan, report, and write the result to OUT.

    OUT appears whole or not at all, and not while there are findings that --allow does not name.
    """
    from ckptsurgeon.cli.summary import summarise

    start = time.perf_counter()
    style = Style(verbose, color)
    for path in [output] if isinstance(output, str) else output.values():
        refuse_stream(path, "a checkpoint")
    execution = prepare_saved(saved, words, output) if saved is not None else prepare(words, output)
    if execution.plan.open_findings:
        print_report(execution.plan, form, style)
        text = f"{_name(output)}: not written, for the findings above"
        return say(text, FindingsError.exit_code)
    report = report_of(execution.plan, "written")
    with execution.open_output(force=force, max_shard_size=max_shard_size) as fill:
        if not quiet:
            print_beginning(report, form, style)
        moved = _fill(fill, execution.plan)
    with stopped_when_done():
        if not quiet:
            print_ending(report, form, style)
        elif report.findings or form == "json":
            print_quietly(report, form, style)
        seconds = time.perf_counter() - start
        told = summarise(len(execution.plan.outputs), moved, seconds)
        return say(f"{_name(output)}: {told}", 0)


def _name(output: str | Mapping[str, str]) -> str:
    """What is written, as it was given."""
    if isinstance(output, str):
        return output
    return ", ".join(f"{alias}={path}" if alias else path for alias, path in output.items())


def _fill(fill: Any, plan: Any) -> Any:
    """The output filled, with a bar on a terminal where that takes long."""
    nbytes = sum(output.spec.nbytes for key, output in plan.outputs.items() if key not in plan.ties)
    with shown_progress(nbytes) as progress:
        return fill(progress)


@click.command(
    cls=Command,
    short_help="Turn a plan around.",
    examples=(
        "ckptsurgeon invert plan.json -o back.json",
        "ckptsurgeon transplant out.pt --plan back.json -o old_again.pt",
    ),
)
@click.argument("saved", metavar="PLAN", type=PATH)
@report_with(*PAGES, "github")
@click.option(
    "-o",
    "--output",
    metavar="INVERSE",
    type=PATH,
    help="Save the inverse, a plan like any other; - writes it to stdout.",
)
@click.option("--only", metavar="ALIAS", help="The source to give back, of several; '' is SRC.")
@click.option(
    "--source-of-lost",
    "lost",
    metavar="CKPT",
    type=PATH,
    help="Where to take what PLAN loses.",
)
def invert(
    saved: str,
    output: str | None,
    only: str | None,
    lost: str | None,
    form: str,
    verbose: bool,
    color: str,
) -> int:
    """The way back: a plan that makes the source of PLAN out of its output, to the byte.

    Exits 2 where PLAN loses something, naming each rule that does; `transplant OUT --plan INVERSE`
    runs the result.
    """
    from ckptsurgeon import api

    made = api.invert(saved, only=only, source_of_lost=lost)
    if output is not None and Path(output).exists() and Path(output).samefile(saved):
        raise OutputError(f"{output}: the inverse would overwrite its own plan; name another")
    if _save(made, output):
        return 0
    if form == "text":
        from ckptsurgeon.render.terminal import escape

        print_out([f"turns around {escape(saved)}\n\n"])
    print_report(made, form, Style(verbose, color))
    return 0


@click.command(
    cls=Command,
    short_help="Which rule takes a key, and why.",
    examples=(
        "ckptsurgeon explain conv1.weight old.pt --into new.pt -r rules.yaml",
        "ckptsurgeon explain layers.0.attn.qkv.weight old.pt -r rules.yaml -v",
    ),
)
@click.argument("key")
@inputs
@formats
@click.option("-v", "--verbose", is_flag=True, help="Show the rules that do not match, too.")
def explain(key: str, form: str, verbose: bool, **words: Any) -> int:
    """Which rule takes KEY, and why not the others.

    KEY is a name that rules see, of SRC or of the output. Takes what `plan` takes.
    """
    from ckptsurgeon.planner.explaining import explain as explain_key
    from ckptsurgeon.render.explanation import explanation_json, render_explanation
    from ckptsurgeon.request import refuse_turned_round

    refuse_turned_round(key, words["source"], alone=not words["named"])
    asked = request(words)
    explanation = explain_key(asked.rulesets, asked.inputs, key)
    if form == "json":
        print_json(explanation_json(explanation))
    else:
        print_out([render_explanation(explanation, verbose=verbose)])
    code: int = explanation.exit_code
    return code
