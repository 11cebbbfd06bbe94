"""How a lease is reached with the system's own ssh, scp and rsync: argument vectors, never a shell string.

The machine's host key came with the lease, through the market: it is the only one that is believed, in a file of ours
and under the lease's own name, so that an address that serves another lease tomorrow surprises nobody. The machine is
a stranger's: no agent and no display is forwarded to it, whatever the user's ssh configuration says of all hosts.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deployments.renting.account import write_private
from tasks.errors import BadAnswer, SettingError

USER = "root"
KEY_TYPES = frozenset(
    {"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"}
)
_LEASE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z", re.ASCII)
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,252})\Z", re.ASCII | re.IGNORECASE)
_FORWARD = re.compile(
    r"(?:(?:127\.0\.0\.1|localhost):)?\d{1,5}:[A-Za-z0-9.-]{1,253}:\d{1,5}\Z|\d{1,5}\Z", re.ASCII
)
_ODD_IN_PATH = re.compile("[\"'%$\\\\\\x00-\\x1f\\x7f]")
"""What ssh or rsync reads as something else than itself in the value of an option."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where a lease's SSH server listens, and the one key that it may show."""

    lease_id: str
    address: str
    port: int
    host_key: str


def door_of(lease_id: str, address: str, port: int, host_key: str) -> Door:
    """A door of what the market told; BadAnswer when one of it is no address, port, key or name."""
    is_fit = (
        bool(_LEASE.match(lease_id)) and 1 <= port <= 65_535 and _is_address(address) and _is_key(host_key)
    )
    if not is_fit:
        raise BadAnswer(f"the market tells no usable SSH address of lease {lease_id[:63]!r}; is it active?")
    kind, blob = host_key.split()[:2]
    return Door(lease_id, address, port, f"{kind} {blob}")


def pin(door: Door, folder: Path) -> Path:
    """Write the lease's known_hosts file and tell where it is."""
    path = folder / "known_hosts" / door.lease_id
    if _ODD_IN_PATH.search(str(path)):
        raise SettingError(
            "the folder of known hosts", str(path), "a path without quotes, backslashes, % and $"
        )
    write_private(path, f"{_alias(door)} {door.host_key}\n")
    return path


def ssh(
    door: Door,
    known_hosts: Path,
    *,
    identity: str | None = None,
    forwards: Sequence[str] = (),
    command: Sequence[str] = (),
) -> tuple[str, ...]:
    """A terminal in the container, or a command there: its words go to the container's shell, as ssh does it."""
    tunnels = [word for forward in forwards for word in ("-L", _forward(forward))]
    options = [*_options(door, known_hosts, identity), "-p", str(door.port), "-l", USER, *tunnels]
    return ("ssh", *options, "--", door.address, *command)


def scp(
    door: Door,
    known_hosts: Path,
    sources: Sequence[str],
    target: str,
    *,
    identity: str | None = None,
    recursive: bool,
) -> tuple[str, ...]:
    """Copy to the lease or from it: one side has its name and a colon in front, see `ends`."""
    found, last = _ends(door, sources, target)
    options = [*_options(door, known_hosts, identity), "-P", str(door.port), *(["-r"] if recursive else [])]
    return ("scp", *options, "--", *found, last)


def rsync(
    door: Door,
    known_hosts: Path,
    sources: Sequence[str],
    target: str,
    *,
    identity: str | None = None,
    delete: bool = False,
) -> tuple[str, ...]:
    """Bring one side up to date with the other; paths reach the container's rsync as they are, through no shell."""
    found, last = _ends(door, sources, target)
    words = ["ssh", *_options(door, known_hosts, identity), "-p", str(door.port)]
    extra = ["--delete"] if delete else []
    remote_shell = " ".join(_rsync_word(word) for word in words)
    return (
        "rsync",
        "--archive",
        "--compress",
        "--partial",
        "--protect-args",
        *extra,
        f"--rsh={remote_shell}",
        "--",
        *found,
        last,
    )


