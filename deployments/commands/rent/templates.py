"""`subnet rent templates`: pods that are started often."""

from __future__ import annotations

from pathlib import Path

import click

from deployments.commands.rent.up import FILE, registry_of
from deployments.renting.desk import Desk, complete_templates, verb
from deployments.renting.look import Column, show_items
from deployments.renting.wire import Document, part, text, texts
from deployments.renting.wishes import checked_name, environment_of, mount_of, port_of, size_of, words_of

TEMPLATES = (
    Column("template", lambda t: text(t, "name")),
    Column("image", lambda t: text(part(t, "pod"), "image")),
    Column("whose", lambda t: "yours" if t.get("is_own") is True else "the market's"),
    Column("seen running", lambda t: "yes" if t.get("seen_running") is True else "not yet"),
    Column("environment", lambda t: " ".join(texts(part(t, "pod"), "environment")) or "-"),
    Column("about", lambda t: text(t, "about")),
)


@click.group()
def command() -> None:
    """List, keep and remove templates; `subnet rent up --template NAME` starts one.

    \b
    Examples:
      subnet rent templates ls
      subnet rent templates add train --image me/train:3 --env-file train.env --port 6006
    """


@command.command()
@verb
def ls(desk: Desk) -> None:
    """List your templates and the market's; what was not run yet says so.

    \b
    Examples:
      subnet rent templates ls
    """
    with desk.open() as client:
        items = list(client.pages("/v1/templates"))
    if desk.is_json:
        desk.answer({"items": items})
        return
    show_items(TEMPLATES, items, "no templates")


@command.command()
@click.argument("name")
@click.option("--image", required=True)
@click.option("--about", default="", help="What it is for.")
@click.option(
    "--command", "words", help="Instead of the image's own; words as in a shell, but no shell reads them."
)
@click.option("--entrypoint", help="Instead of the image's own.")
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="NAME alone takes the value that it has here.",
)
@click.option("--env-file", "env_files", multiple=True, type=FILE, help="Lines of NAME=VALUE or NAME.")
@click.option("--port", "ports", multiple=True, metavar="PORT[/udp]", help="To be reached from outside.")
@click.option("--volume", "volumes", multiple=True, metavar="NAME:/path")
@click.option("--shm", help="Shared memory, e.g. 16g.")
@click.option("--registry-user", help="Of a private image.")
@click.option("--registry-password-file", type=FILE)
@click.option(
    "--replace", "is_replaced", is_flag=True, help="Let it stand in the place of the one of its name."
)
@verb
def add(
    desk: Desk,
    *,
    name: str,
    image: str,
    about: str,
    words: str | None,
    entrypoint: str | None,
    variables: tuple[str, ...],
    env_files: tuple[Path, ...],
    ports: tuple[str, ...],
    volumes: tuple[str, ...],
    shm: str | None,
    registry_user: str | None,
    registry_password_file: Path | None,
    is_replaced: bool,
) -> None:
    """Keep a template. The values of its environment are sealed: nobody can read them again, you neither.

    \b
    Examples:
      subnet rent templates add train --image me/train:3 --env-file train.env --port 6006
      subnet rent templates add train --image me/train:4 --replace
    """
    environment, _ = environment_of(variables, env_files, desk.environment)
    pod: Document = {
        "image": image,
        "entrypoint": entrypoint,
        "words": words_of(words) if words else None,
        "environment": environment or None,
        "ports": [port_of(port) for port in ports] or None,
        "mounts": [mount_of(volume) for volume in volumes] or None,
        "shm_bytes": size_of("--shm", shm) if shm else None,
        "registry": registry_of(registry_user, registry_password_file),
    }
    body: Document = {"about": about, "pod": {k: v for k, v in pod.items() if v is not None}}
    checked_name("NAME", name)
    with desk.open() as client:
        path = f"/v1/templates/{name}"
        made = client.put(path, body) if is_replaced else client.post("/v1/templates", {**body, "name": name})
    desk.answer(made, f"{name}: kept")


@command.command()
@click.argument("name", shell_complete=complete_templates)
@verb
def rm(desk: Desk, *, name: str) -> None:
    """Remove a template of yours; leases that were made from it stay. One that is not there is no mistake.

    \b
    Examples:
      subnet rent templates rm train
    """
    checked_name("NAME", name)
    with desk.open() as client:
        was = client.drop(f"/v1/templates/{name}")
    desk.answer({"name": name, "was_there": was}, f"{name}: {'removed' if was else 'is not there'}")
