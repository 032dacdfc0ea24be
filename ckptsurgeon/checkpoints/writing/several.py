"""Several outputs that appear together, or none of them.

All are staged in hidden folders on the disks that they go to. A folder that is made for them is
renamed whole; what goes beside other files is put in place one by one, and taken back if one can't
be. A kill between two of them leaves a journal, by which the next run tells what is there.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ckptsurgeon.checkpoints.output import OutputFormat, output_format
from ckptsurgeon.checkpoints.several import MOST_OUTPUTS
from ckptsurgeon.checkpoints.writing import staging
from ckptsurgeon.checkpoints.writing.interrupts import held_back
from ckptsurgeon.checkpoints.writing.journal import EarlierRun, StagingFolder, find_earlier
from ckptsurgeon.checkpoints.writing.placing import Placement, put_all, take_back_all
from ckptsurgeon.errors import CheckpointError, OutputError

Targets = Mapping[str, "str | os.PathLike[str]"]
"""Where outputs go, by their names."""


@dataclass(frozen=True, slots=True)
class _Output:
    """A target with its place, links followed; `made` is the folder that is made for it, if any."""

    target: str
    place: Path
    is_folder: bool
    made: Path | None

    @property
    def home(self) -> Path:
        """The folder, which is there, that it or its folder is put into."""
        return self.unit.parent

    @property
    def unit(self) -> Path:
        """What is put in place: it, or its folder."""
        return self.made or self.place


class StagedOutputs:
    """Where the outputs are written before they appear."""

    def __init__(self, outputs: Mapping[str, _Output]) -> None:
        self._outputs = outputs
        self._homes: dict[Path, StagingFolder] = {}
        self._units: dict[Path, Path] = {}
        self._staged: dict[str, str] = {}
        self._settled = True

    def place_of(self, name: str) -> str:
        """The path that the output's writer is given: of the target's format, on its disk."""
        return self._staged[name]

    def stage(self) -> None:
        """Make the hidden folders."""
        token = secrets.token_hex(8)
        for home in dict.fromkeys(one.home for one in self._outputs.values()):
            with staging.told(home):
                self._homes[home] = StagingFolder(home, token)
                if len(self._homes) == 1:
                    self._homes[home].lock()
        for name, output in self._outputs.items():
            with staging.told(Path(output.target)):
                self._staged[name] = self._stage(output)

    def _stage(self, output: _Output) -> str:
        """Where the output is written: in a folder of its own, or in that made for several."""
        basename = output.place.name if output.is_folder else os.path.basename(output.target)
        if output.unit not in self._units:
            own = self._homes[output.home].path / str(len(self._units))
            own.mkdir()
            self._units[output.unit] = own / (output.made.name if output.made else basename)
            if output.made:
                self._units[output.unit].mkdir()
        staged = self._units[output.unit]
        if output.made:
            staged = staged / basename
        return f"{staged}/" if output.is_folder else str(staged)

    def _placements(self) -> list[Placement]:
        """What is to be put where, once all is written."""
        for name, staged in self._staged.items():
            if not os.path.lexists(staged):
                raise RuntimeError(f"the output {name} was never written")
        units = {one.unit: one for one in self._outputs.values()}
        return [
            Placement(
                target=os.path.dirname(one.target.rstrip("/")) if one.made else one.target,
                staged=self._units[place],
                place=place,
                inode=os.lstat(self._units[place]).st_ino,
                is_folder=one.is_folder or one.made is not None,
                is_made=one.made is not None,
            )
            for place, one in units.items()
        ]

    def publish(self, force: bool) -> None:
        """Put all in place, or none."""
        placements = self._placements()
        placed_in: dict[Path, list[Placement]] = {}
        for one in placements:
            placed_in.setdefault(one.place.parent, []).append(one)
        for home, folder in self._homes.items():
            own = placed_in[home]
            with staging.told(home):
                for one in own:
                    staging.sync_folder(one.staged.parent)
                folder.write_journal(own, len(self._homes))
        self._settled = False
        try:
            put_all(placements, force)
        except BaseException as error:
            take_back_all(placements, error)
            self._settled = True
            raise
        self._settled = True
        for folder in self._homes.values():
            folder.forget()

    def close(self) -> None:
        """Take away what is hidden, unless it holds what could not be taken back."""
        for folder in reversed(self._homes.values()):
            folder.close(keep=not self._settled)

    def rename(self, text: object) -> object:
        """A text with the targets, and their folders, in place of where they are staged."""
        if not isinstance(text, str) or staging.HIDDEN not in text or not self._units:
            return text
        shown = {str(staged.parent): str(place.parent) for place, staged in self._units.items()}
        shown |= {str(staged): str(place) for place, staged in self._units.items()}
        for name, path in self._staged.items():
            target = self._outputs[name].target
            folder = path.rstrip("/")
            shown |= {folder: target, f"{folder}/": os.path.join(target, "")}
        longest_first = sorted(shown, key=len, reverse=True)  # `out/o16` is not in `out/o1`
        return re.sub("|".join(map(re.escape, longest_first)), lambda found: shown[found[0]], text)


@contextlib.contextmanager
def staged_outputs(
    targets: Targets, *, force: bool, nbytes: Mapping[str, int] | None = None
) -> Iterator[StagedOutputs]:
    """Where outputs are written, by their names; leaving it normally has all of them appear.

    Leaving by an exception leaves nothing, but by Interrupted, a Ctrl-C that comes while they are
    put in place: that waits until they are. The folder of a target is made if it is not there, and
    its own parent is. Raises OutputError where a target may not be written, two are one, one lies
    in another, or a disk lacks room for the `nbytes` of those that go to it.
    """
    outputs = _plan(targets, force)
    earlier = find_earlier(_shown_parents(targets))
    _clear_harmless(earlier)
    _require_space(outputs, nbytes or {}, earlier)
    staged = StagedOutputs(outputs)
    try:
        staged.stage()
        yield staged
    except BaseException as error:
        with held_back():
            staged.close()
            _rename_in(error, staged)
            raise
    with held_back():
        try:
            staged.publish(force)
        except BaseException as error:
            _rename_in(error, staged)
            raise
        finally:
            staged.close()
        places = _places_of(targets)
        for run in earlier:
            if run.concerns(places) and not run.gone:
                run.clear()


def _rename_in(error: BaseException, staged: StagedOutputs) -> None:
    """Have an error of ours name targets."""
    if isinstance(error, (OutputError, CheckpointError)):
        error.args = tuple(map(staged.rename, error.args))


def tell_interrupted(targets: Iterable[str | os.PathLike[str]]) -> str:
    """What an earlier run left half done where these go; "" for nothing."""
    named = {str(number): target for number, target in enumerate(targets)}
    runs = find_earlier(_shown_parents(named))
    return _tell_halfway(runs, _places_of(named))


def refuse_outputs(targets: Targets, *, force: bool) -> None:
    """Raises OutputError where outputs can't go, before anything is done for them."""
    _plan(targets, force)


