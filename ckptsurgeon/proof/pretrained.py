"""A file of transformers loaded by transformers, which renames and joins what its files hold."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ckptsurgeon.proof.loading import Loaded, State
from ckptsurgeon.proof.results import Finding, Kind

if TYPE_CHECKING:
    from torch import nn

NOTE = "loaded by transformers' from_pretrained; keys are told as the model has them in memory"


def load_pretrained(state: State, model: nn.Module) -> tuple[nn.Module, Loaded]:
    """A model of the given one's class and config with the file's tensors, and what was wrong.

    Nothing is read or downloaded: `from_pretrained` is handed the tensors.
    """
    made_by: Any = model
    try:
        with _quiet():
            loaded, told = type(made_by).from_pretrained(
                None,
                config=made_by.config,
                state_dict=dict(state),
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        refused = Finding(Kind.REFUSED, "", " ".join(str(error).split()))
        return model, Loaded(state, (refused,), (NOTE,))
    return loaded, Loaded(state, tuple(_findings(told)), (NOTE,))


def _findings(told: Mapping[str, Iterable[Any]]) -> Iterator[Finding]:
    for key, found, wanted in sorted(told["mismatched_keys"]):
        text = f"is {list(found)} in the checkpoint, {list(wanted)} in the model"
        yield Finding(Kind.MISMATCHED, key, text)
    for key in sorted(told["missing_keys"]):
        yield Finding(Kind.MISSING, key, "the checkpoint has no such key")
    for key in sorted(told["unexpected_keys"]):
        yield Finding(Kind.UNEXPECTED, key, "the model has no such key")
    for text in told["error_msgs"]:
        yield Finding(Kind.REFUSED, "", " ".join(str(text).split()))


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers without the bars and tables that it would print of a load."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()
