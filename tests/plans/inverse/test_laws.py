"""The law of plans that turn around: an exact plan's output gives its source, to the byte."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans.inverse.exact_rules import EACH, Array, Conversion, conversions, second_stages

import ckptsurgeon as cs
from ckptsurgeon.checkpoints.memory import checkpoint_of
from ckptsurgeon.checkpoints.tensors import to_numpy
from ckptsurgeon.engine.evaluation import Evaluator
from ckptsurgeon.errors import PlanError
from ckptsurgeon.plans.account import Operand
from ckptsurgeon.plans.digests import digest
from ckptsurgeon.plans.inverse.inverting import invert_plan
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.request import open_request


def planned(tensors: Mapping[str, Array], stages: Sequence[Any]) -> Plan:
    rulesets = [cs.load_ruleset({"format": 1, "rules": rules}) for rules in stages]
    return open_request(rulesets, tensors).prepare().plan


def carried_out(plan: Plan, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """What the plan makes of some tensors, whose specs must be those that it was made for."""
    checkpoint = checkpoint_of(tensors)
    assert digest(checkpoint.contents.specs) == plan.sources[0].digest
    evaluator = Evaluator.of(plan, {"": checkpoint})
    return {
        key: to_numpy(np.asarray(evaluator.output(one), order="C"), one.spec)
        for key, one in plan.outputs.items()
    }


def assert_equal(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> None:
    assert list(found) == list(wanted)
    for key, array in wanted.items():
        assert (found[key].dtype, found[key].shape) == (array.dtype, array.shape)
        assert found[key].tobytes() == array.tobytes()


@settings(max_examples=60)
@given(conversions())
def test_the_inverse_gives_the_bytes_back(conversion: tuple[dict[str, Array], list[Any]]) -> None:
    tensors, rules = conversion
    plan = planned(tensors, [rules])
    output = carried_out(plan, tensors)
    assert_equal(carried_out(invert_plan(plan, "it"), output), tensors)


@pytest.mark.parametrize("op", EACH)
@settings(max_examples=20)
@given(data=st.data())
def test_each_op_is_undone_alone(op: Callable[..., Any], data: st.DataObject) -> None:
    made = Conversion(data.draw)
    key = made.tensor(made.shape(data.draw(st.integers(1, 3))))
    made.move([key], ["x"], [one for one in [op(made, made.spec(key))] if one is not None])
    plan = planned(made.tensors, [made.rules])
    output = carried_out(plan, made.tensors)
    assert_equal(carried_out(invert_plan(plan, "it"), output), made.tensors)


@settings(max_examples=40)
@given(conversions(), st.data())
def test_stages_are_undone_from_the_last_to_the_first(
    conversion: tuple[dict[str, Array], list[Any]], data: st.DataObject
) -> None:
    tensors, rules = conversion
    first = {key: output.spec for key, output in planned(tensors, [rules]).outputs.items()}
    second = data.draw(second_stages(first))
    plan = planned(tensors, [rules, second] if second else [rules])
    output = carried_out(plan, tensors)
    assert_equal(carried_out(invert_plan(plan, "it"), output), tensors)


@settings(max_examples=40)
@given(conversions(both_ways=True))
def test_turned_around_twice_it_does_what_it_did(
    conversion: tuple[dict[str, Array], list[Any]],
) -> None:
    tensors, rules = conversion
    plan = planned(tensors, [rules])
    twice = invert_plan(invert_plan(plan, "it"), "its inverse")
    assert_equal(carried_out(twice, tensors), carried_out(plan, tensors))
    assert {key: output.sources for key, output in twice.outputs.items()} == {
        key: tuple(Operand("", source.key, source.index) for source in output.sources)
        for key, output in plan.outputs.items()
    }
    assert [rule.text for rule in twice.rules] == [rule.text for rule in plan.rules]


@st.composite
def overlapping_slices(draw: Any) -> tuple[tuple[int, ...], list[str]]:
    """A shape, and slices of it that may overlap."""
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))

    def item(size: int) -> str:
        start = draw(st.integers(0, size - 1))
        if draw(st.integers(0, 5)) == 0:
            return str(start)
        return f"{start}:{draw(st.integers(start + 1, size))}:{draw(st.sampled_from([1, 1, 2, 3]))}"

    count = draw(st.integers(1, 8))
    return shape, [", ".join(map(item, shape)) for _ in range(count)]


@settings(max_examples=100)
@given(overlapping_slices(), st.booleans())
def test_slices_that_cover_a_tensor_give_it_back(
    drawn: tuple[tuple[int, ...], list[str]], completed: bool
) -> None:
    shape, slices = drawn
    tensors = {"t": np.arange(np.prod(shape), dtype="f4").reshape(shape)}
    covered = np.zeros(shape, bool)
    for one in slices:
        covered[eval(f"np.s_[{one}]")] = True
    if completed and not covered.all():
        hull = zip(np.argwhere(~covered).min(0), np.argwhere(~covered).max(0), strict=True)
        slices = [*slices, ", ".join(f"{first}:{last + 1}" for first, last in hull)]
    rules = [{"from": f"t[{one}]", "to": f"out.{n}", "reuse": True} for n, one in enumerate(slices)]
    plan = planned(tensors, [rules])
    if completed or covered.all():
        assert not [note for note in plan.notes if note.kind == "untaken"]
        assert_equal(carried_out(invert_plan(plan, "it"), carried_out(plan, tensors)), tensors)
    else:
        with pytest.raises(PlanError, match="is lost: "):
            invert_plan(plan, "it")
