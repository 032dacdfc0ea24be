"""Rules from one example: found by values, generalised, and proved by running them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.cutting import list_some
from ckptsurgeon.drafting.checking import Ground
from ckptsurgeon.drafting.files import comment, with_footer
from ckptsurgeon.drafting.steps import Degree
from ckptsurgeon.engine.mover import Progress
from ckptsurgeon.errors import CkptSurgeonError, PlanError
from ckptsurgeon.keys import fold_keys
from ckptsurgeon.learning.example import Example
from ckptsurgeon.learning.learned import Learned
from ckptsurgeon.learning.lesson import Lesson, study
from ckptsurgeon.learning.options import choose_output_options, choose_source_options
from ckptsurgeon.learning.proving import Proof, prove
from ckptsurgeon.learning.remainders import footer_of
from ckptsurgeon.learning.sampling import sample_checkpoints
from ckptsurgeon.learning.strangers import refuse_strangers
from ckptsurgeon.plans.fates import Fate
from ckptsurgeon.plans.graph import full_key
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.specs import UnreadableSpec, plural

MOST_MISSES = 3
"""Folded names of tensors that are told."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Sources by alias, open, and what was made of them."""

    sources: Mapping[str, Checkpoint]
    converted: Checkpoint


def learn_rules(
    pairs: Sequence[Pair],
    config: Mapping[str, Any] | None = None,
    memory: int | None = None,
    *,
    whole: bool = True,
    tell: Progress | None = None,
) -> Learned:
    """What was learned from pairs, the first being the one that is told of.

    Without `whole`, from samples of the first.
    """
    every = [_open(pair, config if not at else None, tell) for at, pair in enumerate(pairs)]
    with ExitStack() as open_files:
        for one in every:
            open_files.enter_context(one.reader)
        return _learn(every, pairs[0], memory, whole=whole)


def _learn(every: Sequence[Example], pair: Pair, memory: int | None, *, whole: bool) -> Learned:
    first, *further = every
    if not whole:
        few = Pair(*sample_checkpoints(pair.sources, pair.converted))
        some = _open(few, first.ground.config, first.tell)
        with some.reader:
            lesson = study([some, *further])
        found = _prove_samples(lesson, first.given(lesson.asked), memory)
        if found is not None:
            misses = _misses(lesson, further, memory)
            return _tell(lesson, first.given(lesson.asked), found, Degree.SAMPLED, misses)
    lesson = study([first, *further])
    first = first.given(lesson.asked)
    proof = prove(lesson.text, first, lesson.near, memory, whole=whole)
    refuse_strangers(first, proof.equal)
    best = Degree.PROVED if whole else Degree.SAMPLED
    return _tell(lesson, first, proof, best, _misses(lesson, further, memory))


def _prove_samples(lesson: Lesson, first: Example, memory: int | None) -> Proof | None:
    """The proof of what samples told, on samples of all; None where it isn't true of all."""
    try:
        proof = prove(lesson.text, first, lesson.near, memory, whole=False)
    except PlanError:
        return None
    is_false = proof.different or proof.unexpected or _forgets(proof, first, lesson)
    return None if is_false else proof


def _misses(
    lesson: Lesson, examples: Sequence[Example], memory: int | None
) -> list[tuple[str, ...]]:
    """For each further example the tensors that the rules don't make there; none where all are."""
    return [
        tuple(_missed(lesson, example.given(values), memory))
        for example, values in zip(examples, lesson.values[1:], strict=True)
    ]


def _missed(lesson: Lesson, example: Example, memory: int | None) -> Iterator[str]:
    try:
        proof = prove(lesson.text, example, lesson.near, memory)
    except CkptSurgeonError:
        yield from example.wanted
        return
    yield from proof.unexpected
    yield from (key for key in example.wanted if key not in proof.equal)


def _tell_misses(number: int, keys: Sequence[str]) -> str:
    """What is said above the rules of a further example that they don't hold on."""
    names = list_some([str(box) for box in fold_keys(keys)], MOST_MISSES)
    return (
        f"Example {number} has {plural(len(keys), 'tensor')} that these rules don't make: {names}"
    )


def _forgets(proof: Proof, example: Example, lesson: Lesson) -> bool:
    """Whether there are targets that no rule gives, and that nothing was said of."""
    told = len(proof.equal) + len(lesson.unexplained)
    return told < len(example.wanted)


def _tell(
    lesson: Lesson,
    example: Example,
    proof: Proof,
    best: Degree,
    misses: Sequence[tuple[str, ...]],
) -> Learned:
    """What was learned, for people; `best` is the degree of what was compared."""
    told = [_tell_misses(number, keys) for number, keys in enumerate(misses, 1) if keys]
    above = "".join(f"{comment(one)}\n" for one in told)
    plan = example.ground.plan(lesson.text)
    specs = example.converted.contents.specs
    degrees = _degrees(lesson, plan)
    return Learned(
        file=above + with_footer(lesson.text, footer_of(proof.different, example)),
        source=", ".join(str(one.path) for one in example.ground.sources.values()),
        converted=str(example.converted.path),
        degrees={
            example.names[key]: max(best, degrees.get(key, best))
            for key in example.wanted
            if key in proof.equal
        },
        unexplained=tuple(
            example.names[key] for key in dict.fromkeys((*lesson.unexplained, *proof.different))
        ),
        dropped=tuple(
            full_key(fate.source, fate.key)
            for fate in plan.fates
            if fate.fate is Fate.DROPPED and fate.stage == 0
        ),
        unreadable={k: one for k, one in specs.items() if isinstance(one, UnreadableSpec)},
        rule_count=lesson.rule_count,
        misses=tuple(misses),
        once=lesson.once,
        asked=tuple(lesson.asked),
    )


def _degrees(lesson: Lesson, plan: Plan) -> dict[str, Degree]:
    """How sure each target is; what no sample told of is as sure as its rule is elsewhere."""
    found = {target: step.degree for step in lesson.steps for target in step.gives}
    rules: dict[tuple[int, int], Degree] = {}
    for target, degree in found.items():
        if target in plan.outputs and (rule := plan.outputs[target].rule) is not None:
            of_rule = rule.stage, rule.number
            rules[of_rule] = max(degree, rules.get(of_rule, degree))
    for target, output in plan.outputs.items():
        if target not in found and output.rule is not None:
            of_rule = output.rule.stage, output.rule.number
            if of_rule in rules:
                found[target] = rules[of_rule]
    return found


def _open(pair: Pair, config: Mapping[str, Any] | None, tell: Progress | None) -> Example:
    """The example of a pair, its files seen so that rules are short."""
    names = pair.converted.contents.specs
    output = choose_output_options(names)
    keys = [name.replace(output.separator, ".") for name in names]
    ground = Ground(pair.sources, choose_source_options(pair.sources, keys), config)
    return Example(ground, pair.converted, output, tell)
