"""The action and the hook of other repositories, their steps run here as their runners do it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from command_line import folder
from markdown_pages import assert_ours
from workflow_commands import Command, read_log

__all__ = ["folder"]

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".github" / "actions" / "plan"
ACTION: dict[str, Any] = yaml.safe_load((PLACE / "action.yml").read_text(encoding="utf-8"))
INSTALL, PLAN = ACTION["runs"]["steps"]
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))

EXPRESSION = re.compile(r"\$\{\{ *([\w.-]+) *\}\}")


class Ran(NamedTuple):
    """What a step did."""

    code: int
    commands: list[Command]
    lines: list[str]
    summary: str
    outputs: dict[str, str]


def fill(text: str, inputs: Mapping[str, str]) -> str:
    """A text with its expressions evaluated, as the runner does it."""
    known = {f"inputs.{name}": one.get("default", "") for name, one in ACTION["inputs"].items()}
    known |= {f"inputs.{name}": value for name, value in inputs.items()}
    known["github.action_path"] = str(PLACE)
    return EXPRESSION.sub(lambda found: known[found[1]], text)


def run_step(
    step: Mapping[str, Any], work: Path, path: str = "", given: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A step run by bash as the runner starts it, in a folder beside which its files stand."""
    script, inputs = work.parent / "step.sh", given or {}
    script.write_text(step["run"], encoding="utf-8")
    own = {name: fill(value, inputs) for name, value in step.get("env", {}).items()}
    files = {name: str(work.parent / name) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    tools = os.pathsep.join((*([path] if path else []), str(Path(sys.executable).parent)))
    environment = (
        os.environ
        | files
        | own
        | {
            "GITHUB_ACTION_PATH": str(PLACE),
            "GITHUB_WORKSPACE": str(work),
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
    )
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],
        cwd=work / fill(step.get("working-directory", "."), inputs),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def run_plan(work: Path, **inputs: str) -> Ran:
    """The step that plans, with what it leaves in the files that the runner gives it."""
    given = {name.replace("_", "-"): value for name, value in inputs.items()}
    ran = run_step(PLAN, work, given=given)
    commands, lines = read_log(ran.stdout + ran.stderr)
    files = [work.parent / name for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")]
    summary, outputs = (one.read_text(encoding="utf-8") if one.exists() else "" for one in files)
    told = dict(line.split("=", 1) for line in outputs.splitlines())
    return Ran(ran.returncode, commands, lines, summary, told)


@pytest.fixture
def work(folder: Path) -> Path:
    """The folder of checkpoints one level down, so that nothing else stands in it."""
    below = folder / "work"
    below.mkdir()
    for path in [path for path in folder.iterdir() if path.is_file()]:
        shutil.move(path, below)
    return below


def test_a_clean_plan_succeeds(work: Path) -> None:
    ran = run_plan(work, source="train.pt", into="dst.pt", rules="rules.yaml\n")
    assert (ran.code, ran.outputs) == (0, {"exit-code": "0"})
    assert assert_ours(ran.summary).lines[0].startswith("clean: ")
    assert {one.name for one in ran.commands} <= {"notice"}
    assert ran.lines[-1].startswith("clean: ")


def test_findings_fail_the_job(work: Path) -> None:
    ran = run_plan(work, source="src.safetensors", into="dst.pt")
    assert (ran.code, ran.outputs) == (1, {"exit-code": "1"})
    assert "findings" in assert_ours(ran.summary).lines[0]
    assert "error" in {one.name for one in ran.commands}


def test_trouble_fails_the_job(work: Path) -> None:
    (work / "sub").mkdir()
    (work / "sub" / "wrong.yaml").write_text("format: 1\nrules:\n  - nope\n")
    ran = run_plan(work, source="../train.pt", rules="wrong.yaml", working_directory="sub")
    assert (ran.code, ran.outputs) == (2, {"exit-code": "2"})
    assert "exit code 2" in ran.summary
    assert ran.commands[0].properties["file"] == "sub/wrong.yaml"


def test_stages_and_further_words(work: Path) -> None:
    (work / "first.yaml").write_text("format: 1\nrules:\n  - conv.* -> c.*\n")
    (work / "second.yaml").write_text("format: 1\nrules:\n  - bn.* -> b.*\n")
    given = {"source": "src.safetensors", "rules": "first.yaml\n\nsecond.yaml\n"}
    ran = run_plan(work, **given, arguments="--allow unused  -e 'c.weight -> renamed'")
    assert (ran.code, ran.commands) == (0, [])
    assert {"renamed", "b", "second.yaml:3"} <= assert_ours(ran.summary).cells


def test_sources_may_all_have_names(work: Path) -> None:
    words = "--source a=src.safetensors -e 'a::** -> **'"
    ran = run_plan(work, into="src.safetensors", arguments=words)
    assert (ran.code, ran.outputs) == (0, {"exit-code": "0"})
    assert "source a" in assert_ours(ran.summary).cells


def test_without_a_source_there_is_nothing_to_plan(work: Path) -> None:
    assert run_plan(work, rules="rules.yaml").outputs == {"exit-code": "2"}


HOSTILE = (
    '"; touch owned; "',
    "$(touch owned)",
    "`touch owned`",
    "' touch owned '",
    "x\ntouch owned",
    "-o=owned",
    "::error::owned",
)
"""What a workflow may be led to give, from the title of a pull request for example."""


@pytest.mark.parametrize("text", HOSTILE)
def test_an_input_is_no_code(text: str, work: Path) -> None:
    ran = run_plan(work, source=text, into=text, rules=text)
    assert (ran.code, ran.outputs) == (2, {"exit-code": "2"})
    assert {one.name for one in ran.commands} == {"error"}
    assert not any(one.data == "owned" for one in ran.commands)
    assert not list(work.parent.rglob("owned"))


@pytest.mark.parametrize("text", ["$(touch owned)", "`touch owned`", "; touch owned", "'x"])
def test_further_words_are_no_code(text: str, work: Path) -> None:
    ran = run_plan(work, source="train.pt", rules="rules.yaml", arguments=text)
    assert (ran.code, ran.outputs) == (2, {"exit-code": "2"})
    assert not list(work.parent.rglob("owned"))


@pytest.mark.parametrize("text", ["--set 'n=4", "--set n=4 \\"])
def test_words_that_no_shell_could_read_are_told(text: str, work: Path) -> None:
    ran = run_plan(work, source="train.pt", rules="rules.yaml", arguments=text)
    assert (ran.code, ran.outputs) == (2, {"exit-code": "2"})
    assert "`arguments`: a quote is not closed" in ran.summary
    assert [one.data for one in ran.commands] == [
        "arguments: a quote is not closed, or nothing stands behind a last backslash"
    ]


def test_no_module_of_the_folder_is_run(work: Path) -> None:
    for name in ("shlex", "click", "ckptsurgeon", "yaml"):
        (work / f"{name}.py").write_text("open('owned', 'w')\n")
    ran = run_plan(work, source="train.pt", into="dst.pt", rules="rules.yaml")
    assert ran.code == 0
    assert not (work / "owned").exists()


def test_it_installs_its_own_checkout(work: Path) -> None:
    tools = work.parent / "tools"
    tools.mkdir()
    stub = tools / "python"
    stub.write_text('#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done\npwd\n')
    stub.chmod(0o755)
    ran = run_step(INSTALL, work, path=str(tools))
    *words, target, place = ran.stdout.splitlines()
    assert ran.returncode == 0, ran.stderr
    assert words[:3] == ["-m", "pip", "install"]
    assert Path(target).resolve() == ROOT
    assert Path(place) == PLACE


def test_no_expression_stands_in_code() -> None:
    assert [step["run"] for step in ACTION["runs"]["steps"] if "${{" in step["run"]] == []
    assert set(ACTION["inputs"]) == {
        "source",
        "into",
        "rules",
        "arguments",
        "working-directory",
    }


def run_hook(work: Path, *files: str) -> subprocess.CompletedProcess[str]:
    """The entry of the hook on some files, as pre-commit starts it."""
    return subprocess.run(
        [*shlex.split(HOOK["entry"]), *files],
        cwd=work,
        env=os.environ
        | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_hook_checks_each_file_alone(work: Path) -> None:
    (work / "wrong.yaml").write_text("format: 1\nrules:\n  - nope\n")
    (work / "worse.yaml").write_text("format: 1\nrules:\n  - nope\n")
    good = run_hook(work, "rules.yaml", str(ROOT / "examples" / "tour.yaml"))
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.count("no problems\n") == 2
    wrong = run_hook(work, "wrong.yaml", "rules.yaml", "worse.yaml")
    assert wrong.returncode == 2
    assert "wrong.yaml:3:5: " in wrong.stderr
    assert "worse.yaml:3:5: " in wrong.stderr


@pytest.mark.parametrize("name", ["rules.yaml", "a/my-rules.yml", "rules/vit.yaml", "x.rules.yaml"])
def test_the_hook_finds_rule_files_by_their_names(name: str) -> None:
    assert re.search(HOOK["files"], name)


@pytest.mark.parametrize("name", ["config.yaml", "rules.json", "overrules.yaml", ".github/ci.yml"])
def test_the_hook_leaves_other_files_alone(name: str) -> None:
    assert not re.search(HOOK["files"], name)


PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
WORKFLOW, HOOKS = map(yaml.safe_load, re.findall(r"^```yml\n(.*?)^```$", PAGE, re.M | re.S))


def test_the_workflow_of_the_docs_asks_for_little_and_pins_what_it_uses() -> None:
    (job,) = WORKFLOW["jobs"].values()
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert "pull_request" in WORKFLOW.values()  # YAML 1.1 reads `on` as true
    used = [step["uses"].partition("@") for step in job["steps"]]
    assert all(re.fullmatch("[0-9a-f]{40}", commit) for _, _, commit in used)
    assert used[-1][0].endswith("/" + str(PLACE.relative_to(ROOT)))


def test_the_workflow_of_the_docs_gives_the_action_what_it_takes(work: Path) -> None:
    (job,) = WORKFLOW["jobs"].values()
    given = job["steps"][-1]["with"]
    assert given.keys() <= ACTION["inputs"].keys()
    (work / "conversion").mkdir()
    spec = '{"a": ["F32", [2]]}'
    for name in ("source", "into"):
        (work / given[name]).write_text(spec)
    (work / given["rules"]).write_text("format: 1\nrules:\n  - a -> a\n")
    assert run_plan(work, **given).code == 0


def test_the_docs_tell_every_input_of_the_action() -> None:
    assert [name for name in ACTION["inputs"] if f"| `{name}` |" not in PAGE] == []


def test_the_hook_of_the_docs_is_there() -> None:
    (repository,) = HOOKS["repos"]
    assert [hook["id"] for hook in repository["hooks"]] == [HOOK["id"]]
