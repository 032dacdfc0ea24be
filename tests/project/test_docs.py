"""What the docs say is true: every rule in them is read, every pair of rules and keys is run."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import ckptsurgeon as cs

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]*)(#[^)]*)?\)")


class Example(NamedTuple):
    """A block of YAML and, where one follows it, the block of keys."""

    page: str
    line: int
    rules: str
    keys: str


def examples() -> list[Example]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = list(FENCE.finditer(text))
        for block, following in itertools.zip_longest(blocks, blocks[1:]):
            if block[1] != "yaml" or ("rules:" not in block[2] and "- " not in block[2][:2]):
                continue
            keys = following[2] if following and following[1] == "keys" else ""
            line = text.count("\n", 0, block.start()) + 1
            found.append(Example(page.name, line, block[2], keys))
    return found


def whole(rules: str) -> str:
    """A rule file; a block in the docs may be a list of rules alone."""
    if rules.startswith("format:"):
        return rules
    indented = "".join(f"  {line}\n" for line in rules.splitlines())
    return f"format: 1\nrules:\n{indented}"


EXAMPLES = examples()
RUN = [example for example in EXAMPLES if example.keys]


def name(example: Example) -> str:
    return f"{example.page}:{example.line}"


@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_every_rule_in_the_docs_is_read(example: Example, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(whole(example.rules), encoding="utf-8")
    assert cs.load_ruleset(file).stages


def shape_of(text: str) -> tuple[str, tuple[int, ...]]:
    """`q.weight [4, 2]` -> the key and the shape; [2] where none is written."""
    key, bracket, sizes = text.strip().partition(" [")
    if not bracket:
        return key, (2,)
    return key.rstrip(), tuple(int(size) for size in sizes.strip(" ]").split(",") if size)


def columns(keys: str) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    lines = [line.partition("->") for line in keys.splitlines()]
    left = dict(shape_of(line[0]) for line in lines if line[0].strip())
    return left, dict(shape_of(line[2]) for line in lines if line[2].strip())


@pytest.mark.parametrize("example", RUN, ids=name)
def test_every_pair_of_rules_and_keys_is_what_happens(example: Example, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(whole(example.rules), encoding="utf-8")
    source, wanted = columns(example.keys)
    arrays = {key: np.ones(shape, np.float32) for key, shape in source.items()}
    tensors, _ = cs.apply(arrays, file)
    assert {key: tuple(tensor.shape) for key, tensor in tensors.items()} == wanted


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [target for target, _ in LINK.findall(text) if target and "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_docs_tell_every_op() -> None:
    from ckptsurgeon.ops import OPS

    text = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    assert [op for op in OPS if f"`{op}`" not in text] == []


def test_the_walk_names_files_that_are_there_and_none_twice() -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    walk = page.partition("## A walk through the house")[2].partition("\n## ")[0]
    named = re.findall(r"`([\w/]+\.py)`", walk)
    package = [f"/{path.relative_to(ROOT)}" for path in (ROOT / "ckptsurgeon").rglob("*.py")]
    found = [[path for path in package if path.endswith(f"/{name}")] for name in named]
    assert [name for name, paths in zip(named, found, strict=True) if not paths] == []
    assert len(named) > 40
    assert len(named) == len(set(named))
