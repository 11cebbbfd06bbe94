"""Balance, invoices and deposits through the API."""

from datetime import timedelta

from deployments.marketplace.market import DepositInfo
from storage.money import Money
from tasks.renting.money import deposit, metered, renter
from tests.tasks.renting.leases import NOON, USD


def test_a_balance_counts_what_runs_up_to_now(market):
    """Billed or not; and says how long it lasts: 99.5 USD at 1 USD an hour."""
    client = market.client()
    assert client.get("/v1/balance").json()["lasts_s"] is None
    market.active(client)
    market.clock.passes(1_800)

    assert client.get("/v1/balance").json() == {
        "micro_usd": 99_500_000,
        "usd": "99.500000",
        "micro_usd_per_hour": 1_000_000,
        "usd_per_hour": "1.000000",
        "lasts_s": 358_200,
    }


def test_what_is_billed_is_not_counted_twice(market):
    """The balance is the same a moment before and after a metering."""
    client = market.client()
    lease = market.active(client)
    market.clock.passes(3_600)
    before = client.get("/v1/balance").json()
    Money(market.market.engine).post(metered(lease, 0, market.clock.at, 50_000))

    assert client.get("/v1/balance").json() == before
    bill = client.get(f"/v1/leases/{lease.lease_id}/bill").json()
    assert (bill["micro_usd"], bill["unbilled_micro_usd"]) == (-USD, 0)
    assert bill["lines"][0]["kind"] == "METER"


def test_invoices_add_up(market):
    """Opening, what was put in, credited and charged come to the closing; months before the account are left out."""
    client = market.client()
    lease = market.active(client)
    money = Money(market.market.engine)
    market.clock.passes(3_600)
    money.post(metered(lease, 0, market.clock.at, 50_000))
    money.post(deposit("alice", 5 * USD, "9-1", market.clock.at))
    market.clock.at = NOON + timedelta(days=31)
    september, august = client.get("/v1/invoices").json()["items"]

    assert august == {
        "month": "2026-08",
        "opening_micro_usd": 0,
        "deposited_micro_usd": 105 * USD,
        "credited_micro_usd": 0,
        "charged_micro_usd": USD,
        "closing_micro_usd": 104 * USD,
        "charged_usd": "1.000000",
        "closing_usd": "104.000000",
        "leases": [{"lease_id": lease.lease_id, "micro_usd": USD, "usd": "1.000000"}],
    }
    assert (september["month"], september["opening_micro_usd"]) == ("2026-09", 104 * USD)
    assert money.balance(renter("alice")) == september["closing_micro_usd"]


def test_a_deposit_is_told_with_its_memo(market):
    """Where to, and how it is known whose it is; without an address, that none are taken."""
    assert "takes no deposits" in market.client().get("/v1/deposit").json()["how"]
    info = DepositInfo("5Deposit", "finney")
    told = market.rebuilt(deposit=info).client().get("/v1/deposit").json()

    assert (told["address"], told["memo"], told["network"]) == ("5Deposit", "renter:alice", "finney")
