"""What migration scripts call: `plan`, `transplant`, `apply` and what stands beside them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ckptsurgeon.checkpoints.planting import is_model
from ckptsurgeon.engine.applying import make_tensors
from ckptsurgeon.engine.execution import Execution
from ckptsurgeon.engine.mover import Progress
from ckptsurgeon.errors import CkptSurgeonError, OutputError
from ckptsurgeon.file_names import OutputPaths, paths_of_outputs
from ckptsurgeon.given_rules import hold_tensors, look_like_rules
from ckptsurgeon.language.rulesets import Rules
from ckptsurgeon.planner.explaining import Explanation
from ckptsurgeon.planner.explaining import explain as explain_key
from ckptsurgeon.plans.inverse.inverting import invert_plan, root_of
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.report.report import Report, make_report
from ckptsurgeon.request import (
    Allow,
    Config,
    Given,
    Into,
    Root,
    Source,
    open_request,
    open_source,
    refuse_turned_round,
)
from ckptsurgeon.saved import prepare_saved, recall
from ckptsurgeon.wanted import (
    Size,
    check_count,
    kind_of,
    read_size,
    require,
    require_progress,
)


def plan(
    source: Source | None,
    rules: Rules | None = None,
    into: Into | None = None,
    *,
    sources: Mapping[str, Source] | None = None,
    config: Config | None = None,
    variables: Given | None = None,
    allow: Allow = (),
    root: Root | None = None,
    one_shard: bool = False,
) -> Plan:
    """The plan of `rules` for a source and a destination, from headers alone.

    `source` and `into` are paths, factories by name, dicts of tensors, models or open checkpoints;
    `sources` names further ones by alias, and so does a dict of any of these as `into` the
    destinations of several outputs. Names of files may be patterns: {"r<r>": "mp_rank_<r:02>.pt"}.
    `rules` is a path, a shipped name, a dict as YAML would give it, a list of rules or a Ruleset;
    without rules every key is copied. `variables` override vars (a text is an expression). `allow`
    accepts findings by kind (`KindOfFinding`). `root` is the wrapper to open in the sources, or a
    dict by alias in which `dst` is the destination's; it wins over the rules' own. `one_shard` says
    that a file which is one shard of a set is meant, without the others.

    Raises RulesetError or PlanError, which hold every problem with its place, and CheckpointError.
    """
    request = open_request(
        rules,
        source,
        into,
        sources=sources,
        config=config,
        variables=variables,
        allow=allow,
        root=root,
        one_shard=one_shard,
    )
    return request.prepare().aim({}).plan


def transplant(
    source: Source | None,
    output: OutputPaths,
    rules: Rules | Plan | None = None,
    into: Into | None = None,
    *,
    sources: Mapping[str, Source] | None = None,
    config: Config | None = None,
    variables: Given | None = None,
    allow: Allow = (),
    root: Root | None = None,
    force: bool = False,
    memory: Size | None = None,
    jobs: int | None = None,
    max_shard_size: Size | None = None,
    progress: Progress | None = None,
    one_shard: bool = False,
) -> Report:
    """Plans like `plan`, then writes `output`, whole or not at all; what was done is returned.

    `rules` may be a plan that was made, with the words that it was made with in it; a source or a
    destination that is None is then read where it was.
    `output` is a path, or a dict of paths by the aliases of outputs; an alias may be a pattern, as
    in {"rank<r>": "tp4/mp_rank_<r:02>.pt"}, and "" is the output without a name. All appear
    together.
    An output's format follows its suffix. `memory` bounds what is held of tensors (256 MiB) over
    all of `jobs` threads; `max_shard_size` the tensors of one shard (5 GB). Raises what `plan`
    raises, FindingsError where findings are left that `allow` doesn't name, OutputError, e.g. where
    the output exists (`force`), ValueError for a size or a number of jobs below 1, and
    CkptSurgeonError for what is no number.
    """
    limits = read_size(memory, "memory"), check_count(jobs, "jobs")
    shard_size = read_size(max_shard_size, "max_shard_size")
    _refuse_rules_as_output(output)
    require_progress(progress)
    execution = _prepare(
        source,
        rules,
        into,
        sources=sources,
        config=config,
        variables=variables,
        allow=allow,
        root=root,
        one_shard=one_shard,
        has_unnamed=not isinstance(output, Mapping) or "" in output,
    )
    execution = execution.aim(paths_of_outputs(output, execution.plan), *limits)
    if into is None and not (force or isinstance(rules, Plan) or isinstance(output, Mapping)):
        _refuse_destination(output)
    with execution.open_output(force=force, max_shard_size=shard_size) as fill:
        fill(progress)
    return make_report(execution.plan, done="written")


def apply(
    source: Source | None,
    rules: Rules | Plan | None = None,
    into: Into | None = None,
    *,
    sources: Mapping[str, Source] | None = None,
    config: Config | None = None,
    variables: Given | None = None,
    allow: Allow = (),
    root: Root | None = None,
    one_shard: bool = False,
) -> tuple[dict[str, Any], Report]:
    """(tensors, report) of the rules applied to a source: of what `transplant` would write.

    `source` is mostly a dict of torch tensors or NumPy arrays; else as in `plan`. A tensor that no
    op touches is the very object that was given, and shares its memory; others are new. Tensors are
    of the kind that the source holds (None where all `sources` are named: the first of these),
    arrays where it is a file, on the device of their first source. No dict is altered, and none is
    nested: keys are those below the root. Raises what `transplant` raises. The order of 0.1,
    (rules, state_dict), still works, with a warning.
    """
    if _is_old_order(source, rules):
        text = "apply(rules, state_dict) is now apply(state_dict, rules), as in plan"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        source, rules = rules, source  # type: ignore[assignment]
    execution = _prepare(
        source,
        rules,
        into,
        sources=sources,
        config=config,
        variables=variables,
        allow=allow,
        root=root,
        one_shard=one_shard,
    ).hold()
    return make_tensors(execution), make_report(execution.plan, done="made")


def _prepare(
    source: Source | None,
    rules: Rules | Plan | None,
    into: Into | None,
    *,
    sources: Mapping[str, Source] | None,
    one_shard: bool,
    has_unnamed: bool = False,
    **words: Any,
) -> Execution:
    """What is to be run, of rules or of a plan; `words` are those that plans are made with."""
    if not isinstance(rules, Plan):
        said = {**words, "one_shard": one_shard, "has_unnamed": has_unnamed}
        return open_request(rules, source, into, sources=sources, **said).prepare()
    if given := [name for name, value in words.items() if value or value == ""]:
        raise CkptSurgeonError(f"{given[0]}: is said where a plan is made, by `plan`; this one is")
    require("sources", sources or {}, Mapping, "a dict of paths, dicts or models by alias")
    return prepare_saved(rules, source, sources or {}, into, one_shard)


def _is_old_order(source: object, rules: object) -> bool:
    """Whether a state dict stands where `apply` takes rules, as it did once."""
    is_given = rules is not None and not isinstance(rules, str | os.PathLike | Plan)
    is_state = hold_tensors(rules) or (source is not None and not look_like_rules(rules))
    return is_given and is_state and (source is None or look_like_rules(source))


def explain(
    key: str,
    source: Source | None,
    rules: Rules | None = None,
    into: Into | None = None,
    *,
    sources: Mapping[str, Source] | None = None,
    config: Config | None = None,
    variables: Given | None = None,
    allow: Allow = (),
    root: Root | None = None,
    one_shard: bool = False,
) -> Explanation:
    """Which rule takes a key, what it gives, and why the other rules don't take it.

    `key` is a name that rules see, of a source or of the output; the rest is as in `plan`. Raises
    what `plan` raises but PlanError, which is told in the result, and CheckpointError for a key
    that is nowhere.
    """
    refuse_turned_round(key, source, alone=not sources)
    request = open_request(
        rules,
        source,
        into,
        sources=sources,
        config=config,
        variables=variables,
        allow=allow,
        root=root,
        one_shard=one_shard,
    )
    return explain_key(request.rulesets, request.inputs, key)


def load_plan(path: str | os.PathLike[str]) -> Plan:
    """A plan that `Plan.save` or `plan -o` wrote, as it was made: `transplant` and `apply` run it.

    Its checkpoints need not be there to look at it. Raises PlanError and CkptSurgeonError for what
    is no plan, or none of this version.
    """
    require("load_plan", path, (str, os.PathLike), "the path of a saved plan")
    return recall(Path(path))


def invert(
    plan: Plan | str | os.PathLike[str],
    *,
    only: str | None = None,
    source_of_lost: Source | None = None,
) -> Plan:
    """The plan that makes a plan's sources out of its outputs, exact to the byte.

    `plan` is a Plan, or the path of a saved one. Several sources are several outputs of the
    inverse, under their aliases; `only` is the alias of one to give back. `source_of_lost` is a
    checkpoint to take from what the plan loses: what was dropped, parts that nobody took, what an
    op rounds.

    Raises PlanError, which holds every tensor that is lost with its rule, and CheckpointError.
    """
    require("invert", plan, (Plan, str, os.PathLike), "a plan, or the path of a saved one,")
    if only is not None:
        require("only", only, str, "the alias of a source")
    name = "the plan" if isinstance(plan, Plan) else os.fspath(plan)
    made = plan if isinstance(plan, Plan) else recall(Path(plan))
    lost = None
    if source_of_lost is not None:  # a shard, where the plan was made of shards
        lost = open_source(source_of_lost, root_of(made, only), one_shard=True)
    return invert_plan(made, name, only=only, lost=lost)


def _refuse_rules_as_output(output: object) -> None:
    """Raises OutputError where the second argument is plainly meant for the third."""
    order = "where the output is wanted: (source, output, rules, into)"
    if is_model(output):
        ways = (
            "`modules.transplant(source, model)` writes into a model, "
            "`modules.load(model, source)` loads a checkpoint"
        )
        raise OutputError(f"{kind_of(output)} {order}; {ways}")
    if (
        isinstance(output, Mapping)
        and output
        and all(
            isinstance(alias, str) and isinstance(path, str | os.PathLike)
            for alias, path in output.items()
        )
    ):
        return
    if not isinstance(output, str | os.PathLike):
        raise OutputError(f"{kind_of(output)} {order}")
    if look_like_rules(str(output)) or " -> " in str(output):
        raise OutputError(
            f"{output}: rules where the output is wanted: (source, output, rules, into)"
        )


def _refuse_destination(output: str | os.PathLike[str]) -> None:
    """Raises OutputError for what is there, which may have been meant as the destination."""
    if os.path.isfile(output):
        name = os.fspath(output)
        raise OutputError(
            f"{name}: exists already; if it is the destination, name a new output and say "
            f"into={name!r}; force=True replaces it"
        )
