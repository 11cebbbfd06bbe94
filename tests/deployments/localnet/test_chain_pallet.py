"""What the local chain's pallet refuses, by the real pallet's error names, through the real SDK."""

from hashlib import blake2b

import bittensor as bt
import pytest

from deployments.localnet.chain.actors import send
from tasks.edges.transfers import Transfer, transfer_in
from tasks.errors import ChainRefused

NETUID = 51
RAO = 1_000_000_000


def weights(dests, values, version_key=0, netuid=NETUID, mecid=0):
    return bt.calls.SubtensorModule.set_mechanism_weights(
        netuid=netuid, mecid=mecid, dests=dests, weights=values, version_key=version_key
    )


def axon(ip, port=8000, ip_type=4, netuid=NETUID):
    return bt.calls.SubtensorModule.serve_axon(
        netuid=netuid,
        version=1,
        ip=ip,
        port=port,
        ip_type=ip_type,
        protocol=4,
        placeholder1=0,
        placeholder2=0,
    )


@pytest.fixture
def settled(make_world):
    """Validators with permits whose rate limit is over."""
    world = make_world()
    world.settle()
    return world


# --- weights


@pytest.mark.parametrize(
    ("who", "call", "name"),
    [
        ("v1", weights([4, 5], [1]), "WeightVecNotEqualSize"),
        ("v1", weights(list(range(9)), [1] * 9), "UidsLengthExceedUidsInSubNet"),
        ("outsider", weights([4], [1]), "HotKeyNotRegisteredInSubNet"),
        ("m1", weights([5], [1]), "NeuronNoValidatorPermit"),
        ("v1", weights([4, 4], [1, 1]), "DuplicateUids"),
        ("v1", weights([4, 8], [1, 1]), "UidVecContainInvalidOne"),
        ("v1", weights([4], [1], netuid=7), "SubnetNotExists"),
        ("v1", weights([4], [1], mecid=1), "MechanismDoesNotExist"),
    ],
)
def test_bad_weights_are_refused_by_name(settled, who, call, name):
    """Each way to set weights wrongly has its error, and leaves no row behind."""
    if who == "outsider":
        pay_for_outsider(settled)
    result = settled.call(who, call)

    assert (result.success, settled.error(result)) == (False, name)
    assert result.extrinsic_id is not None, "a refused extrinsic is included all the same"
    assert settled.subtensor.read("weights", netuid=NETUID) == {}


def pay_for_outsider(world):
    """Give the outsider's hotkey a balance for its fee: it has no owner who pays."""
    hotkey = world.wallets["outsider"].hotkey.ss58_address

    def fund(state):
        state.account(hotkey).free_rao = RAO
        return None, []

    world.substrate.ledger.include(fund)


def test_weights_may_be_set_once_a_rate_limit(settled):
    """The second setting within 20 blocks is too fast, at 20 it is taken."""
    assert settled.call("v1", weights([4], [1])).success

    settled.substrate.advance(18)
    assert settled.error(settled.call("v1", weights([4], [1]))) == "SettingWeightsTooFast"
    assert settled.call("v1", weights([4], [1])).success


def test_registration_counts_as_setting_weights(make_world):
    """A fresh neuron waits a whole rate limit before its first weights."""
    world = make_world(weights_rate_limit=20)
    world.register("v1")

    assert world.error(world.call("v1", weights([1], [1]))) == "SettingWeightsTooFast"


@pytest.mark.parametrize(
    ("settings", "call", "name"),
    [
        ({"stake_threshold_rao": 4000 * RAO}, weights([4], [1]), "NotEnoughStakeToSetWeights"),
        ({"weights_version": 7}, weights([4], [1], version_key=6), "IncorrectWeightVersionKey"),
        ({"min_allowed_weights": 3}, weights([4, 5], [1, 1]), "WeightVecLengthIsLow"),
        ({"max_weights_limit": 32767}, weights([4, 5], [3, 1]), "MaxWeightExceeded"),
    ],
)
def test_hyperparameters_are_enforced(make_world, settings, call, name):
    """Minimum stake, version key, length and the greatest weight are the subnet's to set."""
    world = make_world(**settings)
    world.settle()

    assert world.error(world.call("v2", call)) == name


def test_a_newer_version_key_is_taken(make_world):
    """The version key is a least one."""
    world = make_world(weights_version=7)
    world.settle()

    assert world.call("v1", weights([4], [1], version_key=8)).success


