"""`subnet miner check`: what validators will find on a machine, seen by its miner first, with the command that mends it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from deployments.histories import json_option, own_settings
from deployments.sites import folder_of
from deployments.view import cell, make_console, size
from flows.policies import named_policy
from storage.records import Reason
from tasks.errors import SettingError
from tasks.onboarding.machine import Machine, parse_machine
from tasks.onboarding.mends import command_for

if TYPE_CHECKING:
    from tasks.edges.shell import EpochKey
    from tasks.onboarding.preflight import Report

MAX_MACHINES = 1_000
PYTHON = "/usr/bin/python3"
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("hosts", metavar="HOST...", nargs=-1, required=True)
@click.option("--user", default="root", show_default=True, help="Who logs in, where HOST names nobody.")
@click.option("--key", type=FILE, help="Your SSH key (ed25519) for the machines; ~/.ssh/id_ed25519.")
@click.option("--python", default=PYTHON, show_default=True, help="The interpreter that will be announced.")
@click.option("--policy", "policy_name", help="Whose minimum counts; that of the settings if not given.")
@click.option("--known-hosts", type=FILE, help="Where host keys are pinned; miner/known_hosts of our folder.")
@click.option("--accept-new", is_flag=True, help="Pin the keys of machines that are new without asking.")
@json_option
def command(
    *,
    hosts: tuple[str, ...],
    user: str,
    key: Path | None,
    python: str,
    policy_name: str | None,
    known_hosts: Path | None,
    accept_new: bool,
    as_json: bool,
) -> None:
    """Look at machines as a validator will, over your own SSH login, and say what each lacks and which command mends it.

    HOST is [user@]host[:port]. The facts and checks are those of the validators, and beside them what bringing a machine in
    needs: root or sudo, Python with the prover's modules, NVIDIA's toolkit, a clock that is right, open ports. Nothing is
    changed there. A machine's host key is shown and pinned at the first meeting; another one is refused ever after. With
    --json nobody is asked: new keys are pinned with --accept-new alone. Exit code 1 when a machine would not be paid.

    \b
    Examples:
      subnet miner check root@203.0.113.7
      subnet miner check 203.0.113.7 203.0.113.8:2222 --user ubuntu --key ~/.ssh/gpu
      subnet miner check 203.0.113.7 --accept-new --json
    """
    from tasks.edges.shell import Shell  # noqa: PLC0415  SSH is a second of import
    from tasks.onboarding.login import Pins  # noqa: PLC0415  as above
    from tasks.onboarding.preflight import Preflight  # noqa: PLC0415  as above

    machines = _machines(hosts, user, python)
    policy = named_policy(policy_name or own_settings().policy)
    pins = Pins(known_hosts or folder_of(os.environ) / "miner" / "known_hosts")

    def agreed(machine: Machine, seen: str) -> bool:
        if accept_new or as_json:
            return accept_new
        click.echo(f"{machine.place} shows the host key {seen}, for the first time")
        return click.confirm("Is it what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says there?")

    reports = Preflight(Shell(), pins, policy, agreed).look_at_all(machines, _ssh_key(key))
    if as_json:
        click.echo(json.dumps({"machines": [_document(report) for report in reports]}, indent=2))
    else:
        for report in reports:
            _show(make_console(), report)
    if not all(report.is_fit for report in reports):
        raise click.exceptions.Exit(1)


def _machines(hosts: tuple[str, ...], user: str, python: str) -> list[Machine]:
    if len(hosts) > MAX_MACHINES:
        raise SettingError("HOST", f"{len(hosts)} machines", f"at most {MAX_MACHINES}")
    return list(dict.fromkeys(parse_machine(host, user, python) for host in hosts))


def _ssh_key(file: Path | None) -> EpochKey:
    from tasks.onboarding.login import load_ssh_key, needs_passphrase  # noqa: PLC0415  as above

    path = (file or Path("~/.ssh/id_ed25519")).expanduser()
    if not needs_passphrase(path):
        return load_ssh_key(path)
    return load_ssh_key(path, click.prompt(f"Passphrase of {path} (not shown)", hide_input=True))


# --- what a miner sees -----------------------------------------------------------------------------


def _show(console: Console, report: Report) -> None:
    verdict = "fits" if report.is_fit else "does not fit"
    console.print(
        cell(f"{report.machine.user}@{report.machine.place}: {verdict}"), style="bold", soft_wrap=True
    )
    if told := _told(report):
        console.print(cell(f"  {told}"), soft_wrap=True)
    if report.checked:
        console.print(cell(f"  {report.passed} of {report.checked} checks passed, {report.seconds:.1f} s"))
    for reason in sorted(report.reasons, key=lambda r: (not r.fails, not r.decides)):
        _show_reason(console, report.machine, reason)


def _show_reason(console: Console, machine: Machine, reason: Reason) -> None:
    style = "red" if reason.fails else "yellow"
    console.print(cell(f"  {reason.severity:10} {reason.code}"), style=style)
    console.print(cell(f"             got {reason.got}; wanted {reason.wanted}"), soft_wrap=True)
    console.print(cell(f"             {reason.mend}"), soft_wrap=True)
    if line := command_for(reason, machine):
        # Whole, so that it can be copied.
        console.file.write(f"             $ {line}\n")


def _told(report: Report) -> str:
    """What the machine is, in one line."""
    facts, found = report.found.facts, report.found
    cards = f"{len(facts.cards)} x {facts.cards[0].model}" if facts.cards else ""
    parts = [
        cards,
        f"{size(facts.ram_bytes)} RAM" if facts.ram_bytes else "",
        f"{size(facts.disk_free_bytes)} free" if facts.disk_free_bytes else "",
        " ".join(x for x in (facts.os_id, facts.os_version) if x),
        facts.container_runtime or "",
        "Python " + ".".join(map(str, found.environment.version)) if found.environment else "",
        f"{report.bandwidth.up_mbit_s:.0f}/{report.bandwidth.down_mbit_s:.0f} Mbit/s"
        if report.bandwidth
        else "",
        f"clock {found.clock_offset_s:+.1f} s" if found.clock_offset_s is not None else "",
    ]
    return ", ".join(part for part in parts if part)


def _document(report: Report) -> dict[str, object]:
    facts, found = report.found.facts, report.found
    return {
        "host": report.machine.place,
        "user": report.machine.user,
        "address": report.machine.address,
        "fits": report.is_fit,
        "fingerprint": report.fingerprint,
        "is_first_meeting": report.is_first_meeting,
        "cards": [{"model": c.model, "uuid": c.uuid, "vram_mib": c.vram_mib} for c in facts.cards],
        "ram_bytes": facts.ram_bytes,
        "disk_free_bytes": facts.disk_free_bytes,
        "container_runtime": facts.container_runtime,
        "privilege": found.privilege,
        "python": list(found.environment.version) if found.environment else None,
        "toolkit": found.toolkit,
        "clock_offset_s": found.clock_offset_s,
        "ports_open": found.is_port_open,
        "up_mbit_s": report.bandwidth.up_mbit_s if report.bandwidth else None,
        "down_mbit_s": report.bandwidth.down_mbit_s if report.bandwidth else None,
        "checked": report.checked,
        "passed": report.passed,
        "reasons": [
            {
                "code": r.code,
                "severity": r.severity,
                "got": r.got,
                "wanted": r.wanted,
                "mend": r.mend,
                "command": command_for(r, report.machine),
            }
            for r in report.reasons
        ],
        "seconds": round(report.seconds, 3),
    }