def lease_of(paths: Sequence[str]) -> str:
    """The one lease that is named in the paths of a copy; SettingError when none or several are, or both sides are one."""
    named = {lease for path in paths if (lease := _split(path)[0])}
    is_target = bool(_split(paths[-1])[0])
    sources_named = [bool(_split(path)[0]) for path in paths[:-1]]
    is_one_way = (is_target and not any(sources_named)) or (not is_target and all(sources_named))
    if len(named) != 1 or not is_one_way:
        raise SettingError(
            "the paths", " ".join(paths)[:100], "one side of the form LEASE:/path, the other on this computer"
        )
    return named.pop()


def known_lease(name: str, key: str = "LEASE") -> str:
    """A lease's name, or the beginning of one, in its form; SettingError for anything else, options first."""
    if not _LEASE.match(name):
        raise SettingError(
            key, name[:80], "a lease, or the beginning of its name: `subnet rent ps` lists them"
        )
    return name


def _options(door: Door, known_hosts: Path, identity: str | None) -> list[str]:
    if identity is not None and (identity.startswith("-") or not identity.isprintable()):
        raise SettingError("--identity", identity[:80], "a file with a private key")
    pinned = {
        "UserKnownHostsFile": f'"{known_hosts}"',
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlias": _alias(door),
        "HostKeyAlgorithms": _algorithms(door),
        "CheckHostIP": "no",
        "UpdateHostKeys": "no",
        "VerifyHostKeyDNS": "no",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "PermitLocalCommand": "no",
        "ConnectTimeout": "15",
        "ServerAliveInterval": "15",
    }
    words = [word for name, value in pinned.items() for word in ("-o", f"{name}={value}")]
    return [*words, *(["-i", identity] if identity else [])]


def _alias(door: Door) -> str:
    return f"subnet-{door.lease_id}"


def _algorithms(door: Door) -> str:
    """What the server may sign with: of the pinned key's type only, so that it is asked for that key."""
    kind = door.host_key.split()[0]
    return "rsa-sha2-512,rsa-sha2-256" if kind == "ssh-rsa" else kind


def _ends(door: Door, sources: Sequence[str], target: str) -> tuple[list[str], str]:
    lease_of([*sources, target])
    found = [_end(door, path) for path in (*sources, target)]
    return found[:-1], found[-1]


def _end(door: Door, path: str) -> str:
    lease, remote = _split(path)
    if not lease:
        return _local(path)
    if remote.startswith("-") or "\0" in remote or "\n" in remote:
        raise SettingError(
            "the path in the container", remote[:80], "one that is not taken for an option; put ./ in front"
        )
    host = f"[{door.address}]" if ":" in door.address else door.address
    return f"{USER}@{host}:{remote}"


def _local(path: str) -> str:
    """A path of this computer in a form that is no option and no host's: `./` in front where it could be one."""
    if not path or "\0" in path:
        raise SettingError("the path on this computer", path[:80], "a path")
    return path if path.startswith(("/", "./", "../")) else f"./{path}"


def _split(path: str) -> tuple[str, str]:
    """`LEASE:/path`; a path with a slash before its first colon is of this computer, as scp has it."""
    name, colon, remote = path.partition(":")
    if not colon or "/" in name or name.startswith("."):
        return "", path
    return known_lease(name, "the lease of a path"), remote


def _forward(text: str) -> str:
    """`8888`, or `8888:localhost:8888`: a port of this computer, on loopback, that leads to one behind the container."""
    if not _FORWARD.match(text):
        raise SettingError("--forward", text[:80], "a port like 8888, or 8888:localhost:8888")
    full = f"{text}:localhost:{text}" if text.isdigit() else text
    return full if full.startswith(("127.0.0.1:", "localhost:")) else f"127.0.0.1:{full}"


def _rsync_word(word: str) -> str:
    """A word of rsync's remote shell, which rsync splits itself: at spaces, except in quotes. No shell sees it."""
    if not re.fullmatch(r"[^'\0\n]*", word):
        raise SettingError("a path", word[:80], "one without quotes")
    return word if re.fullmatch(r"[A-Za-z0-9_./@+,=:-]+", word) else f"'{word}'"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return bool(_HOST.match(text))
    return "%" not in text


def _is_key(line: str) -> bool:
    words = line.split()
    if len(words) < 2 or words[0] not in KEY_TYPES or len(line) > 4096:
        return False
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        return False
    kind = words[0].encode()
    return blob[:4] == len(kind).to_bytes(4, "big") and blob[4 : 4 + len(kind)] == kind
