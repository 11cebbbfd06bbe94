"""What a miner types, its SSH key, and the machines' keys that it has pinned."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.edges.shell import HOST_KEY_PREFIX
from tasks.errors import HostAway, SettingError
from tasks.onboarding.login import Pins, fingerprint, load_ssh_key, looked_up, needs_passphrase
from tasks.onboarding.machine import Machine, parse_machine
from tests.tasks.onboarding.looking import make_ssh_key

KEY = HOST_KEY_PREFIX + bytes(range(32))
OTHER = HOST_KEY_PREFIX + bytes(reversed(range(32)))


@pytest.mark.parametrize(
    ("text", "user", "name", "port"),
    [
        ("203.0.113.7", "root", "203.0.113.7", 22),
        ("ubuntu@203.0.113.7:2222", "ubuntu", "203.0.113.7", 2222),
        ("gpu-1.example.com:22", "root", "gpu-1.example.com", 22),
        ("2001:db8::7", "root", "2001:db8::7", 22),
        ("root@[2001:db8::7]:2200", "root", "2001:db8::7", 2200),
    ],
)
def test_a_machine_is_named_as_for_ssh(text, user, name, port):
    """User and port where they are named, else root and 22."""
    assert parse_machine(text) == Machine(name, port, user)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "root@",
        "host:0",
        "host:65536",
        "host:ssh",
        "a b",
        "Root@host",
        "-oProxyCommand=x",
        "host;id",
        "[::1",
        "fe80::1%eth0",
    ],
)
def test_what_names_no_machine_is_refused(text):
    """Nothing that a shell or ssh could take for something else comes through."""
    with pytest.raises(SettingError, match="HOST"):
        parse_machine(text)


def test_a_name_is_looked_up_and_an_address_is_not():
    """Connections go to literal addresses."""
    assert looked_up(Machine("203.0.113.7", 22, "root")).address == "203.0.113.7"
    assert looked_up(Machine("localhost", 22, "root")).address in ("127.0.0.1", "::1")
    for name in ("no-such-host.invalid", "a..b", "a" * 64 + ".example"):
        with pytest.raises(HostAway, match="no address"):
            looked_up(Machine(name, 22, "root"))


def test_host_keys_are_pinned_in_openssh_s_own_format(tmp_path):
    """By host and port, for their owner only; what else is in the file stays there."""
    file = tmp_path / "miner" / "known_hosts"
    here, there = Machine("203.0.113.7", 22, "root"), Machine("203.0.113.7", 2222, "root")
    Pins(file).pin(here, KEY)
    file.write_text("# by hand\n" + file.read_text())
    Pins(file).pin(there, OTHER)
    Pins(file).pin(there, OTHER)

    assert (Pins(file).of(here), Pins(file).of(there)) == (KEY, OTHER)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().count("\n") == 3
    asked = subprocess.run(
        ["ssh-keygen", "-lF", "[203.0.113.7]:2222", "-f", file], capture_output=True, text=True, check=True
    )
    assert fingerprint(OTHER) in asked.stdout


def test_a_file_of_an_editor_takes_another_pin(tmp_path):
    """Its last line has no end: both keys are found then, each on a line of its own."""
    file = tmp_path / "known_hosts"
    here, there = Machine("203.0.113.7", 22, "root"), Machine("203.0.113.7", 2222, "root")
    Pins(file).pin(here, KEY)
    file.write_text(file.read_text().removesuffix("\n"))
    Pins(file).pin(there, OTHER)

    assert (Pins(file).of(here), Pins(file).of(there)) == (KEY, OTHER)


def test_processes_that_pin_at_once_lose_no_pin(tmp_path):
    """Each waits for the other's line; whoever waits too long is told."""
    file = tmp_path / "known_hosts"
    with ThreadPoolExecutor(8) as pool:  # an object each: they share no lock but the file's
        list(pool.map(lambda n: Pins(file).pin(Machine(f"host-{n}", 22, "root"), KEY), range(24)))

    assert all(Pins(file).of(Machine(f"host-{n}", 22, "root")) == KEY for n in range(24))


def test_a_damaged_line_is_no_first_meeting(tmp_path):
    """It is told, and nobody is asked to agree to another key."""
    (tmp_path / "known_hosts").write_text("203.0.113.7 ssh-ed25519 AAAA!\n")
    with pytest.raises(SettingError, match="known_hosts"):
        Pins(tmp_path / "known_hosts").of(Machine("203.0.113.7", 22, "root"))


def test_a_key_is_read_with_its_passphrase(tmp_path):
    """Without it, and with another, it is told what is wanted, never what was typed."""
    plain, locked = tmp_path / "plain", tmp_path / "locked"
    make_ssh_key(plain)
    make_ssh_key(locked, "right")

    assert (needs_passphrase(plain), needs_passphrase(locked), needs_passphrase(tmp_path)) == (
        False,
        True,
        False,
    )
    assert load_ssh_key(locked, "right").public_line.startswith("ssh-ed25519 ")
    with pytest.raises(SettingError, match="this passphrase opens") as refused:
        load_ssh_key(locked, "wrong-one")
    assert "wrong-one" not in str(refused.value)
    with pytest.raises(SettingError, match="can be read"):
        load_ssh_key(tmp_path / "none")


def test_only_ed25519_keys_are_used(tmp_path):
    """Every OpenSSH of today has them; the command that makes one is told."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", tmp_path / "old"], check=True)
    with pytest.raises(SettingError, match="ssh-keygen -t ed25519"):
        load_ssh_key(tmp_path / "old")
