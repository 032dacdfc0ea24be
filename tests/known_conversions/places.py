"""Where the rule files are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "rules"
TESTED = ROOT / "tests" / "conversions" / "rules"
EXAMPLES = ROOT / "examples"
HERE = Path(__file__).with_name("rules")
