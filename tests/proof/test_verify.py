"""`ckptsurgeon verify`: how a checkpoint loads, and what its network gives."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from command_line import Ckpt
from networks import ResNet, randomise
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import ckptsurgeon as cs
from ckptsurgeon.proof.results import Kind

RESNET = ("--model", "nets:resnet")


def state(seed: int, channels: int = 3) -> dict[str, Tensor]:
    network = ResNet(channels=channels, layers=2)
    randomise(network, seed)
    return {key: tensor.clone() for key, tensor in network.state_dict().items()}


def save(path: str, tensors: Mapping[str, Tensor]) -> None:
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)


def told(out: str) -> dict[str, list[tuple[str, str]]]:
    """The findings of a JSON report by kind: (key, text)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for finding in json.loads(out)["findings"]:
        found.setdefault(finding["kind"], []).append((finding["key"], finding["text"]))
    return found


# --- loading --------------------------------------------------------------------------------------


def test_a_checkpoint_that_fits_is_clean_and_computes_nothing(ckpt: Ckpt) -> None:
    save("a.safetensors", state(1))
    ran = ckpt("verify", "a.safetensors", *RESNET)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[-1] == "clean: loads strictly"


def test_every_way_not_to_fit_is_told_by_key(ckpt: Ckpt) -> None:
    tensors = state(1)
    tensors["fc.weight"] = torch.rand(7, 16)
    tensors["extra"] = tensors.pop("bn1.weight")
    save("a.safetensors", tensors)
    ran = ckpt("verify", "a.safetensors", *RESNET, "--format", "json")
    assert ran.code == 1
    assert told(ran.out) == {
        "mismatched": [("fc.weight", "is [7, 16] in the checkpoint, [5, 16] in the model")],
        "missing": [("bn1.weight", "the checkpoint has no such key")],
        "unexpected": [("extra", "the model has no such key")],
    }


def test_a_report_for_people_folds_keys_and_ends_with_what_matters(ckpt: Ckpt) -> None:
    save("a.safetensors", {f"module.{key}": one for key, one in state(1).items()})
    ran = ckpt("verify", "a.safetensors", *RESNET)
    lines = ran.out.splitlines()
    assert "52 missing  the model has these keys, the checkpoint doesn't" in lines
    assert "  layer<1..2>.<0..1>.bn<1..2>.running_var" in lines
    assert lines[-1] == (
        "114 findings: 52 missing, 62 unexpected: don't use it before they are settled"
    )
    assert len(ckpt("verify", "a.safetensors", *RESNET, "-v").out.splitlines()) > 110


def test_counters_are_wanted_where_the_file_says_that_batchnorms_have_them(ckpt: Ckpt) -> None:
    model = ResNet(layers=2)
    randomise(model)
    versioned = model.state_dict()
    for key in list(versioned):
        if key.endswith("num_batches_tracked"):
            del versioned[key]
    torch.save(versioned, "versioned.pt")
    torch.save(dict(versioned), "plain.pt")
    assert ckpt("verify", "plain.pt", *RESNET).code == 0
    ran = ckpt("verify", "versioned.pt", *RESNET, "--format", "json")
    assert (ran.code, list(told(ran.out))) == (1, ["missing"])


def test_buffers_that_are_not_persistent_are_no_finding(ckpt: Ckpt) -> None:
    save("a.safetensors", {"linear.weight": torch.rand(3, 4), "linear.bias": torch.rand(3)})
    assert ckpt("verify", "a.safetensors", "--model", "nets:Rotary").code == 0


def test_tied_keys_of_different_values_are_told(ckpt: Ckpt) -> None:
    weight = torch.rand(11, 4)
    save("a.safetensors", {"embedding.weight": weight, "head.weight": weight.clone()})
    save("b.safetensors", {"embedding.weight": weight, "head.weight": weight + 1})
    assert ckpt("verify", "a.safetensors", "--model", "nets:Words").code == 0
    ran = ckpt("verify", "b.safetensors", "--model", "nets:Words", "--format", "json")
    text = "is one tensor with `embedding.weight` in the model, and differs from it here"
    assert (ran.code, told(ran.out)) == (1, {"untied": [("head.weight", text)]})


