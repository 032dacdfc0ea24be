"""Rules, checkpoints, config and vars as one `Request`, which a plan is made of."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.engine.execution import Execution, stamps_of
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.given_rules import load_rulesets, put_before, put_words
from ckptsurgeon.language.rules import Ruleset
from ckptsurgeon.language.rulesets import Rules
from ckptsurgeon.planner.compiling.compilation import compile_rulesets
from ckptsurgeon.planner.planning import Inputs, make_plan
from ckptsurgeon.request.destinations import (
    Into,
    holds_dicts,
    is_by_alias,
    open_destination,
)
from ckptsurgeon.request.opening import Source, refuse_root
from ckptsurgeon.request.sources import gather_sources, open_sources
from ckptsurgeon.request.words import (
    Config,
    Given,
    Root,
    read_config,
    read_kinds,
    read_roots,
    read_var,
)
from ckptsurgeon.wanted import require
from ckptsurgeon.wording import argument, name_destination


@dataclass(frozen=True, slots=True)
class Request:
    """Rulesets to run one after the other, and what they are run on."""

    rulesets: tuple[Ruleset, ...]
    inputs: Inputs

    def prepare(self) -> Execution:
        """The plan with the checkpoints that it was made for, ready to be run."""
        checkpoints = dict(self.inputs.sources)
        if self.inputs.destination is not None:
            checkpoints[DESTINATION] = self.inputs.destination
        stamps = stamps_of(checkpoints)
        return Execution(make_plan(self.rulesets, self.inputs), checkpoints, stamps)

    def with_rules(self, first: Ruleset | None) -> Request:
        """The request with the rules of `first` before its own, so that they win."""
        if first is None:
            return self
        return replace(self, rulesets=put_before(self.rulesets, first))


def open_request(
    rules: Rules | Sequence[Ruleset] | None,
    source: Source | None,
    into: Into | None = None,
    *,
    sources: Mapping[str, Source] | None = None,
    config: Config | None = None,
    variables: Given | None = None,
    allow: Collection[str] = (),
    root: Root | None = None,
    one_shard: bool = False,
    has_unnamed: bool = False,
) -> Request:
    """The request that the words of `ckptsurgeon.plan` make; sources open by the first stage.

    Raises RulesetError, CheckpointError, PlanError for values of `variables` and for `allow`, and
    CkptSurgeonError for `config`.
    """
    roots = read_roots(root)
    rulesets = put_words(load_rulesets(rules), roots, one_shard)
    require("sources", sources or {}, Mapping, "a dict of paths, dicts or models by alias")
    for alias in sources or {}:
        require("sources: an alias", alias, str, "a text")
    require("variables", variables or {}, Mapping, "a dict of values by name, {'h': 1},")
    for name in variables or {}:
        require("variables: a name", name, str, "a text")
    if config is not None:
        require("config", config, (str, os.PathLike, Mapping), "a path, or a dict")
    gathered, notes = gather_sources(source, sources or {})
    are_named = holds_dicts(into) and compile_rulesets(rulesets)[-1].is_named
    _refuse_roots(roots, gathered, into, are_named=are_named)
    options = rulesets[0].stages[0].source
    checkpoints = open_sources(gathered, options)
    destination = None
    if into is not None:
        destination = open_destination(into, options.roots, one_shard, are_named=are_named)
    given = {name: read_var(name, value) for name, value in (variables or {}).items()}
    kinds = read_kinds(allow)
    inputs = Inputs(checkpoints, destination, read_config(config), given, kinds, notes, has_unnamed)
    return Request(rulesets, inputs)


def _refuse_roots(
    roots: Mapping[str, str], sources: Mapping[str, Source], into: Into | None, *, are_named: bool
) -> None:
    """Raises CheckpointError for a root of what is no file, or of a destination that is not there.

    That a source is not there is told where they are opened.
    """
    if DESTINATION in roots and into is None:
        asked, dst = argument("root", "dst=NAME", "{'dst': …}"), name_destination()
        raise CheckpointError(f"{asked}: there is no destination; give it by {dst}")
    asked_of = {alias: roots.get(alias, roots.get("")) for alias in sources}
    given = {**sources, DESTINATION: None if is_by_alias(into, are_named=are_named) else into}
    for alias, root in {**asked_of, DESTINATION: roots.get(DESTINATION)}.items():
        one = given[alias]
        if root is not None and one is not None:
            refuse_root(one, root, alias)
