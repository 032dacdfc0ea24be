"""The commands that make a plan: plan, transplant, invert, explain."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ckptsurgeon.cli.options import (
    build_factory,
    inputs,
    limits,
    memory,
    named_sources,
    prepare,
    read_bytes,
    report,
    request,
)
from ckptsurgeon.cli.printing import (
    print_beginning,
    print_ending,
    print_out,
    print_report,
    report_of,
    say,
)
from ckptsurgeon.errors import FindingsError, OutputError

MOST_JOBS = 64
"""More threads than processors gain nothing; far more only cost."""

LONG_WORK = 256 << 20
"""Bytes from which on a bar shows how far the work is."""


@click.command()
@inputs
@memory
@report
@click.option("-o", "--output", metavar="PLAN", help="Save the plan, for `transplant --plan`.")
def plan(output: str | None, form: str, verbose: bool, **words: Any) -> int:
    """Dry run: report what the rules do with SRC.

    Reads headers alone. Exits 0 where the result would fit, 1 where there are findings, 2 where the
    rules are wrong.
    """
    made = prepare(words, None).plan
    _save(made, output)
    print_report(made, form, verbose)
    return FindingsError.exit_code if made.open_findings else 0


def _save(plan: Any, output: str | None) -> None:
    if output is not None:
        from ckptsurgeon.plans.files.saving import save_plan

        save_plan(plan, Path(output))


@click.command()
@inputs
@memory
@click.option(
    "--jobs",
    type=click.IntRange(1, MOST_JOBS),
    help="Threads; one for each processor, up to 8, unless given.",
)
@click.option(
    "--max-shard-size",
    metavar="SIZE",
    callback=read_bytes,
    help="Bytes of tensors in one shard of a folder; 5GB unless given.",
)
@report
@click.option("-o", "--output", required=True, metavar="OUT", help="What is written, by suffix.")
@click.option("--plan", "saved", metavar="PLAN", help="Run a plan that `plan -o` saved.")
@click.option("--force", is_flag=True, help="Replace an output that exists.")
@click.option(
    "-q",
    "--quiet",
    is_flag=True,
    help="Print no report unless there are findings; of those allowed, the last line.",
)
def transplant(
    output: str,
    max_shard_size: int | None,
    saved: str | None,
    force: bool,
    quiet: bool,
    form: str,
    verbose: bool,
    **words: Any,
) -> int:
    """Plan, report, and write the result to OUT.

    OUT appears whole or not at all, and not while there are findings that --allow does not name.
    """
    from ckptsurgeon.cli.summary import summarise

    start = time.perf_counter()
    execution = (
        _prepare_saved(saved, words, output) if saved is not None else prepare(words, output)
    )
    if execution.plan.open_findings:
        print_report(execution.plan, form, verbose)
        return say(f"{output}: not written, for the findings above", FindingsError.exit_code)
    report = report_of(execution.plan, written=True)
    with execution.open_output(force=force, max_shard_size=max_shard_size) as fill:
        if not quiet:
            print_beginning(report, form, verbose)
        moved = _fill(fill, execution.plan)
    if report.findings or form == "json" or not quiet:
        print_ending(report, form)
    seconds = time.perf_counter() - start
    return say(f"{output}: {summarise(len(execution.plan.outputs), moved, seconds)}", 0)


def _prepare_saved(saved: str, words: Mapping[str, Any], output: str) -> Any:
    from ckptsurgeon.saved import prepare_saved

    names = {"rules": "-r", "arrows": "-e", "given": "--set"}
    for word in ("rules", "arrows", "config", "given", "allow", "root"):
        if words[word]:
            raise click.UsageError(
                f"--plan takes no {names.get(word, f'--{word}')}: it has its own"
            )
    words = build_factory(words)
    execution = prepare_saved(
        Path(saved), words["source"], named_sources(words), words["into"], words["one_shard"]
    )
    return execution.aim(output, *limits(words))


def _fill(fill: Any, plan: Any) -> Any:
    """The output filled, with a bar on a terminal where that takes long."""
    nbytes = sum(output.spec.nbytes for key, output in plan.outputs.items() if key not in plan.ties)
    if nbytes < LONG_WORK or not sys.stderr.isatty():
        return fill(None)
    from ckptsurgeon.render.progress import shown_progress

    with shown_progress(nbytes) as progress:
        return fill(progress)


@click.command()
@click.argument("saved", metavar="PLAN")
@report
@click.option("-o", "--output", metavar="INVERSE", help="Save the inverse, a plan like any other.")
@click.option("--only", metavar="ALIAS", help="The source to give back, of several; '' is SRC.")
@click.option("--source-of-lost", "lost", metavar="CKPT", help="Where to take what PLAN loses.")
def invert(
    saved: str, output: str | None, only: str | None, lost: str | None, form: str, verbose: bool
) -> int:
    """The way back: a plan that makes the source of PLAN out of its output, to the byte.

    Exits 2 where PLAN loses something, naming each rule that does; `transplant OUT --plan INVERSE`
    runs the result.
    """
    from ckptsurgeon import api

    made = api.invert(saved, only=only, source_of_lost=lost)
    if output is not None and Path(output).exists() and Path(output).samefile(saved):
        raise OutputError(f"{output}: the inverse would overwrite its own plan; name another")
    _save(made, output)
    if form == "text":
        from ckptsurgeon.render.terminal import escape

        print_out([f"turns around {escape(saved)}\n\n"])
    print_report(made, form, verbose)
    return 0


@click.command()
@click.argument("key")
@inputs
@click.option("-v", "--verbose", is_flag=True, help="Show the rules that do not match, too.")
def explain(key: str, verbose: bool, **words: Any) -> int:
    """Which rule takes KEY, and why not the others.

    KEY is a name that rules see, of SRC or of the output. Takes what `plan` takes.
    """
    from ckptsurgeon.planner.explaining import explain as explain_key
    from ckptsurgeon.render.explanation import render_explanation

    asked = request(words)
    explanation = explain_key(asked.rulesets, asked.inputs, key)
    print_out([render_explanation(explanation, verbose=verbose)])
    return 0 if explanation.error is None else explanation.error.exit_code
