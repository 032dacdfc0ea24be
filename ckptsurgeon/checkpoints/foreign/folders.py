"""What a folder is that holds no checkpoint which is read, by the names in it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ckptsurgeon.checkpoints.foreign import formats
from ckptsurgeon.checkpoints.foreign.formats import Foreign
from ckptsurgeon.checkpoints.strict_json import shorten, shorten_all
from ckptsurgeon.specs import plural

MAX_TEXT = 4096
"""Bytes of the small files that name a step or a revision."""

Describer = Callable[[Path, Sequence[str]], str]


def _known(format: Foreign) -> Describer:
    return lambda folder, names: format.describe(folder)


# --- folders that lead to others ------------------------------------------------------------------


def _hub_root(folder: Path, names: Sequence[str]) -> str:
    models = [name for name in names if name.startswith("models--")]
    return (
        f"is a hub cache of {plural(len(models), 'model')}: give a revision of one, as "
        f"{folder / models[0] / 'snapshots' / _revision(folder / models[0])}"
    )


def _hub_model(folder: Path, names: Sequence[str]) -> str:
    place = folder / "snapshots" / _revision(folder)
    return f"is a model in a hub cache: give one of its revisions, {place}"


def _hub_snapshots(folder: Path, names: Sequence[str]) -> str:
    place = folder / _revision(folder.parent)
    return f"holds the revisions of a model in a hub cache: give one of them, {place}"


def _revision(model: Path) -> str:
    """The revision of a cached model that `main` is, or the first; one with weights, if any has."""
    there = _list_names(model / "snapshots")
    main = _read_word(model / "refs" / "main")
    first = sorted(there, key=lambda name: name != main)
    whole = (name for name in first if _holds_weights(model / "snapshots" / name))
    return next(whole, next(iter(first), "REVISION"))


def _pipeline(folder: Path, names: Sequence[str]) -> str:
    parts = [name for name in names if _holds_weights(folder / name)]
    given = f"name one of its components, {shorten_all(parts)}" if parts else "name a component"
    files = [name for name in names if name.endswith((".safetensors", ".ckpt"))]
    single = f", or one of its files, {shorten_all(files)}" if files else ""
    first = f", as {folder / parts[0]}" if parts else ""
    return f"is a diffusers pipeline: {given}{first}{single}"


def _megatron(folder: Path, names: Sequence[str]) -> str:
    step = _read_word(folder / "latest_checkpointed_iteration.txt")
    name = f"iter_{int(step):07d}" if step.isdecimal() else step
    if not (folder / name).is_dir():
        name = next((name for name in names if re.fullmatch(r"iter_\d+|release", name)), "")
    if not name:
        return formats.MEGATRON.describe(folder)
    return _megatron_step(folder / name, _list_names(folder / name))


def _megatron_step(folder: Path, names: Sequence[str]) -> str:
    if ".metadata" in names:
        return f"is a checkpoint of Megatron-LM; {folder} {formats.DCP.describe(folder)}"
    ranks = [name for name in names if name.startswith("mp_rank_")]
    if len(ranks) > 1:
        return formats.MEGATRON_RANKS.describe(folder)
    files = sorted(folder.glob("mp_rank_*/*.pt"))
    if len(files) != 1:
        return formats.MEGATRON.describe(folder)
    return f"is a checkpoint of Megatron-LM, of one rank: name its file, {files[0]}"


def _deepspeed(folder: Path, names: Sequence[str]) -> str:
    step = _read_word(folder / "latest")
    if step and _has_layers(_list_names(folder / step)):
        return formats.DEEPSPEED_LAYERS.describe(folder / step)
    if files := _unparted(folder / step):
        return f"is a checkpoint of DeepSpeed that is not in pieces: name its file, {files[0]}"
    known = formats.DEEPSPEED if "zero_to_fp32.py" in names else formats.DEEPSPEED_BARE
    return known.describe(folder)


def _deepspeed_step(folder: Path, names: Sequence[str]) -> str:
    if _has_layers(names):
        return formats.DEEPSPEED_LAYERS.describe(folder)
    if files := _unparted(folder):
        return f"is a step of DeepSpeed's that is not in pieces: name its file, {files[0]}"
    return formats.DEEPSPEED_STEP.describe(folder)


def _has_layers(names: Iterable[str]) -> bool:
    return any(re.fullmatch(r"layer_\d+-model_\d+-model_states\.pt", name) for name in names)


def _unparted(folder: Path) -> list[Path]:
    """The one file of a step of DeepSpeed's that holds the whole model."""
    names = _list_names(folder)
    whole = [name for name in names if re.fullmatch(r"mp_rank_\d+_model_states\.pt", name)]
    parted = any("zero_pp_rank" in name or name.startswith("layer_") for name in names)
    return [folder / whole[0]] if len(whole) == 1 and not parted else []


def _tensorflow(folder: Path, names: Sequence[str]) -> str:
    latest = formats.find_latest(_read_start(folder / "checkpoint"))
    prefixes = [name[: -len(".index")] for name in names if name.endswith(".index")]
    name = latest if latest in prefixes else (prefixes or ["PREFIX"])[-1]
    return formats.tensorflow_checkpoint(folder / name).describe(folder)


def _orbax(folder: Path, names: Sequence[str]) -> str:
    """Words for a step, whose arrays may stand in a folder of their own in it."""
    items = [name for name in names if "_METADATA" in _list_names(folder / name)]
    place = folder if "_METADATA" in names or not items else folder / items[0]
    return formats.ORBAX.describe(place)


