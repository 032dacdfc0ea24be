"""Addresses of outputs: `rank0::norm.weight` is the key `norm.weight` of the output `rank0`.

Where no output has a name, keys are what they are, whatever colons stand in them.
"""

from __future__ import annotations

import re

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.checkpoints.several import COLONS as COLONS
from ckptsurgeon.errors import ExpressionError
from ckptsurgeon.plans.graph import Address

_ALIAS = re.compile(r"[^\s:=/\\<>\x00-\x1f\x7f]+")


def split_address(text: str) -> Address:
    """The alias and the key of an address, where outputs have names; "" is the unnamed output."""
    alias, colons, key = text.partition(COLONS)
    return (alias, key) if colons else ("", text)


def alias_of(text: str) -> str:
    """The alias of an address, where outputs have names."""
    return split_address(text)[0]


def check_alias(alias: str, what: str = "an output") -> str:
    """The alias itself; raises ExpressionError for a text that can name no output, or source."""
    if not _ALIAS.fullmatch(alias):
        text = f"{alias!r} can't name {what}" if alias else f"the name of {what} is empty"
        help = "a name has no spaces, colons, slashes or `=`: capture another part of the key"
        raise ExpressionError(text, help=help)
    if alias == DESTINATION:
        raise ExpressionError(f"{alias!r} can't name {what}: it means the destination")
    return alias


def check_unnamed(key: str) -> str:
    """The key of the unnamed output itself; raises ExpressionError for one that reads as named."""
    if COLONS in key:
        raise ExpressionError(
            f"{key!r} has two colons, which stand behind the name of an output here",
            help="give it another name, without `::`",
        )
    return key
