"""A market on this computer, its operator and its renter: the installed program, as they type it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from deployments.localnet.layout import Layout
from deployments.localnet.roles import make_wallet
from deployments.processes import free_port, start
from tests.deployments.test_cli import SUBNET, subnet

pytestmark = pytest.mark.slow


def is_up(url):
    """Whether it answers."""
    try:
        return httpx.get(f"{url}/v1/health", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def typed(folder, *words, stdin=None):
    """A line as it is typed, by somebody whose home is in the folder."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SUBNET_", "PREFECT_", "XDG_"))}
    environment = {**kept, "SUBNET_FOLDER": str(folder / ".local"), "HOME": str(folder / "home")}
    return subprocess.run(
        [SUBNET, *words],
        cwd=folder,
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_renter_begins_with_three_lines(tmp_path):
    """The key goes from the operator's command into the renter's by a pipe, and the local market is found by itself."""

    layout = Layout(tmp_path / ".local")
    (layout.subnet / "wallets").mkdir(parents=True)
    make_wallet(layout.subnet / "wallets", "validator")
    layout.chain.touch()
    url = f"http://127.0.0.1:{free_port(0)}"
    told = {k: v for k, v in os.environ.items() if not k.startswith(("SUBNET_", "PREFECT_"))}
    market = start(
        "marketplace",
        [sys.executable, SUBNET, "market", "serve", "--port", url.rpartition(":")[2]],
        log=tmp_path / "market.log",
        environment=told | {"SUBNET_FOLDER": str(layout.folder), "PREFECT_API_URL": "http://127.0.0.1:9/api"},
        folder=tmp_path,
    )
    try:
        market.wait_until(lambda: is_up(url), 90)
        layout.run.mkdir()
        (layout.run / "market.json").write_text(json.dumps({"url": url}))
        key = typed(tmp_path, "market", "renter", "add", "ada").stdout
        logged_in = typed(tmp_path, "rent", "login", stdin=key)
        typed(tmp_path, "market", "credit", "ada", "50", "--reason", "welcome", "--by", "ops")
        balance = typed(tmp_path, "rent", "balance")
        wanted = typed(tmp_path, "rent", "up", "--spec", "L4", "--yes")
        market.process.send_signal(signal.SIGTERM)
        market.process.wait(20)
    finally:
        market.stop()

    assert (logged_in.returncode, logged_in.stdout) == (
        0,
        f"logged in to {url} as ada, with a key for admin\n",
    )
    assert (balance.returncode, balance.stdout) == (0, "50.00 USD\n")
    assert (wanted.returncode, wanted.stderr[:40]) == (5, "Error: the market offers no machine now:")
    kept = layout.folder / "rent" / "api-key"
    assert (kept.read_text(), kept.stat().st_mode & 0o077) == (key, 0)
    assert key.strip() not in Path(tmp_path / "market.log").read_text()


def test_a_market_without_a_wallet_is_a_users_mistake(tmp_path):
    """One sentence and exit code 2, before anything is opened."""

    layout = Layout(tmp_path / ".local")
    layout.subnet.mkdir(parents=True)
    layout.chain.touch()
    done = subnet("market", "serve", folder=tmp_path)

    assert done.returncode == 2
    assert done.stderr.startswith("Error: hotkey file is")
    assert "Traceback" not in done.stderr


def test_without_a_market_the_mend_is_told(tmp_path):
    """Exit code 2, and all ways to name one."""

    done = typed(tmp_path, "rent", "ls")

    assert done.returncode == 2
    assert "`subnet up` starts a local one" in done.stderr
