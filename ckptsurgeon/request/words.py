"""The words of a request, as they are given: roots, kinds of finding, vars, a config."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from ckptsurgeon.checkpoints.strict_json import TOO_DEEP, distinct
from ckptsurgeon.errors import CkptSurgeonError, ExpressionError, PlanError, Problem, nearest
from ckptsurgeon.files import read_regular
from ckptsurgeon.language.expressions import Expression, Value, parse_expression
from ckptsurgeon.wanted import kind_of, require
from ckptsurgeon.wording import choose, name_kinds, name_var

KindOfFinding: TypeAlias = Literal[
    "missing", "unexpected", "unused", "mismatched", "unreadable", "nothing"
]
"""The kinds of finding that can be accepted."""

Allow: TypeAlias = KindOfFinding | Collection[KindOfFinding]
"""Kinds of finding to accept, or one alone."""

Config = str | os.PathLike[str] | Mapping[str, Any]
Given = Mapping[str, Value | Expression]
Root = str | Mapping[str, str]
"""The wrapper to open in the sources, or by alias; `dst` is the destination's."""

MAX_WHOLE = 256 << 20
"""Longest config or saved plan that is read."""


def read_roots(root: Root | None) -> Mapping[str, str]:
    """The roots to open by alias; "" is the one of every source that is not named."""
    roots = {} if root is None else {"": root} if isinstance(root, str) else root
    require("root", roots, Mapping, "a name, or a dict of names by alias,")
    for alias, one in roots.items():
        require(f"root of {alias!r}", one, str, "a name")
    return roots


def read_kinds(
    allow: Collection[str], known: Collection[str] = get_args(KindOfFinding)
) -> tuple[str, ...]:
    """The kinds of finding to accept, of those there are; raises PlanError for what is none."""
    kinds = (allow,) if isinstance(allow, str) or not isinstance(allow, Iterable) else tuple(allow)
    for kind in kinds:
        if kind not in known:
            near = nearest(str(kind), known)
            help = f"{near and f'{near}; '}known: {', '.join(known)}"
            several = re.split(r"\s*[,;]\s*", str(kind))
            if len(several) > 1 and all(one in known for one in several):
                help = f"write {name_kinds(*several)}"
            problem = Problem(f"{name_kinds(kind)}: unknown", None, help)
            raise PlanError([problem])
    return kinds


def read_var(name: str, value: Value | Expression) -> Value | Expression:
    try:
        return parse_expression(value) if isinstance(value, str) else value
    except ExpressionError as error:
        raise PlanError([Problem(f"{name_var(name)}: {error}", None, error.help)]) from None


def refuse_turned_round(key: object, source: object, *, alone: bool) -> None:
    """Raises PlanError where a checkpoint stands in the place of the key, which comes first.

    `alone` says that there is no other source.
    """
    paths = isinstance(key, str) and isinstance(source, str)
    turned = paths and os.path.isfile(str(key)) and not os.path.exists(str(source))
    turned = turned or (source is None and alone and os.path.isfile(str(key)))
    if turned or not isinstance(key, str):
        found = f"{key}: a file" if turned else kind_of(key)
        own = source if isinstance(source, str) else "KEY"
        meant = choose(f"ckptsurgeon explain {own} {key}", f"explain({own!r}, …)")
        help = f"the key comes first: `{meant}`"
        raise PlanError([Problem(f"{found} where the key is wanted", None, help)])


def read_config(config: Config | None) -> Any:
    """The parsed config: a JSON object, or a mapping as it is."""
    if config is None or isinstance(config, Mapping):
        return config
    path = Path(config)
    try:
        text = read_whole(path, "config").decode()
        found = json.loads(text, object_pairs_hook=distinct)
    except UnicodeDecodeError as error:
        raise CkptSurgeonError(f"{path}: the config is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise CkptSurgeonError(f"{path}: the config is {TOO_DEEP}") from None
    except ValueError as error:
        raise CkptSurgeonError(f"{path}: the config is not JSON: {error}") from None
    if not isinstance(found, Mapping):
        raise CkptSurgeonError(f"{path}: the config is no JSON object")
    return found


def read_whole(path: Path, what: str) -> bytes:
    """The bytes of a small regular file; raises CkptSurgeonError that says what it should be."""
    try:
        content = read_regular(path, MAX_WHOLE)
    except OSError as error:
        raise CkptSurgeonError(f"{path}: can't read the {what}: {error.strerror}") from None
    if len(content) > MAX_WHOLE:
        raise CkptSurgeonError(f"{path}: a {what} of more than {MAX_WHOLE >> 20} MiB")
    return content
