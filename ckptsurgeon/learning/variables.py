"""The vars of learned rules: sizes with names, told by the config, by shapes, or by a user."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.drafting.steps import Call, Size, Step, Value
from ckptsurgeon.language.yaml.writing import write_key_text
from ckptsurgeon.learning.example import Example
from ckptsurgeon.learning.once import ONCE, Heads

CONFIG_NAMES = {
    "heads": ("num_attention_heads", "num_heads", "n_head", "n_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "n_kv_heads"),
    "head_dim": ("head_dim", "d_kv", "d_head"),
    "alpha": ("lora_alpha",),
}
"""What configs call the sizes that rules name: others of the same value mean something else."""

WIDTHS = ("hidden_size", "n_embd", "d_model", "dim", "embed_dim")
"""What configs call the size of all heads together, where they don't tell a head's."""

GROUP = "group"
"""How many heads of q share one of k and v, where only this counts: a quotient of two entries."""


def with_heads(step: Step, config: Mapping[str, object], told: Mapping[str, object]) -> Step:
    """The step with the config's numbers of heads, where only their ratio counts.

    With that ratio, where `told`, the config of the first example, has no such numbers.
    """
    is_told = all(_entries(Size(1, name), told) for name in ("heads", "kv_heads"))
    name = _config_heads if is_told else _ratio
    calls = tuple(
        replace(call, parameters=name(call, config)) if _is_flat(call) else call
        for call in step.calls
    )
    return replace(step, calls=calls)


def _ratio(call: Call, _: Mapping[str, object]) -> tuple[tuple[str, Value], ...]:
    layout, heads, kv_heads = (value for _, value in call.parameters)
    if not (isinstance(heads, Size) and isinstance(kv_heads, Size)):
        return call.parameters
    size = Size(heads.value // kv_heads.value, GROUP)
    return (("layout", layout), ("heads", size), ("kv_heads", 1))


def _is_flat(call: Call) -> bool:
    return dict(call.parameters).get("layout") == "flat" and len(call.parameters) == 3


def _config_heads(call: Call, config: Mapping[str, object]) -> tuple[tuple[str, Value], ...]:
    (_, layout), (_, heads), (_, kv_heads) = call.parameters
    if not (isinstance(heads, Size) and isinstance(kv_heads, Size)):
        return call.parameters
    found = [
        {path.rpartition(".")[0]: n for path, n in _entries(one, config).items()}
        for one in (heads, kv_heads)
    ]
    for part, many in found[0].items():
        few = found[1].get(part)
        if few and many * kv_heads.value == few * heads.value:
            named = Size(many, heads.name), Size(few, kv_heads.name)
            return (("layout", layout), ("heads", named[0]), ("kv_heads", named[1]))
    return call.parameters


def name_sizes(steps: Sequence[Step]) -> tuple[list[Step], dict[str, Size]]:
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
class Var:
    """A var's value and what is to be said of it, and who knows it."""

    told: tuple[str, str]
    is_asked: bool = False
    is_seen_once: bool = False


def choose_var(size: Size, values: Sequence[Size | None], examples: Sequence[Example]) -> Var:
    """What tells a var's value, and who must."""
    seen = [one.value for one in values if one is not None]
    config = examples[0].ground.config or {}
    entries = _entries(size, config)
    if (path := _entry_of(size, entries) or _quotient(size, config)) is not None:
        return Var((path, ""))
    others = " and ".join(f"config.{path} is {value}" for path, value in entries.items())
    if len(seen) == 1:
        return Var((str(size.value), _join(ONCE, others)), is_seen_once=True)
    if len(set(seen)) == 1:
        return Var((str(size.value), others))
    if (shape := _dim_of(seen, examples)) is not None:
        told = f"{_list_values(seen)} in the examples, as there"
        return Var((shape, told), is_seen_once=True)
    told = f"{_list_values(seen)} in the examples: by --config, or --set {size.name}=…"
    return Var((_likely_entry(size), told), is_asked=True)


