"""Rules from one example: found by values, generalised, and proved by running them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.drafting.checking import Ground
from ckptsurgeon.drafting.drafting import draft_most
from ckptsurgeon.drafting.steps import Call, Degree, Grid, Step
from ckptsurgeon.engine.evaluation import Evaluator
from ckptsurgeon.engine.mover import Mover
from ckptsurgeon.learning.deciding import Decisions, decide
from ckptsurgeon.learning.example import Example, Tell
from ckptsurgeon.learning.heading import head_of
from ckptsurgeon.learning.learned import Learned
from ckptsurgeon.learning.options import choose_output_options, choose_source_options
from ckptsurgeon.learning.words import Array, read_runs
from ckptsurgeon.plans.graph import Node
from ckptsurgeon.plans.plan import Plan


def learn_rules(
    sources: Mapping[str, Checkpoint],
    converted: Checkpoint,
    config: Mapping[str, Any] | None = None,
    memory: int | None = None,
    tell: Tell = lambda _: None,
) -> Learned:
    """What was learned from checkpoints that are open."""
    example = _open(sources, converted, config, tell)
    decisions = decide(example)
    steps = _in_order([*map(_Casting(example), decisions.steps), *_drops(decisions)], example)
    heads = head_of(example, steps, config)
    found, left = draft_most(heads.steps, heads.head, example.ground)
    lost = [target for step in left for target in step.targets.keys]
    unexplained = [*decisions.open, *lost]
    text = found.text + "".join(f"  {line}\n" for line in _footer(unexplained))
    near = {
        key for step in decisions.steps if step.degree is Degree.NEAR for key in step.targets.keys
    }
    proved = _prove(text, example, near, memory)
    return Learned(text, _degrees(decisions, proved), tuple(unexplained))


def _open(
    sources: Mapping[str, Checkpoint],
    converted: Checkpoint,
    config: Mapping[str, Any] | None,
    tell: Tell,
) -> Example:
    """The example, its files seen so that rules are short."""
    own = list(converted.contents.specs)
    keys = [key for one in sources.values() for key in one.contents.specs]
    ground = Ground(sources, choose_source_options(keys, own), config)
    return Example(ground, converted, choose_output_options(own), tell)


def _drops(decisions: Decisions) -> list[Step]:
    """A step for each source tensor that nothing is made of."""
    used = {key for step in decisions.steps for key in step.sources.keys}
    return [Step(Grid((key,)), Grid(())) for key in decisions.example.tensors if key not in used]


def _in_order(steps: Sequence[Step], example: Example) -> list[Step]:
    """The steps by their first source key; the order of a network is that of its file."""
    places = {key: at for at, key in enumerate(example.tensors)}
    return sorted(steps, key=lambda step: places[step.sources.keys[0]])


def _footer(unexplained: Sequence[str]) -> list[str]:
    """What is told of tensors that nothing explains."""
    return [f"# - keep: {key}  # no tensor of the source has its values" for key in unexplained]


class _Casting:
    """Adds the cast to steps whose targets have another dtype than they would get."""

    def __init__(self, example: Example) -> None:
        self._example = example

    def __call__(self, step: Step) -> Step:
        wanted = self._example.wanted[step.targets.keys[0]].dtype
        found = self._example.tensors[step.sources.keys[0]].spec.dtype
        if wanted == found:
            return step
        calls = (*step.calls, Call("cast", (("dtype", wanted),)))
        return Step(
            step.sources, step.targets, calls, step.index, step.at, step.degree, step.remark
        )


# --- proof ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Proof:
    """The targets that the rules make to the bit, and those that they don't."""

    equal: frozenset[str]
    different: tuple[str, ...]


def _prove(text: str, example: Example, near: Collection[str], memory: int | None) -> Proof:
    """Runs the rules on the example, and compares every tensor with the converted one.

    Those of `near` are computed, and may differ by rounding.
    """
    plan = example.ground.plan(text)
    mover = Mover(plan, example.ground.sources, memory=memory, jobs=1)
    equal: list[str] = []
    different: list[str] = []
    for key, spec in example.wanted.items():
        if key in plan.outputs:
            alike = plan.outputs[key].spec == spec
            if alike and key in near:
                same = example.nears(key, *_alone(plan, example, key))
            else:
                same = alike and _is_equal(mover, example, key)
            (equal if same else different).append(key)
    return Proof(frozenset(equal), tuple(different))


def _alone(plan: Plan, example: Example, key: str) -> tuple[Node, Evaluator]:
    """An output's node, and what makes its array."""
    node = plan.outputs.nodes[key]
    return node, Evaluator(example.ground.sources, [node])


def _is_equal(mover: Mover, example: Example, key: str) -> bool:
    """Whether an output's bytes are those of the converted tensor."""
    wanted = _Reader(example.converted, example.names[key])
    return all(np.array_equal(one, wanted.next(len(one))) for one in mover.blocks(key))


class _Reader:
    """The bytes of a tensor, as many at a time as are asked for."""

    def __init__(self, checkpoint: Checkpoint, key: str) -> None:
        self._runs = read_runs(checkpoint, key)
        self._left: list[Array] = []

    def next(self, nbytes: int) -> Array:
        """The next bytes; fewer where the tensor ends."""
        held = sum(map(len, self._left))
        while held < nbytes and (run := next(self._runs, None)) is not None:
            self._left.append(run)
            held += len(run)
        whole = np.concatenate(self._left) if self._left else np.zeros(0, np.uint8)
        self._left = [whole[nbytes:]]
        return whole[:nbytes]


def _degrees(decisions: Decisions, proof: Proof) -> dict[str, Degree]:
    """The degree of each target that was explained and made right."""
    return {
        target: step.degree
        for step in decisions.steps
        for target in step.targets.keys
        if target in proof.equal
    }