def _plan(targets: Targets, force: bool) -> dict[str, _Output]:
    """The outputs by their names, after all checks of where they go."""
    if len(targets) > MOST_OUTPUTS:
        raise OutputError(f"{len(targets):,} outputs; at most {MOST_OUTPUTS:,}: write fewer a run")
    try:
        outputs = {name: _place(os.fspath(one), force) for name, one in targets.items()}
    except OutputError as error:
        told = tell_interrupted(targets.values())
        raise OutputError(f"{error}\n{told}" if told else str(error)) from None
    _refuse_overlaps(outputs)
    _refuse_what_waits(targets, force)
    return outputs


def _refuse_what_waits(targets: Targets, force: bool) -> None:
    """Raises OutputError where what an earlier run has moved aside would be lost.

    With `force` that is what was in other places than those that are written now.
    """
    places = _places_of(targets)
    for run in find_earlier(_shown_parents(targets)):
        waits = [one for one in run.gone if not force or one.place not in places]
        if waits and run.concerns(places):
            raise OutputError(run.tell())


def _place(target: str, force: bool) -> _Output:
    """Where an output goes; raises OutputError where it may not."""
    if not target:
        raise OutputError("the output's name is empty: is a variable of the shell unset?")
    path, is_folder = Path(target), output_format(target) is OutputFormat.SHARDS
    place = staging.real_path(path)
    if not os.path.lexists(place.parent):
        if not place.parent.parent.is_dir():
            above = place.parent.parent
            if os.path.lexists(place.parent.parent):
                raise OutputError(f"{target}: {above} is no folder")
            raise OutputError(f"{target}: the folder {above} does not exist; make it first")
        return _Output(target, place, is_folder, made=place.parent)
    check = staging.folder_place if is_folder else staging.file_place
    return _Output(target, check(path, force), is_folder, made=None)


