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


def arguments(job: Job, folder: Path) -> list[object]:
    """Words for `plan` and `transplant`; the files are written."""
    words: list[object] = [save(job.source, folder / job.source_name)]
    if job.into is not None:
        words += ["--into", save(job.into, folder / f"into{Path(job.source_name).suffix}")]
    if job.config is not None:
        (folder / "config.json").write_text(json.dumps(job.config))
        words += ["--config", folder / "config.json"]
    return [*words, "-r", RULES / f"{job.rules}.yaml", *job.words]


@every_job
def test_the_output_is_what_other_code_makes(job: Job, ckpt: Ckpt, tmp_path: Path) -> None:
    output = tmp_path / job.output_name
    ran = ckpt("transplant", *arguments(job, tmp_path), "-o", output)
    assert ran.code == 0, ran
    hold(read(output), job.wanted)


@every_job
def test_the_way_back(job: Job, ckpt: Ckpt, tmp_path: Path) -> None:
    """The source to the byte, nested as it was; what is lost is named, and taken from elsewhere."""
    words = arguments(job, tmp_path)
    output, plan, inverse = (
        tmp_path / job.output_name,
        tmp_path / "plan.json",
        tmp_path / "back.json",
    )
    assert ckpt("plan", *words, "-o", plan).code == 0
    assert ckpt("transplant", *words, "-o", output).code == 0
    turned = ckpt("invert", plan, "-o", inverse)
    assert turned.code == (2 if job.lost else 0)
    assert_lost(job, turned.err)
    lost: list[object] = []
    if job.lost:
        source = tmp_path / job.source_name
        assert ckpt("invert", plan, "-o", inverse, "--source-of-lost", source).code == 0
        lost = ["--source", f"lost={source}"]
    back = tmp_path / f"back{Path(job.source_name).suffix}"
    ran = ckpt("transplant", output, *lost, "--plan", inverse, "-o", back)
    assert ran.code == 0, ran
    hold(tensors_alone(read(back)), tensors_alone(job.source))


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
