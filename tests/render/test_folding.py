"""Folding tells exactly the entries, on the lines that a simple, slow way finds."""

from __future__ import annotations

import itertools
import re
from collections.abc import Hashable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report.plans import resnet18
from test_keys import KEYS

from ckptsurgeon.keys import Box, Point, boxes, fold_keys, read_key
from ckptsurgeon.render.folding import fold_lots
from ckptsurgeon.render.lines import Entry, Line, gather_lots, spec_range, unfold_lots
from ckptsurgeon.specs import TensorSpec

ONE, TWO = TensorSpec("F32", (3, 4)), TensorSpec("F32", (5, 4))
SPECS = st.builds(
    TensorSpec, st.sampled_from(["F32", "F16"]), st.lists(st.integers(1, 3), max_size=2).map(tuple)
)


# --- the slow way ---------------------------------------------------------------------------------

Told = tuple[str, list[Box], list[Entry]]
"""A key or module, the boxes of what it comes from, and its entries."""

Follows = dict[int, tuple[int, dict[int, int]]]
"""The holes of an origin that rise along with one of the key's, and which stands for which."""


def fold_slowly(entries: Sequence[Entry]) -> list[Line]:
    groups: dict[Hashable, list[Told]] = {}
    for told in find_modules(entries):
        groups.setdefault(what_must_agree(*told), []).append(told)
    lines = [
        (min(entries.index(members[0]) for *_, members in box), make_line(axes, run, box))
        for group in groups.values()
        for run in find_runs(sorted(group, key=point_of))
        for axes, box in find_boxes(run)
    ]
    return [line for _, line in sorted(lines, key=lambda one: one[0])]


def find_modules(entries: Sequence[Entry]) -> Iterator[Told]:
    found: dict[Hashable, list[Entry]] = {}
    for one in entries:
        change = (one.before, one.after) if changed(one) else None
        own = module_of(one.key) or [one.key]
        kind = str((own, are_alike(one), origins_of(one), one.label, change))
        found.setdefault(kind, []).append(one)
    for first, *rest in found.values():
        whole = first.key, first.origins
        key, origins = (module_of(first.key), origins_of(first)) if rest else whole
        yield key, fold_keys(origins), [first, *rest]


def changed(entry: Entry) -> bool:
    return entry.before is not None and entry.before != entry.after


def module_of(key: str) -> str:
    return key.rpartition(".")[0]


def name_of(key: str) -> str:
    return key.rpartition(".")[2]


def are_alike(entry: Entry) -> bool:
    return all(module_of(one) and name_of(one) == name_of(entry.key) for one in entry.origins)


def origins_of(entry: Entry) -> tuple[str, ...]:
    return tuple(map(module_of, entry.origins)) if are_alike(entry) else entry.origins


def what_must_agree(key: str, origins: list[Box], members: list[Entry]) -> Hashable:
    first = members[0]
    names = [name_of(one.key) for one in members[: len(members) if members[1:] else 0]]
    kinds = [(kind(one.after), changed(one) and kind(one.before)) for one in members]
    held = [(box.template, [axis for axis in box.axes if len(axis) > 1]) for box in origins]
    return str((read_key(key)[0], held, first.label, names, kinds, are_alike(first)))


def kind(spec: TensorSpec | None) -> Hashable:
    return spec and (spec.dtype, len(spec.shape))


def point_of(told: Told) -> Point:
    return read_key(told[0])[1]


def find_runs(group: Sequence[Told]) -> Iterator[list[Told]]:
    run: list[Told] = []
    for told in group:
        if run and None in follow([*run, told]):
            yield run
            run = []
        run.append(told)
    yield run


def follow(run: Sequence[Told]) -> list[Follows | None]:
    """How each origin goes along with the keys; None where it doesn't."""
    points = list(map(point_of, run))
    origins = zip(*(boxes for _, boxes, _ in run), strict=True)
    return [follow_one(points, [box.axes for box in one]) for one in origins]


