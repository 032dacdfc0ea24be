"""Keys, names and rule files of strangers: nothing of theirs moves a terminal or a job's runner."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import torch
from command_line import Ckpt, Ran
from html_reading import Page
from markdown_pages import assert_ours
from safetensors.torch import save_file
from workflow_commands import read_log

from ckptsurgeon.render.github import LEVELS

HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07",
    "line\nbreak\r",
    "tab\tnul\x01bell\x07",
    "\u202egnp.exe\u202c",
    "\u2066hidden\u2069\u200b",
    "\x9b31mC1",
    "[red]rich[/red]",
    "\u2028separator",
    "x" * 1_000_000,
    "a.\x1b[31m.weight",
    "::error::owned",
    " ::stop-commands::owned",
    "b ##[add-mask]owned",
    "%0A::set-output name=x::owned",
    "</summary><img src=x>`|`\n\n# owned",
)

ALLOWED = re.compile(r"[\n\x20-\x7e\xa1-\u1fff\u2010-\u2027\u2030-\u205e\u2100-\ud7ff]*")


@pytest.fixture
def hostile(folder: Path) -> Path:
    tensors = {key: torch.rand(2, 3) for key in HOSTILE}
    save_file(tensors, "hostile.safetensors", {"\x1b[1mmeta": "\x1b[2Jdata"})
    torch.save({**tensors, "note": "\x1b[2J", "\x1b[1mkey": {1, 2}}, "hostile.pt")
    save_file({"ok": torch.rand(2)}, "\x1b[31m\n.safetensors")
    Path("::error::owned.yaml").write_text("format: 1\nrules:\n  - '##[error]owned'\n")
    return folder


SLICED = "{from: '<k:path>', to: 'x.<k>', ops: {slice: ':9, :9'}}"

COMMANDS = (
    ("inspect", "hostile.safetensors"),
    ("inspect", "hostile.safetensors", "-v"),
    ("inspect", "hostile.pt", "-v"),
    ("inspect", "hostile.pt", "--format", "json"),
    ("inspect", "hostile.safetensors", "--format", "html"),
    ("inspect", "hostile.pt", "--stats"),
    ("inspect", "hostile.safetensors", "--stats", "-v"),
    ("inspect", "hostile.safetensors", "--format", "spec"),
    ("inspect", "hostile.pt", "--root", "\x1b[31m"),
    ("inspect", "\x1b[31m\n.safetensors"),
    ("inspect", "no\x1b[31m"),
    ("diff", "hostile.safetensors", "hostile.pt"),
    ("diff", "hostile.pt", "dst.pt", "-v"),
    ("diff", "dst.pt", "hostile.safetensors", "--format", "json"),
    ("diff", "dst.pt", f"\u202e{HOSTILE[0]}", "--atol", "\x1b[31m"),
    ("plan", "hostile.safetensors"),
    ("plan", "hostile.pt", "-v"),
    ("plan", "hostile.pt", "--format", "json"),
    ("plan", "hostile.safetensors", "--into", "dst.pt"),
    ("plan", "hostile.safetensors", "--into", "dst.pt", "--format", "json"),
    ("plan", "hostile.safetensors", "--into", "dst.pt", "--format", "html"),
    ("transplant", "hostile.safetensors", "-o", "out.pt", "--format", "html"),
    ("plan", "dst.pt", "--into", "hostile.safetensors", "-v"),
    *(
        ("plan", *words, "--format", form)
        for words in (("hostile.pt",), ("dst.pt", "--into", "hostile.safetensors"))
        for form in ("markdown", "github")
    ),
    ("plan", "hostile.safetensors", "-e", "::error::owned -> b"),
    ("plan", "hostile.safetensors", "-e", "::error::owned -> b", "--format", "github"),
    ("plan", "hostile.safetensors", "-e", "::error::owned -> b", "--format", "markdown"),
    ("plan", "::error::owned", "--format", "github"),
    ("plan", "dst.pt", "-r", "::error::owned", "--format", "github"),
    ("inspect", "hostile.pt", "--format", "markdown"),
    ("diff", "hostile.safetensors", "dst.pt", "--format", "markdown"),
    ("diff", "dst.pt", "hostile.pt", "--format", "markdown", "-v"),
    ("check", "::error::owned.yaml"),
    ("check", "::error::owned.yaml", "--format", "github"),
    ("plan", "hostile.safetensors", "-e", SLICED),
    ("plan", "hostile.safetensors", "-e", "{from: '<k:path>', to: one}"),
    ("plan", "hostile.safetensors", "-e", "{from: '<k:path>', to: 'x.<k>', ops: [{split: 7}]}"),
    ("plan", "hostile.safetensors", "-e", "nope -> nope"),
    ("plan", "hostile.safetensors", "-r", "\x1b[31m.yaml"),
    ("plan", "hostile.safetensors", "--config", "\x1b[31m.json"),
    ("plan", "hostile.safetensors", "--set", "\x1b[31m=1"),
    ("plan", "hostile.safetensors", "--source", "\x1b[31m=1"),
    ("plan", "hostile.safetensors", "-o", "\x1b[31m/x.json"),
    ("explain", HOSTILE[0], "hostile.safetensors"),
    ("explain", HOSTILE[1], "hostile.safetensors", "-e", "<k:path> -> x.<k>"),
    ("explain", "no\x1b[31m", "hostile.safetensors"),
    ("explain", "x" * 999_999, "hostile.safetensors"),
    ("transplant", "hostile.safetensors", "-o", "out.pt"),
    ("transplant", "hostile.pt", "-o", "out.safetensors", "-v"),
    ("transplant", "hostile.pt", "-o", "\x1b[31m.safetensors"),
    ("transplant", "hostile.pt", "-o", "\x1b[31m.foo"),
    ("transplant", "dst.pt", "--plan", "\x1b[31m", "-o", "out.pt"),
    ("check", "\x1b[31m"),
    ("rules", "show", "\x1b[31m"),
    ("rules", f"\u202e{HOSTILE[0]}"),
    ("rules", "x" * 999_999),
    ("plan", "dst.pt", f"\u202e{HOSTILE[0]}.pt"),
    ("plan", "dst.pt", f"\u202e{HOSTILE[0]}.yaml"),
    ("plan", "dst.pt", f"\u202e{HOSTILE[0]} -> b"),
    ("plan", "dst.pt", "x" * 999_999),
    ("plan", "dst.pt", f"--\u202e{HOSTILE[0]}"),
    ("plan", "dst.pt", "--source", f"\u202e{HOSTILE[0]}"),
    ("plan", "dst.pt", "--set", f"\u202e{HOSTILE[0]}"),
    ("plan", "dst.pt", *("--root", f"\u202e{HOSTILE[0]}") * 2),
    ("inspect", f"\u202e{HOSTILE[0]}", "--model-args", "{}"),
    (f"\u202e{HOSTILE[0]}",),
)


def assert_not_owned(words: tuple[str, ...], ran: Ran) -> None:
    """No line is one that the runner of a job acts upon, but for those that are to be annotations.

    JSON and specs are no log.
    """
    commands, _ = read_log(ran.err if {"json", "spec"} & set(words) else ran.out + ran.err)
    assert {one.name for one in commands} <= (set(LEVELS) if "github" in words else set())
    if "markdown" in words:
        assert_ours(ran.out)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: ascii(words)[:60])
def test_nothing_of_a_stranger_moves_the_terminal(
    words: tuple[str, ...], ckpt: Ckpt, hostile: Path
) -> None:
    ran = ckpt(*words)
    assert ran.code in (0, 1, 2), ran.err[:500]
    for stream in (ran.out, ran.err):
        found = ALLOWED.match(stream)
        assert found
        assert found.end() == len(stream), ascii(stream[found.end() - 50 : found.end() + 50])
    assert_not_owned(words, ran)
    if "json" in words and "--format" in words:
        assert json.loads(ran.out)
    elif "html" in words:
        assert all(char.isprintable() for char in Page(ran.out).body)
    elif "spec" not in words:
        assert len(ran.out) < 50_000
        assert len(ran.err) < 50_000


@pytest.mark.parametrize(
    "text",
    [
        "format: 1\nrules:\n  - nope\x1b[31m -> b\n",
        'format: 1\nrules:\n  - "nope\\e[31m -> b"\n',
        "format: 1\nrules:\n  - nope\u202e -> b\n",
        "format: 1\nrules:\n  - 'nope\u200b.\u2066x -> b'\n",
        'format: 1\nabout: "\\e]0;x\\a"\nruels: []\n"\\e[1m": 2\n',
        'format: 1\nvars: {"\\e[31m": 1}\nrules: []\n',
        "format: 1\nrules:\n  - " + "a" * 900_000 + " b\n",
    ],
)
def test_rule_files_of_strangers_are_quoted_escaped(text: str, ckpt: Ckpt, folder: Path) -> None:
    Path("bad.yaml").write_text(text)
    for words in (("check", "bad.yaml"), ("plan", "dst.pt", "-r", "bad.yaml")):
        ran = ckpt(*words)
        assert ran.code == 2 or words[0] == "check"
        assert not re.search(
            r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]", ran.err
        )
        assert len(ran.err) < 10_000


def test_keys_that_are_no_text_are_told(ckpt: Ckpt, folder: Path) -> None:
    torch.save({"\udcff.weight": torch.rand(1)}, "surrogate.pt")
    ran = ckpt("inspect", "surrogate.pt")
    assert (ran.code, "a key that is no text" in ran.err) == (2, True)
    torch.save({("a", 1): torch.rand(1), 7: torch.rand(1), "b": torch.rand(1)}, "odd.pt")
    assert ckpt("inspect", "odd.pt").code == 0
    assert ckpt("transplant", "odd.pt", "-o", "out.safetensors", "-q").code == 0


class Runs:
    """Runs a command when it is unpickled by Python."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch owned",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_commands_is_shown_and_not_run(
    zipped: bool, ckpt: Ckpt, folder: Path
) -> None:
    state = {"state_dict": {"w": torch.rand(2)}, "hook": Runs()}
    torch.save(state, "evil.pt", _use_new_zipfile_serialization=zipped)
    ran = ckpt("inspect", "evil.pt")
    assert ran.code == 0, ran.err
    assert "system" in ran.out
    assert ckpt("transplant", "evil.pt", "-o", "out.pt").code == 0
    assert torch.load("out.pt", weights_only=True).keys() == {"state_dict"}
    assert not Path("owned").exists()
