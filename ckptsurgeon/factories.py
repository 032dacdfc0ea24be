"""Models named instead of checkpoints: `pkg.mod:factory`, `transformers:FOLDER`, `timm:NAME`.

A factory is built on the meta device, so that it has shapes and takes no memory. This runs code,
which nothing else in this package does: the code that the user named. Nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import os
import re
import socket
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ckptsurgeon.checkpoints.memory import MemoryCheckpoint
from ckptsurgeon.checkpoints.models import checkpoint_of_model, state_of
from ckptsurgeon.checkpoints.strict_json import load_object
from ckptsurgeon.errors import CheckpointError, CkptSurgeonError, nearest
from ckptsurgeon.wording import choose

if TYPE_CHECKING:
    from torch import nn

_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_FACTORY = re.compile(rf"{_NAME}:{_NAME}")

LIBRARIES = ("transformers", "timm")
"""Libraries that are asked for a model by their own names."""

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
"""Variables that make libraries say at once that they would have to download."""

Arguments = Mapping[str, Any]


def is_factory(text: str) -> bool:
    """Whether a text names a factory; what is there as a file or folder never does."""
    of_library = text.startswith(tuple(f"{name}:" for name in LIBRARIES))
    return bool(of_library or _FACTORY.fullmatch(text)) and not os.path.exists(text)


def is_pretrained(name: str) -> bool:
    """Whether a factory's model is transformers', whose files differ from its state_dict."""
    return name.startswith("transformers:")


def read_arguments(text: str, option: str) -> dict[str, Any]:
    """The keyword arguments that an option gives as a JSON object."""
    try:
        return load_object(text.encode("utf-8", "surrogateescape"))
    except CheckpointError as error:
        raise CkptSurgeonError(f'{option} {text}: {error}, such as {{"classes": 10}}') from None


def open_factory(name: str, arguments: Arguments | None = None) -> MemoryCheckpoint:
    """The shapes of the model that a factory makes, as a checkpoint without values.

    `arguments` are the factory's, by keyword; for `transformers:` they change the config, and keys
    and shapes are those of files on disk. Raises CkptSurgeonError, which says what of the import,
    the call or the result went wrong.
    """
    model = build_model(name, arguments)
    state = state_in_files(model) if is_pretrained(name) else state_of(model)
    return checkpoint_of_model(state, name, shapes_only=True)


def build_model(name: str, arguments: Arguments | None = None, device: str = "meta") -> nn.Module:
    """The model that a factory makes on a device. Raises CkptSurgeonError."""
    import torch

    with _offline(), _importable_here(), contextlib.redirect_stdout(sys.stderr):
        build = _find_factory(name, dict(arguments or {}))
        try:
            with torch.device(device):
                model = build()
        except CkptSurgeonError:
            raise
        except (Exception, SystemExit) as error:
            _refuse(name, f"failed on the {device} device", error)
    if not isinstance(model, torch.nn.Module):
        raise CkptSurgeonError(
            f"{name}: gave {type(model).__name__}, no torch.nn.Module; name a function or class "
            "that returns the model"
        )
    return model


def _find_factory(name: str, arguments: dict[str, Any]) -> Callable[[], Any]:
    """What makes the model, with its arguments bound and checked."""
    kind, colon, rest = name.partition(":")
    if not colon:
        raise CkptSurgeonError(
            f"{name}: is no factory; wanted pkg.mod:name, transformers:FOLDER or timm:NAME"
        )
    if kind == "transformers":
        return lambda: _build_transformers(name, Path(rest), arguments)
    if kind == "timm":
        return lambda: _build_timm(name, rest, arguments)
    from torch import nn

    found = _look_up(name, _import(name, kind), rest)
    if isinstance(found, nn.Module):
        return lambda: found
    _check_call(name, found, arguments)
    return lambda: found(**arguments)


# --- the user's own -------------------------------------------------------------------------------


def _import(name: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            _refuse(name, "can't be imported", error)
        raise CkptSurgeonError(
            f"{name}: is neither a file nor a factory: there is no module {error.name!r} here or "
            "among the installed ones; a module is looked for in the working folder, by its name "
            "without `.py`"
        ) from None
    except (Exception, SystemExit) as error:
        _refuse(name, "can't be imported", error)


def _import_library(name: str, library: str) -> Any:
    """A library that models are asked of; raises CkptSurgeonError where it is not installed."""
    if library not in sys.modules and importlib.util.find_spec(library) is None:
        raise CkptSurgeonError(
            f"{name}: needs the package {library}, which is not installed: `pip install {library}`"
        )
    return _import(name, library)


def _look_up(name: str, module: Any, path: str) -> Any:
    found = module
    for piece in path.split("."):
        if not hasattr(found, piece):
            known = [one for one in dir(found) if not one.startswith("_")]
            owner = getattr(found, "__name__", path)
            _refuse_unknown(f"{name}: {owner} has no {piece!r}", piece, known)
        found = getattr(found, piece)
    return found


def _refuse_unknown(message: str, word: str, known: Iterable[str]) -> NoReturn:
    near = nearest(word, known)
    raise CkptSurgeonError(f"{message}; {near}" if near else message)


def _check_call(name: str, factory: Any, arguments: Arguments) -> None:
    """Refuses what can't be called, or not with these arguments, before it is."""
    if not callable(factory):
        raise CkptSurgeonError(
            f"{name}: is {type(factory).__name__}, which can't be called; name a function or "
            "class that returns the model"
        )
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        return  # a callable that does not tell its parameters says itself what it lacks
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise CkptSurgeonError(
            f"{name}: {error}; it takes {_show_parameters(signature)}, which "
            f"{_tell_giving(signature)}"
        ) from None


