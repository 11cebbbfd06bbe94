"""`subnet automations`: who is told when something is wrong, on a real network's Prefect server."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command()
@click.option(
    "--block",
    default="subnet-alerts",
    show_default=True,
    help="The name of the notification block in Prefect.",
)
@click.option(
    "--url-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the address of a webhook: the block is made of it, or changed to it.",
)
def command(*, block: str, url_file: Path | None) -> None:
    """Make or renew the automations on the server at PREFECT_API_URL; repeating it changes nothing.

    They tell you through a notification block of Prefect's: Slack, Teams, Discord, PagerDuty, mail or any webhook, made in the UI
    (Blocks) under the name subnet-alerts; or made here from a file with a webhook's address, to which subject and text are sent
    as JSON. The address is a secret: it stands in no setting, no argument and no log.

    \b
    Examples:
      subnet automations
      subnet automations --url-file /run/secrets/alerts-url
    """
    from deployments.automations import OURS  # noqa: PLC0415  it takes long to import
    from deployments.pace import ask_pace  # noqa: PLC0415  as above
    from deployments.prefect_setup import ensure_automations, ensure_block  # noqa: PLC0415  as above
    from deployments.remote import remote_settings  # noqa: PLC0415  as above

    settings = remote_settings()
    if url_file is not None:
        ensure_block(os.environ, block, url_file)
    done = ensure_automations(os.environ, settings.netuid, ask_pace(settings, click.echo), block)
    click.echo("\n".join(done) or f"All automations of `{OURS}{settings.netuid}` are as they should be.")
