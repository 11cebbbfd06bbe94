"""A whole subnet on the local chain: consensus, emission, collateral, commit-reveal, the SDK's reads."""

import asyncio

import bittensor as bt
import pytest

from deployments.localnet.chain.actors import ensure_registered, ensure_served, ensure_staked
from deployments.localnet.chain.substrate import LocalSubstrate

NETUID = 51
RAO = 1_000_000_000


@pytest.fixture
def settled(world):
    """One owner, three validators, four miners."""
    world.settle()
    return world


def set_weights(world, **rows):
    """Each validator's weights, by uid, through the SDK's intent."""
    for who, row in rows.items():
        assert world.run(who, bt.SetWeights(netuid=NETUID, weights=row)).success


def test_every_method_of_the_sdks_protocol_is_there():
    """A newer SDK that asks for more is noticed here first."""
    wanted = {name for name in vars(bt.Substrate) if not name.startswith("_")}

    assert wanted <= set(dir(LocalSubstrate))
    assert "token_symbols" in vars(LocalSubstrate("unused"))


def test_incentive_follows_the_majority_of_stake(settled):
    """v1 and v2 hold 80 %: v3's favourite, uid 7, gets nothing; two tempos pay 5 : 3 : 2."""
    majority = {4: 0.5, 5: 0.3, 6: 0.2}
    set_weights(settled, v1=majority, v2=majority, v3={7: 1.0})
    settled.substrate.advance(100)

    graph = settled.metagraph()
    assert [round(graph.neuron(uid).incentive, 3) for uid in (4, 5, 6, 7)] == [0.5, 0.3, 0.2, 0.0]
    assert [graph.neuron(uid).validator_permit for uid in (1, 2, 3)] == [True, True, True]
    assert graph.neuron(1).dividends > graph.neuron(2).dividends > graph.neuron(3).dividends == 0.0


def test_emission_is_18_41_41(settled):
    """Of a tempo's 50 alpha the owner has 9.0, miners 20.5 and validators 20.5."""
    row = {4: 1.0}
    set_weights(settled, v1=row, v2=row, v3=row)
    settled.substrate.advance(50)
    before = settled.metagraph()
    settled.substrate.advance(50)
    after = settled.metagraph()

    gained = [a.alpha_stake.rao - b.alpha_stake.rao for a, b in zip(after, before, strict=True)]
    total = 50 * RAO
    assert gained[0] == total * 11796 // 65535
    assert gained[4] == pytest.approx(0.41 * total, rel=1e-3)
    assert sum(gained[1:4]) == pytest.approx(0.41 * total, rel=1e-3)
    assert sum(gained) == pytest.approx(total, abs=100), "but for rounding"


def test_weight_on_the_owner_is_burned(settled):
    """The owner's incentive shows, but its stake gains the owner's cut only."""
    row = {0: 1.0}
    set_weights(settled, v1=row, v2=row, v3=row)
    settled.substrate.advance(50)
    before = settled.metagraph().neuron(0)
    settled.substrate.advance(50)
    after = settled.metagraph().neuron(0)

    assert after.incentive == 1.0
    assert after.alpha_stake.rao - before.alpha_stake.rao == 50 * RAO * 11796 // 65535
    assert settled.substrate.ledger.state_at().burned_alpha_rao > 20 * RAO


def test_without_any_incentive_validators_have_both_halves(settled):
    """Nobody set weights: 82 % go to validators by stake."""
    before = sum(n.alpha_stake.rao for n in settled.metagraph().neurons[1:4])
    settled.substrate.advance(50)
    after = sum(n.alpha_stake.rao for n in settled.metagraph().neurons[1:4])

    assert after - before == pytest.approx(0.82 * 50 * RAO, rel=0.01)


def test_yuma_2_can_be_chosen(make_world):
    """Version 2 upscales bonds to a column's greatest, version 3 keeps their slow average."""
    world = make_world(yuma_version=2)
    world.settle()
    set_weights(world, v1={4: 1.0}, v2={4: 1.0})
    world.substrate.advance(50)

    assert world.subtensor.weights.bonds(NETUID)[1] == {4: 1.0}


def test_an_idle_validator_falls_silent(make_world):
    """After the activity cutoff v1's old weights don't count any more."""
    world = make_world(activity_cutoff=120)
    world.settle()
    set_weights(world, v1={4: 1.0}, v2={5: 1.0}, v3={5: 1.0})
    world.substrate.advance(50)
    assert world.metagraph().neuron(1).active

    world.substrate.advance(100)
    set_weights(world, v2={5: 1.0}, v3={5: 1.0})
    world.substrate.advance(50)

    graph = world.metagraph()
    assert (graph.neuron(1).active, graph.neuron(5).incentive) == (False, 1.0)


