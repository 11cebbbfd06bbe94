"""The chain edge on the embedded chain, and against nodes that stay silent."""

import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import bittensor as bt
import pytest
from websockets.sync.server import serve as serve_websocket

from deployments.localnet.chain.substrate import LocalSubstrate
from storage.records import WeightStatus, WeightTarget
from tasks.edges.chain import Chain, ChainSettings, load_hotkey
from tasks.errors import ChainAway, ChainRefused, SettingError
from tests.tasks import nodes
from tests.tasks.nodes import NAMES, RAO, Node

ROOT = Path(__file__).parents[3]


@pytest.fixture
def make_node(tmp_path):
    """Nodes with the hyperparameters that a test asks for."""
    made: list[Node] = []

    def make(**hyperparameters) -> Node:
        made.append(nodes.make_node(tmp_path / f"chain{len(made)}.db", **hyperparameters))
        return made[-1]

    yield make
    for node in made:
        node.substrate.ledger.close()


@pytest.fixture
def make_chain(tmp_path, monkeypatch):
    """Edges, closed when the test is over; the SDK's cache variables are put back."""
    for name in ("BITTENSOR_RUNTIME_CACHE_DIR", "BTCLI_TOKEN_SYMBOLS_CACHE"):
        monkeypatch.setenv(name, "")
    made: list[Chain] = []

    def make(node: Node | None = None, who: str | None = "v1", factory=None, **settings) -> Chain:
        chain = Chain(
            ChainSettings(cache=tmp_path / "cache", **settings),
            wallet=node.wallets[who] if node and who else None,
            substrate_factory=factory or (node.factory if node else None),
        )
        made.append(chain)
        return chain

    yield make
    for chain in made:
        chain.close()


def set_once(chain, targets, *, version_key=0, began=0):
    return chain.submit_weights(targets, version_key=version_key, epoch_began_block=began)


# --- reading


def test_a_view_is_one_block(make_node, make_chain):
    """Head, neurons and hyperparameters of a view are those of its block."""
    node = make_node()
    view = make_chain(node).view()

    assert [n.hotkey for n in view.neurons] == [node.hotkey(name) for name in ("owner", *NAMES)]
    v1 = view.by_hotkey(node.hotkey("v1"))
    assert (v1.uid, v1.has_permit, v1.endpoint, v1.collateral_locked_rao) == (1, True, None, 0)
    assert v1.stake_rao > 6000 * RAO
    assert (view.weights_rate_limit_blocks, view.weights_version, view.is_commit_reveal) == (20, 0, False)
    assert view.owner_hotkey == node.hotkey("owner")
    assert view.head.block == node.substrate.ledger.head()
    assert view.head.block_hash == node.substrate.ledger.block_hash(view.head.block)
    assert view.head.time.timestamp() == pytest.approx(node.clock.now(), abs=0.3)
    assert (view.head.tempo, view.head.block_time_s) == (50, 0.25)
    assert view.head.next_epoch_block - view.head.last_epoch_block == 50


def test_the_emission_of_a_day_goes_by_the_blocks_pace(make_node, make_chain):
    """1 alpha a block; at 0.25 s a block that is 345,600 alpha a day, for owner, validators and miners together."""
    assert make_chain(make_node(), who=None).alpha_out_rao_per_day() == 345_600 * RAO


def test_a_read_only_chain_needs_no_wallet(make_node, make_chain):
    """Head, view and hashes are open; what needs a key asks for it."""
    node = make_node()
    chain = make_chain(node, who=None)

    head = chain.head()
    assert chain.block_hash(head.block - 5) == node.substrate.ledger.block_hash(head.block - 5)
    with pytest.raises(ChainRefused, match="UnknownBlock"):
        chain.block_hash(head.block + 1_000)
    with pytest.raises(SettingError, match="wallet"):
        chain.own_weights()


def test_a_subnet_that_is_not_there_is_a_setting(make_node, make_chain):
    """The sentence names the key and the value."""
    with pytest.raises(SettingError, match="netuid is '7', expected a subnet of embedded"):
        make_chain(make_node(), netuid=7).view()


@pytest.mark.parametrize("network", ["finey", "http://node", "9944", ""])
def test_unknown_networks_are_refused(network, tmp_path):
    """A typo is no address."""
    with pytest.raises(SettingError, match="expected one of embedded, finney"):
        Chain(ChainSettings(network=network, cache=tmp_path))


