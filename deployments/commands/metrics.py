"""`subnet metrics`: figures of the validator and its market for Prometheus."""

from __future__ import annotations

import signal
import threading

import click


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen at; nobody is asked who they are: keep it from the outside.",
)
@click.option("--port", type=click.IntRange(1, 65_535), default=9464, show_default=True)
@click.option("--once", is_flag=True, help="Print all figures once, and listen to nobody.")
def command(*, host: str, port: int, once: bool) -> None:
    """Answer Prometheus until SIGTERM or Ctrl-C: epochs, pass rates, false zeros, durations, weights, what waits, leases, money.

    It reads the database and the archive of the settings and writes nothing. `deployments/gauges/dashboard.json` is a dashboard for Grafana.

    \b
    Examples:
      subnet metrics --once
      subnet metrics --port 9464
    """
    from deployments.gauges.serving import Sources, serve, text_of  # noqa: PLC0415  it takes long to import
    from deployments.histories import own_history  # noqa: PLC0415  as above
    from deployments.operating import own_database  # noqa: PLC0415  as above

    with own_database() as engine:
        sources = Sources(engine, own_history())
        if once:
            click.echo(text_of(sources), nl=False)
            return
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        with serve(sources, host, port) as at:
            click.echo(f"figures at http://{host}:{at}/metrics; Ctrl-C stops", err=True)
            stop.wait()