def test_weights_are_stored_upscaled(settled):
    """The greatest weight of a row is stored as 65535, zeros are left out."""
    settled.call("v1", weights([4, 5, 6], [10, 5, 0]))

    row = settled.subtensor.query(("SubtensorModule", "Weights"), [NETUID, 1])
    assert row == [(4, 65535), (5, 32767)]


# --- registration


def test_registration_pays_the_floating_price(world):
    """A registration costs 1 TAO and the fees of carrier and inner extrinsic; the next costs 1.26."""
    before = world.subtensor.balances.get(world.wallets["v1"].coldkey.ss58_address).rao
    world.register("v1")

    after = world.subtensor.balances.get(world.wallets["v1"].coldkey.ss58_address).rao
    assert before - after == pytest.approx(RAO + 250_000, rel=0.01)
    assert world.subtensor.subnets.burn(NETUID).rao == pytest.approx(1.26 * RAO, rel=0.01)


def test_the_price_halves_every_half_life(world):
    """360 blocks after a registration the price is half of what it was."""
    price = world.subtensor.subnets.burn(NETUID).rao
    world.substrate.advance(360)

    assert world.subtensor.subnets.burn(NETUID).rao == pytest.approx(price / 2, rel=0.01)


@pytest.mark.parametrize(
    ("who", "netuid", "name"),
    [
        ("v1", 0, "RegistrationNotPermittedOnRootSubnet"),
        ("v1", 7, "SubnetNotExists"),
        ("owner", NETUID, "HotKeyAlreadyRegisteredInSubNet"),
    ],
)
def test_registration_is_refused_by_name(world, who, netuid, name):
    """The shielded registration's failure is that of the extrinsic inside."""
    hotkey = world.wallets[who].hotkey.ss58_address
    result = world.run(who, bt.BurnedRegister(netuid=netuid, hotkey_ss58=hotkey))

    assert (result.success, world.error(result)) == (False, name)


def test_registration_also_works_in_the_clear(world):
    """The raw call is the same one that the shield carries."""
    hotkey = world.wallets["v1"].hotkey.ss58_address
    call = bt.calls.SubtensorModule.burned_register(netuid=NETUID, hotkey=hotkey)

    assert world.call("v1", call, signer="coldkey").success
    assert world.subtensor.neurons.uid(hotkey, NETUID) == 1


def test_somebody_elses_hotkey_is_not_registered(make_world):
    """Once a coldkey owns a hotkey, no other can register it."""
    world = make_world(max_uids=2, immunity_period=0)
    world.register("v1", "v2")  # v2 took the only place from v1
    call = bt.calls.SubtensorModule.burned_register(
        netuid=NETUID, hotkey=world.wallets["v1"].hotkey.ss58_address
    )

    assert world.error(world.call("v2", call, signer="coldkey")) == "NonAssociatedColdKey"


def test_a_closed_subnet_takes_nobody(make_world):
    """The owner's switch has its error."""
    world = make_world(registration_allowed=False)
    result = world.run("v1", bt.BurnedRegister(netuid=NETUID))

    assert world.error(result) == "SubNetRegistrationDisabled"


def test_a_poor_coldkey_registers_nothing(make_world):
    """The price must be there."""
    world = make_world(burn_rao=200_000 * RAO, max_burn_rao=300_000 * RAO)

    assert world.error(world.run("v1", bt.BurnedRegister(netuid=NETUID))) == "NotEnoughBalanceToStake"


def test_a_full_subnet_evicts_the_least_earner_that_is_not_immune(make_world):
    """Among two that earned nothing the older goes; the owner stays; all immune means no place."""
    world = make_world(max_uids=3, immunity_period=0)
    world.register("v1", "v2", "v3")

    assert [n.hotkey for n in world.metagraph()] == [
        world.wallets[name].hotkey.ss58_address for name in ("owner", "v3", "v2")
    ]

    immune = make_world(max_uids=1, immunity_period=100)
    assert immune.error(immune.run("v1", bt.BurnedRegister(netuid=NETUID))) == "NoNeuronIdAvailable"


