"""A plan carried out: bytes moved or computed into a writer, the output whole or not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint, Layout
from ckptsurgeon.checkpoints.output import (
    OutputFormat,
    changed_containers,
    left_out,
    open_writer,
    output_format,
)
from ckptsurgeon.checkpoints.writing.filling import Writer, WriterFiles
from ckptsurgeon.checkpoints.writing.several import (
    StagedOutputs,
    refuse_outputs,
    staged_outputs,
)
from ckptsurgeon.checkpoints.writing.staging import real_path
from ckptsurgeon.cutting import list_some
from ckptsurgeon.engine.evaluation import Evaluator, located
from ckptsurgeon.engine.module_metadata import output_metadata
from ckptsurgeon.engine.mover import MEMORY, Filling, Moved, Mover, Progress, count_moved
from ckptsurgeon.engine.needs import memory_notes
from ckptsurgeon.engine.nesting import aimed, flat_note, nesting_notes, output_nesting
from ckptsurgeon.engine.reading import NodeReader
from ckptsurgeon.engine.several import parts_of_plan
from ckptsurgeon.errors import CheckpointError, FindingsError, OutputError, PlanError, Problem
from ckptsurgeon.plans.account import Finding, FindingKind, Note
from ckptsurgeon.plans.graph import RuleInfo, place_giving
from ckptsurgeon.plans.notes import entry_notes
from ckptsurgeon.plans.output_files import OUTPUT, OutputFile
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.report.report import make_report, tell_nothing
from ckptsurgeon.specs import UnreadableSpec
from ckptsurgeon.wording import argument

Stamps = Mapping[Path, tuple[int, ...]]
"""What tells whether a file is still the one that was opened: its number, size and time."""


@dataclass(frozen=True, slots=True)
class Execution:
    """A plan with its checkpoints by alias, the destination as `dst`, and how they were found.

    `paths` are what will be written, if anything, by the alias of the output. `memory` bounds the
    bytes that are held of tensors (256 MiB), over all of `jobs` threads.
    """

    plan: Plan
    checkpoints: Mapping[str, Checkpoint]
    stamps: Stamps = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    memory: int | None = None
    jobs: int | None = None

    def aim(
        self,
        paths: Mapping[str, str],
        memory: int | None = None,
        jobs: int | None = None,
    ) -> Execution:
        """The execution with paths, and notes of what it leaves out and what needs more memory.

        Each output has its path by its alias; there are none where nothing is written yet.

        torch's files carry the plain entries of the unnamed source; that is told where there is no
        path yet, too. No other entry is ever written. Raises PlanError where an entry has the
        name of a dict that `output` asks for.
        """
        files, notes = [], list[Note]()
        for planned in self.plan.files:
            path = paths.get(planned.alias)
            wanted = OutputFormat.TORCH if path is None else output_format(path)
            files.append(aimed(planned, path, wanted))
            notes += nesting_notes(planned, self.checkpoints, files[-1], wanted)
        aimed_at = replace(self.plan, files=tuple(files))
        notes += self._entry_notes(aimed_at)
        notes += memory_notes(self.plan, self.checkpoints, memory or MEMORY)
        plan = replace(aimed_at, notes=(*self.plan.notes, *notes))
        return replace(self, plan=plan, paths=paths, memory=memory, jobs=jobs)

    def _entry_notes(self, plan: Plan) -> Iterator[Note]:
        """What is left out of the entries of sources, and the containers that change with keys."""
        formats = [OutputFormat(file.format or OutputFormat.TORCH) for file in plan.files]
        wanted = OutputFormat.TORCH if OutputFormat.TORCH in formats else formats[0]
        for alias, checkpoint in self.checkpoints.items():
            if alias != DESTINATION:
                yield from entry_notes(alias, left_out(checkpoint, None if alias else wanted))
        parts = parts_of_plan(plan, self.checkpoints) if "" in self.checkpoints else {}
        for file, form in zip(plan.files, formats, strict=True):
            if file.alias in parts:
                names = (output.name for output in parts[file.alias].outputs.values())
                nesting = output_nesting(file, self.checkpoints)
                found = changed_containers(self.checkpoints[""], form, names, nesting)
                yield from (Note("entry", text, key) for key, text in found)

    def hold(self, what: str = "a dict of tensors by key") -> Execution:
        """The execution where tensors are wanted and no file; `what` they go to has no nesting."""
        nested = [one for one in self.plan.files if one.decided == OUTPUT and one.nesting.is_nested]
        notes = (*self.plan.notes, *(flat_note(file, what) for file in nested))
        named = self.plan.files if self.plan.is_named else ()
        files = tuple(
            OutputFile(one.alias, separator=one.separator, into=one.into) for one in named
        )
        return replace(self, plan=replace(self.plan, notes=notes, files=files))

    @contextlib.contextmanager
    def open_output(
        self, *, force: bool = False, max_shard_size: int | None = None
    ) -> Iterator[Callable[[Progress | None], Moved]]:
        """What fills the target, when all that can be refused beforehand has been.

        The output appears at the end of the block. Raises FindingsError where findings are open,
        OutputError where nothing can be written, and CheckpointError where an input changes
        meanwhile; then no output is there.
        """
        _refuse_findings(self.plan)
        _refuse_shapes_alone(self.plan)
        for path in self.paths.values():
            refuse_inputs(Path(path), self.checkpoints)
        if self.plan.is_named:
            refuse_outputs(self.paths, force=force)
        _check_ties(self.plan, self.checkpoints, self.memory)
        parts = parts_of_plan(self.plan, self.checkpoints)
        mover = Mover(self.checkpoints, memory=self.memory, jobs=self.jobs)
        if not self.plan.is_named:
            path, size = self.paths[""], max_shard_size
            with self._opened(parts[""], path, size, force=force) as writer:
                filling = Filling(parts[""], writer)
                yield lambda progress: mover.move(filling, progress=progress)
                refuse_changed(self.stamps)
            return
        sizes = {alias: part.nbytes for alias, part in parts.items()}
        with staged_outputs(self.paths, force=force, nbytes=sizes) as staged:

            def fill(progress: Progress | None) -> Moved:
                moved, tell = Moved(0, 0), _over_all(progress, parts.values())
                for group in mover.groups(parts):
                    own = {alias: parts[alias] for alias in group}
                    with self._staged(own, staged, max_shard_size) as fillings:
                        moved += mover.move(*fillings, progress=tell(own.values()))
                return moved

            yield fill
            refuse_changed(self.stamps)

    @contextlib.contextmanager
    def _staged(
        self, parts: Mapping[str, Plan], staged: StagedOutputs, max_shard_size: int | None
    ) -> Iterator[list[Filling]]:
        """Outputs with their writers; several don't have all of their files open."""
        files = WriterFiles.shared() if len(parts) > 1 else None
        with contextlib.ExitStack() as stack:
            fillings = []
            for alias, part in parts.items():
                place, size = staged.place_of(alias), max_shard_size
                opened = self._opened(part, place, size, force=False, files=files)
                fillings.append(Filling(part, stack.enter_context(opened), alias))
            yield fillings

    def _opened(
        self,
        part: Plan,
        path: str,
        max_shard_size: int | None,
        *,
        force: bool,
        files: WriterFiles | None = None,
    ) -> Writer:
        """The writer of one output."""
        layout, size = output_layout(part, self.checkpoints), max_shard_size
        return open_writer(path, layout, force=force, max_shard_size=size, files=files)

    def evaluate(self) -> Evaluator:
        """The evaluator of the outputs, where tensors are wanted and no file.

        Raises FindingsError where findings are open, and PlanError for ties of different values.
        """
        _refuse_findings(self.plan)
        _refuse_shapes_alone(self.plan)
        _check_ties(self.plan, self.checkpoints)
        return Evaluator.of(self.plan, self.checkpoints)


