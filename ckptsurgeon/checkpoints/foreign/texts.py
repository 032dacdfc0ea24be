"""Texts that are given in a checkpoint's place: rule files, configs, JSON of other kinds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ckptsurgeon.checkpoints.spec import describe_wanted
from ckptsurgeon.wording import choose

RULES = re.compile(rb"^(?:format:\s*\d|rules:|unmatched:| *- .* -> )", re.MULTILINE)
YAML = re.compile(rb"\A(?:---\n|(?:(?:#[^\n]*|[ \t\r]*)\n)*[\w.-]+:(?:\s|$))")
WORD_VECTORS = re.compile(rb"\A\d{1,9} \d{1,5}\s*\n")

BESIDE = "give the folder that it lies in, or the file with the weights beside it"

DOCUMENTS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"_diffusers_version"}), f"the config of a diffusers model or pipeline: {BESIDE}"),
    (frozenset({"peft_type"}), f"the config of an adapter: {BESIDE}"),
    (frozenset({"architectures"}), f"the config of a model: {BESIDE}"),
    (frozenset({"model_type"}), f"the config of a model: {BESIDE}"),
    (frozenset({"tokenizer_class"}), f"the config of a tokenizer: {BESIDE}"),
    (frozenset({"added_tokens", "model"}), f"a tokenizer: {BESIDE}"),
    (frozenset({"global_step", "log_history"}), f"the state of a trainer: {BESIDE}"),
    (frozenset({"zero_optimization"}), f"a config of DeepSpeed: {BESIDE}"),
    (frozenset({"weightsManifest"}), "a model of TensorFlow.js: give what it was made from"),
    (frozenset({"modelTopology"}), "a model of TensorFlow.js: give what it was made from"),
    (frozenset({"base_code", "program"}), "a program of PaddlePaddle: give its .pdparams"),
    (frozenset({"nodes", "arg_nodes"}), "the graph of an MXNet model: give its .params"),
    (frozenset({"itemInfoEntries"}), "the manifest of a CoreML package: give the checkpoint"),
    (frozenset({"learner", "version"}), "a model of XGBoost, of trees, not of tensors"),
    (frozenset({"nbformat", "cells"}), "a notebook"),
    (frozenset({"error"}), "an answer of a server, which tells an error: fetch the file again"),
    (
        frozenset({"ckptsurgeon_plan"}),
        "a saved plan, which `transplant` runs on a source: by `--plan`, in Python by `load_plan`",
    ),
    (frozenset({"dim", "n_layers"}), f"the params of a model: {BESIDE}"),
)
"""Names that stand in a JSON object, and what it is that has all of them."""


def describe_json(entries: Mapping[str, Any], path: Path) -> str:
    """Words for a JSON object with names, that is neither a spec nor an index."""
    for names, words in DOCUMENTS:
        if names <= entries.keys():
            return f"is JSON, but no checkpoint: it is {words}"
    if path.name.endswith("config.json"):
        return f"is JSON, but no checkpoint: it is a config: {BESIDE}"
    wanted = describe_wanted(*next(iter(entries.items())))
    return f"is JSON, but neither a spec nor an index with a weight_map: {wanted}"


def describe_text(head: bytes) -> str:
    """Words for a text; "" for what is none."""
    if WORD_VECTORS.match(head) or not _is_text(head):
        return ""
    if RULES.search(head):
        return f"is a rule file, no checkpoint: give it as `{choose('-r', 'rules')}`"
    kind = "YAML" if YAML.match(head) else "text"
    start = " ".join(head[:80].decode("ascii", "replace").split())[:60]
    return f"is {kind}, no checkpoint: it begins with {start!a}"


def _is_text(head: bytes) -> bool:
    """Whether the bytes are of a text; the last character may be cut."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3 or not error.start:
            return False
        text = head[: error.start].decode("utf-8")
    return bool(text.strip()) and all(one.isprintable() or one in "\t\r\n\f" for one in text)