def _saved_model(folder: Path, names: Sequence[str]) -> str:
    return formats.saved_model(folder).describe(folder)


# --- the table ------------------------------------------------------------------------------------

FIRST: tuple[tuple[re.Pattern[str], Describer], ...] = (
    (re.compile(r"model_index\.json"), _pipeline),
    (re.compile(r"latest_checkpointed_iteration\.txt"), _megatron),
    (re.compile(r"mp_rank_\d+(?:_\d+)*"), _megatron_step),
    (re.compile(r"\.metadata"), _known(formats.DCP)),
)
"""A name in a folder that tells what it is even where a checkpoint stands beside it."""

FOLDERS: tuple[tuple[re.Pattern[str], Describer], ...] = (
    (re.compile(r".*\.distcp"), _known(formats.DCP_CUT)),
    (re.compile(r"zero_to_fp32\.py|global_step\d+"), _deepspeed),
    (
        re.compile(
            r"(?:bf16_)?zero_pp_rank_.*|(?:mp_rank_\d+_|layer_\d+-model_\d+-)model_states\.pt"
        ),
        _deepspeed_step,
    ),
    (re.compile(r"models--.*"), _hub_root),
    (re.compile(r"snapshots"), _hub_model),
    (re.compile(r"saved_model\.pb(?:txt)?"), _saved_model),
    (
        re.compile(r"_CHECKPOINT_METADATA|_METADATA|_sharding|manifest\.ocdbt|orbax\.checkpoint"),
        _orbax,
    ),
    (re.compile(r".*\.data-\d+-of-\d+"), _tensorflow),
    (re.compile(r"coremldata\.bin|model\.mil"), _known(formats.COREML_COMPILED)),
    (re.compile(r"com\.apple\.CoreML"), _known(formats.COREML)),
    (re.compile(r"\.zarray|\.zgroup|zarr\.json"), _known(formats.ZARR)),
    (re.compile(r"model\.weights\.h5"), _known(formats.KERAS)),
    (re.compile(r"__model__|inference\.pdmodel"), _known(formats.PADDLE)),
)
"""A name in a folder without a checkpoint, and what tells of it."""


def describe_first(folder: Path, names: Sequence[str]) -> str:
    """Words for a folder that is no checkpoint, whatever else lies in it; "" for others."""
    if is_unpacked(folder, names):
        return formats.UNPACKED.describe(folder)
    return _describe(FIRST, folder, names)


def is_unpacked(folder: Path, names: Sequence[str] = ()) -> bool:
    """Whether a folder holds what a file of torch.save does."""
    there = set(names or _list_names(folder))
    return "data.pkl" in there and not there.isdisjoint(("data", "version", ".format_version"))


def describe_other(folder: Path, names: Sequence[str]) -> str:
    """Words for a folder without a checkpoint that is read; "" where no name tells."""
    if (folder.parent / "blobs").is_dir() and folder.name == "snapshots":
        return _hub_snapshots(folder, names)
    if (folder / "Data" / "com.apple.CoreML").is_dir():
        return formats.COREML.describe(folder)
    if steps := [name for name in names if _is_orbax(folder / name)]:
        step = folder / max(steps, key=int)
        return _orbax(step, _list_names(step))
    return _describe(FOLDERS, folder, names)


def _describe(
    table: tuple[tuple[re.Pattern[str], Describer], ...], folder: Path, names: Sequence[str]
) -> str:
    for shape, describe in table:
        if any(shape.fullmatch(name) for name in names):
            return describe(folder, names)
    return ""


def describe_below(folder: Path, names: Sequence[str]) -> str:
    """Words for a folder whose folders hold checkpoints; "" where none does."""
    below = [name for name in names if _holds_weights(folder / name)]
    if not below:
        return ""
    many = "folders that do" if len(below) > 1 else "a folder that does"
    return f"holds no checkpoint itself, but {many}: name {_choices(folder, below)}"


def _choices(folder: Path, names: Sequence[str]) -> str:
    if len(names) == 1:
        return str(folder / names[0])
    return f"one, {shorten_all(list(names))}"


# --- looking --------------------------------------------------------------------------------------

WEIGHTS = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth")
WEIGHTS_TOO = (".ckpt", ".npz", ".distcp")


def _holds_weights(folder: Path) -> bool:
    """Whether a folder has a file that is called as checkpoints are."""
    return any(name.endswith(WEIGHTS + WEIGHTS_TOO) for name in _list_names(folder))


def _is_orbax(folder: Path) -> bool:
    """Whether a folder is one step of Orbax's."""
    return folder.name.isdecimal() and "_CHECKPOINT_METADATA" in _list_names(folder)


def _list_names(folder: Path) -> list[str]:
    """The names in a folder; none where it can't be listed."""
    try:
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    except OSError:
        return []


def _read_start(path: Path) -> bytes:
    """The first bytes of a file; none of what can't be read, or is no file."""
    with contextlib.suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                return file.read(MAX_TEXT)
    return b""


def _read_word(path: Path) -> str:
    """The text of a small file, as one line that is safe to show; "" where it can't be read."""
    try:
        word = _read_start(path).decode().strip().partition("\n")[0]
    except UnicodeDecodeError:
        return ""
    return word if shorten(word) == repr(word) and "/" not in word else ""
