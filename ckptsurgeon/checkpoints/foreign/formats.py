"""The formats that are not read: what each is called, and how its weights come out of it.

In the words, `<path>` stands for the file or folder as a shell takes it, `<text>` for it as Python
does, `<folder>` and `<name>` for the two parts of the latter, `<stem>` for it without its suffix.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

SAVED = "save its tensors by `numpy.savez('out.npz', **{})`"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A format: its name with the article, and the way out of it."""

    name: str
    way: str

    def describe(self, path: Path) -> str:
        """Words that follow a path: `is an ONNX model, which is not read: …`."""
        texts = {
            "<path>": shlex.quote(str(path)),
            "<text>": repr(str(path)),
            "<absolute>": repr(str(path.absolute())),
            "<folder>": repr(str(path.parent)),
            "<name>": repr(path.name),
            "<stem>": repr(str(path.with_suffix(""))),
        }
        marks = re.compile("|".join(texts))  # in one pass: a path may look like a mark
        way = marks.sub(lambda found: texts[found[0]], self.way)
        return f"is {self.name}, which is not read: {way}"


def _saved(name: str, arrays: str, otherwise: str = "") -> Foreign:
    """A format whose tensors a Python expression gives as a dict of arrays, of any layout."""
    return Foreign(name, SAVED.replace("{}", arrays) + (f", {otherwise}" if otherwise else ""))


EXPORTED = "give the checkpoint that it was made from"
ELSE = f"or {EXPORTED}"

# --- of training ----------------------------------------------------------------------------------

DCP = Foreign(
    "a checkpoint of torch.distributed.checkpoint (DCP)",
    "convert it by "
    "`python -m torch.distributed.checkpoint.format_utils dcp_to_torch <path> OUT.pt`",
)
DCP_FILE = Foreign(
    "one file of a checkpoint of torch.distributed.checkpoint (DCP)",
    "convert the folder that it lies in by "
    "`python -m torch.distributed.checkpoint.format_utils dcp_to_torch <folder> OUT.pt`",
)
DCP_CUT = Foreign(
    "a checkpoint of torch.distributed.checkpoint (DCP) without its .metadata",
    "fetch that file, too, which says where the tensors lie, and convert the folder by "
    "`python -m torch.distributed.checkpoint.format_utils dcp_to_torch <path> OUT.pt`",
)
DEEPSPEED = Foreign(
    "a checkpoint of DeepSpeed, in pieces for its ranks",
    "make one of it by `python <path>/zero_to_fp32.py <path> OUT`, and give OUT",
)
DEEPSPEED_BARE = Foreign(
    DEEPSPEED.name,
    "make one of it by `python -m deepspeed.utils.zero_to_fp32 <path> OUT`, and give OUT",
)
DEEPSPEED_STEP = Foreign(
    "one step of a checkpoint of DeepSpeed, in pieces for its ranks",
    "make one of it by the zero_to_fp32.py of the folder above, "
    "`python zero_to_fp32.py . OUT -t <name>`, and give OUT",
)
DEEPSPEED_LAYERS = Foreign(
    "a step of DeepSpeed's pipeline, with files for each layer",
    "name them together as a source with a star, `s*=<path>/layer_*-model_00-model_states.pt` "
    "(model_01 for the next rank), and give each its place by rules",
)
MEGATRON = Foreign(
    "a checkpoint of Megatron-LM",
    "give the model_optim_rng.pt of an iteration in it",
)
MEGATRON_RANKS = Foreign(
    "a checkpoint of Megatron-LM, in pieces for its ranks",
    "make one rank of it by Megatron-LM's `tools/checkpoint/convert.py "
    "--target-tensor-parallel-size 1 --target-pipeline-parallel-size 1`, or name all as a source "
    "with a star, `s*=<path>/mp_rank_*/model_optim_rng.pt`, and join them by rules",
)
NEMO = Foreign(
    "an archive of NeMo (a tar)", "unpack it by `tar -xf <path>`, and give the checkpoint in it"
)
UNPACKED = Foreign(
    "what a file of torch.save holds, unpacked",
    "pack its folder again by `python -m zipfile -c OUT.pt <path>`, and give OUT.pt",
)
REPACKED = Foreign(
    "what a file of torch.save holds, in a zip of other folders",
    "unpack it by `python -m zipfile -e <path> OUT`, pack the folder of data.pkl again by "
    "`python -m zipfile -c OUT.pt FOLDER`, and give OUT.pt",
)
TORCH_TAR = Foreign(
    "a file of torch before 0.2 (a tar)",
    "if you trust it, for that runs its code, save it again by "
    "`torch.save(torch.load(<text>, weights_only=False), 'out.pt')`",
)
TORCH7 = Foreign(
    "a file of Lua's Torch7", "load it by `torchfile.load(<text>)`, and save its tensors again"
)
TORCH_PACKAGE = Foreign(
    "an archive of torch.package",
    "if you trust it, for that runs its code, load what it holds by "
    "`torch.package.PackageImporter(<text>).load_pickle(…)`, and save its state_dict by torch.save",
)
EXPORTED_PROGRAM = Foreign(
    "a program of torch.export",
    "save its tensors by `torch.save(dict(torch.export.load(<text>).state_dict), 'out.pt')`",
)
AOT_PACKAGE = Foreign("a package of AOTInductor, compiled", EXPORTED)
JOBLIB = Foreign(
    "a pickle of joblib",
    "if you trust it, for that runs its code, load it by `joblib.load(<text>)`, and save its "
    "arrays by numpy.savez",
)

