"""What a help says to write is right: each is followed, and what comes of it is a plan.

A row has rules that are wrong and what its help must say to write; the rules with that in the place
of what was wrong are planned, and every help on the way must lead on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from safetensors.numpy import save_file

import ckptsurgeon as cs
from ckptsurgeon.cli import run
from ckptsurgeon.errors import ProblemsError, RulesetError
from ckptsurgeon.language.rulesets import parse_ruleset, rules_from_arrows

NORM = ("weight", "bias", "running_mean", "running_var")
BUFFERS = (*NORM, "num_batches_tracked")

NET = {
    "conv1.weight": (4, 3, 3, 3),
    **{f"bn1.{part}": (4,) for part in NORM},
    **{f"layer1.{i}.conv1.weight": (4, 4) for i in range(3)},
    **{f"layer1.0.bn2.{part}": (4,) for part in NORM},
    "fc.weight": (10, 4),
    "fc.bias": (10,),
}

SOURCES: Mapping[str, Mapping[str, Sequence[int]]] = {
    "net": NET,
    "module": {f"module.{key}": shape for key, shape in NET.items()},
    "deep": {f"model.net.{key}": shape for key, shape in NET.items()},
    "padded": {f"blocks.{i:02}.w": (2,) for i in range(9)},
    "gpt2": {
        "wte.weight": (6, 4),
        "ln_f.weight": (4,),
        **{f"h.{i}.attn.c_attn.weight": (4, 4) for i in range(3)},
    },
    "layers": {f"layer_{i:02}.{part}.weight": (2,) for i in range(12) for part in ("a", "b")},
    "experts": {f"model.l.{i:03}.e.{e}.w": (2,) for i in range(12) for e in range(3)},
    "flax": {"Transformer/a/kernel": (2, 3), "Transformer/b/kernel": (3,), "head/kernel": (3,)},
    "slashes": {"params/dense/kernel": (2, 3), "params/dense/bias": (3,)},
    "odd": {"it's.w": (2,)},
    "painted": {"\x1b[31mred.w": (2,)},
    "half painted": {"\x1b[31mred.w": (2,), "plain.v": (2,)},
    "twice": {
        **{f"{m}.bn.{part}": (4,) for m in ("a", "b", "c.a", "c.b") for part in BUFFERS},
        **{f"{m}.fc.weight": (2, 4) for m in ("a", "b")},
        "b.fc.bias": (2,),
    },
    "parts": {"backbone.conv.weight": (2,), "head.weight": (3,)},
}


class Row(NamedTuple):
    """A rule as somebody tries it, the source, and the rule that the help must name."""

    tried: str
    source: str
    meant: str


NEAR = [
    Row("fc.<t> -> head.<t>", "net", "fc.<t:str> -> head.<t>"),
    Row("module.<k> -> <k>", "module", "module.<k:path> -> <k>"),
    Row("module.* -> *", "module", "module.** -> **"),
    Row("*.bn2.* -> *.bn3.*", "net", "**.bn2.* -> **.bn3.*"),
    Row("layer1.{i}.conv1.weight -> c.{i}", "net", "layer1.<i>.conv1.weight -> c.<i>"),
    Row("layer1.${i}.conv1.weight -> c.${i}", "net", "layer1.<i>.conv1.weight -> c.<i>"),
    Row("layer1.%d.conv1.weight -> c.%d", "net", "layer1.<i>.conv1.weight -> c.<i>"),
    Row("layer1.{}.conv1.weight -> c.{}", "net", "layer1.<i>.conv1.weight -> c.<i>"),
    Row("layer1.N.conv1.weight -> c.N", "net", "layer1.<n>.conv1.weight -> c.<n>"),
    Row("layer1.#.conv1.weight -> c.#", "net", "layer1.<i>.conv1.weight -> c.<i>"),
    Row("fc.{t} -> head.{t}", "net", "fc.<t:str> -> head.<t>"),
    Row("fc -> head", "net", "fc.* -> head.*"),
    Row("fc. -> head.", "net", "fc.* -> head.*"),
    Row("layer1 -> stage1", "net", "layer1.** -> stage1.**"),
    Row("layer1.0.bn2 -> layer1.0.bn3", "net", "layer1.0.bn2.* -> layer1.0.bn3.*"),
    Row("conv1.weight[:, :2] -> c", "module", "module.conv1.weight[:, :2] -> c"),
    Row("conv1.weight -> c", "deep", "model.net.conv1.weight -> c"),
    Row("fc -> head", "module", "module.fc.* -> head.*"),
    Row("layer1.{i}.conv1.weight -> c.{i}", "module", "module.layer1.<i>.conv1.weight -> c.<i>"),
    Row("conv.weight -> c", "parts", "backbone.conv.weight -> c"),
    Row("module.fc.weight -> head", "net", "fc.weight -> head"),
    Row("blocks.<i>.w -> b.<i>", "padded", "blocks.<i:02>.w -> b.<i>"),
    Row("params.dense.kernel -> k", "slashes", "params/dense/kernel -> k"),
    Row("drop: re:conv\\d+\\.w", "module", "drop: re:.*(?:conv\\d+\\.w).*"),
    Row("^conv1.weight$ -> c", "net", "conv1.weight -> c"),
    Row("(conv1|stem).weight -> (conv1|stem).w", "net", "<p:conv1|stem>.weight -> <p>.w"),
    Row("fc.{weight,bias} -> h.{weight,bias}", "net", "fc.<p:weight|bias> -> h.<p>"),
    Row("h.?.attn.c_attn.weight -> x.?", "gpt2", "h.<j>.attn.c_attn.weight -> x.<j>"),
    Row("h.<i>.attn.c.attn.weight -> x.<i>", "gpt2", "h.<i>.attn.c_attn.weight -> x.<i>"),
    Row("ln.f.weight -> n", "gpt2", "ln_f.weight -> n"),
    Row("layer1/0/conv1/weight -> c", "net", "layer1.0.conv1.weight -> c"),
    Row("layer1/<i>/conv1/weight -> c/<i>/w", "net", "layer1.<i>.conv1.weight -> c.<i>.w"),
    Row("fc.<p:w|b> -> h.<p>", "net", "fc.<p:str> -> h.<p>"),
    Row("<i>.attn.c_attn.weight -> l.<i>", "gpt2", "h.<i>.attn.c_attn.weight -> l.<i>"),
    Row("drop: fc", "net", "drop: fc.*"),
    Row("drop: layer1", "net", "drop: layer1.**"),
    Row("batchnorm: bn1 -> n", "module", "batchnorm: module.bn1 -> n"),
    Row("wte -> x: transpose", "gpt2", "wte.* -> x.*: transpose"),
    Row("{from: wte, to: x, ops: [flip: 0]}", "gpt2", "{from: wte.*, to: x.*, ops: [flip: 0]}"),
    Row("{drop: h, where: 1 < 2}", "gpt2", "{drop: h.**, where: 1 < 2}"),
    Row("h.<i>.* -> x.<i>.*", "gpt2", "h.<i>.** -> x.<i>.**"),
    Row("layer_<i>.a -> x.<i>", "layers", "layer_<i:02>.a.* -> x.<i>.*"),
    Row("m.layer_<i>.a.weight -> x.<i>", "layers", "layer_<i:02>.a.weight -> x.<i>"),
    Row("layer_<i>.weight -> x.<i>.w", "layers", "layer_<i:02>.<j:str>.weight -> x.<i>.<j>.w"),
    Row(
        "layer_{i:02d}.a.weight -> x.{i}.{i:02d}",
        "layers",
        "layer_<i:02>.a.weight -> x.<i>.<i:02>",
    ),
    Row("model.l.<l>.e.<e>.w -> x.<l>.<e>", "experts", "model.l.<l:03>.e.<e>.w -> x.<l>.<e>"),
    Row(
        "model.l.<l>.<e>.w -> x.<l>.<e>: {reuse: true}",
        "experts",
        "model.l.<l:03>.<j:str>.<e>.w -> x.<l>.<j>.<e>: {reuse: true}",
    ),
    Row("layer<i>.conv1.weight -> x.<i>.w", "net", "layer<i>.<j>.conv1.weight -> x.<i>.<j>.w"),
    Row("drop: Transformer.**", "flax", "drop: Transformer/**"),
    Row("batchnorm: bn1.weight -> n.weight", "net", "batchnorm: bn1 -> n"),
    Row("batchnorm: bn1.* -> n.*", "net", "batchnorm: bn1 -> n"),
    Row("batchnorm: bn1. -> n.", "net", "batchnorm: bn1 -> n"),
    Row("batchnorm: layer1.{i}.bn2 -> n.{i}", "net", "batchnorm: layer1.<i>.bn2 -> n.<i>"),
    Row("drop: fc*", "net", "drop: fc.*"),
    Row("fc* -> head*", "net", "fc.* -> head.*"),
    Row("layer1.{i}.conv1.weight -> x.{i:02}", "net", "layer1.<i>.conv1.weight -> x.<i:02>"),
    Row("layer1.<i:02>.conv1.weight -> x.<i>", "net", "layer1.<i>.conv1.weight -> x.<i>"),
    Row("drop: '*bias'", "net", "drop: '*.bias'"),
    Row("drop: .*bias", "net", "drop: re:.*bias"),
    Row("drop: ^fc", "net", "drop: re:(?:fc)(?:[.].*)?"),
    Row("drop: running_mean", "net", "drop: **.running_mean"),
    Row("layer1.:i.conv1.weight -> x.:i", "net", "layer1.<i>.conv1.weight -> x.<i>"),
    Row("layer1.@i.conv1.weight -> x.@i", "net", "layer1.<i>.conv1.weight -> x.<i>"),
    Row("layer1.0-1.conv1.weight -> x.0-1", "net", "layer1.<p:0|1>.conv1.weight -> x.<p>"),
    Row("layer1.{0..1}.conv1.weight -> x.{0..1}", "net", "layer1.<p:0|1>.conv1.weight -> x.<p>"),
]

WRITTEN = [
    Row("conv1.weight => c", "net", "conv1.weight -> c"),
    Row("conv1.weight --> c", "net", "conv1.weight -> c"),
    Row("conv1.weight ->> c", "net", "conv1.weight -> c"),
    Row("conv1.weight > c", "net", "conv1.weight -> c"),
    Row("conv1.weight \N{RIGHTWARDS ARROW} c", "net", "conv1.weight -> c"),
    Row("conv1.weight = c", "net", "conv1.weight -> c"),
    Row("conv1.weight to c", "net", "conv1.weight -> c"),
    Row("c <- conv1.weight", "net", "conv1.weight -> c"),
    Row("conv1.weight", "net", "conv1.weight -> conv1.weight"),
    Row("drop fc.*", "net", "drop: fc.*"),
    Row("delete fc.*", "net", "drop: fc.*"),
    Row("remove fc.*", "net", "drop: fc.*"),
    Row("rename conv1.weight -> c", "net", "conv1.weight -> c"),
    Row("batchnorm bn1 -> n", "net", "batchnorm: bn1 -> n"),
    Row("bn bn1 -> n", "net", "batchnorm: bn1 -> n"),
    Row("re:conv(\\d)\\.weight -> c.<i>", "net", "re:conv(?P<i>\\d)\\.weight -> c.<i>"),
    Row("re:conv(\\d)\\.weight -> c.$1", "net", "re:conv(?P<i>\\d)\\.weight -> c.<i>"),
    Row(
        "re:(?i)(\\w+)\\.weight -> c.<i>",
        "net",
        "re:(?i)(?P<i>\\w+)\\.weight -> c.<i>",
    ),
    Row("re:conv(?P<t>\\d).weight -> c.{t}", "net", "re:conv(?P<t>\\d)\\.weight -> c.<t>"),
    Row("re:conv(?P<t>\\d).weight -> c.${t}", "net", "re:conv(?P<t>\\d)\\.weight -> c.<t>"),
    Row("re:conv<i>.weight -> c.<i>", "net", "conv<i>.weight -> c.<i>"),
    Row("re:^fc\\.weight -> re:x.w", "net", "fc.weight -> x.w"),
    Row("re:fc\\.(?P<t>.*) -> re:x.<t>", "net", "fc.<t:path> -> x.<t>"),
    Row("fc.(.*) -> head.\\1", "net", "fc.<rest:path> -> head.<rest>"),
    Row("fc.(.*) -> head.$1", "net", "fc.<rest:path> -> head.<rest>"),
    Row("^fc\\.(.*)$ -> head.\\1", "net", "fc.<rest:path> -> head.<rest>"),
    Row("fc\\.weight -> head.weight", "net", "fc.weight -> head.weight"),
    Row("fc\\.(\\w+) -> head.\\g<1>", "net", "fc.<p:str> -> head.<p>"),
    Row("(fc|conv1).weight -> x.\\1", "net", "<p:fc|conv1>.weight -> x.<p>"),
    *(
        Row(tried, "net", "layer1.<i>.conv1.weight -> x.<i>")
        for tried in (
            "layer1.(?P<i>\\d+).conv1.weight -> x.<i>",
            "layer1.(\\d+).conv1.weight -> x.\\1",
            "layer1.([0-9]+).conv1.weight -> x.$1",
            "layer1.<int:i>.conv1.weight -> x.<i>",
            "layer1.<i:\\d+>.conv1.weight -> x.<i>",
            "layer1.[i].conv1.weight -> x.[i]",
            "layer1.<>.conv1.weight -> x.<>",
            "layer1.<i>.conv1.weight -> x.<I>",
            "layer1.<i>.conv1.weight -> x.*",
            "layer1.*.conv1.weight -> x.<i>",
        )
    ),
    Row("layer1.<*>.conv1.weight -> x.<*>", "net", "layer1.*.conv1.weight -> x.*"),
    Row("layer1.<i>.conv1.weight -> x.{i+1}", "net", "layer1.<i>.conv1.weight -> x.<i+1>"),
    Row("layer1.<i:0-2>.conv1.weight -> x.<i>", "net", "layer1.<i:0|1|2>.conv1.weight -> x.<i>"),
    Row("layer1.<i in 0..1>.conv1.weight -> x.<i>", "net", "layer1.<i:0|1>.conv1.weight -> x.<i>"),
    Row("layer1[0].conv1.weight -> x[0].w", "net", "layer1.0.conv1.weight -> x.0.w"),
    Row("fc.*:h.*", "net", "fc.* -> h.*"),
    Row("from fc.weight to h", "net", "fc.weight -> h"),
    Row("rename fc.weight to h", "net", "fc.weight -> h"),
    Row("rename: fc.weight -> h", "net", "fc.weight -> h"),
    Row("{rename: {fc.weight: h}}", "net", "fc.weight -> h"),
    Row("{map: {fc.weight: h}}", "net", "fc.weight -> h"),
    Row("{rename: [fc.weight, h]}", "net", "fc.weight -> h"),
    Row("{src: fc.weight, dst: h}", "net", "fc.weight -> h"),
    Row("{old: fc.weight, new: h}", "net", "fc.weight -> h"),
    Row("{pattern: fc.weight, replacement: h}", "net", "fc.weight -> h"),
    Row("fc.weight -> h transpose", "net", "fc.weight -> h: transpose"),
    Row("fc.weight -> h, transpose", "net", "fc.weight -> h: transpose"),
    Row("fc.weight -> h | transpose", "net", "fc.weight -> h: transpose"),
    Row("fc.weight -> h (transpose)", "net", "fc.weight -> h: transpose"),
    Row("fc.weight -> transpose -> h", "net", "fc.weight -> h: transpose"),
    Row("{fc.weight -> h, transpose}", "net", "fc.weight -> h: transpose"),
    Row("{fc.weight -> h, transpose, flip: 0}", "net", "fc.weight -> h: [transpose, {flip: 0}]"),
    Row("{fc.weight -> h, cast: F16}", "net", "fc.weight -> h: {cast: F16}"),
    Row("transpose(fc.weight) -> h", "net", "fc.weight -> h: transpose"),
    Row("fc.weight.T -> h", "net", "fc.weight -> h: transpose"),
    Row("re:conv(?P<1>\\d).weight -> c.<1>", "net", "re:conv(?P<i>\\d)\\.weight -> c.<i>"),
    Row(
        "re:(?i)conv<i>.weight -> c.<i>",
        "net",
        "re:(?i)conv(?P<i>[0-9]+)\\.weight -> c.<i>",
    ),
    Row(
        "{within: layer1., 0.conv1.weight -> c}",
        "net",
        "{within: layer1., rules: [0.conv1.weight -> c]}",
    ),
    Row("fc.weight => h: transpose", "net", "fc.weight -> h: transpose"),
    Row("fc.weight to h: {reuse: true}", "net", "fc.weight -> h: {reuse: true}"),
    Row(
        "layer1.(\\d+).conv1.weight -> x.\\1: {where: i < 2, ops: transpose}",
        "net",
        "layer1.<i>.conv1.weight -> x.<i>: {where: i < 2, ops: transpose}",
    ),
    Row(
        "layer1.*.conv1.weight -> x.<i>: transpose",
        "net",
        "layer1.<i>.conv1.weight -> x.<i>: transpose",
    ),
    Row(
        "layer1.<i>.conv1.weight -> x.<i> where i < 2: transpose",
        "net",
        "layer1.<i>.conv1.weight -> x.<i>: {where: i < 2, ops: transpose}",
    ),
    Row("fc.weight -> transpose -> c: {flip: 0}", "net", "fc.weight -> c: [transpose, {flip: 0}]"),
    Row("fc.weight -> c, transpose, flip(0)", "net", "fc.weight -> c: [transpose, {flip: 0}]"),
    Row("fc.weight -> c half", "net", "fc.weight -> c: {cast: F16}"),
    Row("half(fc.weight) -> c", "net", "fc.weight -> c: {cast: F16}"),
    Row("flip(fc.weight, 0) -> c", "net", "fc.weight -> c: {flip: 0}"),
    Row("fc.weight.transpose(0, 1) -> c", "net", "fc.weight -> c: {transpose: [0, 1]}"),
    Row("fc.(.*) -> head.(.*)", "net", "fc.<rest:path> -> head.<rest>"),
    Row("(bn1|fc).weight -> x.(bn1|fc)", "net", "<p:bn1|fc>.weight -> x.<p>"),
    Row(
        "l\\w+1.(\\d+).conv1.weight -> x.\\1",
        "net",
        "re:l\\w+1\\.(?P<i>\\d+)\\.conv1\\.weight -> x.<i>",
    ),
    Row("layer1.([0-1]).conv1.weight -> x.$1", "net", "layer1.<p:0|1>.conv1.weight -> x.<p>"),
    Row("layer1.{0}.conv1.weight -> x.{0}", "net", "layer1.<i>.conv1.weight -> x.<i>"),
    Row("layer1.\\d+.conv1.weight -> x.<i>", "net", "layer1.<i>.conv1.weight -> x.<i>"),
    Row("layer1.(\\d+).conv1.weight -> x.(\\d+).w", "net", "layer1.<i>.conv1.weight -> x.<i>.w"),
    Row("{old: fc.weight, new: h, ops: transpose}", "net", "fc.weight -> h: transpose"),
    Row(
        "{from: fc.weight, to: h, transpose: true, flip: 0}",
        "net",
        "{from: fc.weight, to: h, ops: [transpose, {flip: 0}]}",
    ),
    Row(
        "layer1.<i>.conv1.weight -> c.<i>: where i < 2",
        "net",
        "layer1.<i>.conv1.weight -> c.<i>: {where: i < 2}",
    ),
    Row("fc.weight -> c: optional", "net", "fc.weight -> c: {optional: true}"),
    Row("fc.weight -> c: reuse", "net", "fc.weight -> c: {reuse: true}"),
    Row("fc.weight:=h", "net", "fc.weight -> h"),
    Row(
        "{from: fc.weight, to: h, slice: ':2', ops: transpose}",
        "net",
        "{from: fc.weight, to: h, ops: [{slice: ':2'}, transpose]}",
    ),
    Row("layer1.(\\d+).conv1.weight[0] -> x.\\1", "net", "layer1.<i>.conv1.weight[0] -> x.<i>"),
    Row("layer1[0].conv1.weight[:2] -> x", "net", "layer1.0.conv1.weight[:2] -> x"),
    Row(
        "layer1\\.(?:0|7)\\.conv(\\d+)\\.weight -> x.\\1",
        "net",
        "re:layer1\\.(?:0|7)\\.conv(?P<i>\\d+)\\.weight -> x.<i>",
    ),
    Row("fc\\..* -> head\\..*", "net", "fc.** -> head.**"),
    Row("fc.weight -> h = transpose", "net", "fc.weight -> h: transpose"),
    Row("fc.weight -> h, optional", "net", "fc.weight -> h: {optional: true}"),
    Row("{fc.weight: drop}", "net", "drop: fc.weight"),
    Row("copy fc.weight -> h", "net", "{from: fc.weight, to: [fc.weight, h]}"),
    Row("{copy: fc.weight, to: h}", "net", "{from: fc.weight, to: [fc.weight, h]}"),
    Row("batchnorm: {from: bn1, to: x}", "net", "batchnorm: bn1 -> x"),
    Row("batchnorm: bn1 -> [x, y]", "net", "{from: bn1.*, to: [x.*, y.*]}"),
    Row("fold_batchnorm: conv1 -> bn1", "net", "fold_batchnorm: {conv: conv1, batchnorm: bn1}"),
    Row("fold_batchnorm: [conv1, bn1]", "net", "fold_batchnorm: {conv: conv1, batchnorm: bn1}"),
    Row(
        "fold_batchnorm: {batchnorm: conv1 -> bn1}",
        "net",
        "fold_batchnorm: {conv: conv1, batchnorm: bn1}",
    ),
    Row("copy: fc.* -> h.*", "net", "{from: fc.*, to: [fc.*, h.*]}"),
    Row("{batchnorm: bn1, to: n}", "net", "batchnorm: bn1 -> n"),
    Row(
        "{within: layer1., 0.conv1.weight -> c: transpose}",
        "net",
        "{within: layer1., rules: [{0.conv1.weight -> c: transpose}]}",
    ),
    Row("fc.weight>h", "net", "fc.weight -> h"),
    Row(
        "layer1.<i>.conv1.weight -> c.<i> if i < 2",
        "net",
        "layer1.<i>.conv1.weight -> c.<i>: {where: i < 2}",
    ),
]

DROPPED = {
    "layer1.(\\d+).conv1.weight": ("layer1.<i>.conv1.weight", 3),
    "layer1.\\d+.conv1.weight": ("layer1.<_:int>.conv1.weight", 3),
    "layer1.[0,1].conv1.weight": ("layer1.<p:0|1>.conv1.weight", 2),
    "layer1.<0..1>.conv1.weight": ("layer1.<p:0|1>.conv1.weight", 2),
    "fc\\..*": ("fc.**", 2),
    ".*\\.bias$": ("'**.bias'", 3),
}


def source_of(name: str) -> dict[str, np.ndarray]:
    return {key: np.zeros(shape, "f4") for key, shape in SOURCES[name].items()}


def helps(rule: str, source: str) -> list[str]:
    """The helps of the problems that a rule on the command line has."""
    with pytest.raises(ProblemsError) as caught:
        cs.plan(source_of(source), rules_from_arrows([rule]))
    return [problem.help for problem in caught.value.problems]


def plan(rule: str, source: str) -> cs.Plan:
    return cs.plan(source_of(source), rules_from_arrows([rule]))


@pytest.mark.parametrize("row", NEAR, ids=str)
def test_near_readings_match_what_they_say(row: Row) -> None:
    (help,) = helps(row.tried, row.source)
    assert f"`{row.meant}` would match " in help
    count = int(re.findall(r"would match ([\d,]+) keys?", help)[0].replace(",", ""))
    steps = sum(rule.steps for rule in plan(row.meant, row.source).rules)
    assert steps == count


def test_what_is_required_is_named_as_the_help_says() -> None:
    (help,) = helps("require: {key: fc}", "net")
    assert "`fc.*` would match 2 keys" in help
    assert plan("require: {key: fc.*}", "net").outputs


GATHER = {
    "l.<l>.e.<e>.w -> x.<l>: {stack: {over: e}}": "stack",
    "{from: 'l.<l>.e.<e>.w', to: x.<l>, ops: [stack: {over: e}]}": "stack",
}


@pytest.mark.parametrize("rule", GATHER)
def test_a_rule_that_a_help_writes_has_the_ops_of_the_first(rule: str) -> None:
    source = {f"model.l.{i}.e.{e}.w": np.zeros(2, "f4") for i in range(2) for e in range(3)}
    with pytest.raises(cs.PlanError) as caught:
        cs.plan(source, rules_from_arrows([rule]))
    (meant,) = re.findall(r"`([^`]*)` would match 6 keys", str(caught.value))
    made = cs.plan(source, rules_from_arrows([meant]))
    assert [made.outputs[f"x.{i}"].spec.shape for i in range(2)] == [(3, 2), (3, 2)]


@pytest.mark.parametrize(
    ("written", "old", "new"),
    [
        ("- 'wte -> x': transpose  # turned", "'wte -> x'", "'wte.* -> x.*'"),
        ("- wte -> x:\n      transpose", "wte -> x:", "wte.* -> x.*:"),
    ],
)
def test_a_line_of_a_file_is_written_whole(written: str, old: str, new: str) -> None:
    text = f"format: 1\nrules:\n  {written}\n"
    with pytest.raises(cs.PlanError) as caught:
        cs.plan(source_of("gpt2"), parse_ruleset(text, "r.yaml"))
    assert new.strip("'") in str(caught.value)
    made = cs.plan(source_of("gpt2"), parse_ruleset(text.replace(old, new), "r.yaml"))
    assert made.outputs["x.weight"].spec.shape == (4, 6)


def test_the_words_of_a_block_are_written_one_by_one() -> None:
    text = "format: 1\nrules:\n  - from: wte\n    to: x\n    ops: transpose\n"
    with pytest.raises(cs.PlanError, match=r"`from: wte\.\*` and `to: x\.\*` would match 1 key"):
        cs.plan(source_of("gpt2"), parse_ruleset(text, "r.yaml"))
    followed = text.replace("from: wte", "from: wte.*").replace("to: x", "to: x.*")
    made = cs.plan(source_of("gpt2"), parse_ruleset(followed, "r.yaml"))
    assert made.outputs["x.weight"].spec.shape == (4, 6)


@pytest.mark.parametrize(
    ("within", "rule", "source", "meant"),
    [
        ("layer<i>.", "<j>.conv1.* -> <j>.c.*", "module", "module.layer<i>. -> layer<i>."),
        ("layer1. -> l.", "<j>.conv1.* -> <j>.c.*", "module", "module.layer1. -> l."),
        ("layer1", "<j>.conv1.* -> <j>.c.*", "net", "layer1."),
        ("blocks.<i>. -> b.<i>.", "w -> v", "padded", "blocks.<i:02>. -> b.<i>."),
    ],
)
def test_the_prefix_of_a_within_is_what_changes(
    within: str, rule: str, source: str, meant: str
) -> None:
    rules = [{"within": within, "rules": [rule]}]
    with pytest.raises(cs.PlanError) as caught:
        cs.plan(source_of(source), rules)
    assert f"`within: {meant}`" in str(caught.value)
    assert cs.plan(source_of(source), [{"within": meant, "rules": [rule]}]).rules[0].steps > 1


def test_a_strip_without_its_dot() -> None:
    rules = {"format": 1, "source": {"strip": "module"}, "rules": ["fc.* -> head.*"]}
    with pytest.raises(cs.CheckpointError, match=r"leaves '\.conv1.*; write `module\.`"):
        cs.plan(source_of("module"), rules)
    rules["source"] = {"strip": ["module."]}
    assert "head.weight" in cs.plan(source_of("module"), rules).outputs


@pytest.mark.parametrize(
    ("strip", "told"),
    [(["modul."], ["`modul.`"]), (["x.", "module."], []), (["x.", "y."], ["`y.`"])],
)
def test_a_strip_that_takes_nothing_is_told(strip: list[str], told: list[str]) -> None:
    plan = cs.plan(source_of("module"), {"format": 1, "source": {"strip": strip}, "rules": []})
    notes = [note.text for note in plan.notes if "nothing is stripped" in note.text]
    assert len(notes) == len(told)
    assert all(one in note for one in told for note in notes)


def test_a_shipped_ruleset_on_keys_with_a_prefix(tmp_path: Path) -> None:
    ruleset = "torchvision_resnet_to_transformers"
    source = source_of("module")
    with pytest.raises(cs.PlanError) as caught:
        cs.plan(source, ruleset)
    (strip, include) = re.findall(r"`(source: .*?)` and the rule `(.*?)`", str(caught.value))[0]
    assert include == f"- include: {ruleset}"
    (tmp_path / "r.yaml").write_text(f"format: 1\n{strip}\nrules:\n  {include}\n")
    assert (
        "resnet.embedder.embedder.convolution.weight"
        in cs.plan(source, tmp_path / "r.yaml").outputs
    )


@pytest.mark.parametrize("rule", ["module. -> model.", "bn1. -> n.", "bn1 -> n: transpose"])
def test_no_batchnorm_is_offered_where_the_rule_would_not_be_one(rule: str) -> None:
    source = source_of("module" if "module" in rule else "net")
    with pytest.raises(cs.PlanError) as caught:
        cs.plan(source, rules_from_arrows([rule]))
    assert "`batchnorm:" not in str(caught.value)


@pytest.mark.parametrize("row", WRITTEN, ids=str)
def test_rules_are_written_as_the_help_says(row: Row) -> None:
    (help,) = helps(row.tried, row.source)
    assert f"`{row.meant}`" in help
    assert plan(row.meant, row.source).outputs


@pytest.mark.parametrize("pattern", DROPPED)
def test_patterns_are_written_as_the_help_says(pattern: str) -> None:
    meant, count = DROPPED[pattern]
    assert helps(f"drop: '{pattern}'", "net") == [f"write `drop: {meant}`"]
    assert plan(f"drop: {meant}", "net").rules[0].steps == count


def test_the_prefix_of_all_keys_is_stripped_as_the_help_says() -> None:
    (help,) = helps("conv1.weight -> c", "module")
    (strip,) = re.findall(r"`source: (\{strip: .*?\})`", help)
    text = f"format: 1\nsource: {strip}\nrules:\n  - conv1.weight -> c\n"
    assert "c" in cs.plan(source_of("module"), parse_ruleset(text, "r.yaml")).outputs
    (help,) = helps("w -> c", "odd")
    assert "`source: {strip: ['it''s.']}`" in help
    (help,) = helps("params.dense.kernel -> k", "slashes")
    assert "`source: {separator: /}` and dots in the rules" in help
    rules = {"format": 1, "source": {"separator": "/"}, "rules": ["params.dense.kernel -> k"]}
    assert "k" in cs.plan(source_of("slashes"), rules).outputs


@pytest.mark.parametrize("source", ["painted", "half painted"])
def test_no_help_says_to_write_what_no_rule_file_may_hold(source: str) -> None:
    (help,) = helps("w -> c", source)
    assert "`optional: true` lets the rule match none" in help
    assert "\x1b" not in help


QUOTED = {
    "** -> **: {cast: BF16}": "'** -> **': {cast: BF16}",
    "**.weight -> **.w: transpose": "'**.weight -> **.w': transpose",
    "*.weight -> *.w": "'*.weight -> *.w'",
    "&x.w -> b": "'&x.w -> b'",
    '"**.bias" -> b': "'**.bias -> b'",
    "'fc.weight' -> b: transpose": "'fc.weight -> b': transpose",
    "conv1.weight[: , :2] -> c": "'conv1.weight[: , :2] -> c'",
    "@conv -> c: transpose": "'@conv -> c': transpose",
    "{from: conv1.weight[:, :2], to: c}": "'conv1.weight[:, :2]'",
}


@pytest.mark.parametrize("rule", QUOTED)
def test_quotes_stand_where_the_help_says(rule: str) -> None:
    text = f"format: 1\nrules:\n  - {rule}\n"
    with pytest.raises(RulesetError) as caught:
        parse_ruleset(text, "r.yaml")
    (problem,) = caught.value.problems
    assert QUOTED[rule] in problem.help
    quoted = problem.help[problem.help.index(QUOTED[rule]) :].split(", or")[0]
    whole = rule.replace("conv1.weight[:, :2]", quoted) if rule.startswith("{") else quoted
    parse_ruleset(f"format: 1\nrules:\n  - {whole}\n", "r.yaml")


@pytest.mark.parametrize(
    ("ops", "meant"),
    [
        ("{reshape: (4, 10)}", "reshape: [4, 10]"),
        ("{reshape: (4,10)}", "reshape: [4, 10]"),
        ("{reshape: '4, 10'}", "[4, 10]"),
        ("{reshape: 4x10}", "[4, 10]"),
        ("{reshape: 4 x 10}", "[4, 10]"),
        ("{permute: 1 0}", "[1, 0]"),
    ],
)
def test_lists_are_written_as_the_help_says(ops: str, meant: str) -> None:
    (help,) = helps(f"fc.weight -> w: {ops}", "net")
    assert f"`{meant}`" in help
    op = meant if ":" in meant else f"{ops[1 : ops.index(':')]}: {meant}"
    assert plan(f"fc.weight -> w: {{{op}}}", "net").outputs["w"].spec.count == 40


@pytest.mark.parametrize(
    ("op", "meant"),
    [
        ("T", "transpose"),
        ("Transpose", "transpose"),
        ("{narrow: '1:2'}", "slice"),
        ("{mul: [2]}", "multiply"),
        ("div", "divide"),
        ("spectral_norm", "fuse_spectral_norm"),
        ("{weight_dequant: 128}", "dequantize_blocks"),
        ("{dequantize_blocks: {block_size: 128}}", "block"),
        ("{transpose: {axis: 1}}", "dims"),
        ("{flip: {axis: 1}}", "dim"),
    ],
)
def test_ops_and_parameters_that_others_call_otherwise(op: str, meant: str) -> None:
    (help,) = helps(f"fc.weight -> w: {op}", "net")
    assert help in (f"did you mean {meant!r}?", f"known here: {meant}", f"write `{meant}`")


TYPED = {
    "layer_<i:int:02>.a.weight -> x": "2 digits with leading zeros are `02`",
    "layer_<i:02d>.a.weight -> x": "2 digits with leading zeros are `02`",
    "fc.weight -> w: {multiply: 0.5}": "by a number: `{scale: 0.5}`",
    "fc.weight -> w: {divide: 4}": "by a number: `{scale: 1 / 4}`",
    "fc.weight -> w: {add: 1}": "by a number: `{shift: 1}`",
    "fc.weight -> w: {slice: [0, 4]}": "a slice is a text, such as ':, :3'",
    "rules.yaml": "write `-r rules.yaml`",
    "- fc.weight -> w": "leave out the `- `",
    "fc.weight -> w\nfc.bias -> b": "give each an -e of its own",
    "source: {strip: ['module.']}": "it stands at the top of a rule file, beside `rules`",
}


@pytest.mark.parametrize("rule", TYPED)
def test_what_is_typed_otherwise_is_told(rule: str) -> None:
    (help,) = helps(rule, "net")
    assert TYPED[rule] in help


def test_a_var_of_the_name_of_a_capture_is_told() -> None:
    rules = {"format": 1, "vars": {"p": 0}, "rules": ["fc.weight -> x.<p:q|k>"]}
    with pytest.raises(cs.RulesetError, match="`p` is a var, and a capture here"):
        cs.plan(source_of("net"), rules)
    with pytest.raises(cs.RulesetError) as caught:
        cs.plan(source_of("net"), ["fc.weight -> x.<p:q|k>"])
    assert "vars" not in str(caught.value)


CALLS = {
    "{view: [40]}": "{reshape: [40]}",
    "{view: 8, 5}": "{reshape: [8, 5]}",
    "transpose(0, 1)": "{transpose: [0, 1]}",
    "{transpose: 0, 1}": "{transpose: [0, 1]}",
    "{swapaxes: [0, 1]}": "{transpose: [0, 1]}",
    "{transposed: true}": "transpose",
    "t()": "transpose",
    "swapaxes(0, 1)": "{transpose: [0, 1]}",
    "to(dtype=torch.float16)": "{cast: F16}",
    "flip(0)": "{flip: 0}",
    "flip 1": "{flip: 1}",
    "half": "{cast: F16}",
    "bf16": "{cast: BF16}",
    "torch.float16": "{cast: F16}",
    "{to: float16}": "{cast: F16}",
    "{astype: torch.float64}": "{cast: F64}",
    "{half: true}": "{cast: F16}",
    "{mul: 2}": "{scale: 2}",
    "{div: 2}": "{scale: 1 / 2}",
    "neg": "{scale: -1}",
    "{plus: 1}": "{shift: 1}",
    "{narrow: [1, 0, 2]}": "{slice: ':, 0:2'}",
    "narrow(0, 2, 3)": "{slice: '2:5'}",
    "{index_select: [1, 0]}": "{take: [1, 0]}",
    "{pad: 12, dim: 0}": "{pad: {to: 12, dim: 0}}",
    '{rearrange: "(a b) c -> b a c", a: 2}': "{rearrange: {pattern: '(a b) c -> b a c', a: 2}}",
    "[{pad: 12, dim: 0}]": "{pad: {to: 12, dim: 0}}",
    "transpose flip": "[transpose, flip]",
    "transpose, flip": "[transpose, flip]",
    "transpose | flip(0)": "[transpose, {flip: 0}]",
    "transpose(0, 1).flip(0)": "[{transpose: [0, 1]}, {flip: 0}]",
    "cast F16": "{cast: F16}",
    "reshape 4 10": "{reshape: [4, 10]}",
    "reshape(-1)": "{reshape: [-1]}",
    "reshape[4, 10]": "{reshape: [4, 10]}",
    "x.T": "transpose",
    "x * 2": "{scale: 2}",
    "x / 2": "{scale: 1 / 2}",
    "x - 1": "{shift: -1}",
    "add(1)": "{shift: 1}",
    "add 1": "{shift: 1}",
    "times 4": "{scale: 4}",
    "{sub: 1}": "{shift: -1}",
}


@pytest.mark.parametrize("ops", CALLS)
def test_ops_are_written_with_what_they_are_given(ops: str) -> None:
    (help,) = helps(f"fc.weight -> w: {ops}", "net")
    assert help == f"write `{CALLS[ops]}`"
    made = plan(f"fc.weight -> w: {CALLS[ops]}", "net")
    assert [change.kind for change in made.rules] == ["move"]


@pytest.mark.parametrize(
    ("ops", "meant", "shape"),
    [
        ("{chunk: 2}", "{split: {parts: 2}}", (5, 4)),
        ("chunk(2, dim=1)", "{split: {parts: 2, dim: 1}}", (10, 2)),
        ("{chunk: 2, axis: 1}", "{split: {parts: 2, dim: 1}}", (10, 2)),
    ],
)
def test_a_split_keeps_its_dim(ops: str, meant: str, shape: tuple[int, ...]) -> None:
    rule = "fc.weight -> <p:a|b>.w"
    assert helps(f"{rule}: {ops}", "net") == [f"write `{meant}`"]
    assert plan(f"{rule}: {meant}", "net").outputs["a.w"].spec.shape == shape


CONDITIONS = {
    "i = 1": ("i == 1", 1),
    "<i> == 1": ("i == 1", 1),
    "'{i} == 1'": ("i == 1", 1),
    "i is not 1": ("i != 1", 2),
    "i > 0 && i < 2": ("i > 0 and i < 2", 1),
    "'i == 0 || i == 2'": ("i == 0 or i == 2", 2),
    "'!(i == 1)'": ("not (i == 1)", 2),
    "i in 0..1": ("0 <= i <= 1", 2),
    "i in range(2)": ("0 <= i < 2", 2),
    "'i in range(1, 3)'": ("1 <= i < 3", 2),
    "i in 0..1 and i in range(9)": ("0 <= i <= 1 and 0 <= i < 9", 2),
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditions_are_written_as_the_help_says(condition: str) -> None:
    meant, steps = CONDITIONS[condition]
    rule = "layer1.<i>.conv1.weight -> c.<i>: {where: %s}"
    assert helps(rule % condition, "net") == [f"write `{meant}`"]
    assert plan(rule % meant, "net").rules[0].steps == steps


WORDS = {
    "{pick: {i: 0-1}}": ("[0..1]", "{pick: {i: [0..1]}}"),
    "{pick: {i: [0-1]}}": ("0..1", "{pick: {i: [0..1]}}"),
    "{pick: {i: 1}}": ("[1]", "{pick: {i: [1]}}"),
    "{pick: 0-1}": ("{i: [0..1]}", "{pick: {i: [0..1]}}"),
    "{pick: [0, 1]}": ("{i: [0, 1]}", "{pick: {i: [0, 1]}}"),
    "{map: {0: 5}}": ("{i: {0: 5}}", "{map: {i: {0: 5}}}"),
}
"""What is tried behind an arrow, what the help says to write, and all of it then."""


@pytest.mark.parametrize("words", WORDS)
def test_words_behind_an_arrow_are_written_as_the_help_says(words: str) -> None:
    meant, followed = WORDS[words]
    (help,) = helps(f"layer1.<i>.conv1.weight -> c.<i>: {words}", "net")
    assert f"`{meant}`" in help
    assert plan(f"layer1.<i>.conv1.weight -> c.<i>: {followed}", "net").rules[0].steps


MAPPINGS = {
    "freeze_batchnorm: bn1": "{from: bn1}",
    "freeze_batchnorm: bn1 -> n": "{from: bn1, to: n}",
    "require: fc.weight": "{key: fc.weight}",
    "require: {fc.weight: [10, 4]}": "{key: fc.weight, shape: [10, 4]}",
    "keep: fc.weight, fc.bias": "[fc.weight, fc.bias]",
    "tie: fc.weight = x.weight": "[fc.weight, x.weight]",
    "drop: {fc.weight, fc.bias}": "[fc.weight, fc.bias]",
    "init: x.weight": "{to: x.weight, fill: zeros}",
    "init: x.weight = ones": "{to: x.weight, fill: ones}",
    "init: {x.weight: ones}": "{to: x.weight, fill: ones}",
}


@pytest.mark.parametrize("rule", MAPPINGS)
def test_the_value_of_a_word_is_written_as_the_help_says(rule: str) -> None:
    into = {**source_of("net"), "x.weight": np.zeros(3, "f4")}
    with pytest.raises(RulesetError) as caught:
        cs.plan(source_of("net"), rules_from_arrows([rule]), into)
    (problem,) = caught.value.problems
    word, _, _ = rule.partition(": ")
    assert problem.help == f"write `{word}: {MAPPINGS[rule]}`"
    followed = rules_from_arrows([f"{word}: {MAPPINGS[rule]}"])
    made = cs.plan(source_of("net"), followed, into if word in ("keep", "init") else None)
    assert made.rules[0].steps


JOINED = {
    "fc.weight, conv2.weight -> x: {concat: 0}": (
        "{from: [fc.weight, conv2.weight], to: x, ops: {concat: 0}}"
    ),
    "fc.weight + conv2.weight -> x: add": "{from: [fc.weight, conv2.weight], to: x, ops: add}",
    "cat(fc.weight, conv2.weight) -> x": "{from: [fc.weight, conv2.weight], to: x, ops: concat}",
    "fc.weight -> a, b: split": "{from: fc.weight, to: [a, b], ops: split}",
}


@pytest.mark.parametrize("rule", JOINED)
def test_several_keys_in_one_text_are_a_block(rule: str) -> None:
    arrays = {key: np.zeros((4, 4), "f4") for key in ("fc.weight", "conv2.weight")}
    with pytest.raises(ProblemsError) as caught:
        cs.plan(arrays, rules_from_arrows([rule]))
    assert f"`{JOINED[rule]}`" in str(caught.value)
    assert cs.plan(arrays, rules_from_arrows([JOINED[rule]])).rules[0].steps == 1


def test_what_is_joined_is_named_as_the_help_says() -> None:
    rule = "model.l.<l:03>.e.<e>.w -> x.<l>: %s"
    assert helps(rule % "stack(e)", "experts") == ["write `{stack: {over: e}}`"]
    (help,) = helps(rule % "{stack: e}", "experts")
    assert "`{stack: {over: e}}`" in help
    assert plan(rule % "{stack: {over: e}}", "experts").outputs["x.0"].spec.shape == (3, 2)
    parts = {f"l.{p}_proj.w": np.zeros((2, 2), "f4") for p in "qk"}
    for written in ("l.(q|k)_proj.w -> l.w: concat", "l.{q,k}_proj.w -> l.w: concat"):
        with pytest.raises(RulesetError, match=r"write `l\.<p:q\|k>_proj\.w -> l\.w: concat`"):
            cs.plan(parts, rules_from_arrows([written]))
    made = cs.plan(parts, rules_from_arrows(["l.<p:q|k>_proj.w -> l.w: concat"]))
    assert made.outputs["l.w"].spec.shape == (4, 2)


def test_a_tie_of_a_key_that_a_rule_renames() -> None:
    rules = ["fc.weight -> head.weight", {"tie": ["fc.weight", "y"]}]
    with pytest.raises(cs.PlanError, match=r"`fc\.weight` is given as `head\.weight`") as caught:
        cs.plan(source_of("net"), rules)
    (own,) = re.findall(r"write `(.*?)` for", str(caught.value))
    assert "y" in cs.plan(source_of("net"), [rules[0], {"tie": [own, "y"]}]).outputs
    with pytest.raises(cs.PlanError, match=r"the nearest key that is given is `fc\.bias`"):
        cs.plan(source_of("net"), [{"tie": ["fc.bais", "y"]}])


def test_a_rule_that_repeats_the_prefix_of_its_within() -> None:
    within = {"within": "layer1.<i>.", "rules": ["layer1.<i>.conv1.weight -> c"]}
    with pytest.raises(cs.PlanError, match="`within` has put its prefix in front") as caught:
        cs.plan(source_of("net"), [within])
    (own,) = re.findall(r"write `(.*?)`", str(caught.value))
    within["rules"] = [f"{own} -> c"]
    assert "layer1.2.c" in cs.plan(source_of("net"), [within]).outputs


def test_no_text_is_offered_where_integers_are_computed_with() -> None:
    for rule in ("fc.<i> -> x.<i+1>", "fc.<i> -> x.<i>: {where: i > 1}"):
        with pytest.raises(cs.PlanError, match="is an integer here") as caught:
            cs.plan(source_of("net"), rules_from_arrows([rule]))
        assert "<i:str>" not in str(caught.value)
    (help,) = helps("fc.<i> -> x.<i>: {where: \"i in ['bias']\"}", "net")
    assert "fc.<i:str> -> x.<i>" in help


def test_a_star_of_the_command_line_wants_no_quotes_of_yaml() -> None:
    assert plan("drop: **.bias", "net").rules[0].steps == 3
    assert plan("drop: *.bias", "net").rules[0].steps == 2


def test_a_word_alone_is_no_key() -> None:
    assert helps("drop", "net") == ["write `drop: …`"]
    assert helps(" ", "net") == ["write one, such as `OLD -> NEW`"]


def test_a_stage_before_that_renames_what_a_pattern_reads() -> None:
    stages = [
        cs.load_ruleset([rule])
        for rule in ("layer1.<i>.conv1.weight -> s.<i>", "layer1.<i>.conv1.weight -> v.<i>")
    ]
    with pytest.raises(cs.PlanError, match=r"read what it gives, such as `s\.0`"):
        cs.plan(source_of("net"), stages)


def test_a_stage_that_has_used_a_key_gives_it_again_as_the_help_says(tmp_path: Path) -> None:
    first = "format: 1\nrules:\n  - {from: [fc.weight, fc.weight2], to: w, ops: add%s}\n%s"
    second = "---\nformat: 1\nrules:\n  - fc.weight -> v\n"
    source = {"fc.weight": np.ones(2, "f4"), "fc.weight2": np.ones(2, "f4")}
    path = tmp_path / "r.yaml"
    for reuse in ("", ", reuse: true"):
        path.write_text(first % (reuse, "") + second)
        with pytest.raises(
            cs.PlanError, match=r"stage 1 has used `fc\.weight` at .*r\.yaml:3"
        ) as caught:
            cs.plan(source, path)
        (help,) = (problem.help for problem in caught.value.problems)
        (again,) = re.findall(r"add `(.*?)` to stage 1", help)
        assert ("`reuse: true`" in help) == (not reuse)
        path.write_text(first % (", reuse: true", f"  - {again}\n") + second)
        assert "v" in cs.plan(source, path).outputs


def test_a_stage_before_that_renames_or_drops_a_key() -> None:
    source = {"fc.weight": np.ones(2, "f4"), "a": np.ones(2, "f4")}

    def stages(first: object, second: str) -> list[cs.Ruleset]:
        return [cs.load_ruleset([one]) for one in (first, second)]

    with pytest.raises(cs.PlanError, match=r"stage 1 gives `fc\.weight` as `head`") as caught:
        cs.plan(source, stages("fc.weight -> head", "fc.weight -> v"))
    (read,) = re.findall(r"read `(.*?)`", str(caught.value))
    assert "v" in cs.plan(source, stages("fc.weight -> head", f"{read} -> v")).outputs
    with pytest.raises(cs.PlanError, match=r"stage 1 has used `fc\.weight`") as caught:
        cs.plan(source, stages({"drop": "fc.*"}, "fc.weight -> v"))
    assert "reuse" not in str(caught.value)
    assert "`drop` leaves no key to others: take it out of that rule" in str(caught.value)


BLOCKS = {
    "[fc.bias, conv1.bias] -> x: {concat: 0}": (
        "{from: [fc.bias, conv1.bias], to: x, ops: {concat: 0}}"
    ),
    "fc.weight -> [a, b]: {split: 1}": "{from: fc.weight, to: [a, b], ops: {split: 1}}",
    "fc.weight -> [a, b]: {reuse: true, ops: split}": (
        "{from: fc.weight, to: [a, b], reuse: true, ops: split}"
    ),
}


def test_sources_are_named_by_two_colons() -> None:
    norms = {f"s{i}": {"n.w": np.ones(2, "f4")} for i in range(2)}

    def said(rule: object, first: object = None) -> str:
        with pytest.raises(cs.PlanError) as caught:
            cs.plan(first, [rule], sources=norms)
        return str(caught.value)

    assert "the source `s0` has `n.w`" in said("n.w -> n")
    assert "all sources have names" in said("zz -> n")
    for written in ("s<s>.n.w", "s<s>:n.w"):
        assert "write `s<s>::n.w`" in said({f"{written} -> n": "same"})
    assert "n" in cs.plan(None, [{"s<s>::n.w -> n": "same"}], sources=norms).outputs
    for written in ("s0.n.w -> n", "s0:n.w -> n"):
        assert "write `s0::n.w`" in said(written, {"a": np.ones(2, "f4")})
    message = said("source::a -> b", {"a": np.ones(2, "f4")})
    assert "the first source is written without a name" in message
    assert "write `a`" in message
    stages = [
        cs.load_ruleset([{"s<s>::** -> **": "same"}]),
        cs.load_ruleset(["s<_:int>::n.w -> x"]),
    ]
    with pytest.raises(cs.PlanError, match=r"in the first stage alone(.|\n)*write `n\.w`"):
        cs.plan(None, stages, sources=norms)


IN_ITSELF = {
    "fc.weight[:5].T -> w": "a slice ends the reference; ops stand behind the `: ` of the rule",
    "fc.weight -> x.<p:a|b>: [{split: {over: p}}, {concat: {over: p}}]": "leave out that `concat`",
    "{from: [layer1.<l>.w, layer1.<i>.v], to: x.<l>, ops: concat}": (
        "references go together by captures of one name"
    ),
    "tie: conv1.weight -> c": "write `tie: [conv1.weight, c]`",
    "drop: conv1.weight -> c": "`drop` takes keys and no target: write `drop: conv1.weight`",
    "keep: conv1.weight -> c": "`keep` takes keys of the destination and no target",
}


@pytest.mark.parametrize("rule", IN_ITSELF)
def test_what_is_wrong_in_a_rule_itself(rule: str) -> None:
    assert IN_ITSELF[rule] in helps(rule, "net")[0]


@pytest.mark.parametrize("rule", ["layer1.*.conv1.weight", "layer1.<i:str>.conv1.weight"])
def test_integers_are_what_is_joined(rule: str) -> None:
    assert "what is joined are integers, `<i>`, or words" in helps(f"{rule} -> x: stack", "net")[0]
    assert plan("layer1.<i>.conv1.weight -> x: stack", "net").outputs["x"].spec.shape == (3, 4, 4)


def test_a_regex_that_matches_parts_of_many_keys_is_no_arrow_yet() -> None:
    (help,) = helps("re:bn\\d -> x", "net")
    assert help.startswith("`re:(?:.*[.])?(?:bn\\d)(?:[.].*)?` would match ")


def test_an_init_of_a_key_that_the_destination_lacks() -> None:
    into = source_of("net")
    with pytest.raises(cs.PlanError, match="the destination lacks the key") as caught:
        cs.plan(source_of("net"), [{"init": {"to": "fc.wieght", "fill": "zeros"}}], into)
    assert "did you mean 'fc.weight'?" in str(caught.value)
    assert "give the destination" not in str(caught.value)


@pytest.mark.parametrize("rule", BLOCKS)
def test_a_list_in_an_arrow_is_written_as_a_block_with_its_ops(rule: str) -> None:
    source = {"fc.weight": (4, 6), "fc.bias": (4,), "conv1.bias": (3,)}
    arrays = {key: np.zeros(shape, "f4") for key, shape in source.items()}
    with pytest.raises(RulesetError) as caught:
        cs.plan(arrays, rules_from_arrows([rule]))
    assert f"`{BLOCKS[rule]}`" in str(caught.value)
    assert cs.plan(arrays, rules_from_arrows([BLOCKS[rule]])).rules[0].steps == 1


@pytest.mark.parametrize(
    ("rules", "meant"),
    [
        ([{"fc.weight": "head"}], "fc.weight -> head"),
        ([{"fc": "head"}], "fc -> head"),
        ([("fc.weight", "head")], "fc.weight -> head"),
        ({"fc.weight": "head"}, "fc.weight -> head"),
        ({"format": 1, "rules": {"fc.weight": "head"}}, "fc.weight -> head"),
    ],
)
def test_old_names_with_new_ones_are_arrows(rules: object, meant: str) -> None:
    with pytest.raises(RulesetError) as caught:
        cs.plan(source_of("net"), rules)
    assert meant in str(caught.value)
    assert "known here" not in str(caught.value)


def test_several_keys_in_one_drop() -> None:
    (help,) = helps("drop: fc.weight, fc.bias", "net")
    assert help == "write `[fc.weight, fc.bias]`"
    assert plan("drop: [fc.weight, fc.bias]", "net").rules[0].steps == 2


@pytest.mark.parametrize("rule", ["fc.weight, fc.bias", "fc.weight fc.bias", "s/fc/head/"])
def test_no_arrow_is_made_of_what_is_no_key(rule: str) -> None:
    assert helps(rule, "net") == ["write both sides: `OLD -> NEW`"]


def test_two_files_that_are_meant_as_one_stage(tmp_path: Path) -> None:
    save_file({"a": np.ones(2, "f4"), "b": np.ones(2, "f4")}, tmp_path / "s.safetensors")
    (tmp_path / "one.yaml").write_text("format: 1\nunmatched: drop\nrules:\n  - a -> x\n")
    (tmp_path / "two.yaml").write_text("format: 1\nrules:\n  - b -> y\n")
    files = [cs.load_ruleset(tmp_path / f"{name}.yaml") for name in ("one", "two")]
    with pytest.raises(cs.PlanError, match="doesn't give it: its `unmatched` says so") as caught:
        cs.plan(tmp_path / "s.safetensors", files)
    (include,) = re.findall(r"`(- include: .*?)`", str(caught.value))
    (tmp_path / "both.yaml").write_text(f"format: 1\nrules:\n  {include}\n")
    assert set(cs.plan(tmp_path / "s.safetensors", tmp_path / "both.yaml").outputs) == {"x", "y"}


def test_where_else_a_key_is() -> None:
    held = {"model": {"a": np.ones(2, "f4")}, "student": {"p.w": np.ones(3, "f4")}}
    for rule in ("p.w -> q", "student.p.w -> q"):
        with pytest.raises(
            cs.PlanError, match=r"outside of the root `model`, under `student`"
        ) as it:
            cs.plan(held, [rule])
        assert "`root='student'` opens it" in str(it.value)
    assert "q" in cs.plan(held, ["p.w -> q"], root="student").outputs
    sources = {"one": {"a": np.ones(2, "f4")}, "two": {"b": np.ones(2, "f4")}}
    with pytest.raises(cs.PlanError, match=r"the source `two` has `b`(.|\n)*write `two::b`"):
        cs.plan(None, ["one::** -> **", "one::b -> b"], sources=sources)
    with pytest.raises(cs.PlanError, match=r"no source has that alias(.|\n)*`one`, `two`"):
        cs.plan(None, ["three::b -> b"], sources=sources)
    given = {"a": np.ones(2, "f4")}
    with pytest.raises(
        cs.PlanError, match="is given by <rules>:1, and rules read the source as it"
    ):
        cs.plan(given, ["a -> b", "b -> c"])
    assert "c" in cs.plan(given, [*map(cs.load_ruleset, (["a -> b"], ["b -> c"]))]).outputs


def test_rules_of_which_none_matches() -> None:
    ruleset = "timm_vit_to_transformers"
    converted = {f"vit.encoder.layer.{i}.attention.output.dense.weight": (4, 4) for i in range(2)}
    shapes = {"vit.embeddings.cls_token": (1, 1, 4), **converted}
    arrays = {key: np.zeros(shape, "f4") for key, shape in shapes.items()}
    with pytest.raises(
        cs.PlanError, match=r"none of the 10 rules matches a key: .* converted alr"
    ) as it:
        cs.plan(arrays, ruleset)
    assert len(it.value.problems) == 1
    with pytest.raises(cs.PlanError, match="may be for another model") as it:
        cs.plan({"zzz.qqq": np.zeros(2, "f4")}, ruleset)
    assert len(it.value.problems) == 1
    under = {f"net.{key}": value for key, value in source_of("net").items()}
    rules = ["conv1.weight -> c", "fc.weight -> f", {"batchnorm": "bn1 -> n"}]
    with pytest.raises(
        cs.PlanError, match="none of the 3 rules matches a key: every key beg"
    ) as it:
        cs.plan(under, rules)
    (strip,) = re.findall(r"`source: \{strip: \['(.*?)'\]\}`", str(it.value))
    assert cs.plan(under, {"format": 1, "source": {"strip": [strip]}, "rules": rules}).outputs


def test_init_of_a_pattern_without_a_destination() -> None:
    rule = {"init": {"to": "layers.<i>.gate", "fill": "zeros", "shape": [2]}}
    with pytest.raises(cs.PlanError, match="stands for keys of the destination") as caught:
        cs.plan({"a": np.ones(2, "f4")}, [rule])
    (named,) = re.findall(r"name each key, as `(.*?)`", str(caught.value))
    rule["init"]["to"] = named
    assert named in cs.plan({"a": np.ones(2, "f4")}, [rule]).outputs


def test_a_keep_that_names_no_key_of_the_destination() -> None:
    into = {f"module.{key}": value for key, value in source_of("net").items()}
    with pytest.raises(cs.PlanError, match="no key of the destination matches `fc`") as caught:
        cs.plan(source_of("net"), [{"keep": "fc"}], into)
    (meant,) = re.findall(r"`([^`]*)` would match 2 keys", str(caught.value))
    assert cs.plan(source_of("net"), [{"keep": meant}], into).findings


def test_sources_are_told_by_their_aliases() -> None:
    sources = {f"s{n}": {"n": np.array(n), "w": np.ones(2, "f4")} for n in range(3)}
    del sources["s1"]["w"]
    rule = {"from": ["s0::<k:path>", "s1::<k:path>"], "to": "<k>", "ops": "add"}
    with pytest.raises(cs.PlanError, match=r"no partner for `s0::w`: missing `s1::w`"):
        cs.plan(None, [rule, {"drop": "s2::**"}], sources=sources)


def test_an_identity_is_a_note() -> None:
    ops = [{"split": {"over": "p", "parts": 2}}, {"concat": {"over": "p"}}]
    made = cs.plan({"w": np.ones((4, 2), "f4")}, [{"from": "w", "to": "v", "ops": ops}])
    (note,) = (note for note in made.notes if note.kind == "ops")
    assert "`split` and `concat` over `p` along one dim leave the tensor as it was" in note.text


FILES: Mapping[str, tuple[bytes, str]] = {
    "a.safetensors": (b"\x02\0\0\0\0\0\0\0{}", "a checkpoint where rules are wanted"),
    "a.pt": (b"PK\x03\x04", "a checkpoint where rules are wanted"),
    "a.json": (b'{"fc.weight": ["F32", [2]]}', "JSON without `format: 1` where rules are wanted"),
    "config.json": (b'{"model_type": "vit"}', "JSON without `format: 1` where rules are wanted"),
    "plan.json": (b'{"ckptsurgeon_plan":3}', "a saved plan where rules are wanted"),
    "rules.py": (b"rules = []", "Python where rules are wanted"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_other_kinds_as_rules(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, told = FILES[name]
    (tmp_path / name).write_bytes(content)
    save_file({"a": np.ones(2, "f4")}, tmp_path / "s.safetensors")
    assert run(["plan", str(tmp_path / "s.safetensors"), "-r", str(tmp_path / name)]) == 2
    assert told in capsys.readouterr().err
    assert run(["check", str(tmp_path / name)]) == 2
    assert told in capsys.readouterr().err


def test_rules_in_json_are_rules(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text('{"format": 1, "rules": ["a -> b"]}')
    assert "b" in cs.plan({"a": np.ones(2, "f4")}, path).outputs


def test_what_is_copied_onto_is_dropped_by_the_target_of_the_rule() -> None:
    source = {f"l.{i}.{p}.w": np.ones((2, 2), "f4") for i in range(3) for p in "qk"}
    rule = {"l.<i>.q.w -> l.<i>.k.w": {"flip": 0}}
    with pytest.raises(cs.PlanError, match=r"add `drop: l\.<i>\.k\.w`"):
        cs.plan(source, [rule])
    assert len(cs.plan(source, [{"drop": "l.<i>.k.w"}, rule]).outputs) == 3


def test_a_kept_value_that_the_source_gives_too() -> None:
    into = {"fc.weight": np.ones(2, "f4")}
    source = {"module.fc.weight": np.ones(2, "f4")}
    rules = ["module.** -> **", {"keep": "fc.*"}]
    with pytest.raises(cs.PlanError, match=r"put `drop: module\.fc\.weight` before <rules>:1"):
        cs.plan(source, rules, into)
    assert cs.plan(source, [{"drop": "module.fc.weight"}, rules[1]], into).outputs


def test_the_wrong_front_of_a_pattern_that_takes_all() -> None:
    (help,) = helps("model.** -> **", "module")
    assert "`module.** -> **` would match " in help
    assert plan("module.** -> **", "module").rules[0].steps == len(NET)
    (help,) = helps("drop: fc.*, bn1.*", "net")
    assert help == "write `[fc.*, bn1.*]`"
    assert plan("drop: [fc.*, bn1.*]", "net").rules[0].steps == 6


def test_words_that_a_target_names_otherwise_are_renamed_in_the_source() -> None:
    source = {f"l.{p}.w": np.ones(2, "f4") for p in "qk"}
    for targets in ("m.<p:query|key>", "m.<p:q|k|v>"):
        with pytest.raises(RulesetError, match=r"has other words than `<p:q\|k>` before it"):
            cs.plan(source, [f"l.<p:q|k>.w -> {targets}"])
    with pytest.raises(RulesetError, match=r"write `<p:q=query\|k=key>` there, and `<p>` here"):
        cs.plan(source, ["l.<p:q|k>.w -> m.<p:query|key>"])
    with pytest.raises(RulesetError, match="write `<p>` here"):
        cs.plan(source, ["l.<p:q=query|k=key>.w -> m.<p:query|key>"])
    for rule in ("l.<p:q=query|k=key>.w -> m.<p>", "l.<p:q|k>.w -> m.<p:q=query|k=key>"):
        assert set(cs.plan(source, [rule]).outputs) == {"m.query", "m.key"}
    assert set(cs.plan(source, ["l.<p:q|k>.w -> m.<p:q|k>"]).outputs) == {"m.q", "m.k"}


NO_GUESS = {
    "re:e\\.(\\d+)\\.(\\d+)\\.w -> m.<j>.<i>.w": "which of the two is meant is not said",
    "e.(\\d+).(\\d+).w -> m.<i>.\\2.w": "a name and a number",
    "e.<i>.<j>.w -> m.<i>.<j>: {where: i % 4 in 0..1}": "more than a name before `in`",
    "e.0.0.w -> a, b, transpose": "an op among targets",
    "{rename: {e.0.0.w: a, e.0.1.w: b}}": "two rules",
    "{swap: e.0.0.w, with: e.0.1.w}": "two rules",
    "{e.0.0.w: true}": "no name",
    "drop: 'f.*.w'": "all that begins with anything",
    "drop: x.<i>.<j>.w": "all that begins with anything",
}


@pytest.mark.parametrize("rule", NO_GUESS)
def test_no_rule_is_told_that_may_mean_another(rule: str) -> None:
    source = {f"e.{i}.{j}.w": np.ones(2, "f4") for i in range(2) for j in range(2)}
    with pytest.raises(ProblemsError) as caught:
        cs.plan(source, rules_from_arrows([rule]))
    told = " ".join(problem.help for problem in caught.value.problems)
    assert not re.findall(r"write `[^`…]*(?:->|drop:)[^`…]*`|would match", told), NO_GUESS[rule]


@pytest.mark.parametrize(
    ("rule", "number", "pattern"),
    [
        ("batchnorm: a.bn -> b.bn", 5, "b.bn.*"),
        ("batchnorm: <m:a|b>.bn -> c.<m>.bn", 10, "[c.a.bn.*, c.b.bn.*]"),
        ("a.fc.weight -> b.fc.weight", 1, "b.fc.weight"),
        ("<m:a|b>.bn.weight -> c.<m>.bn.weight", 2, "c.<m:a|b>.bn.weight"),
    ],
)
def test_the_drop_for_two_producers_is_of_all_that_the_rule_gives(
    rule: str, number: int, pattern: str
) -> None:
    with pytest.raises(ProblemsError) as caught:
        plan(rule, "twice")
    (problem,) = caught.value.problems
    told = f"; {number - 1:,} more key" if number > 1 else "which is copied"
    assert told in problem.message
    arrows = [rule, f"drop: {pattern}"]
    assert f"add `drop: {pattern}` behind it; to keep `a." in problem.help
    kept = problem.help.rpartition("as `")[2].rstrip("`")
    assert (
        "a.bn.weight" in cs.plan(source_of("twice"), rules_from_arrows([*arrows[1:], kept])).outputs
    )
    cs.plan(source_of("twice"), rules_from_arrows(arrows))


def test_the_drop_for_two_producers_takes_no_other_key() -> None:
    state = {f"{m}.{i}.w": np.ones(2) for m, n in (("a", 2), ("b", 5)) for i in range(n)}
    with pytest.raises(ProblemsError, match=r"add `drop: \[b\.0\.w, b\.1\.w\]`"):
        cs.plan(state, rules_from_arrows(["a.<i>.w -> b.<i>.w"]))
    state = {f"{m}.{n}": np.ones(2) for m in "ab" for n in "ABCDEFGHIJKL"}
    state["b.other"] = np.ones(2)
    with pytest.raises(ProblemsError, match=r"b\.H\]`, and 4 patterns more behind it"):
        cs.plan(state, rules_from_arrows(["{from: a.*, to: b.*, where: true}"]))


@pytest.mark.parametrize(
    ("op", "meant"),
    [
        ("adapt_input_channels: sum", "adapt_input_channels: {how: sum}"),
        ("adapt_input_channels: mean", "adapt_input_channels: {how: mean}"),
    ],
)
def test_a_word_of_another_parameter_is_told_with_that(op: str, meant: str) -> None:
    assert helps(f"conv1.weight -> conv1.weight: {{{op}}}", "net") == [f"write `{{{meant}}}`"]
    state = source_of("net")
    into = {**state, "conv1.weight": np.zeros((4, 1, 3, 3), "f4")}
    rule = f"conv1.weight -> conv1.weight: {{{meant}}}"
    assert not cs.plan(state, rules_from_arrows([rule]), into).open_findings


@pytest.mark.parametrize("where", ["", ", where: e > 2"])
def test_what_is_there_is_joined_by_the_pick_of_the_help(where: str) -> None:
    state = {f"e.{number}.w": np.full(2, number) for number in range(1, 5)}
    rule = "{from: e.<e>.w, to: w, ops: stack%s}"
    with pytest.raises(ProblemsError) as caught:
        cs.plan(state, rules_from_arrows([rule % where]))
    pick = caught.value.problems[0].help.partition("just those that are there: `")[2].rstrip("`")
    assert pick == f"pick: {{e: {[3, 4] if where else [1, 2, 3, 4]}}}"
    assert "w" in cs.plan(state, rules_from_arrows([rule % f", {pick}"])).outputs


def test_negative_numbers_are_left_out_as_the_help_says() -> None:
    state = {f"e.{number}.w": np.full(2, number) for number in range(1, 5)}
    with pytest.raises(ProblemsError) as caught:
        cs.plan(state, rules_from_arrows(["e.<e>.w -> x.<e-3>"]))
    assert "`where: e-3 >= 0`" in caught.value.problems[0].help
    plan = cs.plan(state, rules_from_arrows(["{e.<e>.w -> x.<e-3>: {where: e-3 >= 0}}"]))
    assert {"x.0", "x.1"} <= set(plan.outputs)


SHORT: Mapping[str, str] = {
    "fc.weight -> y: {add: conv1.weight}": "`{from: [A, B], to: C, ops: add}`",
    "{from: fc.weight, to: z, ops: {stack: [v, w]}}": "`{from: [A, B], to: C, ops: stack}`",
    "fc.weight -> x.<p:a|b>.w: {split: [6, 4]}": "write `{split: {sizes: [6, 4]}}`",
    "bn1.<p:weight|bias> -> x.<weight|bias>": "write `<p:weight|bias>`",
    "layer1.<i-1>.conv1.weight -> c.<i>": "`<i>` here, and `<i+1>` there",
    "layer1.<i:str>.conv1.weight -> c.<i+1>": "without a kind",
    "conv1.weight[:, [2, 1, 0]] -> x": "`{take: {indices: [2, 0], dim: 1}}`",
    "conv1.weight[::-1] -> x": "`{flip: 0}`",
    "conv1.weight -> x: {slice: {dim: 1, start: 0}}": "`{slice: ':, 0:3'}`",
}


@pytest.mark.parametrize("rule", SHORT)
def test_next_steps_of_ops_and_captures(rule: str) -> None:
    assert SHORT[rule] in helps(rule, "net")[0]


def test_a_dim_for_a_number_of_parts_is_told() -> None:
    with pytest.raises(ProblemsError, match="how many it gives is `parts`"):
        plan("fc.weight -> x.<p:a|b|c>.w: {split: 3}", "net")


@pytest.mark.parametrize(
    ("rule", "meant"), [("keep: bn1.*", "drop: bn1.*"), ("drop: head.*", "keep: head.*")]
)
def test_keys_of_the_other_side_are_told(rule: str, meant: str) -> None:
    source, into = source_of("net"), {"head.weight": np.zeros(2), "fc.bias": np.zeros(10)}
    with pytest.raises(ProblemsError) as caught:
        cs.plan(source, rules_from_arrows([rule]), into)
    assert f"by `{meant}`" in caught.value.problems[0].help
    rules = rules_from_arrows([meant])
    assert cs.plan(source, rules, into).rules[0].steps


def test_a_fallback_is_led_by_what_is_copied() -> None:
    state, other = {"w": np.zeros(1), "head": np.zeros(7)}, {"w": np.ones(1), "n": np.ones(2)}
    rule = {"from": "b::**", "to": "**", "fallback": True}
    with pytest.raises(ProblemsError, match=r"takes it: add `w -> w` before it$"):
        cs.plan(state, [rule], sources={"b": other})
    made, _ = cs.apply(state, ["w -> w", rule], sources={"b": other})
    assert {key: tensor.tolist() for key, tensor in made.items()} == {
        "w": [0],
        "n": [1, 1],
        "head": [0] * 7,
    }


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (["drop: fc.*", "fc.weight -> x"], "reorder, or leave one out"),
        (["fc.* -> x.*", "fc.weight -> y"], "reorder, or give the other `reuse: true`"),
        (["fc.weight[:2] -> x", "drop: fc.weight"], "name the part that is left"),
        (["fc.weight[:2] -> x", "fc.weight -> y"], "with `reuse: true` reads one"),
    ],
)
def test_keys_that_are_taken(rules: list[str], told: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        cs.plan(source_of("net"), rules_from_arrows(rules))
    assert told in caught.value.problems[0].help


SCALED = {
    f"model.layers.{number}.{name}_proj.{end}": (4, 4)
    for number in range(3)
    for name in ("mlp.down", "self_attn.q")
    for end in ("weight", "weight_scales_inv")
}
"""Quantized weights whose scales are called a little otherwise than people think."""


@pytest.mark.parametrize(
    "written",
    [
        "**.weight_scale_inv",
        "<k:path>.weight_scale_inv",
        "model.<k:path>.weight_scale_inv",
        "model.layers.<i>.<m:path>_proj.weight_scale_inv",
        "<k:path>.mlp.down_proj.weight_scale_inv",
    ],
)
def test_the_nearest_key_is_told_by_what_stands_behind_any_front(written: str) -> None:
    arrays = {key: np.zeros(shape, np.float32) for key, shape in SCALED.items()}
    with pytest.raises(cs.PlanError, match=r"nearest key is `model\.layers\.0\..*scales_inv`"):
        cs.plan(arrays, {"format": 1, "rules": [{"drop": written}]})


@pytest.mark.parametrize("written", ["**.gamma", "**.running_mean", "**inv_freq"])
def test_no_key_is_near_where_its_end_is_another(written: str) -> None:
    arrays = {f"a.b.c.{number}.weight": np.zeros(2, np.float32) for number in range(3)}
    with pytest.raises(cs.PlanError) as raised:
        cs.plan(arrays, {"format": 1, "rules": [{"drop": written}]})
    assert "nearest" not in str(raised.value)


def test_entries_that_no_repetition_meets_are_counted_once(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"q": "query",\n"k": "key",\n"v": "value"}')
    rules = tmp_path / "r.yaml"
    rules.write_text(
        "format: 1\nrules:\n  - within: [a., b.]\n    rules:\n"
        "      - <p:str>.w -> n.<p>.w: {map: {p: m.json}}\n"
    )
    made = cs.plan({"a.q.w": np.zeros(1, "f4"), "b.k.w": np.zeros(1, "f4")}, rules)
    (note,) = (note for note in made.notes if note.kind == "map")
    assert note.text == f"1 of 3 entries of {tmp_path / 'm.json'} met nothing"
