"""Names that are no file, or none that can be read: wherever one is given, words and exit 2."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import Ckpt

DEEP = 200_000
"""Far more levels than Python's stack has."""

LISTS = "[" * DEEP + "]" * DEEP

NESTED: dict[str, str] = {
    "lists.json": LISTS,
    "weight_map.json": f'{{"weight_map": {LISTS}}}',
    "metadata.json": f'{{"weight_map": {{"a": "dst.pt"}}, "metadata": {LISTS}}}',
    "entry.json": f'{{"weight_map": {{"a": "dst.pt"}}, "metadata": {{"x": {LISTS}}}}}',
    "shape.json": f'{{"a": ["F32", {LISTS}]}}',
    "escaped.json": f'{{"a\\u0041": ["F32", {LISTS}]}}',
    "objects.json": '{"a":' * DEEP + "1" + "}" * DEEP,
    "plan.json": f'{{"ckptsurgeon_plan":{LISTS}}}',
    "nodes.json": f'{{"ckptsurgeon_plan":3,"nodes":{LISTS}}}',
    "rules.yaml": f"format: 1\nrules: {LISTS}\n",
    "maps.yaml": f"format: 1\nrules: {'{a: ' * DEEP}{'}' * DEEP}\n",
    "dashes.yaml": f"format: 1\nrules: {'- ' * DEEP}a\n",
}

HEADERS: dict[str, str] = {
    "entry.safetensors": f'{{"a":{LISTS}}}',
    "metadata.safetensors": f'{{"__metadata__":{LISTS}}}',
    "both.safetensors": f'{{"__metadata__":{LISTS},"a":{{}}}}',
}

ABSENT = (
    *("loop", "loop.pt", "loop.json", "loop.yaml", "loop/x.pt", "loop/x.json", "loop/x.yaml"),
    *("fifo", "fifo.pt", "fifo.json", "fifo.yaml"),
    *("/dev/null", "/dev/zero", "dst.pt/x.pt", "dst.pt/x.json", "dst.pt/x.yaml", "no/x", ""),
    *("x" * 300 + suffix for suffix in ("", ".pt", ".json", ".yaml")),
    *("x/" * 3000 + name for name in ("x.pt", "x.json", "x.yaml")),
    *("a\0b", "a\0b.pt", "a\0b.json", "a\0b.yaml", "a\0b.safetensors"),
)

FOLDERS = ("folder", "folder.pt", "folder.json", "folder.yaml", ".", "/")

READING = (
    "inspect {}",
    "plan {}",
    "plan dst.pt --into {}",
    "diff {} dst.pt",
    "diff dst.pt {}",
    "plan --source a={}",
    "plan --source a*={}",
    "plan dst.pt -r {}",
    "plan dst.pt --config {}",
    "plan dst.pt --into {} --model-args 1",
    "plan dst.pt --into nets:build --model-args {}",
    "explain fc.bias {}",
    "check {}",
    "invert {}",
    "transplant dst.pt --plan {} -o out.pt",
    "probe {} -o out.pt",
    "verify {} --model nets:build",
    "verify dst.pt --model {}",
    "rules show {}",
)

WRITING = (
    "plan dst.pt -o {}",
    "transplant dst.pt -o {}",
    "transplant dst.pt -o {} --force",
    "probe dst.pt -o {}",
)

INCLUDING = "format: 1\nrules:\n  - {{within: x., rules: './{}'}}\n"
TAKING = "format: 1\nrules:\n  - {{from: fc.bias, to: x, ops: {{take: {{file: '{}'}}}}}}\n"
INDEX = '{{"weight_map": {{"fc.bias": "{}"}}}}'


@pytest.fixture(autouse=True)
def _odd(folder: Path) -> None:
    os.unlink("src.safetensors")  # the folder itself is no checkpoint either
    for suffix in ("", ".pt", ".json", ".yaml"):
        os.symlink(f"loop{suffix}", f"loop{suffix}")
        os.mkfifo(f"fifo{suffix}")
        os.mkdir(f"folder{suffix}")