def follow_one(points: Sequence[Point], origin: Sequence[tuple[Point, ...]]) -> Follows | None:
    columns = list(zip(*origin, strict=True))
    moving = [number for number, axes in enumerate(columns) if len(set(axes)) > 1]
    for holes in itertools.permutations(range(len(points[0])), len(moving)):
        pairs = [
            sorted({(p[hole], axis[0]) for axis, p in zip(columns[number], points, strict=True)})
            for number, hole in zip(moving, holes, strict=True)
        ]
        if all(map(rise_together, pairs)):
            return dict(zip(moving, zip(holes, map(dict, pairs), strict=True), strict=True))
    return None


def rise_together(pairs: list[tuple[int, int]]) -> bool:
    return all(a < c and b < d for (a, b), (c, d) in itertools.pairwise(pairs))


def find_boxes(run: Sequence[Told]) -> Iterator[tuple[tuple[Point, ...], list[Told]]]:
    by_point = {point_of(told): told for told in run}
    for axes in boxes(by_point):
        yield axes, [by_point[point] for point in itertools.product(*axes)]


def make_line(axes: tuple[Point, ...], run: Sequence[Told], told: Sequence[Told]) -> Line:
    key, origins, members = run[0]
    first = members[0]
    firsts = [members[0] for *_, members in told]
    return Line(
        box=Box(read_key(key)[0], axes),
        names=tuple(name_of(one.key) for one in members) if members[1:] else (),
        origins=tuple(map(fill, origins, follow(run), itertools.repeat(axes))),
        label=first.label,
        before=spec_range(one.before for one in firsts) if changed(first) else "",
        after=spec_range(one.after for one in firsts),
        of_modules=bool(members[1:]) and are_alike(first),
    )


def fill(origin: Box, follows: Follows | None, axes: tuple[Point, ...]) -> Box:
    filled = list(origin.axes)
    for number, (hole, one_for) in (follows or {}).items():
        filled[number] = tuple(one_for[value] for value in axes[hole])
    return Box(origin.template, tuple(filled))


# --- the same lines -------------------------------------------------------------------------------


def expert(layer: int, number: int, old: str, new: str, shift: int = 0) -> Entry:
    origin = f"model.layers.{layer + shift}.mlp.experts.{number}.{old}.weight"
    return Entry(f"layers.{layer}.ffn.{number}.{new}.weight", ONE, (origin,), ONE, ("r:1",))


