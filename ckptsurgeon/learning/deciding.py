"""What every converted tensor is made of: by its values, and where these fit several, by its place.

Values decide first. What they leave open (constants, fresh weights, tied or repeated tensors) is
decided by what is known: the same rule at another index, the same module's other tensors, and in
the end by names; each is tried on the values before it is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ckptsurgeon.drafting.arrows import arrows_of
from ckptsurgeon.drafting.instances import Instances
from ckptsurgeon.drafting.steps import Call, Degree, Grid, Step, move, taken_by
from ckptsurgeon.keys import without_integers
from ckptsurgeon.learning.computing import hypotheses
from ckptsurgeon.learning.doubts import doubt_copies, doubt_scalar, doubted, told_of
from ckptsurgeon.learning.example import Example
from ckptsurgeon.learning.folds import Folds
from ckptsurgeon.learning.found import Found
from ckptsurgeon.learning.grouping import steps_of
from ckptsurgeon.learning.likeness import EQUAL, Likeness, words_of
from ckptsurgeon.learning.structure import Beside, suggested_steps
from ckptsurgeon.suggesting.roles import TWINS
from ckptsurgeon.suggesting.ties import tied_sources

MOST_OF_A_FORM = 2
"""Targets that differ in integers alone of which ops are tried in vain."""

WIDE = 0.1
"""By how much the likest name must lead for several to be taken at once."""

MOST_TRIED = 32
"""Ways to make one tensor that are tried on its values."""


@dataclass
class Decisions:
    """The steps that were found, and the source keys that they read (`used`).

    `ambiguous` has the sources that a target's values fit, `open` the targets that nothing makes;
    `tried` counts those of a form that ops were tried on.
    """

    example: Example
    steps: list[Step] = field(default_factory=list)
    ambiguous: dict[str, list[str]] = field(default_factory=dict)
    open: dict[str, None] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    tried: Counter[str] = field(default_factory=Counter)

    @cached_property
    def suggested(self) -> Mapping[str, Step]:
        """What names and shapes suggest, by target."""
        return suggested_steps(self.example)

    @cached_property
    def tied(self) -> Mapping[str, Sequence[str]]:
        """The keys of sources that share a storage, by each of them."""
        return tied_sources(self.example.ground.views)

    @cached_property
    def folds(self) -> Folds:
        """What finds BatchNorms that were folded."""
        return Folds(self.example)


def decide(example: Example) -> Decisions:
    """What the converted tensors of an example are made of."""
    decisions = _by_values(example)
    while decisions.ambiguous or decisions.open:
        if not any(decide_more(decisions) for decide_more in WAYS):
            break
    decisions.steps = doubt_copies(decisions.folds.agree(decisions.steps), example)
    return decisions


# --- values ---------------------------------------------------------------------------------------


def _by_values(example: Example) -> Decisions:
    """What values decide alone."""
    decisions = Decisions(example)
    found: dict[str, Found] = {}
    for target, spec in example.wanted.items():
        matcher, signature = example.matchers[spec.dtype], example.signatures[target]
        equal = matcher.equals(signature, spec.shape)
        if len(equal) == 1 and not signature.constant:
            found[target] = Found((equal[0],))
        elif len(equal) > 1 and (shared := _shards(example, equal)) is not None:
            found[target] = shared
        elif equal:
            decisions.ambiguous[target] = equal
        elif (one := _first(example, target, matcher.find(signature, spec.shape))) is not None:
            found[target] = one
        else:
            decisions.open[target] = None
    steps = (doubted(step) for step in _steps(example, found))
    decisions.steps = [doubt_scalar(step, example) for step in steps]
    decisions.steps = list(_choose_doubles(decisions))
    decisions.used = taken_by(decisions.steps)
    return decisions


def _choose_doubles(decisions: Decisions) -> Iterator[Step]:
    """The steps, of tensors that others equal those with the likest names, and doubted."""
    likeness: Likeness | None = None
    for step in decisions.steps:
        dtype = decisions.example.wanted[step.gives[0]].dtype
        doubles = [decisions.example.matchers[dtype].doubles(key) for key in step.takes]
        if step.is_move or all(len(keys) == 1 for keys in doubles):
            yield step
            continue
        likeness = likeness or _likeness(decisions)
        if len(step.takes) == 1 and len(step.gives) > 1 and not step.targets.sizes:
            yield from _spread(step, doubles[0], likeness)
            continue
        chosen = tuple(_likest(likeness, keys, step.gives) for keys in doubles)
        takes = chosen if len(set(chosen)) == len(chosen) else step.takes
        same = {one for key in takes for one in (key, *decisions.tied.get(key, ()))}
        rivals = [key for keys in doubles for key in keys if key not in same]
        step = replace(step, sources=Grid(takes, step.sources.sizes))
        if rivals and step.degree < Degree.LIKELY:
            step = replace(step, degree=Degree.LIKELY, remark=told_of(rivals))
        yield step


def _spread(step: Step, doubles: Sequence[str], likeness: Likeness) -> Iterator[Step]:
    """A step for each of the targets that one tensor gives, each of the equal tensor it is like."""
    left = list(doubles)
    for target in step.gives:
        key = _likest(likeness, left or doubles, [target])
        left = [one for one in left if one != key]
        remark = told_of([one for one in doubles if one != key])
        one = replace(step, sources=Grid((key,)), targets=Grid((target,)))
        yield replace(one, degree=max(step.degree, Degree.LIKELY), remark=step.remark or remark)


def _likest(likeness: Likeness, keys: Sequence[str], targets: Sequence[str]) -> str:
    """The source whose name is likest to those of targets, and no copy's that follows another."""

    def rate(key: str) -> tuple[bool, float]:
        is_twin = not TWINS.isdisjoint(words_of(key))
        return not is_twin, sum(likeness.of(key, target) for target in targets)

    return max(keys, key=rate)


