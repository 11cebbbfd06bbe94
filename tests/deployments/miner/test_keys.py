"""authorized_keys: few lines a validator, with an expiry; nobody else's lines are touched."""

import base64
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.miner.keys import MAX_LINES, KeysFileRefused, let_in, read_authorized
from tasks.onboarding.confinement.grants import Grant

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 11, 22, 9, 0, 0, tzinfo=UTC)
ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
BOB = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"


def key(number):
    return "ssh-ed25519 " + base64.b64encode(blob(number)).decode()


def blob(number):
    return b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes([number]) * 32


def grant(number=1, hotkey=ALICE, epoch=7, minutes=30):
    return Grant(key(number), hotkey, epoch, NOW + timedelta(minutes=minutes))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / ".ssh" / "authorized_keys"


def test_the_line_is_pinned(path):
    """The file holds exactly the documented line, and only its owner reads it."""

    assert let_in(path, grant(), now=NOW) is True

    assert path.read_text() == (f'restrict,expiry-time="20261122093000Z" {key(1)} subnet:{ALICE}:7\n')
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_openssh_reads_the_line(path):
    """OpenSSH's own tool takes the file for one ed25519 key with our comment."""

    let_in(path, grant(), now=NOW)
    printed = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(path)], capture_output=True, text=True, check=True
    )

    assert printed.stdout.endswith(f"subnet:{ALICE}:7 (ED25519)\n")


def test_the_same_grant_twice_changes_nothing(path):
    """Letting the same key in again leaves the very file, not a copy of it; it is read, so its time of access may move."""

    def file() -> tuple[int, int, int]:
        """Return what a write or a new file would change: the inode, when it was written and when it was changed."""
        seen = path.stat()
        return seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns

    let_in(path, grant(), now=NOW)
    before = file()

    assert let_in(path, grant(), now=NOW) is False
    assert file() == before


def test_a_validator_has_a_few_keys_at_a_time(path):
    """Its epoch and its leases come with keys of their own; of too many the oldest go, and another validator's stay."""

    let_in(path, grant(99, BOB), now=NOW)
    for number in range(1, MAX_LINES + 3):
        let_in(path, grant(number, epoch=number), now=NOW)
    let_in(path, grant(5, epoch=5), now=NOW)

    assert read_authorized(path, NOW) == [blob(99), *(blob(n) for n in range(3, MAX_LINES + 3))]


def test_expired_lines_are_not_let_in_and_are_purged(path):
    """A key ends at its expiry to the second, and its line goes with the next grant."""

    let_in(path, grant(1, minutes=10), now=NOW)
    ends = NOW + timedelta(minutes=10)

    assert read_authorized(path, ends - timedelta(seconds=1)) == [blob(1)]
    assert read_authorized(path, ends) == []
    let_in(path, grant(2, BOB), now=ends)
    assert path.read_bytes() == grant(2, BOB).line() + b"\n"


FOREIGN = [
    b"# a comment",
    b"ssh-ed25519 AAAAC3Nza owner@home",
    b'restrict,expiry-time="20200101000000Z" ssh-rsa AAAA subnet:x:1',
    b' restrict,expiry-time="20200101000000Z" ' + key(9).encode() + b" subnet:" + ALICE.encode() + b":7",
    b'restrict,expiry-time="20200101000000Z" ' + key(9).encode() + b" subnet:" + ALICE.encode() + b":7 x",
    b"\xff\xfe\x00 binary",
    b"",
    b"cert-authority ssh-ed25519 AAAA",
]


