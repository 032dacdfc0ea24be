"""What a run does besides its work, seen by Python's audit hooks: nothing, whatever the file says.

First good files of every kind are read, which loads all modules that reading takes. After that no
hostile file makes the process import, run, connect or open anything that is not its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
from hostile_files import HOSTILE_RULES, good, hostile, write_all

TESTS = Path(__file__).parents[1]

OUTPUTS = ("out.safetensors", "out.pt", "plan.json", "hostile.json")

STAGED = ".ckptsurgeon-"
"""How the names of files begin that are written before they get their own."""

KERNEL = {"renameat2", "sync_file_range"}
"""Calls of the C library that outputs need."""

RULES = TESTS.parent / "rules"
"""The shipped rules, which `suggest` and the advice of `plan` try."""

CHECKPOINTS = [*(name for name in good() if not name.startswith(("config", "good.y"))), *hostile()]
CUT = [f"cut_{name}" for name in ("good.safetensors", "good.pt", "legacy.pt", "good.npz")]


def of_checkpoint(name: str) -> list[str]:
    """The commands that read a checkpoint."""
    return [
        f"inspect {name} -v",
        f"inspect {name} --format json",
        f"inspect {name} --stats",
        f"plan {name}",
        f"plan {name} --format markdown",
        f"plan good.pt --into {name} --format github",
        f"plan {name} --into good.safetensors -r good.yaml --config config.json",
        f"plan good.pt --into {name}",
        f"plan --source a={name} -e 'a::a.w -> b'",
        f"explain a.w {name} -r good.yaml",
        f"transplant {name} -o out.safetensors --force",
        f"transplant {name} -o out.pt --force",
        f"probe {name} -o out.pt --force",
        f"suggest {name} good.safetensors",
        f"suggest good.pt {name}",
        f"learn {name} good.pt",
        f"diff {name} good.pt",
        f"diff good.pt {name} --exact",
    ]


def of_rules(name: str) -> list[str]:
    """The commands that read a rule file."""
    return [
        f"check {name}",
        f"plan good.pt -r {name}",
        f"explain a.w good.pt -r {name}",
        f"transplant good.safetensors -r {name} -o out.pt --force",
    ]


def of_plan(name: str) -> list[str]:
    """The commands that read a saved plan."""
    return [
        f"transplant good.safetensors --plan {name} -o out.pt --force",
        f"transplant --plan {name} -o out.pt --force",
        f"invert {name}",
    ]


GOOD = [
    *(line for name in (*good(), *CUT, "nope.pt") for line in of_checkpoint(name)),
    *(
        line
        for name in ("good.yaml", "regex.yaml", "nope.yaml", "wrong.yaml")
        for line in of_rules(name)
    ),
    "plan good.safetensors --into good.pt -o plan.json",
    *(line for name in ("plan.json", "nope.json") for line in of_plan(name)),
    "plan good.safetensors -e nope",
]

HOSTILE = [
    *(line for name in CHECKPOINTS for line in of_checkpoint(name)),
    *(line for name in HOSTILE_RULES for line in of_rules(f"hostile_{name}.yaml")),
    *of_plan("hostile_source.json"),
    *of_plan("hostile_destination.json"),
    *of_plan("hostile_op.json"),
]


def split(line: str) -> list[str]:
    """The words of a line, of which one may stand in quotes."""
    before, _, rest = line.partition("'")
    quoted, _, after = rest.partition("'")
    return [*before.split(), *([quoted] if quoted else []), *after.split()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of good and hostile files, with saved plans that name code."""
    folder = tmp_path_factory.mktemp("audited") / "here"
    folder.mkdir()
    write_all(folder)
    (folder / "regex.yaml").write_text("format: 1\nrules: ['re:(a|b)*(.*)x(.*) -> b']\n")
    (folder / "wrong.yaml").write_text("format: 1\nrules: [a.w -> x: transpoze, zz -> y]\n")
    saved = run_audited(folder, [split("plan good.safetensors --into good.pt -o plan.json")], [])
    assert list(saved["codes"].values()) == [0]
    text = (folder / "plan.json").read_text()
    changes = {
        "source": ('"path":"good.safetensors"', '"path":"owned:run"'),
        "destination": ('"path":"good.pt"', '"path":"owned:run"'),
        "op": ('"nodes":[[', '"nodes":[["Call",{"os.system":"touch owned"},[0],null],['),
    }
    for name, (before, after) in changes.items():
        assert before in text
        (folder / f"hostile_{name}.json").write_text(text.replace(before, after))
    return folder


