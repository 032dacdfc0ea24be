"""What stands above learned rules: options of the files, the output's dtype, and vars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.drafting.files import Head
from ckptsurgeon.drafting.steps import Call, Size, Step
from ckptsurgeon.learning.example import Example
from ckptsurgeon.learning.once import doubt_numbers, numbers_of
from ckptsurgeon.learning.variables import (
    choose_var,
    doubt_widths,
    heads_of,
    name_sizes,
    widths_of,
    with_heads,
)
from ckptsurgeon.specs import FLOATING
from ckptsurgeon.suggesting.sources import write_section


@dataclass(frozen=True, slots=True)
class Headed:
    """The head of a file, each example's steps as they are below it, and its values of vars.

    The values are of those vars that a config tells. `asked` are those that only a user can tell,
    `once` what was seen at one size alone, and may be constant: vars, numbers of slices and ops.
    """

    head: Head
    lists: Sequence[Sequence[Step]]
    values: Sequence[Mapping[str, int]]
    asked: Sequence[str]
    once: Sequence[str]
    is_of_one_size: bool


def head_of(examples: Sequence[Example], lists: Sequence[Sequence[Step]]) -> Headed:
    """The head that says what the steps of examples have in common, and the steps without that."""
    first = examples[0]
    sections = write_section(first.ground.options)
    dtype = _common_dtype(examples, lists)
    words = []
    if first.output.separator != ".":
        words.append(f"separator: {first.output.separator}")
    if dtype is not None:
        words.append(f"dtype: {dtype}")
        lists = [
            [_without_cast(step, dtype, example) for step in steps]
            for example, steps in zip(examples, lists, strict=True)
        ]
    if words:
        sections.append(f"output: {{{', '.join(words)}}}")
    configs = [one.ground.config or {} for one in examples]
    named = [
        name_sizes([with_heads(step, config) for step in steps])
        for config, steps in zip(configs, lists, strict=True)
    ]
    given = [values for _, values in named]
    sized = [0, *(at for at in range(1, len(examples)) if _differ(at, examples, given))]
    vars = {
        name: choose_var(
            size, [given[at].get(name) for at in sized], [examples[at] for at in sized]
        )
        for name, size in given[0].items()
    }
    for name, widths in widths_of(named[0][0], first).items():
        vars[name] = doubt_widths(vars[name], widths)
    steps = [steps for steps, _ in named]
    numbers: list[str] = []
    if len(sized) == 1:
        heads = heads_of(configs[0])
        numbers = list(dict.fromkeys(text for step in steps[0] for text in numbers_of(step, heads)))
        steps = [[doubt_numbers(step, heads) for step in some] for some in steps]
    by_config = {name for name, one in vars.items() if one.told[0].startswith("config.")}
    return Headed(
        Head(sections=tuple(sections), vars={name: one.told for name, one in vars.items()}),
        steps,
        [{name: one[name].value for name in one if name in by_config} for one in given],
        [name for name, one in vars.items() if one.is_asked],
        [*(name for name, one in vars.items() if one.is_seen_once), *numbers],
        is_of_one_size=len(sized) == 1,
    )


def _differ(at: int, examples: Sequence[Example], given: Sequence[Mapping[str, Size]]) -> bool:
    """Whether an example has other sizes than the first: only such tell which numbers are sizes."""
    values = [{name: one.value for name, one in given[number].items()} for number in (0, at)]
    return values[0] != values[1] or _shapes(examples[0]) != _shapes(examples[at])


def _shapes(example: Example) -> dict[str, tuple[int, ...]]:
    """The shapes of what was made."""
    return {key: spec.shape for key, spec in example.wanted.items()}


def _common_dtype(examples: Sequence[Example], lists: Sequence[Sequence[Step]]) -> str | None:
    """The one dtype of all floating targets, where some floating sources are cast to it."""
    specs = (spec for example in examples for spec in example.wanted.values())
    dtypes = {spec.dtype for spec in specs if spec.dtype in FLOATING}
    casts = [
        call
        for example, steps in zip(examples, lists, strict=True)
        for step in steps
        for call in step.calls[-1:]
        if call.op == "cast" and _is_floating(step, example)
    ]
    return dtypes.pop() if len(dtypes) == 1 and casts else None


def _is_floating(step: Step, example: Example) -> bool:
    """Whether a step reads floating numbers: `output: dtype` casts no others."""
    return example.tensors[step.takes[0]].spec.dtype in FLOATING


def _without_cast(step: Step, dtype: str, example: Example) -> Step:
    is_last = step.calls[-1:] == (Call("cast", (("dtype", dtype),)),)
    if is_last and _is_floating(step, example):
        return replace(step, calls=step.calls[:-1])
    return step
