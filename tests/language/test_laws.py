"""Laws of plans, whatever the rules: over every case of the language that makes one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from html_reading import Page, keys_of
from language.running import Case, Run, load_cases

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint, Contents
from ckptsurgeon.checkpoints.memory import MemoryCheckpoint
from ckptsurgeon.checkpoints.several import Several
from ckptsurgeon.engine.evaluation import Evaluator
from ckptsurgeon.engine.execution import Execution
from ckptsurgeon.engine.reading import NodeReader
from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.ops.casting import Cast
from ckptsurgeon.planner.explaining import Sighting, explain
from ckptsurgeon.planner.planning import make_plan
from ckptsurgeon.plans.account import FindingKind
from ckptsurgeon.plans.addresses import alias_of, split_address
from ckptsurgeon.plans.fates import Fate, SourceFate
from ckptsurgeon.plans.files.restoring import read_plan, recall_plan, restore_plan
from ckptsurgeon.plans.files.saving import save_plan
from ckptsurgeon.plans.graph import Call, Leaf, RuleInfo, full_key, walk
from ckptsurgeon.plans.inverse.inverting import invert_plan
from ckptsurgeon.plans.outputs import Output, Status
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.render.accounting import share_sources
from ckptsurgeon.render.html.plan_page import render_report
from ckptsurgeon.report.report import FROM_SOURCE, make_report
from ckptsurgeon.report.sides import add_tallies
from ckptsurgeon.request import Request
from ckptsurgeon.specs import TensorSpec

CASES = load_cases(Path(__file__).parent / "cases")

Law = Callable[[Request, Execution, Path], None]

TAKES = ("drops it, by null", "takes it", "takes a slice of it", "gives the key, and drops it")
"""What `explain` says of a rule that took a key."""

USED = (Fate.TAKEN, Fate.COPIED)

PUBLIC = ("key", "name", "spec", "status", "rule", "sources", "ops", "wanted", "allowed")
"""What is known of an output, but for its node."""

ACCOUNT = ("steps", "fates", "findings", "notes", "ties", "checked_ties", "rules", "separator")


def evaluated(execution: Execution) -> dict[str, bytes] | str:
    """The bytes of every output, else why there are none."""
    try:
        evaluator = execution.evaluate()
        outputs = execution.plan.outputs.items()
        return {key: evaluator.output(output).tobytes() for key, output in outputs}
    except CkptSurgeonError as error:
        return str(error)


def told(outputs: Mapping[str, Output], *but: str) -> list[dict[str, Any]]:
    """What is known of outputs, in their order."""
    words = [word for word in PUBLIC if word not in but]
    return [{word: getattr(one, word) for word in words} for one in outputs.values()]


# --- saved plans ----------------------------------------------------------------------------------


def a_saved_plan_is_the_plan(request: Request, execution: Execution, folder: Path) -> None:
    plan, path = execution.plan, folder / "plan.json"
    save_plan(plan, path)
    saved = read_plan(path.read_bytes(), path)
    restored = restore_plan(saved, execution.checkpoints, path)
    for one in (restored, recall_plan(saved, path)):
        assert told(one.outputs) == told(plan.outputs)
        assert {word: getattr(one, word) for word in ACCOUNT} == {
            word: getattr(plan, word) for word in ACCOUNT
        }
        assert list(map(seen, one.views)) == list(map(seen, plan.views))
    assert evaluated(replace(execution, plan=restored)) == evaluated(execution)


def seen(view: SourceView) -> list[Any]:
    """What is known of a checkpoint."""
    contents = view.contents
    own = [dict(view.specs), dict(view.names), dict(contents.specs), contents.aliases]
    return [view.alias, view.path, view.format, view.options, *own]


# --- the account ----------------------------------------------------------------------------------


def a_key_has_one_fate_in_a_stage(request: Request, execution: Execution, folder: Path) -> None:
    plan = execution.plan
    tables = plan.fates.tables
    assert len({(table.stage, table.source) for table in tables}) == len(tables)
    assert all(table.claims.keys() == table.specs.keys() for table in tables)
    assert [(table.source, dict(table.specs)) for table in tables if table.stage == 0] == [
        (view.alias, dict(view.specs)) for view in plan.sources
    ]
    assert len(plan.fates) == len(list(plan.fates))


def what_steps_read_is_taken(request: Request, execution: Execution, folder: Path) -> None:
    for step in execution.plan.steps:
        for operand in step.operands:
            fate = execution.plan.fates.find(step.stage, *operand.at)
            assert fate is not None, operand
            assert fate.rule is not None, operand
            assert fate.fate in (Fate.TAKEN, Fate.DROPPED), fate


def what_rules_give_is_given_by_their_steps(
    request: Request, execution: Execution, folder: Path
) -> None:
    """For the last stage: another may strip the names that an earlier one gave."""
    plan, last = execution.plan, len([s for one in request.rulesets for s in one.stages]) - 1
    given = {(step.rule.number, one.key) for step in plan.steps for one in step.products}
    for key, output in plan.outputs.items():
        rule = output.rule
        if rule is not None and rule.stage == last and output.status in FROM_SOURCE:
            assert rule.kind == "tie" or (rule.number, key) in given


def the_report_adds_up(request: Request, execution: Execution, folder: Path) -> None:
    plan, report = execution.plan, make_report(execution.plan)
    misfits = {one.key for one in plan.open_findings if one.kind is FindingKind.MISMATCHED}
    fitting = (output for key, output in plan.outputs.items() if key not in misfits)
    kept = [output.spec.nbytes for output in fitting]
    offered = [spec.nbytes for view in plan.sources for spec in view.specs.values()]
    assert tally(report.counts) == (len(kept), sum(kept))
    assert (report.total.tensors, report.total.nbytes) == (len(kept), sum(kept))
    assert tally(report.fate_counts) == (len(offered), sum(offered))
    assert report.coverage.offered.nbytes == sum(offered)
    whole = dict(share_sources(report))
    assert add_tallies(whole.values()) == report.coverage.offered
    assert all(share.tensors >= 0 and share.nbytes >= 0 for share in whole.values())
    misfits = {one.key for one in plan.findings if one.kind is FindingKind.MISMATCHED}
    outputs = [output for key, output in plan.outputs.items() if key not in misfits]
    reach = {source.at for output in outputs for source in output.sources}
    taken = [fate for fate in plan.fates if fate.stage == 0 and fate.fate in USED]
    used = [fate for fate in taken if (fate.source, fate.key) in reach]
    shares = [one.spec.nbytes * (1 - one.claim.untaken - one.claim.dropped) for one in used]
    in_op = any("what the rule does" in note.text for note in plan.notes)
    if misfits or in_op or any(fate.stage for fate in plan.fates):  # a part may be lost later
        assert 0 <= report.coverage.used.nbytes <= sum(shares) + 1
    else:
        assert report.coverage.used.nbytes == pytest.approx(sum(shares))
    assert report.coverage.produced <= report.coverage.wanted
    for fate in plan.fates:
        assert 0 <= fate.claim.untaken + fate.claim.dropped <= 1 + 1e-9, fate


def tally(counts: Mapping[Any, Any]) -> tuple[int, int]:
    found = counts.values()
    return sum(one.tensors for one in found), sum(one.nbytes for one in found)


def a_page_accounts_for_every_key(request: Request, execution: Execution, folder: Path) -> None:
    """Each output and each key that goes nowhere is on a line, which leads to its rule."""
    report = make_report(execution.plan)
    page, statuses = Page(render_report(report)), {status.value for status in Status}
    given: dict[str, str] = {}
    others: dict[str, str] = {}
    for row in page.rows:
        told = given if row.attributes["data-fate"] in statuses else others
        told |= dict.fromkeys(keys_of(row), row.attributes["data-rule"])
    nowhere = {full_key(one.source, one.key) for one in report.fates if goes_nowhere(one)}
    assert given.keys() | others.keys() >= report.rows.outputs.keys()
    assert others.keys() >= nowhere
    assert all(given[row.key] for row in report.rows if row.rule and row.key in given)
    lines = {one.attributes.get("id") for one in page.all("li", "has-rule")}
    assert {f"r{number}" for number in (*given.values(), *others.values()) if number} <= lines


def goes_nowhere(fate: SourceFate) -> bool:
    return fate.fate not in USED or fate.claim.dropped > 0


def every_op_has_the_rule_that_asked_for_it(
    request: Request, execution: Execution, folder: Path
) -> None:
    """All but the casts of `output: {dtype: …}`."""
    for output in execution.plan.outputs.values():
        for work in walk(output.node):
            if isinstance(work, Call):
                assert work.rule is not None or isinstance(work.op, Cast), work


def what_is_copied_was_never_touched(request: Request, execution: Execution, folder: Path) -> None:
    for output in execution.plan.outputs.values():
        if output.status is Status.COPIED:
            (source,) = output.sources
            fate = execution.plan.fates.find(0, *source.at)
            assert fate is not None, output
            assert fate.fate is Fate.COPIED, output


def ties_lead_to_the_first_of_their_keys(
    request: Request, execution: Execution, folder: Path
) -> None:
    plan = execution.plan
    order = {key: at for at, key in enumerate(plan.outputs)}
    for key, leader in plan.ties.items():
        assert leader not in plan.ties
        assert order[leader] < order[key]
        assert plan.outputs[leader].spec == plan.outputs[key].spec


def nothing_comes_of_nothing(request: Request, execution: Execution, folder: Path) -> None:
    for output in execution.plan.outputs.values():
        assert bool(output.sources) == (output.status in FROM_SOURCE), output
        node = output.node
        kept = isinstance(node, Leaf) and node.source == DESTINATION
        assert kept == (output.status is Status.KEPT), output
        if kept:
            by = output.rule.kind if output.rule else output.allowed
            assert by in ("keep", "missing", "mismatched"), output


# --- explanations ---------------------------------------------------------------------------------


def explain_names_the_rule_of_the_fate(
    request: Request, execution: Execution, folder: Path
) -> None:
    for fate in execution.plan.fates:
        explanation = explain(request.rulesets, request.inputs, fate.key)
        places = [(one.stage, one.source) for one in explanation.sightings]
        sighting = explanation.sightings[places.index((fate.stage, fate.source))]
        assert sighting.fate == fate
        check_sighting(sighting, fate)


def check_sighting(sighting: Sighting, fate: SourceFate) -> None:
    claim, verdicts = fate.claim, sighting.verdicts
    takers = [verdict.rule for verdict in verdicts if verdict.text in TAKES]
    named: list[RuleInfo] = [rule for rule in (claim.rule, claim.dropper) if rule is not None]
    assert all(rule in takers for rule in named), (named, verdicts)
    assert bool(takers) == (claim.rule is not None), (fate, verdicts)
    if claim.rule is None:
        assert fate.fate in (Fate.COPIED, Fate.UNUSED) or fate.reason
        assert not sighting.steps
    for step in sighting.steps:
        assert step.rule in takers, (step, verdicts)


def explain_tells_the_output(request: Request, execution: Execution, folder: Path) -> None:
    for key, output in execution.plan.outputs.items():
        found = explain(request.rulesets, request.inputs, key).output
        assert found is not None
        assert told({key: found}) == told({key: output})


# --- the way on, and the way back -----------------------------------------------------------------


def its_own_output_fits(request: Request, execution: Execution, folder: Path) -> None:
    """Planned into what it gives, a plan gives the same: what was unexpected is wanted then.

    Open findings are left out, for then nothing is given; allowed ones come again.
    """
    plan = execution.plan
    if plan.open_findings:
        return
    specs = {
        output.key if plan.is_named else output.name: output.spec
        for output in plan.outputs.values()
    }
    has_values = needs_values(plan)
    into = in_memory(specs, has_values=has_values)
    if plan.is_named and specs:
        parts = {file.alias: dict[str, TensorSpec]() for file in plan.files}
        for address, spec in specs.items():
            alias, key = split_address(address)
            parts[alias][key] = spec
        into = Several.of(
            {alias: in_memory(own, has_values=has_values) for alias, own in parts.items() if own}
        )
    again = make_plan(request.rulesets, replace(request.inputs, destination=into))
    both = [told(one.outputs, "wanted", "allowed") for one in (again, plan)]
    if plan.is_named:  # destinations stand one after the other
        both = [sorted(one, key=lambda output: str(output["key"])) for one in both]
    assert both[0] == both[1]
    assert [one for one in plan.findings if one.kind is not FindingKind.UNEXPECTED] == [
        *again.findings
    ]
    assert not [note for note in again.notes if note.kind == "dtype"]
    assert (again.steps, again.fates) == (plan.steps, plan.fates)


def in_memory(specs: dict[str, TensorSpec], *, has_values: bool) -> Checkpoint:
    arrays = {name: zeros(spec) for name, spec in specs.items()}
    return MemoryCheckpoint(contents=Contents(specs), tensors=arrays, has_values=has_values)


def needs_values(plan: Plan) -> bool:
    """Whether any tensor is the destination's own, or filled up by it."""
    works = (work for output in plan.outputs.values() for work in walk(output.node))
    return any(isinstance(work, Leaf) and work.source == DESTINATION for work in works)


