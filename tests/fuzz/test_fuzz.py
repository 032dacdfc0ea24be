"""A short run of each target, of the same inputs each time; `make fuzz` runs them for longer."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.targets import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FOUND = sorted(path for path in (Path(__file__).parent / "found").rglob("*") if path.is_file())
"""Inputs that failed once, in a folder for each target; they are run each time."""


@pytest.mark.parametrize("name", TARGETS)
@settings(
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_parser_gives_a_result_or_words(name: str, tmp_path: Path, data: st.DataObject) -> None:
    TARGETS[name].check(data.draw(TARGETS[name].inputs), tmp_path)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_failed_once_is_mended(path: Path, tmp_path: Path) -> None:
    TARGETS[path.parent.name].check(path.read_bytes(), tmp_path)


def test_every_failure_is_of_a_target() -> None:
    assert {path.parent.name for path in FOUND} <= set(TARGETS)
