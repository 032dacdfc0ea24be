"""Inputs near those that each parser takes: whole files with a changed part, or changed bytes."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import pickletools
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import hostile_files as files
from fuzz.mutations import dumped, near, texts_near, trees_near
from hypothesis import strategies as st

import ckptsurgeon as cs
from ckptsurgeon.plans.files.saving import save_plan


@functools.cache
def good() -> dict[str, bytes]:
    """The good files, which are the seeds."""
    return files.good()


HOSTILE = files.hostile()

HEADERS = [
    {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}},
    {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "U8", "shape": [4, 4], "data_offsets": [0, 16]},
        "b": {"dtype": "BF16", "shape": [2, 1], "data_offsets": [16, 20]},
    },
]

JSON_WORDS = ["dtype", "shape", "data_offsets", "__metadata__", "weight_map", "good.safetensors"]


@st.composite
def safetensors(draw: st.DrawFn) -> bytes:
    """A file with a header near a good one, and its length told rightly."""
    header = draw(
        st.one_of(
            trees_near(HEADERS, JSON_WORDS).map(dumped),
            texts_near([*map(dumped, HEADERS)], [b'"dtype":', b"\\u0061", b"[", b"-0"]),
        )
    )
    data = st.sampled_from([16, 20]).map(bytes)
    return files.safetensors_bytes(header, draw(st.one_of(data, st.binary(max_size=40))))


ZIP_TOKENS = [b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"\x63\0", b"data.pkl"]


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


PICKLES = [
    *(_members(good()["good.pt"])[name] for name in _members(good()["good.pt"]) if "pkl" in name),
    *(data for name, data in HOSTILE.items() if name.endswith(".pkl")),
    *(
        next(d for n, d in _members(HOSTILE[name]).items() if n.endswith("data.pkl"))
        for name in ("evil.pt", "evil_open.pt", "evil_exec.pt")
    ),
]


def _opcodes(data: bytes) -> list[bytes]:
    """The pickle cut between its opcodes, as far as it can be read."""
    cuts = []
    with contextlib.suppress(ValueError, IndexError):
        cuts = [at for _, _, at in pickletools.genops(data) if at is not None]
    return [data[start:end] for start, end in zip(cuts, [*cuts[1:], len(data)], strict=True)]


OPCODES = sorted({op for data in PICKLES for op in _opcodes(data)})


@st.composite
def pickles(draw: st.DrawFn) -> bytes:
    """A pickle whose opcodes were changed one by one, or as any bytes are."""
    if draw(st.booleans()):
        return draw(near(PICKLES, OPCODES))
    ops = list(draw(st.sampled_from([one for one in map(_opcodes, PICKLES) if one])))
    codes = st.one_of(st.sampled_from(OPCODES), st.integers(0, 255).map(lambda one: bytes([one])))
    for at, put, taken in draw(
        st.lists(st.tuples(st.integers(0, 200), st.lists(codes, max_size=3), st.integers(0, 3)))
    ):
        start = at % (len(ops) + 1)
        ops[start : start + taken] = put
    return b"".join(ops)


def torch_zips() -> st.SearchStrategy[bytes]:
    """An archive near torch's, or one that is whole and holds a changed pickle."""
    parts = _members(good()["good.pt"])
    name = next(name for name in parts if name.endswith("data.pkl"))
    whole = pickles().map(lambda data: files.zip_bytes({**parts, name: data}))
    raw = near(
        [good()["good.pt"], HOSTILE["evil.pt"], HOSTILE["script.pt"]],
        [b"PK\1\2", b"PK\3\4", b"PK\5\6"],
    )
    return st.one_of(whole, raw)


NPY = [
    _members(npz)[name]
    for npz in (good()["good.npz"], HOSTILE["objects.npz"])
    for name in _members(npz)
]

NPY_TOKENS = [
    b'"',
    b"'|O'",
    b"'>f4'",
    b"True",
    b"(",
    b"((((",
    b"'V2'",
    b"[('a', '<f4')]",
    b"-1",
    b"\x93NUMPY",
]


