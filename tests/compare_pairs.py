"""`diff` on conversions with known answers: `python tests/compare_pairs.py FOLDER`.

Each folder in FOLDER has a `pair.json` that names its sources, its rules, and what other people's
code made of them. What the rules make must be that; without rules every tensor has its place.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ckptsurgeon as cs


def compare(folder: Path) -> list[str]:
    """What is wrong with one pair."""
    pair: dict[str, Any] = json.loads((folder / "pair.json").read_text(encoding="utf-8"))
    sources = {alias: folder / name for alias, name in pair["sources"].items()}
    first, converted = sources.pop("", None), folder / pair["converted"]
    config = folder / pair["config"] if "config" in pair else None
    tolerance = pair.get("tolerance", 0.0)
    words: dict[str, Any] = {"sources": sources or None, "config": config}
    made = cs.diff(
        first, converted, rules=folder / pair["rules"], atol=tolerance, rtol=tolerance, **words
    )
    told = [f"by its rules: {made.bottom_line}"] if not made.equal else []
    if first is not None and not sources:
        plain = cs.diff(first, converted)
        keys = [row.key for row in plain.rows if row.after is not None]
        if set(keys) != set(cs.inspect(converted).specs) or len(keys) != len(set(keys)):
            told.append("without rules: a tensor has no row, or two")
    return told


def main() -> int:
    """1 where a pair is wrong, or there is none."""
    wrong, files = 0, sorted(Path(sys.argv[1]).glob("*/pair.json"))
    for file in files:
        told = compare(file.parent)
        wrong += bool(told)
        sys.stdout.write(f"{file.parent.name}: {'; '.join(told) or 'equal by its rules'}\n")
    sys.stdout.write(f"{len(files) - wrong} of {len(files)} pairs\n")
    return int(wrong > 0 or not files)


if __name__ == "__main__":
    sys.exit(main())
