"""What stands above learned rules: options of the files, the output's dtype, and vars."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.drafting.files import Head
from ckptsurgeon.drafting.steps import Call, Size, Step, Value
from ckptsurgeon.language.yaml.quoting import quoted
from ckptsurgeon.language.yaml.writing import write_key_text
from ckptsurgeon.learning.example import Example
from ckptsurgeon.specs import FLOATING


@dataclass(frozen=True, slots=True)
class Headed:
    """The head of a file, and the steps as they are below it."""

    head: Head
    steps: Sequence[Step]


def head_of(example: Example, steps: Sequence[Step], config: Mapping[str, object] | None) -> Headed:
    """The head that says what the steps have in common, and the steps without that."""
    sections = list(_source_section(example))
    dtype = _common_dtype(example, steps)
    words = []
    if example.output.separator != ".":
        words.append(f"separator: {example.output.separator}")
    if dtype is not None:
        words.append(f"dtype: {dtype}")
        steps = [_without_cast(step, dtype) for step in steps]
    if words:
        sections.append(f"output: {{{', '.join(words)}}}")
    steps = [_with_heads(step, config or {}) for step in steps]
    vars, steps = _name_sizes(steps, config or {})
    return Headed(Head(sections=tuple(sections), vars=vars), steps)


def _source_section(example: Example) -> list[str]:
    """`source: {…}`, where parts of files were opened, or their keys are seen otherwise."""
    options = example.ground.options
    words = list(_root_word(example))
    if options.strip:
        words.append(f"strip: [{', '.join(map(quoted, options.strip))}]")
    if options.separator != ".":
        words.append(f"separator: {options.separator}")
    return [f"source: {{{', '.join(words)}}}"] if words else []


def _root_word(example: Example) -> Iterator[str]:
    sources = example.ground.sources.items()
    roots = {alias: one.contents.root for alias, one in sources if one.contents.root}
    if set(roots) == {""}:
        yield f"root: {write_key_text(roots[''])}"
    elif roots:
        named = (f"{alias or quoted('')}: {write_key_text(root)}" for alias, root in roots.items())
        yield f"root: {{{', '.join(named)}}}"


def _common_dtype(example: Example, steps: Sequence[Step]) -> str | None:
    """The one dtype of all floating targets, where some are cast to it."""
    dtypes = {spec.dtype for spec in example.wanted.values() if spec.dtype in FLOATING}
    casts = [call for step in steps for call in step.calls[-1:] if call.op == "cast"]
    return dtypes.pop() if len(dtypes) == 1 and casts else None


def _without_cast(step: Step, dtype: str) -> Step:
    if step.calls[-1:] == (Call("cast", (("dtype", dtype),)),):
        return replace(step, calls=step.calls[:-1])
    return step


# --- vars -----------------------------------------------------------------------------------------


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


def _name_sizes(
    steps: Sequence[Step], config: Mapping[str, object]
) -> tuple[dict[str, tuple[str, str]], list[Step]]:
    """Vars for sizes that were seen once, and the steps with their names.

    Sizes of one name and several values get a number behind it.
    """
    values: dict[str, list[int]] = defaultdict(list)
    for size in (size for step in steps for size in _sizes(step)):
        if size.value not in values[size.name]:
            values[size.name].append(size.value)
    names = {
        Size(value, name): name if len(known) == 1 else f"{name}_{value}"
        for name, known in values.items()
        for value in known
    }
    vars = {name: _var(size, config) for size, name in names.items()}
    return vars, [_renamed(step, names) for step in steps]


def _sizes(step: Step) -> list[Size]:
    values = (value for call in step.calls for _, value in call.parameters)
    return [value for value in values if isinstance(value, Size)]


def _renamed(step: Step, names: Mapping[Size, str]) -> Step:
    calls = tuple(
        replace(
            call,
            parameters=tuple(
                (name, Size(value.value, names[value]) if isinstance(value, Size) else value)
                for name, value in call.parameters
            ),
        )
        for call in step.calls
    )
    return replace(step, calls=calls)


def _var(size: Size, config: Mapping[str, object]) -> tuple[str, str]:
    """A var's value, and what is to be said of it: the config's one entry of that value, if any."""
    named = [name for name, value in config.items() if value == size.value and value is not True]
    alike = [name for name in named if set(size.name.split("_")) <= set(name.split("_"))]
    for names in (named, alike, [name for name in alike if "kv" in name or "key" in name]):
        if len(names) == 1 and names[0].isidentifier():
            return f"config.{names[0]}", ""
    return str(size.value), "seen once: constant, or a size?"