def _first(example: Example, target: str, ways: Iterator[Found]) -> Found | None:
    """The first way that makes the target's values."""
    for one, _ in zip(ways, range(MOST_TRIED), strict=False):
        (step,) = _steps(example, {target: one})
        if example.gives(step):
            return one
    return None


def _steps(example: Example, found: Mapping[str, Found]) -> list[Step]:
    shapes = {key: tensor.spec.shape for key, tensor in example.tensors.items()}
    return steps_of(found, shapes)


def _shards(example: Example, keys: Sequence[str]) -> Found | None:
    """`same`, where every source has the tensor under one key, and there are several sources."""
    tensors = [example.tensors[key] for key in keys]
    every = len({one.source for one in tensors}) == len(example.ground.sources) == len(keys)
    if not every or len({tensor.key for tensor in tensors}) > 1:
        return None
    return Found(tuple(keys), (len(keys),), joins=(Call("same", (), 0),))


# --- place ----------------------------------------------------------------------------------------


def _by_place(decisions: Decisions) -> bool:
    """Whether what is known of other places decided anything."""
    arrows = arrows_of(decisions.steps)
    if not arrows:
        return False
    instances = Instances(arrows)
    waiting = [*decisions.ambiguous, *decisions.open]
    before = len(waiting)
    leaves = _leaves(decisions)
    for target in waiting:
        if target in decisions.ambiguous or target in decisions.open:
            _try_place(decisions, instances, leaves, target)
    return len(decisions.ambiguous) + len(decisions.open) < before


def _try_place(
    decisions: Decisions, instances: Instances, leaves: Sequence[str], target: str
) -> None:
    """Decides a target by the rule of another index, or of another tensor of its module."""
    for step in instances.steps_for(target):
        if _take(decisions, step, target):
            return
    prefix, dot, leaf = target.rpartition(".")
    for other in leaves:
        if other != leaf:
            for step in instances.steps_for(f"{prefix}{dot}{other}"):
                if _take(decisions, _with_leaf(step, other, leaf), target):
                    return
                if _take_sibling(decisions, step, target):
                    return


def _leaves(decisions: Decisions) -> list[str]:
    """The last pieces of targets that are decided, each once."""
    targets = (key for step in decisions.steps for key in step.gives)
    return list(dict.fromkeys(key.rpartition(".")[2] for key in targets))


def _with_leaf(step: Step, old: str, new: str) -> Step:
    """The step with another last piece on both sides, where it ended alike."""
    return replace(
        step,
        sources=_ended(step.sources, old, new),
        targets=_ended(step.targets, old, new),
    )


def _ended(grid: Grid, old: str, new: str) -> Grid:
    keys = tuple(
        f"{key.removesuffix(old)}{new}" if key.endswith(f".{old}") else key for key in grid.keys
    )
    return Grid(keys, grid.sizes)


def _take(decisions: Decisions, step: Step, target: str) -> bool:
    """Whether a step is right for the target, and so was taken."""
    example = decisions.example
    known = all(key in example.tensors for key in step.sources.keys)
    if target not in step.targets.keys or not known:
        return False
    waits = [key in decisions.ambiguous or key in decisions.open for key in step.targets.keys]
    if not all(waits):
        return False
    if step.is_move:
        keys = decisions.ambiguous.get(target, ())
        if step.sources.keys[0] not in keys or _is_spoken_for(decisions, step, keys):
            return False
    elif not (example.is_near(step) if step.degree is Degree.NEAR else example.gives(step)):
        return False
    degree = step.degree if step.degree is Degree.NEAR else max(Degree.SURE, step.degree)
    _settle(decisions, replace(step, degree=degree))
    return True


def _is_spoken_for(decisions: Decisions, step: Step, keys: Sequence[str]) -> bool:
    """Whether a source is another target's already, while others with its values are nobody's."""
    used = decisions.used
    return step.sources.keys[0] in used and any(key not in used for key in keys)


def _take_sibling(decisions: Decisions, step: Step, target: str) -> bool:
    """Takes the only tensor that fits beside the source of the target's neighbour."""
    if not step.is_move:
        return False
    prefix = step.sources.keys[0].rpartition(".")[0]
    beside = [
        key
        for key in decisions.ambiguous.get(target, ())
        if key.rpartition(".")[0] == prefix and key not in decisions.used
    ]
    if len(beside) != 1:
        return False
    degree = max(Degree.SURE, step.degree)
    found = move(beside[0], target, degree, step.remark)
    _settle(decisions, found)
    return True


