"""What is learned of conversions with known answers: right, at the size learned and at another."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator

import pytest
from known_conversions import ANOTHER, BY_NAME, CONVERSIONS, LEARNED, Conversion, Verdict, rounded

import ckptsurgeon as cs
from ckptsurgeon import Learned

PARTLY_OWN = {
    "efficientnet_lite0": "part of the stem is the destination's own",
    "roberta_fairseq_to_transformers": "zeros stand for what the source lacks",
}

ONE_SIZE = {
    "llama_transformers_to_meta": "heads of 4 rows have one order in both conventions: a CHECK",
    "yolov5_to_mmyolo": "stages of one block don't tell that there may be more",
}

OF_ANY_SIZE = [one for one in CONVERSIONS if one.name not in {**PARTLY_OWN, **ONE_SIZE}]


@functools.cache
def learn(name: str, *, round_it: bool = False) -> Learned:
    conversion = BY_NAME[name]
    sources = conversion.make()
    converted = conversion.convert(sources)
    named = {alias: arrays for alias, arrays in sources.items() if alias}
    return cs.learn(
        sources.get(""),
        rounded(converted) if round_it else converted,
        sources=named,
        config=conversion.config(),
    )


def values_at_another_size(conversion: Conversion, text: str) -> Iterator[dict[str, int]]:
    """What a user may give by `--set` for the vars that one example can't tell."""
    vars = re.findall(r"^  (\w+): (\d+)  #", text, re.MULTILINE)
    for values in itertools.product(*(_values(conversion, int(value)) for _, value in vars)):
        yield dict(zip((name for name, _ in vars), values, strict=True))


def _values(conversion: Conversion, value: int) -> set[int]:
    """What the sizes that have a value, or divide to it, are at the other size."""
    learned, another = conversion.sizes[LEARNED], conversion.sizes[ANOTHER]
    plain = {value} | {another[name] for name, size in learned.items() if size == value}
    pairs = itertools.permutations(learned, 2)
    return plain | {
        another[many] // another[few]
        for many, few in pairs
        if learned[few] and another[few] and learned[many] == value * learned[few]
    }


@pytest.mark.parametrize("conversion", CONVERSIONS, ids=lambda one: one.name)
def test_it_is_learned(conversion: Conversion) -> None:
    found = learn(conversion.name)
    verdict = conversion.judge(found.text(), LEARNED)
    assert not verdict.wrong, found.text()
    left = [key for key in verdict.left if not conversion.is_own(key)]
    if conversion.name not in PARTLY_OWN:
        assert not left, (verdict.refused, found.text())
    assert set(left) <= set(found.open)


@pytest.mark.parametrize("conversion", OF_ANY_SIZE, ids=lambda one: one.name)
def test_it_holds_at_another_size(conversion: Conversion) -> None:
    text = learn(conversion.name).text()
    verdicts = [
        conversion.judge(text, ANOTHER, found_variables=given)
        for given in values_at_another_size(conversion, text)
    ]
    assert any(_is_whole(conversion, one) for one in verdicts), (verdicts[0].refused, text)


def _is_whole(conversion: Conversion, verdict: Verdict) -> bool:
    return not verdict.wrong and all(map(conversion.is_own, verdict.left))


@pytest.mark.parametrize("conversion", CONVERSIONS, ids=lambda one: one.name)
def test_rounding_the_result_hides_nothing(conversion: Conversion) -> None:
    found = learn(conversion.name, round_it=True)
    text = re.sub(r"(, )?dtype: BF16|output: \{dtype: BF16\}\n", "", found.text())
    verdict = conversion.judge(text, LEARNED)
    assert not verdict.wrong, text
    left = [key for key in verdict.left if not conversion.is_own(key)]
    assert not left or conversion.name in PARTLY_OWN, (verdict.refused, text)


def test_there_are_hardly_more_rules_than_people_wrote() -> None:
    """A table of words is several rules here: half as many again is the measure."""
    learned = sum(learn(one.name).rule_count for one in CONVERSIONS)
    written = sum(one.rule_count for one in CONVERSIONS)
    assert learned <= written * 1.35


@pytest.mark.parametrize("conversion", CONVERSIONS, ids=lambda one: one.name)
def test_fresh_weights_are_never_proved_wrong(conversion: Conversion) -> None:
    """Norms of ones and biases of zeros fit everywhere: what they are is named, or asked."""
    sources = conversion.fresh()
    converted = conversion.convert(sources)
    named = {alias: arrays for alias, arrays in sources.items() if alias}
    found = cs.learn(sources.get(""), converted, sources=named, config=conversion.config())
    verdict = conversion.judge(found.text(), LEARNED)
    proved = {key for key, degree in found.degrees.items() if degree.value == "proved"}
    assert not proved & set(verdict.wrong)


def test_a_further_example_tells_what_one_leaves_open() -> None:
    conversion = BY_NAME["llama_transformers_to_meta"]
    first, second = conversion.make(), conversion.make(ANOTHER)
    pair = (second[""], conversion.convert(second, ANOTHER))
    found = cs.learn(first[""], conversion.convert(first), examples=[pair])
    assert found.exit_code == 0
    assert "CHECK" not in found.text()
    assert "head_dim: config.head_dim  # 4 and 6 in the examples" in found.text()
    head_dim = conversion.config(ANOTHER)
    assert head_dim is not None
    verdict = conversion.judge(found.text(), ANOTHER, found_variables=head_dim)
    assert verdict.all_right


def test_a_further_example_that_contradicts_is_told() -> None:
    conversion, other = BY_NAME["falcon_to_litgpt"], BY_NAME["crepe"]
    first, second = conversion.make(), other.make()
    pair = (second[""], other.convert(second))
    found = cs.learn(first[""], conversion.convert(first), examples=[pair])
    assert found.exit_code == 1
    assert "WRONG on 1 further example" in found.bottom_line