@given(st.lists(st.sampled_from(FOREIGN), max_size=8), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_foreign_lines_stay_byte_for_byte(tmp_path_factory, lines, newline, ends):
    """Whatever else stands in the file stays as it is, in order, also without a last newline."""

    path = tmp_path_factory.mktemp("keys") / "authorized_keys"
    before = newline.join(lines) + (newline if ends else b"")
    path.write_bytes(before)
    let_in(path, grant(1), now=NOW)
    let_in(path, grant(2, epoch=8), now=NOW)

    after = path.read_bytes()
    joint = b"" if not before or before.endswith(b"\n") else b"\n"
    assert after == before + joint + grant(1).line() + b"\n" + grant(2, epoch=8).line() + b"\n"


@pytest.mark.parametrize(
    "broken",
    [
        {"public_key": key(1) + " me@home"},
        {"public_key": key(1) + "\n" + key(2)},
        {"public_key": 'command="sh" ' + key(1)},
        {"public_key": "ssh-rsa " + key(1)[12:]},
        {"public_key": key(1)[:-4] + "===="},
        {"public_key": "ssh-ed25519 " + base64.b64encode(bytes(51)).decode()},
        {"hotkey": ALICE + "\nssh-ed25519 AAAA"},
        {"hotkey": "short"},
        {"epoch": -1},
    ],
    ids=str,
)
def test_a_grant_cannot_smuggle(path, broken):
    """No part of a grant can become another line or option: it is refused before the file is touched."""

    parts = {"public_key": key(1), "hotkey": ALICE, "epoch": 7, "expires_at": NOW + timedelta(hours=1)}

    with pytest.raises(ValueError):
        let_in(path, Grant(**{**parts, **broken}), now=NOW)
    assert not path.exists()


def test_a_link_is_not_followed(path, tmp_path):
    """A keys file that is a link, planted by whoever lives in that home, is refused and its target kept."""

    target = tmp_path / "shadow"
    target.write_text("root's\n")
    path.parent.mkdir(parents=True)
    path.symlink_to(target)

    with pytest.raises(KeysFileRefused):
        let_in(path, grant(), now=NOW)
    assert target.read_text() == "root's\n"


def test_a_fifo_does_not_hang(path):
    """Something else than a regular file is refused at once."""

    path.parent.mkdir(parents=True)
    os.mkfifo(path)

    with pytest.raises(KeysFileRefused, match="no regular file"):
        let_in(path, grant(), now=NOW)


def test_a_huge_file_is_refused(path):
    """A keys file over 1 MiB is not read into memory."""

    path.parent.mkdir(parents=True)
    path.write_bytes(b"#" * (1024 * 1024 + 1))

    with pytest.raises(KeysFileRefused, match="over"):
        let_in(path, grant(), now=NOW)


def test_mode_and_leftovers(path):
    """The file keeps its mode, and the draft of a killed writer neither stays nor stops the next."""

    let_in(path, grant(1), now=NOW)
    path.chmod(0o640)
    (path.parent / ".authorized_keys.new").write_bytes(b"half a li")
    let_in(path, grant(2, BOB), now=NOW)

    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(p.name for p in path.parent.iterdir()) == [".authorized_keys.lock", "authorized_keys"]


def test_a_line_of_our_form_without_a_key_lets_nobody_in(path):
    """A line that looks like ours around 68 digits that are no key is skipped, not an error."""

    let_in(path, grant(1), now=NOW)
    line = grant(2).line().replace(key(2).encode(), b"ssh-ed25519 " + b"A" * 68)
    path.write_bytes(line + b"\n" + path.read_bytes())

    assert read_authorized(path, NOW) == [blob(1)]


def test_no_file_lets_nobody_in(path):
    """Without a file nobody is let in, and reading makes none."""

    assert read_authorized(path, NOW) == []
    assert not path.parent.exists()


def test_writers_do_not_lose_each_others_lines(path):
    """Three processes that let 12 validators in at the same time, each for five epochs, leave 60 lines."""

    script = ROOT / "tests" / "deployments" / "miner" / "letting_in.py"
    running = [
        subprocess.Popen(
            [sys.executable, str(script), str(path), str(start)], env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        for start in (0, 4, 8)
    ]

    assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    assert len(read_authorized(path, NOW)) == 60
    assert len(set(read_authorized(path, NOW))) == 12
