"""The command line: the only place that prints or exits."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from ckptsurgeon import __version__
from ckptsurgeon.errors import CkptSurgeonError, FindingsError, OutputError

OUR_BUG = 70
NARROWEST, PLAIN_WIDTH = 60, 100

MOST_JOBS = 64
"""More threads than processors gain nothing; far more only cost."""

LONG_WORK = 256 << 20
"""Bytes from which on a bar shows how far the work is."""

Command = TypeVar("Command", bound=Callable[..., Any])


def main() -> NoReturn:
    """Runs the command line; exits 0 clean, 1 findings, 2 trouble, 70 our bug."""
    if sys.stdout is None:  # closed by the shell: `>&-`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as we live
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a key may not fit the terminal's code
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
    name = getattr(error, "filename", None)
    reason = getattr(error, "strerror", None) or str(error) or "out of memory"
    return _said(f"error: {name}: {reason}" if name else f"error: {reason}", 2)


def _said(text: str, code: int) -> int:
    """The code, when the text is on stderr; names of files and keys in it are made visible."""
    from ckptsurgeon.render.terminal import visible

    click.echo("\n".join(map(visible, text.split("\n"))), err=True)
    return code


def _bug(error: Exception) -> int:
    import traceback

    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    said = f"{type(error).__name__} at {where}: {' '.join(str(error).split())}"
    text = f"a bug in ckptsurgeon {__version__}: {said}"
    if os.environ.get("CKPTSURGEON_DEBUG"):
        text = "".join(traceback.format_exception(error)).rstrip()
    return _said(f"{text}\nset CKPTSURGEON_DEBUG=1 for the whole trace, and report it", OUR_BUG)


# --- what commands share --------------------------------------------------------------------------


def _assignments(words: Iterable[str], option: str, form: str) -> dict[str, str]:
    """`name=value` words as a dict."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise click.UsageError(f"{option} {word}: wanted {form}")
        if name in found:
            raise click.UsageError(f"{option} {name}: given twice")
        found[name] = value
    return found


INPUTS = (
    click.argument("source", metavar="[SRC]", required=False),
    click.option("--into", metavar="DST", help="Checkpoint or JSON spec that the result must fit."),
    click.option(
        "-r", "--rules", multiple=True, metavar="RULES", help="Rule file or shipped ruleset."
    ),
    click.option(
        "-e",
        "--rule",
        "arrows",
        multiple=True,
        metavar="RULE",
        help="One rule, as 'A -> B'; stands before those of the last file.",
    ),
    click.option(
        "--source",
        "named",
        multiple=True,
        metavar="ALIAS=PATH",
        help="Further source; 's*=GLOB' numbers files.",
    ),
    click.option("--config", metavar="JSON", help="Model config that vars may look into."),
    click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="Overrides a var."),
    click.option(
        "--allow",
        multiple=True,
        type=click.Choice(["missing", "unexpected", "unused", "mismatched"]),
        help="Accepts findings of this kind; missing keys keep DST's values.",
    ),
)


def _inputs(command: Command) -> Command:
    """The options of every command that makes a plan."""
    for option in reversed(INPUTS):
        command = option(command)
    return command