def write_nested() -> None:
    for name, text in NESTED.items():
        Path(name).write_text(text)
    for name, text in HEADERS.items():
        Path(name).write_bytes(len(text).to_bytes(8, "little") + text.encode())


def refuses(ckpt: Ckpt, line: str, name: str) -> None:
    """Runs a command with a name in its place, which must be refused in words."""
    ran = ckpt(*(word.replace("{}", name) for word in line.split(" ")))
    assert ran.code == 2, (line, name, ran)
    assert "recursion" not in ran.err
    assert len(ran.err) < 20_000


@pytest.mark.parametrize("line", READING)
def test_what_is_no_file_is_refused_in_words(line: str, ckpt: Ckpt) -> None:
    for name in (*ABSENT, *FOLDERS):
        refuses(ckpt, line, name)


@pytest.mark.parametrize("line", READING)
def test_what_is_nested_without_end_is_refused_in_words(line: str, ckpt: Ckpt) -> None:
    write_nested()
    for name in (*NESTED, *HEADERS):
        refuses(ckpt, line, name)


@pytest.mark.parametrize("deep", [100, 500, 900])
def test_a_config_that_python_can_just_read_is_refused_where_it_is_used(
    deep: int, ckpt: Ckpt
) -> None:
    Path("deep.json").write_text(f'{{"n": {"[" * deep}{"]" * deep}}}')
    for rule in ("fc.bias -> x.<config.n>", "{from: fc.bias, to: x, where: 1 in config.n}"):
        ran = ckpt("plan", "dst.pt", "--config", "deep.json", "-e", rule)
        told = "lists and tables in one another" in ran.err or "nested far deeper" in ran.err
        assert (ran.code, told) == (2, True), ran


@pytest.mark.parametrize("line", WRITING)
def test_what_can_not_be_written_is_refused_in_words(line: str, ckpt: Ckpt) -> None:
    before = sorted(os.listdir())
    for name in (*ABSENT, "/"):
        refuses(ckpt, line, name)
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("command", "text"),
    [("check rules.yaml", INCLUDING), ("plan dst.pt -r rules.yaml", TAKING)],
)
def test_what_rules_name_is_refused_at_its_place(command: str, text: str, ckpt: Ckpt) -> None:
    for name in (*ABSENT, *FOLDERS):
        if "\0" not in name:
            Path("rules.yaml").write_text(text.format(name))
            ran = ckpt(*command.split(" "))
            assert (ran.code, ran.err.startswith("rules.yaml:3:")) == (2, True), (name, ran)


def test_what_an_index_names_is_refused_in_words(ckpt: Ckpt) -> None:
    for name in (*ABSENT, *FOLDERS):
        Path("index.json").write_text(INDEX.format(name.replace("\0", "\\u0000")))
        ran = ckpt("inspect", "index.json")
        assert (ran.code, "index.json: " in ran.err) == (2, True), (name, ran)


@pytest.fixture
def as_nobody(folder: Path) -> Iterator[Callable[[], None]]:
    """Whoever runs the tests reads no file without permission after this, not even root."""
    was = os.geteuid()

    def change() -> None:
        if was == 0:
            folder.chmod(0o755)
            os.seteuid(65534)

    yield change
    os.seteuid(was)


@pytest.mark.parametrize("line", READING)
def test_what_may_not_be_read_is_refused_in_words(
    line: str, ckpt: Ckpt, as_nobody: Callable[[], None]
) -> None:
    for name in ("secret", "secret.pt", "secret.json", "secret.yaml"):
        Path(name).write_bytes(b"x")
        Path(name).chmod(0)
    Path("folder").chmod(0)
    as_nobody()
    for name in ("secret", "secret.pt", "secret.json", "secret.yaml", "folder", "folder/x.pt"):
        refuses(ckpt, line, name)