# --- endpoints and commitments


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (axon(0x7F000001), "InvalidIpAddress"),
        (axon(0), "InvalidIpAddress"),
        (axon(0xFFFFFFFF), "InvalidIpAddress"),
        (axon(1, ip_type=6), "InvalidIpAddress"),
        (axon(0x7F000002, ip_type=5), "InvalidIpType"),
        (axon(0x7F000002, port=0), "InvalidPort"),
        (axon(0x7F000002, netuid=7), "SubnetNotExists"),
    ],
)
def test_bad_endpoints_are_refused_by_name(world, call, name):
    """The loopback address itself, zero and all ones can't be published."""
    world.register("m1")

    assert world.error(world.call("m1", call)) == name


def test_the_second_loopback_address_may_be_published(world):
    """127.0.0.2 passes, as it does on a real runtime."""
    world.register("m1")

    assert world.run("m1", bt.ServeAxon(netuid=NETUID, ip="127.0.0.2", port=8091)).success
    assert world.metagraph().neuron(1).axon == "127.0.0.2:8091"


def test_endpoints_have_a_rate_limit(world):
    """Five blocks between two publications."""
    world.register("m1")
    world.call("m1", axon(0x7F000002))

    assert world.error(world.call("m1", axon(0x7F000003))) == "ServingRateLimitExceeded"
    world.substrate.advance(5)
    assert world.call("m1", axon(0x7F000003)).success


def test_only_neurons_publish(world):
    """A hotkey without a uid has nothing to publish."""
    pay_for_outsider(world)

    assert world.error(world.call("outsider", axon(0x7F000002))) == "HotKeyNotRegisteredInNetwork"


def test_a_commitment_is_read_back(world):
    """What a hotkey commits is in the metagraph, as text."""
    world.register("m1")
    info = {"fields": [{"Raw5": "0x" + b"hello".hex()}]}
    assert world.call("m1", bt.calls.Commitments.set_commitment(netuid=NETUID, info=info)).success

    assert world.metagraph().neuron(1).commitment.data == "hello"
    assert [c.data for c in world.subtensor.subnets.commitments(NETUID).values()] == ["hello"]


@pytest.mark.parametrize(
    ("who", "fields", "name"),
    [
        ("outsider", [], "AccountNotAllowedCommit"),
        ("m1", [{"Raw1": "0x00"}] * 4, "TooManyFieldsInCommitmentInfo"),
        ("m1", [{"BigRaw": "0x" + "00" * 3101}], "SpaceLimitExceeded"),
    ],
)
def test_bad_commitments_are_refused_by_name(world, who, fields, name):
    """Strangers, too many fields, too many bytes."""
    world.register("m1")
    pay_for_outsider(world)
    call = bt.calls.Commitments.set_commitment(netuid=NETUID, info={"fields": fields})

    assert world.error(world.call(who, call)) == name


# --- stake and collateral


def test_stake_buys_alpha_from_the_pool(world):
    """100 TAO buy a little less than 100 alpha, and the price rises."""
    world.register("v1")
    w = world.wallets["v1"]
    assert world.run("v1", bt.AddStake(w.hotkey.ss58_address, NETUID, 100)).success

    alpha = world.subtensor.staking.get(w.coldkey.ss58_address, w.hotkey.ss58_address, NETUID).rao
    assert 99 * RAO < alpha < 100 * RAO
    assert world.subtensor.prices.alpha_price(NETUID)["price_rao"] > RAO


def stake_limit(world, amount, limit_price, *, partial):
    return bt.calls.SubtensorModule.add_stake_limit(
        hotkey=world.wallets["v1"].hotkey.ss58_address,
        netuid=NETUID,
        amount_staked=amount,
        limit_price=limit_price,
        allow_partial=partial,
    )


def test_a_price_limit_kills_or_cuts_an_order(world):
    """What would move the price beyond the limit fails, or is filled up to it."""
    world.register("v1")
    limit = RAO + RAO // 100

    killed = world.call("v1", stake_limit(world, 50_000 * RAO, limit, partial=False), signer="coldkey")
    assert world.error(killed) == "SlippageTooHigh"

    assert world.call("v1", stake_limit(world, 50_000 * RAO, limit, partial=True), signer="coldkey").success
    assert world.subtensor.prices.alpha_price(NETUID)["price_rao"] == pytest.approx(limit, abs=2)


