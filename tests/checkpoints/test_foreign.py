"""Files of formats that are not read: what each is called, and the way out that is told."""

from __future__ import annotations

import glob
import io
import json
import pickle
import re
import shlex
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from ckptsurgeon.checkpoints.foreign.files import describe_file, refuse_likeness
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.wording import speaking_to_shell


def refusal(path: Path) -> str:
    """What is said of a path, behind its name."""
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    words = str(caught.value)
    assert words.startswith(f"{path}: ")
    return words[len(f"{path}: ") :]


def field(number: int, value: int | bytes) -> bytes:
    """A field of a protobuf message: a number, or a text or message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    head = b""
    while value > 0x7F:
        head, value = head + bytes([value & 0x7F | 0x80]), value >> 7
    return head + bytes([value])


def tar_of(**members: bytes) -> bytes:
    """A tar archive, its members in order; two underscores stand for a dot."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo("./" + name.replace("__", "."))
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def model_of_onnx(**words: Any) -> bytes:
    weight = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    node = helper.make_node("Identity", ["w"], ["y"])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    graph = helper.make_graph([node], "g", [], [output], [weight])
    return helper.make_model(graph, **words).SerializeToString()


def joblib_pickle(protocol: int) -> bytes:
    """The start of what joblib.dump writes: its wrapper, then the array's bytes as they are."""
    known = {
        2: b"\x80\x02}q\0X\1\0\0\0wq\1cjoblib.numpy_pickle\nNumpyArrayWrapper\nq\2)\x81q\3}q\4",
        4: b"\x80\4\x95\xb0\0\0\0\0\0\0\0}\x94(\x8c\1w\x94\x8c\x13joblib.numpy_pickle\x94\x8c"
        b"\x11NumpyArrayWrapper\x94\x93\x94)\x81\x94}\x94(\x8c\x08subclass\x94",
    }
    return known[protocol] + b"\xff" * 400


FEATURE = field(1, field(1, b"image") + field(3, field(5, b"")))
NODE = field(1, b"conv1/weights") + field(2, b"Const") + field(5, b"dtype")
TENSOR = field(1, 2) + field(2, b"Float32") + field(3, bytes(8))
BLOCK = field(1, 0) + field(2, -1) + field(3, field(1, b"w"))
LAYER = field(1, b"conv1") + field(2, b"Convolution")

