"""What is fuzzed: each parser, with inputs near those that it takes.

A parser gives a result or raises a CkptSurgeonError, and holds little memory for a small input.
Checkpoints are opened by `open_checkpoint` from a file, as a user's are.
"""

from __future__ import annotations

import contextlib
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hostile_files as files
from fuzz import inputs
from fuzz.mutations import dumped, near, texts_near, trees_near
from hypothesis import strategies as st

import ckptsurgeon as cs
from ckptsurgeon.checkpoints.index_files import load_indices
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.factories import read_arguments
from ckptsurgeon.file_names import OutputName, find_files, paths_of_outputs, split_word
from ckptsurgeon.language.expressions import parse_expression
from ckptsurgeon.language.patterns import parse_prefix, parse_reference
from ckptsurgeon.language.rulesets import load_with_problems
from ckptsurgeon.planner.compiling.compilation import compile_rulesets
from ckptsurgeon.render.inspection import render_inspection
from ckptsurgeon.render.inspection_json import inspection_json
from ckptsurgeon.render.json import render_json
from ckptsurgeon.render.problems import error_json, render_error
from ckptsurgeon.render.text import render_text
from ckptsurgeon.report.inspection import Inspection
from ckptsurgeon.report.report import make_report
from ckptsurgeon.request import read_config
from ckptsurgeon.saved import prepare_saved, recall

LARGEST_READ = 1 << 16
"""Bytes of tensors that are read; a header may rightly claim what a deflated member holds."""

BASE, PER_BYTE = 16 << 20, 300
"""Bytes that a parser may hold: some, and so many for each byte of its input."""

Run = Callable[[bytes, Path], None]


@dataclass(frozen=True)
class Target:
    """A parser: what runs it on an input that is told as bytes, and inputs near its own."""

    run: Run
    inputs: st.SearchStrategy[bytes]
    bounded: bool = True

    def check(self, data: bytes, folder: Path) -> None:
        """Fails where the parser raises what it may not, or holds too much."""
        tracemalloc.start()
        try:
            self.run(data, folder)
        except CkptSurgeonError as error:
            render_error(error)
            json.loads(error_json(error))
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert not self.bounded or peak < BASE + PER_BYTE * len(data), f"{peak} bytes were held"


# --- what runs ------------------------------------------------------------------------------------


def open_all(data: bytes, folder: Path, name: str = "input") -> None:
    """Opens a checkpoint, shows it, and reads its small tensors."""
    path = folder / name
    path.write_bytes(data)
    for root in (None, ""):
        opened = open_checkpoint(path, root)
        for key, spec in opened.contents.specs.items():
            if opened.has_values and spec.carrier and spec.nbytes <= LARGEST_READ:
                assert opened.read(key).nbytes == spec.nbytes
        found = Inspection(opened, opened.contents.specs)
        render_inspection(found, width=100, color=False, verbose=False)
        json.loads("".join(inspection_json(found)))


def open_json(data: bytes, folder: Path) -> None:
    """A spec or an index beside two shards."""
    for name, tensors in inputs.good().items():
        if name.endswith((".safetensors", ".npz")):
            (folder / name).write_bytes(tensors)
    open_all(data, folder, "input.json")


def read_json(data: bytes, folder: Path) -> None:
    """A config, and the arguments of a factory."""
    (folder / "config.json").write_bytes(data)
    with contextlib.suppress(CkptSurgeonError):
        read_arguments(data.decode("utf-8", "surrogateescape"), "--model-args")
    config = read_config(folder / "config.json")
    in_list = {"from": "a.w", "to": "x", "where": "1 in config.heads.n"}
    cs.plan(_spec(folder), [in_list, "b.w -> y.<config.width>"], config=config)


def read_indices(data: bytes, folder: Path) -> None:
    (folder / "indices.npy").write_bytes(data)
    load_indices(folder / "indices.npy")


def read_rules(data: bytes, folder: Path) -> None:
    (folder / "rules.yaml").write_bytes(data)
    compile_rulesets([load_with_problems(folder / "rules.yaml")])


def plan_rules(data: bytes, folder: Path) -> None:
    """Rules with a source and a destination, and what is said of the plan."""
    (folder / "rules.yaml").write_bytes(data)
    (folder / "good.yaml").write_bytes(files.RULES)
    told(cs.plan(_spec(folder), str(folder / "rules.yaml"), into=_spec(folder)))


def read_tables(data: bytes, folder: Path) -> None:
    """A table as both formats, of keys and of captures."""
    for name in ("names.csv", "names.json"):
        (folder / name).write_bytes(data)
        for rule in ({"table": name}, {"from": "<n:str>.w", "to": "<n>.x", "map": {"n": name}}):
            (folder / "rules.yaml").write_text(json.dumps({"format": 1, "rules": [rule]}))
            with contextlib.suppress(CkptSurgeonError):
                told(cs.plan(_spec(folder), str(folder / "rules.yaml")))