# --- of other frameworks --------------------------------------------------------------------------

_TENSORFLOW = (
    "{{k: r.get_tensor(k) for r in [tensorflow.train.load_checkpoint({})] "
    "for k in r.get_variable_to_shape_map() if not k.startswith('_')}}"
)


_LATEST = re.compile(rb'model_checkpoint_path: "(?:[^"\n]*/)?(\w[\w.-]*)"', re.ASCII)


def find_latest(head: bytes) -> str:
    """The last checkpoint that TensorFlow's file `checkpoint` names; "" where it is none."""
    found = _LATEST.match(head)
    return found[1].decode("ascii") if found else ""


def tensorflow_checkpoint(prefix: Path) -> Foreign:
    """TensorFlow's checkpoint whose files begin with a prefix."""
    return _saved("a checkpoint of TensorFlow", _TENSORFLOW.format(repr(str(prefix))))


def saved_model(folder: Path) -> Foreign:
    """TensorFlow's SavedModel in a folder."""
    prefix = repr(str(folder / "variables" / "variables"))
    return _saved("a SavedModel of TensorFlow", _TENSORFLOW.format(prefix))


FROZEN_GRAPH = _saved(
    "a graph of TensorFlow",
    "{n.name: tensorflow.make_ndarray(n.attr['value'].tensor) for n in "
    "tensorflow.compat.v1.GraphDef.FromString(open(<text>, 'rb').read()).node if n.op == 'Const'}",
)
META_GRAPH = Foreign(
    "the graph (.meta) of a checkpoint of TensorFlow",
    "its values lie in the files beside it; give their common name, without .meta",
)
TFLITE = Foreign("a model of TensorFlow Lite", EXPORTED)
KERAS = _saved(
    "a model of Keras",
    "{v.path: v.numpy() for v in keras.saving.load_model(<text>).variables}",
)
HDF5 = Foreign(
    "an HDF5 file (Keras .h5, PyTables)",
    "read its datasets by `h5py.File(<text>).visititems(print)` and `h5py.File(<text>)[NAME][()]`, "
    "and save them by numpy.savez",
)
FLAX = Foreign(
    "a msgpack file of Flax",
    "save its tensors by `safetensors.flax.save_file(flax.traverse_util.flatten_dict("
    "flax.serialization.msgpack_restore(open(<text>, 'rb').read()), sep='/'), 'out.safetensors')`",
)
ORBAX = Foreign(
    "a checkpoint of Orbax",
    "save its tensors by `safetensors.flax.save_file(flax.traverse_util.flatten_dict("
    "orbax.checkpoint.PyTreeCheckpointer().restore(<absolute>), sep='/'), 'out.safetensors')`",
)
ZARR = Foreign("a store of zarr arrays", "read them by `zarr.open(<text>)`, and save them again")
PADDLE = _saved(
    "a model of PaddlePaddle for inference",
    "{k: v.numpy() for k, v in paddle.jit.load(<stem>).state_dict().items()}",
    "or give the .pdparams of its training",
)
MXNET = _saved(
    "a file of MXNet's arrays",
    "{k: v.asnumpy() for k, v in mxnet.nd.load(<text>).items()}",
)
MINDSPORE = _saved(
    "a checkpoint of MindSpore",
    "{k: v.asnumpy() for k, v in mindspore.load_checkpoint(<text>).items()}",
)
CAFFE = _saved(
    "a model of Caffe",
    "{f'{n}.{i}': b.data for n, bs in caffe.Net('deploy.prototxt', <text>, caffe.TEST)"
    ".params.items() for i, b in enumerate(bs)}",
)
DARKNET = Foreign(
    "Darknet's .weights, numbers without names",
    "only its .cfg says what they are: read both by `cv2.dnn.readNetFromDarknet(CFG, <text>)`, and "
    "save the blobs of its layers",
)
MATLAB = _saved(
    "a .mat file of MATLAB",
    "{k: v for k, v in scipy.io.loadmat(<text>).items() if not k.startswith('__')}",
)
MATLAB_HDF5 = Foreign(
    "a .mat file of MATLAB 7.3, an HDF5 file",
    "read its datasets by `h5py.File(<text>)[NAME][()]`, and save them by numpy.savez",
)
FASTTEXT = _saved(
    "a model of fastText",
    "{'input': (m := fasttext.load_model(<text>)).get_input_matrix(), "
    "'output': m.get_output_matrix()}",
)
WORD2VEC = Foreign(
    "a file of word vectors (word2vec, GloVe, .vec)",
    "read it by `gensim.models.KeyedVectors.load_word2vec_format(<text>)` "
    "(`binary=True` for .bin), and save its `.vectors` by numpy.savez",
)
KALDI = Foreign(
    "a model of Kaldi", "write it as text by `nnet3-copy --binary=false`, and read that"
)

