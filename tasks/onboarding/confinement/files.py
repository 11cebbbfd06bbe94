"""The files, folders and users of a machine that validators come to, as data: whoever sets it up writes them as they are.

    accounts(machine)   two users without a password: one for validating, one for renting
    folders(machine)    before the files
    files(machine)      sshd's part, the keys that count, the keeper and its settings, its unit

Both users come in by certificates of the miner's own authority only, each by those of its own principal, and get one
program, `keeper enter`, whatever they ask for. Only the one for renting is in the container engine's group.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from tasks.edges.shell import LOADER
from tasks.errors import SettingError
from tasks.inspection.facts.containers import DOCKER, PODMAN
from tasks.onboarding.confinement import keeper

VALIDATE_USER, RENT_USER = "subnet", "subnet-rent"
LIBRARY, SETTINGS_FOLDER, STATE = "/usr/local/lib/subnet", "/etc/subnet", "/var/lib/subnet"
KEEPER = f"{LIBRARY}/keeper"
SSHD_DROP_IN = "/etc/ssh/sshd_config.d/60-subnet.conf"
UNIT_NAME = "subnet-keeper.service"
UNIT = f"/etc/systemd/system/{UNIT_NAME}"
LOCKS = f"{STATE}/locks"
HIDDEN = ("/home", "/root", SETTINGS_FOLDER, "/mnt", "/media", "/srv")
"""Where a miner keeps what is its own: empty for validators, whatever the modes in there are."""
ENGINES = {fact.command.name: fact.command.command for fact in (DOCKER, PODMAN)}
"""What validators want to know of an engine, which none of them may talk to."""
MAX_SESSION_S = 7_200

_EXECUTOR_ID = re.compile(r"[a-z0-9-]{1,64}")
_PYTHON = re.compile(r"/[A-Za-z0-9._/+-]{1,200}")
_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]{68}")
_GROUP = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the files depend on; SettingError for what would mean something else where it is written."""

    executor_id: str
    authority: str
    """The public half of the miner's authority: `ssh-ed25519 AAAA...`."""
    python: str
    """The interpreter that the miner announces, with what the prover imports."""
    engine_group: str = "docker"
    """May use the container engine's socket."""
    card_groups: tuple[str, ...] = ("video", "render")
    environment: tuple[tuple[str, str], ...] = ()
    """Beside PATH, HOME and the place of the cards' locks."""
    hidden: tuple[str, ...] = HIDDEN

    def __post_init__(self) -> None:
        _check("executor.id", self.executor_id, _EXECUTOR_ID)
        _check("authority", self.authority, _KEY)
        _check("python", self.python, _PYTHON)
        if any(self.python.startswith(f"{folder}/") for folder in (*self.hidden, *keeper.PRIVATE)):
            wanted = f"a path outside of {', '.join(self.hidden)} and temporary folders"
            raise SettingError("python", self.python, wanted)
        for group in (self.engine_group, *self.card_groups):
            _check("group", group, _GROUP)


@dataclass(frozen=True, slots=True)
class Account:
    """A user: a group of its own name, `*` for a password (an sshd without PAM lets nobody in where it is `!`), a shell
    that sshd needs for its command.
    """

    name: str
    home: str
    groups: tuple[str, ...] = ()
    shell: str = "/bin/sh"


@dataclass(frozen=True, slots=True)
class MachineFolder:
    """A folder of root's, or of a user's."""

    path: str
    mode: int = 0o755
    owner: str = "root"


@dataclass(frozen=True, slots=True)
class MachineFile:
    """A file, whole; all are root's."""

    path: str
    text: str
    mode: int = 0o644


def accounts(machine: Machine) -> tuple[Account, ...]:
    """The two users."""
    return (
        Account(VALIDATE_USER, f"{STATE}/{VALIDATE_USER}"),
        Account(RENT_USER, f"{STATE}/{RENT_USER}", (machine.engine_group,)),
    )


def folders() -> tuple[MachineFolder, ...]:
    """In the order in which they are made; homes stand here once more for their modes."""
    return (
        MachineFolder(LIBRARY),
        MachineFolder(f"{LIBRARY}/bin"),
        MachineFolder(SETTINGS_FOLDER),
        MachineFolder(f"{SETTINGS_FOLDER}/authorized_keys"),
        MachineFolder(STATE),
        MachineFolder(f"{STATE}/{VALIDATE_USER}", 0o755),
        MachineFolder(f"{STATE}/{RENT_USER}", 0o700, RENT_USER),
        MachineFolder(f"{STATE}/home"),
        MachineFolder(f"{STATE}/homes", 0o700),
        MachineFolder(LOCKS, 0o1777),
    )


