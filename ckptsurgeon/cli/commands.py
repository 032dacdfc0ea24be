"""Commands that answer what people try first, with examples at the end of their help."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import Any

import click

from ckptsurgeon.cli.guesses import COMMANDS, tell_extra, tell_option
from ckptsurgeon.errors import nearest
from ckptsurgeon.language.catalog import RULE_FILES


class Command(click.Command):
    """A command with examples, which tells what options of other names and further words mean."""

    def __init__(self, *words: Any, examples: Sequence[str] = (), **named: Any) -> None:
        super().__init__(*words, **named)
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it, with other words for what it refuses."""
        try:
            _, extra, order = self.make_parser(ctx).parse_args(list(args))
            if not (ctx.resilient_parsing or {"-h", "--help"}.intersection(args)):
                self._refuse_extra(ctx, extra)
                self._refuse_twice(ctx, order)
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            known = [name for one in self.params for name in one.opts]
            told = tell_option(error.option_name, known, self.name or "")
            if not told:
                raise
            message = f"there is no option {error.option_name}: {told}"
            raise click.UsageError(message, ctx) from None

    def _refuse_extra(self, ctx: click.Context, extra: Sequence[str]) -> None:
        """Raises UsageError for a word that no parameter takes, before one is found missing."""
        if extra:
            told = tell_extra(self.name or "", extra[0])
            raise click.UsageError(f"{extra[0]!r} is one word too many: {told}", ctx)

    def _refuse_twice(self, ctx: click.Context, given: Sequence[click.Parameter]) -> None:
        """Raises UsageError for an option that stands twice, of which the first would be lost."""
        once = [one for one in given if isinstance(one, click.Option) and _takes_one(one)]
        for option in once:
            if once.count(option) > 1:
                raise click.UsageError(f"{option.opts[0]} stands twice: it takes one value", ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, each on a line of its own."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def _takes_one(option: click.Option) -> bool:
    """Whether an option names one file: of others the last one wins, as aliases want it."""
    return isinstance(option.type, click.Path) and not option.multiple


class Group(click.Group):
    """A group of commands that tells which of them is meant by another name."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which they are needed."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it, with other words for options of a command that stand before it."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            own = [
                name
                for name, command in self.commands.items()
                if any(error.option_name in one.opts for one in command.params)
            ]
            own = [name for name in own if name in args] or own
            if not own:
                raise
            how = f"`{ctx.command_path} {own[0]} … {error.option_name}`"
            message = f"{error.option_name} stands behind the command, as in {how}"
            raise click.UsageError(message, ctx) from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with other words for a command that is not there."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            meant = COMMANDS.get(args[0].lower())
            known = meant and (meant.split()[0] in self.commands or meant.startswith("-"))
            told = f"write `{ctx.command_path} {meant}`" if known else ""
            if not known and "inspect" in self.commands and os.path.isfile(args[0]):
                looks = "check" if args[0].endswith(RULE_FILES) else "inspect"
                told = f"a file is looked at by `{ctx.command_path} {looks} {shlex.quote(args[0])}`"
            told = told or nearest(args[0], self.commands)
            if not told:
                raise
            raise click.UsageError(f"there is no command {args[0]!r}: {told}", ctx) from None


Group.group_class = Group
