"""`subnet market serve`: the marketplace's API, until it is stopped."""

from __future__ import annotations

import logging

import click


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen at; put TLS before another one.",
)
@click.option("--port", type=click.IntRange(1, 65_535), default=8051, show_default=True)
def command(*, host: str, port: int) -> None:
    """Serve the API for renters until SIGTERM or Ctrl-C, with the starter of flows and the webhooks beside it.

    It works on the database of the settings, and can be stopped and started anew at any time: leases do not depend on
    it. `subnet up` does this on the local subnet by itself.

    \b
    Examples:
      subnet market serve
      subnet market serve --host 10.0.0.5 --port 8051
    """
    from deployments.marketplace.serve import serve  # noqa: PLC0415  it takes seconds to import
    from deployments.sites import load_dotenv, site_settings  # noqa: PLC0415  as above

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    load_dotenv()
    serve(site_settings(), host, port)
