"""docs/python.md: the examples of each part are run in order, in a folder of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def parts() -> dict[str, str]:
    """The text of each part by its heading, with the lines before it as empty ones."""
    text = PAGE.read_text(encoding="utf-8")
    starts = [match.start() for match in re.finditer("^## ", text, re.MULTILINE)]
    ends = [*starts[1:], len(text)]
    return {
        text[start:end].partition("\n")[0][3:]: "\n" * text.count("\n", 0, start) + text[start:end]
        for start, end in zip(starts, ends, strict=True)
    }


@pytest.mark.parametrize("name", parts())
def test_the_examples_do_what_they_say(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    part = parts()[name]
    known: dict[str, object] = {"__name__": "__main__"}
    for example in EXAMPLE.finditer(part):
        before = "\n" * part.count("\n", 0, example.start(1))
        exec(compile(before + example[1], str(PAGE), "exec"), known)
