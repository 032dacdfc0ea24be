"""Models by name: `pkg.mod:factory`, `transformers:FOLDER`, `timm:NAME`, as shapes alone."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers
from command_line import Ckpt, ckpt
from torch import nn

from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.factories import build_model, is_factory, open_factory
from ckptsurgeon.request import open_source

__all__ = ["ckpt"]

MODULE = """\
import socket, sys
import torch
from torch import nn

print("a module that talks")


def build(width, depth=2):
    return nn.Sequential(*[nn.Linear(width, width) for _ in range(depth)])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)
        self.b.weight = self.a.weight


class Places:
    @staticmethod
    def build():
        return nn.Linear(1, 2)


ready = nn.Linear(3, 4)
number = 3


def none():
    return None


def fails():
    raise ValueError("no luck")


def leaves():
    sys.exit(3)


def downloads():
    socket.create_connection(("127.0.0.1", 9), timeout=5)


def connects():
    socket.socket().connect(("127.0.0.1", 9))


def counts():
    return nn.Linear(int(torch.ones(3).sum()), 2)


def lazy():
    return nn.LazyLinear(3)
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with modules in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import nets\nimport no_such_thing\n")
    (tmp_path / "raising.py").write_text("1 / 0\n")


def specs(name: str, arguments: dict[str, Any] | None = None) -> dict[str, str]:
    contents = open_factory(name, arguments).contents
    return {key: str(spec) for key, spec in contents.specs.items()}


# --- the user's own -------------------------------------------------------------------------------


def test_a_function_a_class_and_a_model_are_factories() -> None:
    assert specs("nets:build", {"width": 3, "depth": 1}) == {
        "0.weight": "F32[3, 3]",
        "0.bias": "F32[3]",
    }
    assert specs("nets:Places.build") == {"weight": "F32[2, 1]", "bias": "F32[2]"}
    assert specs("nets:ready") == {"weight": "F32[4, 3]", "bias": "F32[4]"}


def test_a_factory_has_shapes_ties_and_versions_but_no_values() -> None:
    opened = open_factory("nets:Tied")
    assert not opened.has_values
    assert opened.contents.aliases == (("a.weight", "b.weight"),)
    assert opened.contents.module_metadata == {
        "": {"version": 1},
        "a": {"version": 1},
        "b": {"version": 1},
    }
    assert not open_factory("nets:ready").has_values


def test_a_model_of_any_size_takes_no_memory() -> None:
    assert specs("nets:build", {"width": 10**6, "depth": 1})["0.weight"] == "F32[1000000, 1000000]"


REFUSED = {
    "nope:build": "nope:build: is neither a file nor a factory: there is no module 'nope' here",
    "nets.sub:build": "nets.sub:build: is neither a file nor a factory: there is no module",
    "nets:biuld": "nets:biuld: nets has no 'biuld'; did you mean 'build'?",
    "nets:number": "nets:number: is int, which can't be called; name a function or class",
    "nets:none": "nets:none: gave NoneType, no torch.nn.Module; name a function or class",
    "nets:build": "nets:build: missing a required argument: 'width'; it takes (width, depth=2), "
    "which a name gives none of: give the model itself, `factory(width=…)`",
    "nets:fails": "nets:fails: failed on the meta device: ValueError at nets.py:",
    "nets:leaves": "nets:leaves: failed on the meta device: SystemExit at nets.py:",
    "nets:counts": "nets:counts: failed on the meta device: RuntimeError at ",
    "nets:downloads": "nets:downloads: failed on the meta device: ConnectionRefusedError",
    "nets:connects": "a factory is built without the network",
    "nets:lazy": "LazyLinear has lazy layers without shapes: ``; run a batch through it first",
    "broken:build": "broken:build: can't be imported: ModuleNotFoundError at broken.py:2",
    "raising:build": "raising:build: can't be imported: ZeroDivisionError at raising.py:1",
}


@pytest.mark.parametrize(("name", "told"), REFUSED.items())
def test_what_goes_wrong_is_told(name: str, told: str) -> None:
    with pytest.raises(CkptSurgeonError) as caught:
        open_source(name)
    assert told in str(caught.value)


