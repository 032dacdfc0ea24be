"""0 clean, 1 findings, 2 trouble: what is said, on which stream, and what is left on the disk."""

from __future__ import annotations

import json
import shlex
import signal
from pathlib import Path

import pytest
import torch
from command_line import Ckpt

from ckptsurgeon.checkpoints.writing.journal import StagingFolder

CLEAN = (
    "inspect train.pt",
    "inspect a.npz --format json",
    "inspect dst.pt --format spec",
    "inspect dst.pt --stats",
    "inspect dst.pt --stats --memory 1MiB --only 'fc.*' --format json -v",
    "check rules.yaml",
    "rules list",
    "rules show torchvision_resnet_to_transformers",
    "rules schema",
    "plan train.pt",
    "plan train.pt --into dst.pt -r rules.yaml",
    "plan train.pt --into dst.pt -r rules.yaml --format json",
    "transplant train.pt --into dst.pt -r rules.yaml -o out.pt",
    "transplant train.pt -o out.safetensors -q",
    "transplant train.pt -o out/",
    "explain conv.weight train.pt --into dst.pt -r rules.yaml",
    "probe train.pt -o out.pt",
    "diff train.pt train.pt",
    "diff train.pt train.pt --exact --format json",
    "diff train.pt dst.pt -r rules.yaml --headers",
)

FINDINGS = (
    "plan --source a=train.pt",
    "plan train.pt --into dst.pt",
    "plan src.safetensors --into dst.pt --allow unused",
    "transplant train.pt --into dst.pt -o out.pt",
    "transplant train.pt --into dst.pt -o out.pt -q",
    "transplant train.pt --into dst.pt -o dst.pt",
)

TROUBLE = {
    "plan": "error: no source: give SRC, or name sources by --source ALIAS=PATH",
    "plan ''": "error: the name of a checkpoint is empty",
    "plan train.pt --into ''": "error: the name of a checkpoint is empty",
    "plan nope.pt": "error: nope.pt: there is no such file",
    "plan rules.yaml": "error: rules.yaml: is a rule file, no checkpoint",
    "plan train.pt --into nope.pt": "error: nope.pt: there is no such file",
    "plan train.pt -r nope.yaml": "nope.yaml:1:1: can't read the rule file",
    "plan train.pt -r torchvision_resnet": "did you mean 'torchvision_resnet_to_transformers'?",
    "plan train.pt -e nonsense": "-e:1:1: ",
    "plan train.pt -e 'a -> b'": "-e:1:1: no key matches `a`",
    "plan train.pt --config nope.json": "error: nope.json: can't read the config: No such file",
    "plan train.pt --config .": "error: .: can't read the config: Is a directory",
    "plan train.pt --config rules.yaml": "error: rules.yaml: the config is not JSON",
    "plan train.pt --config train.pt": "error: train.pt: the config is not UTF-8 at byte",
    "plan train.pt --config list.json": "error: list.json: the config is no JSON object",
    "plan train.pt --set n=3": "error: --set n: no var of the rules has this name",
    "plan train.pt --set 'n=3 4'": "error: --set n: '4' where the expression should end or go on",
    "plan train.pt --source 'a b=dst.pt'": "error: --source 'a b': 'a b' can't name a source",
    "plan train.pt --source dst=dst.pt": "error: --source dst: 'dst' can't name a source: it means",
    "plan train.pt --source 's*=x*.pt'": "error: --source 's*=x*.pt': no file matches",
    "plan train.pt -o plan.txt": "error: plan.txt: a plan is saved as JSON: name it `plan.json`",
    "plan train.pt -o list.json": "error: list.json: exists, and is no plan",
    "plan train.pt -o no/plan.json": "error: no/plan.json: the folder",
    "check nope": "error: no shipped ruleset 'nope'",
    "check .": ".:1:1: a folder where a rule file is wanted",
    "rules show nope": "error: no shipped ruleset 'nope'",
    "explain conv.wieght src.safetensors": "no key `conv.wieght`: did you mean 'conv.weight'?",
    "explain fc.bias train.pt -r rules.yaml": "",
    "diff train.pt no.pt": "error: no.pt: there is no such file",
    "diff train.pt ''": "error: the name of a checkpoint is empty",
    "diff train.pt dst.pt --only 'nope.*'": "error: A and B: no key matches `nope.*`",
    "diff train.pt dst.pt -e 'a -> b'": "-e:1:1: no key matches `a`",
    "diff train.pt dst.pt --source a=src.safetensors": "error: A: several are one",
    "inspect no": "error: no: there is no such file",
    "plan a=train.pt": "a source with a name is given by --source a=train.pt",
    "inspect train.pt --root nope": "error: train.pt: no tensors under the root 'nope'",
    "inspect tarin.pt": "error: tarin.pt: there is no such file; did you mean `train.pt`?",
    "inspect zq.safetensors": "error: zq.safetensors: there is no such file\n",
    "inspect ''": "error: the name of a checkpoint is empty",
    "transplant train.pt -o out.npz": "error: out.npz: npz files are read, never written",
    "transplant train.pt -o out.foo": "error: out.foo: no format is known by the suffix .foo",
    "transplant train.pt -o no/out.pt": "error: no/out.pt: the folder",
    "transplant train.pt -o dst.pt": "error: dst.pt: exists already; --force replaces it",
    "transplant train.pt -o train.pt": "error: train.pt: the output would overwrite its own input",
    "transplant --plan nope.json -o out.pt": "error: nope.json: can't read the saved plan",
    "transplant --plan list.json -o out.pt": "error: list.json: is no plan that was saved",
}

