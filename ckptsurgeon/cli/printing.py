"""What commands print: reports and data on stdout, everything else on stderr."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from ckptsurgeon.errors import CkptSurgeonError, OutputError

if TYPE_CHECKING:
    from ckptsurgeon.report.report import Done
    from ckptsurgeon.showing import Paged

PAGES = ("html", "markdown")
"""Formats of a page for people, of any result that has one."""

Progress = Callable[[int, int, str], None]

NARROWEST, PLAIN_WIDTH = 60, 100


LONG_WORK = 256 << 20
"""Bytes from which on a bar shows how far the work is."""


@contextmanager
def shown_progress(nbytes: int = LONG_WORK) -> Iterator[Progress | None]:
    """A bar on a terminal, where that many bytes take long."""
    if nbytes < LONG_WORK or not sys.stderr.isatty():
        yield None
        return
    from ckptsurgeon.render.progress import shown_progress as show

    with show() as progress:
        yield progress


def say(text: str, code: int) -> int:
    """The code, when the text is on stderr; names of files and keys in it are made visible."""
    from ckptsurgeon.visible import tame

    try:
        click.echo("\n".join(map(tame, text.split("\n"))), err=True)
    except OSError:  # a full disk: the code is all that can be told
        _silence(sys.stderr)
    return code


def _silence(stream: TextIO) -> None:
    """Lets a stream that takes nothing any more write to nowhere, also what it still holds."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def report_of(plan: Any, done: Done = "would be written") -> Any:
    """The report of a plan, and what is done with its output when the report ends."""
    from ckptsurgeon.report.report import make_report

    return make_report(plan, done=done)


def print_report(plan: Any, form: str, style: Style) -> None:
    """The whole report of a plan that is not run."""
    report = report_of(plan)
    print_beginning(report, form, style)
    print_ending(report, form, style)


def print_beginning(report: Any, form: str, style: Style) -> None:
    """What a report says before the work: a text but for its last lines; else nothing."""
    if form == "text":
        from ckptsurgeon.render.text import render_body

        print_out([render_body(report, **style.layout, pictures=style.draws)])


def print_ending(report: Any, form: str, style: Style) -> None:
    """The last lines of a text, or all of a report in another format."""
    if form == "json":
        from ckptsurgeon.render.json import render_json

        print_out(render_json(report))
    elif form in PAGES:
        print_page(report, form, style.verbose)
    elif form == "github":
        from ckptsurgeon.render.github import annotate_report

        print_out([annotate_report(report, find_folder())])
    else:
        from ckptsurgeon.render.text import render_bottom

        print_out([render_bottom(report, color=style.paints)])


def print_quietly(report: Any, form: str, style: Style) -> None:
    """The last line of a text, which says what was allowed; other formats are whole."""
    if form == "text":
        print_out([f"{report.bottom_line}\n"])
    else:
        print_ending(report, form, style)


def print_error(error: CkptSurgeonError, form: str) -> None:
    """An error on stdout, for who asked for a format; text and HTML have it on stderr alone."""
    with suppress(OutputError):  # stdout takes nothing: stderr has it all the same
        print_out(_write_error(error, form))


def _write_error(error: CkptSurgeonError, form: str) -> Iterator[str]:
    if form == "json":
        from ckptsurgeon.render.problems import error_json

        yield from (error_json(error), "\n")
    elif form == "markdown":
        from ckptsurgeon.render.markdown.problems import render_problems

        yield render_problems(error)
    elif form == "github":
        from ckptsurgeon.render.github import annotate_error

        yield annotate_error(error, find_folder())


def find_folder() -> str:
    """The working folder within the workspace of a CI job, whose files annotations name."""
    here, workspace = Path.cwd(), Path(os.environ.get("GITHUB_WORKSPACE") or ".").resolve()
    return here.relative_to(workspace).as_posix() if here.is_relative_to(workspace) else ""


def print_page(shown: Paged, form: str, verbose: bool) -> None:
    """A result as a page of HTML or markdown."""
    print_out([shown.to_html() if form == "html" else shown.to_markdown(verbose=verbose)])


def print_json(value: Any) -> None:
    """A small object as JSON, on lines."""
    import json

    print_out([json.dumps(value, indent=2), "\n"])


def print_out(chunks: Iterable[str]) -> None:
    """Writes to stdout. A reader that went away (`| head`) ends the printing, not the work."""
    try:
        for chunk in chunks:
            sys.stdout.write(chunk)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout)
    except OSError as error:
        raise OutputError(f"stdout: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class Style:
    """How text is to be laid out for stdout: as asked for by --verbose and --color."""

    verbose: bool = False
    color: str = "auto"

    @property
    def paints(self) -> bool:
        """Whether there are colours: on a terminal that has them, unless told.

        no-color.org and force-color.org: any text in the variable but an empty one.
        """
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR"):
            return True
        return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"

    @property
    def draws(self) -> bool:
        """Whether there are pictures: in colours, where stdout can write what they are made of."""
        from ckptsurgeon.render.pictures import SIGNS

        try:
            return self.paints and bool(SIGNS.encode(sys.stdout.encoding or "ascii"))
        except (LookupError, UnicodeError):
            return False

    @property
    def layout(self) -> dict[str, Any]:
        """What the functions of `render/` are told."""
        width = PLAIN_WIDTH
        if sys.stdout.isatty():
            width = max(NARROWEST, shutil.get_terminal_size().columns)
        return {"width": width, "color": self.paints, "verbose": self.verbose}
