"""Two headers in, a rule file out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from msgspec import structs

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.drafting.arrows import arrows_of
from ckptsurgeon.drafting.checking import Ground
from ckptsurgeon.drafting.covering import cover
from ckptsurgeon.drafting.drafting import draft_most
from ckptsurgeon.drafting.files import Head, with_footer
from ckptsurgeon.drafting.joining import join_leaves, join_words
from ckptsurgeon.drafting.leaving import few_of
from ckptsurgeon.drafting.lines import line_of
from ckptsurgeon.drafting.steps import Degree, Step, given_by, move, taken_by
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.specs import TensorSpec, UnreadableSpec
from ckptsurgeon.suggesting.branches import equal_keys, find_branches, steps_of_branch
from ckptsurgeon.suggesting.doubts import NOTHING, Known, doubt_steps
from ckptsurgeon.suggesting.expanding import steps_of_match
from ckptsurgeon.suggesting.folding import is_foldable
from ckptsurgeon.suggesting.folds import fold_layers
from ckptsurgeon.suggesting.gathering import Gathered, gather
from ckptsurgeon.suggesting.leftovers import Leftovers, leave_both, settle_leftovers
from ckptsurgeon.suggesting.matching import match_units
from ckptsurgeon.suggesting.merges import ask_parametrized, doubt_parts, fuse_weight_norms
from ckptsurgeon.suggesting.resizing import find_resized, pair_alone
from ckptsurgeon.suggesting.shipped import name_shipped
from ckptsurgeon.suggesting.sources import choose_options, write_section
from ckptsurgeon.suggesting.stacking import restack, unstack_both
from ckptsurgeon.suggesting.suggestion import Suggestion
from ckptsurgeon.suggesting.ties import find_doubles, find_followers, follow, tied_sources
from ckptsurgeon.suggesting.towers import ALONE, count_towers
from ckptsurgeon.suggesting.units import Specs


def suggest_whole(
    sources: Mapping[str, Checkpoint],
    destination: Checkpoint,
    roots: Mapping[str, str],
    *,
    one_shard: bool = False,
    least: str = "likely",
) -> Suggestion:
    """What is suggested for whole checkpoints: also what stands beside the rules, and above."""
    options = choose_options(sources, destination.contents.specs, roots)
    options = structs.replace(options, one_shard=one_shard)
    shipped = tuple(name_shipped(sources, destination))
    return suggest_rules(sources, destination, options, least, shipped)


def suggest_rules(
    sources: Mapping[str, Checkpoint],
    destination: Checkpoint,
    options: SourceOptions,
    least: str = "likely",
    comments: Sequence[str] = (),
    *,
    copies: bool = True,
    known: Known = NOTHING,
) -> Suggestion:
    """What is suggested for checkpoints that are open.

    `options` are written as they are, as are `comments`, above all. `least` is "sure", "likely" or
    "all": down to which degree rules are written. Without `copies` keys that no rule takes don't
    keep their names. `known` is what other rules give, of whole checkpoints.
    """
    wanted = _readable(destination.contents.specs)
    ground = Ground(sources, destination=destination, options=options)
    views = {alias: _readable(view.specs) for alias, view in ground.views.items()}
    gathered = gather(views, wanted)
    unread = _unreadable(ground)
    followers = find_followers(destination.contents.aliases, wanted, gathered.specs)
    leading = {
        key: spec for key, spec in wanted.items() if key not in followers and key not in unread
    }
    found = Findings((), {}) if gathered.is_soup else _find_once(gathered, leading, ground, known)
    steps = follow([*found.steps, *found.open], followers)
    expanded = [gathered.expand(step) for step in steps]
    asked = dict.fromkeys(wanted, SOUP) if gathered.is_soup else dict(found.asked)
    asked |= dict.fromkeys(unread & wanted.keys(), UNREADABLE)
    source = {key: gathered.specs[name] for name, keys in gathered.keys.items() for key in keys}
    found = _sorted(expanded, asked)
    made = _written(found, ground, source, wanted, least, comments, known, copies=copies)
    lost = destination.contents.specs.keys() - wanted.keys() - source.keys()
    told = dict.fromkeys(sorted(lost), "it can't be read here, and nothing gives it")
    return replace(made, open={**made.open, **told}) if lost else made


def _find_once(gathered: Gathered, target: Specs, ground: Ground, known: Known) -> Findings:
    """What gives the target's keys, where it is no question which of tied keys is meant."""
    found = find_steps(gathered.specs, target, gathered.doubts, known)
    taken = taken_by(found.steps)
    doubles = find_doubles(gathered.keys, tied_sources(ground.views), taken)
    if not doubles or not found.asked:
        return found
    specs = {key: spec for key, spec in gathered.specs.items() if key not in doubles}
    found = find_steps(specs, target, gathered.doubts, known)
    others = {key: double for double, key in doubles.items()}
    steps = []
    for step in found.steps:
        same = next((others[key] for key in step.takes if key in others), "")
        steps.append(_doubted(step, f"{same} is the same tensor") if same else step)
    return replace(found, steps=steps)


