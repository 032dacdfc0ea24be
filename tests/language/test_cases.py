"""Every clause of the rule language, as files of cases: keys and rules in, keys and content out."""

from __future__ import annotations

from pathlib import Path

import pytest
from language.running import Case, check, load_cases

CASES = load_cases(Path(__file__).parent / "cases")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


def test_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names), sorted({n for n in names if names.count(n) > 1})
