"""`subnet market`, as an operator types it."""

import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from deployments.cli import subnet
from deployments.operating import own_database
from storage.errors import ShortOfFunds
from storage.money import Money
from storage.renter import Scope
from storage.renters import Renters
from tasks.errors import SettingError
from tasks.renting.api_keys import fits, parse


def typed(tmp_path, *words):
    """What the command prints, in a folder of its own."""
    environment = {"SUBNET_FOLDER": str(tmp_path)}
    return CliRunner().invoke(subnet, ["market", *words], env=environment, standalone_mode=False)


def told(tmp_path, *words):
    """The JSON that it prints."""
    done = typed(tmp_path, *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def database(tmp_path, monkeypatch):
    """The database that the commands work on."""
    monkeypatch.setenv("SUBNET_FOLDER", str(tmp_path))
    with own_database() as engine:
        yield engine


def test_a_renter_is_added_with_a_key_that_opens(tmp_path, database):
    """The key stands alone on standard output, its digest fits, and it may do everything."""

    done = typed(tmp_path, "renter", "add", "ada")
    token = parse(done.stdout.strip())
    key, renter = Renters(database).key(token.key_id)

    assert (done.exit_code, renter.renter_id, key.scopes) == (0, "ada", (Scope.ADMIN,))
    assert fits(token, key)
    assert "shown this once" in done.stderr


def test_a_renter_is_added_once(tmp_path):
    """The second time is a mistake of the operator's, with the mend."""

    typed(tmp_path, "renter", "add", "ada")

    assert "subnet market key add" in str(typed(tmp_path, "renter", "add", "ada").exception)


def test_a_renter_whose_key_was_lost_in_a_crash_gets_one(tmp_path, database):
    """Killed between renter and key, the same line typed again ends it."""

    from storage.renter import Renter

    Renters(database).add(Renter("ada", datetime(2026, 10, 1, tzinfo=UTC)))

    assert typed(tmp_path, "renter", "add", "ada").exit_code == 0
    assert len(Renters(database).keys("ada")) == 1


@pytest.mark.parametrize("name", ["", "Ada", "-x", "a b", "a" * 41, "$(id)", "\x1b[2J", "ä"])
def test_a_renters_name_is_plain(tmp_path, name):
    """It becomes part of names of containers and volumes."""

    done = typed(tmp_path, "renter", "add", "--", name)

    assert isinstance(done.exception, SettingError)


def test_money_is_given_once_and_taken_back(tmp_path, database):
    """A named credit moves nothing twice; what is taken back is no more than what is there; the books are even."""

    typed(tmp_path, "renter", "add", "ada")
    first, again = (
        told(tmp_path, "credit", "ada", "50", "--reason", "hi", "--name", "n", "--by", "o") for _ in "ab"
    )
    typed(tmp_path, "credit", "ada", "12.5", "--reason", "oops", "--back", "--by", "o")
    refused = typed(tmp_path, "credit", "ada", "40", "--reason", "oops", "--back", "--by", "o")

    assert (first["is_new"], again["is_new"], again["balance_micro_usd"]) == (True, False, 50_000_000)
    assert isinstance(refused.exception, ShortOfFunds)
    assert Money(database).balances() == {"renter:ada": 37_500_000, "outside": -37_500_000}


def test_nobody_is_credited_who_is_no_renter(tmp_path):
    """A mistyped name gets no account."""

    done = typed(tmp_path, "credit", "adda", "50", "--reason", "hi")

    assert isinstance(done.exception, SettingError)
    assert "subnet market renter list" in str(done.exception)


def test_a_renter_is_stopped_with_reason_and_grace_and_allowed_again(tmp_path):
    """The list shows both; after `allow` it may rent."""

    typed(tmp_path, "renter", "add", "ada")
    stopped = told(tmp_path, "renter", "stop", "ada", "--reason", "mines coins", "--grace", "2h")
    listed = told(tmp_path, "renter", "list")
    typed(tmp_path, "renter", "allow", "ada")

    assert listed[0]["reason"] == "mines coins"
    assert stopped["grace_until"] == str(listed[0]["grace_until"]).replace(" ", "T")
    assert "may rent" in typed(tmp_path, "renter", "list").stdout


def test_what_a_stopped_renter_runs_is_told_when_it_ends(tmp_path, database):
    """Its leases get a notice, which is lifted when it may rent again."""

    from storage.rentals import Rentals
    from tests.tasks.renting.leases import rental

    typed(tmp_path, "renter", "add", "ada")
    Rentals(database).request(rental("l-1", "ada"))
    stopped = told(tmp_path, "renter", "stop", "ada", "--reason", "mines coins")
    noticed = Rentals(database).get("l-1").notice_until
    typed(tmp_path, "renter", "allow", "ada")

    assert stopped["leases"] == ["l-1"]
    assert noticed.isoformat() == stopped["grace_until"]
    assert Rentals(database).get("l-1").notice_until is None


def test_keys_are_made_with_few_rights_listed_and_revoked(tmp_path):
    """Revoked twice is revoked; a secret is in no list."""

    typed(tmp_path, "renter", "add", "ada")
    made = told(tmp_path, "key", "add", "ada", "--name", "ci", "--scope", "read", "--expires", "30d")
    gone = [told(tmp_path, "key", "revoke", "ada", made["key_id"])["is_new"] for _ in range(2)]
    listed = typed(tmp_path, "key", "list", "ada", "--json").stdout

    assert gone == [True, False]
    assert [key["scopes"] for key in json.loads(listed)] == [["admin"], ["read"]]
    assert made["api_key"].split("_", 2)[2] not in listed
    assert "was revoked" in " ".join(typed(tmp_path, "key", "list", "ada").stdout.split())
    assert isinstance(typed(tmp_path, "key", "revoke", "ada", "none").exception, SettingError)


def test_images_are_blocked_until_they_are_not(tmp_path):
    """Blocked twice, the newer reason counts; a pattern of everything is refused."""

    typed(tmp_path, "block-image", "*xmrig*", "--reason", "old")
    typed(tmp_path, "block-image", "*xmrig*", "--reason", "mines coins", "--by", "ops")
    listed = told(tmp_path, "blocked")
    gone = [told(tmp_path, "unblock-image", "*xmrig*")["was_blocked"] for _ in range(2)]

    assert [(i["pattern"], i["reason"], i["blocked_by"]) for i in listed] == [
        ("*xmrig*", "mines coins", "ops")
    ]
    assert gone == [True, False]
    for pattern in ("*", "**?", "-x", "a b", "a;b", "a\x1bb"):
        assert isinstance(
            typed(tmp_path, "block-image", "--reason", "x", "--", pattern).exception, SettingError
        )
    assert typed(tmp_path, "blocked").stdout == "no image is blocked\n"


def test_the_books_are_summed_up_anew(tmp_path):
    """Even after credits and their corrections, and said so for programs and by the exit code."""

    empty = typed(tmp_path, "books")
    typed(tmp_path, "renter", "add", "ada")
    typed(tmp_path, "credit", "ada", "50", "--reason", "hi", "--by", "ops")
    books = told(tmp_path, "books")

    assert (empty.return_value, "no money has moved yet" in empty.stdout) == (0, True)
    assert (books["is_even"], books["micro_usd"], books["transfers"], books["entries"]) == (True, 0, 1, 2)
    assert books["balances_micro_usd"] == {"outside": -50_000_000, "renter:ada": 50_000_000}


def test_books_that_are_not_even_end_with_another_code(tmp_path, database):
    """A row that a fault, or a hand, has put into the ledger is named."""

    import sqlalchemy as sa

    from storage.tables import entries, transfers

    with database.begin() as connection:
        row = {
            "transfer_id": "odd",
            "at": datetime(2026, 10, 1, tzinfo=UTC),
            "kind": "GRANT",
            "lease_id": "",
            "message": "",
        }
        connection.execute(sa.insert(transfers), [row])
        connection.execute(
            sa.insert(entries), [{"transfer_id": "odd", "account": "renter:ada", "micro_usd": 5, "rao": 0}]
        )
    done = typed(tmp_path, "books")

    assert done.return_value == 1
    assert "NOT EVEN: odd" in done.stdout


def test_leases_that_stand_are_listed(tmp_path, database):
    """Of all renters, or all of one, with what they cost so far."""

    from storage.rentals import Rentals
    from tests.tasks.renting.leases import rental

    typed(tmp_path, "renter", "add", "ada")
    Rentals(database).request(rental("l-1", "ada"))
    (lease,) = told(tmp_path, "leases")

    assert (lease["lease_id"], lease["renter_id"], lease["state"], lease["cost_micro_usd"]) == (
        "l-1",
        "ada",
        "requested",
        0,
    )
    assert told(tmp_path, "leases", "--renter", "ada") == [lease]
    assert "l-1" in typed(tmp_path, "leases").stdout


def test_a_deposit_without_a_memo_is_claimed_by_the_operator(tmp_path, database):
    """It becomes a renter's once; without a price of its time it waits for that; one that is not there is told."""

    from storage.deposits import ChainDeposit, Deposits, DepositState

    at = datetime(2026, 10, 1, tzinfo=UTC)
    seen = ChainDeposit(
        "100-1", 100, at, "5Sender", 2_500_000_000, (), DepositState.UNCLAIMED, waits_for="a memo"
    )
    Deposits(database).advance("test/5Us", None, 100, [seen])
    typed(tmp_path, "renter", "add", "ada")
    waiting = told(tmp_path, "deposits", "list", "--unclaimed")
    claimed = told(tmp_path, "deposits", "claim", "100-1", "ada")

    assert [one["extrinsic_id"] for one in waiting] == ["100-1"]
    assert (claimed["renter_id"], claimed["micro_usd"]) == ("ada", 0)
    assert "price" in claimed["waits_for"]
    assert "2.5" in typed(tmp_path, "deposits", "list", "--renter", "ada").stdout
    assert told(tmp_path, "deposits", "list", "--unclaimed") == []
    for words in (("claim", "7-7", "ada"), ("claim", "x", "ada"), ("claim", "100-1", "bob")):
        assert isinstance(typed(tmp_path, "deposits", *words).exception, SettingError)