def test_the_embedded_chain_and_a_substrate_belong_together(tmp_path):
    """Without one it can't be, and no other network takes one."""
    with pytest.raises(SettingError, match="given with a substrate"):
        Chain(ChainSettings(cache=tmp_path))
    with pytest.raises(SettingError, match="used without a local substrate"):
        Chain(ChainSettings(network="finney", cache=tmp_path), substrate_factory=object)


def test_the_sdks_files_stay_in_the_given_folder(make_node, make_chain, tmp_path):
    """Nothing appears in the home folder."""
    make_chain(make_node()).view()

    assert (tmp_path / "cache" / "token_symbols.json").is_file()
    assert os.environ["BITTENSOR_RUNTIME_CACHE_DIR"] == str(tmp_path / "cache")


def test_threads_share_a_chain(make_node, make_chain):
    """Eight threads read through one edge, and all see the subnet."""
    chain, seen = make_chain(make_node()), []
    threads = [threading.Thread(target=lambda: seen.append(len(chain.view().neurons))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert seen == [6] * 8


# --- setting weights


def test_weights_are_set_and_confirmed(make_node, make_chain):
    """The outcome carries our row as the chain has it."""
    node = make_node()
    chain = make_chain(node)
    outcome = set_once(chain, [node.target(3, "m1", 0.75), node.target(4, "m2", 0.25)])

    assert (outcome.status, outcome.code, outcome.dropped_hotkeys) == (WeightStatus.CONFIRMED, "", ())
    assert outcome.extrinsic_id == f"{outcome.block}-0000"
    assert [(t.uid, t.hotkey, round(t.weight, 4)) for t in outcome.landed] == [
        (3, node.hotkey("m1"), 0.75),
        (4, node.hotkey("m2"), 0.25),
    ]
    assert chain.own_weights() == outcome.landed


def test_rows_are_those_of_validators_with_most_stake(make_node, make_chain):
    """By hotkey, at one block; one that has set nothing has an empty row."""
    node = make_node()
    chain = make_chain(node)
    view = chain.view()
    permitted = sorted((n for n in view.neurons if n.has_permit), key=lambda n: -n.stake_rao)
    set_once(chain, [WeightTarget(n.uid, n.hotkey, 0.5) for n in view.neurons[:2]])
    head, rows = make_chain(node, who=None).rows(2)

    assert list(rows) == [n.hotkey for n in permitted[:2]]
    assert rows[node.hotkey("v1")] == chain.own_weights()
    assert [round(one.weight, 4) for one in chain.own_weights()] == [0.5, 0.5]
    assert sum(len(row) for row in rows.values()) == 2
    assert head.block >= view.head.block


def test_setting_the_same_weights_again_does_nothing(make_node, make_chain):
    """A repeated epoch finds its weights there, and no extrinsic is sent."""
    node = make_node()
    chain = make_chain(node)
    began = chain.head().block
    targets = [node.target(3, "m1", 1.0)]
    first = set_once(chain, targets, began=began)
    nonce = node.substrate.ledger.state_at().accounts[node.hotkey("v1")].nonce
    again = set_once(chain, targets, began=began)

    assert (again.status, again.block, again.landed) == (WeightStatus.ALREADY_SET, first.block, first.landed)
    assert node.substrate.ledger.state_at().accounts[node.hotkey("v1")].nonce == nonce


def test_other_weights_wait_for_the_rate_limit(make_node, make_chain):
    """Sooner than 90 blocks it is not yet, with the blocks that are left; then it goes."""
    node = make_node(weights_rate_limit=90)
    node.substrate.advance(30)
    chain = make_chain(node)
    set_once(chain, [node.target(3, "m1", 1.0)])
    node.substrate.advance(5)

    early = set_once(chain, [node.target(4, "m2", 1.0)])
    assert (early.status, early.code) == (WeightStatus.NOT_YET, "SettingWeightsTooFast")
    assert early.retry_after_blocks == 85
    node.substrate.advance(85)
    assert set_once(chain, [node.target(4, "m2", 1.0)]).status is WeightStatus.CONFIRMED


def test_weights_are_set_once_in_a_tempo(make_node, make_chain):
    """Though the rate limit of 20 blocks is over, other weights wait for the tempo of 50 to end."""
    node = make_node()
    chain = make_chain(node)
    first = set_once(chain, [node.target(3, "m1", 1.0)])
    node.substrate.advance(25)
    left = chain.head().next_epoch_block - chain.head().block

    early = set_once(chain, [node.target(4, "m2", 1.0)])
    assert (early.status, early.code, early.block) == (
        WeightStatus.NOT_YET,
        "WeightsSetThisTempo",
        first.block + 25,
    )
    assert early.retry_after_blocks == left
    node.substrate.advance(left)
    assert set_once(chain, [node.target(4, "m2", 1.0)]).status is WeightStatus.CONFIRMED


def test_a_node_that_lags_is_asked_for_nothing(make_node, make_chain):
    """It has not seen our last weights yet, and would take the next ones in the same tempo."""
    node = make_node()
    chain = make_chain(node)

    with pytest.raises(ChainAway, match="behind"):
        set_once(chain, [node.target(3, "m1", 1.0)], began=chain.head().block + 2)
    assert node.extrinsics_of("v1") == 0


def test_weights_in_doubt_are_found_without_sending(make_node, make_chain):
    """What the chain has since a block is told; other weights, and older ones, are not there."""
    node = make_node()
    chain = make_chain(node)
    first = set_once(chain, [node.target(3, "m1", 1.0)])
    set_block = node.extrinsics_of("v1")

    def found(uid, name, began):
        return chain.find_weights([node.target(uid, name, 1.0)], version_key=0, epoch_began_block=began)

    assert found(3, "m1", first.block).status is WeightStatus.ALREADY_SET
    assert found(3, "m1", first.block + 1) is None
    assert found(4, "m2", first.block) is None
    assert node.extrinsics_of("v1") == set_block == 1


def test_the_same_weights_of_an_earlier_epoch_are_set_anew(make_node, make_chain):
    """Only what was set since the epoch began counts as done: the chain must see us alive."""
    node = make_node()
    chain = make_chain(node)
    targets = [node.target(3, "m1", 1.0)]
    first = set_once(chain, targets)
    node.substrate.advance(50)
    second = set_once(chain, targets, began=chain.head().block)

    assert (first.status, second.status) == (WeightStatus.CONFIRMED, WeightStatus.CONFIRMED)
    assert second.block > first.block


def test_a_uid_that_changed_hands_is_left_out(make_node, make_chain):
    """m1's uid belongs to a stranger now: its share goes to the others."""
    node = make_node()

    def evict(state):
        state.neurons[3].hotkey = node.hotkey("stranger")
        state.hotkey_owner[node.hotkey("stranger")] = node.wallets["stranger"].coldkey.ss58_address

    node.change(evict)
    outcome = set_once(
        make_chain(node),
        [node.target(3, "m1", 0.5), node.target(4, "m2", 0.25), node.target(5, "m3", 0.25)],
    )

    assert (outcome.status, outcome.dropped_hotkeys) == (WeightStatus.CONFIRMED, (node.hotkey("m1"),))
    assert [(t.uid, round(t.weight, 4)) for t in outcome.landed] == [(4, 0.5), (5, 0.5)]


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([(3, "m1", 0.0), (4, "m2", 0.0)], "AllWeightsZero"),
        ([], "AllWeightsZero"),
        ([(3, "m1", float("nan"))], "InvalidWeight"),
        ([(3, "m1", -1.0), (4, "m2", 2.0)], "InvalidWeight"),
        ([(3, "m1", 0.5), (3, "m1", 0.5)], "DuplicateUids"),
        ([(3, "m2", 1.0)], "AllTargetsGone"),
    ],
)
def test_vectors_that_make_no_sense_are_refused(make_node, make_chain, rows, code):
    """Refused by us, with a sentence, and without an extrinsic."""
    node = make_node()
    outcome = set_once(make_chain(node), [node.target(*row) for row in rows])

    assert (outcome.status, outcome.code, outcome.extrinsic_id) == (WeightStatus.REFUSED, code, "")
    assert outcome.message
    assert node.hotkey("v1") not in node.substrate.ledger.state_at().accounts


