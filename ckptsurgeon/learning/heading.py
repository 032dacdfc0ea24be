"""What stands above learned rules: options of the files, the output's dtype, and vars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.checkpoints.nesting import FLAT
from ckptsurgeon.checkpoints.output import CARRYING, nesting_of
from ckptsurgeon.drafting.files import Head
from ckptsurgeon.drafting.steps import Call, Size, Step
from ckptsurgeon.language.yaml.quoting import quoted
from ckptsurgeon.language.yaml.writing import write_key_text
from ckptsurgeon.learning.example import Example
from ckptsurgeon.learning.once import Heads, doubt_numbers, numbers_of
from ckptsurgeon.learning.variables import (
    Var,
    choose_var,
    doubt_widths,
    heads_of,
    name_sizes,
    widths_of,
    with_heads,
)
from ckptsurgeon.specs import FLOATING
from ckptsurgeon.suggesting.sources import write_section

MOST_WRAPPERS = 8
"""Dicts of a converted file that a rule file names: more are modules, and no wrappers."""


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
    dtype = _common_dtype(examples, lists)
    configs = [one.ground.config or {} for one in examples]
    named = [
        name_sizes(
            [with_heads(_without_cast(step, dtype, example), config, configs[0]) for step in steps]
        )
        for example, config, steps in zip(examples, configs, lists, strict=True)
    ]
    plain, given = [steps for steps, _ in named], [sizes for _, sizes in named]
    sized = [0, *(at for at in range(1, len(examples)) if _differ(at, examples, given))]
    vars = _choose_vars([examples[at] for at in sized], [given[at] for at in sized])
    for name, widths in widths_of(plain[0], examples[0]).items():
        vars[name] = doubt_widths(vars[name], widths)
    numbers: list[str] = []
    if len(sized) == 1:
        plain, numbers = _doubt_sizes(plain, heads_of(configs[0]))
    by_config = {name for name, one in vars.items() if one.told[0].startswith("config.")}
    return Headed(
        Head((), _sections(examples[0], dtype), {name: one.told for name, one in vars.items()}),
        plain,
        [{name: one[name].value for name in one if name in by_config} for one in given],
        [name for name, one in vars.items() if one.is_asked],
        [*(name for name, one in vars.items() if one.is_seen_once), *numbers],
        is_of_one_size=len(sized) == 1,
    )


def _sections(example: Example, dtype: str | None) -> tuple[str, ...]:
    """The lines of the `source` and of the `output` section."""
    separator = example.output.separator
    words = [f"separator: {separator}"] if separator != "." else []
    words += [] if dtype is None else [f"dtype: {dtype}"]
    words += _nesting_words(example)
    output = [f"output: {{{', '.join(words)}}}"] if words else []
    return (*write_section(example.ground.options), *output)


def _nesting_words(example: Example) -> list[str]:
    """The words that nest an output as the converted file, where the source's nesting is another.

    Names of dicts that hold dots can't be said.
    """
    source = example.ground.sources.get("")
    found = nesting_of(example.converted)
    own = FLAT if source is None or source.format not in CARRYING else nesting_of(source)
    known = (*found.root, *(name for path in found.wrappers for name in path))
    told = len(found.wrappers) <= MOST_WRAPPERS and not any("." in name for name in known)
    is_same = (found.root, set(found.wrappers)) == (own.root, set(own.wrappers))
    if example.converted.format not in CARRYING or is_same or not told or found.prefix:
        return []
    wrappers = [write_key_text(one) for one in found.wrapper_texts]
    root = write_key_text(found.root_text) if found.root else quoted("")
    roots = [f"root: {root}"] if found.root or not wrappers else []
    return roots + ([f"wrappers: [{', '.join(wrappers)}]"] if wrappers else [])


def _choose_vars(
    examples: Sequence[Example], given: Sequence[Mapping[str, Size]]
) -> dict[str, Var]:
    """The vars of the first example, by what examples of other sizes have for them."""
    return {
        name: choose_var(size, [sizes.get(name) for sizes in given], examples)
        for name, size in given[0].items()
    }


def _doubt_sizes(
    lists: Sequence[Sequence[Step]], heads: Heads
) -> tuple[list[list[Step]], list[str]]:
    """The steps of examples of one size in doubt of their numbers, and the first one's numbers."""
    numbers = dict.fromkeys(text for step in lists[0] for text in numbers_of(step, heads))
    return [[doubt_numbers(step, heads) for step in steps] for steps in lists], list(numbers)


def _differ(at: int, examples: Sequence[Example], given: Sequence[Mapping[str, Size]]) -> bool:
    """Whether an example has other sizes than the first: only such tell which numbers are sizes."""
    values = [{name: one.value for name, one in given[number].items()} for number in (0, at)]
    return values[0] != values[1] or _shapes(examples[0]) != _shapes(examples[at])


def _shapes(example: Example) -> tuple[dict[str, tuple[int, ...]], ...]:
    """The shapes of what there was, and of what was made."""
    there = {key: tensor.spec.shape for key, tensor in example.tensors.items()}
    return there, {key: spec.shape for key, spec in example.wanted.items()}


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


def _without_cast(step: Step, dtype: str | None, example: Example) -> Step:
    """The step without its cast to the dtype of all floating targets."""
    if dtype is None or not _is_floating(step, example):
        return step
    is_cast = step.calls[-1:] == (Call("cast", (("dtype", dtype),)),)
    return replace(step, calls=step.calls[:-1]) if is_cast else step