def files(machine: Machine) -> tuple[MachineFile, ...]:
    """All files."""
    keys = f"{SETTINGS_FOLDER}/authorized_keys"
    return (
        MachineFile(KEEPER, keeper_text(), 0o755),
        *(MachineFile(f"{LIBRARY}/bin/{name}", shown_text(name), 0o755) for name in ENGINES),
        MachineFile(keeper.SETTINGS, settings_text(machine), 0o600),
        MachineFile(f"{keys}/{VALIDATE_USER}", keys_text(machine, "validate")),
        MachineFile(f"{keys}/{RENT_USER}", keys_text(machine, "rent")),
        MachineFile(SSHD_DROP_IN, sshd_text()),
        MachineFile(UNIT, unit_text()),
    )


def keys_text(machine: Machine, purpose: str) -> str:
    """Whose certificates let in, and with which principal: nothing is added to it, and nothing runs out."""
    principal = f"subnet-{purpose}:{machine.executor_id}"
    return f'restrict,cert-authority,principals="{principal}" {machine.authority}\n'


def sshd_text() -> str:
    """What sshd is told. The command here wins over one in a certificate, and stands in sftp's place too."""
    options = {
        "AuthorizedKeysFile": f"{SETTINGS_FOLDER}/authorized_keys/%u",
        "AuthorizedKeysCommand": "none",
        "AuthorizedPrincipalsFile": "none",
        "TrustedUserCAKeys": "none",
        "AuthenticationMethods": "publickey",
        "PubkeyAuthentication": "yes",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "ForceCommand": f"{KEEPER} enter",
        "ExposeAuthInfo": "yes",
        "DisableForwarding": "yes",
        "AllowTcpForwarding": "no",
        "AllowStreamLocalForwarding": "no",
        "AllowAgentForwarding": "no",
        "X11Forwarding": "no",
        "GatewayPorts": "no",
        "PermitTunnel": "no",
        "PermitTTY": "no",
        "PermitUserRC": "no",
        "MaxSessions": "1",
        "ClientAliveInterval": "15",
        "ClientAliveCountMax": "4",
    }
    lines = [f"    {name} {value}" for name, value in options.items()]
    return "\n".join([f"Match User {VALIDATE_USER},{RENT_USER}", *lines, "Match all", ""])


def settings_text(machine: Machine) -> str:
    """The keeper's settings."""
    settings = keeper.Settings(
        ca=machine.authority.split()[1],
        command=[machine.python, "-I", "-c", LOADER],
        validate_user=VALIDATE_USER,
        rent_user=RENT_USER,
        groups=list(machine.card_groups),
        home=f"{STATE}/home",
        homes=f"{STATE}/homes",
        hidden=list(machine.hidden),
        tools=f"{LIBRARY}/bin",
        engines=dict(ENGINES),
        environment={"SUBNET_PROOF_LOCKS": LOCKS, **dict(machine.environment)},
        max_session_s=MAX_SESSION_S,
    )
    return json.dumps(settings._asdict(), indent=2) + "\n"


def keeper_text() -> str:
    """The keeper as a program."""
    return "#!/usr/bin/python3 -I\n" + Path(keeper.__file__).read_text(encoding="utf-8")


def shown_text(name: str) -> str:
    """What stands in a container engine's place for validators: it tells what the engine told the keeper, no more."""
    return f"""\
#!/bin/sh
if [ "$1" = info ] && [ -s {keeper.SHOWN}/{name} ]; then exec cat {keeper.SHOWN}/{name}; fi
echo "{name}: not found" >&2
exit 127
"""


def unit_text() -> str:
    """The keeper's unit. Sessions outlive a keeper that is started again; no address is reached from any of them."""
    return f"""\
[Unit]
Description=Sessions of validators and renters
After=local-fs.target

[Service]
ExecStart={KEEPER} serve
Restart=always
RestartSec=1
KillMode=process
RuntimeDirectory=subnet
RuntimeDirectoryPreserve=yes
IPAddressDeny=any
TasksMax=16384
ProtectSystem=full
ProtectKernelModules=yes

[Install]
WantedBy=multi-user.target
"""


def _check(name: str, value: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(value):
        raise SettingError(name, value[:100], pattern.pattern)
