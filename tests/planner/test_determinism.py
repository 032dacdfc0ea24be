"""One plan and one set of messages, whatever order Python's hashes give to sets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from ckptsurgeon.errors import CkptSurgeonError
from planner.test_messages import DESTINATION, SCENES, SOURCE, checkpoint
from ckptsurgeon.planner.planning import Inputs, make_plan
from ckptsurgeon.language.rulesets import parse_ruleset

for scene in SCENES.values():
    rules = parse_ruleset(f"format: 1\\nvars: {{left: 2}}\\nrules:{scene}", "rules.yaml")
    try:
        make_plan([rules], Inputs({"": checkpoint(SOURCE)}, checkpoint(DESTINATION)))
    except CkptSurgeonError as error:
        print(error)
good = "format: 1\\nrules:\\n  - layers.<i>.<t:attn.qkv|norm>.* -> b.<i>.<t>.*\\n"
plan = make_plan([parse_ruleset(good, "r.yaml")], Inputs({"": checkpoint(SOURCE)}))
print(*plan.outputs, *plan.steps, *plan.fates, *plan.notes, sep="\\n")
"""


@pytest.mark.slow
def test_no_hash_order() -> None:
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests.parent), str(tests)])
    told = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "12")
    }
    assert len(told) == 1
    assert "no key matches" in told.pop()
