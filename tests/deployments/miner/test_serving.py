"""The agent as a process of its own, on the embedded chain: it follows the chain, lets in, logs and ends."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from configparser import ConfigParser
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from deployments.commands.miner.unit import command as unit_command
from deployments.localnet.chain.substrate import LocalSubstrate
from deployments.localnet.layout import Layout
from deployments.miner.admission import Admission
from deployments.miner.keys import read_authorized
from deployments.miner.serving import look_at_chain
from deployments.miner.systemd import Start, unit
from deployments.miner.visits import FILE, GRANTED, Sought, read_visits
from storage.records import Neuron
from tasks.edges.chain import Chain, ChainSettings
from tasks.edges.peers import Peers, PeerSettings
from tasks.edges.shell import EpochKey
from tasks.errors import ChainAway, ChainRefused, SettingError
from tasks.offering.config import MinerConfig, MinerExecutor, load_config, parse_config
from tasks.offering.typed import endpoint_of
from tests.deployments.miner.test_agent import neuron, view
from tests.deployments.miner.test_visits import ENTRY, offer
from tests.tasks.nodes import make_node

ROOT = Path(__file__).parents[3]
HOTKEY = "5" + "a" * 47


@pytest.fixture
def node(tmp_path):
    """The local subnet's chain, where the command looks for it: v1 has a permit, m1 is a miner without an endpoint."""
    chain = Layout(tmp_path / ".local").chain
    chain.parent.mkdir(parents=True)
    made = make_node(chain)
    made.substrate.ledger.close()
    return made


def miner_file(folder):
    """The file of m1, whose name is its wallet's."""
    path = folder / "m1.toml"
    entry = ENTRY.format(host_key=offer(1).host_key).replace("/home/subnet/keys", str(folder / "keys"))
    path.write_text(f'folder = "{folder / "memory"}"\nmin_validator_stake_tao = 1.0\n' + entry)
    return path


def started(folder, *more):
    """The command, as a miner types it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SUBNET_", "PREFECT_"))}
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from deployments.cli import main; main()",
            "miner",
            "serve",
            "--config",
            miner_file(folder),
            *more,
        ],
        cwd=folder,
        env=kept | {"SUBNET_FOLDER": str(folder / ".local"), "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )


def port_of(agent):
    """Where it listens, once it says so."""
    said = []
    for line in agent.stderr:
        said.append(line)
        if found := re.search(r"listens on 127\.0\.0\.1 port (\d+) with 1 machines", line):
            return int(found[1])
    raise AssertionError("".join(said))


def at(node, port):
    """The miner, as a validator's view has it."""
    hotkey = node.hotkey("m1")
    return Neuron(
        uid=3, hotkey=hotkey, coldkey=hotkey, endpoint=f"127.0.0.1:{port}", is_active=True, has_permit=False,
        stake_rao=0, last_update_block=0, registered_at_block=9, incentive=0.0, dividends=0.0,
        collateral_locked_rao=None,
    )  # fmt: skip


async def asked(node, who, port, key, commitment=""):
    """What the agent answers to this role of the chain, which knows this commitment."""
    async with Peers(node.wallets[who].hotkey, PeerSettings(allow_private=True)) as peers:
        miner = replace(at(node, port), tls_commitment=commitment)
        return await peers.ask(miner, 7, key.public_line, int(time.time()) + 900)


def until_seen(node, port, key):
    """The first answer after the agent knows the chain."""
    end = time.monotonic() + 20
    while True:
        reply = asyncio.run(asked(node, "v1", port, key))
        if reply.executors or time.monotonic() > end:
            return reply
        time.sleep(0.2)


def test_an_agent_lives_and_ends(tmp_path, node, monkeypatch):
    """It announces its endpoint, lets a validator with a permit in and nobody else, logs both, and ends at SIGTERM."""

    for name in ("BITTENSOR_RUNTIME_CACHE_DIR", "BTCLI_TOKEN_SYMBOLS_CACHE"):
        monkeypatch.setenv(name, "")  # the chain edge sets them for the whole process
    key = EpochKey.generate()
    with started(tmp_path, "--host", "127.0.0.1", "--port", "0", "--announce", "127.0.0.2:8091") as agent:
        try:
            port = port_of(agent)
            reply = until_seen(node, port, key)
            refused = asyncio.run(asked(node, "m2", port, EpochKey.generate()))
            committed = until_committed(tmp_path, node)
            by_tls = asyncio.run(asked(node, "v1", port, key, committed))
        finally:
            agent.send_signal(signal.SIGTERM)
            rest = agent.stderr.read()
    folder = load_config(tmp_path / "m1.toml").folder

    assert (agent.returncode, [e.executor_id for e in reply.executors]) == (0, ["box-1"]), rest
    assert re.fullmatch(r"subnet-tls/1 [A-Za-z0-9_-]{43}", committed)
    assert [e.executor_id for e in by_tls.executors] == ["box-1"]
    assert "no validator permit" in refused.reasons[0].got
    assert len(read_authorized(tmp_path / "keys", datetime.now(UTC))) == 1
    log = {(v.code, v.hotkey, v.reason) for v in read_visits(folder / FILE, Sought())}
    assert (GRANTED, node.hotkey("v1"), "epoch 7") in log
    assert ("NOT_ADMITTED", node.hotkey("m2"), "no validator permit") in log
    assert seen_on(tmp_path, node.hotkey("m1")).endpoint == "127.0.0.2:8091"
    assert rest.rstrip().endswith("stopped")


