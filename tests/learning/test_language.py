"""Every exact case of the language, learned from what it gives: rules that do the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language.running import Arrays, Case, Run, load_cases
from safetensors.numpy import load_file

import ckptsurgeon as cs
from ckptsurgeon.errors import CheckpointError, CkptSurgeonError
from ckptsurgeon.plans.graph import Call, Leaf, Made, walk
from ckptsurgeon.plans.plan import Plan

CASES = load_cases(Path(__file__).parents[1] / "language" / "cases")

NOT_LEARNED = {
    "several dims, or parts that lie apart, of one tensor": (
        "slices: all dims by integers",
        "slices: spaces in a slice",
        "slices: parts of two dims that meet in no element",
        "slices: a slice behind a capture that is gathered",
        "slices: a slice in both references of a list",
        "stages: slices of what an earlier stage made",
        "targets: a part of a copied key of the source with a destination",
        "accounting: output dtype and parts of which a rule cast one",
    ),
    "chains of joins and splits of more than a grid of two": (
        "steps: the list is joined before its dims are",
        "steps: three captures of one grid",
        "steps: a list of references whose captures are gathered, first the captures",
        "steps: a name of its own and a capture to spread",
        "steps: gather and spread in one rule",
        "steps: a spread capture in one target and the list of targets",
    ),
    "one tensor twice in a join": ("options: pick of what is gathered",),
    "an alias that is no word among words": (
        "aliases: references to several sources joined on their captures",
    ),
    "a key that no file of rules can hold": ("patterns: a newline within a piece",),
    "two colons within a key, which stand behind an alias": ("patterns: escaped signs",),
    "ops on one of the references that are joined": (
        "blocks: an op on one of two references",
        "blocks: dims of a block that the outer op joins",
        "blocks: the shape in a block is that of another tensor",
        "blocks: a dim that the block's own tensor lacks",
    ),
    "a key called null": ("tables: a table inline", "tables: a table of CSV"),
    "one value throughout": ("corners: every dtype moves",),
}

REASONS = {name: reason for reason, names in NOT_LEARNED.items() for name in names}


def sources_of(run: Run) -> dict[str, Arrays]:
    return ({} if run.source is None else {"": run.source}) | run.sources


def is_exact(plan: Plan) -> bool:
    """Whether all that comes out is moved, or cast, from the sources, into one checkpoint."""
    if plan.is_named:
        return False  # each of several outputs is learned for itself
    for output in plan.outputs.values():
        for work in walk(output.node):
            if isinstance(work, Call) and work.op.arithmetic and work.op.name != "cast":
                return False
            if isinstance(work, Made) or (isinstance(work, Leaf) and work.source == "dst"):
                return False
    return bool(plan.outputs) and not plan.open_findings


def exact_run(case: Case, folder: Path) -> Run | None:
    if case.fails is not None or case.fails_when_run is not None or case.gives is None:
        return None
    run = Run(case, folder)
    return run if is_exact(run.plan()) else None


def other_values(tensor: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    if tensor.dtype.kind == "b":
        return np.asarray(rng.random(tensor.shape) < 0.5)
    numbers = rng.permutation(tensor.size * 3)[: tensor.size] + 7
    return numbers.reshape(tensor.shape).astype(tensor.dtype)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_is_learned_does_the_same(case: Case, tmp_path: Path) -> None:
    run = exact_run(case, tmp_path)
    if run is None:
        assert case.name not in REASONS
        return
    sources = sources_of(run)
    converted = run.tensors()
    if case.name in REASONS:
        assert not _does_the_same(case, run, sources, converted, tmp_path)
    else:
        assert _does_the_same(case, run, sources, converted, tmp_path)


def _does_the_same(
    case: Case, run: Run, sources: dict[str, Arrays], converted: Arrays, folder: Path
) -> bool:
    """Whether the rules are learned, and give what the case's do for other values."""
    try:
        found = cs.learn(
            sources.get(""), converted, sources={k: v for k, v in sources.items() if k}
        )
    except CheckpointError:  # of a few tensors, none is explained
        return False
    if found.open:
        return False
    rng = np.random.default_rng(1)
    others = {
        alias: {key: other_values(tensor, rng) for key, tensor in arrays.items()}
        for alias, arrays in sources.items()
    }
    try:
        wanted = _converted(run, others, run.rules, folder / "wanted.safetensors", run.options)
    except CkptSurgeonError:  # values that must be equal, and are not now
        return True
    given = _converted(run, others, found.rules, folder / "given.safetensors", {})
    return _content(wanted) == _content(given)


def _converted(
    run: Run, sources: dict[str, Arrays], rules: Any, path: Path, options: dict[str, Any]
) -> Arrays:
    named = {alias: arrays for alias, arrays in sources.items() if alias}
    into = run.arguments[2] if options else None
    words = {**options, "sources": named}
    cs.transplant(sources.get(""), path, rules, into, **words)
    return load_file(path)


def _content(tensors: Arrays) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {key: (str(one.dtype), one.shape, one.tobytes()) for key, one in tensors.items()}


def test_the_exceptions_are_cases() -> None:
    assert REASONS.keys() <= {case.name for case in CASES}
