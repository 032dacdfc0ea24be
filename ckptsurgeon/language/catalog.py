"""The rulesets that are shipped: found by name, wherever the package is installed."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import Place, Problem, RulesetError, nearest
from ckptsurgeon.wording import choose

RULE_FILES = (".yaml", ".yml")
"""How rule files are called."""

MOST_NAMES = 8
"""Rulesets that an error names."""


def names() -> tuple[str, ...]:
    """The names of the shipped rulesets, sorted."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def find_shipped(place: Place) -> str:
    """The name of the shipped ruleset that is the rule file of a place; empty where it is none."""
    name, file = Path(place.file).stem, Path(place.file)
    is_shipped = place.file == f"{name}.yaml" and name in names() and not file.is_file()
    return name if is_shipped and not place.via else ""


def path_of(name: str) -> Path:
    """The file of a shipped ruleset; raises RulesetError for an unknown name."""
    known = names()
    if name not in known:
        raise RulesetError([Problem(f"no shipped ruleset {name[:60]!r}", help=_find_meant(name))])
    return _folder() / f"{name}.yaml"


def _find_meant(name: str) -> str:
    """Which ruleset, or file, somebody means by a name that is none."""
    known, pieces = names(), [piece for piece in re.split(r"[^a-z0-9]+", name.lower()) if piece]
    near = nearest(name, known)
    held = [one for one in known if pieces and all(piece in one for piece in pieces)]
    beside = next((file for end in RULE_FILES if Path(file := name + end).is_file()), "")
    if beside:
        return f"did you mean the file {beside!r}?"
    if held and not near:
        return f"did you mean {' or '.join(map(repr, held[:MOST_NAMES]))}?"
    told = choose("; `ckptsurgeon rules list` tells what each is for", "")
    return near or f"there are: {list_some(known, MOST_NAMES)}{told}"


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
