"""Rules of which none matches a key: the checkpoint is converted already, or another model's."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence

from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.keys import fold_keys
from ckptsurgeon.language.catalog import find_shipped
from ckptsurgeon.language.patterns import Literal, Pattern, compile_pattern
from ckptsurgeon.language.rules import Norms
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.stage.absences import explain_absence
from ckptsurgeon.planner.stage.lookups import readable
from ckptsurgeon.planner.stage.searching import Search
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.specs import plural
from ckptsurgeon.wording import choose

SHOWN = 3
"""Keys, and patterns, that are shown of each side."""

MOST_FOLDED = 2000
"""Keys that are folded to show what a checkpoint has."""

TESTS = 2_000_000
"""How often keys are held against what rules name: a second at most."""


def explain_strange_rules(
    run: StageRun, dead: Sequence[tuple[CompiledRule, Reader]], search: Search
) -> tuple[str, str] | None:
    """The one problem of rules that all match nothing, and the next step.

    None where keys look like what the rules read: each of them is then told with its nearest.
    """
    none = f"none of the {len({rule.group for rule, _ in dead})} rules matches a key"
    there, looked_at = _count_given(run)
    keys = sum(len(table.nodes) for table in run.tables)
    if there and 2 * there >= min(keys, looked_at):
        given = f"{there:,} of its {plural(keys, 'key')} have names that the rules give"
        return f"{none}: the source is converted already: {given}", _tell_way_back()
    reasons = [explain_absence(run, *one, search) for one in dead[:SHOWN]]
    if reasons[0].why and all(one.why == reasons[0].why for one in reasons):
        shipped = find_shipped(dead[0][0].place)
        help = reasons[0].help
        if shipped and reasons[0].besides:
            source = reasons[0].besides
            help = f"write a file: `format: 1`, {source} and the rule `- include: {shipped}`"
        return f"{none}: {reasons[0].why}", help
    if any(one.why or one.near for one in reasons):
        return None
    read = ", ".join(f"`{reader.pattern}`" for _, reader in dead[:SHOWN])
    return (
        f"{none}: they may be for another model: they read {read}, the source has {_there(run)}",
        choose(
            "`ckptsurgeon inspect` lists the keys, `ckptsurgeon rules list` the shipped rulesets",
            "`ckptsurgeon.inspect` lists the keys",
        ),
    )


def _count_given(run: StageRun) -> tuple[int, int]:
    """How many of the first keys have names that the rules give, and how many are looked at.

    These are the fewer, the more rules there are.
    """
    read = [compile_pattern(pattern).row_reader() for pattern in _target_patterns(run)]
    looked_at = min(MOST_FOLDED, TESTS // max(1, len(read)))
    keys = itertools.islice(itertools.chain(*(table.nodes for table in run.tables)), looked_at)
    return sum(any(one(key) is not None for one in read) for key in keys), looked_at


def _target_patterns(run: StageRun) -> Iterator[Pattern]:
    """What the rules name, as patterns that read it."""
    for rule in run.compiled.rules:
        suffix = (Literal(".running_mean"),) if isinstance(rule.rule, Norms) else ()
        for target in rule.targets:
            with contextlib.suppress(CkptSurgeonError):  # a var may need what was not given
                named = readable(target.pattern, run.vars_of(rule))
                yield Pattern((*named.pieces, *suffix))


def _tell_way_back() -> str:
    """How a converted checkpoint is turned around."""
    return choose(
        "give the file that it was made from; for the way back, plan that one with `-o plan.json` "
        "and turn it around: `ckptsurgeon invert plan.json -o back.json`",
        "give what it was made from; for the way back, plan that and turn it around: "
        "`ckptsurgeon.invert(ckptsurgeon.plan(…))`",
    )


def _there(run: StageRun) -> str:
    """The first keys of the sources, folded."""
    keys = itertools.chain(*(table.nodes for table in run.tables))
    folded = fold_keys(itertools.islice(keys, MOST_FOLDED))
    return ", ".join(f"`{box}`" for box in folded[:SHOWN]) or "none"