def _over_all(
    progress: Progress | None, parts: Iterable[Plan]
) -> Callable[[Iterable[Plan]], Progress | None]:
    """What makes the progress of some outputs that of all: their bytes behind those before."""
    total, before = sum(map(count_moved, parts)), 0

    def of_group(group: Iterable[Plan]) -> Progress | None:
        nonlocal before
        start, before = before, before + sum(map(count_moved, group))
        if progress is None:
            return None
        return lambda done, _, key: progress(start + done, total, key)

    return of_group


def stamps_of(checkpoints: Mapping[str, Checkpoint]) -> Stamps:
    """The stamps of all files that the checkpoints' tensors lie in."""
    paths = (path for checkpoint in checkpoints.values() for path in _files_of(checkpoint))
    return {path: stamp for path in paths if (stamp := _stamp(path))}


def refuse_changed(stamps: Stamps, help: str = "nothing was written: plan again") -> None:
    """Raises CheckpointError for a file that another process wrote to since.

    It gave bytes that mean something else; `help` says what to do.
    """
    for path, stamp in stamps.items():
        if _stamp(path) != stamp:
            raise CheckpointError(f"{path}: was changed while it was read; {help}")


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _files_of(checkpoint: Checkpoint) -> Iterator[Path]:
    """The file or folder that was opened, and the files that its tensors lie in; none twice."""
    if checkpoint.files:
        yield from dict.fromkeys((checkpoint.path, *checkpoint.files))


