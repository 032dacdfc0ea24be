"""Imports only go down, nothing goes in a circle, and only what is heavy is imported late."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[2] / "ckptsurgeon"

DESIGN = Path(__file__).parents[2] / "docs" / "design.md"

ROW = re.compile(r"^\| (\d+) \| (.+?) \|", re.MULTILINE)
"""A row of the layer table in docs/design.md: the number of a layer, and the places in it."""

LAYER_OF = {
    name.rstrip("/").removesuffix(".py"): int(layer)
    for layer, places in ROW.findall(DESIGN.read_text(encoding="utf-8"))
    for name in re.findall(r"`(\w+(?:/|\.py))`", places)
}
"""Files and folders of the package by layer, as docs/design.md tells them."""

IN_TORCH = ("batchnorm", "modules")
"""For people inside Python with `nn.Module`s: alone to import torch first."""

LAZY = {
    "torch": "1.6 s of CPU; only dicts of torch tensors need it",
    "numpy": "0.1 s; plans are made from headers alone",
    "ml_dtypes": "only casts of bfloat16 and float8 need it",
    "re2": "only patterns with several unbounded pieces need it",
    "rich": "only printing on a terminal needs it",
    "ctypes": "only replacing a folder needs it",
    "pickletools": "only a pickle that is refused needs it",
    "ckptsurgeon.measuring.measuring": "imports NumPy; only who asks for statistics needs it",
    "ckptsurgeon.ops.carriers": "imports NumPy",
    "ckptsurgeon.checkpoints.npz": "only an npz file needs it",
    "ckptsurgeon.checkpoints.torch.skeleton": "only a torch source has entries to carry",
    "ckptsurgeon.checkpoints.torch.composing": "only a torch output is composed of dicts",
    "ckptsurgeon.checkpoints.torch.zipped": "only a torch file needs the pickle interpreter",
    "ckptsurgeon.checkpoints.torch.legacy": "only a torch file needs the pickle interpreter",
    "ckptsurgeon.checkpoints.torch.writer": "only a torch output needs it",
}
"""Modules that may be imported inside a function, and why."""

BY_COMMAND = "ckptsurgeon.cli"
"""The package whose modules load what a command needs when that command is given."""

NUMPY_FIRST = ("ckptsurgeon.ops.carriers",)
"""The modules that import NumPy at the top, and that nothing imports at its top."""

IN_NUMPY = ("comparing", "learning", "measuring")
"""The rooms that compare or measure values, and that are loaded when somebody asks for that."""

WITHOUT_NUMPY = (
    "ckptsurgeon.comparing.change",
    "ckptsurgeon.comparing.difference",
    "ckptsurgeon.learning.learned",
    "ckptsurgeon.measuring.histograms",
    "ckptsurgeon.measuring.measured",
    "ckptsurgeon.measuring.statistics",
)
"""Modules of these rooms that do without."""


class Import(NamedTuple):
    """One imported module: where, whether inside a function, and whether for types alone."""

    importer: str
    imported: str
    late: bool
    for_types: bool


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@cache
def modules() -> frozenset[str]:
    return frozenset(map(module_name, PACKAGE.rglob("*.py")))


def imported_names(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """The modules that a statement imports; `from package import module` names the module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    for alias in node.names:
        full = f"{base}.{alias.name}"
        yield full if full in modules() else base


def imports_in(node: ast.AST, importer: str, late: bool, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            for name in imported_names(child):
                yield Import(importer, name, late, for_types)
        inner_late = late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typed = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        yield from imports_in(child, importer, inner_late, for_types or typed)


@cache
def trees() -> dict[str, ast.Module]:
    """Every module of the package, parsed once."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


@cache
def imports() -> tuple[Import, ...]:
    found: list[Import] = []
    for module, tree in trees().items():
        found += imports_in(tree, module, late=False, for_types=False)
    return tuple(dict.fromkeys(found))


def unit(module: str) -> str:
    """The file or folder of the package that a module belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def own() -> list[Import]:
    return [found for found in imports() if found.imported.split(".")[0] == PACKAGE.name]


def test_every_module_has_a_layer() -> None:
    assert {unit(module) for module in modules()} == LAYER_OF.keys()


def test_no_import_is_relative() -> None:
    nodes = [node for tree in trees().values() for node in ast.walk(tree)]
    assert [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level] == []


def test_imports_only_go_down() -> None:
    upward = [
        f"{found.importer} imports {found.imported}"
        for found in own()
        if LAYER_OF[unit(found.imported)] > LAYER_OF[unit(found.importer)]
    ]
    assert upward == []


def test_nothing_is_imported_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for found in own():
        if not found.for_types and found.imported != found.importer:
            graph.setdefault(found.importer, set()).add(found.imported)
    assert list(TopologicalSorter(graph).static_order())


def test_only_two_modules_import_torch_first() -> None:
    first = {found for found in imports() if not (found.late or found.for_types)}
    torch = {unit(found.importer) for found in first if found.imported.split(".")[0] == "torch"}
    assert torch <= set(IN_TORCH)


def test_only_carriers_import_numpy_first() -> None:
    first = [found for found in imports() if not (found.late or found.for_types)]
    heavy = ("numpy", *NUMPY_FIRST)
    importers = {found.importer for found in first if found.imported in heavy}
    rooms = (*IN_TORCH, *IN_NUMPY)
    assert {name for name in importers if unit(name) not in rooms} <= set(NUMPY_FIRST)


def test_nothing_else_imports_the_rooms_that_import_numpy() -> None:
    first = [found for found in imports() if not (found.late or found.for_types)]
    heavy = [found for found in first if found.imported not in WITHOUT_NUMPY]
    importers = {unit(found.importer) for found in heavy if unit(found.imported) in IN_NUMPY}
    assert importers <= {*IN_NUMPY}


def test_only_what_is_heavy_is_imported_inside_a_function() -> None:
    late = [
        f"{found.importer} imports {found.imported} late"
        for found in imports()
        if found.late
        and not found.importer.startswith(BY_COMMAND)
        and not (found.imported in LAZY or found.imported.split(".")[0] in LAZY)
    ]
    assert late == []


def test_only_the_command_line_prints_or_exits() -> None:
    calls = []
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.exit"):
                calls.append(f"{module}:{node.lineno}")
    assert [call for call in calls if unit(call.split(":")[0]) not in ("cli", "__main__")] == []
