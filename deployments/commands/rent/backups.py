"""`subnet rent backups`, `backup`, `restore`: copies of volumes and folders, byte for byte."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import click

from deployments.commands.rent.power import operated
from deployments.renting.desk import Desk, find_lease, lease_argument, verb
from deployments.renting.following import result_of
from deployments.renting.look import Column, show_items, when
from deployments.renting.wire import Document, integer, moment, short_lease, text
from deployments.renting.wishes import checked_id, checked_name
from tasks.errors import BadAnswer, SettingError

BACKUPS = (
    Column("backup", lambda b: text(b, "backup_id")),
    Column("of", lambda b: text(b, "source")),
    Column("lease", lambda b: short_lease(text(b, "lease_id"))),
    Column("MiB", lambda b: f"{integer(b, 'size_bytes') / (1 << 20):.1f}"),
    Column("state", lambda b: text(b, "state")),
    Column("at (UTC)", lambda b: when(moment(b, "at"))),
)
_detach = click.option("--detach", is_flag=True, help="Do not wait until it is done.")


@click.group()
def command() -> None:
    """List, fetch and remove backups; `subnet rent backup` makes one, `subnet rent restore` writes it back.

    \b
    Examples:
      subnet rent backups ls
      subnet rent backups get 7c21 --out data.tar
    """


@command.command()
@verb
def ls(desk: Desk) -> None:
    """List your backups.

    \b
    Examples:
      subnet rent backups ls
    """
    with desk.open() as client:
        items = list(client.pages("/v1/backups"))
    if desk.is_json:
        desk.answer({"items": items})
        return
    show_items(BACKUPS, items, "no backups: `subnet rent backup LEASE --volume NAME` makes one")


@command.command()
@click.argument("backup_id", metavar="BACKUP")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="A file that is not there yet.",
)
@verb
def get(desk: Desk, *, backup_id: str, out: Path) -> None:
    """Fetch a backup as a tar file; its digest is compared, and a file that does not fit is not kept.

    \b
    Examples:
      subnet rent backups get 7c21 --out data.tar
    """
    if out.exists():
        raise SettingError("--out", str(out)[:100], "a file that is not there yet")
    name = checked_id("BACKUP", backup_id)
    beside = out.with_name(f".{out.name}.part")
    try:
        with desk.open() as client, beside.open("xb") as file:
            told, digest, size_bytes = client.get(f"/v1/backups/{name}"), blake2b(digest_size=32), 0
            for chunk in client.content(f"/v1/backups/{name}/content", integer(told, "size_bytes")):
                digest.update(chunk)
                size_bytes += file.write(chunk)
        if digest.hexdigest() != text(told, "blake2b") or size_bytes != integer(told, "size_bytes"):
            raise BadAnswer(f"backup {name} came with other bytes than it was made of; it is not kept")
        beside.replace(out)
    finally:
        beside.unlink(missing_ok=True)
    desk.answer({**told, "out": str(out)}, f"{out}: {size_bytes} bytes, digest as it was made")


@command.command()
@click.argument("backup_id", metavar="BACKUP")
@click.option("--yes", is_flag=True, help="Do not ask.")
@verb
def rm(desk: Desk, *, backup_id: str, yes: bool) -> None:
    """Remove a backup. One that is not there is no mistake.

    \b
    Examples:
      subnet rent backups rm 7c21 --yes
    """
    name = checked_id("BACKUP", backup_id)
    desk.is_sure(f"Remove backup {name}?", is_yes=yes)
    with desk.open() as client:
        was = client.drop(f"/v1/backups/{name}")
    desk.answer({"backup_id": name, "was_there": was}, f"{name}: {'removed' if was else 'is not there'}")


@click.command()
@lease_argument()
@click.option("--volume", help="A volume that the lease has mounted.")
@click.option("--path", help="Or a folder of its container.")
@_detach
@verb
def backup(desk: Desk, *, lease: str, volume: str | None, path: str | None, detach: bool) -> None:
    """Copy a volume or a folder of a lease to the market, byte for byte.

    \b
    Examples:
      subnet rent backup 3f9a --volume data
      subnet rent backup 3f9a --path /root/checkpoints
    """
    if (volume is None) == (path is None):
        raise SettingError("--volume and --path", "both" if volume else "neither", "exactly one of them")
    with desk.open() as client:
        operation = operated(
            client, find_lease(client, lease), "backups", _place(volume, path), detach=detach
        )
    made = text(result_of(operation), "backup_id")
    desk.answer(operation, f"backup {made or text(operation, 'operation_id')}: {text(operation, 'state')}")


@click.command()
@lease_argument()
@click.argument("backup_id", metavar="BACKUP")
@click.option("--volume", help="Into this volume of the lease; where it came from if not given.")
@click.option("--path", help="Or into this folder of its container.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_detach
@verb
def restore(
    desk: Desk, *, lease: str, backup_id: str, volume: str | None, path: str | None, yes: bool, detach: bool
) -> None:
    """Write a backup into a lease. What is there under the same names is overwritten.

    \b
    Examples:
      subnet rent restore 3f9a 7c21
      subnet rent restore 3f9a 7c21 --path /root/old --yes
    """
    if volume is not None and path is not None:
        raise SettingError("--volume and --path", "both", "one of them at most")
    name = checked_id("BACKUP", backup_id)
    desk.is_sure(f"Write backup {name} over what is there?", is_yes=yes)
    with desk.open() as client:
        body = {"backup_id": name, **_place(volume, path)}
        operation = operated(client, find_lease(client, lease), "restore", body, detach=detach)
    desk.answer(operation, f"{name}: restore {text(operation, 'state')}")


def _place(volume: str | None, path: str | None) -> Document:
    if volume is not None:
        return {"volume": checked_name("--volume", volume)}
    if path is not None and not path.startswith("/"):
        raise SettingError("--path", path[:60], "an absolute path in the container")
    return {"path": path} if path is not None else {}
