"""Keys that share one storage in the destination, of which the source gives some: a `tie`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptsurgeon.language.patterns import write_literal
from ckptsurgeon.plans.outputs import Output, Status
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.report.suggestions.model import Degree, Open, Suggestion
from ckptsurgeon.report.suggestions.writing import quoted, sayable, scalar

MOST_LINES = 8

Group = tuple[str, ...]


def tied_groups(plan: Plan) -> tuple[Group, ...]:
    """The destination's tied keys, in the names that the rules see."""
    view = plan.destination
    if view is None or not view.contents.aliases:
        return ()
    keys = {name: key for key, name in view.names.items()}
    groups = (tuple(keys[n] for n in group if n in keys) for group in view.contents.aliases)
    return tuple(group for group in groups if len(group) > 1 and all(map(sayable, group)))


def settle_ties(groups: tuple[Group, ...], still: Open) -> tuple[Open, list[Group]]:
    """What is open once each missing key with a tied one that is given is tied to that."""
    found = [group for group in groups if any(key in still.missing for key in group)]
    ready = [_led(group, still) for group in found if any(k not in still.missing for k in group)]
    return still.without((key for group in ready for key in group), "", ()), ready


def _led(group: Group, still: Open) -> Group:
    """The first key of a group that is given, and those that are not."""
    given = next(key for key in group if key not in still.missing)
    return (given, *(key for key in group if key in still.missing))


def tie_suggestions(
    groups: list[Group], plan: Plan, degree: Degree = Degree.SURE
) -> Iterator[Suggestion]:
    """One for all groups: the first key of each gives the others' values as well."""
    if not groups:
        return
    first = groups[0]
    sentence = f"{quoted(first[-1])} is tied to {quoted(first[0])} in the destination"
    if len(groups) > 1:
        sentence += f", as are {len(groups) - 1:,} more"
    if len(groups) > MOST_LINES:
        sentence += f" (the first {MOST_LINES})"
    leaders = {group[0] for group in tied_groups(plan)}
    lines = [_line(group, plan, group[0] in leaders) for group in groups[:MOST_LINES]]
    yield Suggestion(f"{sentence}: one tensor gives both", "\n".join(filter(None, lines)), degree)


def _line(group: Group, plan: Plan, leads: bool) -> str:
    """A rule with all of them as targets, where a copied key gives them, or else a `tie`.

    A `tie` to any but the first key that the destination ties would turn its own tie around.
    """
    output = plan.outputs.get(group[0])
    keys = [scalar(write_literal(key), flow=True) for key in group]
    if output is not None and _copied(output):
        return f"- {{from: {keys[0]}, to: [{', '.join(keys)}]}}"
    return f"- tie: [{', '.join(keys)}]" if leads else ""


def _copied(output: Output) -> bool:
    fits = output.wanted is not None and output.wanted.shape == output.spec.shape
    return fits and output.status is Status.COPIED and output.sources[0].source == ""