def run_audited(folder: Path, good: list[list[str]], hostile: list[list[str]]) -> dict[str, Any]:
    (folder / "lines.json").write_text(json.dumps([good, hostile]))
    ran = subprocess.run(
        [sys.executable, str(TESTS / "audited_runs.py"), "lines.json"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(TESTS.parent)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


@pytest.fixture(scope="module")
def audited(folder: Path) -> dict[str, Any]:
    return run_audited(folder, [*map(split, GOOD)], [*map(split, HOSTILE)])


def test_every_line_ends_in_words(audited: dict[str, Any]) -> None:
    assert len(audited["codes"]) == len({*GOOD, *HOSTILE})
    assert {line: code for line, code in audited["codes"].items() if code not in (0, 1, 2)} == {}
    assert {audited["codes"][line.replace("'", "")] for line in of_checkpoint("good.pt")} >= {0}


def test_nothing_is_run_imported_or_connected(audited: dict[str, Any]) -> None:
    refused = [one for one in audited["seen"] if "paths" not in one and not harmless(one)]
    assert refused == []


def test_the_code_that_a_user_names_would_be_seen(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    write_all(folder)
    found = run_audited(folder, [], [["plan", "good.pt", "--into", "owned:run"]])
    refused = {one["event"] for one in found["seen"] if "paths" not in one and not harmless(one)}
    written = {path for one in found["seen"] if one.get("writes") for path in one["paths"]}
    assert refused >= {"import", "exec"}
    assert str(folder / "owned") in written
    assert not may_write(folder, str(folder / "owned"))
    assert not may_read(folder, str(tmp_path / "outside" / "secret.yaml"))


def harmless(one: dict[str, Any]) -> bool:
    """Whether an event is one of the package's own needs."""
    about = one["about"]
    if one["event"] == "exec":  # which evaluates the annotations of our own classes
        return one["by"] == typing.__file__ and 'file "<string>"' in about
    if one["event"] == "import":  # which looks for the shipped rules where they are installed
        return about.startswith("('ckptsurgeon._rules',")
    if one["event"] == "pathlib.Path.glob":
        return about == f"({RULES!r}, '*.yaml')"
    if one["event"] == "ctypes.dlopen":
        return about == "(None,)"
    return one["event"] == "ctypes.dlsym" and any(f"'{name}'" in about for name in KERNEL)


def test_nothing_is_opened_but_inputs_outputs_and_the_packages_own_files(
    audited: dict[str, Any], folder: Path
) -> None:
    told = [
        (one["line"], one["event"], path)
        for one in audited["seen"]
        for path in one.get("paths", ())
        if not (may_write(folder, path) if one["writes"] else may_read(folder, path))
    ]
    assert told == []
    assert any(one.get("writes") for one in audited["seen"])
    assert not (folder / "owned").exists()


def may_read(folder: Path, path: str) -> bool:
    """Whether a file is one of the folder's, or one of ours."""
    ours = (folder, TESTS.parent / "ckptsurgeon", TESTS.parent / "rules", Path("/proc"))
    return Path(path).is_relative_to(sys.prefix) or any(map(Path(path).is_relative_to, ours))


def may_write(folder: Path, path: str) -> bool:
    """Whether a file is an output, or one that becomes it: without a name, or with a staged one."""
    place = Path(path)
    if path.startswith("/proc/self/fd/") or path == os.devnull:
        return True
    known = place.name in OUTPUTS or place.name.startswith(STAGED)
    return place == folder or (place.parent == folder and known)