TABLES = {
    "experts": [
        expert(layer, number, old, new)
        for layer in range(5)
        for number in range(4)
        for old, new in (("gate", "w1"), ("up", "w3"), ("down", "w2"))
    ],
    "with a hole": [expert(layer, n, "a", "b") for layer in range(4) for n in range(2 + layer % 2)],
    "shifted": [expert(layer, n, "a", "b", 7) for layer in range(4) for n in range(3)],
    "picked": [
        Entry(f"l.{n}.w", ONE, (f"h.{old}.w",)) for n, old in enumerate([*range(9), *range(4, 9)])
    ],
    "every other": [
        *(Entry(f"l.{n}.w", ONE, (f"h.{2 * n}.w",)) for n in range(9)),
        *(Entry(f"k.{n}.w", ONE, (f"h.{1 + 8 * n}.w",)) for n in range(2)),
    ],
    "modules": [
        Entry(f"l.{i}.{name}", ONE, (f"h.{i}.{name}",))
        for i in range(6)
        for name in ("weight", "bias")
    ],
    "a bias now and then": [
        Entry(f"l.{i}.{name}", ONE)
        for i in range(6)
        for name in ("weight", *(["bias"] if i % 3 == 0 else []))
    ],
    "one origin": [Entry(f"l.{i}.w", ONE, ("shared.0.w",)) for i in range(4)],
    "sizes": [Entry(f"l.{i}.w", (ONE, TWO)[i % 2], (f"h.{i}.w",), TWO) for i in range(6)],
    "sizes with a hole": [Entry(f"l.{i}.w", (ONE, TWO)[i > 4]) for i in (0, 1, 2, 5, 6)],
    "sizes in two boxes": [
        Entry(f"l.{i}.{j}.w", (ONE, TWO)[i]) for i in range(2) for j in range(2 + i)
    ],
    "names without a dot": [Entry(f"w{i}", ONE, (f"v{i}",)) for i in range(4)],
    "percent": [Entry(f"l%s.{i}.w", ONE, (f"%d%.{i}.w",)) for i in range(4)],
    "padded": [Entry(f"l.{i:02}.w", ONE, (f"h.{i}.w",)) for i in range(12)],
    "called like a module": [Entry(key, ONE) for key in ("a", "a.a", "a.b", "1", "1.2", ".x")],
    "names with integers": [
        Entry(f"l.{i}.w{j}", ONE, (f"h.{i}.w{j}",)) for i in range(3) for j in range(2)
    ],
    "names with other integers": [
        Entry(f"l.{i}.w{j}", ONE, (f"h.{i}.w{j + i % 2}",)) for i in range(3) for j in range(2)
    ],
    "names in another order": [
        Entry(f"l.{i}.{name}", ONE) for i in range(4) for name in ("ab" if i % 3 else "ba")
    ],
    "modules in another order": [
        Entry(f"l.{i}.{name}", ONE) for name in "ab" for i in ((0, 1, 2) if name == "a" else (2, 0))
    ],
    "of one origin": [Entry(f"l.{i}.{n}", ONE, (f"h.{i}.qkv",)) for i in range(3) for n in "qkv"],
    "changes": [
        Entry(f"l.{i}.{n}", (ONE, TWO)[i % 2], (f"h.{i}.{n}",), TWO) for i in range(4) for n in "ab"
    ],
    "fused": [Entry(f"l.{i}.qkv", ONE, tuple(f"h.{i}.{n}" for n in "qkv")) for i in range(4)],
    "gathered": [
        Entry(f"l.{i}", ONE, tuple(f"l.{i}.{e}.w{n}" for e in range(3 + i // 2) for n in (1, 3)))
        for i in range(4)
    ],
    "turned": [Entry(f"l.{i}.{j}.w", ONE, (f"h.{j}.{i}.w",)) for i in range(3) for j in range(2)],
    "shuffled": [Entry(f"l.{i}.w", ONE, (f"h.{i * 5 % 13}.w",)) for i in range(13)],
    "two integers as one": [Entry(f"a.{n}", ONE, (f"b.{n}.c.{n}",)) for n in range(3)],
    "more integers than fold": [Entry(f"{'0.' * 8}{i}.w", ONE) for i in range(3)],
}


@pytest.mark.parametrize("name", list(TABLES))
def test_the_lines_are_those_of_the_slow_way(name: str) -> None:
    assert fold_lots(gather_lots(TABLES[name])) == fold_slowly(TABLES[name])


@st.composite
def entries(draw: st.DrawFn) -> list[Entry]:
    made = []
    for key in draw(st.permutations(sorted(draw(st.sets(KEYS, max_size=30))))):
        shift = draw(st.sampled_from([0, 0, 0, 1]))
        origin = shift_integers(key, shift) if len(key) < 99 else key
        origins = draw(st.sampled_from([(), (origin,), (origin, f"b.{origin}")]))
        after = draw(SPECS)
        before = draw(st.sampled_from([None, after, TensorSpec("F32", (9,))]))
        made.append(Entry(key, after, origins, before, draw(st.sampled_from([("x",), ("y",)]))))
    return made


def shift_integers(key: str, shift: int) -> str:
    return re.sub("[0-9]+", lambda match: str(int(match[0]) + shift), key)


@st.composite
def layers(draw: st.DrawFn) -> list[Entry]:
    """Entries of few forms: keys with one or two integers, from which some are left out."""
    made = []
    forms = draw(st.lists(st.sampled_from(["l.{}.{}.w", "l.{}.{}.b", "l.{}.w{}"]), unique=True))
    for form, i, j in itertools.product(forms, range(4), range(3)):
        if draw(st.integers(0, 5)):
            old = draw(st.sampled_from([(i, j)] * 9 + [(j, i), (i, j + 1)]))
            origin = f"h.{form.format(*old)}"
            given = draw(st.sampled_from([(origin,)] * 9 + [(), (origin, f"g.{i}")]))
            made.append(Entry(form.format(i, j), draw(st.sampled_from([ONE] * 9 + [TWO])), given))
    return draw(st.permutations(made)) if draw(st.booleans()) else made


@settings(max_examples=300)
@given(st.one_of(entries(), layers()))
def test_any_lines_are_those_of_the_slow_way(told: list[Entry]) -> None:
    assert fold_lots(gather_lots(told)) == fold_slowly(told)


@settings(max_examples=300)
@given(st.one_of(entries(), layers()))
def test_lines_tell_exactly_the_entries(told: list[Entry]) -> None:
    lines = fold_lots(gather_lots(told))
    by_key = {entry.key: entry for entry in told}
    assert sorted(key for line in lines for key in line.keys) == sorted(by_key)
    for line in lines:
        found = [by_key[key] for key in line.keys]
        assert {entry.label for entry in found} == {line.label}
        assert len({changed(entry) for entry in found}) == 1
        shown = {key for box in line.origins for key in box.keys}
        if line.of_modules:
            shown = {f"{module}.{name}" for module in shown for name in line.names}
        assert shown == {origin for entry in found for origin in entry.origins}
        for name in line.names:
            same = [one.after for one in found if one.key.endswith(f".{name}")]
            assert len({(spec.dtype, len(spec.shape)) for spec in same if spec}) == 1


def test_an_entry_that_stands_twice_is_told_once() -> None:
    told = [Entry(key, ONE) for key in ("l.0.w", "l.0.w", "l.1.w", "l.1.w")]
    assert [str(line.box) for line in fold_lots(gather_lots(told))] == ["l.<0..1>.w"]


# --- what folds -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("called like a module", [("a", ""), ("a", ""), ("1", ""), ("1.2", ""), (".x", "")]),
        ("two integers as one", [(f"a.{n}", f"b.{n}.c.{n}") for n in range(3)]),
        (
            "shifted",
            [
                (
                    "layers.<0..3>.ffn.<0..2>.b.weight",
                    "model.layers.<7..10>.mlp.experts.<0..2>.a.weight",
                )
            ],
        ),
        ("picked", [("l.<0..8>.w", "h.<0..8>.w"), ("l.<9..13>.w", "h.<4..8>.w")]),
        (
            "gathered",
            [("l.<0..1>", "l.<0..1>.<0..2>.w<1,3>"), ("l.<2..3>", "l.<2..3>.<0..3>.w<1,3>")],
        ),
        ("every other", [("l.<0..8>.w", "h.<0..16 step 2>.w"), ("k.<0..1>.w", "h.<1,9>.w")]),
        ("fused", [("l.<0..3>.qkv", "h.<0..3>.q, h.<0..3>.k, h.<0..3>.v")]),
        ("of one origin", [("l.<0..2>", "h.<0..2>.qkv")]),
        ("turned", [("l.<0..2>.<0..1>.w", "h.<0..1>.<0..2>.w")]),
    ],
)
def test_what_folds(name: str, shown: list[tuple[str, str]]) -> None:
    lines = fold_lots(gather_lots(TABLES[name]))
    assert [(str(line.box), ", ".join(map(str, line.origins))) for line in lines] == shown


def test_a_network_is_few_lines() -> None:
    told = [Entry(key, spec) for key, spec in resnet18().items()]
    assert len(fold_lots(gather_lots(told))) == 7
    assert len(unfold_lots(gather_lots(told))) == 122
