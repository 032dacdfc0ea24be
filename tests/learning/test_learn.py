"""`learn` in Python: what it takes, what it refuses, and what it says of what it found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

import ckptsurgeon as cs
from ckptsurgeon.drafting.steps import Degree
from ckptsurgeon.learning import sampling

RNG = np.random.default_rng(11)

Arrays = dict[str, np.ndarray[Any, Any]]


def filled(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    return {key: rng.standard_normal(shape).astype("f4") for key, shape in shapes.items()}


def network(layers: int = 4) -> Arrays:
    shapes: dict[str, tuple[int, ...]] = {"embed.weight": (11, 6)}
    for layer in range(layers):
        shapes |= {
            f"blocks.{layer}.qkv.weight": (18, 6),
            f"blocks.{layer}.qkv.bias": (18,),
            f"blocks.{layer}.fc.weight": (7, 6),
        }
    return filled(shapes)


def converted(source: Arrays, layers: int = 4) -> Arrays:
    found = {"tokens.weight": source["embed.weight"]}
    for layer in range(layers):
        for leaf in ("weight", "bias"):
            for name, part in zip(
                "qkv", np.split(source[f"blocks.{layer}.qkv.{leaf}"], 3), strict=True
            ):
                found[f"layers.{layer}.attn.{name}.{leaf}"] = np.ascontiguousarray(part)
        found[f"layers.{layer}.mlp.weight"] = np.ascontiguousarray(
            source[f"blocks.{layer}.fc.weight"].T
        )
    return found


TEXT = """\
format: 1
rules:
  - embed.weight -> tokens.weight
  # q, k and v of equal size: seen once: constant, or a size?
  - blocks.<i>.qkv.* -> layers.<i>.attn.<p:q|k|v>.*: split
  - blocks.<i>.fc.weight -> layers.<i>.mlp.weight: transpose