USAGE = {
    "inspect dst.pt --memory 1MiB": "--memory: values are read with --stats alone",
    "inspect dst.pt --stats --format spec": "--stats: a spec has no values",
    "inspect dst.pt --histogram": "--stats",
    "nope": "No such command 'nope'",
    "plan --nope": "No such option",
    "suggest train.pt --into dst.pt": "the destination stands behind the source",
    "plan train.pt dst.pt": "one word too many: the destination is given by `--into dst.pt`",
    "plan train.pt a=dst.pt": "a further source by `--source a=dst.pt`",
    "plan train.pt --allow everything": "'everything' is not one of 'missing'",
    "plan train.pt --allow fc.weight": "say -e 'keep: fc.weight', and -e 'drop: fc.weight'",
    "plan train.pt --format yaml": "'yaml' is not one of",
    "plan train.pt --set n": "--set n: wanted NAME=VALUE",
    "plan train.pt --set n=": "--set n=: wanted NAME=VALUE",
    "plan train.pt --source dst.pt": "--source dst.pt: wanted ALIAS=PATH",
    "plan train.pt --source a=1 --source a=2": "--source a: given twice",
    "transplant train.pt": "Missing option '-o'",
    "check": "Missing argument",
    "diff": "Missing argument '[A] B'",
    "diff train.pt a=dst.pt a=src.safetensors -e '**'": "B a=: given twice",
    "diff train.pt a= -e '**'": "B a=: no path behind `=`",
    "diff train.pt dst.pt --model-args {}": "neither B nor A is a factory",
    "diff train.pt dst.pt --atol=-1": "-1.0 is not in the range x>=0",
    "explain": "Missing argument 'KEY'",
    "transplant --plan p.json -e 'a -> b' -o out.pt": "--plan takes no -e: it has its own",
    "transplant --plan p.json -r rules.yaml -o out.pt": "--plan takes no -r",
    "transplant --plan p.json --set a=1 -o out.pt": "--plan takes no --set",
    "transplant --plan p.json --config c.json -o out.pt": "--plan takes no --config",
    "transplant --plan p.json --allow unused -o out.pt": "--plan takes no --allow",
}


