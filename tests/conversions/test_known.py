"""Conversions with known answers: rules plan clean, and the judge knows right from wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from known_conversions import ANOTHER, BY_NAME, CONVERSIONS, LEARNED, Conversion, fresh, rounded

import ckptsurgeon as cs

SIZES = (LEARNED, ANOTHER)

every_conversion = pytest.mark.parametrize(
    "conversion", CONVERSIONS, ids=[conversion.name for conversion in CONVERSIONS]
)


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(CONVERSIONS)


@every_conversion
@pytest.mark.parametrize("size", SIZES)
def test_the_rules_plan_clean_against_their_own_result(conversion: Conversion, size: str) -> None:
    sources = conversion.make(size)
    converted = conversion.convert(sources, size)
    plan = cs.plan(
        sources.get(""),
        conversion.rules,
        converted,
        sources={alias: arrays for alias, arrays in sources.items() if alias} or None,
        config=conversion.config(size),
        variables=conversion.variables(size),
    )
    assert not plan.open_findings
    assert [key for key in converted if conversion.is_own(key)] == _kept(conversion, size)


def _kept(conversion: Conversion, size: str) -> list[str]:
    """Keys of the converted state dict whose values are the template's own."""
    template = conversion.template(size) or {}
    converted = conversion.convert(conversion.make(size), size)
    return [
        key
        for key in converted
        if key in template and np.array_equal(converted[key], template[key])
    ]


@every_conversion
def test_the_two_sizes_differ(conversion: Conversion) -> None:
    one, other = (conversion.make(size) for size in SIZES)
    assert _shapes(one) != _shapes(other)


def _shapes(sources: dict[str, dict[str, Any]]) -> dict[tuple[str, str], tuple[int, ...]]:
    return {(a, key): array.shape for a, arrays in sources.items() for key, array in arrays.items()}


@every_conversion
@pytest.mark.parametrize("size", SIZES)
def test_the_right_rules_are_all_right(conversion: Conversion, size: str) -> None:
    words = {"found_variables": conversion.variables(size)}
    verdict = conversion.judge(conversion.text, size, **words)
    assert verdict.all_right, verdict


@every_conversion
def test_no_value_stands_twice(conversion: Conversion) -> None:
    if conversion.dtype != "float32":
        pytest.skip("a narrow dtype has too few values")
    sources = conversion.make()
    floats: list[float] = []
    shared: set[str] = set()
    for arrays in sources.values():
        for key, array in arrays.items():
            if array.dtype == np.float32 and key not in shared:
                floats.extend(array.reshape(-1).tolist())
            if len(sources) > 1 and conversion.is_same(key):
                shared.add(key)
    assert len(set(floats)) == len(floats)


@pytest.mark.parametrize(
    "conversion",
    [c for c in CONVERSIONS if c.into is None and "init:" not in c.text],
    ids=lambda conversion: conversion.name,
)
def test_the_judge_sees_two_tensors_exchanged(conversion: Conversion) -> None:
    sources = conversion.make()
    converted = conversion.convert(sources)
    first, second = _twins(converted)
    swap = f"\n---\nformat: 1\nrules:\n  - {first} -> {second}\n  - {second} -> {first}\n"
    verdict = conversion.judge(
        conversion.text + swap, LEARNED, found_variables=conversion.variables()
    )
    assert set(verdict.wrong) == {first, second}, verdict
    assert not verdict.left


def test_the_judge_sees_tensors_exchanged_beside_a_template() -> None:
    conversion = BY_NAME["resnet18_four_channels"]
    norms = [f"layer2.1.bn{number}" for number in (1, 2)]
    swap = [f"  - {one}.* -> {other}.*\n" for one, other in (norms, reversed(norms))]
    verdict = conversion.judge(conversion.text + "".join(swap))
    assert set(verdict.wrong) == {f"{norm}.{part}" for norm in norms for part in BATCHNORM}
    assert not verdict.left


def _twins(converted: dict[str, Any]) -> list[str]:
    """Two keys of tensors that are alike in dtype and shape, and differ."""
    seen: dict[object, str] = {}
    for key, array in converted.items():
        other = seen.setdefault((array.dtype, array.shape), key)
        if not np.array_equal(converted[other], array):
            return [other, key]
    raise AssertionError("no two tensors are alike")


def test_what_is_left_to_the_template_is_told() -> None:
    conversion = BY_NAME["training_checkpoint"]
    rules = {
        "format": 1,
        "source": {"strip": ["module."]},
        "rules": ["conv1.weight[:, :3] -> conv1.weight", "layer<i>.** -> layer<i>.**"],
        "unmatched": "drop",
    }
    verdict = conversion.judge(rules)
    assert set(verdict.left) == {f"bn1.{part}" for part in BATCHNORM}
    assert not verdict.wrong
    assert {"fc.weight", "fc.bias"} <= set(verdict.right)


BATCHNORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def test_rules_that_cannot_be_run_leave_everything() -> None:
    conversion = BY_NAME["tour"]
    verdict = conversion.judge(["nothing.here -> stem.conv.weight"])
    assert verdict.refused
    assert not verdict.right
    assert not verdict.wrong


def test_fresh_weights_are_alike_where_they_are_when_a_network_is_made() -> None:
    source = fresh(BY_NAME["torchvision_resnet_to_transformers"].make()[""], seed=0)
    assert (source["bn1.weight"] == 1).all()
    assert (source["layer1.0.bn1.running_mean"] == 0).all()
    assert (source["layer1.0.bn1.running_var"] == 1).all()
    assert source["bn1.num_batches_tracked"] == source["layer1.0.bn1.num_batches_tracked"]
    assert (source["fc.bias"] == 0).all()
    assert len(set(source["fc.weight"].reshape(-1).tolist())) == source["fc.weight"].size


@every_conversion
def test_fresh_weights_are_converted_as_trained_ones_are(conversion: Conversion) -> None:
    trained, converted = (
        conversion.convert(sources) for sources in (conversion.make(), conversion.fresh())
    )
    assert {key: array.shape for key, array in converted.items()} == {
        key: array.shape for key, array in trained.items()
    }


def test_rounded_is_bf16_but_for_integers() -> None:
    conversion = BY_NAME["crepe"]
    found = rounded(conversion.convert(conversion.make()))
    assert {array.dtype.name for array in found.values()} == {"bfloat16", "int64"}
