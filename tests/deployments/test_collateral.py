"""`subnet collateral`, as an operator types it."""

import hashlib
import json
from datetime import UTC, datetime

import bittensor as bt
import pytest
from click.testing import CliRunner

from deployments.commands.collateral import command as group
from deployments.localnet.chain.actors import dev_wallet
from deployments.localnet.chain.genesis import genesis
from deployments.localnet.chain.substrate import LocalSubstrate
from storage.collateral import Ledger
from storage.database import open_database
from storage.state import State
from tasks.errors import ChainRefused, UserError
from tests.deployments.localnet.conftest import close_whole
from tests.deployments.warm import warm
from tests.storage.outcomes import header

HOTKEY = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
BOX = f"{HOTKEY}/box-1"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A command on a folder of its own, in this process, with 6 TAO deposited for a machine: what it says, or its error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUBNET_FOLDER", str(tmp_path / ".local"))
    for name in ("BITTENSOR_RUNTIME_CACHE_DIR", "BTCLI_TOKEN_SYMBOLS_CACHE"):
        monkeypatch.setenv(name, "")  # put back afterwards: the chain edge sets them

    def command(*arguments, code=0):
        done = CliRunner().invoke(group, arguments)
        if code == 0:
            assert done.exit_code == 0, done.exception
            return done.stdout
        if code == 1:
            raise done.exception
        assert isinstance(done.exception, UserError)  # main() makes one sentence and exit code 2 of it
        return str(done.exception)

    command("deposit", "--executor", BOX, "--tao", "6", "--extrinsic", "100-1", "--by", "ops", "--vouch")
    return command


def balances(run):
    """Free and held, in rao."""
    [machine] = json.loads(run("show", "--json"))["machines"]
    return machine["free_rao"], machine["held_rao"]


def test_a_deposit_a_reclaim_and_a_slash(run, tmp_path):
    """What each command says, and the ledger after it; the window is open, so nothing is paid yet."""
    (tmp_path / "log.txt").write_text("two machines listed GPU-1")

    asked = run("reclaim", "--executor", BOX, "--tao", "4.5")
    early = run("finalise", "--executor", BOX, code=2)
    slashed = run("slash", "--executor", BOX, "--tao", "2", "--reason", "shared", "--evidence", "log.txt")

    assert f"{BOX}: reclaim of 4.5 TAO; now 1.5 TAO free, 4.5 asked back, due " in asked
    assert "until then it can be denied" in early
    assert f"{BOX}: slash of 2 TAO; now 0 TAO free, 4 asked back, due " in slashed
    assert "deny of 4 TAO; now 4 TAO free, 0 asked back" in run("deny", "--executor", BOX, "--reason", "no")
    assert balances(run) == (4_000_000_000, 0)


def test_the_same_command_again_changes_nothing(run):
    """A deposit that was credited is told as such, exit code 0; with another amount it is a mistake."""

    again = run("deposit", "--executor", BOX, "--tao", "6.0", "--extrinsic", "0100-01", "--json", "--vouch")
    other = run("deposit", "--executor", BOX, "--tao", "7", "--extrinsic", "100-1", "--vouch", code=2)

    assert json.loads(again)["is_new"] is False
    assert "stands in the ledger with something else: 6 TAO" in other
    assert balances(run) == (6_000_000_000, 0)


def test_evidence_goes_into_the_archive(run, tmp_path):
    """Its digest stands in the ledger, itself in the event that the next epoch archives."""
    text = '{"card": "GPU-1"}\n'
    (tmp_path / "log.json").write_text(text)

    told = run(
        *("slash", "--executor", BOX, "--tao", "1", "--reason", "shared", "--evidence", "log.json", "--json")
    )

    digest = hashlib.blake2s(text.encode()).hexdigest()
    assert json.loads(told)["move"]["evidence_blake2s"] == digest
    engine = open_database(f"sqlite:///{tmp_path}/.local/validator.sqlite")
    state = State(engine)
    state.open_epoch(header(7))
    state.finish_epoch(7)
    statement = json.loads(state.load_outcome(7).events[-1].statement)
    assert (statement["evidence"], statement["evidence_blake2s"]) == (text, digest)
    assert Ledger(engine).moves(BOX)[-1].at <= datetime.now(UTC)
    engine.dispose()


