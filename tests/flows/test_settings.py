"""The validator's settings: typed, with errors that name the key, the value and what was expected."""

from pathlib import Path

import pytest

from flows.settings import PREFIX, Settings, read_settings
from tasks.errors import SettingError
from tasks.pricing.sources import SOURCES

EXAMPLE = Path(__file__).parents[2] / ".env.example"


def test_nothing_set_means_the_local_subnet():
    """Without any configuration the validator works on the embedded chain."""

    assert read_settings({"PATH": "/bin"}) == Settings()
    assert Settings().is_embedded


def test_values_are_cast():
    """Each value arrives as its type."""

    settings = read_settings(
        {"SUBNET_NETWORK": "wss://node.example:443", "SUBNET_NETUID": "7", "SUBNET_HISTORY": "/data/history"}
    )

    assert settings == Settings(network="wss://node.example:443", netuid=7, history=Path("/data/history"))


def test_sources_of_prices_are_named():
    """All of them unless some are named, or none."""

    def named(value):
        return read_settings({"SUBNET_PRICE_SOURCES": value}).price_sources

    assert named("") == tuple(SOURCES)
    assert named("coinbase, kraken") == ("coinbase", "kraken")
    assert named("none") == ()


def test_origins_are_written_as_browsers_write_them():
    """Each once, without the port that goes without saying."""
    told = "https://Market.Example:443, http://localhost:8051,https://market.example"

    assert read_settings({"SUBNET_MARKET_ORIGINS": told}).market_origins == (
        "https://market.example",
        "http://localhost:8051",
    )


def test_an_empty_value_counts_as_not_set():
    """A key that is there but empty keeps its default, as .env files are wont to have them."""

    assert read_settings({"SUBNET_NETUID": ""}) == Settings()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("SUBNET_NETWORK", "fineny", "one of embedded, finney"),
        ("SUBNET_NETWORK", "http://node", "ws://"),
        ("SUBNET_NETWORK", "ws://", "ws://"),
        ("SUBNET_NETWORK", "ws://[bad", "ws://"),
        ("SUBNET_WALLET_PATH", "~nosuchuser/x", "a path"),
        ("SUBNET_NETUID", "-1", "0 to 65535"),
        ("SUBNET_NETUID", "66000", "0 to 65535"),
        ("SUBNET_POLICY", "generous", "default, fleet, lium-2025, lium-2026, localnet"),
        ("SUBNET_WALLET_NAME", "../other", "letters"),
        ("SUBNET_CHAIN_DEADLINE_S", "nan", "seconds from 1 to 600"),
        ("SUBNET_CHAIN_DEADLINE_S", "0", "seconds from 1 to 600"),
        ("SUBNET_MAX_SESSIONS", "1e3", "whole number"),
        ("SUBNET_CREW", "fibers", "processes, threads"),
        ("SUBNET_HANDS", "257", "0 to 256"),
        ("SUBNET_HAND_MIB", "511", "512 to 1048576"),
        ("SUBNET_PRICE_SOURCES", "kraken,binance", "none, or some of these with commas between: kraken,"),
        ("SUBNET_PRICE_SOURCES", "kraken,kraken", "none, or some of these"),
        ("SUBNET_TRUSTED_PROXIES", "proxy.example", "addresses and networks"),
        ("SUBNET_TRUSTED_PROXIES", "10.0.0.1/8", "addresses and networks"),
        ("SUBNET_TRUSTED_PROXIES", "10.0.0.1,0.0.0.0/0", "never everybody's"),
        ("SUBNET_MARKET_ORIGINS", "market.example", "such as https://market.example"),
        ("SUBNET_MARKET_ORIGINS", "https://", "such as https://market.example"),
        ("SUBNET_MARKET_ORIGINS", "https://market.example/", "nothing behind the name but a port"),
        ("SUBNET_MARKET_ORIGINS", "https://market.example,*", "such as https://market.example"),
        ("SUBNET_MARKET_ORIGINS", "wss://market.example", "such as https://market.example"),
        ("SUBNET_MARKET_ORIGINS", "https://a:0", "such as https://market.example"),
        ("SUBNET_SIGN_UP", "yes", "open or closed"),
        ("SUBNET_OPERATORS", "5Grwva", "an SS58 address of 48 characters"),
        ("SUBNET_TRUSTEE", "5Grwva", "an SS58 address of 48 characters"),
    ],
)
def test_a_value_that_does_not_fit_names_itself(key, value, expected):
    """The error has the key, the value and what was expected, in one sentence."""

    with pytest.raises(SettingError) as caught:
        read_settings({key: value})

    assert key in str(caught.value)
    assert value in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("SUBNET_NETUDI", "51", "a known key"),
        ("SUBNET_WALLET_PASSWORD", "secret", "a known key"),
        ("SUBNET_DATABASE_URL", "mysql://me:secret@host/db", "is 'mysql', expected a sqlite:///"),
        ("SUBNET_DATABASE_URL", "mysql://me:sec@ret@host/secret", "is 'mysql', expected a sqlite:///"),
        ("SUBNET_DATABASE_URL", "mysql://user:secret", "is 'mysql', expected a sqlite:///"),
        ("SUBNET_DATABASE_URL", "me:secret", "a sqlite:///"),
    ],
)
def test_what_may_be_a_secret_is_not_repeated(key, value, expected):
    """The value of an unknown key, and an address that is refused, are told without what may be a password in them."""

    with pytest.raises(SettingError, match=key) as caught:
        read_settings({key: value})

    assert expected in str(caught.value)
    assert not any(part in str(caught.value) for part in ("secret", "ret@", "51"))


def test_a_history_on_s3_has_the_server_of_awss_variables_and_the_states_locks():
    """SUBNET_HISTORY says where; the rest is what AWS's own tools read, and credentials are nowhere in it."""
    environment = {
        "SUBNET_HISTORY": "s3://archive/subnet-51",
        "SUBNET_DATABASE_URL": "postgresql://me:secret@db/state",
        "AWS_ENDPOINT_URL": "https://minio.example:9000",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }

    history = read_settings(environment).history

    assert str(history) == "s3://archive/subnet-51"
    assert history.bucket.endpoint == "https://minio.example:9000"
    assert history.bucket.locks == environment["SUBNET_DATABASE_URL"]
    assert "secret" not in repr(read_settings(environment).history)
    with pytest.raises(SettingError, match="SUBNET_HISTORY"):
        read_settings({"SUBNET_HISTORY": "s3://Not A Bucket"})


def test_the_example_file_documents_every_setting():
    """`.env.example` has each key of the settings, and no other."""

    documented = {
        line.lstrip("# ").partition("=")[0]
        for line in EXAMPLE.read_text().splitlines()
        if line.lstrip("# ").startswith(PREFIX)
    }

    assert {PREFIX + name.upper() for name in Settings.__dataclass_fields__} <= documented
    read_settings(
        {
            line.partition("=")[0]: line.partition("=")[2]
            for line in EXAMPLE.read_text().splitlines()
            if line.startswith(PREFIX)
        }
    )
