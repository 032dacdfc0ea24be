"""Files found by patterns, each with its alias; and what is said where that can't be."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

import ckptsurgeon as cs
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.file_names import find_files, finding, searching, split_word, tell_left_out
from ckptsurgeon.wording import speaking_to_shell


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make(names: Iterable[str]) -> None:
    """Empty files of these names; a folder where one ends in a slash."""
    for name in names:
        os.makedirs(name if name.endswith("/") else os.path.dirname(name) or ".", exist_ok=True)
        if not name.endswith("/"):
            Path(name).touch()


@pytest.mark.parametrize(
    ("word", "sides"),
    [
        ("a=b.pt", ("a", "b.pt")),
        ("L<n-2>_r<r>=x/l_<n:02>.pt", ("L<n-2>_r<r>", "x/l_<n:02>.pt")),
        ("<p:a=x|b>=<p>.pt", ("<p:a=x|b>", "<p>.pt")),
        ("L<n//2>=l_<n>.pt", ("L<n//2>", "l_<n>.pt")),
        ("a=b=c.pt", ("a", "b=c.pt")),
        ("s*=x*.pt", ("s*", "x*.pt")),
        ("./a=b.pt", None),
        ("a.b=c", None),
        ("x/a=b", None),
        ("=a.pt", None),
        ("a.pt", None),
        ("<p:a=b>", None),
        ("", None),
    ],
)
def test_a_word_is_split_outside_of_captures(word: str, sides: tuple[str, str] | None) -> None:
    assert split_word(word) == sides


FOUND = [
    ("r<r>", "r_<r>.pt", ["r_10.pt", "r_2.pt", "r_03.pt", "r_x.pt"], ["r2 r_2.pt", "r10 r_10.pt"]),
    ("r<r>", "r_<r:02>.pt", ["r_02.pt", "r_1.pt", "r_003.pt"], ["r2 r_02.pt"]),
    ("L<n-2>_r<r>", "l_<n:02>-m_<r:02>.pt", ["l_03-m_00.pt", "l_02-m_01.pt", "l_02-m_00.pt"],
     ["L0_r0 l_02-m_00.pt", "L0_r1 l_02-m_01.pt", "L1_r0 l_03-m_00.pt"]),
    ("<n>", "<n:str>.pt", ["b.pt", "a.pt", ".c.pt", "d.pth"], ["a a.pt", "b b.pt"]),
    ("<n>", ".<n:str>.pt", ["a.pt", ".c.pt"], ["c .c.pt"]),
    ("x_<p>", "<p:a=one|b-c=two>.pt", ["a.pt", "b-c.pt", "d.pt"], ["x_one a.pt", "x_two b-c.pt"]),
    ("x<p>", "<p:02|03>.pt", ["02.pt", "03.pt", "04.pt"], ["x02 02.pt", "x03 03.pt"]),
    ("r<r>", "s_<_:str>/r<r>.pt", ["s_a/r0.pt", "s_b/r1.pt", "q/r2.pt"],
     ["r0 s_a/r0.pt", "r1 s_b/r1.pt"]),
    ("r<r>", "s*/r<r>.pt", ["s_a/r0.pt"], ["r0 s_a/r0.pt"]),
    ("r<r>", "d<r>/r<r>.pt", ["d0/r0.pt", "d0/r1.pt", "d1/r1.pt", "d1/x"],
     ["r0 d0/r0.pt", "r1 d1/r1.pt"]),
    ("r<r>", "./d//r<r>.pt", ["d/r0.pt"], ["r0 ./d/r0.pt"]),
    ("r<r>", "r<r>/", ["r0/a.safetensors", "r1"], ["r0 r0"]),
    ("r<r>", "a b[<r>].pt", ["a b[1].pt"], ["r1 a b[1].pt"]),
    ("one", "d/a.pt", ["d/a.pt"], ["one d/a.pt"]),
    ("a<x>b<y>", "<x:str>_<y:str>.pt", ["1_z.pt"], ["a1bz 1_z.pt"]),
    ("<p:str>", "<p>_dst.pt", ["enc_dst.pt"], ["enc enc_dst.pt"]),
    ("<p:enc|dec>", "<p>_dst.pt", ["enc_dst.pt", "x_dst.pt"], ["enc enc_dst.pt"]),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right", "files", "found"), FOUND)
def test_files_are_found(left: str, right: str, files: list[str], found: list[str]) -> None:
    make(files)
    assert [f"{alias} {path}" for alias, path in find_files(left, right)] == found


def test_absolute_paths_are_found(tmp_path: Path) -> None:
    make(["a/r0.pt"])
    assert find_files("r<r>", f"{tmp_path}/<_:str>/r<r>.pt") == [("r0", f"{tmp_path}/a/r0.pt")]


REFUSED = [
    ("r<r>", "mp_rank_<r>.pt", "no file matches; mp_rank_00.pt has two digits: <r:02>"),
    ("r<r>", "mp_rank_<r:03>.pt", "no file matches; mp_rank_00.pt has two digits: <r:02>"),
    ("r<r>", "s_<r:02>.pt", "no file matches; s_1.pt has one digit: <r>"),
    ("r<r>", "w_<r>.pt", "no file matches; w_x.pt has 'x' there: <r:str>"),
    ("r<r>", "mp_rnk_<r:02>.pt", "no file matches; the nearest is mp_rank_00.pt"),
    ("r<r>", "none/mp_<r>.pt", "no file matches; there is no folder none"),
    ("r<r>", "zz<r>qq", "no file matches; the folder has none of that name"),
    ("r", "mp_rank_<r:02>.pt", "mp_rank_00.pt and mp_rank_01.pt are both r: capture what tells"),
    ("L<s>", "mp_rank_<r:02>.pt", "`s` is in the alias alone; the path has r"),
    ("L<s+1>", "mp_rank_00.pt", "`s` is in the alias alone; the path has no captures"),
    ("L<r-1>", "mp_rank_<r:02>.pt", "mp_rank_00.pt: `<r-1>` is -1, and a name takes no negative"),
    ("L<r/0>", "mp_rank_<r:02>.pt", "mp_rank_00.pt: "),
    ("dst", "s_1.pt", "'dst' can't name a source: it means the destination"),
    ("r<r>", "**/<r>.pt", "`**` would span folders"),
    ("r<r>", "<m:path>/<r>.pt", "`<m:path>` would span folders; `<m:str>` is any text"),
    ("r<r>", "re:(?P<r>.*)", "`re:` reads keys; names of files have captures alone"),
    ("r<r>", "<r:a/b|c>.pt", "holds a `/`; name the folder by a capture of its own"),
    ("r*", "mp_rank_*.pt", "`*` can't be written in the alias"),
    ("r<_:str>", "<_:str>.pt", "`<_:str>` can't be written in the alias"),
    ("r<r:str>", "s_<r:1|2>.pt", "are one name, and differ; write `<r>`"),
    ("r<r>", "", "the path is empty; write"),
    ("", "a.pt", "the alias is empty"),
    ("r<r", "s_<r>.pt", "`<` without its closing `>`"),
    ("r<r>", "<r:02d>.pt", "2 digits with leading zeros are `02`"),
    ("r<r>", "s_1.pt/<r>.pt", "no file matches; "),
    ("r<r>", "a\0<r>.pt", "no file matches"),
    ("r<r>", "a\0/<r>.pt", "no file matches"),
    ("r", "/", "no file matches; it names the root folder alone"),
]


@pytest.mark.parametrize(("left", "right", "told"), REFUSED)
def test_what_is_said(left: str, right: str, told: str) -> None:
    make(["mp_rank_00.pt", "mp_rank_01.pt", "s_1.pt", "w_x.pt", "a-b_00.pt"])
    with pytest.raises(CheckpointError) as caught:
        find_files(left, right)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("right", "told"),
    [
        ("r_<r:02>.pt", "r_1.pt, r_100.pt have another number of digits than <r:02>: not read"),
        ("r_<r>.pt", "r_00.pt, r_01.pt have another number of digits than <r>: not read"),
        ("s_<r:02>.pt", "s_0.pt has another number of digits than <r:02>: not read"),
        ("<n:str>_<r>.pt", "r_00.pt, r_01.pt have another number of digits than <r>: not read"),
        ("r_<n:str>.pt", ""),
        ("r_00.pt", ""),
        ("none_<r>.pt", ""),
        ("<r", ""),
        ("/", ""),
    ],
)
def test_files_of_other_widths_are_told(right: str, told: str) -> None:
    make(["r_00.pt", "r_01.pt", "r_100.pt", "r_1.pt", "r_x.pt", "s_0.pt"])
    assert tell_left_out(right) == told


def test_the_option_is_told_as_it_was_given() -> None:
    with pytest.raises(CheckpointError, match=r"^into=\{'r<r>': 'x<r>'\}: no file matches"):
        find_files("r<r>", "x<r>", "into")
    with speaking_to_shell():
        with pytest.raises(CheckpointError, match=r"^--into 'r<r>=x<r>': no file matches"):
            find_files("r<r>", "x<r>", "into")
        with pytest.raises(CheckpointError, match=r"^--source 'r<r>=x<r>': no file matches"):
            find_files("r<r>", "x<r>")


def test_links_in_circles_end_with_the_pattern() -> None:
    make(["a/r0.pt"])
    Path("a/a").symlink_to("../a", target_is_directory=True)
    Path("a/b").symlink_to("b")
    found = find_files("r<r>_<x>_<y>", "<x:str>/<y:str>/r<r>.pt")
    assert found == [("r0_a_a", "a/a/r0.pt")]


def test_odd_names_are_passed_over() -> None:
    make(["r0.pt", "r\n1.pt", " r2.pt", "r٣.pt"])
    with open(b"r\xff.pt", "w"):
        pass
    assert find_files("r<r>", "r<r>.pt") == [("r0", "r0.pt")]
    with pytest.raises(CheckpointError, match="can't name a source"):
        find_files("x<n>", "r<n:str>.pt")


def test_files_and_entries_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    make(f"{folder}/r{number}.pt" for folder in "ab" for number in range(5))
    monkeypatch.setattr(finding, "MOST_OUTPUTS", 9)
    with pytest.raises(CheckpointError, match="10 files match, at most 9"):
        find_files("<m>_<r>", "<m:str>/r<r>.pt")
    monkeypatch.setattr(searching, "MOST_ENTRIES", 9)
    with pytest.raises(CheckpointError, match="more than 9 files are in the folders"):
        find_files("<m>_<r>", "<m:str>/r<r>.pt")


def test_a_long_row_of_captures_is_read_in_linear_time() -> None:
    make(["9" * 200 + ".p"])
    with pytest.raises(CheckpointError, match="no file matches"):
        find_files("a", "".join(f"<n{number}>" for number in range(20)) + ".pt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_is_named() -> None:
    make(["a/r0.pt"])
    os.chmod("a", 0)
    try:
        with pytest.raises(CheckpointError, match="a: can't be listed: Permission denied"):
            find_files("r<r>", "a/r<r>.pt")
    finally:
        os.chmod("a", 0o755)


def test_what_names_an_output_names_a_source() -> None:
    tensors = {"w": np.arange(2, dtype="f4")}
    names = ("x.y-z", "1st", "$HOME", "0")
    rules = [f"{name}::w -> {name}.w" for name in names]
    made, _ = cs.apply(None, rules, sources=dict.fromkeys(names, tensors))
    assert sorted(made) == sorted(f"{name}.w" for name in names)