@pytest.mark.parametrize(
    ("netuid", "known", "rao", "name"),
    [
        (7, True, RAO, "SubnetNotExists"),
        (NETUID, False, RAO, "HotKeyAccountNotExists"),
        (NETUID, True, 1_000_000, "AmountTooLow"),
        (NETUID, True, 200_000 * RAO, "NotEnoughBalanceToStake"),
    ],
)
def test_bad_stake_is_refused_by_name(world, netuid, known, rao, name):
    """No such subnet, no such hotkey, too little, too much."""
    world.register("v1")
    hotkey = world.wallets["v1" if known else "v2"].hotkey.ss58_address
    call = bt.calls.SubtensorModule.add_stake(hotkey=hotkey, netuid=netuid, amount_staked=rao)

    assert world.error(world.call("v1", call, signer="coldkey")) == name


def test_tao_on_the_root_network_counts_for_18_percent(world):
    """Root stake stays TAO and has a weight in consensus."""
    world.register("v1")
    w = world.wallets["v1"]
    assert world.run("v1", bt.AddStake(w.hotkey.ss58_address, 0, 100)).success

    neuron = world.metagraph().neuron(1)
    assert (neuron.tao_stake.rao, neuron.total_stake.rao) == (100 * RAO, 18 * RAO)


def test_collateral_takes_free_alpha_first_and_buys_the_rest(world):
    """10 alpha are staked, 25 are locked: 15 are bought through the shield."""
    world.register("m1")
    w = world.wallets["m1"]
    world.stake(m1=10)
    assert world.run("m1", bt.AddCollateral(netuid=NETUID, amount_alpha=25)).success

    (lock,) = world.subtensor.read("subnet_collateral", netuid=NETUID)
    assert (lock["hotkey"], lock["uid"], lock["locked_alpha"].rao) == (w.hotkey.ss58_address, 1, 25 * RAO)
    assert world.metagraph().neuron(1).collateral_locked.rao == 25 * RAO
    staked = world.subtensor.staking.get(w.coldkey.ss58_address, w.hotkey.ss58_address, NETUID).rao
    assert staked == pytest.approx(25 * RAO, rel=1e-3)


def test_a_collateral_floor_is_set_and_read(world):
    """The floor needs no capital of its own."""
    world.register("m1")
    assert world.run("m1", bt.SetMinCollateral(netuid=NETUID, min_alpha=5)).success

    (lock,) = world.subtensor.read("subnet_collateral", netuid=NETUID)
    assert (lock["min_locked_alpha"].rao, lock["shortfall_alpha"].rao) == (5 * RAO, 5 * RAO)
    policy = world.subtensor.read("collateral_policy", netuid=NETUID)
    assert policy == {"netuid": NETUID, "lock_share": 0.0, "drain_ratio": 1.0}


def test_registration_locks_the_share_that_the_owner_asks_for(make_world):
    """With a lock share of one half, half of the price becomes locked alpha."""
    world = make_world(collateral_lock_share=32767)
    world.register("m1")

    (lock,) = world.subtensor.read("subnet_collateral", netuid=NETUID)
    assert lock["locked_alpha"].rao == pytest.approx(RAO / 2, rel=0.01)


def test_collateral_of_others_is_refused(world):
    """Only the owner of a hotkey locks for it."""
    world.register("m1", "m2")
    hotkey = world.wallets["m2"].hotkey.ss58_address
    call = bt.calls.SubtensorModule.set_min_collateral(netuid=NETUID, hotkey=hotkey, min_locked=1)

    assert world.error(world.call("m1", call, signer="coldkey")) == "NonAssociatedColdKey"


# --- extrinsics


def test_a_forged_signature_is_not_included(world):
    """What another key signed in the account's name never reaches a block."""
    owner, thief = world.wallets["owner"].hotkey, world.wallets["v1"].hotkey

    class Forger:
        ss58_address, public_key, crypto_type = owner.ss58_address, owner.public_key, owner.crypto_type

        def sign(self, data):
            return thief.sign(data)

    result = world.subtensor.submit_call(axon(0x7F000002), Forger(), signer="hotkey")

    assert (result.success, world.error(result), result.extrinsic_id) == (False, "BadProof", None)


@pytest.mark.parametrize(("nonce", "name"), [(0, "Stale"), (9, "Future")])
def test_a_nonce_is_used_once_and_in_order(world, nonce, name):
    """A used or skipped nonce is not included."""
    import asyncio

    world.register("v1")  # nonces 0 and 1 of the coldkey
    signer = world.wallets["v1"].coldkey

    async def submit():
        call = await world.substrate.compose(bt.calls.MevShield.submit_encrypted(ciphertext=b"x"))
        return await world.substrate.submit(call, signer, nonce=nonce)

    result = asyncio.run(submit())
    assert (world.error(result), result.extrinsic_id) == (name, None)


