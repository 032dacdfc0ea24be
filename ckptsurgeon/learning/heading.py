"""What stands above learned rules: options of the files, the output's dtype, and vars."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.drafting.files import Head
from ckptsurgeon.drafting.steps import Call, Size, Step, Value
from ckptsurgeon.language.yaml.writing import write_key_text
from ckptsurgeon.learning.example import Example
from ckptsurgeon.learning.once import ONCE, doubt_numbers, numbers_of
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
        _name_sizes([_with_heads(step, config) for step in steps])
        for config, steps in zip(configs, lists, strict=True)
    ]
    given = [values for _, values in named]
    sized = [0, *(at for at in range(1, len(examples)) if _differ(at, examples, given))]
    vars = {
        name: _var(size, [given[at].get(name) for at in sized], [examples[at] for at in sized])
        for name, size in given[0].items()
    }
    steps = [steps for steps, _ in named]
    numbers: list[str] = []
    if len(sized) == 1:
        numbers = list(dict.fromkeys(text for step in steps[0] for text in numbers_of(step)))
        steps = [list(map(doubt_numbers, some)) for some in steps]
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


# --- vars -----------------------------------------------------------------------------------------


CONFIG_NAMES = {
    "heads": ("num_attention_heads", "num_heads", "n_head", "n_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "n_kv_heads"),
    "head_dim": ("head_dim", "d_kv", "d_head"),
    "alpha": ("lora_alpha",),
}
"""What configs call the sizes that rules name: others of the same value mean something else."""

HEADS = (
    ("num_attention_heads", "num_key_value_heads"),
    ("num_attention_heads", "num_kv_heads"),
    ("n_heads", "n_kv_heads"),
)
"""What configs call the numbers of heads of queries, and of keys and values."""


def _with_heads(step: Step, config: Mapping[str, object]) -> Step:
    """The step with the config's numbers of heads, where only their ratio counts."""
    calls = tuple(
        replace(call, parameters=_config_heads(call, config)) if _is_flat(call) else call
        for call in step.calls
    )
    return replace(step, calls=calls)


def _is_flat(call: Call) -> bool:
    return dict(call.parameters).get("layout") == "flat" and len(call.parameters) == 3


def _config_heads(call: Call, config: Mapping[str, object]) -> tuple[tuple[str, Value], ...]:
    (_, layout), (_, heads), (_, kv_heads) = call.parameters
    for names in HEADS:
        found = [config.get(name) for name in names]
        many, few = (one if isinstance(one, int) else 0 for one in found)
        if not (few and isinstance(heads, Size) and isinstance(kv_heads, Size)):
            continue
        if many * kv_heads.value == few * heads.value:
            named = Size(many, heads.name), Size(few, kv_heads.name)
            return (("layout", layout), ("heads", named[0]), ("kv_heads", named[1]))
    return call.parameters


def _name_sizes(steps: Sequence[Step]) -> tuple[list[Step], dict[str, Size]]:
    """The steps with a name for each size, and the sizes by these names.

    Further sizes of one name get a number behind it.
    """
    known: dict[str, list[int]] = defaultdict(list)
    for size in (size for step in steps for size in _sizes(step)):
        if size.value not in known[size.name]:
            known[size.name].append(size.value)
    names = {
        (name, value): f"{name}_{at}" if at > 1 else name
        for name, values in known.items()
        for at, value in enumerate(values, 1)
    }
    sizes = {new: Size(value, new) for (_, value), new in names.items()}
    return [_renamed(step, names) for step in steps], sizes


def _sizes(step: Step) -> list[Size]:
    values = (value for call in step.calls for _, value in call.parameters)
    return [value for value in values if isinstance(value, Size)]


def _renamed(step: Step, names: Mapping[tuple[str, int], str]) -> Step:
    def rename(value: Value) -> Value:
        if not isinstance(value, Size):
            return value
        return Size(value.value, names[value.name, value.value])

    calls = tuple(
        replace(call, parameters=tuple((name, rename(value)) for name, value in call.parameters))
        for call in step.calls
    )
    return replace(step, calls=calls)


@dataclass(frozen=True, slots=True)
class _Var:
    """A var's value and what is to be said of it, and who knows it."""

    told: tuple[str, str]
    is_asked: bool = False
    is_seen_once: bool = False


def _var(size: Size, values: Sequence[Size | None], examples: Sequence[Example]) -> _Var:
    """A var as it stands in the file."""
    seen = [one.value for one in values if one is not None]
    if (name := _entry_of(size, examples[0].ground.config or {})) is not None:
        return _Var((f"config.{name}", ""))
    if len(seen) == 1:
        return _Var((str(size.value), ONCE), is_seen_once=True)
    if len(set(seen)) == 1:
        return _Var((str(size.value), ""))
    if (shape := _dim_of(seen, examples)) is not None:
        return _Var((shape, ""))
    entry = CONFIG_NAMES.get(_plain_name(size), (size.name,))[0]
    told = f"{' and '.join(map(str, seen))} in the examples: by --config, or --set {size.name}=…"
    return _Var((f"config.{entry}", told), is_asked=True)


def _entry_of(size: Size, config: Mapping[str, object]) -> str | None:
    """The config's entry that means a size, where it has its value."""
    known = CONFIG_NAMES.get(_plain_name(size), ())
    return next((name for name in known if _is_size(config.get(name), size.value)), None)


def _plain_name(size: Size) -> str:
    """What sizes of one kind are called; further ones have a number behind it."""
    return size.name.rstrip("_0123456789")


def _is_size(found: object, value: int) -> bool:
    return isinstance(found, int) and not isinstance(found, bool) and found == value


def _dim_of(seen: Sequence[int], examples: Sequence[Example]) -> str | None:
    """The dim of a source's tensor that has the values of all examples, as a var."""
    for key, leaf in examples[0].tensors.items():
        for dim, size in enumerate(leaf.spec.shape):
            if size == seen[0] and _shapes_have(key, dim, seen, examples):
                return f"{{shape: {write_key_text(key)}, dim: {dim}}}"
    return None


def _shapes_have(key: str, dim: int, seen: Sequence[int], examples: Sequence[Example]) -> bool:
    leaves = [example.tensors.get(key) for example in examples]
    return len(seen) == len(leaves) and all(
        leaf is not None and len(leaf.spec.shape) > dim and leaf.spec.shape[dim] == value
        for leaf, value in zip(leaves, seen, strict=True)
    )
