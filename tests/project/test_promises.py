"""The promises of the README, each tried as a user would; other tests try them harder."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import ckptsurgeon as cs

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
LISTED = README[README.index("## What it promises") : README.index("What it can't promise")]


def nothing_is_skipped_in_silence(folder: Path) -> None:
    source = {key: torch.ones(2) for key in ("taken", "copied", "dropped", "forgotten", "odd")}
    source["odd"] = torch.eye(2).to_sparse()
    into = {"new": torch.zeros(2), "copied": torch.zeros(2), "lost": torch.zeros(2)}
    plan = cs.plan(source, ["taken -> new", {"drop": "dropped"}], into)
    told = {(finding.kind.value, finding.key) for finding in plan.findings}
    assert told == {("missing", "lost"), ("unused", "forgotten"), ("unreadable", "odd")}
    fates = {fate.key: fate.fate.value for fate in plan.fates}
    assert fates == {
        "taken": "taken",
        "copied": "copied",
        "dropped": "dropped",
        "forgotten": "unused",
        "odd": "unreadable",
    }


def clean_is_said_only_of_what_is(folder: Path) -> None:
    source, into = {"a": torch.ones(2), "b": torch.ones(3)}, {"a": torch.zeros(2)}
    assert cs.make_report(cs.plan(source, [{"drop": "b"}], into)).bottom_line.startswith("clean: ")
    allowed = cs.make_report(cs.plan(source, into=into, allow="unused"))
    assert allowed.bottom_line.startswith("allowed: 1 unused; ")
    nothing = cs.plan(source, into={"c": torch.zeros(2)}, allow=("missing", "unused"))
    assert [finding.kind.value for finding in nothing.open_findings] == ["nothing"]


def moves_are_exact(folder: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 256, (6, 8), np.uint8)
    for dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.float32, np.int8):
        array = bits.view(dtype)
        rule = {"a -> b": [{"transpose": [0, 1]}, {"flip": 0}]}
        tensors, _ = cs.apply({"a": array}, [rule])
        assert tensors["b"].tobytes() == np.flip(array.T, 0).tobytes()


def mistakes_are_told_before_the_work(folder: Path) -> None:
    rules = folder / "r.yaml"
    rules.write_text("format: 1\nrules:\n  - a -> b: {trnspose: 0}\n  - drop: [c\n  - c -> d[\n")
    with pytest.raises(cs.RulesetError):
        cs.plan({"a": torch.ones(2)}, rules)
    rules.write_text("format: 1\nrules:\n  - a -> b: {trnspose: 0}\n  - c -> d[\n")
    with pytest.raises(cs.RulesetError) as caught:
        cs.plan({"a": torch.ones(2)}, rules)
    places = [(problem.place.line, problem.help) for problem in caught.value.problems]  # type: ignore[union-attr]
    assert [line for line, _ in places] == [3, 4]
    assert "transpose" in str(caught.value)


def files_from_strangers_are_safe_to_open(folder: Path) -> None:
    trace, path = folder / "trace", folder / "evil.pt"

    class Evil:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return Path.touch, (trace,)

    torch.save({"w": torch.ones(2), "evil": Evil()}, path)
    cs.transplant(path, folder / "out.safetensors")
    assert not trace.exists()
    assert list(load_file(folder / "out.safetensors")) == ["w"]


def the_output_appears_whole_or_not_at_all(folder: Path) -> None:
    source, output = folder / "a.safetensors", folder / "b.safetensors"
    save_file({"a": torch.ones(2), "b": torch.zeros(2)}, source)
    rules = [{"from": ["a", "b"], "to": "c", "ops": "same"}]  # which fails when it is run
    with pytest.raises(cs.CkptSurgeonError, match="same"):
        cs.transplant(source, output, rules)
    assert sorted(path.name for path in folder.iterdir()) == ["a.safetensors"]


def no_torch_where_none_is_needed(folder: Path) -> None:
    source, output = folder / "a.pt", folder / "b.safetensors"
    torch.save({"a": torch.ones(2)}, source)
    program = (
        "import sys, ckptsurgeon as cs\n"
        f"cs.transplant({str(source)!r}, {str(output)!r}, ['a -> b'])\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert output.exists()


PROMISES: dict[str, Callable[[Path], None]] = {
    function.__name__.replace("_", " "): function
    for function in (
        nothing_is_skipped_in_silence,
        clean_is_said_only_of_what_is,
        moves_are_exact,
        mistakes_are_told_before_the_work,
        files_from_strangers_are_safe_to_open,
        the_output_appears_whole_or_not_at_all,
        no_torch_where_none_is_needed,
    )
}


def test_each_promise_is_one_of_these() -> None:
    listed = re.findall(r"^- \*\*(.*?)\.?\*\*", LISTED, re.MULTILINE)
    assert [promise.lower() for promise in listed] == list(PROMISES)


@pytest.mark.parametrize("promise", PROMISES)
def test_promise(promise: str, tmp_path: Path) -> None:
    PROMISES[promise](tmp_path)
