"""Keys that share one storage: of the destination, which one tensor gives, and of sources."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ckptsurgeon.drafting.steps import Grid, Step
from ckptsurgeon.plans.graph import full_key
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.suggesting.units import Specs

Group = Sequence[str]


def find_followers(groups: Iterable[Group], target: Specs, source: Specs) -> dict[str, str]:
    """The tied target keys that are given what another is, and that one.

    Those that a source has under the same name go their own way.
    """
    found: dict[str, str] = {}
    for group in groups:
        known = [key for key in group if key in target]
        named = [key for key in known if key in source]
        leader = (named or known)[:1]
        found |= {key: leader[0] for key in known if key not in named and key != leader[0]}
    return found


def follow(steps: Iterable[Step], followers: Mapping[str, str]) -> Iterator[Step]:
    """The steps; those that give a tied key give it to those that follow it, too."""
    after: dict[str, list[str]] = {}
    for key, leader in followers.items():
        after.setdefault(leader, []).append(key)
    for step in steps:
        first, *more = step.gives or ("",)
        if first in after and not more and step.unit is None:
            keys = (first, *after[first])
            yield replace(step, targets=Grid(keys, (len(keys),)))
        else:
            yield step


def find_doubles(
    keys: Mapping[str, Sequence[str]], tied: Mapping[str, Group], taken: Collection[str]
) -> dict[str, str]:
    """The names of sources that share the storage of another that nobody takes, with that one.

    `keys` are the sources' own by name, `tied` those of one storage; `taken` are names.
    """
    used = {tuple(tied.get(key, ())) for name in taken for key in keys.get(name, ())}
    first: dict[Group, str] = {}
    found: dict[str, str] = {}
    for name, own in keys.items():
        group = tuple(tied.get(own[0], ()))
        if len(own) == 1 and group and group not in used and first.setdefault(group, name) != name:
            found[name] = first[group]
    return found


def tied_sources(views: Mapping[str, SourceView]) -> dict[str, Group]:
    """For each source key the keys that share its storage, itself among them."""
    tied: dict[str, Group] = {}
    for alias, view in views.items():
        keys = {name: full_key(alias, key) for key, name in view.names.items()}
        for group in view.contents.aliases:
            named = [keys[name] for name in group if name in keys]
            tied |= dict.fromkeys(named, named)
    return tied
