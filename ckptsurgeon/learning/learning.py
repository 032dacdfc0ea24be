"""Rules from one example: found by values, generalised, and proved by running them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.cutting import list_some
from ckptsurgeon.drafting.checking import Ground, Trial
from ckptsurgeon.drafting.drafting import count_rules, draft_most
from ckptsurgeon.drafting.files import comment, with_footer
from ckptsurgeon.drafting.leaving import leave_keys
from ckptsurgeon.drafting.steps import Call, Degree, Step, drop, given_by, taken_by
from ckptsurgeon.engine.mover import Progress
from ckptsurgeon.errors import CheckpointError, CkptSurgeonError, PlanError
from ckptsurgeon.keys import fold_keys, without_integers
from ckptsurgeon.learning.deciding import Decisions, decide
from ckptsurgeon.learning.doubts import settle_doubts
from ckptsurgeon.learning.example import Example
from ckptsurgeon.learning.heading import head_of
from ckptsurgeon.learning.learned import Learned
from ckptsurgeon.learning.once import ONCE, numbers_of_patterns
from ckptsurgeon.learning.options import choose_output_options, choose_source_options
from ckptsurgeon.learning.proving import Proof, prove
from ckptsurgeon.learning.sampling import sample_checkpoints
from ckptsurgeon.ops import OPS
from ckptsurgeon.plans.fates import Fate
from ckptsurgeon.plans.graph import full_key
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.specs import UnreadableSpec, plural

LEAST_EXPLAINED = 0.1
"""The share of tensors that values must explain for two files to be the same weights."""


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
        some = _open(sample_pair(pair), first.ground.config, first.tell)
        with some.reader:
            lesson = _study([some, *further])
        found = _prove_samples(lesson, first.given(lesson.asked), memory)
        if found is not None:
            misses = _misses(lesson, further, memory)
            return _tell(lesson, first.given(lesson.asked), found, Degree.SAMPLED, misses)
    lesson = _study([first, *further])
    first = first.given(lesson.asked)
    proof = prove(lesson.text, first, lesson.near, memory, whole=whole)
    _refuse_strangers(first, proof.equal)
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


def sample_pair(pair: Pair) -> Pair:
    """The pair with the tensors of a few layers alone."""
    return Pair(*sample_checkpoints(pair.sources, pair.converted))


@dataclass(frozen=True, slots=True)
class Lesson:
    """What examples say: the steps of the first, a rule file, and the targets that it lacks.

    `asked` are the vars that nobody else tells, with their values in the first; `once` is what was
    seen at one size alone. `values` are what each example has for vars that a config tells.
    """

    steps: Sequence[Step]
    text: str
    unexplained: tuple[str, ...]
    rule_count: int
    values: Sequence[Mapping[str, int]]
    asked: Mapping[str, int]
    once: tuple[str, ...]

    @property
    def near(self) -> frozenset[str]:
        """The targets that are computed."""
        return frozenset(key for step in self.steps if _computes(step) for key in step.gives)


def _computes(step: Step) -> bool:
    """Whether values are computed, and so may be rounded."""
    ops = (OPS[call.op] for call in step.calls if call.op != "cast")
    return step.unit is not None or any(op.arithmetic for op in ops)


def _study(examples: Sequence[Example]) -> Lesson:
    """What examples say together; what is told of single tensors is of the first."""
    decisions = [decide(example) for example in examples]
    for number, one in enumerate(decisions[1:], 1):
        made = given_by(one.steps)
        _refuse_strangers(one.example, made, f"example {number}: ")
    headed = head_of(examples, settle_doubts([_steps_of(one) for one in decisions]))
    trials = [
        Trial(replace(example.ground, given=values), steps)
        for example, steps, values in zip(examples, headed.lists, headed.values, strict=True)
    ]
    asked = {name: headed.values[0][name] for name in headed.asked}
    ground = replace(examples[0].ground, given=asked)
    said, unsaid = ground.part_sayable(headed.lists[0])
    copies = all(step.is_move and step.takes == step.gives for step in unsaid)
    head = headed.head
    if not copies:
        head = replace(
            head, sections=(*head.sections, "unmatched: drop  # of keys that no rule can name")
        )
    kept = unsaid if copies else []
    found, left = draft_most(said, head, ground, trials=trials[1:], copies=copies, kept=kept)
    lost = [target for step in (*left, *(() if copies else unsaid)) for target in step.gives]
    unexplained = (*decisions[0].open, *lost)
    patterns: list[str] = []
    if headed.is_of_one_size:
        arrows = [one for entry in found.entries for one in getattr(entry, "arrows", [entry])]
        patterns = numbers_of_patterns(arrows, ground.leaves)
    above = "".join(f"{comment(f'{one}: {ONCE}')}\n" for one in patterns)
    return Lesson(
        headed.lists[0],
        above + with_footer(found.text, _footer(unexplained, examples[0])),
        unexplained,
        count_rules(found.entries),
        headed.values,
        asked,
        tuple(dict.fromkeys((*headed.once, *patterns))),
    )


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


MOST_MISSES = 3
"""Folded names of tensors that are told."""


def _steps_of(decisions: Decisions) -> list[Step]:
    """All that happens, in order: what is made, cast where it must be, and what is dropped."""
    example = decisions.example
    made = map(_Casting(example), decisions.steps)
    return _in_order([*made, *_drops(decisions)], example)


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
        file=above + with_footer(lesson.text, _footer(proof.different, example)),
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


def _refuse_strangers(example: Example, made: Collection[str], which: str = "") -> None:
    """Raises CheckpointError where values explain hardly anything."""
    signed = example.signatures.items()
    telling = {key for key, one in signed if one.count > 1 and not one.constant}
    explained = telling.intersection(made)
    if telling and len(explained) < LEAST_EXPLAINED * len(telling):
        shown = f"{len(explained):,} of {plural(len(telling), 'tensor')}"
        raise CheckpointError(
            f"{which}{example.converted.path}: these are not the same weights: the source's values "
            f"explain {shown}; {_advise(example)}"
        )


def _advise(example: Example) -> str:
    """What to do where values explain hardly anything."""
    if example.is_rounded:
        return "they are BF16's, stored as F32: save what was made as BF16, or not rounded"
    return "learn from a checkpoint and what was made of it, values unchanged"


def _open(pair: Pair, config: Mapping[str, Any] | None, tell: Progress | None) -> Example:
    """The example of a pair, its files seen so that rules are short."""
    names = pair.converted.contents.specs
    output = choose_output_options(names)
    keys = [name.replace(output.separator, ".") for name in names]
    ground = Ground(pair.sources, choose_source_options(pair.sources, keys), config)
    return Example(ground, pair.converted, output, tell)


def _drops(decisions: Decisions) -> list[Step]:
    """A step for each source tensor that nothing is made of; what parts are found of is told."""
    used = taken_by(decisions.steps)
    parts = {
        key: f"{plural(count, 'plane')} of it {_is(count)} in {without_integers(target, '<i>')}"
        for target, (key, count) in _shared([*decisions.open], decisions.example).items()
    }
    return [
        drop(key, Degree.LIKELY, parts[key]) if key in parts else drop(key)
        for key in decisions.example.tensors
        if key not in used
    ]


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _shared(targets: Sequence[str], example: Example) -> dict[str, tuple[str, int]]:
    """For targets that nothing makes the source with planes in common, and how many."""
    found: dict[str, tuple[str, int]] = {}
    for target in targets[:MOST_SHARED]:
        matcher = example.matchers[example.wanted[target].dtype]
        if (one := matcher.shared(example.signatures[target])) is not None:
            found[target] = one
    return found


MOST_SHARED = 200
"""Targets that nothing makes of which it is looked for parts."""


def _in_order(steps: Sequence[Step], example: Example) -> list[Step]:
    """The steps by their first source key; the order of a network is that of its file."""
    places = {key: at for at, key in enumerate(example.tensors)}
    return sorted(steps, key=lambda step: places[step.takes[0]])


def _footer(unexplained: Sequence[str], example: Example) -> list[str]:
    """What is told of tensors that nothing explains."""
    remarks = dict.fromkeys(unexplained, "no rule was found that makes it")
    for target, (key, count) in _shared(unexplained, example).items():
        remarks[target] = (
            f"{plural(count, 'plane')} of it {_is(count)} in {without_integers(key, '<i>')}"
        )
    return leave_keys("keep", remarks, [key for key in example.wanted if key not in remarks])


class _Casting:
    """Adds the cast to steps whose targets have another dtype than they would get."""

    def __init__(self, example: Example) -> None:
        self._example = example

    def __call__(self, step: Step) -> Step:
        if step.unit is not None:
            return step
        wanted = self._example.wanted[step.targets.keys[0]].dtype
        found = self._example.tensors[step.sources.keys[0]].spec.dtype
        if wanted == found:
            return step
        calls = (*step.calls, Call("cast", (("dtype", wanted),)))
        return replace(step, calls=calls)
