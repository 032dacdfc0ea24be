"""Files of strangers: good ones of every format, and hostile ones that ask for what none may have.

A hostile file names what lies outside of its folder, in `../outside`, or asks for a call that
leaves the file `owned` behind.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

TOUCH = "touch owned"


class Calls:
    """Calls what it is given when Python unpickles it."""

    def __init__(self, call: Callable[..., Any], *arguments: object) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.call, self.arguments


def state() -> dict[str, torch.Tensor]:
    return {"a.w": torch.arange(4.0).reshape(2, 2), "b.w": torch.arange(3)}


def torch_bytes(value: object, *, zipped: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def npz_bytes(save: Callable[..., None] = np.savez, **arrays: Any) -> bytes:
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


def zip_bytes(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def pickled(data: bytes) -> bytes:
    """A torch zip file of this pickle and one storage of four floats."""
    return zip_bytes({"archive/data.pkl": data, "archive/data/0": b"\0" * 16})


def safetensors_bytes(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


RULES = b"""\
format: 1
vars: {n: 2, d: {shape: a.w, dim: 0}, c: {config: width, default: 3}}
rules:
  - a.w -> x.<n>: {transpose: [0, 1]}
  - {from: "b.<k:w|v>", to: "y.<k>", where: d == 2, optional: true}
