"""Names of arguments as who reads them writes them: `--into DST` in a shell, `into=` in Python.

Texts are written where something is wrong, and who asked is known at the top alone: the command
line says once that it is a shell that asks.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

_asked_by_shell = False


@contextmanager
def speaking_to_shell() -> Iterator[None]:
    """In the body, in all threads, arguments are told as a shell takes them."""
    global _asked_by_shell
    before, _asked_by_shell = _asked_by_shell, True
    try:
        yield
    finally:
        _asked_by_shell = before


def choose(shell: str, python: str) -> str:
    """What is said to a shell, or in Python."""
    return shell if _asked_by_shell else python


def name_var(name: str) -> str:
    """A var whose value is given: `--set n` in a shell, `variables['n']` in Python."""
    return choose(f"--set {name}", f"variables[{name!r}]")


def name_kind(kind: str) -> str:
    """A kind of finding that is accepted: `--allow missing`, or `allow=['missing']`."""
    return choose(f"--allow {kind}", f"allow=[{kind!r}]")


def name_root(root: str, alias: str = "") -> str:
    """A root to open, of a source by its alias: `--root a=ema`, or `root={'a': 'ema'}`."""
    python = repr({alias: root}) if alias else repr(root)
    return argument("root", shlex.quote(f"{alias}={root}" if alias else root), python)


def name_source(alias: str, path: str = "") -> str:
    """A source by its alias: `--source a=x.pt` in a shell, `sources={'a': 'x.pt'}` in Python."""
    shell = shlex.quote(f"{alias}={path}" if path else alias)
    return choose(
        f"--source {shell}", f"sources={{{alias!r}: {path!r}}}" if path else f"sources[{alias!r}]"
    )


def argument(name: str, shell: str = "", python: str = "…") -> str:
    """An argument with its value: `--root net` in a shell, `root='net'` in Python."""
    option = f"--{name.replace('_', '-')}"
    return choose(f"{option} {shell}".rstrip(), f"{name}={python}")
