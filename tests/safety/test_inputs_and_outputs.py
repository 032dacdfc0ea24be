"""What a transplant must never destroy: its inputs, other files, and the output that was there."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
import torch
from command_line import Ckpt
from safetensors.torch import load_file

import ckptsurgeon as cs
from ckptsurgeon.checkpoints.transfer import write_bytes

FULL = "the disk is full; nothing was left behind"


def sharded(folder: Path, name: str = "shards") -> Path:
    """A folder of three safetensors shards with an index."""
    cs.transplant("src.safetensors", folder / name, max_shard_size=400)
    return folder / name


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_no_name_of_an_input_is_overwritten(force: list[str], ckpt: Ckpt, folder: Path) -> None:
    os.link("train.pt", "hard.pt")
    os.symlink("train.pt", "soft.pt")
    os.symlink(".", "here")
    before = contents(folder)
    for name in ("train.pt", "./train.pt", "hard.pt", "soft.pt", "here/train.pt", "here/soft.pt"):
        ran = ckpt("transplant", "train.pt", "-o", name, *force)
        assert ran.code == 2
        assert "would overwrite its own input" in ran.err
        ran = ckpt("transplant", "soft.pt", "--into", "train.pt", "-o", name, *force)
        assert "would overwrite its own input" in ran.err
    ran = ckpt("transplant", "--source", "a=src.safetensors", "--into", "dst.pt", "-o", "dst.pt")
    assert ran.code in (1, 2)
    assert contents(folder) == before


def test_the_destination_is_an_input_too(ckpt: Ckpt, folder: Path) -> None:
    words = ("transplant", "train.pt", "--into", "dst.pt", "-r", "rules.yaml", "--force")
    ran = ckpt(*words, "-o", "dst.pt")
    assert (ran.code, "would overwrite its own input dst.pt" in ran.err) == (2, True)


def test_folders_of_shards_are_kept_from_themselves(ckpt: Ckpt, folder: Path) -> None:
    shards = sharded(folder)
    index = shards / "model.safetensors.index.json"
    shard = next(iter(sorted(shards.glob("*.safetensors"))))
    os.symlink(shards, "link")
    before = contents(folder)
    for source in (shards, index):
        for name in (shards, shard, "link", "link/", folder, folder / "shards/"):
            ran = ckpt("transplant", source, "-o", name, "--force")
            assert ran.code == 2, name
            assert "would overwrite its own input" in ran.err
    ran = ckpt("transplant", shard, "--one-shard", "-o", shards, "--force")
    assert "would overwrite its own input" in ran.err
    assert contents(folder) == before


def test_a_folder_that_holds_more_than_weights_is_not_replaced(ckpt: Ckpt, folder: Path) -> None:
    shards = sharded(folder)
    (shards / "config.json").write_text("{}")
    ran = ckpt("transplant", "dst.pt", "-o", shards, "--force")
    assert (ran.code, "'config.json'" in ran.err) == (2, True)
    assert (shards / "config.json").exists()
    (shards / "config.json").unlink()
    assert ckpt("transplant", "dst.pt", "-o", shards).code == 2
    assert ckpt("transplant", "dst.pt", "-o", shards, "--force").code == 0
    assert [path.name for path in shards.iterdir()] == ["model.safetensors"]


def test_a_link_as_output_is_written_through(ckpt: Ckpt, folder: Path) -> None:
    (folder / "away").mkdir()
    os.symlink("away/real.pt", "link.pt")
    assert ckpt("transplant", "dst.pt", "-o", "link.pt").code == 0
    assert Path("link.pt").is_symlink()
    assert torch.load("away/real.pt").keys() == torch.load("dst.pt").keys()
    os.symlink("loop.pt", "loop.pt")
    assert ckpt("transplant", "dst.pt", "-o", "loop.pt").code == 2


@pytest.mark.parametrize("name", ["out.pt", "out.safetensors", "out/"])
def test_a_disk_that_fills_up_leaves_nothing(
    name: str, ckpt: Ckpt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, offset: int, data: bytes | memoryview) -> None:
        if len(data) == 3200:  # fc.weight, turned
            raise OSError(errno.ENOSPC, "No space left on device")
        write_bytes(descriptor, offset, data)

    monkeypatch.setattr("ckptsurgeon.checkpoints.writing.target.write_bytes", full)
    before = contents(folder)
    turned = "{from: fc.weight, to: fc.turned, ops: transpose}"
    ran = ckpt("transplant", "src.safetensors", "-e", turned, "-o", name)
    assert (ran.code, ran.err) == (2, f"error: {name.rstrip('/')}: {FULL}\n")
    assert contents(folder) == before
    assert not (folder / "out").exists()


def test_an_output_larger_than_the_disk_is_refused_at_once(
    ckpt: Ckpt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init = "{init: {to: huge, fill: ones, shape: [2**30, 256], dtype: F32}}"
    init = init.replace("2**30", str(2**30))
    before = contents(folder)
    if shutil.disk_usage(folder).free > 2**40:
        pytest.skip("the disk has room for a tebibyte")
    ran = ckpt("transplant", "src.safetensors", "-e", init, "-o", "out.safetensors")
    assert (ran.code, ran.out) == (2, "")
    assert "free, the output takes 1.0 TiB" in ran.err
    assert contents(folder) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_that_may_not_be_written_to(ckpt: Ckpt, folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o500)
    ran = ckpt("transplant", "train.pt", "-o", "closed/out.pt")
    assert (ran.code, "can't be written" in ran.err) == (2, True)


@pytest.mark.parametrize("change", ["cut", "gone", "rewritten", "touched", "replaced"])
@pytest.mark.parametrize("source", ["train.pt", "src.safetensors", "a.npz"])
def test_a_source_that_changes_between_plan_and_write_is_told(
    source: str, change: str, ckpt: Ckpt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ckptsurgeon.request import request

    made = request.make_plan
    data = Path(source).read_bytes()

    def make_plan(*given: object) -> object:
        plan = made(*given)  # type: ignore[arg-type]
        if change == "cut":
            os.truncate(source, 300)
        elif change == "gone":
            os.unlink(source)
        elif change == "rewritten":
            Path(source).write_bytes(data[:-100] + bytes(100))
        elif change == "touched":
            os.utime(source, ns=(1, 1))
        else:
            os.replace("dst.pt", source)
        return plan

    monkeypatch.setattr(request, "make_plan", make_plan)
    ran = ckpt("transplant", source, "-o", "out.safetensors", "-q")
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert ran.err.startswith(f"error: {source}: ")
    assert not Path("out.safetensors").exists()


def test_rule_files_configs_and_plans_that_are_no_files(ckpt: Ckpt, folder: Path) -> None:
    os.mkfifo("pipe.json")
    (folder / "binary").write_bytes(bytes(range(256)))
    for name in ("pipe.json", "/dev/zero", "/dev/null", ".", "binary", "train.pt"):
        assert ckpt("plan", "train.pt", "--config", name).code == 2
        assert ckpt("transplant", "--plan", name, "-o", "out.pt").code == 2
        assert ckpt("inspect", name).code == (0 if name in ("train.pt", ".") else 2)
    for name in ("/dev/zero", "/dev/null", ".", "binary", "train.pt"):
        ran = ckpt("check", "./" + name if name[0] != "/" else name)
        assert ran.code == 2, name
        assert "Traceback" not in ran.err


def test_take_reads_no_file_outside_of_the_rule_file_s_folder(ckpt: Ckpt, folder: Path) -> None:
    import numpy as np

    np.save("order.npy", np.array([1, 0]))
    (folder / "rules").mkdir()
    os.mkfifo("rules/pipe.npy")
    os.symlink("../order.npy", "rules/link.npy")
    for name in ("../order.npy", str(folder / "order.npy"), "link.npy", "pipe.npy", "/dev/zero"):
        text = f"format: 1\nrules:\n  - fc.bias -> fc.bias: {{take: {{file: {name}}}}}\n"
        Path("rules/take.yaml").write_text(text)
        ran = ckpt("plan", "src.safetensors", "-r", "rules/take.yaml")
        assert (ran.code, "rules/take.yaml:3:" in ran.err) == (2, True)
    shutil.copy("order.npy", "rules/mine.npy")
    Path("rules/take.yaml").write_text(text.replace("/dev/zero", "mine.npy"))
    ran = ckpt("transplant", "src.safetensors", "-r", "rules/take.yaml", "-o", "out.safetensors")
    assert ran.code == 0, ran.err
    wanted = load_file("src.safetensors")["fc.bias"][[1, 0]]
    assert torch.equal(load_file("out.safetensors")["fc.bias"], wanted)


def test_a_plan_overwrites_neither_what_it_turns_around_nor_a_checkpoint(
    ckpt: Ckpt, folder: Path
) -> None:
    saved = ("plan", "src.safetensors", "-e", "fc.bias -> x", "-o")
    assert ckpt(*saved, "plan.json").code == 0
    before = contents(folder)
    ran = ckpt("invert", "plan.json", "-o", "./plan.json")
    assert (ran.code, "would overwrite its own plan" in ran.err) == (2, True)
    ran = ckpt(*saved, "model.safetensors.index.json")
    assert (ran.code, "is taken for the index of a checkpoint" in ran.err) == (2, True)
    assert contents(folder) == before
