"""The JSON Schema says of a rule file what the reader says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ckptsurgeon.language import catalog
from ckptsurgeon.language.reading.rule_kinds import KINDS
from ckptsurgeon.language.reading.schema import json_schema
from ckptsurgeon.language.rulesets import parse_ruleset
from ckptsurgeon.language.yaml.composing import documents
from ckptsurgeon.language.yaml.nodes import Mapping, Node, Scalar, Sequence
from ckptsurgeon.ops import OPS

SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
FILES = [
    *(Path(__file__).parent / "examples").glob("*.yaml"),
    *map(catalog.path_of, catalog.names()),
]


def plain(node: Node) -> Any:
    """The value of a node as an editor that knows YAML 1.2 has it."""
    if isinstance(node, Mapping):
        return {key.text: plain(value) for key, value in node.entries}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    assert isinstance(node, Scalar)
    if node.null or node.truth is not None:
        return node.truth
    return node.number() if node.numeric else node.text


def valid(text: str) -> bool:
    found, _ = documents(text, "r.yaml")
    return all(VALIDATOR.is_valid(plain(node)) for node in found)


def test_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_real_files_are_valid(path: Path) -> None:
    assert valid(path.read_text(encoding="utf-8"))


GOOD = """
a -> b
{from: b, to: 1.10}
{from: b, to: no}
{from: b}
{from: "layers.<i>.w", to: "x", where: "i < n", pick: {i: [0, "1..2"]}, map: {p: {q: x}}}
{from: ["a", "b"], to: "mh", ops: [{stack: {over: e}}, {concat: {dim: 1}}], count: 2}
{"attn.<p:q|k|v>_proj.w -> attn.w": {concat: 0}}
{"qkv.weight -> a.<p:q|k|v>.w": split}
{"a -> b": {where: i < 3, ops: [transpose]}}
{"a -> b": [{split: {sizes: [i, 3]}}, {cast: F16}]}
{"a -> b": {slice: "1:3, ::2"}}
{"a -> b": {slice: 3}}
{"a -> b": {repeat: n}}
{"a -> b": {rearrange: {pattern: "a (two d) -> (two a) d", two: 2}}}
{"a -> b": {rearrange: "a b -> b a"}}
{"a -> b": {split_qkv: {layout: per_head, heads: 2}}}
{"a -> b": {permute_rope: {head_dim: d, to: half}}}
{"a -> b": {transpose: [0, 1]}}
{"a -> b": {reshape: config.shape}}
{"a -> b": {fuse_qkv: flat}}
{within: ["a. -> b.", c.], rules: [a -> b, {drop: x}]}
{within: a., rules: timm_vit_to_transformers}
{init: {to: z, fill: 0, shape: [2, 3], dtype: F32}}
{init: {to: z, fill: normal, std: 1e-3, seed: i}, where: i < 2}
{batchnorm: bn1 -> n1, optional: true}
{keep: [a, b]}
{tie: [a, b]}
{require: {key: b, shape: [6], count: 1}}
"""

BAD = """
a
[a, b]
{from: []}
{from: a, too: b}
{from: a, ops: [frobnicate]}
{from: a, optional: yes}
{from: a, count: -1}
{from: a, pick: {i: 3}}
{from: a, map: {e: [0, 2]}}
{from: a, fallback: null}
{from: a, to: b, drop: c}
{"a -> b": null}
{"a -> b": transpoze}
{"a -> b": {concat: 1, where: i < 2}}
{"a -> b": {concat: 1, cast: F16}}
{"a -> b": {cast: float16}}
{"a -> b": {cast: {dtype: F32, over: i}}}
{"a -> b": {stack: {dim: true}}}
{"a -> b": {transpose: {dim: 1}}}
{"a -> b": {permute_rope: 64}}
{"a -> b": permute_rope}
{"a -> b": {split_qkv: per_hed}}
{"a -> b": {pad: {to: 5, at: middle}}}
{"a -> b": {same: 1}}
{within: layers.}
{within: a., rules: {b: c}}
{init: {to: z, shape: [2]}}
{init: {to: z, fill: 0, fil: 1}}
{batchnorm: bn1}
{require: {shape: [6]}}
"""


@pytest.mark.parametrize("rule", GOOD.strip().split("\n"))
def test_good_rules_are_valid(rule: str) -> None:
    text = f"format: 1\nvars: {{n: 2}}\nrules:\n  - {rule}\n"
    parse_ruleset(text, "r.yaml")
    assert valid(text)


@pytest.mark.parametrize("rule", BAD.strip().split("\n"))
def test_bad_rules_are_not_valid(rule: str) -> None:
    assert not valid(f"format: 1\nrules:\n  - {rule}\n")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("format: 1", True),
        ("format: 1\nabout: x\nunmatched: drop\noutput: {dtype: destination, separator: /}", True),
        ("format: 1\noutput: {root: '', wrappers: [a, b.c]}", True),
        ("format: 1\noutput: {wrappers: a}", True),
        ("format: 1\noutput: {wrappers: []}", False),
        ("format: 1\noutput: {root: [a]}", False),
        ("format: 1\nsource: {root: {v: m}, strip: [a., {anywhere: b}]}", True),
        (
            "format: 1\nvars: {a: 1, b: {shape: k, dim: a}, c: {config: n, default: 2}, d: [1, a]}",
            True,
        ),
        ("format: 1\nrules:\n  # CHECK - a -> b", True),
        ("rules: []", False),
        ("format: 2", False),
        ("format: 1\nrulez: []", False),
        ("format: 1\nunmatched: ignore", False),
        ("format: 1\nsource: [root]", False),
        ("format: 1\nvars: {n: {a: {b: 1}}}", True),
        ("format: 1\nvars: {n: {shape: k, dim: 0, dmi: 1}}", False),
        ("format: 1\nrules: {b: c}", False),
    ],
)
def test_top(text: str, wanted: bool) -> None:
    assert valid(text) == wanted


def test_every_word_has_a_description() -> None:
    words = json.dumps(SCHEMA)
    for word in (*OPS, *KINDS, "within", "where", "vars"):
        assert f'"{word}"' in words
    for schema in SCHEMA["properties"].values():
        assert schema["description"]