def read_file_names(data: bytes, folder: Path) -> None:
    """Names of files with captures, found and made."""
    (folder / "mp_rank_00.pt").write_bytes(b"")
    sides = split_word(data.decode("utf-8", "replace"))
    if sides is None:
        return
    left, right = sides
    with contextlib.suppress(CkptSurgeonError):
        find_files(left, f"{folder}/{right}")
    name = OutputName.parse(left, right)
    for alias in ("r0", "rank11", "..", "a/b", "x\u202e"):
        with contextlib.suppress(CkptSurgeonError):
            path = name.path_of(alias)
            assert path is None or "\0" not in path


def parse_references(data: bytes, folder: Path) -> None:
    """A reference, as either side and as a prefix; what can be read can be written."""
    text = data.decode("utf-8", "replace")
    for parse in (parse_prefix, parse_reference):
        for target in (True, False):
            with contextlib.suppress(CkptSurgeonError):
                str(parse(text, target=target))
    arrows = [[text], [{"from": text, "to": "x"}], [{"from": "a.w", "to": text}]]
    for rules in arrows:
        with contextlib.suppress(CkptSurgeonError):
            told(cs.plan(_spec(folder), rules))


def parse_expressions(data: bytes, folder: Path) -> None:
    parsed = parse_expression(data.decode("utf-8", "replace"))
    parsed.evaluate({"i": 3, "n": 2.5, "p": "q", "config.heads": (1, 2)})


def read_plan(data: bytes, folder: Path) -> None:
    """A saved plan looked at, turned around, and run on its checkpoints."""
    path = folder / "plan.json"
    path.write_bytes(data)
    (folder / "good.safetensors").write_bytes(inputs.good()["good.safetensors"])
    told(recall(path))
    for run in (_invert, _run_saved):
        with contextlib.suppress(CkptSurgeonError):
            run(path)


def _invert(path: Path) -> None:
    told(cs.invert(path))


def _run_saved(path: Path) -> None:
    source = path.parent / "good.safetensors"
    execution = prepare_saved(path, source, {}, source)
    paths = paths_of_outputs(path.parent / "out.pt", execution.plan)
    execution = execution.aim(paths, None, 1)
    with execution.open_output(force=True) as fill:
        fill(None)


def told(plan: Any) -> None:
    """All that is said of a plan."""
    report = make_report(plan)
    render_text(report, width=100, color=False, verbose=False)
    json.loads("".join(render_json(report)))


def _spec(folder: Path) -> Path:
    keys = {
        "a.w": ["F32", [2, 2]],
        "b.w": ["I64", [3]],
        "c.0.q": ["BF16", [4]],
        "c.1.q": ["BF16", [4]],
    }
    (folder / "spec.json").write_text(json.dumps(keys))
    return folder / "spec.json"


TARGETS = {
    "safetensors": Target(
        open_all, st.one_of(inputs.safetensors(), near([inputs.good()["good.safetensors"]]))
    ),
    "torch_zip": Target(open_all, inputs.torch_zips()),
    "torch_legacy": Target(open_all, near(inputs.LEGACY, inputs.OPCODES)),
    "npz": Target(open_all, inputs.npz()),
    "npy": Target(read_indices, inputs.npy()),
    "json": Target(
        open_json,
        st.one_of(
            trees_near(inputs.SPECS, inputs.JSON_WORDS).map(dumped),
            texts_near([*map(dumped, inputs.SPECS)], [b"[", b"{", b"\\u0061", b"NaN", b"-0"]),
        ),
    ),
    "config": Target(
        read_json,
        st.one_of(
            trees_near([inputs.CONFIG]).map(dumped),
            texts_near([dumped(inputs.CONFIG)], [b"[", b"{"]),
        ),
    ),
    "tables": Target(read_tables, texts_near(inputs.TABLES, inputs.TABLE_TOKENS)),
    "names": Target(read_file_names, texts_near(inputs.FILE_NAMES, [b"<", b">", b"=", b"/", b"*"])),
    "rules": Target(read_rules, texts_near(inputs.RULE_SEEDS, inputs.RULE_TOKENS)),
    "planning": Target(
        plan_rules, texts_near(inputs.RULE_SEEDS, inputs.RULE_TOKENS), bounded=False
    ),
    "references": Target(
        parse_references,
        texts_near(inputs.REFERENCES, [*inputs.RULE_TOKENS, *inputs.EXPRESSION_TOKENS]),
    ),
    "expressions": Target(
        parse_expressions, texts_near(inputs.EXPRESSIONS, inputs.EXPRESSION_TOKENS)
    ),
    "saved_plan": Target(read_plan, inputs.plans()),
}
"""Each parser by its name."""
