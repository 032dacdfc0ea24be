"""What a user asks for, opened: rules, checkpoints, config and vars, as one `Request`."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeGuard, get_args

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint, Contents, Outside
from ckptsurgeon.checkpoints.memory import MEMORY, has_root, open_dict
from ckptsurgeon.checkpoints.models import open_model
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.checkpoints.planting import is_model
from ckptsurgeon.checkpoints.several import Several
from ckptsurgeon.checkpoints.strict_json import TOO_DEEP, distinct
from ckptsurgeon.engine.execution import Execution, stamps_of
from ckptsurgeon.errors import (
    CheckpointError,
    CkptSurgeonError,
    ExpressionError,
    PlanError,
    Problem,
    nearest,
)
from ckptsurgeon.factories import is_factory, open_factory
from ckptsurgeon.file_names import find_files, tell_left_out
from ckptsurgeon.files import read_regular
from ckptsurgeon.given_rules import load_rulesets, put_before, put_words
from ckptsurgeon.language.expressions import Expression, Value, parse_expression
from ckptsurgeon.language.rules import Ruleset, SourceOptions
from ckptsurgeon.language.rulesets import Rules
from ckptsurgeon.numbering import OF_FILES, number_notes
from ckptsurgeon.planner.aliases import of_alias
from ckptsurgeon.planner.planning import Inputs, make_plan
from ckptsurgeon.plans.account import Note
from ckptsurgeon.wanted import kind_of, require
from ckptsurgeon.wording import (
    PYTHON_SOURCE,
    SHELL_SOURCE,
    argument,
    choose,
    name_alias,
    name_kinds,
    name_root,
    name_source,
    name_var,
)

if TYPE_CHECKING:
    from torch import nn

Source: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any] | Checkpoint | nn.Module"
"""A path, a factory's name, a dict of tensors or arrays, a model, or an open checkpoint."""

KindOfFinding: TypeAlias = Literal[
    "missing", "unexpected", "unused", "mismatched", "unreadable", "nothing"
]
"""The kinds of finding that can be accepted."""

Allow: TypeAlias = KindOfFinding | Collection[KindOfFinding]
"""Kinds of finding to accept, or one alone."""

Into: TypeAlias = "Source | Mapping[str, str | os.PathLike[str]]"
"""A destination, or the paths of several by the aliases of outputs."""

Config = str | os.PathLike[str] | Mapping[str, Any]
Given = Mapping[str, Value | Expression]
Root = str | Mapping[str, str]
"""The wrapper to open in the sources, or by alias; `dst` is the destination's."""

MOST_NAMED = 5
"""Parts of a file that an error names."""

MAX_WHOLE = 256 << 20
"""Longest config or saved plan that is read."""


@dataclass(frozen=True, slots=True)
class Request:
    """Rulesets to run one after the other, and what they are run on."""

    rulesets: tuple[Ruleset, ...]
    inputs: Inputs

    def prepare(self) -> Execution:
        """The plan with the checkpoints that it was made for, ready to be run."""
        checkpoints = dict(self.inputs.sources)
        if self.inputs.destination is not None:
            checkpoints[DESTINATION] = self.inputs.destination
        stamps = stamps_of(checkpoints)
        return Execution(make_plan(self.rulesets, self.inputs), checkpoints, stamps)

    def with_rules(self, first: Ruleset | None) -> Request:
        """The request with the rules of `first` before its own, so that they win."""
        if first is None:
            return self
        return replace(self, rulesets=put_before(self.rulesets, first))