def _likely_entry(size: Size) -> str:
    """Where most configs tell a size."""
    name = _plain_name(size)
    if name == GROUP:
        return " // ".join(f"config.{CONFIG_NAMES[one][0]}" for one in ("heads", "kv_heads"))
    return f"config.{CONFIG_NAMES.get(name, (size.name,))[0]}"


def _list_values(values: Sequence[int]) -> str:
    return " and ".join(map(str, values))


SHARED = ("kv", "key_value", "group", "query")
"""Parts of the names of entries that tell of fewer heads of k and v than of q."""


def heads_of(config: Mapping[str, object]) -> Heads:
    """What a config tells of heads: none are shared where it tells those of q alone."""
    parts = (part for part in config.values() if isinstance(part, Mapping))
    names = map(str, itertools.chain(config, *parts))
    told = any(part in name for name in names for part in SHARED)
    one = 1 in _entries(Size(1, "kv_heads"), config).values()
    return Heads(told or not _entries(Size(1, "heads"), config), is_one=one)


def _entries(size: Size, config: Mapping[str, object]) -> dict[str, int]:
    """The config's entries that mean such a size: those of the model, then of its parts."""
    return _entries_called(CONFIG_NAMES.get(_plain_name(size), ()), config)


def _entries_called(names: Sequence[str], config: Mapping[str, object]) -> dict[str, int]:
    """The numbers of a config by names: those of the model, then those of its parts."""
    parts = {
        f"{key}.": part
        for key, part in config.items()
        if isinstance(part, Mapping) and key.isidentifier()
    }
    return {
        f"{prefix}{name}": value
        for prefix, part in {"": config, **parts}.items()
        for name in names
        if isinstance(value := part.get(name), int) and not isinstance(value, bool)
    }


def _entry_of(size: Size, entries: Mapping[str, int]) -> str | None:
    """The entry that has a size's value: the model's own, or that of one of its parts alone."""
    equal = [path for path, value in entries.items() if value == size.value]
    own = [path for path in equal if "." not in path]
    found = own[:1] or (equal if len(equal) == 1 else [])
    return f"config.{found[0]}" if found else None


def _quotient(size: Size, config: Mapping[str, object]) -> str | None:
    """A head's size as the width by the heads, of a config that doesn't tell it."""
    if _plain_name(size) != "head_dim" or _entries(size, config):
        return None
    widths = _entries_called(WIDTHS, config)
    found = [
        f"config.{width} // config.{heads}"
        for heads, count in _entries(Size(1, "heads"), config).items()
        for width, value in widths.items()
        if heads.rpartition(".")[0] == width.rpartition(".")[0] and value == count * size.value
    ]
    return found[0] if len(found) == 1 else None


def _plain_name(size: Size) -> str:
    """What sizes of one kind are called; further ones have a number behind it."""
    return size.name.rstrip("_0123456789")


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


# --- several networks -----------------------------------------------------------------------------


def widths_of(steps: Sequence[Step], example: Example) -> dict[str, list[int]]:
    """The widths of the matrices that each number of heads is for, by the var's name."""
    found: dict[str, set[int]] = defaultdict(set)
    for step in steps:
        shape = example.tensors[step.takes[0]].spec.shape if step.takes else ()
        for size in _sizes(step) if len(shape) > 1 else ():
            if _plain_name(size) in ("heads", "kv_heads"):
                found[size.name].add(shape[-1])
    return {name: sorted(widths) for name, widths in found.items()}


def doubt_widths(var: Var, widths: Sequence[int]) -> Var:
    """The var, with a remark where it is for matrices of several widths: of several networks?"""
    value, told = var.told
    if len(widths) < 2:
        return var
    wide = f"for tensors of widths {_list_values(widths)}: the same in both?"
    return replace(var, told=(value, _join(told, wide)))


def _join(first: str, second: str) -> str:
    """Two remarks as one."""
    between = " " if first.endswith("?") else "; "
    return between.join(filter(None, (first, second)))