def _settle(decisions: Decisions, step: Step) -> None:
    decisions.steps.append(step)
    decisions.used.update(step.takes)
    for target in step.gives:
        decisions.ambiguous.pop(target, None)
        decisions.open.pop(target, None)


# --- folds ----------------------------------------------------------------------------------------


def _by_folds(decisions: Decisions) -> bool:
    """Whether BatchNorms that were folded explain any weights, with the biases beside them."""
    likeness = _likeness(decisions)
    found = False
    for target in list(decisions.open):
        step = decisions.folds.find(target, likeness) if target in decisions.open else None
        if step is not None:
            decisions.folds.take(step)
            _settle(decisions, step)
            found = True
    return found


# --- structure ------------------------------------------------------------------------------------


def _by_structure(decisions: Decisions) -> bool:
    """Whether names, shapes and structure decided anything: first what they are sure of."""
    return _take_suggested(decisions, Degree.SURE) or _take_suggested(decisions, Degree.LIKELY)


def _take_suggested(decisions: Decisions, degree: Degree) -> bool:
    """Whether a suggestion of a degree was taken; one after the other makes others known."""
    beside = Beside(decisions.steps)
    taken = False
    for target in [*decisions.ambiguous, *decisions.open]:
        step = decisions.suggested.get(target)
        waits = target in decisions.ambiguous or target in decisions.open
        if waits and step is not None and step.degree is degree and beside.agrees(step):
            taken = _take(decisions, beside.settle(step), target) or taken
    return taken


# --- names ----------------------------------------------------------------------------------------


def _by_names(decisions: Decisions) -> bool:
    """Whether names decided any more: those of which they are surest."""
    if not decisions.ambiguous:
        return False
    likeness = _likeness(decisions)
    used = set(decisions.used)
    beside = Beside(decisions.steps)
    best = [
        _best(likeness, beside, target, keys, used) for target, keys in decisions.ambiguous.items()
    ]
    best.sort(key=lambda one: (-one.lead, -one.score))
    for one in [one for one in best if one.lead >= WIDE] or best:
        if one.key not in used:
            _settle_best(decisions, one)
            used.add(one.key)
    if not any(one.target not in decisions.ambiguous for one in best):
        _settle_best(decisions, best[0])
    return True


def _likeness(decisions: Decisions) -> Likeness:
    """How alike names are, by what is decided."""
    moves = [step for step in decisions.steps if step.is_move]
    known = [(step.sources.keys[0], step.targets.keys[0]) for step in moves]
    return Likeness(decisions.example.tensors, decisions.example.wanted, known)


@dataclass(frozen=True, slots=True)
class _Best:
    """The source that is likest to a target, how like it is, and by how much it leads."""

    target: str
    key: str
    score: float
    lead: float


def _best(
    likeness: Likeness,
    beside: Beside,
    target: str,
    keys: Sequence[str],
    used: Collection[str],
) -> _Best:
    is_same = beside.agrees(move(target, target))
    rated = ((likeness.of(key, target, is_same=is_same) - (key in used), key) for key in keys)
    scores = sorted(rated, key=lambda one: -one[0])  # of equal ones the first in the file
    lead = scores[0][0] - scores[1][0] if len(scores) > 1 else scores[0][0]
    return _Best(target, scores[0][1], scores[0][0], lead)


def _settle_best(decisions: Decisions, best: _Best) -> None:
    """Takes what names say: sure where a tensor keeps its name, else likely."""
    same = {best.key, *decisions.tied.get(best.key, ())}
    others = [key for key in decisions.ambiguous[best.target] if key not in same]
    step = move(best.key, best.target, Degree.SURE)
    if not (others or decisions.example.signatures[best.target].constant):
        step = replace(step, degree=Degree.PROVED)
    elif others and best.score < EQUAL - 1:
        step = replace(step, degree=Degree.LIKELY, remark=told_of(others))
    elif not others and not _end_alike(best.key, best.target):
        remark = "it is one number throughout, as new tensors are"
        step = replace(step, degree=Degree.LIKELY, remark=remark)
    _settle(decisions, step)


def _end_alike(source: str, target: str) -> bool:
    return source.rpartition(".")[2] == target.rpartition(".")[2]


# --- computed -------------------------------------------------------------------------------------


def _by_computing(decisions: Decisions) -> bool:
    """Whether an op that computes explains one more; of targets of one form a few are tried."""
    likeness = _likeness(decisions)
    for target in list(decisions.open):
        form = without_integers(target)
        if decisions.tried[form] >= MOST_OF_A_FORM:
            continue
        decisions.tried[form] += 1
        for step in hypotheses(decisions.example, target, likeness):
            if decisions.example.is_near(step):
                decisions.tried[form] = 0
                _settle(decisions, step)
                return True
    return False


WAYS = (_by_place, _by_folds, _by_structure, _by_names, _by_computing)
"""What decides that values leave open: the next one where those before say nothing more."""
