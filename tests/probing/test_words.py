"""What `probe` says: on the command line, in JSON, and in errors; and its exit codes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Ckpt
from hostile_files import good, hostile

import ckptsurgeon as cs

TEXT = """\
probe   out.pt  15 tensors, 496 B, 1 tie, seed 7
source  odd.pt  torch

kept as they are  3 tensors, 288 B
  integers  blocks.<0..1>.ids  I64[12]
  tables    blocks.0.freqs     F32[24]

made up to look like their kind  2 tensors, 16 B
  counters  blocks.<0..1>.num_batches_tracked  I64[]

notes
  wrapper        tensors are read from `model`
  entry    args  argparse.Namespace, not written

2 left out  what can't be read has no place in the probe
  adj.<0..1>  a sparse tensor; load it with torch and save `.to_dense()` of it

"""


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a tie, tables, counters, an object, and two tensors that can't be read."""
    import argparse

    monkeypatch.chdir(tmp_path)
    model: dict[str, Any] = {"embed": torch.zeros(4, 4)}
    model["head"] = model["embed"]
    for i in range(2):
        model[f"blocks.{i}.num_batches_tracked"] = torch.tensor(0)
        model[f"blocks.{i}.ids"] = torch.arange(12)
        model[f"adj.{i}"] = torch.eye(3).to_sparse()
        model |= {f"blocks.{i}.{name}": torch.zeros(2) for name in ("weight", "bias", "x", "y")}
    model["blocks.0.freqs"] = torch.arange(24.0)
    torch.save({"model": model, "args": argparse.Namespace(lr=1)}, "odd.pt")
    return tmp_path


def test_the_text(odd: Path, ckpt: Ckpt) -> None:
    ran = ckpt("probe", "odd.pt", "-o", "out.pt", "--seed", 7)
    assert ran.code == 1
    assert ran.out.startswith(TEXT), ran.out
    last = "15 tensors, 496 B: 10 random, 2 made up, 3 kept, 2 LEFT OUT that can't be read\n"
    assert ran.out == TEXT + last
    assert ran.err.startswith("out.pt: 15 tensors written, 288 B copied, 144 B rearranged or")
    assert list(torch.load("out.pt")["model"])[:2] == ["embed", "head"]


def test_json_has_all_of_it(odd: Path, ckpt: Ckpt) -> None:
    ran = ckpt("probe", "odd.pt", "-o", "out.pt", "--format", "json")
    told = json.loads(ran.out)
    assert (ran.code, told["exit_code"], told["clean"]) == (1, 1, False)
    assert told == cs.probe("odd.pt", "out.pt", force=True).to_dict()
    assert told["left_out"]["adj.0"]["unreadable"] == "a sparse tensor"
    assert told["ties"] == {"head": "embed"}
    assert told["kinds"]["blocks.1.ids"] == "integers"


def test_verbose_folds_nothing(odd: Path, ckpt: Ckpt) -> None:
    ran = ckpt("probe", "odd.pt", "-o", "out.pt", "-v")
    assert all(f"blocks.{i}.ids" in ran.out for i in range(2))


def test_a_result_shows_itself(odd: Path) -> None:
    made = cs.probe("odd.pt", "out.pt", seed=7)
    assert str(made) + "\n" == TEXT + made.summary + "\n"
    assert repr(made) == f"<Probe: {made.summary}>"
    assert made.left_out.keys() == {"adj.0", "adj.1"}


TROUBLE = {
    "probe nope.pt -o out.pt": "error: nope.pt: there is no such file",
    "probe '' -o out.pt": "error: the name of a checkpoint is empty",
    "probe rules.yaml -o out.pt": "error: rules.yaml: is a rule file, no checkpoint",
    "probe train.pt": "Missing option '-o'",
    "probe -o out.pt": "Missing argument 'SRC'",
    "probe train.pt dst.pt": "one word too many: the output is given by `-o dst.pt`",
    "probe train.pt -o dst.pt": "error: dst.pt: exists already; --force replaces it",
    "probe train.pt -o train.pt": "error: train.pt: the output would overwrite its own input",
    "probe train.pt -o ./train.pt --force": "would overwrite its own input",
    "probe train.pt -o out.npz": "error: out.npz: npz files are read, never written",
    "probe train.pt -o out.foo": "error: out.foo: no format is known by the suffix .foo",
    "probe train.pt -o no/out.pt": "error: no/out.pt: the folder",
    "probe train.pt -o -": "error: a checkpoint can't be a stream",
    "probe train.pt -o out.pt --seed -1": "error: seed=-1: wanted at least 0",
    "probe train.pt -o out.pt --seed x": "'x' is not a valid integer",
    "probe train.pt -o out.pt --root nope": "error: train.pt: no tensors under the root 'nope'",
    "probe train.pt -o out.pt --max-shard-size 1KB": "is one file, and shards make a folder",
    "probe train.pt -o out.pt --memory 0": "'0' is no size",
    "probe train.pt -o out.pt --model-args {}": "--model-args: train.pt is no factory",
    "probe empty.pt -o out.pt": "error: empty.pt: holds no tensors",
    "probe sparse.pt -o out.pt": "sparse.pt: holds no tensor that can be read: `w` is a sparse",
    "probe rivals.pt -o out.pt": "holds the same weights 2 times",
    "probe F4.json -o out.pt": "torch files have no F4; cast it, or write safetensors",
    "probe huge.json -o out.safetensors": "free, the output takes",
    "probe model-00001-of-00002.safetensors -o out.pt": "is shard 1 of 2, no whole checkpoint",
    "randomize train.pt": "there is no command 'randomize': write `ckptsurgeon probe`",
}


