"""`--format html` on the command line: pages on stdout, exit codes as ever."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_line import Ckpt
from html_reading import Page
from torch import nn

LOADED = """\
import sys
from ckptsurgeon.cli import run
code = run(sys.argv[1:])
print("\\n" + " ".join(name for name in ("jinja2", "torch", "numpy") if name in sys.modules))
sys.exit(code)
"""


def verdict(text: str) -> str:
    (told,) = Page(text).all("p", "verdict")
    return told.text


def test_plan(ckpt: Ckpt, folder: Path) -> None:
    words = ("plan", folder / "train.pt", "--into", folder / "dst.pt")
    clean = ckpt(*words, "-r", folder / "rules.yaml", "--format", "html")
    assert (clean.code, clean.err) == (0, "")
    assert verdict(clean.out).startswith("clean: ")
    findings = ckpt(*words, "--format", "html")
    assert findings.code == 1
    assert "finding" in verdict(findings.out)


def test_quiet_prints_no_page_of_a_clean_plan(ckpt: Ckpt, folder: Path) -> None:
    words = (folder / "train.pt", "--into", folder / "dst.pt", "-r", folder / "rules.yaml")
    assert ckpt("plan", *words, "--format", "html", "-q").out == ""
    out = folder / "out.safetensors"
    assert ckpt("transplant", *words, "--format", "html", "-q", "-o", out).out == ""
    assert out.exists()


def test_quiet_prints_the_page_of_what_was_allowed(ckpt: Ckpt, folder: Path) -> None:
    words = ("plan", "src.safetensors", "--into", "dst.pt", "--format", "html", "-q")
    found = ckpt(*words, "--allow", "mismatched")
    assert found.code == 0
    assert verdict(found.out).startswith("allowed: ")


def test_transplant_prints_one_page_when_all_is_written(ckpt: Ckpt, folder: Path) -> None:
    words = (folder / "train.pt", "--into", folder / "dst.pt", "--format", "html")
    out = folder / "out.safetensors"
    done = ckpt("transplant", *words, "-r", folder / "rules.yaml", "-o", out)
    assert done.code == 0
    assert verdict(done.out).endswith("written")
    assert done.out.count("<!doctype html>") == 1
    refused = ckpt("transplant", *words, "-o", folder / "no.safetensors")
    assert refused.code == 1
    assert "nothing is written" in verdict(refused.out)
    assert not (folder / "no.safetensors").exists()


def test_inspect(ckpt: Ckpt, folder: Path) -> None:
    found = ckpt("inspect", folder / "train.pt", "--format", "html")
    assert (found.code, found.err) == (0, "")
    described = json.loads(ckpt("inspect", folder / "train.pt", "--format", "json").out)
    counts = [int(row.attributes["data-count"]) for row in Page(found.out).rows]
    assert sum(counts) == described["count"]


def test_verify(ckpt: Ckpt, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "small.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Linear(3, 2)\n"
    )
    torch.save(nn.Linear(3, 2).state_dict(), "small.pt")
    monkeypatch.syspath_prepend(folder)
    good = ckpt("verify", "small.pt", "--model", "small:build", "--format", "html")
    assert (good.code, verdict(good.out)) == (0, "clean: loads strictly")
    wrong = ckpt("verify", "src.safetensors", "--model", "small:build", "--format", "html")
    assert wrong.code == 1
    assert "2 missing" in Page(wrong.out).body


def test_trouble_is_told_on_stderr(ckpt: Ckpt, folder: Path) -> None:
    told = ckpt("inspect", folder / "nothing.pt", "--format", "html")
    assert (told.code, told.out) == (2, "")
    assert "nothing.pt" in told.err


@pytest.mark.parametrize(("form", "loaded"), [("text", False), ("html", True)])
def test_jinja_is_loaded_for_pages_alone(form: str, loaded: bool, folder: Path) -> None:
    for command in (["inspect"], ["plan", "-e", "** -> new.**"]):
        words = [*command, str(folder / "train.pt"), "--format", form]
        run = subprocess.run(
            [sys.executable, "-c", LOADED, *words], capture_output=True, text=True, timeout=60
        )
        assert run.returncode == 0, run.stderr
        names = run.stdout.splitlines()[-1].split()
        assert ("jinja2" in names) == loaded
        assert "torch" not in names


def test_inspect_tells_what_values_are_like(ckpt: Ckpt, folder: Path) -> None:
    page = Page(ckpt("inspect", "src.safetensors", "--stats", "--format", "html").out)
    heads = [one.text.strip() for one in page.all("th") if one.attributes["scope"] == "col"]
    assert heads[:4] == ["min", "max", "mean", "std"]
    assert "values" in [one.text.strip() for one in page.all("h2")]
    assert "values" not in Page(ckpt("inspect", "src.safetensors", "--format", "html").out).body
