"""Runs a case of the language in this process: tensors are filled so that every element is unique.

A case is a mapping of `name` (unique) and:

source      key -> "F32[2, 3]", or a list for F32; absent where all sources are named
sources     alias -> such a mapping
into        the destination, like `source`; `shapes_only: true` makes it a spec without values
rules       text of a rule file, or a list of texts (several -r); one that starts with `-` gets
            `format: 1` and `rules:` before it, so that its first line is line 3
files       name -> text, put beside the rule file
allow, config, set      as on the command line
gives       key -> what must come out, all keys: a source key, `key[:, 1:]`, or a NumPy expression
            with keys in backticks (`dst::key` is the destination's, `s0::key` a named source's)
ordered     true: the keys come in the order of `gives`
through_file    true: the result is written as a file and read again
dtypes      key -> dtype code
findings    kind -> keys; none allowed by default
notes       kind -> keys
fails_when_run      part of the message that the values cause
fails       part of the message, or a list of parts; `line` is that of one of its problems
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

import ckptsurgeon
from ckptsurgeon.errors import CkptSurgeonError, ProblemsError
from ckptsurgeon.language.rulesets import load_ruleset
from ckptsurgeon.plans.graph import full_key
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.request import Request, open_request

Arrays = dict[str, np.ndarray[Any, Any]]

NUMPY = {
    "F32": "float32",
    "F16": "float16",
    "F64": "float64",
    "I64": "int64",
    "I32": "int32",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}
CODES = {name: code for code, name in NUMPY.items()} | {"bfloat16": "BF16"}


def _by_alias(tensors: Arrays | None) -> object:
    """A destination, or several by their aliases where all keys are addresses."""
    if not tensors or not all("::" in key for key in tensors):
        return tensors
    parts: dict[str, Arrays] = {}
    for address, tensor in tensors.items():
        alias, _, key = address.partition("::")
        parts.setdefault(alias, {})[key] = tensor
    return parts


@dataclass(frozen=True)
class Case:
    name: str
    rules: str | list[str] = ""
    source: Mapping[str, Any] | None = None
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    into: Mapping[str, Any] | None = None
    shapes_only: bool = False
    files: Mapping[str, str] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    config: Mapping[str, Any] | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    gives: Mapping[str, str] | None = None
    ordered: bool = False
    through_file: bool = False
    dtypes: Mapping[str, str] = field(default_factory=dict)
    findings: Mapping[str, list[str]] = field(default_factory=dict)
    notes: Mapping[str, list[str]] = field(default_factory=dict)
    fails: str | list[str] | None = None
    line: int | None = None
    fails_when_run: str | None = None


def load_cases(folder: Path) -> list[Case]:
    """The cases of every file, in order; a case is called by its file and its name."""
    return [
        Case(**{**case, "name": f"{path.stem}: {case['name']}"})
        for path in sorted(folder.glob("*.yaml"))
        for case in yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
    ]


def check(case: Case, folder: Path) -> None:
    """Raises AssertionError where a case comes out otherwise than it says."""
    if case.fails is not None:
        _check_failure(case, folder)
        return
    run = Run(case, folder)
    plan = run.plan()
    if case.fails_when_run is not None:
        with pytest.raises(CkptSurgeonError, match=case.fails_when_run):
            run.tensors()
        return
    _check_findings(case, plan)
    _check_notes(case, plan)
    if case.gives is not None and not plan.open_findings:
        _check_tensors(case, run)


class Run:
    """The arguments that a case makes for `plan` and `apply`."""

    def __init__(self, case: Case, folder: Path) -> None:
        numbers, self.folder, self.through_file = _Numbers(), folder, case.through_file
        self.source = None if case.source is None else numbers.tensors(case.source)
        self.sources = {alias: numbers.tensors(specs) for alias, specs in case.sources.items()}
        self.into = None if case.into is None else numbers.tensors(case.into)
        into: Any = _by_alias(self.into)
        if case.shapes_only:
            into = folder / "dst.json"
            into.write_text(json.dumps({k: _spec(v) for k, v in (case.into or {}).items()}))
        for name, text in case.files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        self.rules = [load_ruleset(path) for path in _rule_files(case, folder)]
        self.arguments = (self.source, self.rules, into)
        self.options: dict[str, Any] = {
            "sources": self.sources,
            "config": case.config,
            "variables": case.set,
            "allow": case.allow,
        }

    def request(self) -> Request:
        source, rules, into = self.arguments
        return open_request(rules, source, into, **self.options)

    def plan(self) -> Plan:
        return ckptsurgeon.plan(*self.arguments, **self.options)

    def tensors(self) -> Arrays:
        """What comes out; through a file where no source is unnamed, as `apply` wants one."""
        source, rules, into = self.arguments
        if source is not None and not self.through_file:
            return ckptsurgeon.apply(source, rules, into, **self.options)[0]
        files = [file.alias for file in self.plan().files]
        if files == [""]:
            output = self.folder / "out.safetensors"
            ckptsurgeon.transplant(source, output, rules, into, **self.options)
            return load_file(output)
        outputs = {alias: self.folder / f"out-{alias}.safetensors" for alias in files}
        ckptsurgeon.transplant(source, outputs, rules, into, **self.options)
        found = {alias: load_file(path) for alias, path in outputs.items()}
        return {full_key(a, key): one for a, own in found.items() for key, one in own.items()}

    def expected(self, text: str) -> np.ndarray[Any, Any]:
        """The tensor that a text of `gives` says."""
        names: dict[str, Any] = {"np": np}
        if "`" not in text and not text.startswith("np."):
            known = max((k for k in self._known() if text.startswith(k)), key=len, default=None)
            assert known is not None, f"no key begins {text!r}"
            text = f"`{known}`{text[len(known) :]}"

        def named(match: re.Match[str]) -> str:
            names[f"t{len(names)}"] = self._known()[match[1]]
            return f"t{len(names) - 1}"

        return np.asarray(eval(re.sub(r"`([^`]+)`", named, text), names))

    def _known(self) -> Arrays:
        tensors = dict(self.source or {})
        tensors |= {f"{a}::{k}": t for a, one in self.sources.items() for k, t in one.items()}
        return tensors | {f"dst::{key}": tensor for key, tensor in (self.into or {}).items()}


def _rule_files(case: Case, folder: Path) -> Iterator[Path]:
    texts = [case.rules] if isinstance(case.rules, str) else case.rules
    for number, text in enumerate(texts):
        path = folder / (f"rules{number}.yaml" if number else "rules.yaml")
        path.write_text(f"format: 1\nrules:\n{text}" if text.startswith("-") else text)
        yield path


class _Numbers:
    """Tensors whose elements are counted through, so that no two are alike."""

    def __init__(self) -> None:
        self._next = 1

    def tensors(self, specs: Mapping[str, Any]) -> Arrays:
        return {str(key): self._tensor(*_spec(spec)) for key, spec in specs.items()}

    def _tensor(self, dtype: str, shape: list[int]) -> np.ndarray[Any, Any]:
        count = int(np.prod(shape))
        values = np.arange(self._next, self._next + count).reshape(shape)
        self._next += count
        if dtype == "BF16":
            import ml_dtypes

            return values.astype(ml_dtypes.bfloat16)
        return values.astype(NUMPY[dtype])


def _spec(written: Any) -> tuple[str, list[int]]:
    if isinstance(written, list):
        return "F32", written
    dtype, _, shape = str(written).partition("[")
    return dtype, json.loads(f"[{shape}")


def _check_failure(case: Case, folder: Path) -> None:
    with pytest.raises(CkptSurgeonError) as caught:
        Run(case, folder).plan()
    error = caught.value
    assert error.exit_code == 2
    for part in [case.fails] if isinstance(case.fails, str) else case.fails or []:
        assert part in str(error)
    if case.line is not None:
        assert isinstance(error, ProblemsError), error
        places = [problem.place for problem in error.problems]
        assert case.line in [place.line for place in places if place], error


def _check_findings(case: Case, plan: Plan) -> None:
    found: dict[str, list[str]] = {}
    assert case.gives is not None or case.findings, "a case says what comes out"
    for finding in plan.findings:
        name = f"{finding.source}::{finding.key}" if finding.source else finding.key
        found.setdefault(finding.kind.value, []).append(name)
    assert found == dict(case.findings)


def _check_notes(case: Case, plan: Plan) -> None:
    for kind, keys in case.notes.items():
        found = [note.key or note.text for note in plan.notes if note.kind == kind]
        assert found == keys, plan.notes


def _check_tensors(case: Case, run: Run) -> None:
    assert case.gives is not None
    tensors = run.tensors()
    assert sorted(tensors) == sorted(case.gives)
    if case.ordered:
        assert list(tensors) == list(case.gives)
    for key, text in case.gives.items():
        wanted = run.expected(text)
        assert tensors[key].shape == wanted.shape, key
        assert np.array_equal(tensors[key].astype(wanted.dtype), wanted), key
    assert {key: CODES[str(tensors[key].dtype)] for key in case.dtypes} == dict(case.dtypes)