def test_other_dtypes_are_a_note(ckpt: Ckpt) -> None:
    save("a.safetensors", {key: one.bfloat16() for key, one in state(1).items() if one.dim()})
    ran = ckpt("verify", "a.safetensors", *RESNET)
    assert ran.code == 0, ran.out
    assert "note        52 tensors of bfloat16 where the model has float32" in ran.out


def test_a_head_is_left_out_on_both_sides(ckpt: Ckpt) -> None:
    save("a.safetensors", state(1))
    other = {key: one for key, one in state(1).items() if not key.startswith("fc.")}
    save("b.safetensors", other | {"fc.weight": torch.rand(9, 16), "fc.bias": torch.rand(9)})
    words = ("verify", "b.safetensors", "--model", "nets:body", "--against", "a.safetensors")
    ran = ckpt(*words)
    assert (ran.code, "2 unexpected" in ran.out) == (1, True)
    ran = ckpt(*words, "--allow", "unexpected")
    assert ran.code == 0, ran.err
    assert "a.safetensors: 2 unexpected, which is allowed" in ran.out
    assert "the outputs agree" in ran.out


def test_code_of_the_model_that_refuses_is_told() -> None:
    class Refusing(nn.Linear):
        def _load_from_state_dict(self, *words: object) -> None:
            raise ValueError("not\nthis one")

    found = cs.verify({"weight": torch.rand(2, 2), "bias": torch.rand(2)}, lambda: Refusing(2, 2))
    first = found.findings[0]
    assert (first.kind, first.text) == (Kind.REFUSED, "not this one")


def test_findings_are_allowed_by_kind(ckpt: Ckpt) -> None:
    tensors = state(1)
    tensors["fc.weight"].zero_()
    save("a.safetensors", tensors)
    ran = ckpt("verify", "a.safetensors", *RESNET)
    assert ran.code == 1
    assert "1 zero  zeros alone, where a trained network has weights" in ran.out
    ran = ckpt("verify", "a.safetensors", *RESNET, "--allow", "zero")
    assert ran.code == 0
    assert "1 zero, allowed" in ran.out
    assert ran.out.splitlines()[-1] == "allowed: 1 zero; loads strictly"


# --- outputs --------------------------------------------------------------------------------------

FOUR = ("--source-model", "nets:resnet", "--source-model-args", '{"channels": 4}')
SMALL = ("--input", "2,3,32,32")


def write_pair(where: slice) -> None:
    """`a.pt` for four channels, `b.pt` with some of them."""
    wide = state(1, channels=4)
    torch.save({"state_dict": {f"module.{key}": one for key, one in wide.items()}}, "a.pt")
    torch.save({**wide, "conv1.weight": wide["conv1.weight"][:, where].clone()}, "b.pt")


@pytest.mark.parametrize(("where", "taken"), [(slice(3), "0..2"), (slice(1, 4), "1..3")])
def test_a_channel_that_was_cut_off_is_fed_zeros(where: slice, taken: str, ckpt: Ckpt) -> None:
    write_pair(where)
    ran = ckpt("verify", "b.pt", *RESNET, "--against", "a.pt", *FOUR, *SMALL)
    assert ran.code == 0, ran.out + ran.err
    assert "[2, 3, 32, 32], and [2, 4, 32, 32] for the source, float32, seed 0" in ran.out
    told = f"`conv1` of the source's network takes 4 channels: it is given the other's as {taken}"
    assert told in ran.out


HOW = {
    "sum": ({"adapt_input_channels": 1}, 1, "the other's channel in each of its own (`sum`)"),
    "tile to fewer": ({"adapt_input_channels": 2}, 2, "its own repeated (`tile`)"),
    "tile to more": ({"adapt_input_channels": 5}, 5, "its own repeated (`tile`)"),
    "mean to fewer": ({"adapt_input_channels": {"to": 2, "how": "mean"}}, 2, "(`mean`)"),
    "mean to more": ({"adapt_input_channels": {"to": 6, "how": "mean"}}, 6, "(`mean`)"),
    "zeros": ({"adapt_input_channels": {"to": 5, "how": "zeros"}}, 5, "0..2, and zeros besides"),
}


