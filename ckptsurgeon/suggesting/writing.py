"""A rule file of the steps that were found, with comments on what is left."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from ckptsurgeon.drafting.arrows import arrows_of
from ckptsurgeon.drafting.checking import Ground
from ckptsurgeon.drafting.covering import cover
from ckptsurgeon.drafting.drafting import draft_most
from ckptsurgeon.drafting.files import Head, with_footer
from ckptsurgeon.drafting.joining import join_leaves, join_words
from ckptsurgeon.drafting.leaving import few_of
from ckptsurgeon.drafting.lines import line_of
from ckptsurgeon.drafting.steps import Degree, Step, given_by, taken_by
from ckptsurgeon.specs import plural
from ckptsurgeon.suggesting.finding import Findings
from ckptsurgeon.suggesting.known import Known
from ckptsurgeon.suggesting.leftovers import Leftovers, leave_both, settle_leftovers
from ckptsurgeon.suggesting.sources import write_section
from ckptsurgeon.suggesting.suggestion import Suggestion
from ckptsurgeon.suggesting.ties import tied_sources
from ckptsurgeon.suggesting.units import Specs
from ckptsurgeon.wording import choose


def write_rules(
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
    """The rule file of what was found, down to the degree `least`, with what it leaves."""
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
    elif found.open:
        left = replace(left, footer=[*left.footer, _tell_open(found.open)])
    text, lost = _draft(steps, ground, source, target, comments, left, copies=copies)
    unheld = set(lost)
    held = [step for step in steps if step not in unheld]
    gone, spare = _tell_lost(lost, ground, taken_by(held))
    if lost:
        text = with_footer(text, leave_both(gone, spare, known.beside(source, target)))
    degrees = {key: step.degree for step in held for key in step.gives}
    return Suggestion(text, degrees, {**left.open, **gone}, {**left.unused, **spare})


def _tell_lost(
    lost: Sequence[Step], ground: Ground, used: Collection[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """What is said of the keys of steps that the file doesn't hold: why, or what would give them.

    Of source keys those that no other step uses are told.
    """
    gone: dict[str, str] = {}
    spare: dict[str, str] = {}
    for step in lost:
        why = ground.why_unsaid(step)
        of, to = next(iter(step.takes), "its own value"), next(iter(step.gives), "")
        gone |= dict.fromkeys(step.gives, why or f"{of} is for it{UNHELD}")
        told = why or f"it is for {to}{UNHELD}" if to else "nothing takes it"
        own = [key for key in step.takes if key not in used]
        spare |= {key: "nothing takes it" if key in why else told for key in own}
    return gone, spare


UNHELD = ", by a rule that doesn't go with the others"


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


def _tell_open(steps: Sequence[Step]) -> str:
    """Where the rules are that may be meant."""
    count = plural(len(given_by(steps)), "tensor")
    way = choose("--least all", 'least="all"')
    return f"{way} has rules that may be meant for {count}"


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
