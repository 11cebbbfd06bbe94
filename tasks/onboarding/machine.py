"""A machine as its miner names it: `[user@]host[:port]`, and what it is to the edge that connects."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from storage.records import Executor
from tasks.errors import SettingError

SSH_PORT = 22
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine as its miner reaches it."""

    name: str
    """As typed, without user and port: a host's name or a literal address."""
    port: int
    user: str
    python: str = "/usr/bin/python3"
    address: str = ""
    """Literal; empty until the name was looked up."""

    @property
    def place(self) -> str:
        """Host and port, as typed."""
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"

    @property
    def label(self) -> str:
        """As OpenSSH writes it in known_hosts."""
        is_plain = self.port == SSH_PORT
        return self.name if is_plain else f"[{self.name}]:{self.port}"

    @property
    def typed(self) -> str:
        """As a command takes it."""
        return f"{self.user}@{self.place}"

    def executor(self, host_key: bytes) -> Executor:
        """The same as an executor of a miner that nobody knows yet."""
        return Executor(
            executor_id=_id(self.label),
            miner_hotkey="",
            miner_uid=0,
            miner_registered_at_block=0,
            address=self.address,
            port=self.port,
            user=self.user,
            python=self.python,
            host_key=host_key,
            price_usd_per_hour=0.0,
        )


def parse_machine(text: str, user: str = "root", python: str = "/usr/bin/python3") -> Machine:
    """`[user@]host[:port]`, an IPv6 address with a port in brackets; SettingError for what is none."""
    before, at, place = text.rpartition("@")
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?", place)
    if bracketed:
        name, port = bracketed[1], bracketed[2] or "22"
    elif place.count(":") > 1:
        name, port = place, "22"
    else:
        name, _, port = place.partition(":")
        port = port or "22"
    user = before if at else user
    is_name = HOST.fullmatch(name) is not None or is_address(name)
    is_port = port.isascii() and port.isdigit() and 0 < int(port) < 65_536
    if not (is_name and is_port and USER.fullmatch(user)):
        raise SettingError(
            "HOST", text[:100], "[user@]host[:port], such as root@203.0.113.7:22 or [2001:db8::7]:22"
        )
    return Machine(name, int(port), user, python)


def is_address(text: str) -> bool:
    """Whether it is a literal address of one host."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _id(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:64] or "machine"