FILES: Mapping[str, tuple[bytes, str, str]] = {
    "onnx": (model_of_onnx(producer_name="pytorch"), "m.bin", "an ONNX model|onnx.load("),
    "onnx without a producer": (model_of_onnx(), "m.pt", "an ONNX model"),
    "onnx with a text": (model_of_onnx(doc_string="about", domain="d"), "m", "an ONNX model"),
    "onnx cut": (b"\x08\7\x12\7pytorch\x1a\x052.1.0:\xff\xff\3\n\x0e", "m", "an ONNX model"),
    "coreml": (b"\x08\4\x12\x9c\1\n\5input" + b"\1" * 40, "m.bin", "CoreML|get_weights_metadata"),
    "coreml 1": (field(1, 1) + field(2, FEATURE) + field(500, b"\n\0"), "m.bin", "CoreML"),
    "coreml 7": (field(1, 7) + field(2, FEATURE * 2) + field(502, b"\n\0"), "m.bin", "CoreML"),
    "saved model": (b"\x08\1\x12\xc4\1\n\x80\1" + b"\1" * 30, "m.pb", "SavedModel of TensorFlow"),
    "saved_model.pb": (b"what", "saved_model.pb", "SavedModel of TensorFlow|load_checkpoint("),
    "saved model, real": (
        field(1, 1) + field(2, field(1, field(2, b"ops")) + field(2, b"graph")),
        "m",
        "SavedModel of TensorFlow",
    ),
    "frozen graph": (field(1, NODE) * 3, "frozen.pb", "a graph of TensorFlow|tensorflow.make_nd"),
    "mindspore": (
        field(1, field(1, b"conv.weight") + field(2, TENSOR)),
        "m.ckpt",
        "MindSpore|mindspore.load_checkpoint(",
    ),
    "paddle": (field(1, BLOCK), "m.pdmodel", "PaddlePaddle|paddle.jit.load("),
    "paddle's weights": (
        bytes(16) + struct.pack("<i", 8) + b"\x08\5\x10\3" + bytes(12),
        "m.pdiparams",
        "PaddlePaddle",
    ),
    "caffe": (field(1, b"VGG") + field(100, LAYER), "m.caffemodel", "Caffe|caffe.Net("),
    "caffe 1": (field(1, b"CaffeNet") + field(2, field(2, b"\n\0")), "m.bin", "Caffe"),
    "caffe without a name": (field(100, LAYER) * 2, "m.bin", "Caffe"),
    "tf index": (bytes(48) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", "m.index", "load_checkpoint("),
    "tf checkpoint of old": (
        b"\0\1\2" * 40 + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb",
        "model.ckpt",
        "a checkpoint of TensorFlow",
    ),
    "tf data": (b"\1" * 50, "model.ckpt-10.data-00000-of-00001", "model.ckpt-10')] for k in"),
    "tf's checkpoint": (
        b'model_checkpoint_path: "model.ckpt-7"\nall_model_checkpoint_paths: "x"\n',
        "checkpoint",
        "model.ckpt-7')] for k in",
    ),
    "tf meta": (b"\n\xc3\1\n", "model.ckpt-10.meta", "the graph (.meta)"),
    "flax": (
        b"\x81\xa6params\x81\xa7Dense_0\x82\xa4bias\xc7\x10\1" + bytes(16),
        "flax_model.msgpack",
        "a msgpack file of Flax|msgpack_restore(",
    ),
    "flax of many names": (b"\xde\0\x14\xd9\x21" + b"n" * 33 + b"\xc7", "m.bin", "Flax"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(60), "model.h5", "an HDF5 file|h5py.File("),
    "joblib": (joblib_pickle(4), "m.pkl", "joblib|joblib.load("),
    "joblib of protocol 2": (joblib_pickle(2), "m.bin", "joblib"),
    "joblib, compressed little": (b"x^k`\x99z\x99\1\2b\xa7\xf4\x08g", "m.joblib", "joblib"),
    "joblib, compressed": (b"x\x9c\1\2\3\4", "m.joblib", "joblib"),
    "gguf": (b"GGUF\3\0\0\0", "m.gguf", "a GGUF file|gguf_file='m.gguf'"),
    "ggml": (b"lmgg\0\0\0\0", "ggml-base.bin", "ggml from before GGUF"),
    "ggjt": (b"tjgg\3\0\0\0", "m.bin", "ggml from before GGUF|convert_llama_ggml_to_gguf.py"),
    "ggla": (b"algg\1\0\0\0", "adapter.bin", "ggml from before GGUF"),
    "ggmf": (b"fmgg\1\0\0\0", "m.bin", "ggml from before GGUF"),
    "fasttext": (struct.pack("<ii", 793712314, 12), "lid.bin", "fastText|get_input_matrix()"),
    "word vectors": (b"3000000 300\n</s> \x80\x81\xff", "vectors.bin", "word2vec|gensim"),
    "word vectors in text": (b"400000 50\nthe 0.418 0.24968\n", "wiki.vec", "word2vec"),
    "openvino": (b'<?xml version="1.0" ?>\n<net name="r" version="10">', "m.xml", "OpenVINO"),
    "openvino alone": (b'<net name="resnet" version="11">', "m.xml", "openvino.Core().read_model("),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied', "m.pt", "an XML document"),
    "tflite": (b"\x1c\0\0\0TFL3\0\0", "m.tflite", "TensorFlow Lite"),
    "torchscript for mobiles": (b"(\0\0\0PTMF\0\0", "m.ptl", "TorchScript model for mobiles"),
    "executorch": (b"\x1c\0\0\0ET12\0\0", "m.pte", "ExecuTorch"),
    "onnxruntime": (b"\x1c\0\0\0ORTM\0\0", "m.ort", "ONNX Runtime"),
    "mxnet": (struct.pack("<QQQ", 0x112, 0, 3), "resnet-0000.params", "MXNet|mxnet.nd.load("),
    "darknet": (struct.pack("<iiiq", 0, 2, 5, 32013312), "yolov3.weights", "Darknet|.cfg"),
    "darknet of old": (struct.pack("<iiii", 0, 1, 0, 492), "m.bin", "Darknet"),
    "matlab": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "m.mat", "MATLAB|scipy.io.loadmat("),
    "matlab 4": (struct.pack("<5i", 0, 1, 3, 0, 4) + b"vec", "m.mat", "MATLAB"),
    "matlab 7.3": (b"MATLAB 7.3 MAT-file, Platform: GLNXA64", "m.mat", "MATLAB 7.3|h5py.File("),
    "tensorrt": (b"ftrt\0\0\0\1", "m.engine", "an engine of TensorRT"),
    "tensorrt by name": (b"\xa0\xa1\xa2", "m.plan", "an engine of TensorRT"),
    "tensorrt of ultralytics": (b'\x40\1\0\0{"description": "', "m.engine", "TensorRT"),
    "torch7": (b"\4\0\0\0\1\0\0\0\3\0\0\0V 1\x0d\0\0\0nn.Sequential", "m.t7", "Torch7|torchfile"),
    "kaldi": (b"\0B<Nnet3> ", "final.mdl", "Kaldi"),
    "ncnn": (b"7767517\n75 83\n", "m.param", "ncnn"),
    "rknn": (b"RKNN\0\0\0\0", "m.rknn", "RKNN"),
    "program": (b"\x7fELF\2\1\1", "m.llamafile", "a program"),
    "nemo": (
        tar_of(model_config__yaml=b"a: 1", model_weights__ckpt=b"x"),
        "m.nemo",
        "NeMo|tar -xf",
    ),
    "tar": (tar_of(readme=b"x", best__pth=b"y" * 2000, z=b""), "m.pth.tar", "best.pth`, and give"),
    "torch before 0.2": (
        tar_of(sys_info=b"", pickle=b"", tensors=b"", storages=b""),
        "m.pt",
        "torch before 0.2|weights_only=False",
    ),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "m.7z", "a 7z archive|`7z x`"),
    "rar": (b"Rar!\x1a\7\1\0", "m.rar", "a rar archive"),
    "gzip": (b"\x1f\x8b\x08\0", "m.pt.gz", "gzip|`gunzip`"),
    "lz4": (b"\x04\x22\x4d\x18d@", "m.lz4", "lz4"),
    "lzma": (b"\x5d\0\0\x80\0\xff", "m.lzma", "lzma"),
    "a rule file": (
        b"format: 1\nrules:\n  - a -> b\n",
        "r.yaml",
        "a rule file, no checkpoint|`rules`",
    ),
    "rules": (b"# x\n- a.* -> b.*\n", "r.yaml", "a rule file"),
    "yaml": (b"# params\nlr: 0.1\nlayers: [1, 2]\n", "hparams.yaml", "is YAML, no checkpoint"),
    "text": (b"Invalid username or password.", "m.bin", "text, no checkpoint: it begins with"),
    "text in utf-8": ("größer".encode() * 2000, "m.pt", "is text"),
    "a distcp": (b"PK\3\4", "__0_0.distcp", "(DCP)|dcp_to_torch"),
    "DCP's .metadata": (
        b"\x80\4\x95\0\0\0\0\0\0\0\0\x8c&torch.distributed.checkpoint.metadata\x94\x8c\x08Metadata",
        ".metadata",
        "one file of a checkpoint of torch.distributed.checkpoint (DCP)",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_file_is_named(kind: str, tmp_path: Path) -> None:
    content, name, wanted = FILES[kind]
    (tmp_path / name).write_bytes(content)
    found = refusal(tmp_path / name)
    for words in wanted.split("|"):
        assert words in found


PLAN = {"ckptsurgeon_plan": 3, "sources": []}
JSONS: Mapping[str, tuple[dict[str, Any], str]] = {
    "config.json": ({"architectures": ["GPT2"], "model_type": "gpt2"}, "the config of a model"),
    "model_index.json": ({"_class_name": "F", "_diffusers_version": "0.3"}, "diffusers"),
    "adapter_config.json": ({"peft_type": "LORA", "r": 8}, "the config of an adapter"),
    "generation_config.json": ({"eos_token_id": 3}, "it is a config"),
    "tokenizer.json": ({"version": "1", "added_tokens": [], "model": {}}, "a tokenizer"),
    "trainer_state.json": ({"global_step": 4, "log_history": []}, "the state of a trainer"),
    "params.json": ({"dim": 4096, "n_layers": 32}, "the params of a model"),
    "model.json": ({"modelTopology": {}, "weightsManifest": []}, "TensorFlow.js"),
    "inference.json": ({"base_code": {}, "program": {}}, "PaddlePaddle"),
    "m-symbol.json": ({"nodes": [], "arg_nodes": [], "heads": []}, "MXNet"),
    "plan.json": (PLAN, "which `transplant` runs on a source"),
    "answer.json": ({"error": "Repository not found"}, "fetch the file again"),
    "what.json": ({"lr": 0.1}, "neither a spec nor an index with a weight_map: 'lr': 0.1, wanted"),
}


@pytest.mark.parametrize("name", JSONS)
def test_json_is_named(name: str, tmp_path: Path) -> None:
    entries, words = JSONS[name]
    (tmp_path / name).write_text(json.dumps(entries))
    found = refusal(tmp_path / name)
    assert found.startswith("is JSON, but n")
    assert words in found


ZIPS: Mapping[str, tuple[list[str], str]] = {
    "keras": (
        ["metadata.json", "config.json", "model.weights.h5"],
        "Keras|keras.saving.load_model",
    ),
    "stable-baselines3": (
        ["data", "policy.optimizer.pth", "policy.pth", "_stable_baselines3_version"],
        "unpack it by `unzip |policy.pth`, and give",
    ),
    "in a folder": (["run/config.yaml", "run/best model.ckpt"], "'run/best model.ckpt'`"),
    "torch.package": (
        ["m/.data/0.storage", "m/model/model.pkl", "m/.data/extern_modules", "m/byteorder"],
        "torch.package|PackageImporter(",
    ),
    "torch.export": (["m/data/weights/weight_0", "m/archive_format"], "torch.export|export.load("),
    "torch.export of old": (["version", "serialized_exported_program.json"], "torch.export"),
    "torchserve": (["MAR-INF/MANIFEST.json", "model.pt"], "TorchServe"),
    "coreml": (["m.mlpackage/Data/com.apple.CoreML/model.mlmodel"], "CoreML"),
    "nothing": ([], "it is empty"),
    "others": (["readme.txt"], "it holds 'readme.txt'"),
}


@pytest.mark.parametrize("kind", ZIPS)
def test_zip_is_named(kind: str, tmp_path: Path) -> None:
    names, wanted = ZIPS[kind]
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    found = refusal(tmp_path / "m.pt")
    for words in wanted.split("|"):
        assert words in found


# --- the ways out ---------------------------------------------------------------------------------


def call(words: str, folder: Path, names: str) -> None:
    """Runs the call that a message tells, in a folder, where these names are imported."""
    code = words.partition("`")[2].partition("`")[0]
    subprocess.run([sys.executable, "-c", f"import {names}; {code}"], cwd=folder, check=True)


def test_onnx_comes_out_as_told(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(model_of_onnx())
    call(refusal(tmp_path / "m.onnx"), tmp_path, "onnx, numpy")
    found = open_checkpoint(tmp_path / "out.npz").read("w")
    assert found.view(np.float32).tolist() == [[1.0] * 3] * 2


def test_a_program_of_torch_export_comes_out_as_told(tmp_path: Path) -> None:
    program = torch.export.export(nn.Linear(3, 2), (torch.ones(1, 3),))
    torch.export.save(program, tmp_path / "m.pt2")
    call(refusal(tmp_path / "m.pt2"), tmp_path, "torch")
    assert set(open_checkpoint(tmp_path / "out.pt").contents.specs) == {"weight", "bias"}


def test_a_package_of_torch_is_named(tmp_path: Path) -> None:
    with torch.package.PackageExporter(tmp_path / "m.pt") as package:
        package.save_pickle("model", "model.pkl", {"w": torch.ones(2)})
    assert "is an archive of torch.package" in refusal(tmp_path / "m.pt")


STRANGE = ["a<name>b;touch owned;", "x'; touch owned; '", "$(touch owned)", "k[1]"]


@pytest.mark.parametrize("name", STRANGE)
def test_commands_quote_what_strangers_name(name: str, tmp_path: Path) -> None:
    """The words of a command are what a shell makes of it: a path stays one word."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / ".metadata").write_bytes(b"x")
    shards = tmp_path / name / "shards"
    shards.mkdir()
    empty = struct.pack("<Q", 2) + b"{}"
    for number in (1, 2):
        (shards / f"model-{number:05}-of-00002.safetensors").write_bytes(empty)
    command = refusal(folder).split("`")[1]
    assert shlex.split(command)[-2:] == [str(folder), "OUT.pt"]
    with speaking_to_shell():
        given = re.search(r"`(--source .*?)`, whose", refusal(shards), re.DOTALL)
    assert given is not None
    pattern = shlex.split(given[1])[1].removeprefix("s*=")
    assert sorted(glob.glob(pattern)) == sorted(map(str, shards.iterdir()))


@pytest.mark.parametrize("named", [b".", b"..", b"../../x", b"a/..", b""])
def test_a_pointer_of_tensorflow_leads_to_no_other_folder(named: bytes, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(b'model_checkpoint_path: "' + named + b'"\n')
    assert f"{tmp_path}/.." not in refusal(tmp_path / "checkpoint")


@pytest.mark.parametrize("name", ["--to-command=touch owned;.pth", "-d x.pt"])
def test_members_that_look_like_options_are_no_advice(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, "x")
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo(name))
    assert "unzip" not in refusal(tmp_path / "a.zip")
    assert name not in refusal(tmp_path / "a.tar")


# --- what is read is taken for nothing else -------------------------------------------------------


@pytest.mark.parametrize("name", ["m.onnx", "m.plan", "m.weights", "m.index", "m.mat", "m.gguf"])
@pytest.mark.parametrize("kind", ["torch", "legacy", "npz", "safetensors"])
def test_content_goes_before_names_of_others(kind: str, name: str, tmp_path: Path) -> None:
    import safetensors.torch

    tensors = {"joblib.numpy_pickle": torch.ones(2), "NumpyArrayWrapper": torch.ones(1)}
    path = tmp_path / name
    if kind == "safetensors":
        safetensors.torch.save_file(tensors, path)
    elif kind == "npz":
        with path.open("wb") as file:
            np.savez(file, **{key: one.numpy() for key, one in tensors.items()})
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "torch")
    assert set(open_checkpoint(path).contents.specs) == set(tensors)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_pickle_of_another_kind_is_not_joblib(protocol: int, tmp_path: Path) -> None:
    head = pickle.dumps({"joblib.numpy_pickle": "NumpyArrayWrapper", "x": [1, 2, 3]}, protocol)
    refuse_likeness(tmp_path / "m.pkl", head)
    with pytest.raises(CheckpointError, match="a pickle of joblib"):
        refuse_likeness(tmp_path / "m.pkl", joblib_pickle(4))


@pytest.mark.parametrize(
    "content",
    [
        b"\n" * 4000 + b"!",
        b"#\n" * 2000 + b"!",
        b"- " * 2000,
        b" " * 4000,
        b"<?xml>" + b"<!--" * 900,
    ],
)
def test_texts_that_match_nothing_are_told_at_once(content: bytes) -> None:
    """Each would take years, were a pattern not linear in its text."""
    assert describe_file(content, Path("m.pt"))


def test_an_unpacked_file_of_torch_is_packed_again_as_told(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "w.pt") as archive:
        archive.extractall(tmp_path / "out")
    for path in (tmp_path / "out/w", tmp_path / "out/w/data.pkl"):
        with pytest.raises(CheckpointError, match="unpacked, which is not read: pack its") as told:
            open_checkpoint(path)
        (command,) = re.findall(r"`python (.*?)`", str(told.value))
        given = command.replace("OUT.pt", str(tmp_path / "again.pt"))
        subprocess.run([sys.executable, *shlex.split(given)], check=True)
        assert list(open_checkpoint(tmp_path / "again.pt").contents.specs) == ["w"]


@pytest.mark.parametrize("before", ["", "top/"])
def test_a_file_of_torch_in_a_zip_of_other_folders(before: str, tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "w.pt")
    with (
        zipfile.ZipFile(tmp_path / "w.pt") as archive,
        zipfile.ZipFile(tmp_path / "a.pt", "w") as other,
    ):
        for name in archive.namelist():
            packed = f"{before}{name}" if before else name.partition("/")[2]
            other.writestr(packed, archive.read(name))
    with pytest.raises(CheckpointError, match=r"pack the folder of data\.pkl"):
        open_checkpoint(tmp_path / "a.pt")


def test_shards_in_a_zip_are_unpacked_together(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in (1, 2):
            archive.writestr(f"m/model-0000{number}-of-00002.safetensors", b"")
    with pytest.raises(CheckpointError, match=r"unzip .*a\.zip -d OUT`, and give the folder of"):
        open_checkpoint(tmp_path / "a.zip")
