"""A watch that is killed anywhere, again and again, charges and credits what one that lives would."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from storage.database import migrate, open_database
from storage.money import Money
from storage.rental import Mode, Party, RentalState, Terms, Wish
from storage.rentals import Rentals
from tasks.renting.metering import cost_micro_usd
from tasks.renting.money import granted
from tasks.renting.settling import commit
from tests.tasks.renting.leases import NOON, USD, after, rental, running

REPOSITORY = Path(__file__).parents[3]
LEASES = 8


@pytest.fixture
def url(tmp_path):
    """A state with eight leases that end within fifteen minutes: by TTL, by a dead container, reserved ones early."""
    url = f"sqlite:///{tmp_path}/subnet.db"
    engine = open_database(url)
    migrate(engine)
    Money(engine).post(granted("5Renter", 10**6 * USD, "start", NOON, ""))
    for number in range(LEASES):
        is_reserved = number % 5 == 0
        lease = running(
            3_600 * USD + number,
            version=1,
            executor_key=f"5Miner/{number}",
            card_uuids=(f"GPU-{number}",),
            terms=Terms(ttl_s=700 + 13 * number),
            wish=Wish(mode=Mode.RESERVED, hours=1) if is_reserved else Wish(),
            attempt=1,
        )
        lease = replace(lease, lease_id=f"l-{number}", idempotency_key=f"l-{number}")
        before = rental(lease.lease_id)
        Rentals(engine).request(before)
        commit(Money(engine), lease, NOON)
        assert Rentals(engine).move(before, lease)
    engine.dispose()
    return url


@pytest.mark.slow
def test_kills_change_no_sum(url):
    """Killed again and again in the middle of its rounds: every lease ended once, cost what it should, was credited once, and
    the books are even.
    """
    number, kills = 0, 0
    while number < 16:
        program = [sys.executable, "-m", "tests.tasks.renting.watchers", url, str(number)]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
            for _ in range(4):
                number = int(process.stdout.readline()) + 1
            time.sleep(0.02 * (kills % 5))  # into the middle of the next round, each time another part of it
            process.kill()
            kills += 1
            rest = [line for line in process.stdout.read().split("\n") if line]
            number = max([number, *(int(line) + 1 for line in rest)])

    engine = open_database(url)
    money, rentals = Money(engine), Rentals(engine)
    for index in range(LEASES):
        lease = rentals.get(f"l-{index}")
        broke = index % 10 == 7
        assert lease.end_party is (Party.MACHINE if broke else Party.NOBODY)
        cost = cost_micro_usd(lease, lease.end_asked_at)
        assert money.metered(lease.lease_id) == cost
        kinds = [line.kind for line in money.bill(lease.lease_id) if line.account == "renter:5Renter"]
        assert kinds.count("CREDIT") == int(broke)
        assert money.balance(f"escrow:{lease.lease_id}") == 0
        if not broke:
            assert lease.paid_s == 700 + 13 * index
    assert kills >= 3
    assert money.books().is_even
    assert rentals.get("l-0").state is RentalState.ACTIVE, "its teardown is asked for: another's work"
    assert after(0) == NOON
    engine.dispose()