def open_request(
    rules: Rules | Sequence[Ruleset] | None,
    source: Source | None,
    into: Into | None = None,
    *,
    sources: Mapping[str, Source] | None = None,
    config: Config | None = None,
    variables: Given | None = None,
    allow: Collection[str] = (),
    root: Root | None = None,
    one_shard: bool = False,
    has_unnamed: bool = False,
) -> Request:
    """The request that the words of `ckptsurgeon.plan` make; sources open by the first stage.

    Raises RulesetError, CheckpointError, PlanError for values of `variables` and for `allow`, and
    CkptSurgeonError for `config`.
    """
    roots = read_roots(root)
    rulesets = put_words(load_rulesets(rules), roots, one_shard)
    require("sources", sources or {}, Mapping, "a dict of paths, dicts or models by alias")
    for alias in sources or {}:
        require("sources: an alias", alias, str, "a text")
    require("variables", variables or {}, Mapping, "a dict of values by name, {'h': 1},")
    for name in variables or {}:
        require("variables: a name", name, str, "a text")
    if config is not None:
        require("config", config, (str, os.PathLike, Mapping), "a path, or a dict")
    gathered, notes = gather_sources(source, sources or {})
    _refuse_roots(roots, gathered, into)
    options = rulesets[0].stages[0].source
    checkpoints = open_sources(gathered, options)
    destination = None if into is None else open_destination(into, options.roots, one_shard)
    given = {name: _read_var(name, value) for name, value in (variables or {}).items()}
    kinds = read_kinds(allow)
    inputs = Inputs(checkpoints, destination, read_config(config), given, kinds, notes, has_unnamed)
    return Request(rulesets, inputs)


def read_roots(root: Root | None) -> Mapping[str, str]:
    """The roots to open by alias; "" is the one of every source that is not named."""
    roots = {} if root is None else {"": root} if isinstance(root, str) else root
    require("root", roots, Mapping, "a name, or a dict of names by alias,")
    for alias, one in roots.items():
        require(f"root of {alias!r}", one, str, "a name")
    return roots


def _refuse_roots(
    roots: Mapping[str, str], sources: Mapping[str, Source], into: Into | None
) -> None:
    """Raises CheckpointError for a root of what is no file, or of a destination that is not there.

    That a source is not there is told where they are opened.
    """
    if DESTINATION in roots and into is None:
        asked, dst = argument("root", "dst=NAME", "{'dst': …}"), argument("into", "DST")
        raise CheckpointError(f"{asked}: there is no destination; give it by {dst}")
    asked_of = {alias: roots.get(alias, roots.get("")) for alias in sources}
    given = {**sources, DESTINATION: None if is_by_alias(into) else into}
    for alias, root in {**asked_of, DESTINATION: roots.get(DESTINATION)}.items():
        one = given[alias]
        if root is not None and one is not None:
            refuse_root(one, root, alias)


def refuse_root(source: Source, root: str, alias: str = "") -> None:
    """Raises CheckpointError for a root of what can't be opened at one."""
    if not _may_have_root(source, root):
        raise CheckpointError(
            f"{name_root(root, alias)}: {name_alias(alias)} is no file to open at a root; give the "
            "part that is meant"
        )


def _may_have_root(source: Source, root: str) -> bool:
    """Whether a source can be opened at a root: a file, or a dict that has what it names."""
    if isinstance(source, Mapping):
        return not root or root.partition(".")[0] in source or has_root(source, root)
    return isinstance(source, str | os.PathLike) and not is_factory(str(source))


def _read_var(name: str, value: Value | Expression) -> Value | Expression:
    try:
        return parse_expression(value) if isinstance(value, str) else value
    except ExpressionError as error:
        raise PlanError([Problem(f"{name_var(name)}: {error}", None, error.help)]) from None


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


def open_source(
    source: Source,
    root: str | None = None,
    alias: str = "",
    *,
    one_shard: bool = False,
    together: Collection[Path] = frozenset(),
) -> Checkpoint:
    """The checkpoint that a path, a factory, a dict of tensors, or an open checkpoint is.

    Raises CheckpointError, also for what is none of these, for a file with two sets of the same
    weights where no root says which is meant, and for one shard of a set, as `open_checkpoint`.
    """
    checkpoint = _open(source, root, one_shard, together)
    if checkpoint.contents.rivals and root is None:
        raise CheckpointError(f"{checkpoint.path}: {_ask_for_root(checkpoint.contents, alias)}")
    return checkpoint