def _bytes(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """The bytes of a size such as 128MiB or 5GB."""
    from ckptsurgeon.specs import parse_bytes

    try:
        return None if text is None else parse_bytes(text)
    except ValueError as error:
        raise click.BadParameter(str(error), context, option) from None


def _bounded(command: Command) -> Command:
    """The option that bounds what a run holds of tensors."""
    option = click.option(
        "--memory",
        metavar="SIZE",
        callback=_bytes,
        help="Bytes to hold of tensors at a time, as 128MiB; 256MiB unless given.",
    )
    return option(command)


def _shown(command: Command) -> Command:
    """The options of every command that prints a report."""
    formats = click.Choice(["text", "json"])
    verbose = click.option("-v", "--verbose", is_flag=True, help="Fold and cut nothing.")
    kind = click.option("--format", "form", type=formats, default="text", show_default=True)
    return kind(verbose(command))


def _planned(words: Mapping[str, Any], output: str | None) -> Any:
    """The Execution that a command's words ask for; `output` is what it will write, if anything."""
    from ckptsurgeon.api import for_output, prepared

    return for_output(prepared(*_planning_words(words)), output, *_limits(words))


def _limits(words: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Memory and threads that a run may use."""
    return words["memory"], words.get("jobs")


def _planning_words(words: Mapping[str, Any]) -> tuple[Any, ...]:
    """Rulesets, source, destination, further sources, config, vars and allowed findings."""
    return (
        _rulesets(words["rules"], words["arrows"]),
        words["source"],
        words["into"],
        _assignments(words["named"], "--source", "ALIAS=PATH"),
        words["config"],
        _assignments(words["given"], "--set", "NAME=VALUE"),
        words["allow"],
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

        _print(render_json(report))
        return
    from ckptsurgeon.render.text import render_text

    _print([render_text(report, width=_width(), color=_color(), verbose=verbose)])


def _print(chunks: Iterable[str]) -> None:
    """Writes to stdout. A reader that went away (`| head`) ends the printing, not the work."""
    try:
        for chunk in chunks:
            sys.stdout.write(chunk)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise OutputError(f"stdout: {error.strerror}") from None


def _width() -> int:
    if not sys.stdout.isatty():
        return PLAIN_WIDTH
    return max(NARROWEST, shutil.get_terminal_size().columns)


def _color() -> bool:
    """no-color.org: any text in NO_COLOR but an empty one."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


# --- commands -------------------------------------------------------------------------------------


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Checkpoint surgery by rule files that are checked before a byte is read."""


@cli.command()
@_inputs
@_bounded
@_shown
@click.option("-o", "--output", metavar="PLAN", help="Save the plan, for `transplant --plan`.")
def plan(output: str | None, form: str, verbose: bool, **words: Any) -> int:
    """Dry run: report what the rules do with SRC.

    Reads headers alone. Exits 0 where the result would fit, 1 where there are findings, 2 where the
    rules are wrong.
    """
    made = _planned(words, None).plan
    if output is not None:
        from ckptsurgeon.planner.saving import save_plan

        save_plan(made, Path(output))
    _print_report(made, form, verbose)
    return FindingsError.exit_code if made.open_findings else 0


@cli.command()
@_inputs
@_bounded
@click.option(
    "--jobs",
    type=click.IntRange(1, MOST_JOBS),
    help=f"Threads; one for each processor, up to {MOST_JOBS}, unless given.",
)
@click.option(
    "--max-shard-size",
    metavar="SIZE",
    callback=_bytes,
    help="Bytes of tensors in one shard of a folder; 5GB unless given.",
)
@_shown
@click.option("-o", "--output", required=True, metavar="OUT", help="What is written, by suffix.")
@click.option("--plan", "saved", metavar="PLAN", help="Run a plan that `plan -o` saved.")
@click.option("--force", is_flag=True, help="Replace an output that exists.")
@click.option("-q", "--quiet", is_flag=True, help="Print no report unless there are findings.")
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
    execution = _saved(saved, words, output) if saved else _planned(words, output)
    if execution.plan.open_findings:
        _print_report(execution.plan, form, verbose)
        return _said(f"{output}: not written, for the findings above", FindingsError.exit_code)
    with execution.opened(output, force=force, max_shard_size=max_shard_size) as fill:
        if not quiet:
            _print_report(execution.plan, form, verbose)
        moved = _filled(fill, execution.plan)
    return _said(f"{output}: {len(execution.plan.outputs)} tensors written{_sizes(moved)}", 0)


def _sizes(moved: Any) -> str:
    """`, 3.0 MiB copied, 1.2 MiB rearranged or computed`, without what there was none of."""
    from ckptsurgeon.specs import human_bytes

    told = {"copied": moved.copied, "rearranged or computed": moved.computed}
    return "".join(f", {human_bytes(nbytes)} {word}" for word, nbytes in told.items() if nbytes)


def _saved(saved: str, words: Mapping[str, Any], output: str) -> Any:
    from ckptsurgeon.api import for_output, load_prepared

    names = {"rules": "-r", "arrows": "-e", "given": "--set"}
    for word in ("rules", "arrows", "config", "given", "allow"):
        if words[word]:
            raise click.UsageError(
                f"--plan takes no {names.get(word, f'--{word}')}: it has its own"
            )
    named = _assignments(words["named"], "--source", "ALIAS=PATH")
    execution = load_prepared(Path(saved), words["source"], named, words["into"])
    return for_output(execution, output, *_limits(words))


def _filled(fill: Any, plan: Any) -> Any:
    """The output filled, with a bar on a terminal where that takes long."""
    nbytes = sum(output.spec.nbytes for key, output in plan.outputs.items() if key not in plan.ties)
    if nbytes < LONG_WORK or not sys.stderr.isatty():
        return fill(None)
    from ckptsurgeon.render.progress import shown_progress

    with shown_progress(nbytes) as progress:
        return fill(progress)


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
    """What is in CHECKPOINT: tensors, ties, wrappers, entries."""
    from ckptsurgeon.formats import open_checkpoint
    from ckptsurgeon.render.inspection import inspection_json, render_inspection

    opened = open_checkpoint(checkpoint, root)
    if form == "spec":
        from ckptsurgeon.formats.spec_json import dump

        _print([dump(opened.contents.specs)])
    elif form == "json":
        _print(inspection_json(opened))
    else:
        _print([render_inspection(opened, width=_width(), color=_color(), verbose=verbose)])


@cli.command()
@click.argument("rules", nargs=-1, required=True)
def check(rules: Sequence[str]) -> None:
    """Validate rule files without a checkpoint."""
    from ckptsurgeon.planner.compile import compile_rulesets
    from ckptsurgeon.ruleset import load_ruleset

    compiled = compile_rulesets([load_ruleset(one) for one in rules])
    count = sum(len(stage.rules) for stage in compiled)
    stages = f", {len(compiled)} stages" if len(compiled) > 1 else ""
    _print([f"{', '.join(rules)}: {count} rule{'s' * (count != 1)}{stages}, no problems\n"])


@cli.command()
@click.argument("key")
@_inputs
@click.option("-v", "--verbose", is_flag=True, help="Show the rules that do not match, too.")
def explain(key: str, verbose: bool, **words: Any) -> int:
    """Which rule takes KEY, and why not the others.

    KEY is a name that rules see, of SRC or of the output. Takes what `plan` takes.
    """
    from ckptsurgeon.api import prepared_inputs
    from ckptsurgeon.planner.explain import explain as explain_key
    from ckptsurgeon.render.explanation import render_explanation

    rulesets, *others = _planning_words(words)
    explanation = explain_key(rulesets, prepared_inputs(rulesets, *others), key)
    _print([render_explanation(explanation, verbose=verbose)])
    return 0 if explanation.error is None else explanation.error.exit_code


@cli.group()
def rules() -> None:
    """Shipped rulesets, and the schema of rule files."""


@rules.command("list")
def rules_list() -> None:
    """Name and purpose of each shipped ruleset."""
    from ckptsurgeon import catalog

    names = catalog.names()
    width = max(map(len, names), default=0)
    _print(f"{name:{width}}  {catalog.about(name)}\n" for name in names)


@rules.command("show")
@click.argument("name")
def rules_show(name: str) -> None:
    """The text of a shipped ruleset."""
    from ckptsurgeon import catalog

    _print([catalog.path_of(name).read_text(encoding="utf-8")])


@rules.command("schema")
def rules_schema() -> None:
    """The JSON Schema of rule files, for editors."""
    import json

    from ckptsurgeon.ruleset import json_schema

    _print([json.dumps(json_schema(), indent=2), "\n"])


if __name__ == "__main__":
    main()
