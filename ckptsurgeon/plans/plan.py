"""A plan: every output tensor as a graph of what it is made from, and the account of every key."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ckptsurgeon.plans.account import CheckedTie, Finding, Note
from ckptsurgeon.plans.addresses import alias_of, split_address
from ckptsurgeon.plans.fates import Fates
from ckptsurgeon.plans.files.saving import save_plan
from ckptsurgeon.plans.graph import RuleInfo
from ckptsurgeon.plans.output_files import OutputFile
from ckptsurgeon.plans.outputs import Outputs
from ckptsurgeon.plans.steps import Steps
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.showing import Paged
from ckptsurgeon.specs import plural
from ckptsurgeon.wanted import require

MOST_NAMES = 3
"""Sources that a plan's summary names."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Plan(Paged):
    """All steps with their specs. Findings that are not `allowed` keep it from being run.

    `outputs` is in output order. `ties` maps an output key to the first one whose storage it
    shares, which is tied to none itself. `checked_ties` are ties whose values must be compared
    when run. `fates` tells of every source key of every stage (stage 0 reads the checkpoints).
    `files` are those to be written. `is_named` says that outputs have names, and so that their keys
    are addresses, as `rank0::norm.weight`. `rule_texts` are of the rule files, by the names that
    places have; a saved plan doesn't hold them.
    """

    sources: tuple[SourceView, ...]
    destination: SourceView | None
    outputs: Outputs
    steps: Steps
    fates: Fates
    rules: tuple[RuleInfo, ...]
    findings: tuple[Finding, ...] = ()
    notes: tuple[Note, ...] = ()
    ties: Mapping[str, str] = field(default_factory=dict)
    checked_ties: tuple[CheckedTie, ...] = ()
    separator: str = "."
    files: tuple[OutputFile, ...] = (OutputFile(),)
    is_named: bool = False
    rule_texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def views(self) -> tuple[SourceView, ...]:
        """The sources, and the destination where there is one."""
        return self.sources if self.destination is None else (*self.sources, self.destination)

    @property
    def open_findings(self) -> tuple[Finding, ...]:
        """The findings that were not allowed."""
        return tuple(finding for finding in self.findings if not finding.allowed)

    @property
    def summary(self) -> str:
        """`160 tensors of a.pt for b.pt, 3 findings`."""
        of = ", ".join(view.path for view in self.sources[:MOST_NAMES])
        to = f" for {self.destination.path}" if self.destination else ""
        found = f", {plural(len(self.findings), 'finding')}" if self.findings else ""
        return f"{plural(len(self.outputs), 'tensor')} of {of}{to}{found}"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the plan as JSON, whole or not at all, for `ckptsurgeon.load_plan`.

        `transplant --plan` runs it. The name ends in `.json`; of existing files only another plan
        is replaced. Raises OutputError.
        """
        require("save", path, (str, os.PathLike), "a path")
        save_plan(self, Path(path))

    @property
    def nbytes(self) -> int:
        """Size of the output's tensors, ties counted once per key."""
        return sum(node.spec.nbytes for node in self.outputs.nodes.values())


def name_outputs(
    destination: SourceView | None, separators: Mapping[str, str], *, is_named: bool = False
) -> Callable[[str], str]:
    """What gives the name that an output key has in the file: the destination's own, if it has one.

    Others are written with the separator of their output, "" standing for every one that is not
    among these. `is_named` says that keys are addresses; a name has no alias.
    """
    known = {} if destination is None else destination.names
    if is_named:
        return partial(_name_address, known, separators)
    return partial(_name_output, known, separators.get("", "."))


def two_of_one_name(outputs: Outputs, *, is_named: bool = False) -> tuple[str, str, str] | None:
    """Two output keys that get one name in one file, and that; None where there are none."""
    keys: dict[tuple[str, str], str] = {}
    for output in outputs.values():
        place = alias_of(output.key) if is_named else "", output.name
        if place in keys:
            return keys[place], output.key, output.name
        keys[place] = output.key
    return None


def _name_address(known: Mapping[str, str], separators: Mapping[str, str], address: str) -> str:
    alias, key = split_address(address)
    if address in known:
        return split_address(known[address])[1]
    return _name_output({}, separators.get(alias, separators.get("", ".")), key)


def _name_output(known: Mapping[str, str], separator: str, key: str) -> str:
    if key in known:
        return known[key]
    return key if separator == "." else key.replace(".", separator)
