"""The command line: the only place that prints or exits."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from ckptsurgeon import __version__
from ckptsurgeon.errors import CkptSurgeonError, FindingsError

OUR_BUG = 70
NARROWEST, PLAIN_WIDTH = 60, 100

Command = TypeVar("Command", bound=Callable[..., Any])


def main() -> NoReturn:
    """Runs the command line; exits 0 clean, 1 findings, 2 trouble, 70 our bug."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """The exit code of a command line; every error is printed as words."""
    verbose = not {"-v", "--verbose"}.isdisjoint(arguments)
    try:
        code = cli.main(args=list(arguments), prog_name="ckptsurgeon", standalone_mode=False)
        _print(())
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return 2
    except click.exceptions.Abort:
        return _said("stopped; nothing was written", 130)
    except CkptSurgeonError as error:
        return _told(error, verbose)
    except (OSError, MemoryError) as error:
        return _failed(error)
    except Exception as error:  # whatever it is, a user gets words and a code for a bug of ours
        return _bug(error)


def _told(error: CkptSurgeonError, verbose: bool) -> int:
    from ckptsurgeon.render.problems import render_error

    return _said(render_error(error, verbose=verbose), error.exit_code)


def _failed(error: OSError | MemoryError) -> int:
    """What the machine refuses: a file, a disk, memory."""
    from ckptsurgeon.render.terminal import escape

    name = getattr(error, "filename", None)
    reason = getattr(error, "strerror", None) or str(error) or "out of memory"
    return _said(f"error: {escape(f'{name}: {reason}' if name else reason)}", 2)


def _said(text: str, code: int) -> int:
    click.echo(text, err=True)
    return code


def _bug(error: Exception) -> int:
    import traceback

    from ckptsurgeon.render.terminal import escape

    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    said = escape(str(error))
    text = f"a bug in ckptsurgeon {__version__}: {type(error).__name__} at {where}: {said}"
    if os.environ.get("CKPTSURGEON_DEBUG"):
        text = "".join(traceback.format_exception(error)).rstrip()
    return _said(
        f"{text}\nset CKPTSURGEON_DEBUG=1 for the whole trace, and report it", OUR_BUG
    )


# --- what commands share --------------------------------------------------------------------------


def _assignments(words: Iterable[str], option: str) -> dict[str, str]:
    """`name=value` words as a dict."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise click.UsageError(f"{option} {word}: wanted NAME=VALUE")
        if name in found:
            raise click.UsageError(f"{option} {name}: given twice")
        found[name] = value
    return found


