"""`subnet down`: stop what `subnet up` has started."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import click

from deployments.localnet.holder import holder_of, is_running
from deployments.localnet.layout import Layout
from deployments.sites import folder_of
from tasks.errors import SubnetError

DEADLINE_S = 30.0


@click.command()
@click.option("--quiet", is_flag=True, help="Say nothing when nothing is up.")
def command(*, quiet: bool) -> None:
    """Stop the local system that `subnet up` keeps up; harmless when nothing is.

    \b
    Example:
      subnet down
    """
    layout = Layout(folder_of(os.environ))
    holder = holder_of(layout)
    if holder is None or not is_running(layout):
        if not quiet:
            click.echo("Nothing is up.")
        return
    with suppress(ProcessLookupError):
        os.kill(holder.pid, signal.SIGTERM)
    end = time.monotonic() + DEADLINE_S
    while is_running(layout):
        if time.monotonic() > end:
            raise SubnetError(
                f"process {holder.pid} still runs after {DEADLINE_S:.0f} s; end it with kill -9"
            )
        time.sleep(0.1)
    click.echo("Stopped.")