def paths_of(sources: Iterable[Source]) -> frozenset[Path]:
    """The paths among sources, to be given as those that are opened together."""
    return frozenset(Path(one) for one in sources if isinstance(one, str | os.PathLike))


def _ask_for_root(contents: Contents, alias: str) -> str:
    """The words for weights that a file holds twice."""
    nbytes = sum(spec.nbytes for spec in contents.specs.values())
    opened = Outside(contents.root, len(contents.specs), nbytes)
    sets = [f"{one.place} ({one})" for one in (opened, *contents.rivals)]
    ways = " or ".join(f"`{name_root(one.key, alias)}`" for one in (opened, *contents.rivals))
    named = f"{{{alias}: {opened.key}}}" if alias else opened.key
    return (
        f"holds the same weights {len(sets)} times, under {' and '.join(sets)}; say which are "
        f"meant: {ways}, in a rule file `source: {{root: {named}}}`"
    )


def open_destination(source: Into, roots: Mapping[str, str], one_shard: bool = False) -> Checkpoint:
    """The destination, opened at its own root alone; several as one, by their aliases."""
    if not is_by_alias(source):
        return open_source(source, roots.get(DESTINATION), DESTINATION, one_shard=one_shard)
    parts: dict[str, Checkpoint] = {}
    found = list(_find_destinations(source))
    together = paths_of(path for _, path in found)
    for alias, path in found:
        if alias in parts:
            raise CheckpointError(f"{argument('into', alias)}: there are two of this name")
        root = root_of_destination(roots, alias)
        name = f"{DESTINATION}::{alias}" if alias else DESTINATION
        parts[alias] = open_source(path, root, name, one_shard=one_shard, together=together)
    return Several.of(parts)


def is_by_alias(into: object) -> TypeGuard[Mapping[str, str | os.PathLike[str]]]:
    """Whether destinations are given by the aliases of outputs, and no tensors by key."""
    paths = into.values() if isinstance(into, Mapping) else ()
    return bool(paths) and all(isinstance(path, str | os.PathLike) for path in paths)


def _find_destinations(given: Mapping[str, str | os.PathLike[str]]) -> Iterator[tuple[str, str]]:
    for alias, path in given.items():
        if "<" in alias:
            yield from find_files(alias, os.fspath(path), "into")
        else:
            yield alias, os.fspath(path)


def root_of_destination(roots: Mapping[str, str], alias: str) -> str | None:
    """The root that a destination is opened at: its own, or that of all destinations."""
    prefix = f"{DESTINATION}::"
    own = {name.removeprefix(prefix): one for name, one in roots.items() if name.startswith(prefix)}
    return of_alias({**own, "": roots[DESTINATION]} if DESTINATION in roots else own, alias)


def _open(
    source: Source, root: str | None, one_shard: bool, together: Collection[Path]
) -> Checkpoint:
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        if is_factory(name):
            return open_factory(name)
        return open_checkpoint(name, root, one_shard=one_shard, together=together)
    if isinstance(source, Mapping):
        return open_dict(source, root)
    if isinstance(source, Checkpoint):
        return source
    if is_model(source):
        return open_model(source)
    raise CheckpointError(
        f"{kind_of(source)} is no checkpoint; "
        "give a path, a dict of tensors, a model, or an open one"
    )


_FIRST = (SHELL_SOURCE, PYTHON_SOURCE, "src", "first", "input")
"""What the first source, which has no name, may be called."""