"""


def test_the_file_is_one_that_a_person_would_have_written() -> None:
    source = network()
    found = cs.learn(source, converted(source))
    assert found.text() == TEXT
    assert found.exit_code == 0
    assert found.open == found.likely == ()
    assert found.counts == {Degree.PROVED: 29}
    assert found.bottom_line == "3 rules for 29 tensors: 29 proved, 1 number seen once"


def test_the_rules_run_as_they_are() -> None:
    source, other = network(), network(7)
    found = cs.learn(source, converted(source))
    tensors, _ = cs.apply(other, found.rules)
    wanted = converted(other, 7)
    assert tensors.keys() == wanted.keys()
    assert all(np.array_equal(tensors[key], wanted[key]) for key in wanted)


def test_tensors_of_torch_and_models_are_learned_from() -> None:
    class Old(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(4, 5), nn.Linear(5, 3)

    old = Old()
    made = {f"net.{key}": value for key, value in old.state_dict().items()}
    found = cs.learn(old, made)
    assert found.text() == "format: 1\nrules:\n  - fc<i>.* -> net.fc<i>.*\n"


def test_files_and_folders_and_nested_ones(tmp_path: Path) -> None:
    source = network()
    tensors = {f"module.{key}": torch.from_numpy(one) for key, one in source.items()}
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "old.pt")
    save_file(converted(source), tmp_path / "new.safetensors")
    found = cs.learn(tmp_path / "old.pt", tmp_path / "new.safetensors")
    head, _, rules = TEXT.partition("rules:")
    assert found.text() == f"{head}source: {{root: state_dict, strip: ['module.']}}\nrules:{rules}"


def test_the_nesting_of_the_converted_file_is_learned(tmp_path: Path) -> None:
    state = {key: torch.from_numpy(one) for key, one in network(1).items()}
    parts = [dict(list(state.items())[:2]), dict(list(state.items())[2:])]
    torch.save({"model": state}, tmp_path / "source.pt")
    trees = {
        "output: {root: ''}": state,
        "output: {root: net}": {"net": state},
        "output: {wrappers: [a, b]}": {"a": parts[0], "b": parts[1]},
        "rules:": {"model": state},
    }
    for line, tree in trees.items():
        torch.save(tree, tmp_path / "converted.pt")
        root = {"dst": "net"} if "net" in tree else None
        found = cs.learn(tmp_path / "source.pt", tmp_path / "converted.pt", root=root)
        lines = found.text().splitlines()
        assert next(one for one in lines if one.startswith(("output", "rules"))).startswith(line)
        cs.transplant(tmp_path / "source.pt", tmp_path / "out.pt", found.rules, force=True)
        assert torch.load(tmp_path / "out.pt", weights_only=True).keys() == tree.keys()


def test_shards_are_joined() -> None:
    rng = np.random.default_rng(0)
    parts = [
        {"w": rng.standard_normal((4, 6)).astype("f4"), "norm": np.float32([1, 2, 3])}
        for _ in range(3)
    ]
    made = {
        "model.w": np.concatenate([part["w"] for part in parts]),
        "model.norm": parts[0]["norm"],
    }
    found = cs.learn(None, made, sources={f"s{at}": part for at, part in enumerate(parts)})
    assert found.text() == (
        "format: 1\nrules:\n  - s<s>::w -> model.w: concat\n  - s<s>::norm -> model.norm: same\n"
    )


def test_a_dtype_that_all_are_cast_to_stands_above_the_rules() -> None:
    source = filled({"a": (5, 3), "b": (4,)})
    made = {f"x.{key}": one.astype("f2") for key, one in source.items()}
    found = cs.learn(source, made)
    assert found.text() == "format: 1\noutput: {dtype: F16}\nrules:\n  - '* -> x.*'\n"
    assert found.counts == {Degree.PROVED: 2}


def test_a_dtype_of_some_is_an_op() -> None:
    source = filled({"a.weight": (5, 3), "norm.weight": (4,)})
    made = {"a.weight": source["a.weight"].astype("f2"), "norm.weight": source["norm.weight"]}
    assert "a.weight -> a.weight: {cast: F16}" in cs.learn(source, made).text()


def test_what_is_left_behind_is_dropped_and_told() -> None:
    source = network() | filled({"head.weight": (3, 6), "head.bias": (3,)}, 1)
    found = cs.learn(source, converted(source))
    assert "- drop: head.*" in found.text()
    assert found.dropped == ("head.weight", "head.bias")
    assert found.exit_code == 0


def test_what_nothing_explains_is_a_comment() -> None:
    source = network()
    made = converted(source) | filled({"new.weight": (3, 6), "new.bias": (3,)}, 2)
    found = cs.learn(source, made)
    assert found.text() == f"{TEXT}  # - keep: new.*  # no rule was found that makes it\n"
    assert found.open == ("new.weight", "new.bias")
    assert found.exit_code == 1
    assert "2 UNEXPLAINED" in str(found)


def test_constants_are_named_by_their_module_and_not_proved() -> None:
    source = filled({"fc1.weight": (4, 4), "fc2.weight": (4, 4)})
    source |= {"fc1.bias": np.zeros(4, "f4"), "fc2.bias": np.zeros(4, "f4")}
    made = {key.replace("fc1", "up").replace("fc2", "down"): one for key, one in source.items()}
    found = cs.learn(source, made)
    assert found.degrees["up.bias"] is found.degrees["down.bias"] is Degree.SURE
    assert found.degrees["up.weight"] is Degree.PROVED
    other, _ = cs.apply(
        filled({"fc1.weight": (4, 4), "fc2.weight": (4, 4), "fc1.bias": (4,), "fc2.bias": (4,)}, 5),
        found.rules,
    )
    assert other.keys() == made.keys()


def test_what_only_names_can_tell_is_asked() -> None:
    source = filled({"a.weight": (4, 4)}) | {"x": np.ones(6, "f4"), "y": np.ones(6, "f4")}
    made = {"b.weight": source["a.weight"], "p": source["x"], "q": source["y"]}
    found = cs.learn(source, made)
    assert set(found.likely) == {"p", "q"}
    assert found.exit_code == 1
    assert "# CHECK: its values are also those of" in found.text()
    assert "run the conversion on what `probe` writes" in str(found)


def test_a_probe_leaves_nothing_open() -> None:
    source = {
        f"norm{at}.{leaf}": np.ones(6, "f4") for at in range(4) for leaf in ("weight", "bias")
    }
    probe = cs.probe(source)
    made = {f"layers.{3 - int(key[4])}.{key.split('.')[1]}": one for key, one in probe.items()}
    found = cs.learn(probe, made)
    assert found.exit_code == 0
    tensors, _ = cs.apply(probe, found.rules)
    assert all(np.array_equal(tensors[key], made[key]) for key in made)


def test_nan_is_equal_by_its_bits() -> None:
    source = filled({"a": (5, 3), "b": (5, 3)})
    source["a"][1, 1] = np.nan
    found = cs.learn(source, {"x": source["a"], "y": source["b"]})
    assert found.counts == {Degree.PROVED: 2}


def test_unrelated_files_are_refused() -> None:
    with pytest.raises(cs.CheckpointError, match="explain 0 of 29 tensors"):
        cs.learn(network(), {key: one + one**2 for key, one in converted(network()).items()})


def test_shapes_alone_are_refused(tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text('{"a": ["F32", [3]]}')
    with pytest.raises(cs.CheckpointError, match="the converted checkpoint has shapes alone"):
        cs.learn(network(), str(spec))
    with pytest.raises(cs.CheckpointError, match=r"the source has shapes alone.*suggest"):
        cs.learn(str(spec), network())


def test_unreadable_tensors_are_told(tmp_path: Path) -> None:
    source = network()
    made: dict[str, Any] = {key: torch.from_numpy(one) for key, one in converted(source).items()}
    made["adjacency"] = torch.eye(3).to_sparse()
    torch.save(made, tmp_path / "new.pt")
    found = cs.learn(source, tmp_path / "new.pt")
    assert list(found.unreadable) == ["adjacency"]
    assert found.exit_code == 1
    assert "unreadable  1 tensor" in str(found)


def test_samples_tell_of_all_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = network(9)
    save_file(source, tmp_path / "old.safetensors")
    save_file(converted(source, 9), tmp_path / "new.safetensors")
    files = (tmp_path / "old.safetensors", tmp_path / "new.safetensors")
    found = cs.learn(*files, sample=True)
    assert sorted(found.text().splitlines()) == sorted(TEXT.splitlines())
    assert found.counts == {Degree.SAMPLED: 64}
    assert cs.learn(*files).counts == {Degree.PROVED: 64}
    monkeypatch.setattr("ckptsurgeon.learning.making.LARGE", 1000)
    assert cs.learn(*files).counts == {Degree.SAMPLED: 64}
    assert cs.learn(*files, sample=False).counts == {Degree.PROVED: 64}


def test_a_layer_that_samples_contradict_is_read(tmp_path: Path) -> None:
    source = network(9)
    made = converted(source, 9)
    swapped = ("layers.4.attn.q.weight", "layers.4.attn.k.weight")
    made[swapped[0]], made[swapped[1]] = made[swapped[1]], made[swapped[0]]
    found = cs.learn(source, made, sample=True)
    tensors, _ = cs.apply(source, found.rules)
    assert all(np.array_equal(tensors[key], made[key]) for key in made)


def test_the_first_the_second_and_the_last_of_a_list_are_read() -> None:
    keys = [f"a.{at}.{leaf}" for at in (3, 5, 8, 9) for leaf in "xy"] + ["b", "c.0.z"]
    chosen = sampling.choose_keys(keys)
    assert chosen == {key for key in keys if not key.startswith("a.8.")}


def test_it_is_saved_whole_or_not_at_all(tmp_path: Path) -> None:
    source = network()
    found = cs.learn(source, converted(source))
    path = tmp_path / "rules.yaml"
    found.save(path)
    assert path.read_text() == TEXT
    with pytest.raises(cs.OutputError, match="exists"):
        found.save(path)
    found.save(path, force=True)
    with pytest.raises(cs.OutputError, match=r"name it `rules\.yaml`"):
        found.save(tmp_path / "rules.txt")


def test_progress_is_told_to_the_end() -> None:
    seen: list[tuple[int, int]] = []
    source = network()
    cs.learn(source, converted(source), progress=lambda done, total, _: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0
    assert seen == sorted(seen)


def test_it_shows_itself_in_every_way() -> None:
    source = network()
    found = cs.learn(source, converted(source))
    told = found.to_dict()
    assert told["rules"] == TEXT
    assert told["counts"] == {"proved": 29}
    assert told["exit_code"] == 0
    assert repr(found) == "<Learned: 3 rules for 29 tensors: 29 proved, 1 number seen once>"
    assert "equal element for element" in str(found)


# --- what is easily mistaken ----------------------------------------------------------------------


def test_empty_tensors_are_constants() -> None:
    source = filled({"a": (0, 4), "w": (3, 3)})
    assert cs.learn(source, dict(source)).exit_code == 0


def test_a_key_that_no_rule_can_name_costs_itself_alone() -> None:
    source = filled({"": (3, 2), "a::b": (2, 2), "c": (4, 3), "two\nlines": (5, 2)})
    found = cs.learn(source, {"m.c": source["c"], "x::c": source["a::b"]})
    assert found.open == ("x::c",)
    tensors, _ = cs.apply(source, found.rules)
    assert list(tensors) == ["m.c"]


@pytest.mark.parametrize(("before", "after"), [(4.6, 0.07), (1.0, 1e-4), (0.0, 1e-4), (1.0, 2.0)])
def test_one_number_is_no_multiple_of_another(before: float, after: float) -> None:
    source = filled({"w": (3, 3)}) | {"scale": np.full(6, before, "f4")}
    found = cs.learn(source, {"w": source["w"], "gamma": np.full(6, after, "f4")})
    assert found.open == ("gamma",)


def test_weights_that_were_trained_on_are_others() -> None:
    rng = np.random.default_rng(0)
    base = torch.from_numpy(rng.standard_normal((32, 32)).astype("f4") * 0.02).bfloat16()
    noise = torch.from_numpy(rng.standard_normal((32, 32)).astype("f4"))
    source = {"w": base, "k": torch.randn(4, 4).bfloat16()}
    trained = (base.float() * (1 + 0.02 * noise)).bfloat16()
    assert cs.learn(source, {"x": trained, "k": source["k"]}).open == ("x",)


def test_only_what_was_seen_is_dropped() -> None:
    source = filled({f"b.{at}.w": (4, 4) for at in range(2)})
    source |= filled({"b.0.x": (3,), "b.1.y.z": (2,), "head.weight": (4, 3)}, 1)
    found = cs.learn(source, {f"m.{at}.w": source[f"b.{at}.w"] for at in range(2)})
    wider = source | filled({"b.0.cross.weight": (2, 2)}, 2)
    tensors, _ = cs.apply(wider, found.rules)
    assert "b.0.cross.weight" in tensors


def test_a_config_names_only_sizes_that_it_means() -> None:
    source = filled({f"l.{at}.qkv": (24, 6) for at in range(2)})
    made = {
        f"l.{at}.{name}": np.ascontiguousarray(
            source[f"l.{at}.qkv"].reshape(2, 3, 4, 6)[:, number].reshape(8, 6)
        )
        for at in range(2)
        for number, name in enumerate("qkv")
    }
    assert "heads: 2  # seen once" in cs.learn(source, made, config={"pad_token_id": 2}).text()
    config = {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 2}
    assert "heads: config.num_attention_heads\n" in cs.learn(source, made, config=config).text()


def test_integers_that_become_floats_are_cast_by_a_rule() -> None:
    source = filled({"w": (3, 3)}) | {"n": np.array(300)}
    made = {"w": source["w"], "n": np.array(300, "f4")}
    assert "n -> n: {cast: F32}" in cs.learn(source, made).text()


def test_folded_batchnorms_are_found_with_their_eps() -> None:
    rng = np.random.default_rng(0)
    source = filled({f"conv{at}.weight": (6, 3, 3, 3) for at in (1, 2)})
    made: Arrays = {}
    for at in (1, 2):
        gamma, beta, mean = (rng.standard_normal(6).astype("f4") for _ in range(3))
        variance = rng.random(6).astype("f4") + 0.5
        names = ("weight", "bias", "running_mean", "running_var")
        source |= {
            f"bn{at}.{n}": v for n, v in zip(names, (gamma, beta, mean, variance), strict=True)
        }
        factor = gamma.astype("f8") / np.sqrt(variance.astype("f8") + 1e-3)
        weight = source[f"conv{at}.weight"] * factor[:, None, None, None]
        made[f"layer{at}.weight"] = weight.astype("f4")
        made[f"layer{at}.bias"] = (beta - mean * factor).astype("f4")
    found = cs.learn(source, made)
    rule = "fold_batchnorm: {conv: conv<i>, batchnorm: bn<i>, to: layer<i>, eps: 0.001}"
    assert rule in found.text()
    assert found.counts == {Degree.NEAR: 4}


def test_an_untrained_update_is_doubted() -> None:
    """B of a fresh LoRA is zero: the weight is the same whether it was merged or dropped."""
    source = filled({"q.weight": (8, 6), "q.lora_A.weight": (2, 6), "v.weight": (8, 6)})
    source["q.lora_B.weight"] = np.zeros((8, 2), "f4")
    found = cs.learn(source, {key: source[key] for key in ("q.weight", "v.weight")})
    assert found.degrees == {"q.weight": Degree.LIKELY, "v.weight": Degree.PROVED}
    assert "q.lora_B.weight is zero" in found.text()


def test_numbers_that_are_equal_prove_nothing() -> None:
    """Two single numbers of other shapes, crossed by chance."""
    source = filled({"fc.weight": (3, 3)}) | {
        "logit_scale": np.ones((), "f4"),
        "gate": np.ones((1,), "f4"),
    }
    target = {"w": source["fc.weight"], "clip.scale": np.ones((), "f4")}
    found = cs.learn(source, target)
    assert found.degrees == {"w": Degree.PROVED, "clip.scale": Degree.LIKELY}


def test_a_number_that_keeps_its_name_is_sure() -> None:
    """Names decide between equal numbers."""
    source = filled({"fc.weight": (3, 3)}) | {
        "logit_scale": np.ones((), "f4"),
        "gate": np.ones((1,), "f4"),
    }
    target = {"w": source["fc.weight"], "clip.logit_scale": np.ones((), "f4")}
    assert cs.learn(source, target).degrees["clip.logit_scale"] is Degree.SURE


def test_one_number_throughout_under_another_name_is_doubted() -> None:
    """A new bias of zeros beside a dropped one of the same size."""
    source = filled({"head.weight": (5, 8), "fc.weight": (8, 6)})
    source["head.bias"] = np.zeros(8, "f4")
    target = {"m.w": source["fc.weight"], "m.b": np.zeros(8, "f4")}
    assert cs.learn(source, target).degrees["m.b"] is Degree.LIKELY


def test_a_further_example_that_has_more_is_told() -> None:
    def net(count: int) -> dict[str, np.ndarray]:
        return {f"l.{n}.w": RNG.random((8, 6)) for n in range(count)}

    def convert(source: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {key.replace("l", "m", 1): value for key, value in source.items()}

    first, second = net(3), net(4)
    more = {**convert(second), "head.w": RNG.random((5, 5))}
    found = cs.learn(first, convert(first), examples=[(second, more)])
    assert (found.exit_code, found.misses) == (1, (("head.w",),))
    assert "# Example 1 has 1 tensor that these rules don't make: head.w" in found.text()
    assert not cs.learn(first, convert(first), examples=[(second, convert(second))]).exit_code
    with pytest.raises(cs.CheckpointError, match=r"example 1: .*not the same weights"):
        cs.learn(first, convert(first), examples=[({"q": RNG.random(3)}, {"z": RNG.random(4)})])


ONCE: dict[str, tuple[Any, str]] = {
    "parts": (lambda w: {f"e.{n}": one for n, one in enumerate(np.split(w, 4))}, "parts 4"),
    "sizes": (lambda w: dict(zip("abc", np.split(w, [5, 9]), strict=True)), "sizes 5, 4, 7"),
    "roll": (lambda w: {"w": np.roll(w, 3, 0)}, "shift 3"),
    "take": (lambda w: {"w": w[[3, 0, 9, 1, 14, 2]]}, "the indices of `take`"),
    "slice": (lambda w: {"w": w[:7]}, "[:7]"),
    "scale": (lambda w: {"w": w * 0.353553}, "number 0.353553"),
}


@pytest.mark.parametrize("kind", ONCE)
def test_numbers_that_may_be_sizes_are_told(kind: str) -> None:
    convert, told = ONCE[kind]
    weight = RNG.random((16, 6))
    found = cs.learn({"x": weight}, convert(weight))
    assert told in found.once, found.text()
    assert f"# {told}: seen once: constant, or a size?" in found.text()
    assert "1 number seen once" in found.bottom_line
    again = cs.learn({"x": weight}, convert(weight), examples=[({"x": weight}, convert(weight))])
    assert told in again.once  # the same size again tells no more


@pytest.mark.parametrize(
    ("rename", "told"),
    [
        (lambda kind, n: f"b.{n + 3 * (kind == 'dec')}.w", "<i+3>"),
        (lambda kind, n: f"{kind}.{2 - n}.w", "<"),
    ],
)
def test_numbers_of_names_are_told(rename: Any, told: str) -> None:
    source = {f"{kind}.{n}.w": RNG.random((4, 3)) for kind in ("enc", "dec") for n in range(3)}
    made = {rename(*key.split(".")[:1], int(key.split(".")[1])): one for key, one in source.items()}
    assert any(told in one for one in cs.learn(source, made).once)


def test_an_order_is_settled_by_the_same_tensor_alone() -> None:
    def rope(weight: np.ndarray, heads: int, half: bool) -> np.ndarray:
        rows = weight.shape[0] // heads
        shape = (heads, rows // 2, 2, -1) if half else (heads, 2, rows // 2, -1)
        return weight.reshape(shape).swapaxes(1, 2).reshape(weight.shape)

    source = {"t.q": RNG.random((32, 16)), "v.q": RNG.random((16, 16))}
    made = {"t.q": rope(source["t.q"], 4, False), "v.q": rope(source["v.q"], 4, True)}
    found = cs.learn(source, made)
    assert found.likely == ("v.q",)


def attentions(prefix: str, width: int, heads: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fused q, k and v, head by head, and what becomes of them."""
    fused = RNG.random((3 * width, width))
    parts = fused.reshape(heads, 3, -1, width).transpose(1, 0, 2, 3).reshape(3, width, width)
    return {f"{prefix}.qkv.weight": fused}, {
        f"{prefix}.{part}.weight": one for part, one in zip("qkv", parts, strict=True)
    }