def test_nominators_share_dividends_after_the_take(settled):
    """m4's coldkey backs v1 with as much stake as v1 has: it gets 41 % of v1's dividends, v1 59 %."""
    m4, v1 = settled.wallets["m4"].coldkey.ss58_address, settled.wallets["v1"]
    settled.run("m4", bt.AddStake(v1.hotkey.ss58_address, NETUID, 5050))

    def held():
        hotkey = v1.hotkey.ss58_address
        return [settled.subtensor.staking.get(k, hotkey, NETUID).rao for k in (v1.coldkey.ss58_address, m4)]

    before = held()
    settled.substrate.advance(50)
    own, nominated = (a - b for a, b in zip(held(), before, strict=True))
    assert nominated / (own + nominated) == pytest.approx(0.41, abs=0.005)


def test_root_stakes_share_of_dividends_stays_on_the_root(settled):
    """TAO on the root network earns no alpha stake: its share is kept apart."""
    hotkey = settled.wallets["v1"].hotkey.ss58_address
    settled.run("v1", bt.AddStake(hotkey, 0, 10_000))
    settled.substrate.advance(50)

    assert settled.substrate.ledger.state_at().root_alpha_rao > 0


def test_earning_releases_collateral_and_fills_it_up_to_its_floor(settled):
    """m1 earns 20.5 alpha a tempo: a lock of 30 drains by that; a floor of 100 captures all of it."""
    settled.run("m1", bt.AddCollateral(netuid=NETUID, amount_alpha=30))
    row = {4: 1.0}
    set_weights(settled, v1=row, v2=row, v3=row)
    settled.substrate.advance(50)
    drained = settled.metagraph().neuron(4)
    assert drained.collateral_locked.rao == pytest.approx(9.5 * RAO, rel=0.01)
    assert drained.collateral_earned.rao == pytest.approx(20.5 * RAO, rel=0.01)

    settled.run("m1", bt.SetMinCollateral(netuid=NETUID, min_alpha=100))
    settled.substrate.advance(50)
    assert settled.metagraph().neuron(4).collateral_locked.rao == pytest.approx(30 * RAO, rel=0.01)


# --- commit-reveal


@pytest.fixture
def sealed(make_world):
    """A subnet with commit-reveal on."""
    world = make_world(commit_reveal=True)
    world.settle()
    return world


def test_sealed_weights_are_applied_at_their_reveal(sealed):
    """The real timelock goes to the chain; its plaintext, handed over beside it, lands an epoch later."""
    v1 = sealed.wallets["v1"].hotkey.ss58_address
    sealed.substrate.seal(v1, [4, 5], [65535, 32768], 0)
    result = sealed.run("v1", bt.SetWeights(netuid=NETUID, weights={4: 1.0, 5: 0.5}))

    assert result.success
    assert result.data["reveal_round"] > 0
    (commit,) = sealed.subtensor.read("timelocked_weight_commits", netuid=NETUID)[1]
    assert (commit["hotkey"], len(commit["ciphertext"]) > 400) == (v1, True)
    assert sealed.subtensor.read("weights", netuid=NETUID) == {}, "nobody sees them yet"

    sealed.substrate.advance(50)
    assert sealed.subtensor.read("weights", netuid=NETUID)[1] == pytest.approx({4: 2 / 3, 5: 1 / 3}, abs=1e-4)
    assert sealed.subtensor.read("timelocked_weight_commits", netuid=NETUID) == {}


def test_a_commit_that_may_not_be_applied_falls_away_silently(sealed):
    """A miner's commit is taken, as on the real chain, and never lands: it has no permit."""
    m1 = sealed.wallets["m1"].hotkey.ss58_address
    sealed.substrate.seal(m1, [5], [65535], 0)
    assert sealed.run("m1", bt.SetWeights(netuid=NETUID, weights={5: 1.0})).success

    sealed.substrate.advance(50)
    assert sealed.subtensor.read("weights", netuid=NETUID) == {}


def test_a_commit_without_its_envelope_is_never_opened(sealed):
    """Without the plaintext nothing lands: the timelock itself can't be opened offline."""
    assert sealed.run("v1", bt.SetWeights(netuid=NETUID, weights={4: 1.0})).success

    sealed.substrate.advance(100)
    assert sealed.subtensor.read("weights", netuid=NETUID) == {}


def commit(size=100, version=4):
    return bt.calls.SubtensorModule.commit_timelocked_mechanism_weights(
        netuid=NETUID, mecid=0, commit=bytes(size), reveal_round=1, commit_reveal_version=version
    )