@st.composite
def npy(draw: st.DrawFn) -> bytes:
    """An array whose header's text was changed, and its length told rightly; or any bytes near."""
    if draw(st.booleans()):
        return draw(near(NPY, NPY_TOKENS))
    seed = draw(st.sampled_from(NPY))
    text = draw(texts_near([seed[10:128]], NPY_TOKENS))[:60_000]
    version = draw(st.sampled_from([b"\1\0", b"\2\0", b"\3\0", b"\4\0"]))
    width = 2 if version[0] == 1 else 4
    return b"\x93NUMPY" + version + len(text).to_bytes(width, "little") + text + seed[128:]


@st.composite
def npz(draw: st.DrawFn) -> bytes:
    """An archive near NumPy's, or one that is whole and holds changed arrays."""
    if draw(st.booleans()):
        return draw(near([good()["good.npz"], good()["deflated.npz"]], ZIP_TOKENS))
    stream = io.BytesIO()
    method = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]))
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name in draw(st.lists(st.sampled_from(["a.npy", "b/c.npy", "d", "e.npy"]), max_size=3)):
            archive.writestr(name, draw(npy()))
    return stream.getvalue()


SPECS = [json.loads(good()[name]) for name in ("spec.json", "good.index.json")]
CONFIG = json.loads(good()["config.json"])

STRUCTURED = (
    """\
format: 1
rules:
  - within: [c., d.]
    rules:
      - <i>.q[1:] -> x.<i>[0, ...]: {pad: {to: 9}}
""",
    """\
format: 1
source: {strip: [a.], separator: /}
output: {dtype: F16, root: m.n, wrappers: [b, c.d]}
unmatched: drop
rules:
  - c.<i>.q -> q: {stack: {over: i}}
  - init: {to: z, fill: eye, shape: [2, 2]}
  - keep: a.*
  - batchnorm: a -> b
  - tie: [a, b]
  - require: {key: a.w, count: 1, shape: [2, 2], dtype: F32}
""",
    """\
format: 1
rules:
  - {from: 'c.<i>.q', to: 'd.<i+1>', pick: {i: [0..1]}, reuse: true, count: 2}
  - {from: ['c.0.q', 'c.1.q'], to: e, ops: [{concat: 0}, {rearrange: '(a b) -> b a', a: 2}]}
---
format: 1
rules:
  - drop: '**'
""",
    """\
format: 1
vars: {n: [[0, 1], {q: a}], tp: 2}
output: {root: {'r<r>': m, e: ''}, wrappers: {e: [b]}, separator: {e: /}}
rules:
  - {from: 'x_<m:path:_>', for: 'dst::<m:path>.w', to: '<m>.w', where: "shape[0] > 1"}
  - {from: [{from: [a, b.<i>], ops: [multiply, {sum: 1}]}, c], to: d, ops: add}
  - {from: 'c.<i>.<e>', pick: {e: 'n[0]', i: [0..tp-1]}, map: {e: 'n[1]'}}
  - w -> r<r>::w: {split: {parts: tp, over: r}}
  - {table: {a: b, c: null}, reuse: true}
  - {init: {to: 'e::z[1:]', for: 'c.<i>.q', fill: i * 2, shape: ['shape[1]'], dtype: F32}}
  - {from: a, to: 'h.<i>', ops: [{copies: 2}, {noise: 0.1}]}
""",
)

RULE_SEEDS = [
    *[good()["good.yaml"], *(text.encode() for text in STRUCTURED)] * 4,
    *(f"format: 1\n{text}\n".encode() for text in files.HOSTILE_RULES.values()),
]

