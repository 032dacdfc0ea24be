"""Where a ruleset's text comes from: shipped ones by name, others by path inside one folder."""

from __future__ import annotations

import re
from pathlib import Path

from ckptsurgeon.errors import RulesetError
from ckptsurgeon.files import find_below, follow_links, read_regular
from ckptsurgeon.language import catalog
from ckptsurgeon.language.problems import shown, wrong
from ckptsurgeon.language.yaml.composing import MAX_TEXT, decode
from ckptsurgeon.language.yaml.nodes import Scalar

MAX_INCLUDES = 8
"""Most rulesets in one another."""


_FORMAT = re.compile(r"""^(?:\{\s*)?["']?format["']?\s*:\s*1\s*(?:[,}#]|$)""", re.MULTILINE)


def read_text(path: Path, file: str) -> str:
    """The text of a rule file; raises OSError, or RulesetError for what is no text."""
    return decode(read_regular(path, MAX_TEXT), file)


def read_included(path: Path, node: Scalar) -> str:
    """The text of a file that a rule file includes by this node.

    Raises RulesetError that shows nothing of what the file holds: an author of rules could name
    one that is none of theirs.
    """
    try:
        text = read_text(path, node.text)
    except OSError as error:
        raise wrong(node.place, f"can't read {shown(node.text)}: {error.strerror}") from None
    except RulesetError as error:
        problem = error.problems[0]
        raise wrong(node.place, f"{shown(node.text)}: {problem.message}", problem.help) from None
    if not _FORMAT.search(text):
        message = f"{shown(node.text)} is no rule file: it has no line `format: 1`"
        raise wrong(node.place, message, "include a file that begins as every rule file does")
    return text


def included_path(node: Scalar, chain: tuple[Path, ...]) -> Path:
    """The file that `rules: name` or `rules: ./file.yaml` means in the last file of the chain.

    Raises RulesetError for one that is unknown, outside of the folder, or in the chain already.
    """
    if len(chain) > MAX_INCLUDES:
        raise wrong(node.place, f"more than {MAX_INCLUDES} rulesets in one another")
    is_path = node.text.startswith(".") or "/" in node.text
    path = _beside(node, chain) if is_path else _shipped(node)
    if path in chain:
        names = " -> ".join(link.name for link in (*chain[chain.index(path) :], path))
        raise wrong(node.place, f"rulesets that include each other: {names}")
    return path


def _shipped(node: Scalar) -> Path:
    try:
        return follow_links(catalog.path_of(node.text))
    except RulesetError as error:
        problem = error.problems[0]
        is_file = node.text.endswith(catalog.RULE_FILES)
        help = f"a file beside this one is `./{node.text}`" if is_file else problem.help
        raise wrong(node.place, problem.message, help) from None


def _beside(node: Scalar, chain: tuple[Path, ...]) -> Path:
    if not chain:
        help = "name a shipped ruleset, or load the rules from a file"
        raise wrong(node.place, "./file.yaml in rules that are not from a file", help)
    if not node.text.startswith("./") or ".." in Path(node.text).parts:
        message = f"a path out of the rule file's folder: {shown(node.text)}"
        raise wrong(node.place, message, "write ./file.yaml, beside the file or below")
    try:
        path = find_below(chain[-1].parent, node.text)
        regular = path is not None and path.is_file()
    except OSError as error:
        raise wrong(node.place, f"can't read {shown(node.text)}: {error.strerror}") from None
    if path is None:
        raise wrong(node.place, f"{shown(node.text)} leads out of the rule file's folder")
    if not regular:
        raise wrong(node.place, _absence(path, shown(node.text)))
    return path


def _absence(path: Path, name: str) -> str:
    """What there is where a file is wanted."""
    if path.is_symlink():
        return f"{name} is a link that leads back to itself"
    return f"{name} is no regular file" if path.exists() else f"no file {name} beside this one"