def test_a_refused_call_costs_its_fee_and_nonce_and_nothing_else(world):
    """The owner of the hotkey pays for what the pallet refuses."""
    world.register("m1")
    m1 = world.wallets["m1"]
    before = world.subtensor.balances.get(m1.coldkey.ss58_address).rao
    world.call("m1", axon(0x7F000001))

    assert world.subtensor.balances.get(m1.coldkey.ss58_address).rao == before - 125_000
    account = world.subtensor.query(("System", "Account"), [m1.hotkey.ss58_address])
    assert account["nonce"] == 1
    assert world.metagraph().neuron(1).axon is None


@pytest.mark.parametrize(
    ("module", "function", "params"),
    [
        ("SubtensorModule", "root_register", {"hotkey": "x"}),
        ("SubtensorModule", "burned_register", {"netuid": 70_000, "hotkey": "x"}),
        ("SubtensorModule", "burned_register", {"netuid": 51}),
        (
            "SubtensorModule",
            "set_mechanism_weights",
            {"netuid": 51, "mecid": 0, "dests": [-1], "weights": [1], "version_key": 0},
        ),
        ("MevShield", "submit_encrypted", {"ciphertext": b"", "extra": 1}),
    ],
)
def test_what_no_call_record_fits_is_not_composed(world, module, function, params):
    """Unknown calls, missing or superfluous parameters and values out of range are refused at once."""
    with pytest.raises(bt.ChainError):
        world.subtensor.compose((module, function, params))


# --- transfers


def test_a_transfer_moves_tao_and_is_an_event_of_its_block(world):
    """What is sent is there afterwards, to the rao, and the block's events tell who sent it; more than there is, is not sent."""
    to = world.wallets["outsider"].coldkey.ss58_address
    sender = world.wallets["m1"].coldkey.ss58_address

    def events_at(block):
        return world.subtensor.query(("System", "Events"), [], block=block)

    sent = world.run("m1", bt.Transfer(dest_ss58=to, amount_tao=1.000000001))
    refused = world.call("m1", bt.calls.Balances.transfer_keep_alive(to, 10**18), signer="coldkey")

    assert sent.success
    assert world.subtensor.balances.get(to).rao == 1_000_000_001
    assert (refused.success, world.error(refused)) == (False, "InsufficientBalance")
    block, position = (int(part) for part in sent.extrinsic_id.split("-"))
    told = [e["event"]["attributes"] for e in events_at(block) if e["extrinsic_idx"] == position]
    assert told[0] == {"from": sender, "to": to, "amount": 1_000_000_001}
    world.substrate.advance(5)
    assert events_at(block + 3) == []


def test_a_batch_is_all_or_nothing(world):
    """A transfer with a remark is one extrinsic with both events; with a transfer that is refused, neither has happened."""
    owner, to = world.wallets["owner"], world.wallets["outsider"].coldkey.ss58_address
    before = world.subtensor.balances.get(to).rao
    block, position = (int(part) for part in send(world.subtensor, owner, to, 7, "renter:r-1").split("-"))
    events = world.subtensor.query(("System", "Events"), [], block=block)

    assert world.subtensor.balances.get(to).rao == before + 7
    assert transfer_in(events, position, to) == Transfer(
        owner.coldkey.ss58_address, to, 7, (blake2b(b"renter:r-1", digest_size=32).hexdigest(),)
    )
    with pytest.raises(ChainRefused, match="InsufficientBalance"):
        send(world.subtensor, owner, to, 1 << 62, "renter:r-1")
    assert world.subtensor.balances.get(to).rao == before + 7
    assert world.subtensor.query(("System", "Events"), [], block=world.subtensor.block) == []


def test_a_batch_holds_transfers_and_remarks_alone(world):
    """Whatever else is put into it is refused when it is composed."""
    inner = world.subtensor.compose(bt.calls.Utility.batch_all(calls=[]))
    with pytest.raises(bt.ChainError, match="calls"):
        world.subtensor.compose(bt.calls.Utility.batch_all(calls=[inner]))
