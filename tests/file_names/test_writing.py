"""Paths of outputs made of aliases, which hold texts of strangers' keys."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptsurgeon.errors import OutputError
from ckptsurgeon.file_names import OutputName
from ckptsurgeon.wording import speaking_to_shell

WRITTEN = [
    ("rank<r>", "tp4/mp_rank_<r:02>.pt", "rank3", "tp4/mp_rank_03.pt"),
    ("rank<r>", "tp4/mp_rank_<r:02>.pt", "rank103", "tp4/mp_rank_103.pt"),
    ("rank<r>", "tp4/mp_rank_<r:02>.pt", "rank03", None),
    ("rank<r>", "tp4/mp_rank_<r:02>.pt", "ema", None),
    ("rank<r:02>", "x_<r>.pt", "rank03", "x_3.pt"),
    ("rank<r>", "x_<r+1>_of_<2*r>.pt", "rank3", "x_4_of_6.pt"),
    ("<m:str>", "out/<m>.pt", "model_ema", "out/model_ema.pt"),
    ("<m:str>", "out/.<m>/x.pt", "model", "out/.model/x.pt"),
    ("<m:str>", "x<m>/a.pt", ".y", "x.y/a.pt"),
    ("<p:a=one|b>", "<p>.pt", "a", "one.pt"),
    ("L<n>_<p:q|k>", "<n>/<p>/", "L2_k", "2/k/"),
    ("a b", "x y[0].pt", "a b", "x y[0].pt"),
    ("ema", "../ema.safetensors", "ema", "../ema.safetensors"),
    ("<_:str>_r<r>", "<r>.pt", "x_r0", "0.pt"),
    ("*_r<r>", "<r>.pt", "x_r0", "0.pt"),
    ("<p>", "<p:str>.pt", "enc", "enc.pt"),
    ("r<r>", "r_<r:02>.pt", "r3", "r_03.pt"),
]


@pytest.mark.parametrize(("left", "right", "alias", "path"), WRITTEN)
def test_paths_are_written(left: str, right: str, alias: str, path: str | None) -> None:
    assert OutputName.parse(left, right).path_of(alias) == path


ODD = ["..", ".", "/", "a/b", "/etc/passwd", "../x", "a\\b", "a\0b", "a\nb", "\x1b[2J", ".ssh"]
ODD += ["\u202e", "\ud800", "\udcff", "\x7f", "\u200b"]


@pytest.mark.parametrize("text", ODD)
def test_a_text_that_leads_elsewhere_is_refused(text: str) -> None:
    name = OutputName.parse("<m:str>", "out/<m>.pt")
    with pytest.raises(OutputError, match=r"can't be part of a file name$"):
        name.path_of(text)


@pytest.mark.parametrize(
    ("left", "right", "alias"),
    [
        ("<a:str>_<b:str>", "<a><b>/x.pt", "._."),
        ("<p:a=..|b>", "<p>/x.pt", "a"),
        ("<p:a=|b>", "<p>/x.pt", "a"),
        ("<p:a=/|b>", "<p>x.pt", "a"),
        ("<p:a=.x|b>", "<p>.pt", "a"),
        ("<p:a=x\\\\y|b>", "<p>.pt", "a"),
    ],
)
def test_words_and_joined_texts_are_held_to_the_same(left: str, right: str, alias: str) -> None:
    with pytest.raises(OutputError, match="can't be part of a file name"):
        OutputName.parse(left, right).path_of(alias)


@given(st.text(max_size=12), st.sampled_from(["<m>.pt", "o/<m>.pt", "o/<m>/x.pt", "o/x<m>"]))
def test_no_text_leads_out_of_its_folder(text: str, right: str) -> None:
    try:
        path = OutputName.parse("a<m:str>", right).path_of(f"a{text}")
    except OutputError:
        return
    if path is not None:
        parts = path.split("/")
        assert len(parts) == right.count("/") + 1
        assert path == os.path.normpath(path)
        assert not any(part.startswith(".") for part in parts)
        assert path.isprintable()


def test_a_name_that_no_file_system_takes_is_refused() -> None:
    name = OutputName.parse("<m:str>", "<m>.pt")
    with pytest.raises(OutputError, match="a file name of 303 bytes; at most 255"):
        name.path_of("a" * 300)
    with pytest.raises(OutputError, match="a file name of 403 bytes; at most 255"):
        name.path_of("é" * 200)


@pytest.mark.parametrize(
    ("left", "right", "told"),
    [
        ("rank<r>", "out_<s>.pt", "`s` is in the path alone; the alias has r; capture it in"),
        ("rank<r>", "out_<s+1>.pt", "`s` is in the path alone"),
        ("rank<r>", "out_*.pt", "`*` can't be written in the path; name it on both sides"),
        ("rank<r>", "out_<_:str>.pt", "`<_:str>` can't be written in the path"),
        ("<m:path>", "<m>.pt", "`<m:path>` would span folders"),
        ("rank<r:1|2>", "out_<r:str>.pt", "are one name, and differ"),
        ("rank<r>", " ", "the path is empty"),
        ("re:x", "out.pt", "`re:` reads keys"),
        ("rank<r>", "out_<r +>.pt", "in `<r +>`: "),
    ],
)
def test_what_is_no_name_is_told(left: str, right: str, told: str) -> None:
    with pytest.raises(OutputError) as caught:
        OutputName.parse(left, right)
    assert told in str(caught.value)


def test_a_negative_number_is_told_with_the_option() -> None:
    name = OutputName.parse("rank<r>", "x_<r-1>.pt")
    with speaking_to_shell(), pytest.raises(OutputError) as caught:
        name.path_of("rank0")
    assert str(caught.value).startswith("-o 'rank<r>=x_<r-1>.pt': `<r-1>` is -1, and a name")
