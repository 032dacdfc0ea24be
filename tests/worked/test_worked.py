"""Each worked job by the command line: the output, the way back, and what is lost on it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command_line import Ckpt
from command_line import ckpt as ckpt

from worked import JOBS
from worked.job import RULES, Job, hold, read, save, tensors_alone

every_job = pytest.mark.parametrize("job", JOBS, ids=[job.name for job in JOBS])


def source_path(job: Job, alias: str, folder: Path) -> Path:
    return folder / f"{alias}{job.source_name}"


def output_paths(job: Job, folder: Path) -> dict[str, Path]:
    """Where each output is written, by its alias."""
    return {alias: folder / f"made_{alias}{job.output_name}" for alias in job.all_outputs}


def by_alias(option: str, paths: dict[str, Path]) -> list[object]:
    """The option for each path; SRC stands without one."""
    words: list[object] = []
    for alias, path in paths.items():
        if alias:
            words += [option, f"{alias}={path}"]
        else:
            words += [path] if option == "--source" else [option, path]
    return words


def arguments(job: Job, folder: Path) -> list[object]:
    """Words for `plan` and `transplant`; the files are written."""
    words = by_alias(
        "--source",
        {
            alias: save(tensors, source_path(job, alias, folder))
            for alias, tensors in job.all_sources.items()
        },
    )
    if job.into is not None:
        words += ["--into", save(job.into, folder / f"into{Path(job.source_name).suffix}")]
    if job.config is not None:
        (folder / "config.json").write_text(json.dumps(job.config))
        words += ["--config", folder / "config.json"]
    return [*words, "-r", RULES / f"{job.rules}.yaml", *job.words]


@every_job
def test_the_output_is_what_other_code_makes(job: Job, ckpt: Ckpt, tmp_path: Path) -> None:
    outputs = output_paths(job, tmp_path)
    ran = ckpt("transplant", *arguments(job, tmp_path), *by_alias("-o", outputs))
    assert ran.code == 0, ran
    for alias, path in outputs.items():
        hold(read(path), job.all_outputs[alias])


@every_job
def test_what_is_written_is_what_diff_says_that_rules_make(
    job: Job, ckpt: Ckpt, tmp_path: Path
) -> None:
    words, outputs = arguments(job, tmp_path), output_paths(job, tmp_path)
    assert ckpt("transplant", *words, *by_alias("-o", outputs)).code == 0
    words = [word for word in words if word != "--into" and "into." not in str(word)]
    root = ("--root", "dst=") if job.rules == "nested_twice" else ()
    made = [f"{alias}={path}" if alias else path for alias, path in outputs.items()]
    ran = ckpt("diff", *words, *root, *made)
    assert ran.code == 0, ran
    assert "equal in every value" in ran.out


@every_job
def test_the_way_back(job: Job, ckpt: Ckpt, tmp_path: Path) -> None:
    """The source to the byte, nested as it was; what is lost is named, and taken from elsewhere."""
    words, plan, outputs = (
        arguments(job, tmp_path),
        tmp_path / "plan.json",
        output_paths(job, tmp_path),
    )
    assert ckpt("plan", *words, "-o", plan).code == 0
    assert ckpt("transplant", *words, *by_alias("-o", outputs)).code == 0
    told = set()
    for alias, source in job.all_sources.items():
        only = ("--only", alias) if alias else ()
        path = source_path(job, alias, tmp_path)
        inverse, back = tmp_path / f"inverse{alias}.json", path.with_stem(f"back{alias}")
        turned = ckpt("invert", plan, *only, "-o", inverse)
        given = by_alias("--source", outputs)
        if turned.code:
            told.add(turned.err)
            again = ckpt("invert", plan, *only, "-o", inverse, "--source-of-lost", path)
            assert again.code == 0, again
            given += by_alias("--source", {"lost": path})
        ran = ckpt("transplant", *given, "--plan", inverse, "-o", back)
        assert ran.code == 0, ran
        hold(tensors_alone(read(back)), tensors_alone(source))
    assert_lost(job, "\n".join(told))


# A key, and what a later stage knows it as.
KEY = r"`([^`]+)`(?: as `[^`]+`)?"
LOST = re.compile(rf"((?:{KEY}(?:, )?)+)(?: and (\d+) more)? (?:is|are) lost:")


def assert_lost(job: Job, told: str) -> None:
    """All keys that are lost are named, and no others; long lists are cut, with a count."""
    named: set[str] = set()
    count = 0
    for match in LOST.finditer(told):
        found = re.findall(KEY, match[1])
        named |= set(found)
        count += len(found) + int(match[3] or 0)
    assert named <= job.lost_keys
    assert count == len(job.lost_keys)
