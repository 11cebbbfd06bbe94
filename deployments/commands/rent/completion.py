"""`subnet rent completion`: the shell's completion of commands, leases, templates and volumes."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

PROGRAM, VARIABLE = "subnet", "_SUBNET_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(*, shell: str) -> None:
    """Print a script that completes `subnet` in your shell: verbs, options, and the names of your leases and templates.

    Names come from the market within two seconds or not at all; without a market or a key nothing is said.

    \b
    Examples:
      subnet rent completion bash >> ~/.bashrc
      subnet rent completion zsh > ~/.zfunc/_subnet
      subnet rent completion fish > ~/.config/fish/completions/subnet.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(click.Group(), {}, PROGRAM, VARIABLE).source())
