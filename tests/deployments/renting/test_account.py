"""Which market, and which key."""

import contextlib
import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.renting.account import (
    checked_key,
    checked_url,
    find_market,
    forget_login,
    is_local,
    read_key,
    save_login,
)
from tasks.errors import NotLoggedIn, SettingError

KEY = "sn_3f9a01_" + "s" * 32
OTHER = "sn_3f9a02_" + "t" * 32


@pytest.fixture
def environment(tmp_path):
    """A renter's home of its own, with no local market yet."""
    return {"HOME": str(tmp_path / "home"), "SUBNET_FOLDER": str(tmp_path / "local")}


def local_market(environment, told):
    """Write what `subnet up` writes."""
    from pathlib import Path

    run = Path(environment["SUBNET_FOLDER"]) / "run"
    run.mkdir(parents=True)
    (run / "market.json").write_text(told)


def test_without_any_market_the_mend_is_told(environment):
    """One sentence with all ways to name one."""

    with pytest.raises(SettingError, match=r"SUBNET_API is '', expected .* `subnet up` starts a local one"):
        find_market(environment, None)


def test_the_nearest_word_wins(environment):
    """`--api` before SUBNET_API, that before the last login, that before the market on this computer."""

    local_market(environment, json.dumps({"url": "http://127.0.0.1:8200/"}))
    assert find_market(environment, None).url == "http://127.0.0.1:8200"
    save_login(environment, find_market(environment, "https://kept.example"), KEY, is_local=False)
    assert find_market(environment, None).url == "https://kept.example"
    named = {**environment, "SUBNET_API": "https://named.example/"}
    assert find_market(named, None).url == "https://named.example"
    assert find_market(named, "https://asked.example").url == "https://asked.example"


def test_a_key_goes_to_its_own_market_only(environment):
    """Another address, another port, another scheme: another key."""

    save_login(environment, find_market(environment, "https://a.example"), KEY, is_local=False)

    assert read_key(find_market(environment, None)) == KEY
    assert read_key(find_market(environment, "https://A.example/")) == KEY
    for other in ("https://b.example", "https://a.example:8443", "https://a.example.evil"):
        with pytest.raises(NotLoggedIn):
            read_key(find_market(environment, other))


def test_the_local_market_keeps_its_key_beside_it(environment):
    """So that it holds whatever port the market gets, and is gone with the local system."""

    local_market(environment, json.dumps({"url": "http://127.0.0.1:8200"}))
    market = find_market(environment, None)
    save_login(environment, market, KEY, is_local=is_local(environment, market))

    assert is_local(environment, market)
    assert str(market.key_file).startswith(environment["SUBNET_FOLDER"])
    assert read_key(find_market(environment, None)) == KEY


def test_a_key_is_its_owners_alone(environment):
    """It is written 0600, and not taken from a file that others can read."""

    market = find_market(environment, "https://a.example")
    save_login(environment, market, KEY, is_local=False)
    assert stat.S_IMODE(market.key_file.stat().st_mode) == 0o600
    market.key_file.chmod(0o644)

    with pytest.raises(SettingError, match="mode 0644"):
        read_key(market)


def test_a_file_that_the_environment_names_is_taken_as_it_is(environment, tmp_path):
    """A mounted secret has the mode that its platform gives it; what is no key is not sent and not shown."""

    (tmp_path / "mounted").write_text(f"{KEY}\n")
    (tmp_path / "other").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    named = {**environment, "SUBNET_API": "https://a.example"}

    assert read_key(find_market({**named, "SUBNET_API_KEY_FILE": str(tmp_path / "mounted")}, None)) == KEY
    with pytest.raises(SettingError) as refused:
        read_key(find_market({**named, "SUBNET_API_KEY_FILE": str(tmp_path / "other")}, None))
    assert "BEGIN" not in str(refused.value)


def test_a_login_can_be_forgotten(environment):
    """The key is gone, and so is the address."""

    market = find_market(environment, "https://a.example")
    save_login(environment, market, KEY, is_local=False)

    assert [forget_login(environment, market) for _ in range(2)] == [True, False]
    with pytest.raises(SettingError, match="SUBNET_API"):
        find_market(environment, None)


@pytest.mark.parametrize(
    "url",
    [
        "http://market.example",
        "ftp://a",
        "https://",
        "https://a b",
        "https://user:pw@a",
        "https://a?x",
        "https://a#x",
        "https://a:99999",
        "https://[::1",
        "a.example",
        "https://-x",
        "https://a\x1b[2J",
    ],
)
def test_an_address_that_may_not_be_is_refused(url):
    """In the clear over a network, with a password in it, or none at all."""

    with pytest.raises(SettingError):
        checked_url("--api", url)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text):
    """No text makes another error than the user's."""

    with contextlib.suppress(SettingError):
        assert checked_url("--api", text).startswith(("http://", "https://"))


@pytest.mark.parametrize("told", ["", "{", "[]", '{"url": 7}', '{"url": "http://10.0.0.1"}', '{"url": "x"}'])
def test_a_broken_run_file_is_a_users_matter(environment, told):
    """What stands in it is looked at like everything else."""

    local_market(environment, told)

    with pytest.raises(SettingError):
        find_market(environment, None)


def test_a_key_in_another_form_is_refused_unseen():
    """The refusal does not show it."""

    for text in ("", "hello", "sn_x", f"{KEY} {OTHER}", f"Bearer {KEY}", "sn_a_" + "\u00e4" * 20):
        with pytest.raises(SettingError, match="not shown"):
            checked_key(text)
