"""Nodes as lines: of a rule file, of the command line, and of Python."""

from __future__ import annotations

import re

from msgspec.structs import replace

from ckptsurgeon.errors import Place
from ckptsurgeon.language.places import COMMAND_LINE, PYTHON_RULES
from ckptsurgeon.language.yaml.nodes import Mapping, Node, Scalar, Sequence, is_null
from ckptsurgeon.language.yaml.quoting import quoted

LONGEST_LINE = 160
"""Longest line that a help writes."""

_NEEDS_QUOTES = re.compile(r"[*&!|>%@`\"'#{}\[\],]|[?:-](?:\s|$)|.*(?::\s|\s#|:$)", re.DOTALL)
_NEEDS_QUOTES_INSIDE = re.compile(r".*[\[\]{},]", re.DOTALL)


def written(node: Node, *, inside: bool = False) -> str:
    """A node as a rule file has it; `inside` of brackets more wants quotes."""
    if isinstance(node, Scalar):
        word = re.fullmatch(r"[A-Za-z_][\w.]*", node.text) is not None
        bare = node.plain or (word and node.truth is None)
        cut = _NEEDS_QUOTES.match(node.text) or (inside and _NEEDS_QUOTES_INSIDE.match(node.text))
        return node.text if bare and not cut else quoted(node.text)
    if isinstance(node, Sequence):
        return f"[{', '.join(written(one, inside=True) for one in node.items)}]"
    if isinstance(node, Mapping):
        return f"{{{', '.join(_entry(key, one) for key, one in node.entries)}}}"
    return "…"


def _entry(key: Scalar, value: Node) -> str:
    name = written(key, inside=True)
    return f"{name}:" if is_null(value) else f"{name}: {written(value, inside=True)}"


def write_key_text(text: str) -> str:
    """A key as a rule file has it."""
    return written(Scalar(text, Place("", 1, 1), plain=True))


def write_line(rule: Node) -> str:
    """A rule as its file would have it; empty for one that is long, or that no line may hold."""
    if rule.place.file == PYTHON_RULES:
        line = _of_python(rule) if isinstance(rule, Mapping) else _text(rule)
    elif isinstance(rule, Mapping) and len(rule.entries) == 1:
        ((key, value),) = rule.entries
        line = f"{_bare(key)}: {written(value)}"
    else:
        line = _bare(rule) if isinstance(rule, Scalar) else written(rule)
    return line if len(line) <= LONGEST_LINE and line.isprintable() else ""


def _bare(node: Scalar) -> str:
    """A text at the start of a line, which wants quotes in a file alone."""
    typed = node.place.file == COMMAND_LINE
    return node.text if typed else written(replace(node, plain=True))


def _text(node: Node) -> str:
    return node.text if isinstance(node, Scalar) else written(node)


def _of_python(node: Node) -> str:
    if isinstance(node, Mapping):
        entries = (f"{key.text!r}: {_of_python(value)}" for key, value in node.entries)
        return f"{{{', '.join(entries)}}}"
    if isinstance(node, Sequence):
        return f"[{', '.join(map(_of_python, node.items))}]"
    if isinstance(node, Scalar):
        if node.truth is not None:
            return repr(node.truth)
        return node.text if node.numeric else repr(node.text)
    return "…"
