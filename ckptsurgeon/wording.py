"""Names of arguments as who reads them writes them: `--into DST` in a shell, `into=` in Python.

Texts are written where something is wrong, and who asked is known at the top alone: the command
line says once that it is a shell that asks.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_shells = 0
"""How many command lines run in this process: of a program that runs several in threads, more."""

_counting = threading.Lock()


@contextmanager
def speaking_to_shell() -> Iterator[None]:
    """In the body, in all threads, arguments are told as a shell takes them."""
    _count(1)
    try:
        yield
    finally:
        _count(-1)


def _count(more: int) -> None:
    global _shells
    with _counting:
        _shells += more


def choose(shell: str, python: str) -> str:
    """What is said to a shell, or in Python."""
    return shell if _shells else python


def name_var(name: str) -> str:
    """A var whose value is given: `--set n` in a shell, `variables['n']` in Python."""
    return choose(f"--set {name}", f"variables[{name!r}]")


def name_kinds(*kinds: str) -> str:
    """Kinds of finding that are accepted: `--allow missing`, or `allow=['missing']`."""
    return choose(" ".join(f"--allow {kind}" for kind in kinds), f"allow={list(kinds)}")


SHELL_SOURCE, PYTHON_SOURCE = "SRC", "source"
"""What the source without an alias is called, in a shell and in Python."""

_SIDES = {"source": (SHELL_SOURCE, PYTHON_SOURCE), "into": ("DST", "into")}
"""What the two sides are called, unless the function at work calls them otherwise."""


_called: ContextVar[Mapping[str, tuple[str, str]]] = ContextVar(
    "called", default=MappingProxyType({})
)
"""The names of arguments that the function at work calls otherwise, in a shell and in Python."""


@contextmanager
def calling(**names: tuple[str, str]) -> Iterator[None]:
    """In the body, these arguments are words without an option in a shell: `into=("B", "b")`.

    So it is in this thread, and in others that run in a copy of its context.
    """
    token = _called.set(names)
    try:
        yield
    finally:
        _called.reset(token)


AS_COMPARED = MappingProxyType({"source": ("A", "a"), "into": ("B", "b")})
"""What `diff` calls a source and a destination."""


def names_of(side: str) -> tuple[str, str]:
    """What the source without an alias, or the destination (`into`), is called: as a word of a
    shell, and as an argument in Python.
    """
    return _called.get().get(side, _SIDES[side])


def name_alias(alias: str) -> str:
    """A source by its alias; the one without, as who asks calls it."""
    shell, python = names_of("source")
    return f"`{alias}`" if alias else choose(shell, f"`{python}`")


def name_destination() -> str:
    """What the result must fit, as who asks calls it."""
    if "into" not in _called.get():
        return argument("into", "DST")
    shell, python = names_of("into")
    return choose(shell, f"`{python}`")


def name_ways(path: str) -> str:
    """How a checkpoint is given: `as SRC, or by --into 'a b.pt'`."""
    if "into" in _called.get():
        return f"as {name_alias('')} or {name_destination()}"
    return f"as {name_alias('')}, or by {name_path('into', path)}"


def name_path(name: str, path: str) -> str:
    """An argument that is given a path: `--into 'a b.pt'`, `into='a b.pt'`."""
    return argument(name, shlex.quote(path), repr(path))


def tell_more() -> str:
    """How all of what is folded or cut is shown."""
    return choose("--verbose shows all", "show(verbose=True) shows all")


def name_all() -> str:
    """What has all that a page, or a few lines, have no room for."""
    return choose("--format json", "to_dict()")


def tell_suggest() -> str:
    """What writes all rules that can be suggested."""
    return choose(
        "`ckptsurgeon suggest SRC DST -o rules.yaml` writes all",
        "`ckptsurgeon.suggest(source, into).text()` has all",
    )


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
    if name in _called.get():
        word, name = _called.get()[name]
        return choose(shell or word, f"{name}={python}")
    option = f"--{name.replace('_', '-')}"
    return choose(f"{option} {shell}".rstrip(), f"{name}={python}")
