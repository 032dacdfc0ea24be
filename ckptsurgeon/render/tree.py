"""The modules of a checkpoint as a tree in which equal siblings are one: `blocks.<0..11>`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ckptsurgeon.keys import Template, read_key
from ckptsurgeon.specs import TensorSpec

DEEPEST = 24
"""Levels of a tree; a longer key keeps its rest in one piece, and recursion ends."""


Structure = tuple[tuple[str, TensorSpec | int], ...]
"""The tensors of a module, and the numbers of the structures of its modules, by name."""


@dataclass(slots=True)
class _Module:
    """A module while the tree is built: its tensors and modules by name."""

    tensors: dict[str, TensorSpec]
    modules: dict[str, _Module]


@dataclass(frozen=True, slots=True)
class Branch:
    """A part of a tree. `names` are siblings with the same `spec` or the same `branches`.

    `tensors` and `nbytes` are of all of them together.
    """

    names: tuple[str, ...]
    spec: TensorSpec | None
    branches: tuple[Branch, ...]
    tensors: int
    nbytes: int


def grow_tree(specs: Mapping[str, TensorSpec]) -> Branch:
    """The tree of all keys, linear in their number; equal modules are found by their structure."""
    root = _Module({}, {})
    for key, spec in specs.items():
        *path, name = key.split(".", DEEPEST)
        module = root
        for piece in path:
            module = module.modules.setdefault(piece, _Module({}, {}))
        module.tensors[name] = spec
    _, branch = _fold("", root, {})
    return branch


def _fold(name: str, module: _Module, known: dict[Structure, int]) -> tuple[int, Branch]:
    """The number of a module's structure, by which `known` has it, and its branch."""
    children = {name: _fold(name, child, known) for name, child in module.modules.items()}
    numbers = ((name, number) for name, (number, _) in children.items())
    number = known.setdefault((*module.tensors.items(), *numbers), len(known))
    branches = (*_tensor_branches(module.tensors), *_module_branches(children))
    total = sum(branch.tensors for branch in branches)
    size = sum(branch.nbytes for branch in branches)
    return number, Branch((name,), None, branches, total, size)


def _tensor_branches(tensors: Mapping[str, TensorSpec]) -> Iterator[Branch]:
    by_spec: dict[TensorSpec, list[str]] = {}
    for name, spec in tensors.items():
        by_spec.setdefault(spec, []).append(name)
    for spec, names in by_spec.items():
        yield Branch(tuple(names), spec, (), len(names), spec.nbytes * len(names))


def _module_branches(children: Mapping[str, tuple[int, Branch]]) -> Iterator[Branch]:
    """Siblings of one structure and of names alike but for integers, as one branch."""
    groups: dict[tuple[int, Template], list[str]] = {}
    for name, (number, _) in children.items():
        groups.setdefault((number, read_key(name)[0]), []).append(name)
    for names in groups.values():
        one = children[names[0]][1]
        times = len(names)
        yield Branch(tuple(names), None, one.branches, one.tensors * times, one.nbytes * times)


def part_names(branch: Branch) -> list[Branch]:
    """What is in a module; tensors of one spec are told apart by names, but not by integers."""
    parts: list[Branch] = []
    for child in branch.branches:
        groups: dict[Template | None, list[str]] = {}
        for name in child.names:
            groups.setdefault(read_key(name)[0] if child.spec else None, []).append(name)
        parts += (replace(child, names=tuple(names)) for names in groups.values())
    return parts
