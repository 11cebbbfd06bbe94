"""Groups of commands that import a command's module only when the command is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click


def lazy_group(package: str, commands: Mapping[str, str]) -> type[click.Group]:
    """A click group over the modules of a package: each name of `commands` is a module with a click command `command`.

    The values are the lines of the group's `--help`, which so imports none of them.
    """

    class LazyGroup(click.Group):
        def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
            return list(commands)

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
            if cmd_name not in commands:
                return None
            found = importlib.import_module(f"{package}.{cmd_name}").command
            assert isinstance(found, click.Command)
            return found

        def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
            with formatter.section("Commands"):
                formatter.write_dl(list(commands.items()))

    return LazyGroup