def _tell_giving(signature: inspect.Signature) -> str:
    """How arguments are given to a factory."""
    first = next(iter(signature.parameters), "name")
    return choose(
        f"--model-args gives as JSON, such as '{{\"{first}\": …}}'",
        f"a name gives none of: give the model itself, `factory({first}=…)`",
    )


def _show_parameters(signature: inspect.Signature) -> str:
    """The parameters without their types: `(width, depth=3)`."""
    bare = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
    return str(inspect.Signature(bare))


# --- libraries ------------------------------------------------------------------------------------


def _build_transformers(name: str, folder: Path, overrides: dict[str, Any]) -> Any:
    """The architecture that a config names, else the bare model of its type."""
    if not (folder / "config.json").is_file():
        raise CkptSurgeonError(f"{name}: there is no {folder / 'config.json'}; wanted its folder")
    transformers = _import_library(name, "transformers")
    config = transformers.AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, **overrides
    )
    architectures = config.architectures or [""]
    known = getattr(transformers, architectures[0], None)
    if isinstance(known, type) and issubclass(known, transformers.PreTrainedModel):
        made_by: Any = known
        return made_by._from_config(config)
    return transformers.AutoModel.from_config(config, trust_remote_code=False)


def state_in_files(model: Any) -> Mapping[str, Any]:
    """The tensors as `save_pretrained` names, shapes and leaves them out.

    Version 5 joins and renames tensors when it loads a file; before it, files were state_dicts.
    """
    tied = getattr(model, "all_tied_weights_keys", {})
    state = {key: tensor for key, tensor in state_of(model).items() if key not in tied}
    if importlib.util.find_spec("transformers.core_model_loading") is None:
        return state
    loading: Any = importlib.import_module("transformers.core_model_loading")
    return loading.revert_weight_conversion(model, state)  # type: ignore[no-any-return]


def _build_timm(name: str, model: str, arguments: dict[str, Any]) -> Any:
    if arguments.get("pretrained"):
        raise CkptSurgeonError(f"{name}: `pretrained` would download; give the file instead")
    timm = _import_library(name, "timm")
    if not timm.is_model(model):
        _refuse_unknown(f"{name}: timm has no model {model!r}", model, timm.list_models())
    return timm.create_model(model, pretrained=False, **arguments)


# --- surroundings ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _importable_here() -> Iterator[None]:
    """Modules of the working folder can be imported, as in `python -m`."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """No connection can be made, and the libraries that would try are told so.

    Libraries read these variables when they are imported: one that is imported here for the first
    time stays offline in this process.
    """
    before = {name: os.environ.get(name) for name in OFFLINE}
    os.environ.update(dict.fromkeys(OFFLINE, "1"))
    connect, resolve = socket.socket.connect, socket.getaddrinfo
    socket.socket.connect = _no_connection  # type: ignore[method-assign]
    socket.getaddrinfo = _no_connection
    try:
        yield
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]
        socket.getaddrinfo = resolve
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})


def _no_connection(*_: Any, **__: Any) -> NoReturn:
    raise ConnectionRefusedError("a factory is built without the network")


def _refuse(name: str, what: str, error: BaseException) -> NoReturn:
    """Tells an error of the user's code with the line that raised it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    said = str(error).partition("\n")[0]
    raise CkptSurgeonError(f"{name}: {what}: {type(error).__name__} at {where}: {said}") from error
