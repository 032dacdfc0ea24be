"""The project's own files: what is installed, what is promised, what is pinned."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import ckptsurgeon

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def words(setup: configparser.ConfigParser, section: str, option: str) -> list[str]:
    return setup[section][option].split()


def project_name(requirement: str) -> str:
    """`torch>=2.6` -> `torch`."""
    return requirement.split(";")[0].partition("=")[0].rstrip("<>=~! ")


def test_every_folder_with_code_is_installed(setup: configparser.ConfigParser) -> None:
    folders = {path.parent for path in (ROOT / "ckptsurgeon").rglob("*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(words(setup, "options", "packages")) == names | {"ckptsurgeon._rules"}


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "ckptsurgeon").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_every_requirement_is_pinned(setup: configparser.ConfigParser) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {project_name(line) for line in lines if "==" in line}
    wanted = setup["options"]["install_requires"].splitlines()
    for extra in setup["options.extras_require"].values():
        wanted += extra.splitlines()
    assert {project_name(line) for line in wanted if line} - pinned == set()


def test_the_version_is_in_the_changelog() -> None:
    assert f"## {ckptsurgeon.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_console_script_and_the_module_are_one_program() -> None:
    script = Path(sys.executable).with_name("ckptsurgeon")
    calls = ([str(script)], [sys.executable, "-m", "ckptsurgeon"])
    told = [subprocess.run([*call, "--version"], capture_output=True, text=True) for call in calls]
    assert [run.returncode for run in told] == [0, 0]
    assert told[0].stdout == told[1].stdout
    assert ckptsurgeon.__version__ in told[0].stdout


def build(step: str, tree: Path, folder: Path) -> Path:
    """What setuptools makes of a tree: `build_sdist` or `build_wheel`."""
    code = f"import sys; from setuptools import build_meta as b; b.{step}(sys.argv[1])"
    before = set(folder.iterdir())
    command = [sys.executable, "-c", code, str(folder)]
    subprocess.run(command, cwd=tree, check=True, capture_output=True)
    return (set(folder.iterdir()) - before).pop()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution, so that both are known to be whole."""
    tree, folder = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in ("ckptsurgeon", "rules"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    with tarfile.open(build("build_sdist", tree, folder)) as archive:
        archive.extractall(tmp_path_factory.getbasetemp() / "unpacked", filter="data")
    unpacked = next((tmp_path_factory.getbasetemp() / "unpacked").iterdir())
    return build("build_wheel", unpacked, folder)


def test_the_wheel_holds_the_shipped_rulesets_the_types_and_the_templates(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    rules = {f"ckptsurgeon/_rules/{path.name}" for path in (ROOT / "rules").glob("*.yaml")}
    templates = ROOT / "ckptsurgeon" / "render" / "html" / "templates"
    pages = {f"ckptsurgeon/render/html/templates/{path.name}" for path in templates.iterdir()}
    assert rules
    assert len(pages) > 5
    assert pages <= names
    assert rules | {"ckptsurgeon/py.typed", "ckptsurgeon/_rules/__init__.py"} <= names
    assert not [name for name in names if name.startswith(("tests/", "rules/", "examples/"))]


def test_the_installed_wheel_finds_its_rulesets(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = "from ckptsurgeon.language import catalog; print(catalog.__file__, *catalog.names())"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    file, *names = run.stdout.split()
    assert Path(file).is_relative_to(tmp_path)
    assert set(names) == {path.stem for path in (ROOT / "rules").glob("*.yaml")}