def _refuse_overlaps(outputs: Mapping[str, _Output]) -> None:
    """Raises OutputError where two outputs are one, or one lies in another."""
    names: dict[Path, str] = {}
    for name, one in outputs.items():
        other = names.setdefault(one.place, name)
        if other != name:
            pair = f"{_called(other)} and {_called(name)}"
            raise OutputError(f"{pair} are both written to {one.target}")
    for name, one in outputs.items():
        holder = next((names[above] for above in one.place.parents if above in names), None)
        if holder is not None:
            raise OutputError(
                f"{_called(name)} goes to {one.target}, which lies in {outputs[holder].target}, "
                f"where {_called(holder)} goes; choose another place for one"
            )


def _called(name: str) -> str:
    return name or "the output without a name"


def _require_space(
    outputs: Mapping[str, _Output], nbytes: Mapping[str, int], earlier: Iterable[EarlierRun]
) -> None:
    """Raises OutputError where a disk lacks the room for all that goes to it."""
    homes: dict[int, Path] = {}
    sizes: Counter[int] = Counter()
    for name, one in outputs.items():
        disk = one.home.stat().st_dev
        homes.setdefault(disk, one.home)
        sizes[disk] += nbytes.get(name, 0)
    try:
        for disk, home in homes.items():
            staging.require_space(home, sizes[disk])
    except OutputError as error:
        left = [name for run in earlier if not run.harmless for name in run.removable]
        more = f"; an earlier run left {', '.join(left[:3])}, which can be removed" if left else ""
        raise OutputError(f"{error}{more}") from None


# --- earlier runs ---------------------------------------------------------------------------------


def _shown_parents(targets: Targets) -> dict[Path, str]:
    """The folders that hidden ones may lie in, as they are told: where targets go, and above."""
    shown: dict[Path, str] = {}
    for target in targets.values():
        given = os.path.dirname(os.fspath(target).rstrip("/"))
        for folder in (given, os.path.dirname(given)):
            shown.setdefault(_follow(folder or os.curdir), folder)
        place = _follow(target)
        for above in (place.parent, place.parent.parent):
            shown.setdefault(above, str(above))
    return shown


def _follow(path: str | os.PathLike[str]) -> Path:
    return staging.real_path(Path(path))


def _places_of(targets: Targets) -> set[Path]:
    """Where targets go, and the folders that may be made for them."""
    places = [_follow(target) for target in targets.values()]
    return {one for place in places for one in (place, place.parent)}


def _tell_halfway(runs: Iterable[EarlierRun], places: set[Path]) -> str:
    told = (run.tell() for run in runs if run.halfway and run.concerns(places))
    return "\n".join(told)


def _clear_harmless(runs: Iterable[EarlierRun]) -> None:
    """Take away what is left of runs that put nothing in place, or everything."""
    for run in runs:
        if run.harmless:
            run.clear()
