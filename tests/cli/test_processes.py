"""The command line as a process: pipes, streams that are closed or full, and what it imports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_line import Ckpt

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "ckptsurgeon")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def shell(line: str, **further: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in which `ckpt` is the command; pipes fail with the first failure."""
    script = f'ckpt() {{ "{sys.executable}" -m ckptsurgeon "$@"; }}; set -o pipefail; {line}'
    return subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=60,
        env=ENVIRONMENT | further,
    )


def imported(*words: str) -> set[str]:
    probe = "import sys; from ckptsurgeon.cli import run; run(sys.argv[1:]); print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", probe, *words],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
    )
    return {name.split(".")[0] for name in ran.stdout.splitlines()[-1].split()}


@pytest.mark.parametrize("words", ["--version", "--help", "plan --help", "rules --help"])
def test_help_and_version_import_nothing_heavy(words: str) -> None:
    heavy = {"numpy", "torch", "rich", "jinja2", "fsspec", "msgspec", "yaml"}
    assert imported(*words.split()) & heavy == set()


def test_a_reader_that_leaves_early_changes_neither_code_nor_work(folder: Path) -> None:
    torch.save({f"layer.{i}.w{i * i}x": torch.zeros(1) for i in range(3000)}, "many.pt")
    ran = shell("ckpt inspect many.pt -v | head -1")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "many.pt\n", "")
    ran = shell("ckpt plan many.pt --into dst.pt --format json | head -1")
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "{\n", "")
    ran = shell("ckpt transplant many.pt -o out.pt -v | head -1")
    assert (ran.returncode, len(torch.load("out.pt"))) == (0, 3000)
    assert ran.stderr.startswith("out.pt: 3,000 tensors written")


def test_a_full_stdout_is_told_and_stops_the_work(folder: Path) -> None:
    ran = shell("ckpt transplant train.pt -o out.pt > /dev/full")
    assert (ran.returncode, ran.stderr) == (2, "error: stdout: No space left on device\n")
    assert not Path("out.pt").exists()


@pytest.mark.parametrize("form", ["text", "json", "markdown", "html"])
@pytest.mark.parametrize("words", ["diff train.pt dst.pt", "inspect train.pt", "plan nope.pt"])
def test_a_full_stdout_is_no_result(words: str, form: str, folder: Path) -> None:
    ran = shell(f"ckpt {words} --format {form} > /dev/full")
    reason = "nope.pt: there is no such file" if "nope" in words else "stdout: No space left"
    assert ran.returncode == 2
    assert reason in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("words", ["plan -", "check -", "plan dst.pt -r -", "plan dst.pt --into -"])
def test_a_closed_stdin_is_told(words: str, folder: Path) -> None:
    ran = shell(f"ckpt {words} <&-")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: <stdin>: closed, where ")


def test_a_closed_stdout_is_no_trouble(folder: Path) -> None:
    ran = shell("ckpt transplant train.pt -o out.pt >&-")
    assert ran.returncode == 0, ran.stderr
    assert torch.load("out.pt")["epoch"] == 3


@pytest.mark.parametrize("words", ["diff train.pt train.pt", "inspect train.pt", "plan train.pt"])
def test_a_closed_stderr_is_no_trouble(words: str, folder: Path) -> None:
    ran = shell(f"ckpt {words} 2>&-")
    assert ran.returncode == 0
    assert ran.stdout == shell(f"ckpt {words}").stdout


@pytest.mark.parametrize("stream", ["/dev/full", "&-"])
@pytest.mark.parametrize("words", ["diff train.pt nope.pt", "nope", "plan train.pt --nope"])
def test_trouble_that_nobody_is_told_ends_as_trouble(words: str, stream: str, folder: Path) -> None:
    assert shell(f"ckpt {words} 2>{stream}").returncode == 2


def test_names_that_the_terminal_can_not_show_are_escaped(folder: Path) -> None:
    torch.save({"größe.\U0001f600": torch.zeros(2)}, "odd.pt")
    Path(os.fsdecode(b"odd\xff.pt")).write_bytes(Path("odd.pt").read_bytes())
    ran = shell("ckpt inspect odd.pt; ckpt inspect odd?.pt", PYTHONIOENCODING="ascii")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "gr\\xf6\\xdfe" in ran.stdout or "gr\\xf6" in ran.stdout
    assert ran.stdout.isascii()
    saved = shell("ckpt plan odd?.pt -o plan.json")
    assert saved.returncode == 2
    assert "a name that is no UTF-8" in saved.stderr


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_pipe_gets_no_colours(folder: Path, variables: dict[str, str]) -> None:
    ran = shell("ckpt plan train.pt --into dst.pt; ckpt check rules.yaml nope.yaml", **variables)
    assert "\x1b" not in ran.stdout + ran.stderr


def on_a_terminal(line: str, **further: str) -> str:
    """What a command writes when its streams are a terminal of 70 columns."""
    script = f"stty cols 70; '{sys.executable}' -m ckptsurgeon {line}"
    ran = subprocess.run(
        ["script", "-qec", script, "/dev/null"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env=ENVIRONMENT | {"TERM": "xterm-256color"} | further,
    )
    return ran.stdout.replace("\r\n", "\n")


@pytest.mark.skipif(not Path("/usr/bin/script").exists(), reason="needs `script` from util-linux")
def test_a_terminal_gets_colours_unless_no_color_says_otherwise(folder: Path) -> None:
    assert "\x1b[" in on_a_terminal("plan train.pt --into dst.pt", NO_COLOR="")
    assert "\x1b[" not in on_a_terminal("plan train.pt --into dst.pt", NO_COLOR="1")


@pytest.mark.skipif(not Path("/usr/bin/script").exists(), reason="needs `script` from util-linux")
def test_long_work_shows_a_bar_on_a_terminal_and_leaves_no_trace_of_it(folder: Path) -> None:
    probe = folder / "probe.py"
    probe.write_text(
        "import sys\nfrom ckptsurgeon import cli\n"
        "cli.printing.LONG_WORK = 0\nsys.exit(cli.run(sys.argv[1:]))\n"
    )
    line = f"plan train.pt; '{sys.executable}' {probe} transplant train.pt -o out.pt -q"
    shown = on_a_terminal(line)
    assert "━" in shown
    last = shown.rstrip().splitlines()[-1]
    told = r"out\.pt: 5 tensors written, 4\.7 KiB copied, \d+\.\d s, peak memory \d+\.\d MiB$"
    assert re.search(told, last)


@pytest.mark.parametrize(("name", "told"), [("o.safetensors", "1.2 KiB"), ("o.pt", "800 B")])
def test_bytes_are_told_as_often_as_they_are_written(
    name: str, told: str, ckpt: Ckpt, folder: Path
) -> None:
    """Torch files have ties; elsewhere each key has bytes of its own."""
    tied = torch.ones(100)
    torch.save({"a": tied, "b": tied, "c": torch.ones(100)}, "tied.pt")
    assert f"3 tensors written, {told} copied, " in ckpt("transplant", "tied.pt", "-o", name).err