"""


def good() -> dict[str, bytes]:
    """A file of each kind that is read, by its name."""
    arrays = {key: value.numpy() for key, value in state().items()}
    spec = {"a.w": ["F32", [2, 2]], "b.w": ["I64", [3]]}
    return {
        "good.safetensors": save(state(), {"format": "pt"}),
        "good.pt": torch_bytes({"state_dict": state(), "epoch": 3}),
        "legacy.pt": torch_bytes({"state_dict": state(), "epoch": 3}, zipped=False),
        "good.npz": npz_bytes(**arrays),
        "deflated.npz": npz_bytes(np.savez_compressed, **arrays),
        "spec.json": json.dumps(spec).encode(),
        "good.index.json": json.dumps(
            {"metadata": {}, "weight_map": dict.fromkeys(state(), "good.safetensors")}
        ).encode(),
        "config.json": b'{"width": 3, "heads": {"n": [1, 2.5, true, "x"]}}',
        "good.yaml": RULES,
    }


def hostile() -> dict[str, bytes]:
    """Checkpoints that ask for what no checkpoint may have, by their names."""
    evil = Calls(os.system, TOUCH)
    hooked = {"state_dict": state(), "hook": evil}
    raw = {
        "protocol0": b"cos\nsystem\n(S'touch owned'\ntR.",
        "protocol4": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0btouch owned\x85R.",
        "object": b"(S'touch owned'\nios\nsystem\n.",
        "build": b"\x80\x02cos\n_wrap_close\n)\x81}U\x01ncos\nsystem\nsb.",
        "inst_eval": b"c__builtin__\neval\n(S\"open('owned','w')\"\ntR.",
        "persistent": b"\x80\x02(X\x07\0\0\0storagecos\nsystem\nX\x0b\0\0\0touch ownedtQ.",
        "getattr": b"\x80\x02cbuiltins\ngetattr\ncos\nsystem\nX\x08\0\0\0__call__\x86R.",
        "reconstruct": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n"
        b"cos\nsystem\nK\0\x85C\x01b\x87R.",
    }
    return {
        "evil.pt": torch_bytes(hooked),
        "evil_legacy.pt": torch_bytes(hooked, zipped=False),
        "evil_exec.pt": torch_bytes({"w": Calls(exec, "open('owned', 'w')")}),
        "evil_import.pt": torch_bytes({"w": state(), "x": Calls(__import__, "antigravity")}),
        "evil_open.pt": torch_bytes({"w": state(), "x": Calls(open, "owned", "w")}),
        **{f"raw_{name}.pkl": data for name, data in raw.items()},
        **{f"zip_{name}.pt": pickled(data) for name, data in raw.items()},
        "objects.npz": npz_bytes(a=np.array([evil, 1], dtype=object), b=np.zeros(2)),
        "evil.npy": pickle.dumps(evil),
        "slip.npz": zip_bytes({"../../owned.npy": b"x", "/owned.npy": b"x"}),
        "script.pt": zip_bytes(
            {
                "m/data.pkl": b"\x80\x02c__torch__.M\nM\n)\x81}b.",
                "m/constants.pkl": raw["protocol0"],
                "m/code/__torch__.py": b"import os\nos.system('touch owned')\n",
            }
        ),
        "outside.index.json": b'{"weight_map": {"a": "../outside/secret.safetensors"}}',
        "absolute.index.json": b'{"weight_map": {"a": "/etc/passwd"}}',
        "linked.index.json": b'{"weight_map": {"a": "link.safetensors"}}',
        "itself.index.json": b'{"weight_map": {"a": "itself.index.json"}}',
        "names.json": b"{\"__import__('os').system('touch owned')\": [\"F32\", [1]]}",
        "huge.safetensors": safetensors_bytes(
            {"a": {"dtype": "U8", "shape": [1 << 60], "data_offsets": [0, 1 << 60]}}
        ),
        "escape.safetensors": safetensors_bytes({"__metadata__": {"\x1b[2J": "\x1b]0;x\x07"}}),
    }


CALL = "__import__('os').system('touch owned')"

HOSTILE_RULES: dict[str, str] = {
    "apply": f"x: !!python/object/apply:os.system ['{TOUCH}']",
    "name": f"rules: [!!python/name:os.system '{TOUCH}']",
    "expression": f'vars: {{n: "{CALL}"}}\nrules: ["a.w -> x.<n>"]',
    "capture": f'rules: ["a.<i> -> x.<{CALL}>"]',
    "where": f'rules: [{{from: a.w, to: x, where: "{CALL}"}}]',
    "attribute": 'vars: {n: "(1).__class__.__bases__"}\nrules: ["a.w -> x.<n>"]',
    "op": 'rules: [{from: a.w, to: x, ops: ["os.system"]}]',
    "take": "rules: [{from: a.w, to: x, ops: [{take: {file: ../outside/secret.npy}}]}]",
    "include": "rules: [{within: x., rules: ../outside/secret.yaml}]",
    "link": "rules: [{within: x., rules: ./link.yaml}]",
    "absolute": "rules: [{within: x., rules: /etc/passwd}]",
    "looped": "rules: [{within: x., rules: ./hostile_looped.yaml}]",
    "anchors": "a: &a [x, x]\nb: &b [*a, *a]\nrules: [*b, *b]",
    "merge": "rules: [{<<: {from: a.w}, to: x}]",
    "regex": "rules: ['re:(a|a)*(a|a)*$ -> b']",
}


def write_all(folder: Path) -> None:
    """Writes them all into a folder, and beside it `outside`, which nothing may open."""
    outside = folder.parent / "outside"
    outside.mkdir()
    for name, data in {"secret.safetensors": save(state()), "secret.yaml": RULES}.items():
        (outside / name).write_bytes(data)
    np.save(outside / "secret.npy", np.arange(2))
    for name, data in {**good(), **hostile()}.items():
        (folder / name).write_bytes(data)
    for name, text in HOSTILE_RULES.items():
        (folder / f"hostile_{name}.yaml").write_text(f"format: 1\n{text}\n")
    (folder / "link.safetensors").symlink_to(outside / "secret.safetensors")
    (folder / "link.yaml").symlink_to(outside / "secret.yaml")
    (folder / "owned.py").write_text("open('owned', 'w')\ndef run(): pass\n")
    for name in ("good.safetensors", "good.pt", "legacy.pt", "good.npz", "spec.json"):
        (folder / f"cut_{name}").write_bytes((folder / name).read_bytes()[:-9])