@pytest.fixture(autouse=True)
def _files(folder: Path) -> None:
    (folder / "list.json").write_text("[1]")


def words(line: str) -> list[str]:
    return shlex.split(line)


@pytest.mark.parametrize("line", CLEAN)
def test_clean_is_0_and_says_nothing_on_stderr_but_what_was_written(line: str, ckpt: Ckpt) -> None:
    ran = ckpt(*words(line))
    assert ran.code == 0, ran.err
    written = [told for told in ran.err.splitlines() if not told.startswith("next: ")]
    assert all("tensors written" in told for told in written)
    assert len(written) == line.startswith(("transplant", "probe"))
    assert bool(ran.out) == ("-q" not in line)


@pytest.mark.parametrize(("count", "told"), [(1, "1 tensor"), (2, "2 tensors")])
def test_what_was_written_is_counted_in_words(
    count: int, told: str, ckpt: Ckpt, folder: Path
) -> None:
    torch.save({f"w{i}": torch.zeros(1) for i in range(count)}, folder / "few.pt")
    ran = ckpt("transplant", "few.pt", "-o", "few.safetensors")
    assert ran.err.startswith(f"few.safetensors: {told} written, ")


@pytest.mark.parametrize("line", FINDINGS)
def test_findings_are_1_with_the_report_on_stdout_and_nothing_written(
    line: str, ckpt: Ckpt, folder: Path
) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    ran = ckpt(*words(line))
    assert ran.code == 1
    assert "findings: " in ran.out
    assert ("not written, for the findings above" in ran.err) == line.startswith("transplant")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(("line", "told"), TROUBLE.items())
def test_trouble_is_2_and_told_on_stderr_alone(
    line: str, told: str, ckpt: Ckpt, folder: Path
) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    ran = ckpt(*words(line))
    assert (ran.code, told in ran.err) == (2, True), ran.err
    assert not ran.out or line.startswith("explain fc.bias")
    assert "Traceback" not in ran.err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(("line", "told"), USAGE.items())
def test_usage_is_2_with_the_way_to_help(line: str, told: str, ckpt: Ckpt) -> None:
    ran = ckpt(*words(line))
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert "--help" in ran.err


