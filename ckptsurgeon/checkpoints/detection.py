"""What a file is that is read, from its first bytes."""

from __future__ import annotations

import re

from ckptsurgeon.checkpoints.safetensors.header import MAX_HEADER

EARLY_PICKLE = re.compile(
    rb"L\d+L\n|[}\]](?:q.|\.)|c[\w.]+\n[\w.]+\n|"
    rb"\((?:[dl]p\d+\n|[diIKLS(]|V[^\n]*\n|F[-\d.e]+\n|[XT]..\0\0|[}\]](?:q|p\d+\n)|"
    rb"c[\w.]+\n[\w.]+\n|G[?@\0\xbf\xc0]|M.[^ -~]|J.{4}|[NU][^A-Za-z ])",
    re.DOTALL,
)


def looks_safetensors(head: bytes) -> bool:
    """Whether a file begins like safetensors: a length, then the brace of a JSON header.

    Eight letters of any text make a far larger length, and so does the start of a pickle; a length
    whose upper half is empty is still told as a header that is too long.
    """
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and (length <= MAX_HEADER or head[4:8] == b"\0\0\0\0")


def looks_zip(head: bytes) -> bool:
    """Whether a file begins like a zip archive: torch's, or NumPy's npz."""
    return head.startswith(b"PK")


def looks_pickle(head: bytes) -> bool:
    """Whether a file begins like a pickle, as torch's legacy files do.

    Those of protocols 0 and 1 begin with the first value: a dict, a list, a tuple, or a class.
    """
    return head.startswith(b"\x80") or EARLY_PICKLE.match(head) is not None


def looks_json(head: bytes) -> bool:
    """Whether a file begins like an object in JSON."""
    return head.lstrip().startswith(b"{") and not looks_safetensors(head)
