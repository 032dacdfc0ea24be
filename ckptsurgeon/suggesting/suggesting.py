"""Two headers in, a rule file out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from msgspec import structs

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.drafting.checking import Ground
from ckptsurgeon.drafting.steps import taken_by
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.specs import TensorSpec, UnreadableSpec
from ckptsurgeon.suggesting.finding import Findings, find_steps, sort_steps
from ckptsurgeon.suggesting.gathering import Gathered, gather
from ckptsurgeon.suggesting.known import NOTHING, Known
from ckptsurgeon.suggesting.shipped import name_shipped
from ckptsurgeon.suggesting.sources import choose_options
from ckptsurgeon.suggesting.suggestion import Suggestion
from ckptsurgeon.suggesting.ties import find_doubles, find_followers, follow, tied_sources
from ckptsurgeon.suggesting.units import Specs
from ckptsurgeon.suggesting.writing import write_rules


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
    found = sort_steps(expanded, asked)
    made = write_rules(found, ground, source, wanted, least, comments, known, copies=copies)
    lost = destination.contents.specs.keys() - wanted.keys() - source.keys()
    told = dict.fromkeys(sorted(lost), "it can't be read here, and nothing gives it")
    return replace(made, open={**made.open, **told}) if lost else made


def _find_once(gathered: Gathered, target: Specs, ground: Ground, known: Known) -> Findings:
    """What gives the target's keys, where it is no question which of tied keys is meant."""
    found = find_steps(gathered.specs, target, gathered.guessed, known)
    taken = taken_by(found.steps)
    doubles = find_doubles(gathered.keys, tied_sources(ground.views), taken)
    if not doubles or not found.asked:
        return found
    specs = {key: spec for key, spec in gathered.specs.items() if key not in doubles}
    found = find_steps(specs, target, gathered.guessed, known)
    others = {key: double for double, key in doubles.items()}
    steps = []
    for step in found.steps:
        same = next((others[key] for key in step.takes if key in others), "")
        steps.append(step.doubted(f"{same} is the same tensor") if same else step)
    return replace(found, steps=steps)


SOUP = "all sources have it: one of them, or their average?"


UNREADABLE = "the source's can't be read"


def _unreadable(ground: Ground) -> set[str]:
    """The keys of sources whose values can't be read."""
    views = ground.views.values()
    return {key for view in views for key in view.specs if view.readable(key) is None}


def _readable(specs: Mapping[str, TensorSpec]) -> Specs:
    return {key: spec for key, spec in specs.items() if not isinstance(spec, UnreadableSpec)}
