"""Groups of commands that import a command's module only when the command is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

import click
from click.shell_completion import CompletionItem

NOWHERE_ELSE: Mapping[str, str] = MappingProxyType({})


def lazy_group(
    package: str, commands: Mapping[str, str], places: Mapping[str, str] = NOWHERE_ELSE
) -> type[click.Group]:
    """A click group over the modules of a package: each name of `commands` is a module with a click command `command`.

    The values are the lines of the group's `--help` and of a shell's completion, which so import none of them. `places`
    says where a name lies that has no module of its own: `module:attribute`.
    """

    class LazyGroup(click.Group):
        def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
            return list(commands)

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
            if cmd_name not in commands:
                return None
            module, _, attribute = places.get(cmd_name, f"{cmd_name}:command").partition(":")
            found = getattr(importlib.import_module(f"{package}.{module}"), attribute)
            assert isinstance(found, click.Command)
            return found

        def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
            with formatter.section("Commands"):
                formatter.write_dl(list(commands.items()))

        def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
            names = [CompletionItem(n, help=h) for n, h in commands.items() if n.startswith(incomplete)]
            return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    return LazyGroup