def test_a_bug_of_ours_is_70_in_words(
    ckpt: Ckpt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a \x1b[31m key")

    monkeypatch.setattr("ckptsurgeon.request.request.make_plan", broken)
    ran = ckpt("plan", "train.pt")
    assert (ran.code, ran.out) == (70, "")
    assert ran.err.startswith("a bug in ckptsurgeon ")
    assert "\x1b" not in ran.err
    assert len(ran.err.splitlines()) == 2
    monkeypatch.setenv("CKPTSURGEON_DEBUG", "1")
    assert "Traceback" in ckpt("plan", "train.pt").err


def test_memory_and_interrupts_are_told(
    ckpt: Ckpt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(error: BaseException) -> None:
        def make(*_: object) -> None:
            raise error

        monkeypatch.setattr("ckptsurgeon.request.request.make_plan", make)

    raises(MemoryError())
    assert ckpt("plan", "train.pt")[::2] == (2, "error: out of memory\n")
    raises(KeyboardInterrupt())
    assert ckpt("plan", "train.pt")[::2] == (130, "\nstopped; nothing was written\n")


def test_an_interrupt_when_all_is_written_does_not_say_that_nothing_is(
    ckpt: Ckpt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget = StagingFolder.forget

    def interrupted(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    def forgets(staging: StagingFolder) -> None:
        interrupted()
        forget(staging)

    rule = "module.conv.weight -> o<r>::w: {copies: 2}"
    line = (*words("transplant train.pt -e"), rule, "-o", "o<r>=out/<r>.pt", "--allow", "unused")
    told = "\nstopped; all was written before\n"
    with monkeypatch.context() as patching:
        patching.setattr(StagingFolder, "forget", forgets)
        assert ckpt(*line)[::2] == (130, told)
    assert sorted(path.name for path in Path().glob("out/*")) == ["0.pt", "1.pt"]
    assert not list(Path().glob(".ckptsurgeon*"))
    monkeypatch.setattr("ckptsurgeon.cli.converting.print_ending", interrupted)
    assert ckpt(*line, "--force")[::2] == (130, told)


def test_force_replaces_and_allow_keeps(ckpt: Ckpt, folder: Path) -> None:
    line = words("transplant train.pt --into src.safetensors -o dst.pt --force -q")
    allowed = (word for kind in ("missing", "unused", "nothing") for word in ("--allow", kind))
    assert ckpt(*line, *allowed).code == 0
    assert torch.load("dst.pt", weights_only=True)["epoch"] == 3


def test_json_is_complete_and_reads_back(ckpt: Ckpt, folder: Path) -> None:
    line = words("plan train.pt --into dst.pt -r rules.yaml --format json")
    report = json.loads(ckpt(*line).out)
    assert report["version"] == 3
    assert [row["key"] for row in report["rows"]] == list(torch.load("dst.pt"))
    assert {note["key"] for note in report["notes"] if note["kind"] == "entry"} == {"args"}
    assert [one["key"] for one in report["sources"][0]["outside"]] == ["optimizer"]
    assert json.loads(ckpt("inspect", "train.pt", "--format", "json").out)["count"] == 5


def test_shapes_alone_have_no_statistics(ckpt: Ckpt, folder: Path) -> None:
    (folder / "spec.json").write_text(ckpt("inspect", "dst.pt", "--format", "spec").out)
    ran = ckpt("inspect", "spec.json", "--stats")
    assert (ran.code, ran.out) == (2, "")
    told = "spec.json: holds shapes alone, no values for --stats; name the file or the folder that"
    assert told in ran.err


def test_a_spec_as_destination_says_what_a_checkpoint_would(ckpt: Ckpt, folder: Path) -> None:
    (folder / "spec.json").write_text(ckpt("inspect", "dst.pt", "--format", "spec").out)
    arrow = "conv.weight[:, :3] -> conv.weight"
    wanted = ckpt("plan", "src.safetensors", "--into", "dst.pt", "-e", arrow)
    found = ckpt("plan", "src.safetensors", "--into", "spec.json", "-e", arrow)
    assert found.code == wanted.code == 1
    assert found.out.splitlines()[-1] == wanted.out.splitlines()[-1]
    kept = ckpt("plan", "src.safetensors", "--into", "spec.json", "-r", "rules.yaml")
    assert kept.code == 0
    assert "values (2)  the destination's own, which has shapes alone" in kept.out
    words = ("src.safetensors", "--into", "spec.json", "-r", "rules.yaml", "-o", "out.pt")
    written = ckpt("transplant", *words)
    assert (written.code, (folder / "out.pt").exists()) == (2, False)
    assert (
        "rules.yaml:6:5: `fc.weight`, `fc.bias` can't be kept: the destination has sh"
        in written.err
    )
    assert "a rule for each, such as `- init: {to: fc.weight, fill: zeros}`" in written.err


def test_a_glob_numbers_sources_in_natural_order(ckpt: Ckpt, folder: Path) -> None:
    for number in (2, 10, 1):
        torch.save({"w": torch.full((1, 2), float(number))}, f"part.{number}.pth")
    torch.save({"w": torch.full((1, 2), 11.0)}, "part.10²3.pth")  # a digit that is no number
    ran = ckpt(
        *("transplant", "--source", "s*=part.*.pth", "-o", "out.pt"),
        *("-e", "{from: 's<s>::w', to: w, ops: concat}"),
    )
    assert ran.code == 0, ran.err
    assert torch.load("out.pt")["w"][:, 0].tolist() == [1, 2, 10, 11]
