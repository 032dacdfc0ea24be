"""Very many tensors are folded to the lines that few are, without a key more or less."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from test_keys import entries

from ckptsurgeon.render import bulk
from ckptsurgeon.render.lines import Entry, fold_entries, join
from ckptsurgeon.specs import TensorSpec

ONE, TWO = TensorSpec("F32", (3, 4)), TensorSpec("F32", (5, 4))


@pytest.fixture(autouse=True)
def _however_few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Takes the way of the many for any number of entries."""
    with monkeypatch.context() as patch:
        patch.setattr(bulk, "MANY", 0)
        yield


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
    "two of one name": [Entry("l.0.w", ONE), Entry("l.0.w", ONE), Entry("l.1.w", ONE)],
}


@pytest.mark.parametrize("name", list(TABLES))
def test_the_lines_are_those_of_the_few(name: str) -> None:
    assert bulk.fold(TABLES[name]) == fold_entries(TABLES[name])


def test_entries_made_when_they_are_looked_at() -> None:
    told = TABLES["experts"]
    lazily = bulk.Entries(range(len(told)), told.__getitem__)
    assert bulk.fold(lazily) == fold_entries(told)
    assert (len(lazily), list(lazily[3:5]), lazily[-1]) == (len(told), told[3:5], told[-1])


@settings(max_examples=300, deadline=None)
@given(entries())
def test_lines_tell_exactly_the_entries(told: list[Entry]) -> None:
    lines = bulk.fold(told)
    by_key = {entry.key: entry for entry in told}
    assert sorted(key for line in lines for key in line.keys) == sorted(by_key)
    assert sum(line.count for line in lines) == len(told)
    for line in lines:
        found = [by_key[key] for key in line.keys]
        assert {entry.label for entry in found} == {line.label}
        assert len({entry.changed for entry in found}) == 1
        shown = {key for box in line.origins for key in box.keys}
        if line.of_modules:
            shown = {join(module, last) for module in shown for last in line.names}
        assert shown == {origin for entry in found for origin in entry.origins}