def test_q_k_and_v_of_equal_size_are_told() -> None:
    source, made = attentions("a", 8, 1)
    told = "q, k and v of equal size"
    assert told in cs.learn(source, made).once
    assert told not in cs.learn(source, made, config={"num_attention_heads": 1}).once
    both = {"num_attention_heads": 1, "num_key_value_heads": 1}
    assert told in cs.learn(source, made, config=both).once


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"n_head": 4}, "heads: 2  # seen once: constant, or a size? config.n_head is 4\n"),
        ({"text": {"num_heads": 2}}, "heads: config.text.num_heads\n"),
        (
            {"text": {"num_heads": 2}, "vision": {"num_heads": 2}},
            "config.text.num_heads is 2 and config.vision.num_heads is 2\n",
        ),
        ({"num_heads": 2, "text": {"num_heads": 3}}, "heads: config.num_heads\n"),
        ({"a b": {"num_heads": 2}}, "heads: 2  # seen once: constant, or a size?\n"),
    ],
)
def test_what_a_config_says_of_heads(config: dict[str, Any], told: str) -> None:
    source, made = attentions("a", 8, 2)
    assert told in cs.learn(source, made, config=config).text()


def test_one_number_for_networks_of_two_widths_is_told() -> None:
    pairs = [attentions("text", 8, 2), attentions("vision", 12, 2)]
    source, made = ({**pairs[0][at], **pairs[1][at]} for at in range(2))
    found = cs.learn(source, made, config={"num_heads": 2}).text()
    assert "heads: config.num_heads  # for tensors of widths 8 and 12: the same in both?" in found


