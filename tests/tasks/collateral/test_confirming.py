"""Which transfer is a deposit for which machine."""

from dataclasses import replace

import pytest

from tasks.collateral.confirming import confirm, remark_of
from tasks.edges.transfers import Transfer
from tasks.errors import CollateralRefused

KEY, COLD = "5Alice/m-0", "5AliceCold"
PLAIN = Transfer(COLD, "5Us", 5_768_000_000, ())
NAMED = replace(PLAIN, sender="5Friend", remarks=(remark_of(KEY),))


def test_the_miners_coldkey_or_the_machines_name():
    """Without a remark the sender must own the miner's hotkey; with one anybody may pay for the machine it names."""

    assert confirm(PLAIN, KEY, COLD, 5_768_000_000) == "transfer of the miner's coldkey 5AliceCold"
    assert confirm(NAMED, KEY, "", 5_768_000_000) == "transfer of 5Friend with the machine's name"


@pytest.mark.parametrize(
    ("transfer", "coldkey", "told"),
    [
        (replace(PLAIN, amount_rao=5_767_999_999), COLD, "is of 5.767999999 TAO, not 5.768"),
        (PLAIN, "5BobCold", "not of the miner's coldkey 5BobCold"),
        (PLAIN, "", "(not registered)"),
        (replace(PLAIN, remarks=(remark_of("5Alice/m-1"),)), COLD, "remark does not name 5Alice/m-0"),
    ],
)
def test_another_transfer_is_no_deposit(transfer, coldkey, told):
    """A rao less, another's coldkey, a miner that is not there, another machine's name."""

    with pytest.raises(CollateralRefused) as caught:
        confirm(transfer, KEY, coldkey, 5_768_000_000)
    assert told in str(caught.value)