@pytest.mark.parametrize("cast", [[], [{"cast": "BF16"}]], ids=["F32", "BF16"])
@pytest.mark.parametrize(("op", "channels", "told"), HOW.values(), ids=HOW)
def test_an_adapted_stem_is_fed_what_it_was_made_for(
    op: dict[str, Any], channels: int, told: str, cast: list[dict[str, str]]
) -> None:
    first = state(1)
    made, _ = cs.apply(first, [{"conv1.weight -> conv1.weight": [op, *cast]}])
    made = {**made, "conv1.weight": made["conv1.weight"].float()}

    def verify() -> cs.Verification:
        return cs.verify(
            made,
            lambda: ResNet(channels=channels, layers=2),
            against=first,
            source_model=lambda: ResNet(layers=2),
            shape=(2, channels, 32, 32),
            tolerance=0.02 if cast else 1e-5,
        )

    found = verify()
    assert found.clean, str(found)
    assert found.comparison is not None
    assert any(told in note for note in found.comparison.notes), found.comparison.notes
    made["conv1.weight"][:, 0] *= 1.5
    assert not verify().clean


def linears(wide: Tensor, narrow: Tensor, *, checked_wide: bool = False) -> cs.Verification:
    """Two linear layers of these weights compared, of which the narrow one is checked."""
    states = [{"weight": one.clone(), "bias": torch.zeros(len(one))} for one in (wide, narrow)]
    models = [lambda one=one: nn.Linear(one.shape[1], len(one)) for one in (wide, narrow)]
    (state, model), (other, source) = zip(states, models, strict=True)
    if not checked_wide:
        (state, model), (other, source) = (other, source), (state, model)
    return cs.verify(state, model, against=other, source_model=source, allow=["zero", "constant"])


DEAD = torch.cat([torch.zeros(70, 6), torch.rand(8, 6, generator=torch.Generator().manual_seed(0))])


@pytest.mark.parametrize("part", [slice(2, 5), slice(2, 3), slice(5, 6)])
@pytest.mark.parametrize("wide", [DEAD, DEAD.flip(0)], ids=["first", "last"])
def test_dead_units_do_not_hide_what_a_part_is_of(wide: Tensor, part: slice) -> None:
    assert linears(wide, wide[:, part]).clean


def test_wide_weights_that_a_narrow_one_is_made_of_are_not_passed_in_silence() -> None:
    narrow = torch.rand(8, 3)
    rest = torch.rand(128, 1) * (torch.arange(128) == 127)[:, None]
    for wide, source in (
        (torch.cat([narrow * 0.5, torch.rand(8, 3)], 1), narrow),  # a tile, half of it
        (torch.cat([torch.rand(128, 3), rest], 1), None),  # a part, and one weight besides
        (torch.rand(8, 4), "sum"),
    ):
        given = wide[:, :3] if source is None else source
        given = wide.sum(1, keepdim=True) if isinstance(given, str) else given
        found = linears(wide, given, checked_wide=True)
        assert found.comparison is not None
        assert any("are not compared" in note for note in found.comparison.notes), given.shape
    tiled = linears(torch.cat([narrow, narrow], 1) / 2, narrow, checked_wide=True)
    assert tiled.clean
    assert tiled.comparison is not None
    assert not any("are not compared" in note for note in tiled.comparison.notes)


def test_parts_are_found_where_rounded_values_are_alike() -> None:
    wide = torch.rand(32, 784).bfloat16().float()
    for at in range(0, 784, 97):
        assert linears(wide, wide[:, at : at + 1]).clean, at


def test_channels_that_are_compared_with_nothing_are_told() -> None:
    narrow = torch.rand(8, 3)
    for rest, told in ((torch.zeros(8, 1), False), (torch.rand(8, 1), True)):
        found = linears(torch.cat([narrow, rest], 1), narrow, checked_wide=True)
        assert found.clean
        assert found.comparison is not None
        assert told == any("are not compared" in note for note in found.comparison.notes)


