"""What gives the tensors of one header by those of another: all steps, with their degrees."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ckptsurgeon.drafting.steps import Degree, Step, given_by, move, taken_by
from ckptsurgeon.suggesting.branches import equal_keys, find_branches, steps_of_branch
from ckptsurgeon.suggesting.doubts import doubt_steps
from ckptsurgeon.suggesting.expanding import steps_of_match
from ckptsurgeon.suggesting.folding import is_foldable
from ckptsurgeon.suggesting.folds import fold_layers
from ckptsurgeon.suggesting.known import NOTHING, Known
from ckptsurgeon.suggesting.matching import match_units
from ckptsurgeon.suggesting.merges import ask_parametrized, doubt_parts, fuse_weight_norms
from ckptsurgeon.suggesting.quantized import scale_steps
from ckptsurgeon.suggesting.resizing import find_resized, pair_alone
from ckptsurgeon.suggesting.stacking import restack, unstack_both
from ckptsurgeon.suggesting.towers import doubt_towers
from ckptsurgeon.suggesting.units import Specs


def _foldable(specs: Specs) -> Specs:
    return {key: spec for key, spec in specs.items() if is_foldable(key)}


@dataclass(frozen=True, slots=True)
class Findings:
    """The steps that were found, and target keys that a user is asked about, with the question.

    `open` are steps that hold only by a user's word.
    """

    steps: Sequence[Step]
    asked: Mapping[str, str]
    open: Sequence[Step] = ()


def sort_steps(steps: Iterable[Step], asked: Mapping[str, str]) -> Findings:
    """The steps, those that are open apart, and what is asked about them."""
    known = list(steps)
    open = [step for step in known if step.degree is Degree.OPEN]
    remarks = {key: step.remark for step in open for key in step.gives}
    sound = [step for step in open if not step.lacks_scale]
    return Findings(
        [step for step in known if step.degree < Degree.OPEN], {**asked, **remarks}, sound
    )


def find_steps(
    source: Specs, target: Specs, guessed: Collection[str] = (), known: Known = NOTHING
) -> Findings:
    """What gives the target's keys: equal names, prefixes, then modules one by one.

    `guessed` are source keys whose shape is one of several that they may have; `known` is what
    gives other keys.
    """
    odd = {key for key in target if not is_foldable(key)}
    copied = {key: key for key in odd if key in source and source[key].shape == target[key].shape}
    offered, wanted = source, target
    source, target = _foldable(source), _foldable(target)
    same, shifted = equal_keys(source, target)
    same |= copied
    steps = [move(one, key, Degree.SURE) for key, one in same.items()]
    asked = ask_parametrized(source, target)
    left = {key: spec for key, spec in target.items() if key not in same}
    for branch, degree, remark in find_branches(source, left, same.values()):
        if degree is Degree.OPEN:
            asked |= dict.fromkeys(branch.keys, remark)
        else:
            steps += steps_of_branch(branch, degree, remark)
    used = taken_by(steps)
    given = given_by(steps)
    rest = {key: spec for key, spec in source.items() if key not in used}
    left = {key: spec for key, spec in left.items() if key not in given and key not in asked}
    found, lost = _match(rest, left)
    asked |= lost
    for step in found:
        plain = shifted.isdisjoint((*step.sources.keys, *step.targets.keys))
        steps.append(step if plain else step.doubted("the numbers differ: by their order"))
    resized, told = _resize(steps, source, target)
    steps += [step for step in resized if asked.keys().isdisjoint(step.gives)]
    asked = {**told, **asked}
    every = known.beside(source, target)
    steps = list(doubt_towers(steps, every.source, every.target))
    steps = fold_layers(steps, source, target)
    steps += fuse_weight_norms(steps, source, target)
    if not steps:
        return Findings((), asked)
    steps = doubt_steps(steps, source, target, guessed, known)
    steps = list(scale_steps(steps, offered, wanted, known.beside(offered, wanted)))
    return sort_steps(doubt_parts(steps, offered), asked)


def _resize(
    steps: Sequence[Step], source: Specs, target: Specs
) -> tuple[list[Step], dict[str, str]]:
    """Steps for tensors of another size, and what is asked of those that a user must judge."""
    used = taken_by(steps)
    given = given_by(steps)
    left = {key: spec for key, spec in target.items() if key not in given}
    spare = {key: spec for key, spec in source.items() if key not in used}
    named = {key: key for key in left if key in spare}
    equal = {key for key in named if left[key].shape == spare[key].shape}
    pairs = {key: key for key in named if key not in equal}
    pairs |= pair_alone(
        {key: spec for key, spec in spare.items() if key not in named},
        {key: spec for key, spec in left.items() if key not in named},
    )
    found = list(find_resized(pairs, source, target))
    asked = {key: one.asked for key, one in found if one.step is None}
    made = [one.step for _, one in found if one.step is not None]
    return made, asked | dict.fromkeys(equal, RENUMBERED)


RENUMBERED = "the source has one of this name, but its lists have other numbers"
"""What is said of keys of one name and shape that were not matched."""


def _match(source: Specs, target: Specs) -> tuple[list[Step], dict[str, str]]:
    """The steps of modules that were matched, and keys of which only some items were."""
    ours, theirs = unstack_both(source, target)
    matches, asked = match_units(ours.specs, theirs.specs)
    steps = [step for match in matches for step in steps_of_match(match)]
    whole, lost = restack(steps, ours, theirs)
    return whole, {**asked, **lost}