def zeros(spec: TensorSpec) -> Any:
    return np.zeros(spec.shape, spec.carrier)


def what_is_moved_is_what_is_evaluated(
    request: Request, execution: Execution, folder: Path
) -> None:
    tensors = evaluated(execution)
    reader = NodeReader(execution.checkpoints)
    for key, tensor in tensors.items() if isinstance(tensors, dict) else ():
        assert reader.digest(execution.plan.outputs.nodes[key]) == hashlib.blake2b(tensor).digest()


def an_inverse_gives_the_source_or_is_refused(
    request: Request, execution: Execution, folder: Path
) -> None:
    plan = execution.plan
    if isinstance(evaluated(execution), str):
        return
    evaluator, outputs = Evaluator.of(plan, execution.checkpoints), plan.outputs.values()
    by_file: dict[str, list[Output]] = {file.alias: [] for file in plan.files}
    for output in outputs:
        by_file[alias_of(output.key) if plan.is_named else ""].append(output)
    files: dict[str, Checkpoint] = {
        alias: MemoryCheckpoint(
            contents=Contents({output.name: output.spec for output in own}),
            tensors={output.name: evaluator.output(output) for output in own},
        )
        for alias, own in by_file.items()
    }
    for view in plan.sources:
        try:
            inverse = invert_plan(plan, "it", only=view.alias)
        except CkptSurgeonError:
            continue
        source = execution.checkpoints[view.alias]
        assert evaluated(Execution(inverse, files)) == {
            name: source.read(name).tobytes() for name in view.names.values()
        }


LAWS: tuple[Law, ...] = (
    a_saved_plan_is_the_plan,
    a_key_has_one_fate_in_a_stage,
    what_steps_read_is_taken,
    what_rules_give_is_given_by_their_steps,
    the_report_adds_up,
    a_page_accounts_for_every_key,
    every_op_has_the_rule_that_asked_for_it,
    what_is_copied_was_never_touched,
    ties_lead_to_the_first_of_their_keys,
    nothing_comes_of_nothing,
    explain_names_the_rule_of_the_fate,
    explain_tells_the_output,
    its_own_output_fits,
    what_is_moved_is_what_is_evaluated,
    an_inverse_gives_the_source_or_is_refused,
)

PLANNED = [case for case in CASES if case.fails is None]


@pytest.mark.parametrize("case", PLANNED, ids=[case.name for case in PLANNED])
def test_every_law_holds(case: Case, tmp_path: Path) -> None:
    request = Run(case, tmp_path).request()
    execution = request.prepare()
    for law in LAWS:
        law(request, execution, tmp_path)
