"""Errors name the file that they are about, so that it is known which of several was meant."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import torch
from command_line import Ckpt
from safetensors.torch import save_file

RULES = {
    "root.yaml": "source: {root: nope}\nrules: []\n",
    "strip.yaml": "source: {strip: [module.]}\nunmatched: drop\nrules: ['one::a -> b']\n",
    "within.yaml": "rules:\n  - {within: x., rules: ./wrong.yaml}\n",
    "wrong.yaml": "rules: [a -> b: nope]\n",
    "beside.yaml": "rules:\n  - {within: x., rules: ./unmatched.yaml}\n",
    "unmatched.yaml": "rules: [zz -> b]\n",
    "half.yaml": "output: {dtype: F16}\nrules: [a -> b]\n",
}

TWO = "--source one=one.safetensors --source two=two.safetensors"

TOLD = {
    f"plan {TWO} -r root.yaml": "one.safetensors: no key begins with the root 'nope'",
    "plan train.pt --source two=two.safetensors -r root.yaml": "train.pt: no tensors under the",
    f"plan {TWO} -r strip.yaml": "two.safetensors: 'a' and 'module.a' both become 'a'",
    "plan --source one=one.safetensors --source two=no.pt": "no.pt: there is no such file",
    "plan --source one=loop.pt": "loop.pt: is a link that leads nowhere",
    "transplant named.pt -o out.safetensors": "out.safetensors: the key __metadata__ can't be",
    "transplant named.pt -o out/": "out: the key __metadata__ can't be",
    "transplant wide.pt -o out.safetensors": "out.safetensors: 'c': safetensors has no C128",
    "transplant small.safetensors -o out.pt": "out.pt: f: torch files have no F4",
    "check within.yaml": "wrong.yaml:2:17: unknown op 'nope'|included at within.yaml:3:25",
    "plan one.safetensors -r beside.yaml": "unmatched.yaml:2:9: no key|at beside.yaml:3:25",
    "plan deep.json -r half.yaml": "half.yaml:3:9: `b`: `output: dtype`: cast: takes tensors of",
    "plan small.safetensors -r half.yaml -e 'f -> f'": "-e:1:1: `f`: `output: dtype`: cast: F4",
    "transplant one.safetensors --plan p.json --into dst.pt -o o.pt": "p.json: was made without",
    "transplant --source x=dst.pt --plan p.json -o o.pt": "p.json: has no source `x`; there",
    "transplant one.safetensors --plan torn.json -o o.pt": "torn.json: the saved plan doesn't hold",
    "invert torn.json": "torn.json: the saved plan doesn't hold together",
    "plan dst.pt --config deep.yaml": "deep.yaml: the config is not JSON",
}


@pytest.fixture(autouse=True)
def _files(folder: Path, ckpt: Ckpt) -> None:
    for name, text in RULES.items():
        Path(name).write_text(f"format: 1\n{text}")
    a, b = torch.rand(2), torch.rand(3)
    save_file({"a": a, "b": b}, "one.safetensors")
    save_file({"a": a, "module.a": b}, "two.safetensors")
    torch.save({"__metadata__": a}, "named.pt")
    torch.save({"c": a.to(torch.complex128)}, "wide.pt")
    header = json.dumps({"f": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}})
    small = len(header).to_bytes(8, "little") + header.encode() + b"\0\0"
    Path("small.safetensors").write_bytes(small)
    Path("deep.json").write_text(json.dumps({"a": ["F32", [1] * 33]}))
    Path("deep.yaml").write_text("-")
    Path("loop.pt").symlink_to("loop.pt")
    assert ckpt("plan", "one.safetensors", "-o", "p.json").code == 0
    torn = json.loads(Path("p.json").read_text())
    torn["outputs"][0][1] = 99
    Path("torn.json").write_text(json.dumps(torn, separators=(",", ":")))


@pytest.mark.parametrize(("line", "told"), TOLD.items())
def test_an_error_names_its_file(line: str, told: str, ckpt: Ckpt) -> None:
    ran = ckpt(*shlex.split(line))
    assert ran.code == 2, ran
    for part in told.split("|"):
        assert part in ran.err
