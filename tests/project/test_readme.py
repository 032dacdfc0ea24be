"""The tour of README.md, run as a reader would: each command's output is what the page shows.

`PYTHONPATH=examples python tests/project/test_readme.py` puts today's output into the page.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
import tour

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "README.md"
README = PAGE.read_text(encoding="utf-8")
COMMAND = re.compile(r"^```console\n\$ ckptsurgeon (.*)\n((?:.*\n)*?)```$", re.MULTILINE)

COMMANDS = COMMAND.findall(README)
WRITES = " -o "
"""A command that writes a file is shown without its report, which the page has already shown."""


def output_of(command: str, folder: Path) -> str:
    """What a command prints, its errors included, without spaces at the ends of lines."""
    run = subprocess.run(
        [sys.executable, "-m", "ckptsurgeon", *shlex.split(command)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert run.returncode in (0, 1, 2), run.stdout
    return "".join(f"{line.rstrip()}\n" for line in run.stdout.strip().splitlines())


def prepare(folder: Path) -> None:
    """The files that the tour starts from, and those that it writes."""
    tour.write_checkpoints(folder)
    shutil.copy(ROOT / "examples" / "tour.yaml", folder)
    for command, _ in COMMANDS:
        if WRITES in command:
            output_of(command, folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tour")
    prepare(folder)
    return folder


def test_the_rules_of_the_readme_are_those_of_the_example() -> None:
    rules = (ROOT / "examples" / "tour.yaml").read_text(encoding="utf-8")
    assert f"```yaml\n{rules}```" in README


@pytest.mark.parametrize(
    ("command", "shown"), [found for found in COMMANDS if WRITES not in found[0]]
)
def test_the_output_of_each_command_is_what_the_readme_shows(
    command: str, shown: str, folder: Path
) -> None:
    assert output_of(command, folder) == shown


def test_what_the_readme_writes_loads_strictly(folder: Path) -> None:
    grown = torch.load(folder / "grown.pt")
    assert tour.Mine().load_state_dict(grown["state_dict"], strict=True)
    assert grown["epoch"] == 90


def refreshed(folder: Path) -> str:
    """The page with today's output under each command."""

    def block(found: re.Match[str]) -> str:
        shown = "" if WRITES in found[1] else output_of(found[1], folder)
        return f"```console\n$ ckptsurgeon {found[1]}\n{shown}```"

    return COMMAND.sub(block, README)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        prepare(Path(place))
        PAGE.write_text(refreshed(Path(place)), encoding="utf-8")
