"""`subnet rent ssh`, `scp`, `rsync`: the system's own programs, with the lease's host key pinned."""

from __future__ import annotations

from pathlib import Path

import click

from deployments.renting.client import Client
from deployments.renting.desk import Desk, complete_leases, find_lease, lease_argument, show_json, verb
from deployments.renting.reach import Door, door_of, lease_of, pin
from deployments.renting.reach import rsync as rsync_argv
from deployments.renting.reach import scp as scp_argv
from deployments.renting.reach import ssh as ssh_argv
from deployments.renting.wire import part, texts
from deployments.renting.wishes import own_identity
from tasks.errors import SettingError

_identity = click.option(
    "--identity", "-i", help="The file of your private key; the one in ~/.ssh that is let in if not given."
)


@click.command(context_settings={"ignore_unknown_options": False})
@lease_argument()
@click.argument("words", nargs=-1, metavar="[COMMAND]...", type=click.UNPROCESSED)
@_identity
@click.option(
    "--forward", "-L", "forwards", multiple=True, metavar="PORT", help="8888, or 8888:localhost:8888."
)
@verb
def ssh(
    desk: Desk, *, lease: str, words: tuple[str, ...], identity: str | None, forwards: tuple[str, ...]
) -> int:
    """Open a terminal in a lease's container, or run a command there: its words go to the shell there, as ssh does it.

    The host key is the one that came with the lease, and no other is believed; your agent and display are not
    forwarded. `--json` prints the arguments instead of running them.

    \b
    Examples:
      subnet rent ssh 3f9a
      subnet rent ssh 3f9a -- nvidia-smi -L
      subnet rent ssh 3f9a -L 8888
    """
    with desk.open() as client:
        door, own = _door(desk, client, lease)
    known_hosts = pin(door, desk.config)
    argv = ssh_argv(door, known_hosts, identity=identity or own, forwards=forwards, command=words)
    if desk.is_json:
        show_json({"argv": list(argv)})
        return 0
    return desk.become(argv)


@click.command()
@click.argument("paths", nargs=-1, metavar="SOURCE... TARGET", shell_complete=complete_leases)
@_identity
@click.option("--recursive", "-r", is_flag=True, help="Folders too.")
@verb
def scp(desk: Desk, *, paths: tuple[str, ...], identity: str | None, recursive: bool) -> int:
    """Copy files to a lease or from it; one side is of the form LEASE:/path.

    \b
    Examples:
      subnet rent scp train.py data.bin 3f9a:/root/
      subnet rent scp -r 3f9a:/root/checkpoints .
    """
    door, own = _door_of_paths(desk, paths)
    argv = scp_argv(
        door, pin(door, desk.config), paths[:-1], paths[-1], identity=identity or own, recursive=recursive
    )
    return _ran(desk, argv)


@click.command()
@click.argument("paths", nargs=-1, metavar="SOURCE... TARGET", shell_complete=complete_leases)
@_identity
@click.option("--delete", is_flag=True, help="Remove there what is not here.")
@verb
def rsync(desk: Desk, *, paths: tuple[str, ...], identity: str | None, delete: bool) -> int:
    """Bring a folder up to date, there or here; one side is of the form LEASE:/path. The image must have rsync.

    \b
    Examples:
      subnet rent rsync src/ 3f9a:/root/src
      subnet rent rsync 3f9a:/root/out ./out --delete
    """
    door, own = _door_of_paths(desk, paths)
    argv = rsync_argv(
        door, pin(door, desk.config), paths[:-1], paths[-1], identity=identity or own, delete=delete
    )
    return _ran(desk, argv)


def _ran(desk: Desk, argv: tuple[str, ...]) -> int:
    if desk.is_json:
        show_json({"argv": list(argv)})
        return 0
    return desk.run(argv)


def _door_of_paths(desk: Desk, paths: tuple[str, ...]) -> tuple[Door, str | None]:
    if len(paths) < 2:
        raise SettingError("the paths", " ".join(paths)[:100], "at least a source and a target")
    wanted = lease_of(paths)
    with desk.open() as client:
        return _door(desk, client, wanted)


def _door(desk: Desk, client: Client, wanted: str) -> tuple[Door, str | None]:
    """The lease's door, and which of our keys it lets in: else an agent's others might be refused first, and too often."""
    lease = find_lease(client, wanted)
    if lease.state != "active":
        raise SettingError("LEASE", f"{lease.lease_id}, which is {lease.standing}", "one that is active")
    home = Path(desk.environment.get("HOME") or "~").expanduser()
    public_lines = texts(part(lease.document, "pod"), "public_keys", 10_000)
    return door_of(lease.lease_id, lease.address, lease.ssh_port, lease.host_key), own_identity(
        home, public_lines
    )