def test_a_var_from_a_shape_says_that_values_alone_tell_it() -> None:
    examples = []
    for width, heads in ((8, 2), (12, 3)):
        source, made = attentions("a", width, heads)
        examples.append(({**source, "table": RNG.random((heads, 5))}, made))
    (first, converted), further = examples[0], examples[1:]
    found = cs.learn(first, converted, examples=further)
    assert "{shape: table, dim: 0}  # 2 and 3 in the examples, as there" in found.text()


def test_values_rounded_on_the_way_are_told() -> None:
    source = {f"a.{at}": RNG.random((6, 4), np.float32) for at in range(3)}
    made = {
        f"b.{at}": (w.view(np.uint32) & 0xFFFF0000).view(np.float32)
        for at, w in enumerate(source.values())
    }
    with pytest.raises(cs.CheckpointError, match=r"BF16's, stored as F32: save what was made as"):
        cs.learn(source, made)


def test_constants_beside_what_values_rename_are_sure() -> None:
    source = {"a.w": RNG.random((3, 4)), "a.norm.weight": np.ones(4), "a.other.weight": np.ones(4)}
    found = cs.learn(source, {key.replace("a.", "b."): one for key, one in source.items()})
    assert not found.likely, found.text()


W = RNG.random((8, 3, 2, 2))
TABLE = RNG.random((20, 4))


