"""The picture of the report in README.md, recorded from a run of the tour in colour.

`make pictures` writes it anew.
"""

from __future__ import annotations

import io
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from project.test_readme import COMMANDS, README, ROOT, output_of, prepare
from rich.console import Console
from rich.text import Text

PICTURE = ROOT / "docs" / "report.svg"
(COMMAND,) = [one for one, _ in COMMANDS if one.startswith("plan ") and "-r tour.yaml" in one]

FORMAT = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 25 {width} {height}" role="img">
<style>
.{unique_id}-matrix {{
  font: {char_height}px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  line-height: {line_height}px;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
<rect y="25" width="{width}" height="{height}" rx="8" fill="#292929" />
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""What rich fills in: no window around it, and fonts that the reader's machine has."""


def record(folder: Path) -> str:
    """The picture of what the command prints in colour; letters are as wide as their columns."""
    printed = output_of(f"{COMMAND} --color always", folder)
    text = Text.from_ansi(f"$ ckptsurgeon {COMMAND}\n{printed}", no_wrap=True)
    width = max(line.cell_len for line in text.split("\n"))
    console = Console(record=True, file=io.StringIO(), width=width, color_system="standard")
    console.print(text, end="")
    drawn = console.export_svg(code_format=FORMAT, unique_id="report", title="")
    return drawn.replace(" textLength=", ' lengthAdjust="spacingAndGlyphs" textLength=')


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tour")
    prepare(folder)
    return record(folder)


def test_the_picture_is_what_the_tour_prints(drawn: str) -> None:
    assert drawn == PICTURE.read_text(encoding="utf-8"), "`make pictures` writes it anew"


def test_the_picture_shows_the_report_of_the_page(drawn: str) -> None:
    shown = "".join(ElementTree.fromstring(drawn).itertext()).replace("\u00a0", " ")
    (told,) = [output for command, output in COMMANDS if command == COMMAND]
    assert COMMAND in shown
    assert [line for line in told.splitlines() if line.split("  ")[-1] not in shown] == []
    assert "█" in shown


def test_the_picture_loads_nothing_and_names_no_place(drawn: str) -> None:
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")
    assert "/tmp" not in drawn
    assert "@import" not in drawn


def test_the_page_shows_the_picture_with_words_for_who_cannot_see_it() -> None:
    before, _, after = README.partition("](docs/report.svg)")
    assert after
    assert len(before.rpartition("![")[2]) > 40


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        prepare(Path(place))
        PICTURE.write_text(record(Path(place)), encoding="utf-8")
