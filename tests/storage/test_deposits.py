"""Transfers to our address: each kept once, no block left out, whoever reads at once."""

from dataclasses import replace

import pytest

from storage.deposits import ChainDeposit, Deposits, DepositState
from tests.databases import fresh
from tests.tasks.renting.leases import NOON

PLACE = "test/5Us"


@pytest.fixture
def deposits(tmp_path):
    """An empty store."""
    engine = fresh(tmp_path)
    yield Deposits(engine)
    engine.dispose()


def sent(block, index=1, rao=5):
    """A transfer in a block."""
    return ChainDeposit(f"{block}-{index}", block, NOON, "5Them", rao, ("ab",))


def test_blocks_are_read_once_and_in_order(deposits):
    """Who has read on from where the mark stands keeps what he found; who comes from an older mark changes nothing."""
    assert deposits.mark(PLACE) is None
    assert deposits.advance(PLACE, None, 10, [])
    assert not deposits.advance(PLACE, None, 12, [sent(11)])
    assert deposits.advance(PLACE, 10, 12, [sent(11)])
    assert not deposits.advance(PLACE, 10, 20, [sent(15)])

    assert deposits.mark(PLACE) == 12
    assert deposits.open() == (sent(11),)
    assert deposits.mark("test/5Other") is None


def test_a_transfer_is_kept_once(deposits):
    """Read again, e.g. after a database was put back, it stays as it is."""
    deposits.advance(PLACE, None, 12, [sent(11)])
    credited = replace(sent(11), state=DepositState.CREDITED, renter_id="r", micro_usd=7)
    assert deposits.change(sent(11), credited)
    deposits.advance(PLACE, 12, 13, [sent(11, rao=99)])

    assert deposits.all() == (credited,)
    assert deposits.open() == ()
    assert not deposits.change(sent(11), replace(credited, renter_id="other"))
    assert deposits.of_renter("r") == (deposits.get("11-1"),) == (credited,)
    assert deposits.get("12-1") is None


def test_blocks_that_are_not_told_are_asked_for_again(deposits):
    """They stay on a list until they are read, and hold up nothing."""
    deposits.advance(PLACE, None, 12, [], unread=[10, 11])
    deposits.advance(PLACE, 12, 13, [], unread=[11])
    assert deposits.unread(PLACE) == (10, 11)

    deposits.read_late(PLACE, 10, [sent(10)])
    assert deposits.unread(PLACE) == (11,)
    assert deposits.open() == (sent(10),)


def test_a_memo_is_one_renters(deposits):
    """The first who has it keeps it; unknown ones are nobody's."""
    deposits.know_memo("ab", "r")
    deposits.know_memo("ab", "other")

    assert deposits.renters(["ab", "cd"]) == {"r"}
    assert deposits.renters([]) == frozenset()
