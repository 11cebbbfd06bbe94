"""`subnet rent stop`, `start`, `reboot`, `replace`: what is asked of a lease that was handed over."""

from __future__ import annotations

from pathlib import Path

import click

from deployments.commands.rent.up import FILE, registry_of
from deployments.renting.client import Client
from deployments.renting.desk import Desk, complete_templates, find_lease, lease_argument, verb
from deployments.renting.following import until_done
from deployments.renting.wire import Document, Lease, text
from deployments.renting.wishes import environment_of, words_of
from tasks.errors import SettingError

_detach = click.option("--detach", is_flag=True, help="Do not wait until it is done.")


@click.command()
@lease_argument()
@_detach
@verb
def stop(desk: Desk, *, lease: str, detach: bool) -> None:
    """Stop a lease: it costs nothing, its data stay on the machine, its cards are free for others until you start it.

    A reserved lease keeps its cards, and is paid for the hours it is committed to. Stopped already: exit code 0.

    \b
    Examples:
      subnet rent stop 3f9a
    """
    _operate(desk, lease, "stop", {}, detach=detach, is_there="stopped")


@click.command()
@lease_argument()
@_detach
@verb
def start(desk: Desk, *, lease: str, detach: bool) -> None:
    """Start a stopped lease again, on the same cards, with its data. Refused while another holds the cards.

    \b
    Examples:
      subnet rent start 3f9a
    """
    _operate(desk, lease, "start", {}, detach=detach, is_there="active")


@click.command()
@lease_argument()
@_detach
@verb
def reboot(desk: Desk, *, lease: str, detach: bool) -> None:
    """Restart a lease's container; what is in its file system stays.

    \b
    Examples:
      subnet rent reboot 3f9a
    """
    _operate(desk, lease, "reboot", {}, detach=detach)


@click.command()
@lease_argument()
@click.option("--image", help="The new image.")
@click.option("--template", shell_complete=complete_templates, help="The new template.")
@click.option(
    "--command", "words", help="Instead of the image's own; words as in a shell, but no shell reads them."
)
@click.option("--entrypoint", help="Instead of the image's own.")
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="The new environment; NAME takes our value.",
)
@click.option("--env-file", "env_files", multiple=True, type=FILE, help="Lines of NAME=VALUE or NAME.")
@click.option("--registry-user", help="Of a private image.")
@click.option("--registry-password-file", type=FILE)
@click.option("--yes", is_flag=True, help="Do not ask.")
@_detach
@verb
def replace(
    desk: Desk,
    *,
    lease: str,
    image: str | None,
    template: str | None,
    words: str | None,
    entrypoint: str | None,
    variables: tuple[str, ...],
    env_files: tuple[Path, ...],
    registry_user: str | None,
    registry_password_file: Path | None,
    yes: bool,
    detach: bool,
) -> None:
    """Run another image on the same cards and ports, with the same volumes; what is in no volume is lost.

    \b
    Examples:
      subnet rent replace 3f9a --image ubuntu:24.04
      subnet rent replace 3f9a --template jupyter --yes
    """
    environment, _ = environment_of(variables, env_files, desk.environment)
    given: Document = {
        "image": image,
        "template": template,
        "entrypoint": entrypoint,
        "words": words_of(words) if words else None,
        "environment": environment or None,
        "registry": registry_of(registry_user, registry_password_file),
    }
    body = {name: value for name, value in given.items() if value is not None}
    if not body:
        raise SettingError(
            "--image", "not given", "what to run instead: an image, a template, a command, an environment"
        )
    desk.is_sure("Replace the container? What is in no volume is lost.", is_yes=yes)
    _operate(desk, lease, "replace", body, detach=detach)


def _operate(desk: Desk, wanted: str, kind: str, body: Document, *, detach: bool, is_there: str = "") -> None:
    """Ask it of the lease and wait for it; where the lease stands there already, say so."""
    with desk.open() as client:
        lease = find_lease(client, wanted)
        if lease.state == is_there:
            desk.answer(lease.document, f"{lease.lease_id} is {is_there} already")
            return
        operation = operated(client, lease, kind, body, detach=detach)
    desk.answer(operation, f"{lease.lease_id}: {kind} {text(operation, 'state')}")


def operated(client: Client, lease: Lease, kind: str, body: Document, *, detach: bool) -> Document:
    """The operation, asked for; done, unless nobody wants to wait."""
    operation = client.post(f"/v1/leases/{lease.lease_id}/{kind}", body)
    return operation if detach else until_done(client, operation)