def test_weights_that_were_rounded_are_told_to_be() -> None:
    wide = torch.rand(8, 4)
    found = linears(wide, wide[:, :3].bfloat16().float())
    assert not found.clean
    assert found.comparison is not None
    assert any("outputs may want a larger tolerance" in note for note in found.comparison.notes)


def test_indices_are_words_of_embeddings_alone() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(100, 4)

        def forward(self, input: Tensor) -> Tensor:
            return self.table(input)

    class Odd(Words):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.side = nn.Linear(1, 8)
            self.table = nn.Embedding(100, 4)

    table = torch.rand(100, 4)
    other = {"side.weight": torch.rand(8, 1), "side.bias": torch.rand(8)}
    wrong = torch.cat([table[:1], torch.rand(99, 4)])
    found = cs.verify(
        {"table.weight": wrong}, Words, against={"table.weight": table, **other}, source_model=Odd
    )
    assert not found.clean


def test_a_stem_that_is_made_of_no_other_is_said_to_be() -> None:
    found = cs.verify(
        state(2, channels=1),
        lambda: ResNet(channels=1, layers=2),
        against=state(1),
        source_model=lambda: ResNet(layers=2),
        shape=(2, 1, 32, 32),
    )
    assert not found.clean
    assert found.comparison is not None
    assert any("is no part of the other's" in note for note in found.comparison.notes)


def test_the_same_weights_differ_by_nothing(ckpt: Ckpt) -> None:
    # A row of an embedding is moved; a convolution need not give the same bits twice.
    torch.save(nn.Embedding(11, 4, _weight=torch.rand(11, 4)).state_dict(), "a.pt")
    ran = ckpt("verify", "a.pt", "--model", "nets:Rows", "--against", "a.pt")
    assert ran.code == 0
    assert "output [2, 16, 4]  max diff 0  relative 0  cosine 1.000000  top-1 100%" in ran.out
    last = "clean: loads strictly, and the outputs agree exactly: difference 0"
    assert ran.out.splitlines()[-1] == last


def test_the_same_weights_agree_in_every_network(ckpt: Ckpt) -> None:
    torch.save(state(1), "a.pt")
    ran = ckpt("verify", "a.pt", *RESNET, "--against", "a.pt", *SMALL)
    assert ran.code == 0
    assert "top-1 100%  agrees" in ran.out
    assert "clean: loads strictly, and the outputs agree" in ran.out.splitlines()[-1]


def test_exchanged_tensors_of_one_shape_are_found(ckpt: Ckpt) -> None:
    tensors = state(1)
    torch.save(tensors, "a.pt")
    one, other = "layer1.0.bn1.weight", "layer1.0.bn2.weight"
    torch.save({**tensors, one: tensors[other], other: tensors[one]}, "b.pt")
    words = ("verify", "b.pt", *RESNET, "--against", "a.pt", *SMALL)
    ran = ckpt(*words)
    assert ran.code == 1
    assert "DIFFERS" in ran.out
    assert "1 different  outputs that disagree" in ran.out
    assert ckpt(*words, "--tolerance", "100").code == 0
    allowed = ckpt(*words, "--allow", "different")
    assert allowed.code == 0
    assert allowed.out.rstrip().endswith("the outputs DIFFER, which was allowed")


def test_json_holds_every_number(ckpt: Ckpt) -> None:
    tensors = state(1)
    torch.save(tensors, "a.pt")
    torch.save({**tensors, "fc.bias": tensors["fc.bias"] + 1}, "b.pt")
    ran = ckpt("verify", "b.pt", *RESNET, "--against", "a.pt", *SMALL, "--format", "json")
    compared = json.loads(ran.out)["comparison"]
    (delta,) = compared.pop("outputs")
    assert compared == {
        "source": "a.pt",
        "source_model": "nets:resnet",
        "input": [2, 3, 32, 32],
        "source_input": [2, 3, 32, 32],
        "seed": 0,
        "tolerance": 1e-5,
        "dtype": "float32",
        "notes": [],
    }
    assert delta["max_delta"] == pytest.approx(1, abs=1e-5)
    assert delta["shape"] == [2, 5]
    assert delta["top1_agreement"] == pytest.approx(1)
    assert not delta["within_tolerance"]


