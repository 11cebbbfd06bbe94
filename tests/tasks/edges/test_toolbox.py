"""The toolbox: what goes into every container, and the archives that seed one."""

import base64
import io
import struct
import subprocess
import tarfile
import zipfile

import asyncssh
import pytest

from tasks.edges import toolbox
from tasks.edges.toolbox import HostKey, Toolbox, find_program, keys_file, keys_seed, seed
from tasks.errors import SettingError, SpecRefused
from tests.engines import skip_or_fail

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC3NzaC1lZDI1NTE5AAAAIC3NzaC1lZDI1NTE5AAAA"


@pytest.fixture
def built():
    try:
        return Toolbox.build()
    except SettingError as error:
        skip_or_fail(str(error))


def test_a_toolbox_stands_alone(built, tmp_path):
    """Server, file server and loader start from its folder by themselves, with no library of the image."""
    with zipfile.ZipFile(io.BytesIO(built.archive)) as archive:
        archive.extractall(tmp_path)
    for tool in tmp_path.iterdir():
        tool.chmod(0o755)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "null").touch()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    alone = [tmp_path / "busybox", "chroot", tmp_path]
    loader = ["/loader", "--library-path", "/"]
    try:
        told = subprocess.run(
            [*alone, *loader, "/dropbear", "-V"], capture_output=True, text=True, check=False
        )
        listed = subprocess.run(
            [*alone, *loader, "/sftp-server", "-Q", "requests"], capture_output=True, text=True, check=False
        )
    except OSError as error:
        skip_or_fail(str(error))
    if "Operation not permitted" in told.stderr:
        skip_or_fail("chroot needs root")

    assert "Dropbear v" in told.stdout + told.stderr
    assert "open" in listed.stdout.split()


def test_it_is_named_by_what_is_in_it(built):
    """The same programs give the same archive: a machine is sent it once."""
    toolbox._archive.cache_clear()

    assert Toolbox.build() == built
    assert Toolbox(built.archive + b"x").digest != built.digest
    assert str(built.archive[:20]) not in repr(built)


def test_what_is_missing_is_named_with_its_package():
    """An operator reads what to install."""
    with pytest.raises(SettingError) as error:
        find_program("no-such-program")

    assert "apt install dropbear-bin busybox-static openssh-sftp-server" in str(error.value)


def test_a_host_key_in_three_forms():
    """As dropbear reads it, as a client's known_hosts has it, and as the wire compares it: one key."""
    key = HostKey.generate()
    name, blob = key.known_hosts_line.split()

    assert name == "ssh-ed25519"
    assert base64.b64decode(blob) == key.public_blob
    assert (
        key.file == struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 64) + key.private + key.public
    )
    assert asyncssh.import_public_key(key.known_hosts_line).public_data == key.public_blob
    assert key.private.hex() not in repr(key)
    assert HostKey.generate() != key


def test_a_seed_has_what_a_container_needs_and_no_more():
    """Host key and keys for root's eyes only, with no time: the same seed is the same bytes."""
    key = HostKey.generate()
    with tarfile.open(fileobj=io.BytesIO(seed(key, [ED25519]))) as archive:
        told = [
            (m.name, m.mode, m.uid, m.isdir(), b"" if m.isdir() else archive.extractfile(m).read())
            for m in archive
        ]

    assert told == [
        ("etc/subnet", 0o700, 0, True, b""),
        ("etc/subnet/host_key", 0o600, 0, False, key.file),
        ("root/.ssh", 0o700, 0, True, b""),
        ("root/.ssh/authorized_keys", 0o600, 0, False, ED25519.encode() + b"\n"),
    ]
    assert seed(key, [ED25519]) == seed(key, [ED25519])
    assert b"host_key" not in keys_seed([ED25519])


@pytest.mark.parametrize(
    "key",
    [
        ED25519,
        f"{ED25519} me@home",
        "ssh-rsa " + "A" * 372,
        "ecdsa-sha2-nistp256 " + "A" * 139 + "=",
        "sk-ssh-ed25519@openssh.com " + "A" * 90 + " my token, the blue one",
    ],
)
def test_public_keys_pass(key):
    """Of every kind that today's clients make, each once."""
    assert keys_file([key, key]) == f"{key}\n".encode()


def test_our_key_is_none_of_the_renters():
    """A renter may have 64; the one that we probe with stands beside them, and a 65th of the renter's is refused."""
    keys = [f"{ED25519} key-{number}" for number in range(65)]

    assert keys_file(keys[:64], ours=ED25519).decode().splitlines() == [*keys[:64], ED25519]
    with pytest.raises(SpecRefused, match="65 keys"):
        keys_file(keys, ours=ED25519)
    with pytest.raises(SpecRefused):
        keys_file([], ours="nonsense")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ssh-ed25519",
        "ssh-dss " + "A" * 372,
        f'command="id" {ED25519}',
        f"{ED25519}\n{ED25519}",
        f"{ED25519} a\rb",
        f"{ED25519} \x1b[2J",
        f"{ED25519} \u202e",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "ssh-ed25519 " + "A" * 9_000,
        f"# {ED25519}",
    ],
)
def test_what_is_no_public_key_is_refused(key):
    """Options, second lines, private keys, controls: none of it reaches the file."""
    with pytest.raises(SpecRefused):
        keys_file([key])


def test_keys_are_counted():
    """At most so many."""
    with pytest.raises(SpecRefused, match="at most 64"):
        keys_file([f"{ED25519} {i}" for i in range(65)])
