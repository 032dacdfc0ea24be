"""Runs command lines of the package and tells what Python's audit hooks see meanwhile.

`python audited_runs.py FILE` reads two lists of command lines from a JSON file: those of good
files, which load all that is loaded, and those of hostile ones, whose events are printed.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from ckptsurgeon.cli import run

PLACES = {
    "open": 1,
    **dict.fromkeys(("os.listdir", "os.scandir", "os.remove", "os.rmdir", "os.mkdir"), 1),
    **dict.fromkeys(("os.chmod", "os.chown", "os.truncate", "os.utime", "shutil.rmtree"), 1),
    **dict.fromkeys(("os.rename", "os.link", "os.symlink"), 2),
}
"""Events of files, and how many of their first arguments are paths."""

UNSEEN = ("array.", "object.", "sys._get", "gc.", "cpython.", "builtins.id", "compile", "os.putenv")
"""Events that touch nothing; a text that is compiled and then run is an `exec`."""


class Watch:
    """What happened while a command line ran."""

    def __init__(self) -> None:
        self.line = ""
        self.seen: list[dict[str, Any]] = []

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.line or event.startswith(UNSEEN):
            return
        line, self.line = self.line, ""  # what follows is our own
        try:
            self.seen.append({"line": line, "event": event, **told(event, arguments)})
        finally:
            self.line = line


def told(event: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
    """The real paths of an event and whether it writes; or what it is about, and who asked."""
    if event not in PLACES:
        return {"about": ascii(arguments)[:200], "by": sys._getframe(2).f_code.co_filename}
    paths = [one for one in arguments[: PLACES[event]] if not isinstance(one, int)]
    writes = event not in ("open", "os.listdir", "os.scandir")
    if event == "open":
        flags = arguments[2] if isinstance(arguments[2], int) else 0
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
    return {"paths": [real_path(path or ".") for path in paths], "writes": writes}


def real_path(path: Any) -> str:
    """The path with links followed; a descriptor of the process itself stays one."""
    text = os.fsdecode(path)
    return text if text.startswith("/proc/self/") else os.path.realpath(text)


def run_quietly(words: list[str]) -> int:
    """The exit code of a command line, whose output goes nowhere."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return run(words)


def main(good: list[list[str]], hostile: list[list[str]]) -> None:
    watch = Watch()
    sys.addaudithook(watch.hook)
    codes: dict[str, int] = {}
    for words in good:
        codes[" ".join(words)] = run_quietly(words)
    for words in hostile:
        watch.line = " ".join(words)
        code = run_quietly(words)
        watch.line = ""
        codes[" ".join(words)] = code
    print(json.dumps({"codes": codes, "seen": watch.seen}))


if __name__ == "__main__":
    main(*json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
