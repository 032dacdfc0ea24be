"""Rules from one example: found by values, generalised, and proved by running them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.drafting.checking import Ground
from ckptsurgeon.drafting.covering import cover_keys
from ckptsurgeon.drafting.drafting import count_rules, draft_most
from ckptsurgeon.drafting.steps import Call, Degree, Grid, Step
from ckptsurgeon.engine.evaluation import Evaluator
from ckptsurgeon.engine.mover import Mover, Progress
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.learning.deciding import Decisions, decide
from ckptsurgeon.learning.example import Example
from ckptsurgeon.learning.heading import head_of
from ckptsurgeon.learning.learned import Learned
from ckptsurgeon.learning.options import choose_output_options, choose_source_options
from ckptsurgeon.learning.words import Array, read_runs
from ckptsurgeon.plans.graph import Node
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.specs import UnreadableSpec, plural

LEAST_EXPLAINED = 0.1
"""The share of tensors that values must explain for two files to be the same weights."""


def learn_rules(
    sources: Mapping[str, Checkpoint],
    converted: Checkpoint,
    config: Mapping[str, Any] | None = None,
    memory: int | None = None,
    tell: Progress | None = None,
) -> Learned:
    """What was learned from checkpoints that are open."""
    example = _open(sources, converted, config, tell)
    decisions = decide(example)
    steps = _in_order([*map(_Casting(example), decisions.steps), *_drops(decisions)], example)
    heads = head_of(example, steps, config)
    found, left = draft_most(heads.steps, heads.head, example.ground)
    lost = [target for step in left for target in step.targets.keys]
    unexplained = [*decisions.open, *lost]
    text = found.text + "".join(f"  {line}\n" for line in _footer(unexplained, example))
    near = {
        key for step in decisions.steps if step.degree is Degree.NEAR for key in step.targets.keys
    }
    proof = _prove(text, example, near, memory)
    _refuse_strangers(example, decisions, proof)
    specs = converted.contents.specs
    return Learned(
        file=text,
        source=", ".join(str(one.path) for one in sources.values()),
        converted=str(converted.path),
        degrees=_degrees(decisions, proof),
        unexplained=(*unexplained, *proof.different),
        dropped=tuple(key for step in steps if not step.targets.keys for key in step.sources.keys),
        unreadable={k: one for k, one in specs.items() if isinstance(one, UnreadableSpec)},
        rule_count=count_rules(found.entries),
    )


def _refuse_strangers(example: Example, decisions: Decisions, proof: Proof) -> None:
    """Raises CheckpointError where values explain hardly anything."""
    by_values = (Degree.PROVED, Degree.SAMPLED, Degree.NEAR)
    telling = {key for key, one in example.signatures.items() if not one.constant}
    explained = {
        key
        for step in decisions.steps
        if step.degree in by_values
        for key in step.targets.keys
        if key in proof.equal and key in telling
    }
    if telling and len(explained) < LEAST_EXPLAINED * len(telling):
        shown = f"{len(explained):,} of {plural(len(telling), 'tensor')}"
        raise CheckpointError(
            f"{example.converted.path}: these are not the same weights: the source's values "
            f"explain {shown}; learn from a checkpoint and what was made of it, its values unchanged"
        )


def _open(
    sources: Mapping[str, Checkpoint],
    converted: Checkpoint,
    config: Mapping[str, Any] | None,
    tell: Progress | None,
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


def _footer(unexplained: Sequence[str], example: Example) -> list[str]:
    """What is told of tensors that nothing explains."""
    others = [key for key in example.wanted if key not in unexplained]
    return [
        f"# - keep: {pattern}  # no tensor of the source has their values"
        for pattern in cover_keys(unexplained, others)
    ]


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
