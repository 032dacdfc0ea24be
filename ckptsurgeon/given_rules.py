"""Rules as they are given: files, names, dicts and lists, with what is said beside them put in."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from msgspec import structs

from ckptsurgeon.checkpoints.detection import (
    looks_json,
    looks_pickle,
    looks_safetensors,
    looks_zip,
)
from ckptsurgeon.checkpoints.foreign.files import LOOK
from ckptsurgeon.checkpoints.planting import is_tensor
from ckptsurgeon.errors import Place, Problem, RulesetError
from ckptsurgeon.files import is_address, read_regular, tell_fetch
from ckptsurgeon.language import catalog
from ckptsurgeon.language.rules import Ruleset, Stage
from ckptsurgeon.language.rulesets import Rules, load_with_problems
from ckptsurgeon.planner.compiling.compilation import refuse_problems
from ckptsurgeon.plans.files.format import BEGINNING
from ckptsurgeon.wording import choose, name_path, name_ways

NO_RULES = "<no rules>"
"""The file of a ruleset of none."""


def load_rulesets(rules: Rules | Sequence[Ruleset] | None) -> tuple[Ruleset, ...]:
    """The rulesets to run one after the other; none at all is one without rules."""
    if rules is None:
        return (Ruleset(NO_RULES, (Stage((), Place(NO_RULES, 1, 1)),)),)
    if isinstance(rules, Sequence) and not isinstance(rules, str):
        rulesets = tuple(rule for rule in rules if isinstance(rule, Ruleset))
        if rulesets and len(rulesets) == len(rules):
            return rulesets
    return refuse_problems([read_rules(rules)])


def read_rules(rules: Rules) -> Ruleset:
    """The ruleset of a file, a name, a dict or a list, with its problems in it.

    Raises RulesetError that says what a file is instead, where it is of another kind.
    """
    help = "rules are a path, a shipped name, a list, or a dict as YAML would give it"
    if isinstance(rules, str | os.PathLike):
        if not os.fspath(rules):
            raise RulesetError([Problem("an empty text where rules are wanted", None, help)])
        _refuse_other_files(os.fspath(rules))
    elif hold_tensors(rules):
        raise RulesetError([Problem("a dict of tensors where rules are wanted", None, help)])
    return load_with_problems(rules)


def look_like_rules(value: object) -> bool:
    """Whether a value is plainly meant for rules, and for no checkpoint."""
    if isinstance(value, Mapping):
        return not {"rules", "format"}.isdisjoint(value)
    if isinstance(value, str | os.PathLike):
        name = os.fspath(value)
        return name.endswith(catalog.RULE_FILES) or name in catalog.names()
    return isinstance(value, list | tuple | Ruleset)


def hold_tensors(rules: object) -> bool:
    """Whether a value is a dict of tensors, or of dicts of them, and so no rules."""
    if not isinstance(rules, Mapping):
        return False
    inner = (one.values() if isinstance(one, Mapping) else (one,) for one in rules.values())
    return any(map(is_tensor, chain.from_iterable(inner)))


def _refuse_other_files(name: str) -> None:
    """Raises RulesetError for a file that is plainly something else than rules."""
    if "\n" in name:  # the text of a rule file, which the reader tells of
        return
    if is_address(name):
        what, help = "addresses are not read", tell_fetch(name)
    elif Path(name).is_dir():
        what, help = "a folder where a rule file is wanted", "name the file in it"
    else:
        what, help = _describe_rules(Path(name))
    if what:
        raise RulesetError([Problem(what, Place(name, 1, 1), help)])


def _describe_rules(path: Path) -> tuple[str, str]:
    """What a file is that holds no rules, and where it belongs; nothing for what may be rules."""
    with contextlib.suppress(OSError):
        head = read_regular(path, LOOK)
        ways = name_ways(str(path))
        if any(looks(head) for looks in (looks_safetensors, looks_zip, looks_pickle)):
            return "a checkpoint where rules are wanted", f"give it {ways}"
        if head.startswith(BEGINNING):
            quoted, name = shlex.quote(str(path)), repr(str(path))
            run = choose(
                f"run it by `transplant --plan {quoted}`", f"give `load_plan({name})` instead"
            )
            return "a saved plan where rules are wanted", run
        if looks_json(head) and not re.search(rb'"?format"?\s*:', head):
            config = name_path("config", str(path))
            help = f"a config is given by {config}, a JSON spec {ways}"
            return "JSON without `format: 1` where rules are wanted", help
        if path.suffix == ".py":
            return "Python where rules are wanted", "rules are a YAML file that begins `format: 1`"
    return "", ""


def put_before(rulesets: Sequence[Ruleset], first: Ruleset) -> tuple[Ruleset, ...]:
    """The rulesets with the rules of `first` in front of the last stage's."""
    *before, last = rulesets
    if last.file == NO_RULES:
        return (*before, first)
    *others, stage = last.stages
    extended = structs.replace(stage, rules=(*first.stages[0].rules, *stage.rules))
    problems = (*last.problems, *first.problems)
    return (*before, structs.replace(last, stages=(*others, extended), problems=problems))


def put_words(
    rulesets: Sequence[Ruleset], roots: Mapping[str, str], one_shard: bool
) -> tuple[Ruleset, ...]:
    """The rulesets with what is said beside them in the first stage, as a file says it.

    So saved plans keep it. Roots win over the rules' own.
    """
    first, *later = rulesets
    stage, *others = first.stages
    source = structs.replace(
        stage.source,
        roots={**stage.source.roots, **roots},
        one_shard=one_shard or stage.source.one_shard,
    )
    stages = (structs.replace(stage, source=source), *others)
    return (structs.replace(first, stages=stages), *later)
