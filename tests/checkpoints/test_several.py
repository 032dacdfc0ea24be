"""Several outputs appear together, or none does, whatever fails and whenever they are killed."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ckptsurgeon.checkpoints.base import Checkpoint, Contents, Layout
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.checkpoints.output import open_writer
from ckptsurgeon.checkpoints.several import Several
from ckptsurgeon.checkpoints.writing import several, staging
from ckptsurgeon.checkpoints.writing.interrupts import Interrupted
from ckptsurgeon.checkpoints.writing.placing import Placement
from ckptsurgeon.checkpoints.writing.several import (
    refuse_outputs,
    staged_outputs,
    tell_interrupted,
)
from ckptsurgeon.errors import OutputError
from ckptsurgeon.specs import TensorSpec

TOKEN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=["linux", "elsewhere"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Systems with unnamed files and exchanged names, and those without."""
    if request.param == "elsewhere":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
        monkeypatch.setattr(staging, "swapped", lambda first, second: False)


def put(targets: Mapping[str, str], content: bytes = b"new", *, force: bool = False) -> None:
    """Write these outputs with the name of each in it, as files or folders of one file."""
    with staged_outputs(
        targets, force=force, nbytes=dict.fromkeys(targets, len(content))
    ) as staged:
        for name in targets:
            write(staged.place_of(name), content + name.encode())


def write(place: str, content: bytes) -> None:
    if place.endswith("/"):
        with staging.staged_folder(Path(place), force=False, nbytes=len(content)) as folder:
            fill(folder.create("m.safetensors", len(content)), content)
    else:
        with staging.staged_file(Path(place), force=False, nbytes=len(content)) as staged:
            fill(staged, content)


def fill(staged: staging.StagedFile, content: bytes) -> None:
    with staged.opened() as descriptor:
        os.pwrite(descriptor, content, 0)


def tree() -> dict[str, bytes]:
    """All files of the folder, hidden ones too, and folders with nothing in them."""
    found: dict[str, bytes] = {}
    for folder, folders, files in os.walk("."):
        for name in files:
            path = os.path.join(folder, name)
            found[os.path.normpath(path)] = Path(path).read_bytes()
        if not folders and not files and folder != ".":
            found[os.path.normpath(folder) + "/"] = b""
    return found


PLACES = {
    "beside": {"a": "a.pt", "b": "b.pt", "c": "c/"},
    "made": {"a": "tp/a.pt", "b": "tp/b.pt", "c": "tp/c"},
    "both": {"a": "tp/a.pt", "b": "b.pt", "c": "up/c.pt", "d": "up/d"},
}
WRITTEN = {
    "beside": {"a.pt": b"newa", "b.pt": b"newb", "c/m.safetensors": b"newc"},
    "made": {"tp/a.pt": b"newa", "tp/b.pt": b"newb", "tp/c/m.safetensors": b"newc"},
    "both": {
        **{"tp/a.pt": b"newa", "b.pt": b"newb", "up/c.pt": b"newc"},
        "up/d/m.safetensors": b"newd",
    },
}


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("where", PLACES)
def test_new_and_replaced(where: str) -> None:
    os.mkdir("up")
    put(PLACES[where])
    made = {} if where == "both" else {"up/": b""}
    assert tree() == WRITTEN[where] | made
    with pytest.raises(OutputError, match="exists already; force=True replaces it"):
        put(PLACES[where], b"newer")
    assert tree() == WRITTEN[where] | made
    put(PLACES[where], b"newer", force=True)
    assert tree() == {k: v.replace(b"new", b"newer") for k, v in WRITTEN[where].items()} | made


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OutputError])
def test_an_exception_leaves_nothing(where: str, error: type[BaseException]) -> None:
    os.mkdir("up")

    def fail(force: bool) -> None:
        with staged_outputs(PLACES[where], force=force) as staged:
            write(staged.place_of("a"), b"x")
            raise error

    with pytest.raises(error):
        fail(force=False)
    assert tree() == {"up/": b""}
    put(PLACES[where])
    before = tree()
    with pytest.raises(error):
        fail(force=True)
    assert tree() == before