@pytest.mark.parametrize("line", TROUBLE)
def test_trouble_is_2_with_words_and_no_output(line: str, ckpt: Ckpt, folder: Path) -> None:
    import shlex

    torch.save({}, "empty.pt")
    torch.save({"w": torch.eye(3).to_sparse()}, "sparse.pt")
    torch.save({"model": {"w": torch.rand(2)}, "ema": {"w": torch.rand(2)}}, "rivals.pt")
    Path("F4.json").write_text('{"w": ["F4", [4]]}')
    Path("huge.json").write_text('{"w": ["F32", [1000000000, 1000000000]]}')
    Path("model-00001-of-00002.safetensors").write_bytes(Path("src.safetensors").read_bytes())
    before = {path: path.read_bytes() for path in folder.iterdir()}
    ran = ckpt(*shlex.split(line))
    assert ran.code == 2, ran
    assert TROUBLE[line] in ran.err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_force_replaces_and_one_shard_is_let_pass(folder: Path, ckpt: Ckpt) -> None:
    assert ckpt("probe", "train.pt", "-o", "dst.pt", "--force").code == 0
    assert "state_dict" in torch.load("dst.pt")
    Path("model-00001-of-00002.safetensors").write_bytes(Path("src.safetensors").read_bytes())
    words = ("probe", "model-00001-of-00002.safetensors", "-o", "out.pt")
    ran = ckpt(*words, "--one-shard")
    assert (ran.code, "is shard 1 of 2; what lies in the others is left out" in ran.out) == (
        0,
        True,
    )


def test_a_spec_may_come_from_a_stream(
    folder: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ckpt("inspect", "dst.pt", "--format", "spec").out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(spec.encode())))
    assert ckpt("probe", "-", "-o", "out.pt").code == 0
    assert list(torch.load("out.pt")) == list(torch.load("dst.pt"))


HOSTILE = "x\x1b[31m\u202e"


def test_keys_are_no_terminal_text(folder: Path, ckpt: Ckpt) -> None:
    state = {HOSTILE: torch.arange(30), f"{HOSTILE}y": torch.eye(2).to_sparse()}
    torch.save({"model": state, HOSTILE: 3}, f"{HOSTILE}.pt")
    ran = ckpt("probe", f"{HOSTILE}.pt", "-o", f"{HOSTILE}.safetensors")
    assert ran.code == 1
    assert not {"\x1b", "\u202e"} & {*ran.out, *ran.err}
    assert r"x\x1b[31m\u202ey" in ran.out


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_hostile_files_are_read_as_any(suffix: str, folder: Path, ckpt: Ckpt) -> None:
    for name, content in {**good(), **hostile()}.items():
        Path(name).write_bytes(content)
        ran = ckpt("probe", name, "-o", f"out{suffix}", "--force")
        assert ran.code in (0, 1, 2), (name, ran)
        assert ran.code == 0 or name not in good() or name.endswith((".yaml", "config.json")), ran
        assert not Path("owned").exists(), name


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "a seed in a text": (lambda: cs.probe({"w": torch.ones(2)}, seed="x"), "seed: a str where"),  # type: ignore[call-overload]
    "a root in a list": (lambda: cs.probe({"w": torch.ones(2)}, root=[3]), "root: a list where"),  # type: ignore[call-overload]
    "a root of a model": (
        lambda: cs.probe(torch.nn.Linear(2, 2), root="x"),
        "is no file to open at a root",
    ),
    "a dict as output": (lambda: cs.probe("a.pt", {}), "where the name of a file"),  # type: ignore[call-overload]
    "no checkpoint": (lambda: cs.probe(3), "an int is no checkpoint"),  # type: ignore[call-overload]
    "an empty dict": (lambda: cs.probe({}), "holds no tensors"),
    "force without an output": (
        lambda: cs.probe({"w": torch.ones(2)}, force=True),  # type: ignore[call-overload]
        "force: is of an output, and none is named",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"w": torch.ones(2)}, "a.pt")
    call, words = WRONG[name]
    with pytest.raises(cs.CkptSurgeonError) as caught:
        call()
    assert words in str(caught.value)


def test_sizes_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="memory=0: wanted at least 1"):
        cs.probe({"w": torch.ones(2)}, tmp_path / "a.pt", memory=0)
    with pytest.raises(ValueError, match="max_shard_size: 'x' is no size"):
        cs.probe({"w": torch.ones(2)}, tmp_path / "a", max_shard_size="x")
    assert os.listdir(tmp_path) == []


LOADED = """\
import json, sys
from ckptsurgeon.cli import run
code = run(sys.argv[1:])
print()
print(json.dumps([code, sorted(name for name in sys.modules if "." not in name)]))
"""


@pytest.mark.parametrize("source", ["train.pt", "src.safetensors", "a.npz"])
@pytest.mark.parametrize("output", ["out.pt", "out.safetensors", "out/"])
def test_no_probe_of_a_file_loads_torch(source: str, output: str, folder: Path) -> None:
    words = [sys.executable, "-c", LOADED, "probe", source, "-o", output]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    code, modules = json.loads(ran.stdout.splitlines()[-1])
    assert (code, {"torch", "rich", "ml_dtypes"} & {*modules}) == (0, set())