def test_commits_are_refused_by_name(sealed, make_world):
    """Version, size, rate limit and the subnet's switch have their errors."""
    assert sealed.error(sealed.call("v1", commit(version=3))) == "IncorrectCommitRevealVersion"
    assert sealed.error(sealed.call("v1", commit(size=5_001))) == "CommitPayloadTooLarge"
    assert sealed.call("v1", commit()).success
    assert sealed.error(sealed.call("v1", commit())) == "CommittingWeightsTooFast"
    plain = bt.calls.SubtensorModule.set_mechanism_weights(
        netuid=NETUID, mecid=0, dests=[4], weights=[1], version_key=0
    )
    assert sealed.error(sealed.call("v2", plain)) == "CommitRevealEnabled"

    open_world = make_world()
    open_world.register("v1")
    assert open_world.error(open_world.call("v1", commit())) == "CommitRevealDisabled"


def test_ten_unrevealed_commits_are_the_most(make_world):
    """The eleventh waits until one is revealed."""
    world = make_world(commit_reveal=True, weights_rate_limit=0, tempo=360)
    world.register("v1")

    results = [world.call("v1", commit()) for _ in range(11)]
    assert all(r.success for r in results[:10])
    assert world.error(results[10]) == "TooManyUnrevealedCommits"


# --- roles, and what the SDK reads


def test_the_roles_steps_can_be_repeated(settled):
    """A second pass changes nothing and costs nothing."""
    m1, v1 = settled.wallets["m1"], settled.wallets["v1"]
    before = [settled.subtensor.balances.get(w.coldkey.ss58_address).rao for w in (m1, v1)]

    assert ensure_registered(settled.subtensor, m1, NETUID) == 4
    ensure_staked(settled.subtensor, v1, NETUID, 5000 * RAO)
    ensure_served(settled.subtensor, m1, NETUID, "127.0.0.2", 8000)

    assert [settled.subtensor.balances.get(w.coldkey.ss58_address).rao for w in (m1, v1)] == before


def test_a_refused_step_says_so(world):
    """A role that can't pay gets the pallet's name."""
    from tasks.errors import ChainRefused

    with pytest.raises(ChainRefused, match="Payment"):
        ensure_registered(world.subtensor, world.wallets["outsider"], NETUID)


def test_the_sdks_reads_are_answered(settled):
    """Neurons, hyperparameters, epochs, subnets and plans, as the SDK decodes them."""
    sub, v1 = settled.subtensor, settled.wallets["v1"]

    assert [n.uid for n in sub.neurons.all(NETUID)] == list(range(8))
    assert sub.neurons.all(NETUID)[1].total_stake.rao == settled.metagraph().neuron(1).total_stake.rao
    assert sub.read("subnet_hyperparameters", netuid=NETUID)["yuma_version"] == 3
    status = sub.epochs.epoch_status(NETUID)
    assert status["next_epoch_start_block"] - status["last_epoch_block"] == 50
    assert [s.netuid for s in sub.subnets.all()] == [NETUID]
    assert sub.read("netuids_for_hotkey", hotkey_ss58=v1.hotkey.ss58_address) == [NETUID]
    assert sub.is_fast_blocks()
    assert sub.token_symbols == {NETUID: "\N{GREEK SMALL LETTER ALPHA}"}
    plan = sub.plan(bt.SetWeights(netuid=NETUID, weights={4: 1.0}), v1)
    assert (plan.ok, plan.fee.rao) == (True, 125_000)


def test_the_sdk_waits_for_blocks_and_epochs(settled):
    """The header stream follows the clock, and an epoch is seen when it ran."""
    head = settled.subtensor.block
    assert settled.subtensor.wait_for_block(head + 3).number == head + 3

    event = settled.subtensor.wait_for_epoch(NETUID, timeout=20)
    assert event.block - event.previous == 50


def test_policy_keeps_the_sdk_on_its_subnet(settled):
    """The SDK's own policy holds on the local chain too."""
    settled.subtensor.policy = bt.Policy(allowed_netuids=[1])

    with pytest.raises(bt.PolicyError):
        settled.run("v1", bt.SetWeights(netuid=NETUID, weights={4: 1.0}))


@pytest.mark.parametrize(
    "ask",
    [
        lambda s: s.query(("SubtensorModule", "NoSuchItem")),
        lambda s: s.query_map(("SubtensorModule", "NoSuchMap")),
        lambda s: s.runtime(("NoApi", "no_method"), []),
        lambda s: s.constant(("No", "Constant")),
        lambda s: s.at(10**9).subnets.metagraph(NETUID),
        lambda s: asyncio.run(s._client._substrate.events()),
    ],
)
def test_what_the_chain_does_not_know_is_said(world, ask):
    """Unknown items and blocks to come are a ChainError, never a made-up answer."""
    with pytest.raises(bt.ChainError):
        ask(world.subtensor)


def test_other_netuids_are_empty(world):
    """A subnet that isn't there has defaults and no metagraph."""
    assert world.subtensor.subnets.metagraph(7) is None
    assert world.subtensor.read("subnet_hyperparameters", netuid=7) is None
    assert world.subtensor.read("weights", netuid=7) == {}