class Failing:
    """Calls of the system of which the n-th fails, while the body of a `with` runs."""

    NAMES = ("link", "rename", "replace", "mkdir", "fsync")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, moment: int, number: int) -> None:
        self.count, self.moment, self.number, self.failed = 0, moment, number, ""
        for name in self.NAMES:
            monkeypatch.setattr(os, name, self.counted(name, getattr(os, name)))
        monkeypatch.setattr(staging, "swapped", self.counted("swapped", staging.swapped))

    def counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count == self.moment:
                self.failed = name
                if name == "swapped":
                    return False
                raise OSError(self.number, "told by the disk")
            return call(*args, **kwargs)

        return wrapped


def put_or_tell(targets: Mapping[str, str], *, force: bool) -> str:
    """What is said where the outputs can't be written; "" where they are."""
    try:
        put(targets, force=force)
    except OutputError as error:
        return str(error)
    return ""


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("there", [True, False], ids=["over old ones", "new"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_call_that_fails_at_any_moment_leaves_all_or_nothing(
    where: str, there: bool, number: int
) -> None:
    os.mkdir("up")
    if there:
        put(PLACES[where], b"old")
    before, whole = tree(), False
    for moment in range(1, 200):
        with pytest.MonkeyPatch.context() as patching:
            failing = Failing(patching, moment, number)
            told = put_or_tell(PLACES[where], force=there)
        whole = not told
        assert whole or "can't be written" in told or "disk is full" in told
        assert ".ckptsurgeon" not in told
        found = tree()
        if whole:
            assert {k: v for k, v in found.items() if ".ckptsurgeon" not in k and k != "up/"} == (
                WRITTEN[where]
            )
            if failing.count < moment:
                break
            if not there:
                for name in set(PLACES[where].values()):
                    clear(name)
                os.makedirs("up", exist_ok=True)
            else:
                put(PLACES[where], b"old", force=True)
            assert tree() == before, f"{failing.failed} at {moment}"
        else:
            assert found == before, f"{failing.failed} at {moment}"
    assert whole
    assert moment > 10


def clear(name: str) -> None:
    """Take away a file, or a folder with all that is in it."""
    top = name.split("/")[0]
    if os.path.isdir(top):
        shutil.rmtree(top)
    elif os.path.exists(top):
        os.unlink(top)


def test_one_that_cannot_be_taken_back_is_told_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    unlink, link = os.unlink, os.link

    def no_second(source: Any, place: Any, **kwargs: Any) -> None:
        if str(place).endswith("b.pt") and ".ckptsurgeon" not in str(place):
            raise OSError(errno.EIO, "told by the disk")
        link(source, place, **kwargs)

    def no_unlink(place: Any, **kwargs: Any) -> None:
        if str(place).endswith("/a.pt") and ".ckptsurgeon" not in str(place):
            raise OSError(errno.EIO, "told by the disk")
        unlink(place, **kwargs)

    with monkeypatch.context() as patching:
        patching.setattr(os, "link", no_second)
        patching.setattr(os, "rename", no_second)
        patching.setattr(os, "unlink", no_unlink)
        with pytest.raises(OutputError, match=r"before can't be taken back: a\.pt"):
            put({"a": "a.pt", "b": "b.pt"})
    with pytest.raises(
        OutputError, match=r"stopped .*: a\.pt is there, b\.pt is not; remove a\.pt"
    ):
        put({"a": "a.pt", "b": "b.pt"})
    put({"a": "a.pt", "b": "b.pt"}, force=True)
    assert tree() == {"a.pt": b"newa", "b.pt": b"newb"}


def put_while(targets: Mapping[str, str], theirs: str, *, force: bool) -> None:
    """Write outputs while somebody else writes a file."""
    with staged_outputs(targets, force=force) as staged:
        for name in targets:
            write(staged.place_of(name), b"x")
        os.makedirs(os.path.dirname(theirs) or ".", exist_ok=True)
        Path(theirs).write_bytes(b"theirs")


def test_a_target_that_appears_meanwhile_is_kept() -> None:
    with pytest.raises(OutputError, match=r"b\.pt: exists already"):
        put_while({"a": "a.pt", "b": "b.pt"}, "b.pt", force=False)
    assert tree() == {"b.pt": b"theirs"}
    with pytest.raises(OutputError, match="tp: exists already"):
        put_while({"a": "tp/a.safetensors"}, "tp/other.safetensors", force=True)
    assert tree() == {"b.pt": b"theirs", "tp/other.safetensors": b"theirs"}


REFUSED = [
    ({"a": "old.pt"}, False, "old.pt: exists already"),
    ({"a": "new.pt", "b": "old.pt"}, False, "old.pt: exists already"),
    ({"a": "none/none/a.pt"}, True, "the folder .*none does not exist; make it first"),
    ({"a": "old.pt/a.pt"}, True, "the folder .*old.pt does not exist"),
    ({"a": "old.pt/"}, True, "is a file, wanted a folder"),
    ({"a": "full/"}, True, "holds 'x', which replacing the folder would destroy"),
    ({"a": "pipe.pt"}, True, "is no regular file"),
    ({"a": "loop.pt"}, True, "a link that leads back to itself"),
    ({"rank0": "out.pt", "rank1": "out.pt"}, True, "^rank0 and rank1 are both written to out.pt$"),
    ({"r0": "old.pt", "r1": "link.pt"}, True, "r0 and r1 are both written to link.pt"),
    ({"r0": "up/a.pt", "r1": "uplink/a.pt"}, True, "r0 and r1 are both written to uplink/a.pt"),
    ({"r0": "tp", "r1": "tp/a.pt"}, True, "r1 goes to tp/a.pt, which lies in tp, where r0 goes"),
    ({"r0": "up", "r1": "up/a.pt"}, True, "r1 goes to up/a.pt, which lies in up, where r0 goes"),
    (
        {"": "up/a.pt", "r": "up"},
        True,
        "^the output without a name goes to up/a.pt, which lies",
    ),
    ({"": "up", "r": "up/a.pt"}, True, "^r goes to .*, where the output without a name goes; choo"),
    ({"": "a.pt", "r": "a.pt"}, True, "^the output without a name and r are both written to a.pt$"),
    ({"a": ""}, True, "the output's name is empty"),
    ({"a": "a\0.pt"}, True, "can't be written"),
    ({str(number): f"{number}.pt" for number in range(4097)}, True, "4,097 outputs; at most 4,096"),
]


@pytest.mark.parametrize(("targets", "force", "words"), REFUSED)
def test_refused_before_anything_is_done(targets: dict[str, str], force: bool, words: str) -> None:
    for name in ("dir.pt", "full", "up"):
        os.mkdir(name)
    Path("old.pt").write_bytes(b"old")
    Path("full/x").write_bytes(b"x")
    os.mkfifo("pipe.pt")
    os.symlink("loop.pt", "loop.pt")
    os.symlink("old.pt", "link.pt")
    os.symlink("up", "uplink")
    before = sorted(os.listdir())
    for refuse in (refuse_outputs, put):
        with pytest.raises(OutputError, match=words):
            refuse(targets, force=force)
    assert sorted(os.listdir()) == before


@pytest.mark.usefixtures("_ctrl_c")
def test_what_fails_while_outputs_are_taken_back_keeps_the_old_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    targets = {name: f"{name}.pt" for name in "abcd"}
    put(targets, b"old")
    real_put, real_back = Placement.put, Placement.take_back

    def stopped_put(one: Placement, force: bool) -> None:
        real_put(one, force)
        if one.place.name == "c.pt":
            raise KeyboardInterrupt

    def stopped_back(one: Placement) -> None:
        if one.place.name == "b.pt":
            raise KeyboardInterrupt
        real_back(one)

    with monkeypatch.context() as patching:
        patching.setattr(Placement, "put", stopped_put)
        patching.setattr(Placement, "take_back", stopped_back)
        with pytest.raises(OutputError, match=r"can't be taken back: b\.pt \(KeyboardInterrupt\)"):
            put(targets, force=True)
    assert visible() == {"a.pt": b"olda", "b.pt": b"newb", "c.pt": b"oldc", "d.pt": b"oldd"}
    assert b"oldb" in tree().values()
    assert "b.pt is the new one" in tell_interrupted(targets.values())


def test_links_are_written_through() -> None:
    os.mkdir("real")
    os.symlink("real/b.bin", "a.pt")
    os.symlink("real/made", "tp")
    put({"a": "a.pt", "b": "tp/b.pt"})
    put({"a": "a.pt", "b": "tp/b.pt"}, b"newer", force=True)
    assert os.path.islink("a.pt")
    assert os.path.islink("tp")
    assert Path("real/b.bin").read_bytes() == b"newera"
    assert Path("real/made/b.pt").read_bytes() == b"newerb"
    assert not [name for name in os.listdir() + os.listdir("real") if name.startswith(".")]


def test_notes_of_several_have_the_alias_of_theirs_if_it_has_one() -> None:
    contents = Contents({}, notes=("a note",))
    noted = Checkpoint(path=Path("x"), format="pt", contents=contents, files=())
    assert Several.of({"": noted, "ema": noted}).contents.notes == ("a note", "ema: a note")


def test_too_little_room_is_told_before_a_byte_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda folder: SimpleNamespace(f_bavail=2, f_frsize=1024))
    with pytest.raises(OutputError, match=r"has 2\.0 KiB free, the output takes 8\.0 KiB"):
        put({"a": "a.pt", "b": "tp/b.pt"}, bytes(4096))
    assert tree() == {}


@pytest.mark.parametrize(("target", "folder"), [("b.pt", ""), ("tp/b.pt", "/tp"), ("f", "")])
def test_room_that_is_gone_meanwhile_is_told_of_the_folder(
    target: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with staged_outputs({"b": target}, force=False) as staged:
        full = SimpleNamespace(f_bavail=0, f_frsize=1024)
        with monkeypatch.context() as patched:
            patched.setattr(os, "statvfs", lambda _: full)
            with pytest.raises(OutputError) as caught:
                write(staged.place_of("b"), b"x")
        told = str(staged.rename(str(caught.value)))
        write(staged.place_of("b"), b"x")
    assert told.startswith(f"{os.getcwd()}{folder}: has 0 B free")


def test_errors_of_writers_name_the_target() -> None:
    spec = TensorSpec("F32", (1,))
    with (
        pytest.raises(OutputError, match=r"^tp/a\.safetensors: the key __metadata__ can't be"),
        staged_outputs({"a": "tp/a.safetensors"}, force=False) as staged,
    ):
        open_writer(staged.place_of("a"), Layout({"__metadata__": spec}), force=False)


@pytest.mark.parametrize("folder", ["", "tp/"])
def test_an_output_is_not_named_by_one_whose_name_begins_its_own(folder: str) -> None:
    targets = {f"o{number}": f"{folder}o{number}/" for number in range(17)}

    def fail(name: str) -> None:
        with staged_outputs(targets, force=False) as staged:
            path = Path(staged.place_of(name), "model.safetensors")
            raise OutputError(f"{path}: the disk is full")

    for name, target in targets.items():
        with pytest.raises(OutputError) as caught:
            fail(name)
        assert str(caught.value) == f"{target}model.safetensors: the disk is full"


def test_an_output_that_was_not_written_leaves_nothing() -> None:
    with (
        pytest.raises(RuntimeError, match="the output b was never written"),
        staged_outputs({"a": "a.pt", "b": "b.pt"}, force=False) as staged,
    ):
        write(staged.place_of("a"), b"x")
    assert tree() == {}


def test_a_thousand_outputs_take_few_descriptors(source: Path) -> None:
    checkpoint = open_checkpoint(source)
    targets = {f"r{number}": f"many/{number % 7}_{number}.safetensors" for number in range(1000)}
    with staged_outputs(targets, force=False) as staged:
        for name in targets:
            copy(checkpoint, staged.place_of(name))
        assert len(os.listdir("/proc/self/fd")) < 60
        assert not os.path.exists("many")
    assert len(os.listdir("many")) == 1000
    beside = {name: f"many/x{name}.safetensors" for name in list(targets)[:200]}
    with staged_outputs(beside, force=False) as staged:
        for name in beside:
            copy(checkpoint, staged.place_of(name))
    assert len(os.listdir("many")) == 1200
    assert open_checkpoint("many/xr3.safetensors").contents == checkpoint.contents


def test_every_format_is_written_as_alone(source: Path) -> None:
    checkpoint = open_checkpoint(source)
    names = ("a.pt", "a.safetensors", "shards", "dotted.v1/", "a.bin", "tp/a.ckpt", "tp/shards.x/")
    os.mkdir("dotted.v1")
    for force in (False, True):
        with staged_outputs(dict(zip(names, names, strict=True)), force=force) as staged:
            for name in names:
                copy(checkpoint, staged.place_of(name))
        for name in names:
            assert open_checkpoint(name).contents.specs == checkpoint.contents.specs
        assert os.path.isdir("dotted.v1")
        assert os.path.isdir("tp/shards.x")
        assert sorted(os.listdir("tp")) == ["a.ckpt", "shards.x"]


@pytest.fixture(name="source")
def _source(write: Callable[..., Path], tmp_path: Path) -> Path:
    return write(tmp_path / "source.safetensors")


def copy(checkpoint: Any, target: str) -> None:
    with open_writer(target, Layout(checkpoint.contents.specs), force=False) as writer:
        for key in checkpoint.contents.specs:
            writer.copy(key, checkpoint.extent(key))


# --- interrupts -----------------------------------------------------------------------------------


@pytest.fixture
def _ctrl_c() -> Iterator[None]:
    """A Ctrl-C is Python's own."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Interrupting(Failing):
    """From the n-th call on each one is met by a Ctrl-C; the last of two numbers fails, too."""

    def __init__(self, patching: pytest.MonkeyPatch, moment: int, failing: int) -> None:
        self.failing = failing
        super().__init__(patching, moment, errno.EIO)
        patching.setattr(os, "unlink", self.counted("unlink", os.unlink))

    def counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        fails = super().counted(name, call)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if self.count + 1 >= self.moment:
                signal.raise_signal(signal.SIGINT)
            if self.count + 1 == self.failing:
                self.moment = self.failing
                return fails(*args, **kwargs)
            self.count += 1
            return call(*args, **kwargs)

        return wrapped


@pytest.mark.usefixtures("system", "_ctrl_c")
@pytest.mark.parametrize("there", [True, False], ids=["over old ones", "new"])
@pytest.mark.parametrize("fails", [True, False], ids=["and one fails", "and none fails"])
def test_interrupts_while_outputs_are_put_in_place_leave_all_or_nothing(
    there: bool, fails: bool
) -> None:
    targets, written = PLACES["beside"], WRITTEN["beside"]
    if there:
        put(targets, b"old")
    before, seen = tree(), set()

    def put_interrupted(patching: pytest.MonkeyPatch, moment: int) -> None:
        nonlocal interrupting
        with staged_outputs(targets, force=there) as staged:
            for name in targets:
                write(staged.place_of(name), b"new" + name.encode())
            interrupting = Interrupting(patching, moment, moment + 3 if fails else 0)

    interrupting: Interrupting
    for moment in range(1, 100):
        with (
            pytest.MonkeyPatch.context() as patching,
            pytest.raises((KeyboardInterrupt, OutputError)) as caught,
        ):
            put_interrupted(patching, moment)
        seen.add(caught.type)
        if caught.type is Interrupted:
            assert (visible() if fails else tree()) == written  # what is hidden may not go away
            if interrupting.count < moment + 3:
                break
            reset(targets, there)
        assert tree() == before, moment
    assert seen >= ({OutputError, Interrupted} if fails else {Interrupted})


# --- kills ----------------------------------------------------------------------------------------

KILLED = """
import sys
from kills import Moments
from test_several import put, staging

moments, force, swaps = Moments(int(sys.argv[1])), sys.argv[2] == "force", sys.argv[3] == "swaps"
if not swaps:
    staging.swapped = lambda first, second: False
moments.watch("open", "mkdir", "link", "rename", "replace", "unlink", "rmdir", "fsync")
staging.swapped = moments.counted(staging.swapped)
put(dict(word.split("=") for word in sys.argv[4:]), force=force)
print(moments.count)
"""


def run_killed(
    moment: int, targets: Mapping[str, str], *, force: bool = False, swaps: bool = True
) -> subprocess.CompletedProcess[str]:
    here, root = Path(__file__).parent, Path(__file__).parents[2]
    words = [f"{name}={path}" for name, path in targets.items()]
    how = ["force" if force else "-", "swaps" if swaps else "-"]
    return subprocess.run(
        [sys.executable, "-c", KILLED, str(moment), *how, *words],
        env=os.environ | {"PYTHONPATH": f"{root}:{root / 'tests'}:{here}"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def visible() -> dict[str, bytes]:
    return {k: v for k, v in tree().items() if ".ckptsurgeon" not in k}


def find_moments(
    targets: Mapping[str, str], *, force: bool, swaps: bool
) -> Iterator[tuple[int, dict[str, bytes]]]:
    """The last calls of a run, at each of which it is killed; and what is visible then."""
    done = run_killed(0, targets, force=force, swaps=swaps)
    assert done.returncode == 0, done.stderr
    total = int(done.stdout)
    for moment in range(total - 16, total + 1):
        reset(targets, force)
        killed = run_killed(moment, targets, force=force, swaps=swaps)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        yield moment, visible()


def reset(targets: Mapping[str, str], there: bool) -> None:
    """Nothing is there, or old ones are."""
    for name in {*targets.values(), *(name for name in os.listdir() if name[0] == ".")}:
        clear(name)
    if there:
        put(targets, b"old")


@pytest.mark.parametrize("swaps", [True, False], ids=["swaps", "links"])
@pytest.mark.parametrize("force", [True, False], ids=["over old ones", "new"])
def test_a_kill_leaves_whole_files_and_the_next_run_tells(force: bool, swaps: bool) -> None:
    targets = (
        {"a": "a.pt", "b": "b.pt", "c": "tp/c.pt"} if not force else {"a": "a.pt", "b": "b.pt"}
    )
    states = set()
    reset(targets, force)
    for moment, found in find_moments(targets, force=force, swaps=swaps):
        assert set(found.values()) <= {b"newa", b"newb", b"newc", b"olda", b"oldb"}, moment
        new = sum(content.startswith(b"new") for content in found.values())
        states.add(new)
        told = tell_interrupted(targets.values())
        if 0 < new < len(targets):
            assert told.startswith("an earlier run was stopped while it put its files in place: ")
            assert (
                "a.pt is the new one, b.pt is the old one" if force else "a.pt is there"
            ) in told
            with pytest.raises(OutputError, match=r"exists already(.|\n)*an earlier run was stopp"):
                put(targets)
        else:
            assert told == ""
        put(targets, b"last", force=True)
        assert set(visible().values()) == {b"last" + name.encode() for name in targets}
        assert not [name for name in tree() if ".ckptsurgeon" in name and name[-1] != "/"]
    assert states == set(range(len(targets) + 1))


def test_removing_what_is_told_is_a_way_out() -> None:
    targets = {"a": "a.pt", "b": "b.pt"}
    moments = find_moments(targets, force=False, swaps=True)
    next(found for _, found in moments if list(found.values()) == [b"newa"])
    with pytest.raises(OutputError, match=r"a\.pt is there, b\.pt is not; remove a\.pt"):
        put(targets)
    os.unlink("a.pt")
    put(targets)
    assert tree() == {"a.pt": b"newa", "b.pt": b"newb"}


def test_what_waits_aside_is_never_taken_away() -> None:
    """Where names can't be swapped, a folder that is replaced has no name for a moment."""
    targets = {"a": "a.pt", "c": "c/"}
    reset(targets, True)
    for _, found in find_moments(targets, force=True, swaps=False):
        if "c/m.safetensors" not in found:
            told = tell_interrupted(["c/"])
            assert "c is moved to " in told
            waiting = told.split("c is moved to ")[1].split(";")[0]
            refuse_outputs({"x": "x.pt"}, force=False)
            put({"x": "x.pt"})
            with pytest.raises(OutputError, match=f"move {re.escape(waiting)} back to c,"):
                put({"c": "c/"})
            assert Path(waiting, "m.safetensors").read_bytes() == b"oldc"
            os.rename(waiting, "c")
            with pytest.raises(OutputError, match="exists already"):
                put({"c": "c/"})
            assert Path("c/m.safetensors").read_bytes() == b"oldc"
            return
    pytest.fail("no moment without a name")


@pytest.mark.parametrize("targets", [{"a": "a.pt", "x": "x.pt"}, {"a": "a.pt"}])
def test_what_waits_aside_is_kept_where_others_of_its_run_are_written(
    targets: dict[str, str],
) -> None:
    Path("a.pt").write_bytes(b"newa")
    files = [["a.pt", os.lstat("a.pt").st_ino, True, "0-old"], ["b.pt", INODE, True, "1-old"]]
    hidden = plant({"folders": 1, "files": files})
    Path(hidden, "1-old").write_bytes(b"oldb")
    with pytest.raises(OutputError, match=r"an earlier run .*move .*1-old back to b\.pt"):
        put(targets, force=True)
    os.unlink("a.pt")  # so that nothing is in the way
    with pytest.raises(OutputError, match=r"an earlier run .*move .*1-old back to b\.pt"):
        put(targets)
    assert Path(hidden, "1-old").read_bytes() == b"oldb"
    put({**targets, "b": "b.pt"}, force=True)
    assert set(visible()) == {*targets.values(), "b.pt"}
    assert not os.path.exists(hidden)


def test_a_run_that_lives_is_left_alone() -> None:
    with staged_outputs({"a": "a.pt"}, force=False) as staged:
        write(staged.place_of("a"), b"first")
        put({"b": "b.pt"})
        assert tell_interrupted(["a.pt", "b.pt"]) == ""
    assert tree() == {"a.pt": b"first", "b.pt": b"newb"}


# --- journals of strangers ------------------------------------------------------------------------


def plant(journal: object, *, folder: str = ".") -> Path:
    """A hidden folder as a killed run leaves it, with this journal."""
    hidden = Path(folder, staging.hidden_name(TOKEN))
    hidden.mkdir(parents=True)
    (hidden / "lock").touch()
    text = journal if isinstance(journal, str) else json.dumps(journal)
    (hidden / "journal.json").write_text(text)
    return hidden


INODE = 12345
HOSTILE: list[object] = [
    "",
    "{",
    "[" * 100_000,
    "null",
    [],
    {"folders": 1},
    {"folders": True, "files": [["a.pt", INODE, False, "0-old"]]},
    {"folders": 1, "files": [["../a.pt", INODE, False, "0-old"]]},
    {"folders": 1, "files": [["/etc/passwd", INODE, False, "0-old"]]},
    {"folders": 1, "files": [["..", INODE, False, "0-old"]]},
    {"folders": 1, "files": [["a.pt", INODE, False, "../../x"]]},
    {"folders": 1, "files": [["a\0", INODE, False, "0-old"]]},
    {"folders": 1, "files": [["a.pt", "1", False, "0-old"]]},
    {"folders": 1, "files": [["a.pt", INODE]]},
    {"folders": 1, "files": {"a.pt": INODE}},
    {"folders": 1, "files": [["a.pt", 10**400, False, "0-old"]] * 3},
]


@pytest.mark.parametrize("journal", HOSTILE)
def test_a_journal_that_is_none_says_nothing(journal: object, tmp_path: Path) -> None:
    os.mkdir("in")
    Path("a.pt").write_bytes(b"mine")
    plant(journal, folder="in")
    assert tell_interrupted(["in/a.pt", "in/b.pt"]) == ""
    put({"a": "in/a.pt", "b": "in/b.pt"})
    assert tree() == {"a.pt": b"mine", "in/a.pt": b"newa", "in/b.pt": b"newb"}


def test_a_journal_is_shown_with_escapes_and_touches_nothing() -> None:
    Path("a.pt").write_bytes(b"mine")
    inode = os.stat("a.pt").st_ino
    files = [["a.pt", inode, False, "0-old"], ["\x1b[2Jb", INODE, True, "1-old"]]
    plant({"folders": 1, "files": files})
    told = tell_interrupted(["a.pt"])
    assert "\\x1b[2Jb is moved to" in told
    assert "\x1b" not in told
    put({"x": "x.pt"})
    assert Path("a.pt").read_bytes() == b"mine"


def test_links_in_the_place_of_hidden_folders_are_not_followed() -> None:
    os.makedirs("victim")
    for name in ("lock", "journal.json", "0"):
        Path("victim", name).write_text("{}")
    os.mkdir("in")
    os.symlink("../victim", f"in/{staging.hidden_name(TOKEN)}")
    put({"a": "in/a.pt"})
    hidden = Path("up", staging.hidden_name(TOKEN))
    hidden.mkdir(parents=True)
    for name in ("lock", "journal.json", "0"):
        (hidden / name).symlink_to(f"../../victim/{name}")
    (hidden / "all").symlink_to("../../victim")
    put({"a": "up/a.pt"})
    assert {name for name in tree() if name.startswith("victim")} == {
        "victim/lock",
        "victim/journal.json",
        "victim/0",
    }
    os.unlink(hidden / "lock")
    (hidden / "lock").touch()
    put({"a": "up/b.pt"})
    assert not hidden.exists()
    assert sorted(os.listdir("victim")) == ["0", "journal.json", "lock"]


def test_a_run_of_which_a_folder_is_not_looked_at_is_kept() -> None:
    """Whether all of it is in place can't be known."""
    Path("a.pt").write_bytes(b"x")
    inode = os.stat("a.pt").st_ino
    hidden = plant({"folders": 2, "files": [["a.pt", inode, False, "0-old"]]})
    put({"b": "b.pt"})
    assert hidden.exists()
    put({"a": "a.pt"}, force=True)
    assert not hidden.exists()


def test_room_that_an_earlier_run_takes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    plant({"folders": 2, "files": [["a.pt", INODE, False, "0-old"]]})
    monkeypatch.setattr(os, "statvfs", lambda folder: SimpleNamespace(f_bavail=0, f_frsize=1))
    with pytest.raises(OutputError, match=r"an earlier run left \.ckpt.*partial, which can be"):
        put({"a": "a.pt"})
    assert several.MOST_OUTPUTS == 4096
