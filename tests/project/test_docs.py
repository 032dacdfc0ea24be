"""What the docs say is true: every rule in them is read, every pair of rules and keys is run."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

import ckptsurgeon as cs

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]*)(#[^)]*)?\)")


BESIDE = ("csv", "destination", "keys")
"""What may follow a block of rules: names.csv, the keys of a destination, and those of a run."""


class Example(NamedTuple):
    """A block of YAML and the blocks that follow it, by their kind."""

    page: str
    line: int
    rules: str
    beside: Mapping[str, str]

    def save(self, folder: Path) -> Path:
        """The rule file, with names.csv beside it."""
        if "csv" in self.beside:
            (folder / "names.csv").write_text(self.beside["csv"], encoding="utf-8")
        file = folder / "rules.yaml"
        file.write_text(whole(self.rules), encoding="utf-8")
        return file


def examples() -> list[Example]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = list(FENCE.finditer(text))
        for number, block in enumerate(blocks):
            if block[1] != "yaml" or ("rules:" not in block[2] and "- " not in block[2][:2]):
                continue
            following = itertools.takewhile(lambda one: one[1] in BESIDE, blocks[number + 1 :])
            line = text.count("\n", 0, block.start()) + 1
            beside = {one[1]: one[2] for one in following}
            found.append(Example(page.name, line, block[2], beside))
    return found


def whole(rules: str) -> str:
    """A rule file; a block in the docs may be a list of rules alone."""
    if rules.startswith("format:"):
        return rules
    indented = "".join(f"  {line}\n" for line in rules.splitlines())
    return f"format: 1\nrules:\n{indented}"


EXAMPLES = examples()
RUN = [example for example in EXAMPLES if "keys" in example.beside]


def name(example: Example) -> str:
    return f"{example.page}:{example.line}"


@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_every_rule_in_the_docs_is_read(example: Example, tmp_path: Path) -> None:
    assert cs.load_ruleset(example.save(tmp_path)).stages


DTYPES = {"": torch.float32, "BF16": torch.bfloat16, "F8_E4M3": torch.float8_e4m3fn}
SPEC = re.compile(r"(.+?) +([A-Z]\w*)?\[([\d, ]*)\]")

Spec = tuple[torch.dtype, tuple[int, ...]]


def spec_of(text: str) -> tuple[str, Spec]:
    """`q.weight BF16[4, 2]` -> the key and the spec: F32 and [2] where none is written."""
    found = SPEC.fullmatch(text.strip())
    if found is None:
        return text.strip(), (torch.float32, (2,))
    sizes = tuple(int(size) for size in found[3].split(",") if size)
    return found[1], (DTYPES[found[2] or ""], sizes)


def columns(keys: str) -> tuple[dict[str, Spec], dict[str, Spec]]:
    lines = [line.partition("->") for line in keys.splitlines()]
    left = dict(spec_of(line[0]) for line in lines if line[0].strip())
    return left, dict(spec_of(line[2]) for line in lines if line[2].strip())


def held(specs: Mapping[str, Spec]) -> dict[str, torch.Tensor]:
    return {key: torch.ones(shape).to(dtype) for key, (dtype, shape) in specs.items()}


@pytest.mark.parametrize("example", RUN, ids=name)
def test_every_pair_of_rules_and_keys_is_what_happens(example: Example, tmp_path: Path) -> None:
    source, wanted = columns(example.beside["keys"])
    template, _ = columns(example.beside.get("destination", ""))
    first, others = by_alias(held(source))
    rules = example.save(tmp_path)
    tensors, _ = cs.apply(first or None, rules, held(template) or None, sources=others)
    assert {key: (one.dtype, tuple(one.shape)) for key, one in tensors.items()} == wanted


def by_alias(
    tensors: Mapping[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[str, dict[str, torch.Tensor]]]:
    """The tensors of the source without a name, and those of others."""
    sources: dict[str, dict[str, torch.Tensor]] = {"": {}}
    for address, tensor in tensors.items():
        alias, colons, key = address.partition("::")
        sources.setdefault(alias if colons else "", {})[key if colons else address] = tensor
    return sources.pop(""), sources


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