def test_what_does_not_load_is_not_compared(ckpt: Ckpt) -> None:
    torch.save(state(1), "a.pt")
    torch.save({**state(1), "extra": torch.rand(1)}, "b.pt")
    ran = ckpt("verify", "b.pt", *RESNET, "--against", "a.pt")
    assert ran.code == 1
    assert "the outputs are not compared, for it does not load" in ran.out
    ran = ckpt("verify", "b.pt", *RESNET, "--against", "a.pt", *SMALL, "--allow", "unexpected")
    assert ran.code == 0
    assert "the outputs agree" in ran.out.splitlines()[-1]


def test_another_head_is_told(ckpt: Ckpt) -> None:
    torch.save(state(1), "a.pt")
    other = {"fc.weight": torch.rand(9, 16), "fc.bias": torch.rand(9)}
    torch.save({**state(1), **other}, "b.pt")
    words = ("--model-args", '{"classes": 9}', "--source-model", "nets:resnet")
    ran = ckpt("verify", "b.pt", *RESNET, *words, "--against", "a.pt", *SMALL)
    assert ran.code == 1
    assert "output  the source gives [2, 5], this network [2, 9]" in ran.out


def test_outputs_are_told_by_name_and_buffers_have_their_values() -> None:
    tensors = {"linear.weight": torch.rand(3, 4), "linear.bias": torch.rand(3)}
    found = cs.verify(tensors, "nets:Rotary", against=tensors)
    assert not found.open_findings
    assert found.comparison is not None
    assert [delta.name for delta in found.comparison.deltas] == ["output.logits", "output.hidden.0"]


def test_not_a_number_never_agrees() -> None:
    tensors = {"linear.weight": torch.rand(3, 4), "linear.bias": torch.rand(3)}
    broken = {**tensors, "linear.bias": torch.full((3,), float("nan"))}
    found = cs.verify(broken, "nets:Rotary", against=tensors, allow=["nan"])
    assert [one.kind for one in found.open_findings] == [Kind.DIFFERENT]


GUESSES = {
    "nets:resnet": (
        "(2, 3, 224, 224)",
        "shape guessed from `conv1` (Conv2d); shape= says another",
    ),
    "nets:Rotary": ("(2, 4)", "shape guessed from `linear` (Linear); shape= says another"),
    "nets:Words": ("(2, 16)", "shape guessed from `embedding` (Embedding); shape= says another"),
}


@pytest.mark.parametrize("model", GUESSES)
def test_a_shape_is_guessed_and_told(model: str) -> None:
    from ckptsurgeon.factories import build_model

    tensors = build_model(model, device="cpu").state_dict()
    found = cs.verify(tensors, model, against=tensors, allow=["fresh"])
    assert not found.open_findings
    assert found.comparison is not None
    shape, note = GUESSES[model]
    assert (str(found.comparison.input_shape), found.comparison.notes[0]) == (shape, note)


def test_the_input_follows_the_seed() -> None:
    one, other = ({"weight": torch.rand(2, 3), "bias": torch.rand(2)} for _ in range(2))
    deltas = []
    for seed in (1, 1, 2):
        found = cs.verify(one, lambda: nn.Linear(3, 2), against=other, seed=seed)
        assert found.comparison is not None
        deltas.append(found.comparison.deltas[0].largest)
    again = pytest.approx(deltas[0], rel=1e-5)  # products of matrices
    assert deltas[1] == again
    assert deltas[2] != again


# --- transformers ---------------------------------------------------------------------------------


def test_files_of_transformers_are_loaded_by_transformers(ckpt: Ckpt) -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.ViTConfig(**sizes, intermediate_size=16, image_size=16, patch_size=8)
    transformers.ViTForImageClassification(config).save_pretrained("vit")
    words = ("verify", "vit", "--model", "transformers:vit")
    ran = ckpt(*words, "--against", "vit")
    assert ran.code == 0, ran.out + ran.err
    assert "[2, 3, 16, 16], float32, seed 0" in ran.out
    assert ran.err == ""
    tensors = load_file("vit/model.safetensors")
    tensors["extra"] = tensors.pop("classifier.bias")
    tensors["classifier.weight"] = torch.rand(3, 8)
    save_file(tensors, "vit/model.safetensors")
    ran = ckpt(*words, "--format", "json")
    assert (ran.code, ran.err) == (1, "")
    assert {kind: keys[0][0] for kind, keys in told(ran.out).items()} == {
        "mismatched": "classifier.weight",
        "missing": "classifier.bias",
        "unexpected": "extra",
    }


