"""The agent as a systemd unit that may do next to nothing beside it: no other user, no device, no file but its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import SettingError
from tasks.offering.config import MinerConfig

_TEXT = """\
[Unit]
Description=Miner's agent of the compute subnet
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
User={user}
EnvironmentFile=-/etc/subnet/miner.env
Environment={caches}
ExecStartPre=+/usr/bin/install -d -m 0700 -o {user} {folder}
ExecStart={command}
Restart=on-failure
RestartSec=5
TimeoutStopSec=30
UMask=0077
MemoryMax=1G
TasksMax=256

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={writable}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, slots=True)
class Start:
    """How the unit starts the agent."""

    program: Path
    """The `subnet` command."""
    arguments: tuple[str, ...]
    user: str


def unit(config: MinerConfig, start: Start) -> str:
    """The unit's text; SettingError where the agent keeps nothing, or a path can't stand in a unit."""
    if config.folder is None:
        raise SettingError("folder", "not set in the agent's file", 'a folder, e.g. "/var/lib/subnet-miner"')
    writable = [config.folder]
    if config.ssh_ca is None:
        writable += [e.authorized_keys.parent for e in config.executors if e.authorized_keys is not None]
    return _TEXT.format(
        user=start.user,
        folder=_word(config.folder),
        caches=_word(f"SUBNET_CACHE={config.folder / 'cache'}"),
        command=" ".join(_word(part) for part in (str(start.program), *start.arguments)),
        # The minus: a folder that is not there yet keeps no agent from starting.
        writable=" ".join(dict.fromkeys(_word(f"-{path}") for path in writable)),
    )


def _word(part: Path | str) -> str:
    """One word of a unit's line, as systemd takes it apart again."""
    text = str(part)
    if not text.isprintable():
        raise SettingError("path", repr(text), "a path of printable characters")
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return text if re.fullmatch(r"[A-Za-z0-9@%+=:,./_$\[\]-]+", text) else f'"{text}"'