RULE_WORDS = """\
{~}~[~]~'~"~|~>~#~\\~\t~\n~---\n~: ~ -> ~- ~? ~&a ~*a~!!~\u202e~
<i>~<p:q|v>~**~re:(?P<x>.)~dst::~::~...~[::2]~[-1]~99999999999~1e999~
within: ~rules: ~ops: ~where: ~map: ~pick: ~format: 1\n~optional: true~
fallback: true~split~concat~reshape: [-1]~rearrange: 'a b -> b a'~cast: F16~
for: ~table: ~copies~copies: 3~shape[0]~dtype~<m:path:_>~<m:path:>~r<r>::~names.csv~
{from: a, ops: add}~
noise: 0.5~divide~quantize_blocks: 2~dequantize_blocks: [1, 9]~fuse_spectral_norm: 1"""

RULE_TOKENS = [b"\xff", *(word.encode() for word in RULE_WORDS.split("~"))]

EXPRESSIONS = [
    *(b"i + 1", b"n * (2 - i) // 3 % 5", b"not p == 'q' and i in [1, 2.5]", b"1 < i <= 3"),
    *(b"config.heads", b"-i - -i", files.CALL.encode()),
]

EXPRESSION_TOKENS = [
    *b"( ) [ ] ** // % ' . , i 0 1e308 == < lambda".split(),
    *(b" in ", b" not ", b" and ", b"9" * 40),
]

TABLES = [
    b'a.w,x\nb.w,\n"c,d",e\n',
    b'{"a.w": "x", "b.w": null}',
    b'{\n  "a.w": "\\u0061",\n  "b.w": "y"\n}\n',
]

TABLE_TOKENS = [*b', " { } : \\ null \r\n \n'.split(b" "), b"\\ud800", b"a.w", b"\xff", b"\0"]

FILE_NAMES = [
    b"r<r>=mp_rank_<r:02>.pt",
    b"L<n-2>_r<r>=d<n:02>/layer_<r>.pt",
    b"<m:str>=out/<m>.pt",
    b"./a=b.pt",
    b"x<p:a=b|c>=<p>.pt",
]

REFERENCES = [
    *(b"layers.<i>.<p:q=query|v=value>.w[1:, ..., -1]", b"a.*.**", b"s<s>::x.<i:02>"),
    *(b"re:a(?P<i>[0-9]+)\\.w", b"<n:path>.<n>", b"x.<i*2+1>[i*3 : i*3+3]", b"a.w -> b"),
]


@functools.cache
def saved_plan() -> Any:
    """A saved plan with nodes of every kind."""
    with tempfile.TemporaryDirectory() as name:
        source, path = Path(name) / "good.safetensors", Path(name) / "plan.json"
        source.write_bytes(good()["good.safetensors"])
        rules = [
            {"from": "a.w[...]", "to": "x", "ops": ["transpose", {"cast": "F16"}], "reuse": True},
            {"from": "a.w[:1]", "to": "a.w[:1]", "reuse": True},
            {"from": "a.w", "to": "n", "ops": [{"noise": 0.5}], "reuse": True},
            {"from": "a.w", "to": ["e", "s"], "ops": "quantize_blocks", "reuse": True},
            {"init": {"to": "z", "fill": "normal", "shape": [2]}},
            {"within": ["b"], "rules": [".w -> .w"]},
            {"tie": ["x", "y"]},
            {"from": "a.w[...]", "to": "y", "ops": ["transpose", {"cast": "F16"}], "reuse": True},
        ]
        allow = ("unexpected", "missing", "unused", "mismatched")
        save_plan(cs.plan(source, rules, into=source, allow=allow), path)
        return json.loads(path.read_text())


@st.composite
def plans(draw: st.DrawFn) -> bytes:
    """A saved plan with changed parts, or changed as any bytes are."""
    if draw(st.integers(0, 3)) == 0:
        return draw(
            texts_near([dumped(saved_plan())], [b"null", b"[", b"{", b"-1", b'"Call"', b"1e99"])
        )
    return dumped(draw(trees_near([saved_plan()], ["Leaf", "Call", "Made", "Assembly", "Result"])))


LEGACY = [good()["legacy.pt"], HOSTILE["evil_legacy.pt"], *PICKLES]
