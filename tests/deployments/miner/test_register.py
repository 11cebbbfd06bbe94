"""`subnet miner hotkey` and `subnet miner register`, as a miner types them."""

from __future__ import annotations

import json

import bittensor as bt
import pytest
from click.testing import CliRunner

from deployments.cli import subnet
from deployments.localnet.layout import Layout
from tasks.edges.wallets import owner_address
from tasks.errors import RegistrationRefused, SettingError
from tests.tasks import nodes
from tests.tasks.edges.test_wallets import WORDS
from tests.tasks.nodes import RAO


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """A command on a local chain of its own, with a wallet whose coldkey has 5 TAO and no password."""
    for name in ("BITTENSOR_RUNTIME_CACHE_DIR", "BTCLI_TOKEN_SYMBOLS_CACHE"):
        monkeypatch.setenv(name, "")
    monkeypatch.chdir(tmp_path)
    chain = Layout(tmp_path / ".local").chain
    chain.parent.mkdir(parents=True)
    # In real time, whose blocks pass by themselves: commands open the chain with the clock of everybody.
    node = nodes.make_node(chain, min_burn_rao=RAO // 2)
    wallets = tmp_path / "wallets"
    bt.Wallet("miner", "rack1", path=str(wallets)).create_new_coldkey(use_password=False, suppress=True)
    owner = owner_address(wallets, "miner")
    node.change(lambda state: setattr(state.account(owner), "free_rao", 5 * RAO))
    node.change(lambda state: setattr(state, "burn_rao", RAO // 2))
    node.substrate.ledger.close()
    where = ("--wallet-path", str(wallets), "--wallet", "miner", "--hotkey", "rack1")

    def command(*words, code=0, read=None):
        environment = {"SUBNET_FOLDER": str(tmp_path / ".local")}
        done = CliRunner().invoke(subnet, ["miner", *words, *where], env=environment, input=read)
        assert done.exit_code == code or done.exception is not None, done.output
        if code:
            return done
        assert done.exit_code == 0, done.exception
        return done.stdout

    return command


def test_from_no_key_to_a_place(typed):
    """The key is made, the terms are shown, the ceiling is agreed to, and the second time there is nothing to do."""
    address = json.loads(typed("hotkey", "new", "--json"))["address"]
    told = json.loads(typed("register", "--json"))
    bought = typed("register", "--max-tao", "0.6", read="y\n")
    again = typed("register")

    assert (told["terms"]["hotkey"], told["terms"]["price_rao"], told["place"]) == (address, RAO // 2, None)
    assert "5 TAO free" in bought
    assert "a place costs 0.5 TAO now" in bought
    assert f"Register {address} for at most 0.6 TAO?" in bought
    assert f"{address} is registered: uid 6" in bought
    assert again == f"{address} is registered already: uid 6; nothing was paid\n"


def test_a_program_registers_with_a_ceiling_and_no_question(typed):
    """What came of it is one JSON object."""
    typed("hotkey", "new")
    told = json.loads(typed("register", "--max-tao", "0.6", "--yes", "--json"))

    assert (told["place"]["uid"], told["place"]["is_new"]) == (6, True)


def test_the_local_subnet_gives_tao_away(typed, monkeypatch):
    """To the wallet's coldkey, which is kept where there is one; no other network has such a thing."""
    typed("hotkey", "new")
    known, sent = typed("coldkey", "new", "--no-password"), json.loads(typed("fund", "2.5", "--json"))
    terms = json.loads(typed("register", "--json"))["terms"]
    monkeypatch.setenv("SUBNET_NETWORK", "test")
    elsewhere = typed("fund", "2.5", code=1)

    assert "was known here already" in known
    assert (sent["coldkey"], terms["free_rao"]) == (terms["coldkey"], 7.5 * RAO)
    assert "only the local subnet gives TAO away" in str(elsewhere.exception)


@pytest.mark.long
def test_an_encrypted_coldkey_opens_with_a_password_from_a_file_or_a_pipe(typed, tmp_path):
    """Which is nowhere in what is said; a wrong one registers nothing. Each try takes ten seconds of CPU."""
    typed("hotkey", "new")
    (tmp_path / "password").write_text("right-one\n")
    wallet = bt.Wallet("miner", "rack1", path=str(tmp_path / "wallets"))
    wallet.coldkey_file.set_keypair(wallet.coldkey, encrypt=True, overwrite=True, password="right-one")
    yes = ("register", "--max-tao", "0.6", "--yes", "--json")
    wrong = typed(*yes, code=1, read="wrong-one\n")
    told = typed(*yes, "--coldkey-password-file", str(tmp_path / "password"))

    assert isinstance(wrong.exception, SettingError)
    assert "wrong-one" not in str(wrong.exception)
    assert json.loads(told)["place"]["is_new"]
    assert "right-one" not in told


def test_a_no_pays_nothing(typed):
    """Neither does a price that is above the ceiling, which is told before anybody is asked."""
    typed("hotkey", "new")
    no = typed("register", code=1, read="0.6\nn\n")
    above = typed("register", "--max-tao", "0.1", code=1)

    assert (no.exit_code, json.loads(typed("register", "--json"))["terms"]["uid"]) == (1, None)
    assert isinstance(above.exception, RegistrationRefused)
    assert above.exception.code == "PRICE_ABOVE_CEILING"


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("--yes",), "--max-tao"),
        (("--max-tao", "1e3"), "--max-tao"),
        (("--max-tao", "-1"), "--max-tao"),
    ],
)
def test_mistakes_are_told(typed, words, key):
    """Before anything is signed."""
    typed("hotkey", "new")
    done = typed("register", *words, code=1)

    assert isinstance(done.exception, SettingError)
    assert done.exception.key == key


def test_a_hotkey_is_imported_from_standard_input(typed):
    """Words that are piped in are never shown again."""
    shown = typed("hotkey", "import", read=WORDS + "\n")

    assert "back it up" in shown
    assert "curtain" not in shown


def test_a_secret_is_read_from_a_file_or_a_pipe(typed, tmp_path):
    """A file that is not there, one without a secret, and one without end are told, and none of what is in them."""
    (tmp_path / "empty").write_text("\n")
    for name in ("nothing", "empty", "/dev/zero"):
        done = typed("hotkey", "import", "--secret-file", name, code=1)
        assert isinstance(done.exception, SettingError)
        assert done.exception.key == "--secret-file"
