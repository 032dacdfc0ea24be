"""Small files that others may have chosen, read without waiting and without trusting their size."""

from __future__ import annotations

import difflib
import itertools
import os
import re
import shlex
import stat
from pathlib import Path


def read_regular(path: str | Path, limit: int) -> bytes:
    """The bytes of a regular file, at most one more than `limit`.

    A pipe or a device is neither waited for nor read. Raises OSError, whose `strerror` says what
    is wrong in words, also for names that no file can have.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise OSError(0, "it is no regular file")
            return file.read(min(limit, found.st_size) + 1)  # which is allocated beforehand
    except ValueError as error:
        raise OSError(0, str(error)) from None


def is_address(name: str) -> bool:
    """Whether a name is an address, as `https://…` and `s3://…`, and no path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", name) is not None


def tell_fetch(name: str) -> str:
    """How what an address leads to becomes a file: what to run first."""
    scheme, _, rest = name.partition("://")
    quoted = shlex.quote(name)
    known = {
        "hf": f"hf download {shlex.quote('/'.join(rest.split('/')[:2]))}",
        "s3": f"aws s3 cp {quoted} .",
        "gs": f"gsutil cp {quoted} .",
    }
    fetch = known.get(scheme.lower(), f"curl -LO {quoted}")
    return f"download it first, `{fetch}`, and name the file"


def follow_links(path: str | Path) -> Path:
    """The path without links, as far as they lead anywhere.

    Raises OSError, as `read_regular` does, for names that no file can have.
    """
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:
        raise OSError(0, str(error)) from None


def find_below(folder: Path, name: str) -> Path | None:
    """The file of a name, without links; None where it lies neither in the folder nor below.

    `folder` has no links. Raises OSError for names that no file can have.
    """
    path = follow_links(folder / name)
    return path if path.is_relative_to(folder) else None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


MOST_LISTED = 1000
"""Files of a folder among which a name that is not there is looked for."""

LIKE_STEMS = 0.6
"""How alike names without their suffix are, where one may be meant for the other."""


def _alike(one: str, other: str) -> float:
    return difflib.SequenceMatcher(a=one, b=other).ratio()


def near_file(path: Path) -> str:
    """The file beside one that is not there whose name is most like its own; "" for none."""
    try:
        with os.scandir(path.parent) as found:
            names = [one.name for one in itertools.islice(found, MOST_LISTED)]
    except (OSError, ValueError):  # also of names that no file can have
        return ""
    stem = path.stem.lower()
    # A suffix that many files have says nothing of any.
    folded = {
        name.lower(): name
        for name in names
        if name.isprintable() and _alike(stem, Path(name).stem.lower()) >= LIKE_STEMS
    }
    close = difflib.get_close_matches(path.name.lower(), folded, n=1, cutoff=0.8)
    return str(path.with_name(folded[close[0]])) if close else ""