@pytest.mark.parametrize(
    ("settings", "who", "code"),
    [
        ({"weights_version": 8}, "v1", "IncorrectWeightVersionKey"),
        ({}, "m2", "NeuronNoValidatorPermit"),
        ({"stake_threshold_rao": 5000 * RAO}, "v2", "NotEnoughStakeToSetWeights"),
        ({"min_allowed_weights": 3}, "v1", "WeightVecLengthIsLow"),
        ({}, "stranger", "HotKeyNotRegisteredInSubNet"),
    ],
)
def test_what_the_chain_would_refuse_is_not_sent(make_node, make_chain, settings, who, code):
    """Permit, stake, version key, length and registration are checked before, with the pallet's names."""
    node = make_node(**settings)
    outcome = set_once(make_chain(node, who=who), [node.target(3, "m1", 1.0)], version_key=7)

    assert (outcome.status, outcome.code) == (WeightStatus.REFUSED, code)
    assert node.hotkey(who) not in node.substrate.ledger.state_at().accounts, "nothing was signed"


def test_the_owner_sets_weights_without_a_permit(make_node, make_chain):
    """The chain exempts the owner, and so do we."""
    node = make_node()
    node.change(lambda state: setattr(state.neurons[0], "has_permit", False))

    assert (
        set_once(make_chain(node, who="owner"), [node.target(3, "m1", 1.0)]).status is WeightStatus.CONFIRMED
    )


