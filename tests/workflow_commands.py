"""The log of a job as GitHub's runner reads it: `ActionCommand.cs` of actions/runner."""

from __future__ import annotations

from typing import NamedTuple

REGISTERED = (
    "add-mask",
    "add-matcher",
    "add-path",
    "debug",
    "echo",
    "endgroup",
    "error",
    "group",
    "notice",
    "remove-matcher",
    "save-state",
    "set-env",
    "set-output",
    "stop-commands",
    "warning",
)

DATA = (("%0D", "\r"), ("%0A", "\n"), ("%25", "%"))
PROPERTY = (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%"))


class Command(NamedTuple):
    """A line that the runner acts upon."""

    name: str
    properties: dict[str, str]
    data: str


def read_log(text: str) -> tuple[list[Command], list[str]]:
    """The commands of a log, and its other lines."""
    read = [(_read(line), line) for line in text.splitlines()]
    return [one for one, _ in read if one], [line for one, line in read if not one]


def _read(line: str) -> Command | None:
    return _read_new(line.lstrip()) or _read_old(line)


def _read_new(line: str) -> Command | None:
    """`::name key=value,key=value::data`, with nothing but blanks before it."""
    head, colons, data = line[2:].partition("::")
    name, _, told = head.partition(" ")
    if not line.startswith("::") or not colons or name not in REGISTERED:
        return None
    pairs = (pair.split("=", 1) for pair in told.strip().split(",") if "=" in pair)
    found = {key: _unescape(value, PROPERTY) for key, value in pairs if value}
    return Command(name, found, _unescape(data, DATA))


def _read_old(line: str) -> Command | None:
    """`##[name]data`, wherever it stands."""
    head, bracket, data = line.partition("##[")[2].partition("]")
    name = head.partition(" ")[0]
    return Command(name, {}, data) if bracket and name in REGISTERED else None


def _unescape(text: str, table: tuple[tuple[str, str], ...]) -> str:
    for escape, sign in table:
        text = text.replace(escape, sign)
    return text
