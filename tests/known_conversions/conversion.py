"""A conversion with a known answer: sources at two sizes, and the right rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ckptsurgeon.language.rules import Rule, Within
from ckptsurgeon.language.rulesets import Rules, load_ruleset
from known_conversions.judge import Verdict, convert, judge
from known_conversions.shapes import Shapes
from known_conversions.values import Arrays, Sources, empty, fill, reset

LEARNED, ANOTHER = "learned", "another"

Size = Mapping[str, int]


def sizes(**numbers: tuple[int, int]) -> dict[str, Size]:
    """Both sizes of a conversion, of each number as it is at the one and at the other."""
    return {
        name: {number: both[place] for number, both in numbers.items()}
        for place, name in enumerate((LEARNED, ANOTHER))
    }


@dataclass(frozen=True, eq=False)
class Conversion:
    """Sources of a real architecture at two sizes, with the rules that convert them.

    `shapes` gives the source's keys and shapes, or those of each alias, at a size, whose numbers
    are its arguments; `into`, likewise, those of the destination, where the rules need one.
    `own` are globs of destination keys whose values are the template's own, `computed` of those
    that an op computes, `same` of source keys that are alike in all sources. `config` and
    `variables` are names of the rules' config and vars, each with the name of its number in `size`.
    """

    name: str
    shapes: Callable[..., Shapes | dict[str, Shapes]]
    rules: Path
    sizes: Mapping[str, Size]
    own: tuple[str, ...] = ()
    computed: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    into: Callable[..., Shapes] | None = None
    config_names: Mapping[str, str] = field(default_factory=dict)
    variable_names: Mapping[str, str] = field(default_factory=dict)
    dtype: str = "float32"

    @property
    def text(self) -> str:
        """The right rule file."""
        return self.rules.read_text()

    @property
    def rule_count(self) -> int:
        """The rules of all stages, those inside a `within` counted one by one, it itself not."""
        return sum(
            _count(rule) for stage in load_ruleset(self.rules).stages for rule in stage.rules
        )

    def make(self, size: str = LEARNED, seed: int = 0) -> Sources:
        """The source state dicts by alias, whose elements all differ."""
        return fill(self._empty(size), seed, self.same)

    def fresh(self, size: str = LEARNED, seed: int = 0) -> Sources:
        """As `make`, with norms, biases and counters of networks that were never trained."""
        return {alias: reset(arrays) for alias, arrays in self.make(size, seed).items()}

    def template(self, size: str = LEARNED, seed: int = 100) -> Arrays | None:
        """A destination with values of its own; None where the rules need none."""
        own = self._own(size)
        return None if own is None else fill({"": own}, seed)[""]

    def config(self, size: str = LEARNED) -> dict[str, int] | None:
        """What `--config` would give, of the names that the rules read."""
        sizes = self.sizes[size]
        return {name: sizes[of] for name, of in self.config_names.items()} or None

    def variables(self, size: str = LEARNED) -> dict[str, int]:
        """What `--set` would give."""
        return {name: self.sizes[size][of] for name, of in self.variable_names.items()}

    def convert(self, sources: Sources, size: str = LEARNED) -> Arrays:
        """The state dict that the right rules make."""
        return convert(self.rules, sources, self.template(size), **self._words(size))

    def judge(self, found: Rules, size: str = LEARNED, **words: Any) -> Verdict:
        """What the found rules give at a size, against the right ones; `words` are `judge`'s."""
        given = {"same": self.same, "computed": self.computed, **self._words(size), **words}
        return judge(found, self.rules, self._empty(size), self._own(size), **given)

    def is_own(self, key: str) -> bool:
        return any(fnmatchcase(key, glob) for glob in self.own)

    def is_same(self, key: str) -> bool:
        return any(fnmatchcase(key, glob) for glob in self.same)

    def _words(self, size: str) -> dict[str, Any]:
        return {"config": self.config(size), "variables": self.variables(size)}

    def _empty(self, size: str) -> Sources:
        by_alias = _by_alias(self.shapes(**self.sizes[size]))
        return {alias: empty(shapes, self.dtype) for alias, shapes in by_alias.items()}

    def _own(self, size: str) -> Arrays | None:
        return None if self.into is None else empty(self.into(**self.sizes[size]), self.dtype)


def _by_alias(given: Shapes | dict[str, Shapes]) -> dict[str, Shapes]:
    """The shapes of each source; those of the only one are given without an alias."""
    named = {alias: shapes for alias, shapes in given.items() if isinstance(shapes, dict)}
    return named or {"": {key: shape for key, shape in given.items() if isinstance(shape, tuple)}}


def _count(rule: Rule) -> int:
    return sum(map(_count, rule.rules)) if isinstance(rule, Within) else 1
