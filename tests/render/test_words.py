"""Lines that differ in a word told as one: every key and its origins stay what they were."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import example, given
from hypothesis import strategies as st

from ckptsurgeon.cutting import cut, cut_middle, list_some
from ckptsurgeon.keys import Box, read_key
from ckptsurgeon.render.columns import fit_names
from ckptsurgeon.render.folding import fold_lots
from ckptsurgeon.render.lines import Entry, Line, gather_lots
from ckptsurgeon.render.terminal import safe, width_of
from ckptsurgeon.render.words import Words, join_words, merge_lines
from ckptsurgeon.specs import TensorSpec

SPEC = TensorSpec("F32", (2,))
WORDS = st.sampled_from(["q", "k", "v", "query", "key", "value", "a.b", "x", "weight", "<x>"])
KEYS = st.lists(st.one_of(WORDS, st.integers(0, 3).map(str)), min_size=1, max_size=4).map(".".join)
ENTRIES = st.dictionaries(
    KEYS,
    st.tuples(st.lists(KEYS, max_size=3), st.sampled_from(["", "r.yaml:3", "r.yaml:4"])),
    max_size=12,
)


def told(lines: Iterable[Line]) -> list[tuple[object, ...]]:
    """Each key with what its line says of it."""
    return sorted((key, line.label, line.after) for line in lines for key in line.keys)


def boxed(key: str) -> Box:
    template, point = read_key(key)
    return Box(template, tuple((value,) for value in point))


@given(ENTRIES)
def test_every_key_is_told_once_with_its_label(
    entries: dict[str, tuple[list[str], str]],
) -> None:
    lots = gather_lots(
        Entry(key, SPEC, tuple(origins), None, (place,))
        for key, (origins, place) in entries.items()
    )
    lines = fold_lots(lots)
    merged = merge_lines(lines)
    assert told(merged) == told(lines)
    assert len(merged) <= len(lines)
    for line in merged:
        if isinstance(line.box, Words):
            assert line.label[0]
            parts = [str(box) for box in line.box.boxes]
            for origin in line.origins:
                if isinstance(origin, Words):
                    assert len(origin.boxes) == len(parts)


@given(ENTRIES)
@example({"0.q": ([], ""), "0": (["q"], ""), "0.k": ([], "")})
def test_merged_origins_stand_in_the_order_of_the_keys(
    entries: dict[str, tuple[list[str], str]],
) -> None:
    lines = fold_lots(
        gather_lots(
            Entry(key, SPEC, tuple(origins), None, ("r.yaml:3",))
            for key, (origins, _) in entries.items()
        )
    )
    came: dict[str, list[list[str]]] = {}  # a key and a module may have one name
    for line in lines:
        came.setdefault(str(line.box), []).append([str(one) for one in line.origins])
    for line in merge_lines(lines):
        for at, box in enumerate(line.box.boxes if isinstance(line.box, Words) else [line.box]):
            ours = [
                str(one.boxes[at]) if isinstance(one, Words) else str(one) for one in line.origins
            ]
            assert ours in came[str(box)]


@given(st.lists(KEYS, unique=True, max_size=9))
def test_joined_origins_are_the_origins_in_order(keys: list[str]) -> None:
    joined = join_words([boxed(key) for key in keys])
    assert [key for one in joined for key in one.keys] == keys


def test_words_read_as_alternatives() -> None:
    keys = [f"l.0.attn.{p}.weight" for p in "qkv"]
    assert list(map(str, join_words([boxed(key) for key in keys]))) == ["l.0.attn.<q|k|v>.weight"]
    assert list(map(str, join_words([boxed("a.x"), boxed("b.y")]))) == ["a.x", "b.y"]


# --- nothing is cut that takes no more room than the marker ---------------------------------------


@given(st.lists(st.integers(), max_size=30), st.integers(1, 10))
def test_never_one_item_is_left_out(items: list[int], most: int) -> None:
    shown, left = cut(items, most)
    assert left != 1
    assert len(shown) + left == len(items)
    assert list(shown) == items[: len(shown)]
    text = list_some(map(str, items), most)
    assert "1 more" not in text.replace("11 more", "").replace("21 more", "")


@given(st.text(st.characters(min_codepoint=97, max_codepoint=122), max_size=400))
def test_a_cut_text_is_shorter(text: str) -> None:
    assert len(safe(text)) <= len(text)
    shown = cut_middle(text, 40, 25, str)
    assert len(shown) <= len(text)
    assert (shown == text) == (len(text) <= 40 + len(f"[...{len(text) - 40} more...]"))


@given(
    st.lists(st.text("abcxyz", min_size=1, max_size=12), unique=True, min_size=1, max_size=9),
    st.integers(1, 60),
)
def test_names_are_left_out_where_that_saves_room(names: list[str], room: int) -> None:
    text, whole = fit_names(names, room), fit_names(names, None)
    assert text == whole or width_of(text) < width_of(whole)
