"""`subnet miner sign`, as a miner types it: it signs what a marketplace's page shows, and nothing else."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from deployments.cli import subnet
from deployments.localnet.chain.actors import dev_wallet
from tasks.edges.signing import is_text_of
from tasks.edges.wallets import ensure_hotkey
from tasks.errors import SettingError
from tasks.signing_in import SignIn


def asked(hotkey, ahead=timedelta()):
    """The text of a page, of now or of so much later."""
    issued_at = datetime.now(UTC).replace(microsecond=0) + ahead
    return SignIn("http://localhost:8091", hotkey, "n" * 60, issued_at).text


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """The command, with a wallet of its own; its hotkey's address."""
    monkeypatch.chdir(tmp_path)
    made = ensure_hotkey(tmp_path / "wallets", "miner", "rack1")

    def command(*words, read=None):
        where = ("--wallet-path", str(tmp_path / "wallets"), "--wallet", "miner", "--hotkey", "rack1")
        environment = {"SUBNET_FOLDER": str(tmp_path / ".local")}
        return CliRunner().invoke(subnet, ["miner", "sign", *where, *words], env=environment, input=read)

    return command, made.address


def test_the_text_of_a_page_is_signed(typed):
    """As an argument or by standard input; what is printed is what the page takes, and where it opens what is told beside."""
    command, hotkey = typed
    text = asked(hotkey)
    done, piped = command(text), command(read=f"{text}\n")
    told = json.loads(command("--json", text).stdout)

    for signature in (done.stdout, piped.stdout, told["signature"]):
        assert is_text_of(text, signature.strip(), hotkey)
    assert "http://localhost:8091" in done.stderr
    assert (told["origin"], told["hotkey"]) == ("http://localhost:8091", hotkey)


@pytest.mark.parametrize(
    "text", ["", "I owe you 100 TAO", "subnet/statement/1\nsr25519\nswap", "x" * 100_000]
)
def test_anything_else_is_not_signed(typed, text):
    """Whoever asks for it: nothing is printed, and nothing of a long text is repeated."""
    command, _ = typed
    done = command(read=text)

    assert isinstance(done.exception, SettingError)
    assert done.stdout == ""
    assert len(str(done.exception)) < 300


def test_a_text_for_another_hotkey_or_an_old_one_is_not_signed(typed):
    """It would open nothing; so it is told here."""
    command, hotkey = typed
    other = command(asked(dev_wallet("other").hotkey.ss58_address))
    old = command(asked(hotkey, timedelta(minutes=-6)))

    assert f"a text for this wallet's, {hotkey}" in str(other.exception)
    assert "a newer one" in str(old.exception)


@pytest.mark.parametrize("ahead", [timedelta(minutes=2), timedelta(days=1_000)])
def test_a_text_of_the_future_is_not_signed(typed, ahead):
    """Whoever keeps its signature could use it then; clocks that differ by some seconds are none of it."""
    command, hotkey = typed
    early, soon = command(asked(hotkey, ahead)), command(asked(hotkey, timedelta(seconds=20)))

    assert isinstance(early.exception, SettingError)
    assert "this machine's clock" in str(early.exception)
    assert early.stdout == ""
    assert soon.exit_code == 0


def test_a_miner_of_the_local_subnet_signs_by_its_name(tmp_path, monkeypatch):
    """Its key is on no disk."""
    monkeypatch.chdir(tmp_path)
    hotkey = dev_wallet("miner-a").hotkey.ss58_address
    environment = {"SUBNET_FOLDER": str(tmp_path / ".local")}
    text = asked(hotkey)
    done = CliRunner().invoke(subnet, ["miner", "sign", "--wallet", "miner-a", text], env=environment)

    assert is_text_of(text, done.stdout.strip(), hotkey)