# --- trouble --------------------------------------------------------------------------------------

TROUBLE = {
    "nope.pt --model nets:resnet": "error: nope.pt: there is no such file",
    "a.pt --model nope.pt": "error: nope.pt: is no factory; wanted pkg.mod:name, transformers:FOLD",
    "a.pt": "Missing option '--model'",
    "nets:resnet --model nets:resnet": "error: nets:resnet: has shapes alone, and no values to ver",
    "a.pt --model nets:resnet --allow x": "error: --allow x: unknown\n  help: known: missing, ",
    "a.pt --model nets:resnet --input 1,a": "--input 1,a: wanted sizes, such as 1,3,224,224",
    "a.pt --model nets:resnet --input 1,0": "--input 1,0: wanted sizes, such as 1,3,224,224",
    "a.pt --model nets:resnet --model-args []": "--model-args []: its JSON is [], wanted an object",
    "a.pt --model nets:resnet --source-model x:y": "--source-model: is the network of --against",
    "a.pt --model nets:resnet --against a.pt --source-model-args {}": "there is no --source-model",
    "a.pt --model nets:resnet --tolerance -1": "Invalid value for '--tolerance'",
    "a.pt --model nets:resnet --against wide.pt": "error: wide.pt: does not load into nets:resnet: "
    "mismatched `conv1.weight`: is [8, 4, 7, 7] in the checkpoint, [8, 3, 7, 7] in the model; "
    "--source-model FACTORY names its network",
    "a.pt --model nets:resnet --against a.pt --input 3,3": "error: nets:resnet: failed on an input "
    "of [3, 3]: RuntimeError at conv.py",
    "bare.pt --model nets:Bare --against bare.pt": "error: no convolution, linear, recurrent or "
    "embedding layer tells the shape of an input; give it, such as --input 1,3,224,224",
    "mute.pt --model nets:Mute --against mute.pt": "error: nets:Mute: gave str, in which there is "
    "no tensor",
}


@pytest.mark.parametrize(("line", "said"), TROUBLE.items())
def test_what_can_not_be_tried_is_trouble(line: str, said: str, ckpt: Ckpt) -> None:
    torch.save(state(1), "a.pt")
    torch.save(state(1, channels=4), "wide.pt")
    torch.save({"scale": torch.rand(3)}, "bare.pt")
    torch.save({"weight": torch.rand(2, 2), "bias": torch.rand(2)}, "mute.pt")
    ran = ckpt("verify", *line.split(" "))
    assert ran.code == 2
    assert said in ran.err
    assert ran.out == ""


def test_a_module_in_the_working_folder_is_found_by_the_installed_command(tmp_path: Path) -> None:
    Path("mine.py").write_text("from torch import nn\n\ndef build():\n    return nn.Linear(2, 2)\n")
    torch.save({"weight": torch.rand(2, 2), "bias": torch.rand(2)}, "a.pt")
    code = "import sys; sys.path.remove(''); from ckptsurgeon.cli import main; main()"
    root = Path(cs.__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", code, "verify", "a.pt", "--model", "mine:build"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


def test_heads_of_other_widths_are_helped() -> None:
    found = cs.verify(
        ResNet(classes=7, layers=2).state_dict(),
        lambda: ResNet(classes=7, layers=2),
        against=state(1),
        source_model=lambda: ResNet(layers=2),
        shape=(1, 3, 32, 32),
    )
    (told,) = (one.text for one in found.findings if one.kind is Kind.DIFFERENT)
    assert "this network [1, 7]; another head? Let both factories leave it out" in told
    assert "allow=['unexpected']" in told
