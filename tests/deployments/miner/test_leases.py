"""Leases at the agent's door: which may come in, and what is known of those that did."""

import json
import time

import pytest

from deployments.miner.leases import KNOWN_S, LIFE_S, Coming, LeaseBook, LeaseRefused, Terms
from deployments.miner.visits import FILE, GRANTED, Sought, read_visits
from tasks.errors import StoreAway
from tests.deployments.miner.test_agent import VALIDATOR, code_of, raw_request, request
from tests.deployments.miner.test_visits import visited

OPEN = Terms(rentals=True, is_paused=False, max_leases=2)
PAUSED = Terms(rentals=True, is_paused=True, max_leases=2)


@pytest.fixture
def book(tmp_path):
    """The leases of an agent."""
    made = LeaseBook(tmp_path / FILE)
    yield made
    made.close()


def come(book, lease, *, at=1_000, until=None, terms=OPEN, machine="a", hotkey="5Us"):
    """The code with which it may not come in, empty when it may."""
    try:
        book.admit(Coming(machine, hotkey, lease, until or at + 900), terms, now_s=at)
    except LeaseRefused as refused:
        return refused.code
    return ""


def test_a_machine_has_so_many_open_leases(book):
    """Counted by lease, not by key, and by machine: each counts until its key's end, whoever's it is."""

    assert [come(book, lease, hotkey=who) for lease, who in (("1", "5A"), ("1", "5A"), ("1", "5B"))] == [
        ""
    ] * 3
    assert come(book, "2", hotkey="5A") == "TOO_MANY_LEASES"
    assert come(book, "2", machine="b") == ""
    assert come(book, "1", hotkey="5A", at=1_800) == ""  # it is open, and goes on
    assert [come(book, "2", hotkey="5A", at=1_899), come(book, "2", hotkey="5A", at=1_901)] == [
        "TOO_MANY_LEASES",
        "",
    ]
    assert come(book, "1", hotkey="5B", at=1_902) == "TOO_MANY_LEASES"  # it had ended


def test_a_paused_machine_takes_no_new_lease(book, tmp_path):
    """One that was here goes on being reached, across a restart of the agent, by the validator whose it is and no other."""

    assert [come(book, "1"), come(book, "2", terms=PAUSED)] == ["", "PAUSED"]
    again = LeaseBook(tmp_path / FILE)
    assert come(again, "1", at=80_000, terms=PAUSED) == ""
    assert come(again, "1", at=80_000, terms=PAUSED, hotkey="5Other") == "PAUSED"
    assert (
        come(again, "1", at=80_000, terms=Terms(rentals=False, is_paused=False, max_leases=9)) == "NO_RENTALS"
    )


def test_a_name_of_long_ago_is_a_new_lease(book):
    """A lease that nobody has watched for a day is none that runs: on a paused machine its name lets nobody in any more."""

    come(book, "1", at=1_000, until=1_001)

    assert come(book, "1", at=1_002 + KNOWN_S, terms=PAUSED) == "PAUSED"
    assert come(book, "1", at=1_001 + KNOWN_S, terms=PAUSED) == ""


def test_what_is_known_is_bounded(tmp_path):
    """Of each validator so many leases: those that came longest ago are forgotten, and no other validator's."""

    book = LeaseBook(tmp_path / FILE, kept=3)
    come(book, "mine", at=9_000, hotkey="5Other")
    for number in range(5):
        come(book, str(number), at=2_000 * (number + 1))

    known = [come(book, str(number), at=90_000, terms=PAUSED) for number in (1, 2, 4)]
    assert known == ["PAUSED", "", ""]
    assert come(book, "mine", at=95_000, terms=PAUSED, hotkey="5Other") == ""


def test_a_book_that_cant_be_written_lets_nobody_in(tmp_path):
    """And says so; without a folder leases are known while the agent runs."""

    (tmp_path / FILE).mkdir()
    with pytest.raises(StoreAway):
        come(LeaseBook(tmp_path / FILE), "1")
    memory = LeaseBook(None)
    assert [come(memory, "1"), come(memory, "1", terms=PAUSED)] == ["", ""]
    memory.close()


def rent(**changes):
    told = {"executor_ids": ["box-1"], "purpose": "rent", "lease_id": "lease-1", **changes}
    return raw_request(request(**told))


def test_every_lease_is_a_line_of_the_log(tmp_path):
    """With its name, whether it was let in or not; and the key of one that was is in the file as ever, where no CA is."""

    answers = visited(
        tmp_path,
        rent(),
        rent(executor_ids=["box-9"]),
        rent(expires_in_s=LIFE_S + 60),
        raw_request(request(executor_ids=["box-1", "box-2"], purpose="rent", lease_id="lease-1")),
        max_grant_s=7_200,
    )

    assert [answers[0][0], *map(code_of, answers[1:])] == [
        200,
        (404, "UNKNOWN_EXECUTOR"),
        (400, "EXPIRY_TOO_FAR"),
        (400, "BAD_REQUEST"),
    ]
    lines = [(v.code, v.executor_id, v.purpose, v.reason) for v in read_visits(tmp_path / FILE, Sought())]
    assert lines[::-1][:3] == [
        (GRANTED, "box-1", "rent", "lease lease-1"),
        ("UNKNOWN_EXECUTOR", "box-9", "rent", "lease lease-1: box-9"),
        ("EXPIRY_TOO_FAR", "box-1", "rent", f"lease lease-1: expires_at is over {LIFE_S} s ahead"),
    ]
    assert (tmp_path / "home-1" / "keys").read_bytes().count(b"subnet:") == 1


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"rentals": False}, "NO_RENTALS"),
        ({"paused_from": int(time.time()) - 5}, "PAUSED"),
        ({"max_leases": 1}, ""),
    ],
)
def test_what_the_owner_of_the_machine_allows(tmp_path, config, code):
    """No rentals, none but those that run, only so many: each refused lease is told why, and nothing is let in for it."""

    first, second = visited(tmp_path, rent(), rent(lease_id="lease-2"), **config)

    codes = ["" if answer[0] == 200 else code_of(answer)[1] for answer in (first, second)]
    assert codes == [code, code or "TOO_MANY_LEASES"]
    assert "lease lease-2: " in json.loads(second[2])["detail"]
    assert VALIDATOR.ss58_address in {v.hotkey for v in read_visits(tmp_path / FILE, Sought(code=codes[1]))}