@pytest.mark.parametrize(
    ("source", "made", "rule"),
    [
        (TABLE, np.pad(TABLE, ((0, 4), (0, 0))), "pad: 24"),
        (TABLE, np.pad(TABLE, ((4, 0), (0, 0))), "pad: {to: 24, at: start}"),
        (TABLE, np.pad(TABLE, ((2, 2), (0, 0))), "pad: {to: 24, at: both}"),
        (TABLE, np.pad(TABLE, ((0, 0), (0, 1))), "pad: {to: 5, dim: 1}"),
        (W, W[:, [0, 1, 2, 0]], "take: {indices: [0, 1, 2, 0], dim: 1}"),
    ],
)
def test_what_is_padded_or_has_planes_twice(source: Any, made: Any, rule: str) -> None:
    found = cs.learn({"a": source}, {"b": made})
    assert rule in found.text()
    assert found.counts == {Degree.PROVED: 1}


def test_parts_that_no_rule_makes_are_told() -> None:
    source = {"head": TABLE, "w": RNG.random((3, 3))}
    made = {"top": np.concatenate([TABLE, RNG.random((3, 4))]), "w": source["w"]}
    text = cs.learn(source, made).text()
    assert "# CHECK: 20 planes of it are in top\n  - drop: head\n" in text
    assert "# - keep: top  # 20 planes of it are in head" in text


