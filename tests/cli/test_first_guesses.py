"""What people try first on the command line: other names, a word too many, `-`, and colours."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import pytest
import torch
from command_line import Ckpt

import ckptsurgeon as cs
from ckptsurgeon.cli import cli
from ckptsurgeon.cli.guesses import COMMANDS, OPTIONS
from ckptsurgeon.cli.options import KINDS
from ckptsurgeon.plans.account import FindingKind

KEEP = "format: 1\nrules:\n  - drop: fc.*\n  - keep: fc.*\n"


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> object:
    def feed(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return feed


def commands(group: click.Group = cli) -> Iterator[click.Command]:
    for command in group.commands.values():
        yield command
        if isinstance(command, click.Group):
            yield from commands(command)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("plan src.safetensors dst.pt", "the destination is given by `--into dst.pt`"),
        ("plan src.safetensors rules.yaml", "rules are given by `-r rules.yaml`"),
        ("plan src.safetensors 'a -> b'", "a rule is given by -e 'a -> b'"),
        ("transplant src.safetensors out.pt -o x.pt", "the output by `-o out.pt`"),
        ("inspect src.safetensors dst.pt", "it looks at one checkpoint at a time"),
        ("plan src.safetensors --dst dst.pt", "there is no option --dst: write --into DST"),
        ("plan src.safetensors --json", "write --format json"),
        ("plan src.safetensors --strict", "write nothing: all findings are errors"),
        ("plan src.safetensors --fail-on missing", "write nothing: all findings are errors"),
        ("plan src.safetensors -e fc.weight '->' x", "write the whole rule in quotes, -e 'OLD ->"),
        (
            "plan src.safetensors -e fc.weight-",
            "in quotes, `-e 'OLD -> NEW'`: the shell takes a `>`",
        ),
        ("plan src.safetensors --ruleset r.yaml", "write -r RULES"),
        ("plan src.safetensors --dry-run", "leave it out: `plan` writes nothing"),
        ("transplant src.safetensors --dry-run -o x.pt", "write the command `plan`"),
        ("plan src.safetensors -e fc.weight - x", "a rule wants quotes, `-e 'A -> B'`: the shell"),
        ("transplant src.safetensors plan.json", "a saved plan by `--plan plan.json`"),
        ("verify src.safetensors net:R", "the network is given by `--model net:R`"),
        ("plan src.safetensors --allow missing unused", "own: `--allow unused`"),
        ("plan src.safetensors --allow missing,unused", "write --allow missing --allow unused"),
        ("plan --source src.safetensors", "the one source stands alone"),
        ("plan src.safetensors --into a.pt --into b.pt", "--into stands twice: it takes one value"),
        ("transplant src.safetensors -o a.pt -o b.pt", "-o stands twice"),
        ("plan scr.safetensors", "did you mean `src.safetensors`?"),
        ("inspect src.safetensors --only fc", "`fc.**` would match 2 keys"),
        ("explain '**.weight' src.safetensors", "`explain` takes one key, and no pattern"),
        ("explain src.safetensors", "the key comes first: `ckptsurgeon explain KEY src.safetens"),
        ("plan src.safetensors --drop fc", "there is no option --drop: write -e 'drop: KEY'"),
        ("transplant src.safetensors -f -o x.pt", "there is no option -f: write --force"),
        ("check -r rules.yaml", "rule files stand alone: `ckptsurgeon check RULES`"),
        ("--verbose plan src.safetensors", "as in `ckptsurgeon plan … --verbose`"),
        ("rules.yaml", "a file is looked at by `ckptsurgeon check rules.yaml`"),
        ("inspect src.safetensors 'fc.*'", "keys are chosen by `--only 'fc.*'`"),
        ("src.safetensors", "a file is looked at by `ckptsurgeon inspect src.safetensors`"),
        ("plan src.safetensors -e 'fc.** -> '", "to take the prefix off write `fc.** -> **`"),
        ("transplant src.safetensors --overwrite -o x.pt", "write --force"),
        ("inspect src.safetensors --grep fc", "write --only PATTERN"),
        ("convert src.safetensors", "write `ckptsurgeon transplant`"),
        ("ls src.safetensors", "write `ckptsurgeon inspect`"),
        ("validate rules.yaml", "write `ckptsurgeon check`"),
        ("help", "write `ckptsurgeon --help`"),
        ("transplant src.safetensors dst.pt", "the output by `-o dst.pt`"),
        ("compare src.safetensors dst.pt", "write `ckptsurgeon diff A B`"),
        ("diff src.safetensors", "the second checkpoint is missing: `ckptsurgeon diff A B`"),
        ("diff src.safetensors dst.pt rules.yaml", "rules are given by `-r rules.yaml`"),
        ("diff src.safetensors dst.pt x.pt", "two are compared, A and B"),
        ("diff src.safetensors --into dst.pt", "B stands behind A: `ckptsurgeon diff A B`"),
        ("diff src.safetensors dst.pt --tol 1", "write --atol NUMBER"),
        ("diff src.safetensors dst.pt --bitwise", "write --exact"),
        ("diff src.safetensors dst.pt --keys-only", "write --headers"),
        ("diff src.safetensors dst.pt --exact --rtol 1", "bits are equal or not"),
        ("diff src.safetensors a=dst.pt", "several are what rules give alone"),
        ("diff - -", "`-` stands more than once"),
        ("diff - dst.pt", "a checkpoint can't be a stream"),
        ("explain src.safetensors fc.weight", "`ckptsurgeon explain fc.weight src.safetensors`"),
        ("pln src.safetensors", "there is no command 'pln': did you mean 'plan'?"),
        ("qqq src.safetensors", "No such command 'qqq'"),
        ("plan https://x.example/y.pt", "addresses are not read: download it first, `curl -LO"),
        ("plan src.safetensors --into hf://a/b/c.bin", "`hf download a/b`"),
        ("plan src.safetensors -r https://x.example/r.yaml", "addresses are not read"),
        ("plan facebook/detr-resnet-50", "`hf download facebook/detr-resnet-50`"),
        ("rules show timm_vit", "did you mean 'timm_vit_to_transformers'?"),
        ("plan src.safetensors -r vit", "did you mean 'timm_vit_to_transformers'?"),
        ("plan src.safetensors -r rules", "did you mean the file 'rules.yaml'?"),
        ("plan -", "a checkpoint can't be a stream"),
        ("transplant src.safetensors -o -", "a checkpoint can't be a stream"),
        ("inspect -", "a checkpoint can't be a stream"),
        ("plan - --into -", "`-` stands more than once"),
        ("plan src.safetensors --into nopackage.mod:build", "there is no module 'nopackage'"),
    ],
)
def test_what_is_tried_first_is_told_what_to_write(
    line: str, told: str, ckpt: Ckpt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shlex

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"PK\x03\x04")))
    ran = ckpt(*shlex.split(line))
    assert ran.code == 2
    assert told in ran.err


def test_the_kinds_of_finding_are_those_there_are() -> None:
    kinds = [kind.value for kind in FindingKind]
    assert list(KINDS.choices) == kinds == list(get_args(cs.KindOfFinding))


def test_what_guesses_name_is_there() -> None:
    options = {name for command in commands() for one in command.params for name in one.opts}
    for guess, answer in OPTIONS.items():
        assert guess not in options or guess in ("--model", "--input"), guess
        word = answer.split()[0].rstrip(",")
        assert not word.startswith("-") or word in options, answer
    names = {command.name for command in commands()}
    for guess, name in COMMANDS.items():
        assert guess not in cli.commands
        assert name.split()[0] in names | {"--help", "--version"}


@pytest.mark.parametrize("width", [60, 200])
def test_every_help_has_examples_that_parse(
    width: int, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shlex

    monkeypatch.setenv("COLUMNS", str(width))
    for command in commands():
        if isinstance(command, click.Group):
            continue
        words = (
            ["rules", command.name]
            if command.name in ("list", "show", "schema")
            else [command.name]
        )
        ran = ckpt(*words, "--help")
        head, _, examples = ran.out.partition("Examples:\n")
        assert max(map(len, head.splitlines())) <= max(width, 80), command.name
        lines = [line.strip() for line in examples.splitlines() if line.strip()]
        assert lines, command.name
        for line in lines:
            program, *tried = shlex.split(line.partition("   #")[0].partition(" > ")[0])
            assert program == "ckptsurgeon"
            named, *rest = tried
            called = cli.commands[named]
            if isinstance(called, click.Group):
                named, *rest = rest
                called = called.commands[named]
            assert called.make_context(named, rest).command is called


def test_dashes_are_streams(
    ckpt: Ckpt, folder: Path, stdin: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = stdin  # type: ignore[assignment]
    feed(b"format: 1\nrules:\n  - conv.weight -> stem.weight\n")  # type: ignore[operator]
    ran = ckpt("plan", "src.safetensors", "-r", "-")
    assert (ran.code, "stem.weight" in ran.out, "<stdin>:3" in ran.out) == (0, True, True)
    feed(b"format: 1\nrules: [")  # type: ignore[operator]
    ran = ckpt("check", "-")
    assert (ran.code, ran.err.startswith("<stdin>:2:")) == (2, True)
    spec = ckpt("inspect", "dst.pt", "--format", "spec").out
    feed(spec.encode())  # type: ignore[operator]
    ran = ckpt("plan", "dst.pt", "--into", "-")
    assert ran.code == 0
    ran = ckpt("plan", "src.safetensors", "-o", "-")
    assert ran.code == 0
    assert ran.err.startswith("clean: ")
    saved = Path("plan.json")
    saved.write_text(ran.out)
    assert ckpt("plan", "src.safetensors", "--plan", saved, "-q").code == 0
    ran = ckpt("invert", saved, "-o", "-")
    assert json.loads(ran.out)["ckptsurgeon_plan"]
    feed(b'{"heads": 2}')  # type: ignore[operator]
    rule = "{from: conv.weight, to: conv.weight, ops: {scale: config.heads}}"
    assert ckpt("plan", "src.safetensors", "--config", "-", "-e", rule).code == 0


def test_a_saved_plan_is_held_against_what_is_there(ckpt: Ckpt, folder: Path) -> None:
    words = ("--into", "dst.pt", "-e", "conv.weight[:, :3] -> conv.weight", "-e", "{drop: fc.*}")
    ran = ckpt("plan", "src.safetensors", *words, "-e", "{keep: fc.*}", "-o", "plan.json")
    assert ran.code == 0, ran
    assert ckpt("plan", "--plan", "plan.json", "-q") == (0, "", "")
    assert ckpt("plan", "src.safetensors", "--plan", "plan.json", "--into", "dst.pt").code == 0
    refused = ckpt("plan", "dst.pt", "--plan", "plan.json")
    assert (refused.code, "plan again" in refused.err) == (2, True)
    refused = ckpt("plan", "--plan", "plan.json", "-e", "a -> b")
    assert (refused.code, "--plan takes no -e" in refused.err) == (2, True)


def test_quiet_plans_say_nothing_but_findings(ckpt: Ckpt, folder: Path) -> None:
    assert ckpt("plan", "src.safetensors", "-q") == (0, "", "")
    loud = ckpt("plan", "src.safetensors", "--into", "dst.pt")
    assert ckpt("plan", "src.safetensors", "--into", "dst.pt", "-q") == loud
    allowed = ("--allow", "mismatched")
    told = ckpt("plan", "src.safetensors", "--into", "dst.pt", "-q", *allowed).out
    assert told.startswith("allowed: ")
    assert told.count("\n") == 1
    again = ckpt("transplant", "src.safetensors", "--into", "dst.pt", "-q", *allowed, "-o", "o.pt")
    assert again.out == told.replace("would be written", "written")


def test_one_rule_file_for_the_gate_and_the_run(ckpt: Ckpt, folder: Path) -> None:
    Path("keep.yaml").write_text(KEEP)
    Path("shapes.json").write_text(ckpt("inspect", "dst.pt", "--format", "spec").out)
    gate = ckpt("plan", "dst.pt", "--into", "shapes.json", "-r", "keep.yaml")
    assert (gate.code, "which has shapes alone" in gate.out) == (0, True)
    run = ckpt("transplant", "dst.pt", "--into", "shapes.json", "-r", "keep.yaml", "-o", "a.pt")
    assert (run.code, "can't be kept: the destination has shapes alone" in run.err) == (2, True)
    assert (
        ckpt("transplant", "dst.pt", "--into", "dst.pt", "-r", "keep.yaml", "-o", "a.pt").code == 0
    )


def test_every_json_has_the_exit_code(ckpt: Ckpt, folder: Path) -> None:
    lines = {
        ("plan", "src.safetensors"): 0,
        ("plan", "src.safetensors", "--into", "dst.pt"): 1,
        ("plan", "nowhere.pt"): 2,
        ("plan", "--nonsense"): 2,
        ("transplant", "src.safetensors", "-o", "o.safetensors"): 0,
        ("inspect", "src.safetensors"): 0,
        ("inspect", "nowhere.pt"): 2,
        ("check", "rules.yaml"): 0,
        ("check", "nowhere.yaml"): 2,
        ("explain", "conv.weight", "src.safetensors"): 0,
        ("explain", "nokey", "src.safetensors"): 2,
        ("diff", "src.safetensors", "src.safetensors"): 0,
        ("diff", "src.safetensors", "dst.pt"): 1,
        ("diff", "src.safetensors", "nowhere.pt"): 2,
        ("explain", "conv.weight", "src.safetensors", "-e", "nokey -> b"): 2,
    }
    for words, code in lines.items():
        ran = ckpt(*words, "--format", "json")
        assert (ran.code, json.loads(ran.out)["exit_code"]) == (code, code), words


@pytest.mark.parametrize(
    ("option", "variables", "painted"),
    [
        ("auto", {}, False),
        ("always", {}, True),
        ("never", {"FORCE_COLOR": "1"}, False),
        ("auto", {"FORCE_COLOR": "1"}, True),
        ("auto", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ("auto", {"NO_COLOR": ""}, False),
        ("always", {"NO_COLOR": "1", "TERM": "dumb"}, True),
    ],
)
def test_colours_are_as_asked_for(
    option: str,
    variables: dict[str, str],
    painted: bool,
    ckpt: Ckpt,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for words in (("plan", "src.safetensors"), ("inspect", "src.safetensors")):
        ran = ckpt(*words, "--color", option)
        assert ("\x1b[" in ran.out) == painted


def test_a_dumb_terminal_has_no_colours(folder: Path) -> None:
    code = (
        "import os, pty, sys\n"
        "status = pty.spawn([sys.executable, '-m', 'ckptsurgeon', 'plan', 'src.safetensors'])\n"
        "sys.exit(os.waitstatus_to_exitcode(status))"
    )
    for term, painted in (("dumb", False), ("xterm", True)):
        env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**env, "TERM": term},
            capture_output=True,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        assert (b"\x1b[" in done.stdout) == painted, done.stdout


def test_inspect_by_pattern_and_of_a_factory(ckpt: Ckpt, folder: Path) -> None:
    Path("guessed_net.py").write_text(
        "from torch import nn\n\ndef build(n=2):\n    return nn.Linear(n, 3)\n"
    )
    ran = ckpt("inspect", "guessed_net:build", "--model-args", '{"n": 5}')
    assert (ran.code, "F32[3, 5]" in ran.out, "shapes only" in ran.out) == (0, True, True)
    assert "is no factory" in ckpt("inspect", "dst.pt", "--model-args", "{}").err
    ran = ckpt("inspect", "dst.pt", "--only", "fc.*", "-v")
    tensors = ran.out.partition("\ntensors\n")[2]
    assert re.findall(r"^  (\S+) ", tensors, re.MULTILINE) == ["fc.weight", "fc.bias"]
    spec = ckpt("inspect", "dst.pt", "--only", "fc.*", "--format", "spec")
    assert list(json.loads(spec.out)) == ["fc.weight", "fc.bias"]
    nothing = ckpt("inspect", "dst.pt", "--only", "fc")
    assert (nothing.code, "no key matches `fc`" in nothing.err) == (2, True)


def test_shells_complete_names_of_files(folder: Path) -> None:
    env = {
        **os.environ,
        "_CKPTSURGEON_COMPLETE": "bash_complete",
        "COMP_WORDS": "ckptsurgeon plan sr",
        "COMP_CWORD": "2",
    }
    program = Path(sys.executable).with_name("ckptsurgeon")
    for words in ("ckptsurgeon plan sr", "ckptsurgeon plan a --into sr", "ckptsurgeon check ru"):
        env |= {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        done = subprocess.run([program], env=env, capture_output=True, text=True, check=False)
        assert done.stdout.startswith("file,"), done


def test_a_folder_s_size_is_that_of_the_set(ckpt: Ckpt, folder: Path) -> None:
    torch.save({"w": torch.ones(4)}, "a.pt")
    ckpt("transplant", "dst.pt", "-o", "shards/", "--max-shard-size", "200B")
    told = json.loads(ckpt("inspect", "shards", "--format", "json").out)["bytes_on_disk"]
    assert told == sum(path.stat().st_size for path in Path("shards").iterdir())