def _refuse_findings(plan: Plan) -> None:
    """Raises FindingsError where a finding was not allowed."""
    if plan.open_findings:
        raise FindingsError(map(_finding_problem, plan.open_findings), make_report(plan))


def _refuse_shapes_alone(plan: Plan) -> None:
    """Raises PlanError for values that a destination should give which has none."""
    if plan.destination is None or plan.destination.has_values:
        return
    by_rule: dict[RuleInfo | None, list[str]] = {}
    for output in plan.outputs.using(DESTINATION):
        by_rule.setdefault(output.rule, []).append(output.key)
    if by_rule:
        raise PlanError(_tell_shapes_alone(rule, keys) for rule, keys in by_rule.items())


def _tell_shapes_alone(rule: RuleInfo | None, keys: Sequence[str]) -> Problem:
    """The problem of keys that a rule wants kept, by a destination of shapes alone."""
    return Problem(
        f"{list_some((f'`{key}`' for key in keys), 1)} can't be kept: the destination has shapes "
        "alone",
        rule.place if rule else None,
        f"give a checkpoint as {argument('into', 'DST')}, or a rule for each, such as "
        f"`- init: {{to: {keys[0]}, fill: zeros}}`",
    )


def _finding_problem(finding: Finding) -> Problem:
    if finding.kind is FindingKind.NOTHING:
        return Problem(f"nothing: {tell_nothing([finding])}", None)
    spec = finding.found or finding.wanted
    if isinstance(spec, UnreadableSpec):
        of, help = "", spec.remedy
        if finding.source == DESTINATION:
            of, help = "the destination's ", f"allow `unreadable`, or make it plain: {spec.remedy}"
        text = f"unreadable: {of}`{finding.key}`, {spec.what}"
        return Problem(
            text, place_giving(finding.rule, finding.key) if finding.rule else None, help
        )
    specs = {"found": finding.found, "wanted": finding.wanted}
    told = ", ".join(f"{word} {spec}" for word, spec in specs.items() if spec is not None)
    place = place_giving(finding.rule, finding.key) if finding.rule else None
    return Problem(f"{finding.kind.value}: `{finding.key}` ({told})", place)


def output_layout(plan: Plan, checkpoints: Mapping[str, Checkpoint]) -> Layout:
    """What the writer is to write, under the output's own names."""
    names = {key: output.name for key, output in plan.outputs.items()}
    return Layout(
        specs={names[key]: output.spec for key, output in plan.outputs.items()},
        ties={names[key]: names[leader] for key, leader in plan.ties.items()},
        metadata=plan.sources[0].contents.metadata if plan.sources else {},
        module_metadata=output_metadata(plan),
        template=checkpoints.get(""),
        nesting=output_nesting(plan.files[0], checkpoints),
    )


def refuse_inputs(target: Path, checkpoints: Mapping[str, Checkpoint]) -> None:
    """Raises OutputError where the target is a file that it is made from, or holds one."""
    place = real_path(target)
    for checkpoint in checkpoints.values():
        for path in _files_of(checkpoint):
            real = Path(os.path.realpath(path))
            if place in (real, *real.parents) or _same_file(place, real):
                raise OutputError(
                    f"{target}: the output would overwrite its own input {path}; "
                    "choose another name"
                )


def _same_file(one: Path, other: Path) -> bool:
    """Whether two names are links of one file."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def _check_ties(
    plan: Plan, checkpoints: Mapping[str, Checkpoint], memory: int | None = None
) -> None:
    """Tied keys that were made apart must be equal; compared before anything is written."""
    with NodeReader(checkpoints, memory) as reader:
        for tie in plan.checked_ties:
            if _digest(plan, reader, tie.key) != _digest(plan, reader, tie.leader):
                message = f"`tie`: `{tie.key}` and `{tie.leader}` hold different values"
                place = tie.rule.place if tie.rule else None
                raise PlanError([Problem(message, place, "drop one of them")])


def _digest(plan: Plan, reader: NodeReader, key: str) -> bytes:
    """A digest of an output's bytes; errors are told at its rule."""
    output = plan.outputs[key]
    with located(output):
        return reader.digest(output.node)
