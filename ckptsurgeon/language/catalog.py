"""The rulesets that are shipped: found by name, wherever the package is installed."""

from __future__ import annotations

import importlib
from pathlib import Path

from ckptsurgeon.errors import Problem, RulesetError, nearest


def names() -> tuple[str, ...]:
    """The names of the shipped rulesets, sorted."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def path_of(name: str) -> Path:
    """The file of a shipped ruleset; raises RulesetError for an unknown name."""
    known = names()
    if name not in known:
        help = nearest(name, known) or "`ckptsurgeon rules list` shows those there are"
        raise RulesetError([Problem(f"no shipped ruleset {name[:60]!r}", help=help)])
    return _folder() / f"{name}.yaml"


def about(name: str) -> str:
    """The `about` of a shipped ruleset, which stands in one line of it."""
    with path_of(name).open(encoding="utf-8") as lines:
        line = next((line for line in lines if line.startswith("about: ")), "about: ")
    return line.removeprefix("about: ").strip().strip("\"'")


def _folder() -> Path:
    # Installed as a package beside this one's modules; a bare checkout has it one level up.
    try:
        package = importlib.import_module("ckptsurgeon._rules")
    except ModuleNotFoundError:
        return Path(__file__).parents[2] / "rules"
    return Path(package.__path__[0])
