"""No call that runs what a file says stands in the package: read from its syntax, not its text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ckptsurgeon"

MODULES = {
    *("pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"),
    *("subprocess", "runpy", "code", "codeop", "pty"),
}
"""What no module of the package imports: it loads objects, or runs other programs."""

CALLS = {
    *("eval", "exec", "compile", "__import__", "execfile"),
    *("os.system", "os.popen", "os.fork", "os.startfile"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.unsafe_load_all"),
    *("torch.jit.load", "torch.package.PackageImporter", "torch.hub.load"),
}
"""What no module of the package calls."""

FAMILIES = ("os.exec", "os.spawn", "os.posix_spawn", "yaml.full_load", "yaml.unsafe_load")
"""Beginnings of names of which none is called."""

WANTED = {"torch.load": ("weights_only", True), "numpy.load": ("allow_pickle", False)}
"""Calls that must say an argument, with its value."""

IMPORTERS = {
    "__init__.py": "the public names, each from its own module",
    "factories.py": "the model that the user names on the command line",
}
"""Who imports modules whose names are computed, and why."""

PARSED = ("eval", "exec")
"""Names that a string may not reach either, as in `getattr(builtins, "eval")`."""


def names_of(tree: ast.AST) -> dict[str, str]:
    """The full name behind each name that the imports of a module bind."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                found[bound] = alias.name if alias.asname else bound
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def full_name(node: ast.expr, names: dict[str, str]) -> str:
    """What is called, `np.load` as `numpy.load`; "" for what has no name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id).removeprefix("builtins.")
    if isinstance(node, ast.Attribute) and (base := full_name(node.value, names)):
        return f"{base}.{node.attr}".removeprefix("builtins.")
    return ""


def refusals(text: str) -> Iterator[str]:
    """What of a module's text may not stand in the package."""
    tree = ast.parse(text)
    names = names_of(tree)
    for name in {full.partition(".")[0] for full in names.values()} & MODULES:
        yield f"imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in PARSED:
            yield f"names {node.value}"
        elif isinstance(node, ast.Name | ast.Attribute):
            called = full_name(node, names)
            if called in CALLS or called.startswith(FAMILIES):
                yield f"uses {called}"
        elif isinstance(node, ast.Call):
            yield from unsafe_arguments(node, full_name(node.func, names))


def unsafe_arguments(call: ast.Call, called: str) -> Iterator[str]:
    """The name of a call that lacks the argument which makes it safe."""
    if called in WANTED:
        word, value = WANTED[called]
        given = {one.arg: one.value for one in call.keywords}.get(word)
        if not (isinstance(given, ast.Constant) and given.value is value):
            yield f"calls {called} without {word}={value}"


def modules() -> dict[str, str]:
    """The text of each module of the package."""
    return {
        str(path.relative_to(PACKAGE)): path.read_text("utf-8") for path in PACKAGE.rglob("*.py")
    }


def test_nothing_that_runs_a_file_is_called() -> None:
    told = {name: found for name, text in modules().items() if (found := [*refusals(text)])}
    assert told == {}


def test_modules_of_a_computed_name_are_imported_for_factories_alone() -> None:
    found = {name for name, text in modules().items() if imports_by_name(text)}
    assert found == set(IMPORTERS)


def imports_by_name(text: str) -> bool:
    """Whether a module imports another whose name does not stand there."""
    tree = ast.parse(text)
    names = names_of(tree)
    return any(
        isinstance(node, ast.Call)
        and full_name(node.func, names) == "importlib.import_module"
        and not isinstance(node.args[0], ast.Constant)
        for node in ast.walk(tree)
    )


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')",
        "import builtins\nbuiltins.exec('1')",
        "run = eval",
        "getattr(__builtins__, 'eval')('1')",
        "import pickle",
        "from pickle import loads as parse",
        "import marshal as m",
        "def f():\n    import subprocess",
        "import torch\ntorch.load('x')",
        "from torch import load\nload('x', weights_only=False)",
        "import torch as t\nt.load('x', weights_only=flag)",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import numpy\nnumpy.load('x')",
        "import yaml\nyaml.load('x', Loader=yaml.Loader)",
        "from yaml import unsafe_load\nunsafe_load('x')",
        "import os\nos.system('x')",
        "import os\nos.execv('x', [])",
    ],
)
def test_each_of_these_would_be_found(text: str) -> None:
    assert list(refusals(text))


def test_what_is_safe_is_not_refused() -> None:
    text = """\
import re
import torch
import yaml
from numpy import load
re.compile("x"); torch.load("x", weights_only=True); load("x", allow_pickle=False)
yaml.parse("x"); model.eval()
"""
    assert list(refusals(text)) == []