def test_a_greatest_weight_is_clipped_and_still_confirmed(make_node, make_chain):
    """The SDK redistributes what exceeds the subnet's limit; what lands is what was meant then."""
    node = make_node(max_weights_limit=32_767)
    outcome = set_once(
        make_chain(node), [node.target(u, f"m{u - 2}", w) for u, w in ((3, 0.8), (4, 0.1), (5, 0.1))]
    )

    assert outcome.status is WeightStatus.CONFIRMED
    assert max(t.weight for t in outcome.landed) == pytest.approx(0.5, abs=1e-3)


def test_many_small_shares_are_told_as_they_are_rounded(make_node, make_chain):
    """The greatest becomes 65,535, so that 200 shares of 0.0005 beside one of 0.9 are 36 each and not 36.4."""
    node = make_node()
    small = [node.target(uid, "m1", 0.0005) for uid in range(1, 201)]
    row = make_chain(node).as_sent([node.target(0, "m2", 0.9), *small])

    assert [t.weight for t in row] == pytest.approx([65_535 / 72_735, *[36 / 72_735] * 200])


def test_sealed_weights_are_committed_once(make_node, make_chain):
    """Under commit-reveal a second call finds the commit, and the row lands an epoch later."""
    node = make_node(commit_reveal=True)
    chain = make_chain(node)
    targets, began = [node.target(3, "m1", 0.6), node.target(4, "m2", 0.4)], chain.head().block
    first, again = set_once(chain, targets, began=began), set_once(chain, targets, began=began)

    assert (first.status, again.status) == (WeightStatus.COMMITTED, WeightStatus.COMMITTED)
    assert first.extrinsic_id
    assert "reveal" in again.message
    assert chain.own_weights() == ()
    node.substrate.advance(50)
    assert [(t.uid, round(t.weight, 3)) for t in chain.own_weights()] == [(3, 0.6), (4, 0.4)]
    assert set_once(chain, targets, began=began).status is WeightStatus.ALREADY_SET


class LosesResults(LocalSubstrate):
    """A connection that breaks after the node took an extrinsic."""

    async def submit(self, call, keypair, **options):
        await super().submit(call, keypair, **options)
        raise bt.RpcConnectionError("the socket closed")


class LosesExtrinsics(LocalSubstrate):
    """A connection that breaks before the node takes an extrinsic."""

    async def submit(self, *_call, **_options):
        raise bt.RpcConnectionError("the socket closed")


class SendsTwice(LocalSubstrate):
    """A node on which an extrinsic of a run that died lands just before ours."""

    async def submit(self, call, keypair, **options):
        await super().submit(call, keypair, **options)
        return await super().submit(call, keypair, **options)