# --- for inference --------------------------------------------------------------------------------

ONNX = _saved(
    "an ONNX model",
    "{i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(<text>).graph.initializer}",
    ELSE,
)
ORT = Foreign(
    "an ONNX model in ONNX Runtime's own format (.ort)", "give the .onnx it was made from"
)
COREML = _saved(
    "a CoreML model",
    "{n: w.val for n, w in coremltools.optimize.coreml.get_weights_metadata("
    "coremltools.models.MLModel(<text>), weight_threshold=0).items()}",
    f"if it is an ML program, {ELSE}",
)
COREML_COMPILED = Foreign("a compiled CoreML model", EXPORTED)
GGUF = Foreign(
    "a GGUF file",
    "turn it around by transformers' `AutoModelForCausalLM.from_pretrained(<folder>, "
    f"gguf_file=<name>).save_pretrained('OUT')`, which dequantizes, {ELSE}",
)
GGML = Foreign(
    "a file of ggml from before GGUF",
    f"{EXPORTED}; llama.cpp's convert_llama_ggml_to_gguf.py makes GGUF of Llama's",
)
OPENVINO = _saved(
    "an OpenVINO model",
    "{c.get_friendly_name(): c.data for c in openvino.Core().read_model(<text>).get_ops() "
    "if c.get_type_name() == 'Constant'}",
    ELSE,
)
OPENVINO_BIN = Foreign(
    "the .bin of the OpenVINO model (.xml) beside it, numbers without names", EXPORTED
)
NCNN = Foreign("a model of ncnn", EXPORTED)
TENSORRT = Foreign("an engine of TensorRT, built for one kind of GPU", EXPORTED)
MOBILE = Foreign("a TorchScript model for mobiles (flatbuffer)", EXPORTED)
EXECUTORCH = Foreign("a program of ExecuTorch", EXPORTED)
RKNN = Foreign("a model of Rockchip's RKNN", EXPORTED)
LLAMAFILE = Foreign("a program (llamafile, for one)", "give the checkpoint itself")
TORCHSERVE = Foreign("an archive of TorchServe (.mar)", "unpack it by `unzip <path>`")