@pytest.fixture
def chain(tmp_path):
    """A local chain of the folder, on which the owner has sent 6 TAO to us: the extrinsic's id, and our address."""
    owner, trustee = dev_wallet("owner"), dev_wallet("trustee").coldkey.ss58_address
    file = tmp_path / ".local" / "localnet" / "chain.sqlite"
    genesis(
        file,
        owner_coldkey=owner.coldkey.ss58_address,
        owner_hotkey=owner.hotkey.ss58_address,
        accounts={owner.coldkey.ss58_address: 100 * 10**9},
    )
    subtensor = bt.Subtensor("local", substrate=LocalSubstrate(file))
    sent = subtensor.execute(bt.Transfer(dest_ss58=trustee, amount_tao=6), owner)
    close_whole(subtensor)
    return sent.extrinsic_id, trustee, f"{owner.hotkey.ss58_address}/box-1"


def test_the_chain_confirms_a_deposit(run, chain, monkeypatch):
    """A final transfer of the miner's coldkey to our address is credited; another amount, address, machine or block is not."""
    extrinsic, trustee, box = chain
    block, index = extrinsic.split("-")

    def credit(executor=box, tao="6", extrinsic=extrinsic, **how):
        return run("deposit", "--executor", executor, "--tao", tao, "--extrinsic", extrinsic, **how)

    assert "SUBNET_TRUSTEE is ''" in credit(code=2)
    monkeypatch.setenv("SUBNET_TRUSTEE", dev_wallet("stranger").coldkey.ss58_address)
    with pytest.raises(ChainRefused, match="0 transfers to"):
        credit(code=1)
    monkeypatch.setenv("SUBNET_TRUSTEE", trustee)
    assert "the transfer is of 6 TAO, not 5" in credit(tao="5", code=2)
    assert "not of the miner's coldkey (not registered)" in credit(executor=BOX, code=2)
    with pytest.raises(ChainRefused, match="no successful extrinsic"):
        credit(extrinsic=f"{block}-{int(index) + 1}", code=1)
    with pytest.raises(ChainRefused, match="is not final yet"):
        credit(extrinsic="999999999-0", code=1)

    assert f"{box}: deposit of 6 TAO; now 6 TAO free" in credit()
    assert "transfer of the miner's coldkey" in run("show", "--executor", box, "--json")


def test_what_is_shown(run):
    """A line for each machine, every move of the one that is named, and whether anybody looks at it."""

    shown = run("show", "--executor", BOX)

    assert BOX in shown
    assert "100-1" in shown
    assert "ops" in shown
    assert "the policy's source is 'none': no collateral is asked for" in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["deposit", "--executor", "box-1", "--tao", "1", "--extrinsic", "1-1"], "--executor is 'box-1'"),
        (
            ["deposit", "--executor", f"{HOTKEY}/A b", "--tao", "1", "--extrinsic", "1-1"],
            "expected HOTKEY/NAME",
        ),
        (["deposit", "--executor", BOX, "--tao", "1.0000000001", "--extrinsic", "1-1"], "nine decimals"),
        (["deposit", "--executor", BOX, "--tao", "1e3", "--extrinsic", "1-1"], "--tao is '1e3'"),
        (["deposit", "--executor", BOX, "--tao", "1", "--extrinsic", "0xabc"], "expected BLOCK-INDEX"),
        (["reclaim", "--executor", BOX, "--tao", "6.000000001"], "6 are free"),
        (["deny", "--executor", BOX, "--reason", "no"], "nothing of"),
        (
            ["slash", "--executor", BOX, "--tao", "1", "--reason", "x", "--evidence", "nowhere"],
            "--evidence is",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_moves_nothing(run, arguments, told):
    """Key, value and what was expected."""

    error = run(*arguments, code=2)

    assert told in error
    assert "\n" not in error
    assert balances(run) == (6_000_000_000, 0)


def test_from_the_command_line(run, tmp_path):
    """The command line says the same, and a mistake ends with exit code 2."""

    with warm("deployments.commands.collateral") as subnet:
        shown = subnet("collateral", "show", folder=tmp_path)
        wrong = subnet("collateral", "deny", "--executor", BOX, "--reason", "no", folder=tmp_path)

    assert (shown.returncode, shown.stderr) == (0, "")
    assert BOX in shown.stdout
    assert (wrong.returncode, wrong.stderr) == (2, f"Error: nothing of {BOX} is asked back\n")
