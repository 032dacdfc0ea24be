"""The words that several commands share, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def read_assignments(words: Iterable[str], option: str, form: str) -> dict[str, str]:
    """`name=value` words as a dict."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise click.UsageError(f"{option} {word}: wanted {form}")
        if name in found:
            raise click.UsageError(f"{option} {name}: given twice")
        found[name] = value
    return found


def read_bytes(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """The bytes of a size such as 128MiB or 5GB."""
    from ckptsurgeon.specs import parse_bytes

    try:
        return None if text is None else parse_bytes(text)
    except ValueError as error:
        raise click.BadParameter(str(error), context, option) from None


def _join(*options: Decorator) -> Decorator:
    """One decorator for several options, which `--help` shows in this order."""
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


inputs = _join(
    click.argument("source", metavar="[SRC]", required=False),
    click.option(
        "--into",
        metavar="DST",
        help="What the result must fit: checkpoint, JSON spec, or factory (pkg.mod:name).",
    ),
    click.option(
        "--model-args",
        metavar="JSON",
        help="Arguments of the factory that DST, or else SRC, names.",
    ),
    click.option(
        "-r", "--rules", multiple=True, metavar="RULES", help="Rule file or shipped ruleset."
    ),
    click.option(
        "-e",
        "--rule",
        "arrows",
        multiple=True,
        metavar="RULE",
        help="One rule, as 'A -> B'; stands before those of the last file.",
    ),
    click.option(
        "--source",
        "named",
        multiple=True,
        metavar="ALIAS=PATH",
        help="Further source; 's*=GLOB' numbers files.",
    ),
    click.option(
        "--root",
        multiple=True,
        metavar="[ALIAS=]NAME",
        help="Wrapper to open in SRC, or in the source ALIAS; dst=NAME in DST.",
    ),
    click.option("--one-shard", is_flag=True, help="A shard of a set is meant, not all of it."),
    click.option("--config", metavar="JSON", help="Model config that vars may look into."),
    click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="Overrides a var."),
    click.option(
        "--allow",
        multiple=True,
        type=click.Choice(
            ["missing", "unexpected", "unused", "mismatched", "unreadable", "nothing"]
        ),
        help="Accepts findings of this kind; missing keys keep DST's values.",
    ),
)
"""The options of every command that makes a plan."""

memory = click.option(
    "--memory",
    metavar="SIZE",
    callback=read_bytes,
    help="Bytes to hold of tensors at a time, as 128MiB; 256MiB unless given.",
)

formats = click.Choice(["text", "json"])
report = _join(
    click.option("--format", "form", type=formats, default="text", show_default=True),
    click.option("-v", "--verbose", is_flag=True, help="Fold and cut nothing."),
)
"""The options of every command that prints a report."""


def prepare(words: Mapping[str, Any], output: str | None) -> Any:
    """The Execution that a command's words ask for; `output` is what it will write, if anything."""
    return request(words).prepare().aim(output, *limits(words))


def limits(words: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Memory and threads that a run may use."""
    return words["memory"], words.get("jobs")


def request(words: Mapping[str, Any]) -> Any:
    """The Request that the words of `inputs` make."""
    from ckptsurgeon.request import open_request

    words = build_factory(words)
    return open_request(
        _load(words["rules"], words["arrows"]),
        words["source"],
        words["into"],
        sources=named_sources(words),
        config=words["config"],
        variables=read_assignments(words["given"], "--set", "NAME=VALUE"),
        allow=words["allow"],
        root=read_roots(words["root"]),
        one_shard=words["one_shard"],
    )


def read_roots(words: Iterable[str]) -> dict[str, str] | None:
    """Roots by alias of a source; "" for every one that is not named."""
    found: dict[str, str] = {}
    for word in words:
        alias, equals, name = word.partition("=")
        alias, name = (alias, name) if equals else ("", word)
        if alias in found:
            raise click.UsageError(f"--root {word}: given twice for one source")
        found[alias] = name
    return found or None


def named_sources(words: Mapping[str, Any]) -> dict[str, str]:
    """Further sources by alias."""
    return read_assignments(words["named"], "--source", "ALIAS=PATH")


def build_factory(words: Mapping[str, Any]) -> Mapping[str, Any]:
    """The words with the factory that --model-args belongs to built and in its place."""
    from ckptsurgeon.factories import is_factory, open_factory, read_arguments

    if words["model_args"] is None:
        return words
    named = [word for word in ("into", "source") if words[word] and is_factory(words[word])]
    if not named:
        raise click.UsageError("--model-args: neither DST nor SRC is a factory, as pkg.mod:name")
    arguments = read_arguments(words["model_args"], "--model-args")
    return {**words, named[0]: open_factory(words[named[0]], arguments)}


def _load(rules: Sequence[str], arrows: Sequence[str]) -> Any:
    """The rule files of `-r` in order, with the rules of `-e` in front of the last stage's."""
    from ckptsurgeon.language.rulesets import load_with_problems, rules_from_arrows
    from ckptsurgeon.planner.compiling.compilation import refuse_problems
    from ckptsurgeon.request import load_rulesets, put_before

    rulesets = load_rulesets([load_with_problems(one) for one in rules] or None)
    if arrows:
        rulesets = put_before(rulesets, rules_from_arrows(arrows))
    return refuse_problems(rulesets)
