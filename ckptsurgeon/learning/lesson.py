"""What examples say together: the steps of the first, and a rule file that holds on all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.drafting.checking import Trial
from ckptsurgeon.drafting.drafting import count_rules, draft_most
from ckptsurgeon.drafting.files import comment, with_footer
from ckptsurgeon.drafting.steps import Call, Degree, Step, drop, given_by, taken_by
from ckptsurgeon.learning.deciding import decide
from ckptsurgeon.learning.decisions import Decisions
from ckptsurgeon.learning.doubts import settle_doubts
from ckptsurgeon.learning.example import Example
from ckptsurgeon.learning.heading import head_of
from ckptsurgeon.learning.once import ONCE, numbers_of_patterns
from ckptsurgeon.learning.remainders import find_shared, footer_of, tell_planes
from ckptsurgeon.learning.strangers import refuse_strangers
from ckptsurgeon.ops import OPS


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


def study(examples: Sequence[Example]) -> Lesson:
    """What examples say together; what is told of single tensors is of the first."""
    decisions = [decide(example) for example in examples]
    for number, one in enumerate(decisions[1:], 1):
        refuse_strangers(one.example, given_by(one.steps), f"example {number}: ")
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
        above + with_footer(found.text, footer_of(unexplained, examples[0])),
        unexplained,
        count_rules(found.entries),
        headed.values,
        asked,
        tuple(dict.fromkeys((*headed.once, *patterns))),
    )


def _steps_of(decisions: Decisions) -> list[Step]:
    """All that happens, in order: what is made, cast where it must be, and what is dropped."""
    example = decisions.example
    made = (_cast(step, example) for step in decisions.steps)
    return _in_order([*made, *_drops(decisions)], example)


def _cast(step: Step, example: Example) -> Step:
    """The step with a cast, where its targets have another dtype than they would get."""
    if step.unit is not None:
        return step
    wanted = example.wanted[step.targets.keys[0]].dtype
    if wanted == example.tensors[step.sources.keys[0]].spec.dtype:
        return step
    return replace(step, calls=(*step.calls, Call("cast", (("dtype", wanted),))))


def _drops(decisions: Decisions) -> list[Step]:
    """A step for each source tensor that nothing is made of; what parts are found of is told."""
    used = taken_by(decisions.steps)
    parts = {
        key: tell_planes(count, target)
        for target, (key, count) in find_shared([*decisions.open], decisions.example).items()
    }
    return [
        drop(key, Degree.LIKELY, parts[key]) if key in parts else drop(key)
        for key in decisions.example.tensors
        if key not in used
    ]


def _in_order(steps: Sequence[Step], example: Example) -> list[Step]:
    """The steps by their first source key; the order of a network is that of its file."""
    places = {key: at for at, key in enumerate(example.tensors)}
    return sorted(steps, key=lambda step: places[step.takes[0]])
