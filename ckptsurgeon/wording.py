"""Names of arguments as who reads them writes them: `--into DST` in a shell, `into=` in Python.

Texts are written where something is wrong, and who asked is known at the top alone: the command
line says once that it is a shell that asks.
"""

from __future__ import annotations

_asked_by_shell = False


def speak_to_shell() -> None:
    """From now on, arguments are told as a shell takes them."""
    global _asked_by_shell
    _asked_by_shell = True


def choose(shell: str, python: str) -> str:
    """What is said to a shell, or in Python."""
    return shell if _asked_by_shell else python


def argument(name: str, shell: str = "", python: str = "…") -> str:
    """An argument with its value: `--root net` in a shell, `root='net'` in Python."""
    option = f"--{name.replace('_', '-')}"
    return choose(f"{option} {shell}".rstrip(), f"{name}={python}")
