"""`examples/batchnorm_story.py`, run whole: it ends where a claim does not hold."""

from __future__ import annotations

import batchnorm_story
import pytest


def test_every_claim_of_the_story_holds(capsys: pytest.CaptureFixture[str]) -> None:
    batchnorm_story.main()
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == "All is well."
    assert sum(line.startswith("  ") for line in told) == 9


def test_a_claim_that_does_not_hold_ends_it() -> None:
    with pytest.raises(SystemExit, match="does NOT hold: two is three"):
        batchnorm_story.claim("two is three", 2 == 3)
