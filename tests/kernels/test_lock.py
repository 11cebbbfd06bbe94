"""The lock of a machine's cards, with everything that another user of the machine may try."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from contextlib import ExitStack

import pytest

from kernels import lock
from kernels.lock import CardLocks, CardsBusy, LockUnavailable, held_by, locks_of


def test_a_card_is_held_by_one_at_a_time(tmp_path):
    """Who comes second is told what the first has written, and once it is over the card is free."""

    locks = CardLocks(tmp_path)
    with locks.hold(["GPU-a"], "for one"), pytest.raises(CardsBusy) as busy, locks.hold(["GPU-a"], "for two"):
        pass

    assert busy.value.holder == "for one"
    with locks.hold(["GPU-a"], "for two"):
        assert (tmp_path / "subnet-GPU-a.lock").read_text() == "for two"
    assert (tmp_path / "subnet-GPU-a.lock").read_text() == ""


def test_all_cards_or_none_are_held(tmp_path):
    """A machine of which one card is held is busy, and its other cards are free again at once."""

    locks = CardLocks(tmp_path)
    with locks.hold(["GPU-b"], "for one"):
        with pytest.raises(CardsBusy), locks.hold(["GPU-c", "GPU-a", "GPU-b"], "for two"):
            pass
        with locks.hold(["GPU-c", "GPU-a"], "for three"):
            pass


def test_a_proof_that_is_just_ending_is_waited_for(tmp_path):
    """Half a second of patience: the next validator's turn may begin while the last one's END is on its way."""

    locks, stack = CardLocks(tmp_path), ExitStack()
    stack.enter_context(locks.hold(["GPU-a"], "for one"))
    leaving = threading.Timer(0.1, stack.close)
    leaving.start()
    with locks.hold(["GPU-a"], "for two"):
        pass
    leaving.join()


def test_a_statement_is_renewed_in_place(tmp_path):
    """What the holder says last is what the next one is told."""

    locks = CardLocks(tmp_path)
    with locks.hold(["GPU-a", "GPU-b"], "early") as held:
        held.state("late")
        for uuid in ("GPU-a", "GPU-b"):
            with pytest.raises(CardsBusy) as busy, locks.hold([uuid], ""):
                pass
            assert busy.value.holder == "late"


@pytest.mark.parametrize("text", [b"x" * 513, b"\xff", b"\x00", b"\x1b[2J", b"x" * (1 << 20)])
def test_what_is_no_statement_is_not_passed_on(tmp_path, text):
    """Whatever else stands in a lock that somebody holds comes out as nothing."""

    path = tmp_path / "subnet-GPU-a.lock"
    path.write_bytes(text)
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(CardsBusy) as busy, CardLocks(tmp_path).hold(["GPU-a"], ""):
            pass

    assert busy.value.holder == ""


def _link(path, target):
    target.write_text("precious")
    path.symlink_to(target)


def _second_name(path, target):
    target.write_text("precious")
    path.hardlink_to(target)


OBSTACLES = {
    "a link": _link,
    "a second name of a file": _second_name,
    "a folder": lambda path, _: path.mkdir(),
    "a pipe": lambda path, _: os.mkfifo(path),
}


@pytest.mark.parametrize("put", OBSTACLES.values(), ids=OBSTACLES)
def test_nothing_but_a_plain_file_is_a_lock(tmp_path, put):
    """What another user puts in a lock's place is refused, never followed, never waited for, and nothing of it is changed."""

    target = tmp_path / "precious"
    put(tmp_path / "subnet-GPU-a.lock", target)
    with pytest.raises(LockUnavailable, match=lock.VARIABLE), CardLocks(tmp_path).hold(["GPU-a"], "mine"):
        pass

    assert not target.exists() or target.read_text() == "precious"


def test_a_folder_that_is_not_there_is_told(tmp_path):
    """Without a place for a lock the prover says so, and what may be named instead."""

    with (
        pytest.raises(LockUnavailable, match="SUBNET_PROOF_LOCKS may name another"),
        CardLocks(tmp_path / "no").hold(["GPU-a"], ""),
    ):
        pass


def test_a_lock_that_is_removed_meanwhile_is_no_lock(tmp_path):
    """Who waited for a file that is gone takes the one that others find now."""

    locks, path = CardLocks(tmp_path), tmp_path / "subnet-GPU-a.lock"
    with locks.hold(["GPU-a"], "for one"):
        path.unlink()
        with locks.hold(["GPU-a"], "for two"), pytest.raises(CardsBusy) as busy, locks.hold(["GPU-a"], ""):
            pass

    assert busy.value.holder == "for two"


def test_every_user_may_use_a_lock_that_another_made(tmp_path):
    """Validators may log in as different users: the file is open to all, whatever the mask of who made it."""

    before = os.umask(0o077)
    try:
        with CardLocks(tmp_path).hold(["GPU-a"], ""):
            pass
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "subnet-GPU-a.lock").stat().st_mode) == 0o666


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become two other users")
def test_two_users_share_a_lock_in_a_folder_of_everybodys(tmp_path):
    """Made by one user, held by another, found busy by a third."""

    folder = tmp_path / "sticky"
    folder.mkdir()
    folder.chmod(0o1777)
    for parent in tmp_path.parents:
        if any(part.startswith("pytest-of") for part in parent.parts):
            parent.chmod(0o755)
    tmp_path.chmod(0o755)
    told = [_as_user(uid, folder) for uid in (10_001, 10_002)]
    with CardLocks(folder).hold(["GPU-a"], "for root"):
        told.append(_as_user(10_003, folder))

    assert told == ["held", "held", "busy: for root"]


def _as_user(uid: int, folder) -> str:
    """What a prover of this user finds, in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgid(uid)
        os.setuid(uid)
        try:
            with CardLocks(folder).hold(["GPU-a"], f"for {uid}"):
                said = "held"
        except CardsBusy as busy:
            said = f"busy: {busy.holder}"
        except BaseException as error:  # noqa: BLE001  the test is told
            said = repr(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


def test_where_the_locks_are(tmp_path, monkeypatch):
    """Where the machine says, beside its simulated cards, or in the first folder that is everybody's and nobody's."""

    own, sticky = tmp_path / "own", tmp_path / "sticky"
    own.mkdir()
    sticky.mkdir()
    sticky.chmod(0o1777)
    own.chmod(0o777)
    monkeypatch.setattr(lock, "SHARED_FOLDERS", (str(tmp_path / "no"), str(own), str(sticky)))

    def folder(**environment):
        return locks_of(environment)._folder.name

    assert folder() == "sticky"
    assert folder(SUBNET_SIMULATED_CARDS="/x/cards") == "cards"
    assert folder(SUBNET_SIMULATED_CARDS="/x/cards", SUBNET_PROOF_LOCKS="/x/locks") == "locks"


def test_a_prover_without_locks_holds_none(tmp_path):
    """Practice and a verifier's own provers need none."""

    with held_by(None, ["GPU-a"], "x") as held:
        held.state("y")


def test_who_finds_a_holder_that_has_just_ended_gets_the_lock(tmp_path):
    """A proof that ends wipes its word out first: found between the two, it is no busy machine without a holder."""

    path = tmp_path / "subnet-GPU-a.lock"
    path.write_bytes(b"")
    file = path.open()
    fcntl.flock(file, fcntl.LOCK_EX)
    leaving = threading.Timer(0.6, file.close)
    leaving.start()
    with CardLocks(tmp_path).hold(["GPU-a"], "for us"):
        pass
    leaving.join()