def until_committed(folder, node):
    """What the chain tells of the keys of m1's door, once it does."""
    end = time.monotonic() + 20
    while not (told := seen_on(folder, node.hotkey("m1")).tls_commitment) and time.monotonic() < end:
        time.sleep(0.2)
    return told


def seen_on(folder, hotkey):
    """What the chain tells validators of this hotkey."""
    path = Layout(folder / ".local").chain
    with closing(
        Chain(ChainSettings(cache=folder / "cache"), substrate_factory=lambda: LocalSubstrate(path))
    ) as chain:
        return chain.view().by_hotkey(hotkey)


class Chains:
    """A chain that answers what it is told to, and remembers what it was asked to publish."""

    def commitment(self, _hotkey):
        raise AssertionError("no keys are followed here")

    def commit(self, text):
        raise AssertionError(text)

    def __init__(self, *answers):
        self.answers, self.served = list(answers), []

    def view(self):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def serve(self, address, port):
        self.served.append((address, port))
        if port == 1:
            raise ChainRefused("ServingRateLimitExceeded", "later")


def test_a_chain_that_is_away_costs_a_minute(caplog):
    """What was known stays until the chain answers again; an endpoint that it does not take yet is tried the next time."""

    known = view(neuron(HOTKEY))
    chain = Chains(ChainAway("silent"), known, known, view())
    admission = Admission(min_stake_rao=0)

    assert not look_at_chain(chain, admission, HOTKEY, ("203.0.113.7", 8091))
    assert admission.view is None
    assert look_at_chain(chain, admission, HOTKEY, ("203.0.113.7", 8091))
    assert admission(HOTKEY) is True
    assert not look_at_chain(chain, admission, HOTKEY, ("203.0.113.7", 1))
    assert look_at_chain(chain, admission, HOTKEY, ("203.0.113.7", 8091))
    assert "is not registered on subnet" in caplog.text
    assert chain.served == [("203.0.113.7", 8091), ("203.0.113.7", 1)]


@pytest.mark.parametrize(
    "text", ["", "203.0.113.7", "miner.example:80", "203.0.113.7:0", "203.0.113.7:x", ":80"]
)
def test_an_endpoint_has_one_form(text):
    """A literal address and a port; anything else is the user's mistake, before the agent starts."""

    with pytest.raises(SettingError):
        endpoint_of(text)
    assert endpoint_of("[2001:db8::1]:8091") == ("2001:db8::1", 8091)


def read_unit(text):
    """The unit's sections."""
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(text)
    return parser


def test_the_unit_may_write_its_own_folder_only(tmp_path):
    """No rights, no devices, no other folder: the agent's own, and those of keys files where it writes these."""

    result = CliRunner().invoke(
        unit_command, ["--config", str(miner_file(tmp_path)), "--announce", "203.0.113.7:8091"]
    )
    assert result.exit_code == 0, result.output
    service = read_unit(result.stdout)["Service"]

    assert service["ExecStart"].endswith(
        f"/subnet miner serve --config {tmp_path}/m1.toml --port 8091 --announce 203.0.113.7:8091"
    )
    assert service["ReadWritePaths"] == f"-{tmp_path}/memory -{tmp_path}"
    assert (service["User"], service["NoNewPrivileges"], service["ProtectSystem"], service["CapabilityBoundingSet"]) == (
        "subnet-miner", "yes", "strict", "",
    )  # fmt: skip

    config = MinerConfig((MinerExecutor(offer(1)),), folder=tmp_path / "memory", ssh_ca=tmp_path / "ca")
    text = unit(config, Start(Path("/opt/subnet"), ("miner",), "m"))
    assert read_unit(text)["Service"]["ReadWritePaths"] == f"-{tmp_path}/memory"


def test_a_path_in_a_unit_is_one_word():
    """Blanks, percent signs and quotes of a path reach the agent as they are; a line break is refused."""

    start = Start(Path("/opt/subnet"), ("--config", '/etc/a b/50%/"x".toml'), "m")
    config = MinerConfig((), folder=Path("/var/lib/subnet-miner"))

    assert r'--config "/etc/a b/50%%/\"x\".toml"' in unit(config, start)
    with pytest.raises(SettingError):
        unit(MinerConfig((), folder=Path("/var/lib/a\nUser=root")), start)
    with pytest.raises(SettingError):
        unit(parse_config(ENTRY.format(host_key=offer(1).host_key)), start)
