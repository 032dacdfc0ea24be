"""Whether found rules do what right ones do: on values that all differ, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

import ckptsurgeon as cs
from ckptsurgeon.language.reading.documents import read_ruleset
from ckptsurgeon.language.rulesets import Rules
from known_conversions.values import Array, Arrays, Sources, fill

ALL = ("missing", "unexpected", "unused", "mismatched", "unreadable", "nothing")


FATES = ("right", "wrong", "left")
"""In the order of Verdict's fields."""


@dataclass(frozen=True)
class Verdict:
    """Keys of the destination by what found rules give them.

    `right` are bit-equal to the right answer, `left` to the template or absent, `wrong` all others.
    `refused` says why the found rules can't be run, where nothing is but left.
    """

    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    refused: str = ""

    @property
    def all_right(self) -> bool:
        return bool(self.right) and not self.wrong and not self.left

    def __str__(self) -> str:
        return f"{len(self.right)} right, {len(self.wrong)} wrong, {len(self.left)} left"


def judge(
    found: Rules,
    right: Rules,
    sources: Sources,
    own: Arrays | None = None,
    *,
    same: tuple[str, ...] = (),
    computed: tuple[str, ...] = (),
    config: Mapping[str, Any] | None = None,
    variables: Mapping[str, Any] | None = None,
    found_variables: Mapping[str, Any] | None = None,
    seed: int = 1,
) -> Verdict:
    """What the found rules give on sources of random values that all differ, against the right.

    Rules are what `ckptsurgeon.apply` takes, or the text of a rule file. `sources` say keys, shapes
    and dtypes alone. `own` says those of the destination, where the right rules keep some of its
    values or fill parts of its tensors. Keys that a glob of `same` matches have one value in all
    sources, those of `computed` count as right within rounding. `variables` are those of the right
    rules, `found_variables` of the found ones.
    """
    filled = fill(sources, seed, same)
    template = None if own is None else fill({"": own}, seed + 1)[""]
    wanted = convert(right, filled, template, config=config, variables=variables)
    template = template or fill({"": wanted}, seed + 1)[""]
    try:
        given = convert(
            found, filled, template, config=config, variables=found_variables, allow=ALL
        )
    except cs.CkptSurgeonError as error:
        return Verdict(left=tuple(wanted), refused=str(error))
    return compare(given, wanted, template, computed)


def compare(
    given: Arrays, wanted: Arrays, template: Arrays, computed: tuple[str, ...] = ()
) -> Verdict:
    """The verdict on given tensors; those that a glob of `computed` matches may be rounded."""
    fates = {
        key: _fate(given.get(key), array, template[key], _matches(key, computed))
        for key, array in wanted.items()
    }
    right, wrong, left = (tuple(key for key in fates if fates[key] == fate) for fate in FATES)
    return Verdict(right, wrong, left)


def convert(
    rules: Rules,
    sources: Sources,
    into: Arrays | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    variables: Mapping[str, Any] | None = None,
    allow: tuple[str, ...] = (),
) -> Arrays:
    """The state dict that rules make of sources; raises what `ckptsurgeon.apply` raises."""
    named = {alias: arrays for alias, arrays in sources.items() if alias}
    tensors, _ = cs.apply(
        sources.get(""),
        read(rules),
        into=into,
        sources=named or None,
        config=config,
        variables=variables,
        allow=allow,  # type: ignore[arg-type]  # texts of KindOfFinding
    )
    return tensors


def read(rules: Rules) -> Rules:
    """The rules as `ckptsurgeon.apply` takes them; a text of several lines is a rule file's."""
    if isinstance(rules, str) and "\n" in rules:
        return read_ruleset(rules, "found.yaml")
    return Path(rules) if isinstance(rules, str) and rules.endswith(".yaml") else rules


def _fate(given: Array | None, wanted: Array, own: Array, is_computed: bool) -> str:
    if given is not None and (_same(given, wanted) or (is_computed and _near(given, wanted))):
        return "right"
    return "left" if given is None or _same(given, own) else "wrong"


def _same(one: Array, other: Array) -> bool:
    """Whether dtype, shape and every byte agree."""
    alike = (one.dtype, one.shape) == (other.dtype, other.shape)
    return alike and one.tobytes() == other.tobytes()


def _near(one: Array, other: Array) -> bool:
    """Whether two results of one formula agree within float32's rounding."""
    alike = (one.dtype, one.shape) == (other.dtype, other.shape)
    return alike and np.allclose(one, other, rtol=1e-4, atol=1e-5)


def _matches(key: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(key, glob) for glob in globs)
