"""What a name means in a rule: a capture, or a var, which is worked out when first asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ckptsurgeon.errors import CkptSurgeonError, ExpressionError, Problem, ProblemsError, nearest
from ckptsurgeon.language.expressions import Expression, Listed, Value, kind_of, unknown_name
from ckptsurgeon.language.patterns import Reference
from ckptsurgeon.language.rules import ConfigVar, ShapeVar, Var
from ckptsurgeon.specs import TensorSpec
from ckptsurgeon.wording import argument, choose, name_var

MAX_LISTS = 32
"""Most lists and tables in one another in the config: JSON's reader takes what the stack does."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What vars can look at besides each other.

    `spec_of` gives the spec of a key of the stage's sources or of the destination; `config` is the
    parsed config; `given` the values that are given for vars. `reads` notes what is looked up in
    the config.
    """

    spec_of: Callable[[Reference], TensorSpec]
    config: Mapping[str, Any] | None = None
    given: Mapping[str, Value | Expression] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)

    def find(self, path: str) -> Value:
        """The config's value; raises ExpressionError where it has none."""
        self.reads.append(path)
        return _config_value(self.config or {}, path)


def _tell_giving() -> str:
    """How a config, or a var in its place, is given."""
    config, var = argument("config", "config.json"), choose("--set NAME=VALUE", "variables={…}")
    return f"give the model's config.json by {config}, or the var itself by {var}"


class Vars:
    """The vars of one ruleset, each evaluated once; raises ProblemsError at the var's place."""

    def __init__(self, table: Mapping[str, Var], surroundings: Surroundings) -> None:
        self._table = table
        self._around = surroundings
        self._values: dict[str, Value] = {}
        self._open: list[str] = []

    def __contains__(self, name: object) -> bool:
        return name in self._table

    def names(self) -> Iterator[str]:
        return iter(self._table)

    def value(self, name: str) -> Value:
        if name not in self._values:
            self._values[name] = self._evaluate(name)
        return self._values[name]

    def lists(self) -> Iterator[tuple[str, Listed]]:
        """The lists among the vars that were asked for, by name."""
        for name, value in self._values.items():
            if isinstance(value, Listed):
                yield name, value

    def config_value(self, path: str) -> Value:
        """The value that `config.a.b` or `{config: a.b}` names; raises ExpressionError."""
        if self._around.config is None:
            raise ExpressionError(
                f"config.{path} is asked for, and no config is given", help=_tell_giving()
            )
        return self._around.find(path)

    def _evaluate(self, name: str) -> Value:
        place = self._table[name].place
        if name in self._open:
            chain = " -> ".join([*self._open[self._open.index(name) :], name])
            raise ProblemsError([Problem(f"vars that need each other: {chain}", place)])
        self._open.append(name)
        try:
            value = self._of(self._around.given.get(name, self._table[name].value))
            return Listed(value) if isinstance(value, tuple) else value
        except ProblemsError:
            raise
        except CkptSurgeonError as error:
            help = error.help if isinstance(error, ExpressionError) else ""
            if isinstance(error, _NotThere):
                help = "; ".join(
                    filter(None, (help, f"or give the var itself by {name_var(name)}"))
                )
            raise ProblemsError([Problem(f"the var {name!r}: {error}", place, help)]) from None
        finally:
            self._open.pop()

    def _of(self, value: object, depth: int = 0) -> Value:
        scope = Scope({}, self)
        if isinstance(value, Expression):
            return value.evaluate(scope)
        if isinstance(value, ShapeVar):
            return self._size(value, scope)
        if isinstance(value, ConfigVar):
            return self._configured(value, scope)
        if depth > MAX_LISTS:
            raise ExpressionError(f"more than {MAX_LISTS} lists and tables in one another")
        if isinstance(value, tuple | list):
            return tuple(self._of(item, depth + 1) for item in value)
        if isinstance(value, Mapping):
            return {str(name): self._of(item, depth + 1) for name, item in value.items()}
        if isinstance(value, bool | int | float | str):
            return value
        raise ExpressionError(f"{value!r} is no number, word, list, table or condition")

    def _size(self, var: ShapeVar, scope: Scope) -> int:
        spec = self._around.spec_of(var.reference)
        dim = var.dim.evaluate(scope) if isinstance(var.dim, Expression) else var.dim
        if isinstance(dim, bool) or not isinstance(dim, int):
            raise ExpressionError(f"`dim` takes an integer, found {kind_of(dim)}")
        if not -len(spec.shape) <= dim < len(spec.shape):
            raise ExpressionError(f"`{var.reference}` is {spec} and has no dim {dim}")
        return spec.shape[dim]

    def _configured(self, var: ConfigVar, scope: Scope) -> Value:
        if self._around.config is None and var.default is None:
            raise ExpressionError("it reads the config, and none is given", help=_tell_giving())
        try:
            return self._around.find(var.path)
        except _NotThere:
            if var.default is None:
                raise
        return self._of(var.default)


class Scope(Mapping[str, Value]):
    """Captures first, then vars, then `config.…`."""

    def __init__(self, captures: Mapping[str, Value], vars: Vars) -> None:
        self._captures = captures
        self._vars = vars

    def __getitem__(self, name: str) -> Value:
        if name in self._captures:
            return self._captures[name]
        if name in self._vars:
            return self._vars.value(name)
        if name.startswith("config."):
            return self._vars.config_value(name[7:])
        raise unknown_name(name, self)

    def __iter__(self) -> Iterator[str]:
        yield from (name for name in self._captures if not name.startswith(("*", "_")))
        yield from self._vars.names()

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _NotThere(ExpressionError):
    """A config that lacks a name."""


def _config_value(config: Mapping[str, Any], path: str) -> Value:
    found: Any = config
    for name in path.split("."):
        if not isinstance(found, Mapping) or name not in found:
            known = list(found) if isinstance(found, Mapping) else []
            raise _NotThere(f"the config has no {path!r}", help=nearest(name, known))
        found = found[name]
    return _plain(found, path)


def _plain(found: Any, path: str, depth: int = 0) -> Value:
    if depth > MAX_LISTS:
        message = f"the config's {path!r} has more than {MAX_LISTS} lists and tables in one another"
        raise ExpressionError(message)
    if isinstance(found, float) and not math.isfinite(found):
        raise ExpressionError(f"the config's {path!r} is not finite")
    if isinstance(found, bool | int | float | str):
        return found
    if isinstance(found, list):
        return tuple(_plain(item, path, depth + 1) for item in found)
    if isinstance(found, dict):
        return {name: _plain(item, f"{path}.{name}", depth + 1) for name, item in found.items()}
    raise ExpressionError(f"the config's {path!r} is no number, text, truth value, list or table")
