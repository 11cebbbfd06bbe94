"""The marketplace as a process of its own."""

import os
import signal
import sys
from dataclasses import replace

import httpx
import pytest
from click.testing import CliRunner

from deployments.cli import subnet
from deployments.localnet.layout import Layout
from deployments.localnet.roles import make_wallet
from deployments.marketplace.serve import app_of
from deployments.processes import free_port, start
from deployments.sites import REPOSITORY
from flows.edges import load_wallet
from storage.money import Money
from storage.renter import Scope
from storage.renters import Renters
from tasks.errors import SettingError
from tasks.renting.api_keys import new_key
from tasks.renting.money import granted
from tests.databases import fresh
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import Browser
from tests.tasks.renting.leases import NOON, USD
from tests.tasks.renting.renters import renter

pytestmark = pytest.mark.slow


def health(url):
    """What it says of itself; None while it is not there."""
    try:
        return httpx.get(f"{url}/v1/health", timeout=5, trust_env=False).json()
    except httpx.HTTPError:
        return None


def test_requests_are_taken_without_the_orchestrator_and_kept(tmp_path):
    """No Prefect, no epoch, no miner: it answers, keeps a lease that waits, says so, and ends at SIGTERM."""
    layout = Layout(tmp_path)
    (layout.subnet / "wallets").mkdir(parents=True)
    make_wallet(layout.subnet / "wallets", "validator")
    layout.chain.touch()
    url = f"http://127.0.0.1:{free_port(0)}"
    told = {k: v for k, v in os.environ.items() if not k.startswith(("SUBNET_", "PREFECT_"))}
    market = start(
        "marketplace",
        [sys.executable, "-m", "deployments.marketplace.serve", "--port", url.rpartition(":")[2]],
        log=tmp_path / "market.log",
        environment=told | {"SUBNET_FOLDER": str(tmp_path), "PREFECT_API_URL": "http://127.0.0.1:9/api"},
        folder=REPOSITORY,
    )
    try:
        market.wait_until(lambda: health(url) is not None, 60)
        engine = fresh(tmp_path, "validator.sqlite")
        Renters(engine).add(renter("alice"))
        token, key = new_key("alice", "test", (Scope.ADMIN,), NOON)
        Renters(engine).add_key(key, NOON)
        Money(engine).post(granted("alice", USD, "start", NOON, "to begin with"))
        engine.dispose()
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=20) as client:
            asked = client.post(
                "/v1/leases", json={"pod": {"image": "ubuntu:24.04"}}, headers={"Idempotency-Key": "k-1"}
            )
        market.process.send_signal(signal.SIGTERM)
        code = market.process.wait(20)
    finally:
        market.stop()

    assert (asked.status_code, asked.json()["queued"], code) == (202, True, -signal.SIGTERM)
    said = market.log.read_text()
    assert token not in said
    assert "Traceback" not in said


def test_an_operator_that_is_nobody_is_told_at_the_start(tmp_path):
    """An address with a typo would let nobody in, and say nothing."""
    settings = replace(Layout(tmp_path).settings({}), operators=("5" * 48,))

    with pytest.raises(SettingError, match="SUBNET_OPERATORS"):
        app_of(settings, None, "5Own")


def test_pages_are_at_the_origins_of_the_settings(tmp_path, monkeypatch):
    """And nowhere else then."""
    monkeypatch.chdir(tmp_path)
    settings = replace(Layout(tmp_path).settings({}), market_origins=("https://market.example",))
    app = app_of(settings, None, "5Own")

    assert Browser(app, "https://market.example").get("/").status_code == 200
    assert Browser(app).get("/").status_code == 421


def test_the_local_market_takes_everybody_in_and_its_validator_operates(tmp_path, monkeypatch):
    """An account is made on its page; the validator's own hotkey, signed with by our command, sees the operator's page."""
    monkeypatch.chdir(tmp_path)
    layout = Layout(tmp_path)
    (layout.subnet / "wallets").mkdir(parents=True)
    make_wallet(layout.subnet / "wallets", "validator")
    settings = layout.settings({})
    hotkey = load_wallet(settings).hotkey.ss58_address
    app = app_of(settings, None, hotkey)
    renter, operator = Browser(app), Browser(app)
    made = renter.submit(renter.get("/sign-up"), "/sign-up")
    page = operator.get("/sign-in/hotkey", params={"hotkey": hotkey})
    text = next(one for one in read(page).texts if one.startswith("subnet sign-in/1"))
    words = ["miner", "sign", "--wallet", "validator", text]
    signature = CliRunner().invoke(subnet, words, env={"SUBNET_FOLDER": str(tmp_path)}).stdout
    signed = operator.submit(page, "/sign-in/hotkey", signature=signature)

    assert (made.status_code, signed.status_code) == (201, 303)
    assert read(operator.get("/")).links("/operator") == ["/operator"]
    assert read(renter.get("/")).links("/operator") == []
