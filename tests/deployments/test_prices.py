"""`subnet prices`, as a user types it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from deployments.commands.prices import age_of
from storage.prices import PriceStore
from storage.records import TAO_USD, TOKEN, PriceAnswer, Quote
from tests.databases import fresh
from tests.deployments.warm import warm

NOW = datetime.now(UTC)
TAO = Quote(TOKEN, TAO_USD, 301.0, "coinbase,kraken", NOW - timedelta(hours=30))
NETWORK = {"SUBNET_NETWORK": "ws://127.0.0.1:1", "SUBNET_PRICE_SOURCES": "kraken,coinbase"}


pytestmark = pytest.mark.xdist_group("prices command")
"""What is typed here is imported once: one worker has it all."""


@pytest.fixture(scope="module")
def subnet():
    """The command, imported once."""
    with warm("deployments.commands.prices") as typed:
        yield typed


@pytest.fixture
def database(tmp_path):
    """A validator's state in which two exchanges agreed yesterday, and one is away since."""
    url = f"sqlite:///{tmp_path}/state.sqlite"
    engine = fresh(tmp_path, "state.sqlite")
    said = PriceAnswer("coinbase", NOW, "", (replace(TAO, source="coinbase"),))
    PriceStore(engine).save([said, PriceAnswer("kraken", NOW, "status 503, wanted 200", ())], [TAO])
    engine.dispose()
    return url


def test_the_local_subnet_has_the_file_s_prices(tmp_path, subnet):
    """Without any configuration: both tokens and the published rates, from the file, with its age; no source is asked."""

    done = subnet("prices", folder=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert "tao_usd" in done.stdout
    assert "H100 80GB HBM3" in done.stdout
    assert "59 models with an estimated rate are not listed" in done.stdout
    assert "kraken" not in done.stdout


def test_an_old_price_is_told_with_the_reason(tmp_path, database, subnet):
    """Value, sources and age of each price; who failed and why; exit code 1 as the price is more than a day old."""

    done = subnet("prices", folder=tmp_path, SUBNET_DATABASE_URL=database, **NETWORK)

    assert done.returncode == 1
    line = next(line for line in done.stdout.splitlines() if "tao_usd" in line)
    assert line.split() == ["token", "tao_usd", "301", "USD", "coinbase,kraken", "30", "h"]
    assert "failed: status 503, wanted 200" in done.stdout


def test_the_same_for_programs(tmp_path, database, subnet):
    """One JSON object: every quote with its sources and age, every source with what it said."""

    done = subnet("prices", "--json", folder=tmp_path, SUBNET_DATABASE_URL=database, **NETWORK)

    told = json.loads(done.stdout)
    [tao] = [quote for quote in told["quotes"] if quote["name"] == "tao_usd"]
    assert (tao["value"], tao["sources"], tao["is_stale"]) == (301.0, ["coinbase", "kraken"], True)
    assert tao["age_s"] // 3600 == 30
    assert {s["source"]: s["fault"] for s in told["sources"]} == {
        "kraken": "status 503, wanted 200",
        "coinbase": "",
        "chain": None,
    }


def test_asking_anew_without_a_chain(tmp_path, subnet):
    """`--refresh` on a folder where no local chain is yet: the chain is told as failed, with the mend."""

    done = subnet("prices", "--refresh", "--json", folder=tmp_path)

    [chain] = json.loads(done.stdout)["sources"]
    assert (chain["source"], chain["fault"]) == (
        "chain",
        "there is no local chain yet; `subnet epoch` makes one",
    )


@pytest.mark.parametrize(
    ("seconds", "told"), [(-5, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (13e6, "150 d")]
)
def test_an_age_has_one_unit(seconds, told):
    """The largest that tells it."""

    assert age_of(timedelta(seconds=seconds)) == told
