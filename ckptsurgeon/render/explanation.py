"""What becomes of one key, and why, as text."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from ckptsurgeon.ops.indexing import Slice, index_text
from ckptsurgeon.planner.explaining import Explanation, Sighting, Verdict
from ckptsurgeon.plans.graph import (
    Call,
    Node,
    full_key,
    place_giving,
    sliced_leaf,
    text_of,
    work_of,
)
from ckptsurgeon.plans.outputs import Output
from ckptsurgeon.plans.steps import Step
from ckptsurgeon.render.json import describe
from ckptsurgeon.render.problems import describe_problems, render_error
from ckptsurgeon.render.terminal import escape
from ckptsurgeon.specs import UnreadableSpec

VERSION = 1

MOST_LINES = 40
"""Lines of the joins that an output is made of."""

MOST_LEVELS = 10
"""Joins in one another that are told."""

MOST_OUTPUTS = 1
"""Further outputs with a key that are told one by one."""


def render_explanation(explanation: Explanation, *, verbose: bool = False) -> str:
    """The explanation as text that ends in a newline; rules that don't match are only counted."""
    blocks = ["\n".join(_sighting(explanation, one, verbose)) for one in explanation.sightings]
    if explanation.output is not None:
        blocks.append("\n".join(_output(explanation.output, explanation.dicts)))
    blocks += _further(explanation.further, verbose)
    if explanation.missing is not None:
        missing = explanation.missing
        key = f"{escape(explanation.key)}  {missing}  (key of the destination)"
        what = f", and it is {escape(missing.what)}" if isinstance(missing, UnreadableSpec) else ""
        blocks.append(f"{key}\n  missing: no rule gives it{what}")
    if explanation.error is not None:
        blocks.append(
            f"the rules make no plan:\n{render_error(explanation.error, verbose=verbose)}"
        )
    if explanation.notes:
        blocks.append("\n".join(f"{one.kind}: {escape(one.text)}" for one in explanation.notes))
    return "\n\n".join(blocks) + "\n"


def _further(outputs: Sequence[Output], verbose: bool) -> list[str]:
    """The same key in other outputs: made alike in most, and so in a line."""
    if verbose or len(outputs) <= MOST_OUTPUTS:
        return ["\n".join(_output(output, ())) for output in outputs]
    first, last = (escape(one.key) for one in (outputs[0], outputs[-1]))
    return [f"{len(outputs):,} more outputs have the key, {first} to {last}; -v shows each"]


def _sighting(explanation: Explanation, sighting: Sighting, verbose: bool) -> Iterator[str]:
    where = f"source {sighting.source}".rstrip() if sighting.stage == 0 else "the stage before"
    stage = f", stage {sighting.stage + 1}" if sighting.stage else ""
    yield f"{escape(explanation.key)}  {sighting.spec}  (key of {where}{stage})"
    shown = [verdict for verdict in sighting.verdicts if verdict.matched or verbose]
    yield from (f"  {_verdict(verdict)}" for verdict in shown)
    others = len(sighting.verdicts) - len(shown)
    if others:
        yield f"  its name doesn't match {_counted(others, bool(shown))} of the rules"
    for step in sighting.steps:
        yield from _step(step)
    gives = any(step.products for step in sighting.steps)
    if sighting.fate is not None and (sighting.fate.reason or not gives):
        reason = f", {escape(sighting.fate.reason)}" if sighting.fate.reason else ""
        yield f"  {sighting.fate.fate.value}{reason}"
    if isinstance(sighting.spec, UnreadableSpec):
        yield f"  it is {escape(sighting.spec.what)}; {escape(sighting.spec.remedy)}"


def _counted(others: int, more: bool) -> str:
    """`the other 3 references`, or `any of the 3 references`."""
    if more:
        return f"the other {others} references" if others > 1 else "the other reference"
    return f"any of the {others} references" if others > 1 else "the one reference"


def _verdict(verdict: Verdict) -> str:
    return f"{escape(str(verdict.place))}: `{escape(verdict.rule.text)}` {escape(verdict.text)}"


def _step(step: Step) -> Iterator[str]:
    through = f" through {', '.join(map(escape, step.texts))}" if step.ops else ""
    for product in step.products:
        part = index_text(product.index) if product.index is not None else ""
        yield f"  gives {escape(product.key)}{part}{through}"