SOUP = "all sources have it: one of them, or their average?"


UNREADABLE = "the source's can't be read"


def _unreadable(ground: Ground) -> set[str]:
    """The keys of sources whose values can't be read."""
    views = ground.views.values()
    return {key for view in views for key in view.specs if view.readable(key) is None}


def _readable(specs: Mapping[str, TensorSpec]) -> Specs:
    return {key: spec for key, spec in specs.items() if not isinstance(spec, UnreadableSpec)}


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


def _sorted(steps: Iterable[Step], asked: Mapping[str, str]) -> Findings:
    """The steps, those that are open apart, and what is asked about them."""
    known = list(steps)
    open = [step for step in known if step.degree is Degree.OPEN]
    remarks = {key: step.remark for step in open for key in step.gives}
    return Findings(
        [step for step in known if step.degree < Degree.OPEN], {**asked, **remarks}, open
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
        steps.append(step if plain else _doubted(step, "the numbers differ: by their order"))
    steps += _resize(steps, source, target, asked)
    steps = list(_doubt_towers(steps, {**known.source, **source}, {**known.target, **target}))
    steps = fold_layers(steps, source, target)
    steps += fuse_weight_norms(steps, source, target)
    if not steps:
        return Findings((), asked)
    return _sorted(doubt_parts(doubt_steps(steps, source, target, guessed, known), source), asked)


def _resize(
    steps: Sequence[Step], source: Specs, target: Specs, asked: dict[str, str]
) -> list[Step]:
    """Steps for tensors of another size; of those that a user must judge it is asked."""
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
    made: list[Step] = []
    for key, found in find_resized(pairs, source, target):
        if found.step is not None and key not in asked:
            made.append(found.step)
        elif found.step is None:
            asked.setdefault(key, found.asked)
    for key in equal:
        asked.setdefault(key, RENUMBERED)
    return made


RENUMBERED = "the source has one of this name, but its lists have other numbers"
"""What is said of keys of one name and shape that were not matched."""


def _doubt_towers(steps: Sequence[Step], source: Specs, target: Specs) -> Iterator[Step]:
    """The steps, those likely at most whose side has more towers that hold the same."""
    ours, theirs = count_towers(source), count_towers(target)
    for step in steps:
        counts = (
            {ours.get(key, ALONE) for key in step.takes},
            {theirs.get(key, ALONE) for key in step.gives},
        )
        if counts[0] == counts[1] or step.takes == step.gives:
            yield step
        else:
            yield _doubted(step, "several hold these, and not as many on the other side")


def _match(source: Specs, target: Specs) -> tuple[list[Step], dict[str, str]]:
    """The steps of modules that were matched, and keys of which only some items were."""
    ours, theirs = unstack_both(source, target)
    matches, asked = match_units(ours.specs, theirs.specs)
    steps = [step for match in matches for step in steps_of_match(match)]
    whole, lost = restack(steps, ours, theirs)
    return whole, {**asked, **lost}


def _doubted(step: Step, remark: str) -> Step:
    """The step as likely at most."""
    if step.degree is Degree.SURE:
        return replace(step, degree=Degree.LIKELY, remark=remark)
    return step


# --- written --------------------------------------------------------------------------------------


def _written(
    found: Findings,
    ground: Ground,
    source: Specs,
    target: Specs,
    least: str,
    comments: Sequence[str],
    known: Known,
    *,
    copies: bool,
) -> Suggestion:
    places = {key: at for at, key in enumerate(source)}
    weakest = Degree.SURE if least == "sure" else Degree.LIKELY
    active = [step for step in found.steps if step.degree <= weakest]
    active.sort(key=lambda step: places.get(step.takes[0], 0))
    unsure = [step for step in found.steps if step.degree > weakest]
    asked = {**found.asked, **_remarks((step, step.gives) for step in unsure)}
    doubted = _remarks((step, step.takes) for step in unsure)
    tied = tied_sources(ground.views)
    left = settle_leftovers(active, asked, doubted, source, target, tied, known)
    steps = [*active, *left.steps]
    if least == "all":
        taken = list(dict.fromkeys(key for step in active for key in step.takes))
        left = replace(left, footer=[*_open_lines(found.open, taken), *left.footer])
    text, lost = _draft(steps, ground, source, target, comments, left, copies=copies)
    unheld = set(lost)
    held = [step for step in steps if step not in unheld]
    gone = dict.fromkeys(given_by(lost), UNHELD)
    spare = dict.fromkeys(taken_by(lost) - taken_by(held), UNHELD)
    if lost:
        every = Known(steps, {**known.source, **source}, {**known.target, **target})
        text = with_footer(text, leave_both(gone, spare, every))
    degrees = {key: step.degree for step in held for key in step.gives}
    return Suggestion(text, degrees, {**left.open, **gone}, {**left.unused, **spare})


UNHELD = "no rule file holds it"


def _draft(
    steps: Sequence[Step],
    ground: Ground,
    source: Specs,
    target: Specs,
    comments: Sequence[str],
    left: Leftovers,
    *,
    copies: bool,
) -> tuple[str, list[Step]]:
    """The rule file of the steps, and those that it doesn't hold.

    What no rule takes keeps its name (`copies`) where no key is given what it isn't by that.
    """
    said, unsaid = ground.part_sayable(steps)
    kept = [step for step in unsaid if step.is_move and step.takes == step.gives]
    copies = copies and _may_copy([*said, *kept], source, target)
    kept = kept if copies else []
    sections = [*write_section(ground.options), *([] if copies else ["unmatched: error"])]
    head = Head(tuple(comments), tuple(sections))
    draft, lost = draft_most(
        said, head, ground, copies=copies, footer=left.footer, left=left.unused, kept=kept
    )
    if lost and copies:
        return _draft(steps, ground, source, target, comments, left, copies=False)
    held = set(kept)
    return draft.text, [*lost, *(step for step in unsaid if step not in held)]


def _remarks(unsure: Iterable[tuple[Step, Sequence[str]]]) -> dict[str, str]:
    """What is said of keys of steps that are likely, where only sure ones are wanted."""
    return {key: f"likely: {step.remark}" for step, keys in unsure for key in keys}


def _open_lines(steps: Sequence[Step], taken: Collection[str]) -> Iterator[str]:
    """Rules that hold only by a user's word."""
    left = few_of(taken)
    arrows = join_leaves(arrows_of(steps, left) or ())
    for arrow in join_words(cover(arrows, copies=False, left=left)):
        yield f"- {line_of(arrow)}  # {arrow.remark}"


def _may_copy(steps: Sequence[Step], source: Specs, target: Specs) -> bool:
    """Whether what no rule takes may keep its name: no key would be given what it isn't."""
    whole = (step for step in steps if len(step.takes) == 1 and not (step.calls or step.index))
    kept = {step.takes[0] for step in whole if step.takes[0] in step.gives}
    taken = taken_by(steps)
    doubly = {key for step in steps for key in step.gives if key not in taken}
    return all(
        key in kept or key not in source or (source[key].shape != spec.shape and key not in doubly)
        for key, spec in target.items()
    )