def test_weights_that_land_while_they_are_sent_again_are_set(make_node, make_chain):
    """The chain refuses ours as too soon, because it has them already: their scores are paid."""
    node = make_node()
    chain = make_chain(
        node, factory=lambda: SendsTwice(node.path, now=node.clock.now, sleep=node.clock.sleep)
    )
    outcome = set_once(chain, [node.target(3, "m1", 1.0)])

    assert outcome.status is WeightStatus.CONFIRMED
    assert node.extrinsics_of("v1") == 2


def test_a_lost_result_is_read_back(make_node, make_chain):
    """The weights landed though the answer did not come: confirmed, and sent only once."""
    node = make_node()
    chain = make_chain(
        node, factory=lambda: LosesResults(node.path, now=node.clock.now, sleep=node.clock.sleep)
    )
    outcome = set_once(chain, [node.target(3, "m1", 1.0)])

    assert outcome.status is WeightStatus.CONFIRMED
    assert node.substrate.ledger.state_at().accounts[node.hotkey("v1")].nonce == 1


def test_a_lost_extrinsic_is_unknown_and_not_sent_again(make_node, make_chain):
    """Nothing landed: the next run has to look, this one does not try blindly."""
    node = make_node()
    chain = make_chain(
        node,
        factory=lambda: LosesExtrinsics(node.path, now=node.clock.now, sleep=node.clock.sleep),
        confirm_deadline_s=0.3,
    )
    outcome = set_once(chain, [node.target(3, "m1", 1.0)])

    assert (outcome.status, outcome.code) == (WeightStatus.UNKNOWN, "NotConfirmed")
    assert "result was lost" in outcome.message
    assert set_once(make_chain(node), [node.target(3, "m1", 1.0)]).status is WeightStatus.CONFIRMED


def test_a_poor_owner_is_told(make_node, make_chain):
    """The pool refuses what nobody can pay for: refused with its name."""
    node = make_node()
    node.change(lambda state: setattr(state.account(node.wallets["v1"].coldkey.ss58_address), "free_rao", 0))

    outcome = set_once(make_chain(node), [node.target(3, "m1", 1.0)])
    assert (outcome.status, outcome.code) == (WeightStatus.REFUSED, "Payment")


# --- serving


def test_an_endpoint_is_published_once(make_node, make_chain):
    """The second call sees it there; another port within the rate limit is refused by name."""
    node = make_node()
    chain = make_chain(node, who="m1")
    chain.serve("127.0.0.2", 8091)
    chain.serve("127.0.0.2", 8091)

    assert chain.view().by_hotkey(node.hotkey("m1")).endpoint == "127.0.0.2:8091"
    assert node.substrate.ledger.state_at().accounts[node.hotkey("m1")].nonce == 1
    with pytest.raises(ChainRefused, match="ServingRateLimitExceeded"):
        chain.serve("127.0.0.2", 8092)


def test_the_loopback_address_itself_is_refused(make_node, make_chain):
    """As on the real chain, 127.0.0.1 can't be published."""
    with pytest.raises(ChainRefused, match="InvalidIpAddress"):
        make_chain(make_node(), who="m1").serve("127.0.0.1", 8091)


# --- nodes that don't answer


@pytest.fixture
def silent_port():
    """A node that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def mute_port():
    """A node that opens the websocket and answers no request."""
    over = threading.Event()
    server = serve_websocket(lambda _: over.wait(30), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.socket.getsockname()[1]
    over.set()
    server.shutdown()
    thread.join(10)


@pytest.mark.parametrize("port", ["silent_port", "mute_port"])
def test_a_silent_node_costs_our_deadline_only(make_chain, request, port):
    """The SDK alone waits minutes; here each call ends at its deadline, and the next starts anew."""
    chain = make_chain(
        network=f"ws://127.0.0.1:{request.getfixturevalue(port)}", call_deadline_s=0.5, confirm_deadline_s=0.5
    )
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(ChainAway, match=r"within 0\.5 s"):
            chain.head()
        assert time.monotonic() - began < 4.0


def test_a_closed_port_is_away_at_once(make_chain):
    """Nobody listens: the same error, without waiting for the deadline."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    chain = make_chain(network=f"ws://127.0.0.1:{port}", call_deadline_s=40.0)

    began = time.monotonic()
    with pytest.raises(ChainAway):
        chain.head()
    assert time.monotonic() - began < 30.0