def _inputs(command: Command) -> Command:
    """The options of every command that makes a plan."""
    options = [
        click.argument("source", metavar="[SRC]", required=False),
        click.option(
            "--into", metavar="DST", help="The checkpoint or spec that the result must fit."
        ),
        click.option(
            "-r", "--rules", multiple=True, metavar="RULES", help="A rule file or shipped ruleset."
        ),
        click.option(
            "-e",
            "--rule",
            "arrows",
            multiple=True,
            metavar="RULE",
            help="A rule: 'A -> B'. It wins.",
        ),
        click.option(
            "--source", "named", multiple=True, metavar="ALIAS=PATH", help="A further source."
        ),
        click.option("--config", metavar="JSON", help="A config that vars may look into."),
        click.option(
            "--set", "given", multiple=True, metavar="NAME=VALUE", help="Overrides a var."
        ),
        click.option(
            "--allow",
            multiple=True,
            type=click.Choice(["missing", "unexpected", "unused", "mismatched"]),
            help="Accepts findings of this kind.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _shown(command: Command) -> Command:
    """The options of every command that prints a report."""
    formats = click.Choice(["text", "json"])
    verbose = click.option("-v", "--verbose", is_flag=True, help="Fold and cut nothing.")
    kind = click.option("--format", "form", type=formats, default="text", show_default=True)
    return kind(verbose(command))


def _prepared(
    source: str | None,
    into: str | None,
    rules: Sequence[str],
    arrows: Sequence[str],
    named: Sequence[str],
    config: str | None,
    given: Sequence[str],
    allow: Sequence[str],
) -> Any:
    from ckptsurgeon.api import Prepared

    return Prepared.of(
        source,
        _rulesets(rules, arrows),
        into,
        _assignments(named, "--source"),
        config,
        _assignments(given, "--set"),
        allow,
    )


def _rulesets(rules: Sequence[str], arrows: Sequence[str]) -> Any:
    """The rule files of `-r` in order, with the rules of `-e` in front of the last stage's."""
    from ckptsurgeon.api import load_all, with_rules_before
    from ckptsurgeon.ruleset import load_ruleset, rules_from_arrows

    rulesets = [load_ruleset(one) for one in rules] or load_all(None)
    return with_rules_before(rulesets, rules_from_arrows(arrows)) if arrows else rulesets


def _print_report(plan: Any, form: str, verbose: bool) -> None:
    from ckptsurgeon.report import make_report

    report = make_report(plan, versions={"ckptsurgeon": __version__})
    if form == "json":
        from ckptsurgeon.render.json import render_json

        _print_chunks(render_json(report))
        return
    from ckptsurgeon.render.text import render_text

    click.echo(render_text(report, width=_width(), color=_color(), verbose=verbose), nl=False)


def _print_chunks(chunks: Iterable[str]) -> None:
    for chunk in chunks:
        sys.stdout.write(chunk)


def _width() -> int:
    if not sys.stdout.isatty():
        return PLAIN_WIDTH
    return max(NARROWEST, shutil.get_terminal_size().columns)


def _color() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


# --- commands -------------------------------------------------------------------------------------


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Checkpoint surgery by rule files that are checked before a byte is read."""


@cli.command()
@_inputs
@_shown
@click.option(
    "-o", "--output", metavar="PLAN", help="Save the plan, to be run by transplant --plan."
)
def plan(output: str | None, form: str, verbose: bool, **words: Any) -> int:
    """Dry run: report what the rules do with SRC, from headers alone.

    Exits 0 where the result would fit, 1 where there are findings, 2 where the rules are wrong.
    """
    prepared = _prepared(**words)
    _print_report(prepared.plan, form, verbose)
    if output is not None:
        from ckptsurgeon.planner.saving import save_plan

        save_plan(prepared.plan, Path(output))
    return 1 if prepared.plan.open_findings else 0


@cli.command()
@_inputs
@_shown
@click.option("-o", "--output", required=True, metavar="OUT", help="What is written, by suffix.")
@click.option("--plan", "saved", metavar="PLAN", help="Run a plan that `plan -o` saved.")
@click.option("--force", is_flag=True, help="Replace an output that exists.")
@click.option("-q", "--quiet", is_flag=True, help="Print no report unless there are findings.")
def transplant(
    output: str,
    saved: str | None,
    force: bool,
    quiet: bool,
    form: str,
    verbose: bool,
    **words: Any,
) -> int:
    """Plan, report, and write the result to OUT, whole or not at all.

    Nothing is written while there are findings that --allow does not name.
    """
    prepared = _saved(saved, words) if saved else _prepared(**words)
    open_findings = prepared.plan.open_findings
    if not quiet or open_findings:
        _print_report(prepared.plan, form, verbose)
    if open_findings:
        return _said(f"{output}: not written, for the findings above", FindingsError.exit_code)
    _write(prepared.plan, prepared.checkpoints, Path(output), force)
    return 0


def _saved(saved: str, words: Mapping[str, Any]) -> Any:
    from ckptsurgeon.api import load_prepared

    refused = [name for name in ("rules", "arrows", "config", "given", "allow") if words[name]]
    if refused:
        raise click.UsageError(f"--plan takes no --{refused[0]}: a plan is complete")
    named = _assignments(words["named"], "--source")
    return load_prepared(Path(saved), words["source"], named, words["into"])


def _write(plan: Any, checkpoints: Mapping[str, Any], output: Path, force: bool) -> None:
    from ckptsurgeon.execute import execute
    from ckptsurgeon.specs import human_bytes

    if sys.stderr.isatty():
        from ckptsurgeon.render.progress import shown_progress

        with shown_progress(plan.nbytes) as progress:
            moved = execute(plan, checkpoints, output, force=force, progress=progress)
    else:
        moved = execute(plan, checkpoints, output, force=force)
    _said(
        f"{output}: {len(plan.outputs)} tensors written, {human_bytes(moved.copied)} copied, "
        f"{human_bytes(moved.computed)} rearranged or computed",
        0,
    )


@cli.command()
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
    """What CHECKPOINT holds: tree, sizes, dtypes, ties, wrappers, and what is no tensor."""
    from ckptsurgeon.formats import open_checkpoint
    from ckptsurgeon.render.inspection import inspection_json, render_inspection

    opened = open_checkpoint(checkpoint, root)
    if form == "spec":
        from ckptsurgeon.formats.spec_json import dump

        click.echo(dump(opened.contents.specs), nl=False)
    elif form == "json":
        _print_chunks(inspection_json(opened))
    else:
        text = render_inspection(opened, width=_width(), color=_color(), verbose=verbose)
        click.echo(text, nl=False)


@cli.command()
@click.argument("rules", nargs=-1, required=True)
def check(rules: Sequence[str]) -> None:
    """Validate rule files by themselves, without a checkpoint."""
    from ckptsurgeon.planner.compile import compile_rulesets
    from ckptsurgeon.ruleset import load_ruleset

    loaded = [load_ruleset(one) for one in rules]
    compiled = compile_rulesets(loaded)
    count = sum(len(stage.rules) for stage in compiled)
    stages = f", {len(compiled)} stages" if len(compiled) > 1 else ""
    click.echo(f"{', '.join(rules)}: {count} rule{'s' * (count != 1)}{stages}, no problems")


@cli.command()
@click.argument("key")
@_inputs
@click.option("-v", "--verbose", is_flag=True, help="Show the rules that do not match, too.")
def explain(key: str, verbose: bool, **words: Any) -> None:
    """Which rule takes KEY, and why not the others: explain KEY SRC -r RULES."""
    from ckptsurgeon.api import prepared_inputs
    from ckptsurgeon.planner.explain import explain as explain_key
    from ckptsurgeon.render.explanation import render_explanation

    rulesets = _rulesets(words["rules"], words["arrows"])
    inputs = prepared_inputs(
        rulesets,
        words["source"],
        words["into"],
        _assignments(words["named"], "--source"),
        words["config"],
        _assignments(words["given"], "--set"),
        words["allow"],
    )
    click.echo(render_explanation(explain_key(rulesets, inputs, key), verbose=verbose), nl=False)


@cli.group()
def rules() -> None:
    """The rulesets that come with the package, and the schema of rule files."""


@rules.command("list")
def rules_list() -> None:
    """Name and purpose of each shipped ruleset."""
    from ckptsurgeon import catalog

    names = catalog.names()
    width = max(map(len, names), default=0)
    for name in names:
        click.echo(f"{name:{width}}  {catalog.about(name)}")


@rules.command("show")
@click.argument("name")
def rules_show(name: str) -> None:
    """The text of a shipped ruleset."""
    from ckptsurgeon import catalog

    click.echo(catalog.path_of(name).read_text(encoding="utf-8"), nl=False)


@rules.command("schema")
def rules_schema() -> None:
    """The JSON Schema of rule files, for editors."""
    import json

    from ckptsurgeon.ruleset import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


if __name__ == "__main__":
    main()
