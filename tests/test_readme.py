"""The tour of README.md, run as a reader would: each command's output is what the page shows."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tour
from comparison import load

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMAND = re.compile(r"^```console\n\$ ckptsurgeon (.*)\n((?:.*\n)*?)```$", re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tour")
    tour.write_checkpoints(folder)
    shutil.copy(ROOT / "examples" / "tour.yaml", folder)
    return folder


def output_of(command: str, folder: Path) -> str:
    """What a command prints, its errors included, without spaces at the ends of lines."""
    run = subprocess.run(
        [sys.executable, "-m", "ckptsurgeon", *shlex.split(command)],
        cwd=folder,
        env=os.environ | {"COLUMNS": "100", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return "".join(f"{line.rstrip()}\n" for line in run.stdout.strip().splitlines())


def test_the_rules_of_the_readme_are_those_of_the_example() -> None:
    rules = (ROOT / "examples" / "tour.yaml").read_text(encoding="utf-8")
    assert f"```yaml\n{rules}```" in README


@pytest.mark.parametrize(("command", "shown"), COMMAND.findall(README))
def test_the_output_of_each_command_is_what_the_readme_shows(
    command: str, shown: str, folder: Path
) -> None:
    if not shown and "-o" in command:
        command += " --force"
        output_of(command, folder)
        assert load(folder / "grown.pt")
    else:
        assert output_of(command, folder) == shown
