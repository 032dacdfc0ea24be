"""What is made of the words of a command: paths by alias, factories built, standard input read."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ckptsurgeon.cli.streams import (
    STREAM,
    open_spec_stream,
    read_config_stream,
    read_ruleset_stream,
)
from ckptsurgeon.wording import name_alias, name_destination


def read_assignments(words: Iterable[str], option: str, form: str) -> dict[str, str]:
    """`name=value` words as a dict."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if option == "--source" and "<" in word:  # whose words may hold a `=`, as `<p:a=b>`
            name, value = _split_pattern(word) or (name, value)
        if option == "--source" and not equals:
            named = shlex.quote(f"NAME={word or 'PATH'}")
            told = f"the one source stands alone; a further one is `--source {named}`"
            raise click.UsageError(f"{option} {word}: wanted {form}: {told}")
        if not (name and equals and value):
            raise click.UsageError(f"{option} {word}: wanted {form}")
        if name in found:
            raise click.UsageError(f"{option} {name}: given twice")
        found[name] = value
    return found


def _split_pattern(word: str) -> tuple[str, str] | None:
    from ckptsurgeon.file_names import split_word

    return split_word(word)


def read_paths(
    context: click.Context, option: click.Parameter, words: tuple[str, ...]
) -> str | dict[str, str] | None:
    """One path alone, or several by their aliases; "" is the one without a name."""
    name = option.opts[0] if len(option.opts) == 1 else min(option.opts, key=len)
    found = collect_paths(words, name)
    return found.get("") if found.keys() <= {""} else found


def collect_paths(words: Iterable[str], name: str) -> dict[str, str]:
    """The paths of PATH and ALIAS=PATH by alias; `name` is what they are called."""
    from ckptsurgeon.file_names import split_word

    found: dict[str, str] = {}
    for word in words:
        alias, path = split_word(word) or ("", word)
        if alias in found:
            twice = f"{name} {alias}=: given twice" if alias else f"{name} stands twice"
            raise click.UsageError(f"{twice}: it takes one value, or ALIAS=PATH for each output")
        if alias and not path:
            raise click.UsageError(f"{name} {word}: no path behind `=`")
        found[alias] = path
    return found


def read_bytes(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """The bytes of a size such as 128MiB or 5GB."""
    from ckptsurgeon.specs import parse_bytes

    try:
        return None if text is None else parse_bytes(text)
    except ValueError as error:
        raise click.BadParameter(str(error), context, option) from None


def read_rule_file(output: str | None, *, force: bool) -> str | None:
    """The file that rules are written to, its name and its place checked; None for stdout."""
    if output is None or output == STREAM:
        return None
    from ckptsurgeon.checkpoints.writing.staging import refuse_file
    from ckptsurgeon.drafting.saving import refuse_name

    refuse_name(Path(output))
    refuse_file(Path(output), force=force)
    return output


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
    given = [word for word in ("into", "source") if isinstance(words[word], str)]
    named = [word for word in given if is_factory(words[word])]
    if not named:
        sides = f"neither {name_destination()} nor {name_alias('')}"
        raise click.UsageError(f"--model-args: {sides} is a factory, as pkg.mod:name")
    arguments = read_arguments(words["model_args"], "--model-args")
    return {**words, named[0]: open_factory(words[named[0]], arguments)}


def read_factory_arguments(name: str, text: str | None) -> dict[str, Any] | None:
    """The arguments that --model-args gives to a factory; raises UsageError where it is none."""
    from ckptsurgeon.factories import is_factory, read_arguments

    if text is None:
        return None
    if not is_factory(name):
        raise click.UsageError(f"--model-args: {name} is no factory, as pkg.mod:name")
    return read_arguments(text, "--model-args")


def open_streams(words: Mapping[str, Any]) -> Mapping[str, Any]:
    """The words with what `-` reads from standard input in its place, which is read once."""
    files = [word for word in ("source", "into", "config") if words[word] == STREAM]
    if len(files) + list(words["rules"]).count(STREAM) > 1:
        raise click.UsageError("`-` stands more than once, and standard input is read once")
    if not files:
        return words
    opened = read_config_stream() if files[0] == "config" else open_spec_stream()
    return {**words, files[0]: opened}


def load_rules(rules: Sequence[str], arrows: Sequence[str] = ()) -> Any:
    """The rule files of `-r` in order, with the rules of `-e` in front of the last stage's."""
    from ckptsurgeon.given_rules import load_rulesets, put_before, read_rules
    from ckptsurgeon.language.rulesets import rules_from_arrows
    from ckptsurgeon.planner.compiling.compilation import refuse_problems

    found = [read_ruleset_stream() if one == STREAM else read_rules(one) for one in rules]
    rulesets = load_rulesets(found or None)
    if arrows:
        rulesets = put_before(rulesets, rules_from_arrows(arrows))
    return refuse_problems(rulesets)


def read_request(words: Mapping[str, Any]) -> dict[str, Any]:
    """What a command's words ask for, as the functions of the library take it."""
    words = open_streams(build_factory(words))
    has_rules = words["rules"] or words["arrows"]
    return {
        "source": words["source"],
        "into": words["into"],
        "rules": load_rules(words["rules"], words["arrows"]) if has_rules else None,
        "sources": named_sources(words),
        "config": words["config"],
        "variables": read_assignments(words["given"], "--set", "NAME=VALUE"),
        "root": read_roots(words["root"]),
        "one_shard": words["one_shard"],
    }
