"""What is noted where weights part in silence: lists of other lengths, and BatchNorms that go."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ckptsurgeon as cs
from ckptsurgeon.plans.account import Note

Keys = list[str]
PARTS = ("attn.qkv.weight", "attn.proj.weight", "norm.weight")


def notes_of(kind: str, source: Any, rules: list[Any], into: Any, **more: Any) -> list[Note]:
    arrays = [None if one is None else zeros(one) for one in (source, into)]
    plan = cs.plan(arrays[0], rules, arrays[1], **more)
    return [note for note in plan.notes if note.kind == kind]


def zeros(keys: Keys) -> dict[str, Any]:
    """A matrix for each weight but those of BatchNorms, and else vectors."""
    is_matrix = {key: key.endswith("weight") and not key.startswith("bn") for key in keys}
    return {key: np.zeros((4, 4) if is_matrix[key] else 4, "f4") for key in keys}


def layers(before: str, count: int, parts: tuple[str, ...] = PARTS) -> Keys:
    return [f"{before}{number}.{part}" for number in range(count) for part in parts]


def numbered(before: str, *numbers: int) -> Keys:
    return [f"{before}{number}.weight" for number in numbers]


RENAME = "blocks.<i>.** -> layers.<i>.**"
EXPERTS = [key for i in range(3) for key in numbered(f"blocks.{i}.experts.", *range(6))]
FEWER = [key for i in range(3) for key in numbered(f"blocks.{i}.experts.", *range(4))]

LISTS: list[tuple[Keys, list[Any], Keys, dict[str, str]]] = [
    # keys of the source, rules, keys of the destination, and what is said of which list
    (layers("blocks.", 3), [], layers("blocks.", 3), {}),
    (layers("blocks.", 12), [], layers("blocks.", 24), {"blocks.<i>": "12, 24"}),
    (layers("blocks.", 24), [], layers("blocks.", 12), {"blocks.<i>": "24, 12"}),
    (layers("blocks.", 1), [], layers("blocks.", 2), {"blocks.<i>": "1, 2"}),
    (layers("blocks.", 2), [RENAME], layers("layers.", 4), {"layers.<i>": "2, 4"}),
    (
        layers("blocks.", 4),
        [{"blocks.<i>.** -> layers.<i>.**": {"where": "i < 2"}}],
        layers("layers.", 2),
        {"layers.<i>": "4, 2"},
    ),
    (
        layers("blocks.", 4),
        [{"from": "blocks.<i>.**", "to": "a.<i>.**", "pick": {"i": [0, 2]}}, {"drop": "blocks.**"}],
        layers("a.", 2),
        {"a.<i>": "4, 2"},
    ),
    (layers("blocks.", 2), [{"keep": "blocks.2.**"}], layers("blocks.", 3), {"blocks.<i>": "2, 3"}),
    (
        layers("blocks.", 2, ("weight",)),
        [{"init": {"to": "blocks.2.weight", "fill": 0}}],
        layers("blocks.", 3, ("weight",)),
        {"blocks.<i>": "2, 3"},
    ),
    # a key or a kind of key that is left, and no layer
    (layers("blocks.", 3)[:-1], [], layers("blocks.", 3), {}),
    (layers("blocks.", 3), [], layers("blocks.", 3)[:-1], {}),
    (layers("blocks.", 3), [], [*layers("blocks.", 3), *layers("blocks.", 3, ("mask",))], {}),
    ([*layers("blocks.", 3), "blocks.0.mask"], [], layers("blocks.", 3), {}),
    # lists that are cut in two, joined, stacked; layers of several lists; and no list
    (
        layers("blocks.", 4),
        [
            {"blocks.<i>.** -> a.<i>.**": {"where": "i < 2"}},
            {"blocks.<i>.** -> b.<i-2>.**": {"where": "i >= 2"}},
        ],
        [*layers("a.", 2), *layers("b.", 2)],
        {},
    ),
    (
        [*layers("blocks.", 4), "blocks.0.mask"],
        [
            {"blocks.<i>.** -> a.<i>.**": {"where": "i < 2"}},
            {"blocks.<i>.** -> b.<i-2>.**": {"where": "i >= 2"}},
        ],
        [*layers("a.", 2), *layers("b.", 2)],
        {},
    ),
    (
        layers("blocks.", 5),
        [
            {"blocks.<i>.** -> a.<i>.**": {"where": "i < 2"}},
            {"blocks.<i>.** -> b.<i-2>.**": {"where": "2 <= i < 4"}},
        ],
        [*layers("a.", 2), *layers("b.", 2)],
        {},
    ),
    (
        [*numbered("features.", 0), *numbered("classifier.", 0, 3, 6)],
        ["features.<i>.* -> base.<i>.*", "classifier.<i:0=31|3=33>.* -> base.<i>.*"],
        numbered("base.", 0, 31, 33),
        {},
    ),
    (
        [f"a{'7' * 5000}{i}.weight" for i in range(2)],
        [r"re:a7*(?P<i>[01])\.weight -> b.<i>.weight"],
        numbered("b.", 0, 1, 2),
        {},
    ),
    (numbered("a.", 7, 14), [], numbered("a.", 7, 14, 28), {"a.<i>": "2, 3"}),
    (EXPERTS, [{"blocks.<i>.experts.<e>.weight -> b.<i>": "stack"}], ["b.0", "b.1", "b.2"], {}),
    (EXPERTS, [], FEWER, {f"blocks.{i}.experts.<i>": "6, 4" for i in range(3)}),
    (
        [*layers("layer1.", 2), *layers("layer2.", 2), *layers("layer3.", 2)],
        ["layer<i>.<j>.** -> stages.<i-1>.l.<j>.**"],
        [*layers("stages.0.l.", 3), *layers("stages.1.l.", 2), *layers("stages.2.l.", 4)],
        {"stages.0.l.<i>": "2, 3", "stages.2.l.<i>": "2, 4"},
    ),
    (numbered("features.", 0, 3, 6), [], numbered("features.", 0, 3, 6), {}),
    (numbered("features.", 0, 3, 6), [], numbered("features.", 0, 3), {"features.<i>": "3, 2"}),
    (numbered("a.", 0, 1), [], [*numbered("a.", 0, 1), *numbered("heads.", 0, 1)], {}),
    (numbered("a.", 0, 1), [], numbered("b.", 0, 1, 2), {}),
]  # fmt: skip


@pytest.mark.parametrize(("source", "rules", "into", "told"), LISTS)
def test_lists_of_layers_whose_lengths_differ(
    source: Keys, rules: list[Any], into: Keys, told: dict[str, str]
) -> None:
    found = {note.key: note.text for note in notes_of("layers", source, rules, into)}
    texts = {key: counts.split(", ") for key, counts in told.items()}
    assert found == {k: f"{a} in the source, {b} in the destination" for k, (a, b) in texts.items()}


def test_a_list_of_a_named_source_is_told_with_its_alias() -> None:
    sources = {"old": zeros(layers("blocks.", 2))}
    plan = cs.plan(None, ["old::** -> **"], zeros(layers("blocks.", 3)), sources=sources)
    (note,) = (note for note in plan.notes if note.kind == "layers")
    assert note.text == "2 in old, 3 in the destination"


NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
CONVS = [f"conv{i}.weight" for i in (1, 2)]
BIASES = [f"conv{i}.bias" for i in (1, 2)]
NORMS = [f"bn{i}.{part}" for i in (1, 2) for part in NORM]
DROP: list[Any] = [{"drop": "bn<i>.**"}]
FOLD: list[Any] = [{"fold_batchnorm": {"conv": "conv<i>", "batchnorm": "bn<i>"}}]
FREEZE: list[Any] = [{"freeze_batchnorm": {"from": "bn<i>", "to": "bn<i>", "as": "affine"}}]
INIT: dict[str, Any] = {"to": "conv1.bias", "fill": 0}
RENAMED = ["c.1.weight", "c.1.bias", "c.2.weight"]

FOLDS: list[tuple[Keys, list[Any], Keys | None, Keys]] = [
    # keys of the source besides two BatchNorms, rules, the destination's, and biases that appear
    (CONVS, [], [*CONVS, *BIASES], BIASES),
    (CONVS, [*DROP, {"keep": "conv<i>.bias"}], [*CONVS, *BIASES], BIASES),
    (CONVS, [*DROP, {"init": INIT}], [*CONVS, "conv1.bias"], ["conv1.bias"]),
    (CONVS, [*DROP, {"init": {**INIT, "shape": [4]}}], None, ["conv1.bias"]),
    (CONVS, ["conv<i>.weight -> c.<i>.weight"], RENAMED, ["c.1.bias"]),
    (CONVS, FOLD, [*CONVS, *BIASES], []),
    (CONVS, FREEZE, [*CONVS, *NORMS, *BIASES], []),
    (CONVS, [], [*CONVS, *NORMS], []),
    (CONVS, [], [*CONVS, *NORMS, *BIASES], []),
    (CONVS, [], CONVS, []),
    ([*CONVS, *BIASES], [{"drop": "conv1.bias"}], [*CONVS, *BIASES], []),
    (CONVS, [{"keep": "fc.**"}], [*CONVS, "fc.weight", "fc.bias"], []),
]


@pytest.mark.parametrize(("source", "rules", "into", "biases"), FOLDS)
def test_batchnorms_that_go_while_biases_appear(
    source: Keys, rules: list[Any], into: Keys | None, biases: Keys
) -> None:
    found = notes_of("unfolded", [*source, *NORMS], rules, into)
    assert [note.key for note in found] == biases
    count = "a bias appears" if len(biases) == 1 else f"{len(biases)} biases appear"
    text = f"the source has 2 BatchNorms that the output lacks, and {count}: folded?"
    assert all(note.text == f"{text} see `fold_batchnorm`" for note in found)
