"""A renter's payment on the local subnet."""

import pytest

from deployments.localnet import pay
from deployments.localnet.cast import CAST
from deployments.localnet.chain.actors import dev_wallet
from deployments.localnet.layout import DEPOSIT_ADDRESS, Layout
from deployments.localnet.roles import make_chain, make_wallet, open_chain
from tasks.collateral.confirming import remark_of
from tasks.renting.deposits import memo_of


def test_the_address_is_ours():
    """A role's own, so that nothing is sent to a stranger."""
    assert dev_wallet("platform").coldkey.ss58_address == DEPOSIT_ADDRESS
    assert Layout(pay.Path("x")).settings({}).deposit_address == DEPOSIT_ADDRESS


def test_a_payment_carries_the_renters_memo(tmp_path, monkeypatch, capsys):
    """What the validator reads from the chain afterwards: the amount, and the memo's hash."""
    for name in ("BITTENSOR_RUNTIME_CACHE_DIR", "BTCLI_TOKEN_SYMBOLS_CACHE"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("SUBNET_FOLDER", str(tmp_path))
    layout = Layout(tmp_path)
    wallets = layout.subnet / "wallets"
    wallets.mkdir(parents=True)
    make_wallet(wallets, CAST.validators[0].name)
    make_chain(layout.chain, CAST, wallets)

    assert pay.main(["ada", "2.5"]) == 0
    assert "2.5 TAO sent for renter ada in extrinsic " in capsys.readouterr().out
    chain = open_chain(layout.chain)
    [came] = chain.arrivals(DEPOSIT_ADDRESS, None, 10).found
    chain.close()
    assert (came.transfer.amount_rao, came.transfer.remarks) == (2_500_000_000, (remark_of(memo_of("ada")),))


@pytest.mark.parametrize(
    "arguments", [[], ["ada"], ["ada", "much"], ["ada", "0"], ["ada", "0.0000000001"], ["ada", "nan"]]
)
def test_a_mistake_pays_nothing(arguments, capsys):
    """One sentence, exit code 2."""
    assert pay.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