def test_an_argument_that_the_factory_does_not_take_is_told() -> None:
    with pytest.raises(CkptSurgeonError, match="got an unexpected keyword argument 'widht'"):
        open_factory("nets:build", {"width": 3, "widht": 3})


def test_surroundings_are_restored() -> None:
    before: tuple[list[str], Callable[..., Any]] = list(sys.path), socket.getaddrinfo
    open_factory("nets:build", {"width": 1})
    assert (sys.path, socket.getaddrinfo) == before
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())


def test_a_model_is_built_on_other_devices_too() -> None:
    assert next(build_model("nets:build", {"width": 2}, "cpu").parameters()).device.type == "cpu"


def test_only_names_of_factories_are_taken_for_one() -> None:
    names = ("a:b", "a.b:c.d", "transformers:some/folder", "timm:vit_base.augreg")
    assert all(map(is_factory, names))
    others = ("a.pt", "a", "s3://bucket/key", r"C:\a.pt", "a:b/c", "a b:c", "1:b", "a:", ":b", "")
    assert not any(map(is_factory, others))


def test_a_file_of_that_name_goes_before_a_factory(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "nets:build")
    assert list(open_source("nets:build").contents.specs) == ["w"]


# --- libraries ------------------------------------------------------------------------------------


def bert_folder(folder: Path, **more: object) -> str:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 11}
    config = {"model_type": "bert", **sizes, "intermediate_size": 16, **more}
    (folder / "config.json").write_text(json.dumps(config))
    return f"transformers:{folder}"


def test_a_config_gives_its_architecture_or_else_the_bare_model(tmp_path: Path) -> None:
    name = bert_folder(tmp_path)
    bare = specs(name)
    assert bare["embeddings.word_embeddings.weight"] == "F32[11, 8]"
    bert_folder(tmp_path, architectures=["BertForMaskedLM"])
    assert specs(name)["bert.embeddings.word_embeddings.weight"] == "F32[11, 8]"
    bert_folder(tmp_path, architectures=["NoSuchModel"])
    assert specs(name) == bare


def models_of_transformers() -> list[transformers.PreTrainedModel]:
    """Models whose files differ from their state_dicts: in names, in joined tensors, in ties."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    vit = transformers.ViTConfig(**sizes, intermediate_size=16, image_size=16, patch_size=8)
    mixtral = transformers.MixtralConfig(
        **sizes, num_key_value_heads=2, intermediate_size=16, vocab_size=11, num_local_experts=3
    )
    return [
        transformers.ViTForImageClassification(vit),
        transformers.MixtralForCausalLM(mixtral),
        transformers.BertForMaskedLM(
            transformers.BertConfig(**sizes, intermediate_size=16, vocab_size=11)
        ),
    ]


def test_keys_and_shapes_are_those_of_files(tmp_path: Path) -> None:
    for model in models_of_transformers():
        folder = tmp_path / type(model).__name__
        model.save_pretrained(folder)
        found = open_factory(f"transformers:{folder}").contents
        assert dict(found.specs) == dict(open_source(folder).contents.specs)
        assert found.aliases == ()


def test_arguments_change_the_config(tmp_path: Path) -> None:
    found = specs(bert_folder(tmp_path), {"vocab_size": 13, "architectures": ["BertLMHeadModel"]})
    assert found["bert.embeddings.word_embeddings.weight"] == "F32[13, 8]"


def test_a_config_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CkptSurgeonError, match=r"there is no nowhere.config\.json; wanted its fol"):
        open_source("transformers:nowhere")


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this package uses of timm, whose import takes libraries that tests do without."""
    module: Any = ModuleType("timm")
    module.is_model = lambda name: name == "tiny_net"
    module.list_models = lambda: ["tiny_net"]
    module.create_model = lambda name, pretrained, **words: nn.Linear(2, words["num_classes"])
    monkeypatch.setitem(sys.modules, "timm", module)