FORK = """
import os, sys
from pathlib import Path
from deployments.localnet.chain.substrate import LocalSubstrate
from tasks.edges.chain import Chain, ChainSettings
path = Path(sys.argv[1])
chain = Chain(ChainSettings(cache=path.parent / "cache"), substrate_factory=lambda: LocalSubstrate(path))
mine = chain.head().block
pid = os.fork()
if pid == 0:
    os._exit(0 if chain.head().block >= mine else 1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), chain.head().block >= mine)
chain.close()
"""


def test_a_forked_child_connects_by_itself(make_node):
    """The SDK's client hangs for ever in a child; ours makes a new one there."""
    node = make_node()
    ran = subprocess.run(
        [sys.executable, "-c", FORK, str(node.path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert ran.stdout.split() == ["0", "True"]


# --- wallets


@pytest.fixture
def wallets(tmp_path):
    """A wallet folder with an open hotkey, and one that looks encrypted."""
    folder = tmp_path / "wallets"
    wallet = bt.Wallet("val", "hot", path=str(folder))
    wallet.create_new_coldkey(use_password=False, suppress=True)
    wallet.create_new_hotkey(suppress=True)
    (folder / "val" / "hotkeys" / "locked").write_bytes(b"$NACL" + bytes(200))
    return folder


def test_a_hotkey_is_loaded_without_its_coldkey(wallets):
    """A validator's host has the hotkey and the owner's public key only."""
    (wallets / "val" / "coldkey").unlink()
    loaded = load_hotkey(wallets, "val", "hot")

    assert loaded.hotkey.ss58_address == bt.Wallet("val", "hot", path=str(wallets)).hotkeypub.ss58_address
    assert loaded.coldkeypub is not None
    (wallets / "val" / "coldkeypub.txt").unlink()
    assert load_hotkey(wallets, "val", "hot").coldkeypub is None


@pytest.mark.parametrize(
    ("name", "hotkey", "sentence"),
    [
        ("val", "none", "hotkey file is .* expected an existing file"),
        ("../val", "hot", "wallet name is '../val', expected a plain file name"),
        ("val", "", "hotkey name is '', expected a plain file name"),
        ("val", "locked", "hotkey password is 'not set'"),
        ("val", "broken", "expected a key file that can be read"),
    ],
)
def test_a_hotkey_that_can_not_be_loaded_is_a_setting(wallets, name, hotkey, sentence):
    """One sentence with the key, the value and what was expected; nothing is asked on the terminal."""
    (wallets / "val" / "hotkeys" / "broken").write_text("{not a key")

    with pytest.raises(SettingError, match=sentence):
        load_hotkey(wallets, name, hotkey)


def _encrypt_a_hotkey(wallets):
    """The hotkey `locked`, with the password `secret`; deriving a key from one takes seconds on purpose."""
    (wallets / "val" / "hotkeys" / "locked").unlink()
    bt.Wallet("val", "locked", path=str(wallets)).create_new_hotkey(hotkey_password="secret", suppress=True)


@pytest.mark.slow
def test_an_encrypted_hotkey_takes_its_password(wallets):
    """With it the key is there."""
    _encrypt_a_hotkey(wallets)

    assert load_hotkey(wallets, "val", "locked", "secret").hotkey.ss58_address


@pytest.mark.long
def test_an_encrypted_hotkey_takes_no_other_password(wallets):
    """The wrong one is a setting."""
    _encrypt_a_hotkey(wallets)

    with pytest.raises(SettingError, match="can be read"):
        load_hotkey(wallets, "val", "locked", "wrong")


def test_rows_are_compared_but_for_rounding():
    """A share moved by 1/65535 is the same row, one by 1/1000 is not."""
    from tasks.edges.weight_rules import same_row

    row = {3: 0.75, 4: 0.25}
    assert same_row(row, {3: 0.75 + 1 / 65535, 4: 0.25 - 1 / 65535})
    assert not same_row(row, {3: 0.751, 4: 0.249})
    assert not same_row(row, {3: 0.75, 5: 0.25})


def test_records_stay_as_they_are(make_node, make_chain):
    """Submitting changes none of the targets that it was given."""
    node = make_node()
    targets = [node.target(3, "m1", 3.0)]
    copy = [replace(t) for t in targets]
    set_once(make_chain(node), targets)

    assert targets == copy
