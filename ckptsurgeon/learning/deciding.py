"""What every converted tensor is made of, by its values and by what they leave room for.

Values decide first. What they leave open (constants, fresh weights, tied or repeated tensors) is
decided by what is known: by place, by BatchNorms that were folded, by structure as `suggest` sees
it, by names, and by ops that compute. Nothing is taken that the values contradict.
"""

from __future__ import annotations

from dataclasses import replace

from ckptsurgeon.drafting.steps import Degree, Step
from ckptsurgeon.keys import without_integers
from ckptsurgeon.learning.by_names import decide_by_names
from ckptsurgeon.learning.by_place import decide_by_place
from ckptsurgeon.learning.by_values import decide_by_values
from ckptsurgeon.learning.computing import hypotheses
from ckptsurgeon.learning.decisions import Decisions
from ckptsurgeon.learning.doubts import doubt_copies
from ckptsurgeon.learning.example import Example
from ckptsurgeon.learning.structure import Beside

MOST_OF_A_FORM = 2
"""Targets that differ in integers alone of which ops are tried in vain."""


def decide(example: Example) -> Decisions:
    """What the converted tensors of an example are made of."""
    decisions = decide_by_values(example)
    while decisions.ambiguous or decisions.open:
        if not any(decide_more(decisions) for decide_more in WAYS):
            break
    steps = list(map(_trust_own_name, decisions.folds.agree(decisions.steps)))
    decisions.steps = doubt_copies(steps, example)
    return decisions


def _trust_own_name(step: Step) -> Step:
    """The step, sure where a tensor has its values under its own name, whatever else has them."""
    if step.is_move and step.takes == step.gives and step.degree is Degree.LIKELY:
        return replace(step, degree=Degree.SURE, remark="")
    return step


def _by_folds(decisions: Decisions) -> bool:
    """Whether BatchNorms that were folded explain any weights, with the biases beside them."""
    likeness = decisions.likeness()
    found = False
    for target in list(decisions.open):
        step = decisions.folds.find(target, likeness) if target in decisions.open else None
        if step is not None:
            decisions.folds.take(step)
            decisions.settle(step)
            found = True
    return found


def _by_structure(decisions: Decisions) -> bool:
    """Whether names, shapes and structure decided anything: first what they are sure of."""
    return _take_suggested(decisions, Degree.SURE) or _take_suggested(decisions, Degree.LIKELY)


def _take_suggested(decisions: Decisions, degree: Degree) -> bool:
    """Whether a suggestion of a degree was taken; one after the other makes others known."""
    beside = Beside(decisions.steps)
    taken = False
    for target in [*decisions.ambiguous, *decisions.open]:
        step = decisions.suggested.get(target)
        if not decisions.waits(target):
            continue
        if step is not None and step.degree is degree and beside.agrees(step):
            taken = decisions.take(beside.settle(step), target) or taken
    return taken


def _by_computing(decisions: Decisions) -> bool:
    """Whether an op that computes explains one more; of targets of one form a few are tried."""
    likeness = decisions.likeness()
    for target in list(decisions.open):
        form = without_integers(target)
        if decisions.tried[form] >= MOST_OF_A_FORM:
            continue
        decisions.tried[form] += 1
        for step in hypotheses(decisions.example, target, likeness):
            if decisions.example.is_near(step):
                decisions.tried[form] = 0
                decisions.settle(step)
                return True
    return False


WAYS = (decide_by_place, _by_folds, _by_structure, decide_by_names, _by_computing)
"""What decides that values leave open: the next one where those before say nothing more."""