@pytest.mark.usefixtures("timm")
def test_timm_is_asked_by_name() -> None:
    assert specs("timm:tiny_net", {"num_classes": 3}) == {"weight": "F32[3, 2]", "bias": "F32[3]"}
    with pytest.raises(
        CkptSurgeonError, match="timm has no model 'tiny_nte'; did you mean 'tiny_net'"
    ):
        open_factory("timm:tiny_nte")
    with pytest.raises(
        CkptSurgeonError, match="`pretrained` would download; give the file instead"
    ):
        open_factory("timm:tiny_net", {"pretrained": True})


# --- on the command line --------------------------------------------------------------------------


def test_a_factory_is_a_destination_and_is_planned_as_a_source(ckpt: Ckpt) -> None:
    torch.save({"0.weight": torch.rand(3, 3), "0.bias": torch.rand(3)}, "a.pt")
    arguments = ("--into", "nets:build", "--model-args", '{"width": 3, "depth": 1}')
    ran = ckpt("transplant", "a.pt", *arguments, "-o", "b.safetensors")
    assert ran.code == 0, ran.err
    assert "nets:build  memory, 2 tensors, 48 B, shapes only" in ran.out
    assert "a module that talks" not in ran.out
    planned = ckpt("plan", "nets:build", *arguments[2:], "--into", "b.safetensors")
    assert planned.code == 0, planned.out
    written = ckpt("transplant", "nets:build", *arguments[2:], "-o", "c.safetensors")
    assert written.code == 2
    assert "nets:build: holds shapes alone, no values" in written.err
    assert not Path("c.safetensors").exists()


def test_a_saved_plan_runs_no_factory_unless_it_is_named(ckpt: Ckpt) -> None:
    torch.save(nn.Linear(1, 2).state_dict(), "a.pt")
    factory = ("--into", "nets:Places.build")
    assert ckpt("plan", "a.pt", *factory, "-o", "plan.json").code == 0
    words = ("transplant", "a.pt", "--plan", "plan.json", "-o", "b.pt")
    refused = ckpt(*words)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        "error: plan.json: was made for the model nets:Places.build, which is code, and plans run "
        "none; name it by --into DST\n"
    )
    ran = ckpt(*words, *factory)
    assert ran.code == 0, ran.err


def test_code_that_a_strangers_plan_names_is_not_run(ckpt: Ckpt) -> None:
    torch.save(nn.Linear(1, 2).state_dict(), "a.pt")
    assert ckpt("plan", "a.pt", "--into", "a.pt", "-o", "plan.json").code == 0
    saved = json.loads(Path("plan.json").read_text())
    for view in ("sources", "destination"):
        hostile = {**saved, "destination": dict(saved["destination"])}
        hostile["sources"] = [dict(saved["sources"][0])]
        (hostile[view][0] if view == "sources" else hostile[view])["path"] = "owned:run"
        Path("plan.json").write_text(json.dumps(hostile, separators=(",", ":")))
        Path("owned.py").write_text("open('ran', 'w')\ndef run(): pass\n")
        ran = ckpt("transplant", "--plan", "plan.json", "-o", "b.pt")
        assert (ran.code, "owned:run, which is code" in ran.err) == (2, True), ran.err
    assert not Path("ran").exists()


USAGE = {
    "plan a.pt --model-args {}": "--model-args: neither --into DST nor SRC is a factory, as pkg.",
    "diff a.pt a.pt --model-args {}": "--model-args: neither B nor A is a factory, as pkg.mod:name",
    "suggest a.pt a.pt --model-args {}": "--model-args: neither DST nor SRC is a factory, as pkg.",
    "plan a.pt --into nets:build --model-args [3]": "--model-args [3]: its JSON is [3], wanted an",
    "plan a.pt --into nets:build --model-args {3": "--model-args {3: its JSON can't be read",
    "plan a.pt --into nets:build": "missing a required argument: 'width'",
}


@pytest.mark.parametrize(("line", "told"), USAGE.items())
def test_arguments_that_can_not_be_used_are_trouble(line: str, told: str, ckpt: Ckpt) -> None:
    torch.save({"w": torch.ones(1)}, "a.pt")
    ran = ckpt(*line.split(" "))
    assert ran.code == 2
    assert told in ran.err