def open_sources(given: Mapping[str, Source], options: SourceOptions) -> dict[str, Checkpoint]:
    """The checkpoints of sources by alias, opened; raises CheckpointError."""
    roots, together = options.roots, paths_of(given.values())
    absent = [
        alias
        for alias in roots
        if alias not in (*given, "", DESTINATION) and not alias.startswith(f"{DESTINATION}::")
    ]
    if absent:
        there = ", ".join(map(name_alias, given))
        if absent[0] in _FIRST and "" in given:
            named = {"": roots[absent[0]], **{a: one for a, one in roots.items() if a != absent[0]}}
            words = " ".join(name_root(one, alias) for alias, one in named.items())
            meant = choose(words, words if len(named) == 1 else f"root={named!r}")
            raise CheckpointError(f"`root`: the first source has no name: write {meant}")
        raise CheckpointError(
            f"`root` names the source {absent[0]!r}, which is not given; there are: {there}"
        )
    opened = {
        name: open_source(
            one,
            roots.get(name, roots.get("")),
            name,
            one_shard=options.one_shard,
            together=together,
        )
        for name, one in given.items()
    }
    if not opened:
        raise CheckpointError(
            f"no source: give one, or name sources by {name_source('ALIAS', 'PATH')}"
        )
    for checkpoint in opened.values():
        if checkpoint.format != MEMORY and not checkpoint.contents.specs:
            raise CheckpointError(f"{checkpoint.path}: {_describe_empty(checkpoint.contents)}")
    return opened


def _describe_empty(contents: Contents) -> str:
    """Words for a checkpoint of which nothing was opened."""
    if not contents.outside:
        return "holds no tensors; `inspect` shows what it has"
    others = ", ".join(f"{one.place} ({one})" for one in contents.outside[:MOST_NAMED])
    first = name_root(contents.outside[0].key)
    return f"holds no tensors but in {others}; `{first}` opens these"


def gather_sources(
    source: Source | None, named: Mapping[str, Source]
) -> tuple[dict[str, Source], tuple[Note, ...]]:
    """All sources by alias, the unnamed one under "", and what is to be said of numbered files.

    An alias with a star, as in `s*`, numbers the files that its path matches in natural order.
    """
    found: dict[str, Source] = {} if source is None else {"": source}
    notes: list[Note] = []
    for alias, one in named.items():
        numbered: Sequence[tuple[str, Source]] = [(alias, one)]
        if "<" in alias and isinstance(one, str | os.PathLike):
            numbered = files = find_files(alias, os.fspath(one))
            notes += number_notes(str(one), files, holes_alone=True)
            notes += _left_out_notes(os.fspath(one))
        elif "*" in alias:
            numbered = files = _number_files(alias, one)
            notes += number_notes(str(one), files)
        for name, each in numbered:
            _check_alias(name)
            if name in found:
                raise CheckpointError(f"{name_source(name)}: there are two of this name")
            found[name] = each
    return found, tuple(notes)


def _left_out_notes(pattern: str) -> Iterator[Note]:
    """Files that are as good as those that a pattern reads, and that it doesn't read."""
    if told := tell_left_out(pattern):
        yield Note(OF_FILES, told)


def _check_alias(alias: str) -> None:
    if not re.fullmatch(r"[^\W\d]\w*", alias):
        raise CheckpointError(f"{name_source(alias)}: an alias is a name of letters, digits and _")
    if alias == DESTINATION:
        raise CheckpointError(f"{name_source(alias)}: that alias means the destination")


def _number_files(alias: str, source: Source) -> list[tuple[str, str]]:
    """The files that a path with a star matches, each with its alias."""
    if not isinstance(source, str | os.PathLike):
        raise CheckpointError(f"{name_source(alias)}: a star numbers files, and this is no path")
    pattern = os.fspath(source)
    found = sorted(glob.glob(pattern), key=_natural)
    if not found:
        raise CheckpointError(f"{name_source(alias, pattern)}: no file matches")
    return [(alias.replace("*", str(number)), path) for number, path in enumerate(found)]


def _natural(path: str) -> list[tuple[int, str]]:
    """Order with numbers by value: 2 before 10."""
    parts = re.split(r"([0-9]+)", path)
    return [(int(part), "") if at % 2 else (-1, part) for at, part in enumerate(parts)]


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