def _output(output: Output, dicts: Sequence[str]) -> Iterator[str]:
    yield f"{escape(output.key)}  {output.spec}  (key of the output)"
    rule = output.rule
    by = f" by {escape(str(place_giving(rule, output.key)))}" if rule else " by no rule"
    yield f"  {output.status.value}{by}"
    for operand in output.sources:
        part = index_text(operand.index) if operand.index is not None else ""
        yield f"  from {escape(full_key(operand.source, operand.key))}{part}"
    tree = list(itertools.islice(_tree(output.node), MOST_LINES + 1))
    if sum(1 for _, joins in tree if joins) > 1:
        yield "  made of"
        yield from (f"    {escape(line)}" for line, _ in tree[:MOST_LINES])
        yield from ["    …"] if len(tree) > MOST_LINES else []
    elif output.ops:
        yield f"  through {', '.join(map(escape, output.ops))}"
    if dicts:
        ways = " of ".join(f"`{escape(name)}`" for name in reversed(dicts))
        yield f"  stands in {ways} of a .pt"


def _tree(node: Node, depth: int = 0) -> Iterator[tuple[str, bool]]:
    """A line for each join of several tensors, and for each tensor that goes into it.

    Ops stand before what they are done to; each line tells whether it is one of a join.
    """
    ops: list[str] = []
    work = work_of(node)
    while isinstance(work, Call) and len(work.inputs) == 1 and sliced_leaf(work) is None:
        ops.append(text_of(work.op, work.rule))
        work = work_of(work.inputs[0])
    before, indent = "".join(f"{op} of " for op in ops), "  " * depth
    if isinstance(work, Call) and len(work.inputs) > 1 and depth < MOST_LEVELS:
        yield f"{indent}{before}{text_of(work.op, work.rule)} of", True
        for one in work.inputs:
            yield from _tree(one, depth + 1)
        return
    leaf = sliced_leaf(work)
    if leaf is None:
        yield f"{indent}{before}several", False
        return
    index = (
        index_text(work.op.index) if isinstance(work, Call) and isinstance(work.op, Slice) else ""
    )
    yield f"{indent}{before}{full_key(leaf.source, leaf.key)}{index}", False


# --- for machines ---------------------------------------------------------------------------------


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    """The explanation as plain values: versioned and complete."""
    error = explanation.error
    output, missing = explanation.output, explanation.missing
    return {
        "version": VERSION,
        "exit_code": explanation.exit_code,
        "key": explanation.key,
        "read": [_describe_sighting(one) for one in explanation.sightings],
        "output": None if output is None else _describe_output(output, explanation.dicts),
        "further_outputs": [_describe_output(one, ()) for one in explanation.further],
        "missing": None if missing is None else describe(missing),
        "problems": [] if error is None else describe_problems(error),
        "notes": [{"kind": one.kind, "text": one.text} for one in explanation.notes],
    }


def _describe_sighting(sighting: Sighting) -> dict[str, Any]:
    fate = sighting.fate
    products = [product for step in sighting.steps for product in step.products]
    return {
        "stage": sighting.stage,
        "source": sighting.source,
        "spec": describe(sighting.spec),
        "rules": [_describe_verdict(one) for one in sighting.verdicts],
        "gives": [
            product.key + (index_text(product.index) if product.index is not None else "")
            for product in products
        ],
        "fate": None if fate is None else fate.fate.value,
        "reason": None if fate is None else fate.reason or None,
    }


def _describe_verdict(verdict: Verdict) -> dict[str, Any]:
    place = {"file": verdict.place.file, "line": verdict.place.line}
    told = {"text": verdict.rule.text, "matches": verdict.matched, "verdict": verdict.text}
    return {**place, **told}


def _describe_output(output: Output, dicts: Sequence[str]) -> dict[str, Any]:
    place = None if output.rule is None else place_giving(output.rule, output.key)
    return {
        "key": output.key,
        "spec": describe(output.spec),
        "status": output.status.value,
        "file": None if place is None else place.file,
        "line": None if place is None else place.line,
        "sources": [describe(one) for one in output.sources],
        "ops": list(output.ops),
        "dicts": list(dicts),
    }
