"""What each command loads, in a process of its own: start-up is part of the product."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

RULES = """\
format: 1
rules:
  - stem.weight[:, :3] -> conv.weight
  - <rest:path> -> new.<rest>
"""

PROBE = """\
import json, sys
from ckptsurgeon.cli import run
code = run(sys.argv[1:])
print()
print(json.dumps({"code": code, "modules": sorted(sys.modules)}))
"""


def loaded(*arguments: object) -> set[str]:
    """The top-level names in `sys.modules` after the command has ended well."""
    words = [str(argument) for argument in arguments]
    run = subprocess.run(
        [sys.executable, "-c", PROBE, *words], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout.splitlines()[-1])
    assert told["code"] == 0, run.stdout + run.stderr
    return {name.split(".")[0] for name in told["modules"]}


def source_tensors() -> dict[str, torch.Tensor]:
    return {"stem.weight": torch.rand(8, 4, 3, 3), "fc.weight": torch.rand(5, 8)}


def destination_tensors() -> dict[str, torch.Tensor]:
    return {"conv.weight": torch.rand(8, 3, 3, 3), "new.fc.weight": torch.rand(5, 8)}


@pytest.fixture(scope="module", params=["safetensors", "pt"])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a rule file, a source and a destination of one format."""
    folder = tmp_path_factory.mktemp(request.param)
    tensors = {"source": source_tensors(), "destination": destination_tensors()}
    for name, state in tensors.items():
        if request.param == "pt":
            torch.save(state, folder / f"{name}.pt")
        else:
            save_file(state, folder / f"{name}.safetensors")
    (folder / "rules.yaml").write_text(RULES)
    return folder


def one(folder: Path, name: str) -> Path:
    return next(folder.glob(f"{name}.*"))


def test_the_version_loads_nothing_heavy() -> None:
    assert loaded("--version") & {"numpy", "torch", "rich", "jinja2", "fsspec"} == set()


def test_check_loads_neither_numpy_nor_rich(files: Path) -> None:
    assert loaded("check", files / "rules.yaml") & {"numpy", "torch", "rich"} == set()


def test_inspect_never_loads_torch(files: Path) -> None:
    assert "torch" not in loaded("inspect", one(files, "source"))


def test_inspect_loads_no_numpy_unless_values_are_asked_for(files: Path) -> None:
    assert "numpy" not in loaded("inspect", one(files, "source"))
    assert loaded("inspect", one(files, "source"), "--stats") & {"numpy", "torch"} == {"numpy"}


def test_diff_never_loads_torch(files: Path) -> None:
    source = one(files, "source")
    assert "torch" not in loaded("diff", source, source)


def test_plan_never_loads_torch(files: Path) -> None:
    words = (one(files, "source"), "--into", one(files, "destination"))
    assert "torch" not in loaded("plan", *words, "-r", files / "rules.yaml")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_transplant_that_moves_bytes_never_loads_torch(files: Path, suffix: str) -> None:
    output = files / f"output{suffix}"
    words = (one(files, "source"), "--into", one(files, "destination"), "-o", output)
    assert "torch" not in loaded("transplant", *words, "-r", files / "rules.yaml")
    assert output.stat().st_size > 0