def test_equal_constants_make_no_example() -> None:
    count = {f"bn.{at}.num": np.array(0) for at in range(9)} | {"bn.weight": np.ones(4)}
    source, made = ({"w": RNG.random((4, 4)), **count} for _ in range(2))
    with pytest.raises(cs.CheckpointError, match="not the same weights"):
        cs.learn(source, made)


def test_tied_tensors_are_no_doubt() -> None:
    tied = torch.rand(20, 4)
    source = {"wte.weight": tied, "lm_head.weight": tied, "w": torch.rand(3, 3)}
    found = cs.learn(source, {"tokens.weight": tied.clone(), "w": source["w"]})
    assert found.counts == {Degree.PROVED: 2}


LAYERS = {f"h.{at}.{name}": RNG.random((4, 4)) for at in range(4) for name in ("a.w", "m.w")}


@pytest.mark.parametrize(
    ("kept", "told"),
    [((0, 2), "<n:1|3>"), ((0, 1), "<n:2|3>"), ((0, 1, 2), "3"), ((1, 3), "<n:0|2>")],
)
def test_layers_that_are_dropped_are_told_one_by_one(kept: tuple[int, ...], told: str) -> None:
    """In a deeper network others would be dropped by a capture."""
    made = {
        f"l.{new}.{name}": LAYERS[f"h.{old}.{name}"]
        for new, old in enumerate(kept)
        for name in ("a.w", "m.w")
    }
    found = cs.learn(LAYERS, made)
    assert f"- drop: h.{told}.**\n" in found.text()
    assert found.once


def test_a_head_is_as_large_as_the_config_says() -> None:
    source = {"q": RNG.random((16, 8))}
    made = {"wq": source["q"].reshape(2, 2, 4, 8).swapaxes(1, 2).reshape(16, 8)}
    config = {"hidden_size": 16, "num_attention_heads": 2}
    text = cs.learn(source, made, config=config).text()
    assert "head_dim: config.hidden_size // config.num_attention_heads\n" in text
