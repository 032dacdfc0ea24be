"""The paths of a plan's outputs, as they are named: one alone, or several by their aliases."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Mapping

from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import OutputError
from ckptsurgeon.file_names.writing import OutputName
from ckptsurgeon.plans.addresses import alias_of
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.wording import choose

MOST_NAMED = 4

OutputPaths = str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]]
"""The name of an output, or names by alias, which may be patterns; "" is the unnamed one."""


def paths_of_outputs(given: OutputPaths, plan: Plan) -> dict[str, str]:
    """The path of each output by its alias.

    Raises OutputError for an output that has no name, and for a name that is of no output.
    """
    named = _by_alias(given)
    patterns = _parse(named)
    if not plan.is_named and "" not in named:
        raise _not_given(next(iter(named)), plan, named)
    found: dict[str, str] = {}
    met: set[str] = set()
    for file in plan.files:
        name, path = _find(file.alias, named, patterns, plan)
        if path is None:
            raise _nameless(file.alias, plan, patterns, met) if file.alias else _unnamed(plan)
        found[file.alias] = path
        met.add(name)
    unmet = next((name for name in named if name not in met), None)
    if unmet is not None:
        raise _not_given(unmet, plan, named)
    return found


def _by_alias(given: OutputPaths) -> dict[str, str]:
    """The paths by their names, which are aliases or patterns of these."""
    named = given if isinstance(given, Mapping) else {"": given}
    return {name: os.fspath(path) for name, path in named.items()}


def _parse(named: Mapping[str, str]) -> dict[str, OutputName]:
    """What each name says, those of one output before patterns."""
    names = sorted(filter(None, named), key=lambda name: "<" in name)
    return {name: OutputName.parse(name, named[name]) for name in names}


def _find(
    alias: str, named: Mapping[str, str], patterns: Mapping[str, OutputName], plan: Plan
) -> tuple[str, str | None]:
    """The name that gives the path of an output, and the path; None where no name does."""
    if not alias:
        return "", named.get("")
    paths = ((name, _path_of(pattern, alias, plan)) for name, pattern in patterns.items())
    return next(((name, path) for name, path in paths if path is not None), ("", None))


def _path_of(pattern: OutputName, alias: str, plan: Plan) -> str | None:
    try:
        return pattern.path_of(alias)
    except OutputError as error:
        raise OutputError(f"{error} (from {_first(plan, alias)})") from None


def _first(plan: Plan, alias: str) -> str:
    """The first key of an output, as the reason why there is one."""
    return next((f"`{key}`" for key in plan.outputs if alias_of(key) == alias), f"`{alias}`")


def _nameless(
    alias: str, plan: Plan, patterns: Mapping[str, OutputName], met: Collection[str]
) -> OutputError:
    """The error for an output that has no path, or whose name a pattern reads as another kind."""
    option = choose("no -o names", "`output` doesn't name")
    stem = alias.rstrip("0123456789")
    others = sum(file.alias.rstrip("0123456789") == stem != file.alias for file in plan.files)
    several = stem != alias and others > 1
    name, path = (f"{stem}<n>", "PATH_<n>") if several else (alias, "PATH")
    way = choose(f"add `-o {shlex.quote(f'{name}={path}')}`", f"add {name!r}: {path} to `output`")
    for name, pattern in patterns.items():
        meant = re.sub(r"<(\w+)>", r"<\1:str>", name)
        if meant != name and _reads(meant, pattern.right, alias):
            way = f"`<name>` reads a number: write `{meant}={pattern.right}`"
    given = {*met, *(file.alias for file in plan.files)}
    unmet = next((f", and no rule gives `{name}`" for name in patterns if name not in given), "")
    return OutputError(f"{_first(plan, alias)} goes to an output that {option}{unmet}; {way}")


def _reads(left: str, right: str, alias: str) -> bool:
    """Whether a name would give an output a path."""
    try:
        return OutputName.parse(left, right).path_of(alias) is not None
    except OutputError:
        return False


def _unnamed(plan: Plan) -> OutputError:
    """The error for keys of the output without a name, which are only there beside others."""
    key = next((key for key in plan.outputs if not plan.is_named or not alias_of(key)), "")
    what = f"`{key}` goes to the output without a name" if key else "the output has no name"
    way = choose("add `-o PATH`", "add '': PATH to `output`")
    return OutputError(f"{what}, and there is no path for it; {way}")


def _not_given(name: str, plan: Plan, named: Mapping[str, str]) -> OutputError:
    """The error for the name of an output that no rule gives."""
    path, aliases = named[name], [file.alias for file in plan.files if file.alias]
    there = list_some((f"`{alias}`" for alias in aliases), MOST_NAMED)
    if not name:
        way = choose("-o ALIAS=PATH", "output={ALIAS: PATH}")
        text = f"{path}: no rule gives an output without a name; there are {there}: {way}"
        return OutputError(text)
    help = f"; there are {there}" if aliases else ""
    file = choose(f"; for a file of that name write `./{name}={path}`", "")
    return OutputError(f"no rule gives the output {name}{help}{file}")
