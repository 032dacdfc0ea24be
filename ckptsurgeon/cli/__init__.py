"""The command line: the only place that prints or exits."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import click

from ckptsurgeon import __version__
from ckptsurgeon.checkpoints.writing.interrupts import Interrupted
from ckptsurgeon.cli.commands import Group
from ckptsurgeon.cli.comparing import diff
from ckptsurgeon.cli.converting import explain, invert, plan, transplant
from ckptsurgeon.cli.learning import learn
from ckptsurgeon.cli.looking import check, inspect, rules
from ckptsurgeon.cli.printing import print_error, print_out, say
from ckptsurgeon.cli.probing import probe
from ckptsurgeon.cli.proving import verify
from ckptsurgeon.cli.suggesting import suggest
from ckptsurgeon.cutting import cut_middle
from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.wording import speaking_to_shell

OUR_BUG = 70


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Each command's --help ends in examples. Exit codes: 0 clean, 1 findings, 2 trouble.",
)
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
def cli() -> None:
    """Checkpoint surgery by rule files that are checked before a byte is read."""


COMMANDS = (
    inspect,
    diff,
    suggest,
    learn,
    probe,
    plan,
    transplant,
    verify,
    explain,
    check,
    rules,
    invert,
)

for command in COMMANDS:
    cli.add_command(command)


def main() -> NoReturn:
    """Runs the command line; exits 0 clean, 1 findings, 2 trouble, 70 our bug."""
    gc.disable()  # a plan is millions of objects and none is garbage; the process ends soon
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell: `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until we end
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a key may not fit the terminal's code
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """The exit code of a command line; every error is printed as words."""
    with speaking_to_shell():
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    verbose = not {"-v", "--verbose"}.isdisjoint(arguments)
    form = _read_format(arguments)
    try:
        code = cli.main(args=list(arguments), prog_name="ckptsurgeon", standalone_mode=False)
        print_out(())
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        print_error(CkptSurgeonError(error.format_message()), form)
        return _tell_usage(error)
    except click.exceptions.Abort as error:
        done = isinstance(error.__cause__, Interrupted)
        return say(f"stopped; {'all was written before' if done else 'nothing was written'}", 130)
    except CkptSurgeonError as error:
        return _tell(error, verbose, form)
    except OSError as error:
        return _tell(CkptSurgeonError(_refusal(error)), verbose, form)
    except MemoryError as error:
        return _tell_memory(error, verbose, form)
    except Exception as error:  # whatever it is, a user gets words and a code for a bug of ours
        return _tell_bug(error)


def _read_format(arguments: Sequence[str]) -> str:
    """The format that was asked for, however wrong the other words are."""
    words = [word for one in arguments for word in one.split("=", 1)]
    found = [after for word, after in pairwise(words) if word == "--format"]
    return found[-1] if found else "text"


def _tell(error: CkptSurgeonError, verbose: bool, form: str) -> int:
    from ckptsurgeon.render.problems import render_error

    print_error(error, form)
    return say(render_error(error, verbose=verbose), error.exit_code)


def _tell_memory(error: MemoryError, verbose: bool, form: str) -> int:
    """The code of trouble, where what was made so far is given back before anything is told."""
    error.with_traceback(None)  # which holds all of it
    gc.collect()
    try:
        return _tell(CkptSurgeonError(_refusal(error)), verbose, form)
    except MemoryError:
        return say("error: out of memory", 2)


def _tell_usage(error: click.ClickException) -> int:
    """The code of trouble, when what click says is on stderr, with the words that were typed."""
    from ckptsurgeon.render.problems import LONGEST

    told = io.StringIO()
    error.show(told)
    lines = told.getvalue().removesuffix("\n").split("\n")
    return say("\n".join(cut_middle(line, LONGEST, LONGEST // 2, str) for line in lines), 2)


def _refusal(error: OSError | MemoryError) -> str:
    """What the machine refuses: a file, a disk, memory."""
    name = getattr(error, "filename", None)
    reason = getattr(error, "strerror", None) or str(error) or "out of memory"
    return f"{name}: {reason}" if name else reason


def _tell_bug(error: Exception) -> int:
    import traceback

    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    what = f"{type(error).__name__} at {where}: {' '.join(str(error).split())}"
    text = f"a bug in ckptsurgeon {__version__}: {what}"
    if os.environ.get("CKPTSURGEON_DEBUG"):
        text = "".join(traceback.format_exception(error)).rstrip()
    return say(f"{text}\nset CKPTSURGEON_DEBUG=1 for the whole trace, and report it", OUR_BUG)
