"""A place on the subnet, bought through the edge on the embedded chain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployments.localnet.chain.actors import dev_wallet
from deployments.localnet.chain.calls import BurnedRegister
from deployments.localnet.chain.pallet import dispatch
from deployments.localnet.chain.substrate import LocalSubstrate
from tasks.edges.chain import Chain, ChainSettings
from tasks.edges.registering import FEES_RAO, tao
from tasks.errors import ChainAway, RegistrationRefused, SettingError
from tests.tasks import nodes
from tests.tasks.nodes import NETUID, RAO, Node

NEWCOMER = dev_wallet("stranger")
"""Has 1,000 TAO and no place."""
HOTKEY, COLDKEY = NEWCOMER.hotkey.ss58_address, NEWCOMER.coldkey.ss58_address


@pytest.fixture
def make(tmp_path, monkeypatch):
    """A node with these hyperparameters and an edge to it, whose wallet is nobody's: registering needs none."""
    for name in ("BITTENSOR_RUNTIME_CACHE_DIR", "BTCLI_TOKEN_SYMBOLS_CACHE"):
        monkeypatch.setenv(name, "")
    ends = []

    def pair(factory=None, netuid=NETUID, **hyperparameters) -> tuple[Node, Chain]:
        node = nodes.make_node(tmp_path / f"chain{len(ends)}.db", **hyperparameters)
        if "min_burn_rao" in hyperparameters:
            node.change(lambda state: setattr(state, "burn_rao", hyperparameters["min_burn_rao"]))
        settings = ChainSettings(cache=tmp_path / "cache", netuid=netuid)
        chain = Chain(settings, substrate_factory=(lambda: factory(node)) if factory else node.factory)
        ends.extend((chain.close, node.substrate.ledger.close))
        return node, chain

    yield pair
    for end in ends:
        end()


def buy(chain, limit_tao=1.0, who=NEWCOMER):
    return chain.register(who.coldkey, who.hotkey.ss58_address, limit_rao=round(limit_tao * RAO))


def test_the_terms_are_told_before_anything_is_paid(make):
    """Price, what of it is locked, balance, and no uid yet; reading costs nothing."""
    node, chain = make(collateral_lock_share=32_768)
    terms = chain.registration(HOTKEY, COLDKEY)

    assert (terms.uid, terms.is_open, terms.free_rao) == (None, True, 1_000 * RAO)
    assert terms.price_rao == node.substrate.ledger.state_at().registration_price_rao(terms.block)
    assert terms.locked_rao == pytest.approx(terms.price_rao / 2, rel=1e-4)
    assert chain.registration(node.hotkey("m1"), COLDKEY).uid == 3


def test_a_place_is_bought_once(make):
    """The price and two fees are paid; whoever asks again is told the uid and pays nothing."""
    _, chain = make()
    before = chain.registration(HOTKEY, COLDKEY)
    first, second = buy(chain), buy(chain)
    after = chain.registration(HOTKEY, COLDKEY)

    assert (first.uid, first.is_new, second.uid, second.is_new) == (6, True, 6, False)
    assert before.free_rao - after.free_rao == first.spent_rao
    assert first.spent_rao <= before.price_rao + FEES_RAO
    assert first.extrinsic_id.endswith("-0001"), "the call is the one that the shield's carrier brought"
    assert chain.view().by_hotkey(HOTKEY).coldkey == COLDKEY


def test_the_ceiling_is_held_before_anything_is_sent(make):
    """A price above it costs nothing, not even a fee."""
    node, chain = make(min_burn_rao=RAO // 2)
    with pytest.raises(
        RegistrationRefused, match=r"a place costs 0\.5 TAO, the ceiling is 0\.4 TAO"
    ) as refused:
        buy(chain, 0.4)

    assert refused.value.code == "PRICE_ABOVE_CEILING"
    assert "--max-tao" in refused.value.mend
    assert COLDKEY not in {
        a for a, account in node.substrate.ledger.state_at().accounts.items() if account.nonce
    }


class Outbid(LocalSubstrate):
    """Somebody registers between our look at the price and our call: the price doubles."""

    rival = dev_wallet("rival")

    async def mev_next_key(self):
        """The last thing that is asked before the call is sent."""

        def register(state):
            state.account(self.rival.coldkey.ss58_address).free_rao = 10 * RAO
            call = BurnedRegister(NETUID, self.rival.hotkey.ss58_address)
            dispatch(state, self.rival.coldkey.ss58_address, call)
            return None, []

        self.ledger.include(register)
        return await super().mev_next_key()


def test_the_chain_itself_holds_the_ceiling(make):
    """A price that rises on the way is not paid: the call is refused in its block, fees are all that is gone."""

    def outbid(node):
        return Outbid(node.path, now=node.clock.now, sleep=node.clock.sleep)

    _, chain = make(outbid, min_burn_rao=RAO // 2, burn_increase_percent=200)
    with pytest.raises(RegistrationRefused) as refused:
        buy(chain, 0.6)

    left = chain.registration(HOTKEY, COLDKEY)
    assert (refused.value.code, left.uid) == ("PRICE_ABOVE_CEILING", None)
    assert 1_000 * RAO - left.free_rao < FEES_RAO


def test_a_crowded_block_is_waited_out(make):
    """Where others took the places of a block, the next one is tried, without asking anybody."""

    class Crowded(LocalSubstrate):
        times = 0

        async def mev_next_key(self):
            if Crowded.times < 2:
                Crowded.times += 1
                self.ledger.include(lambda state: (setattr(state, "registrations_in_block", 9), []))
            return await super().mev_next_key()

    node, chain = make(lambda node: Crowded(node.path, now=node.clock.now, sleep=node.clock.sleep))
    head = node.substrate.ledger.head()

    assert buy(chain).is_new
    assert node.substrate.ledger.head() >= head + 3


class Shieldless(LocalSubstrate):
    """A chain of one's own without that pallet."""

    async def mev_next_key(self):
        """None, ever."""
        return

    async def block_time(self):
        """Nothing is worth waiting for."""
        return 0.0


def test_without_a_shield_a_chain_of_ones_own_takes_the_call_in_the_clear(make):
    """There is nobody to hide it from."""
    _, chain = make(lambda node: Shieldless(node.path, now=node.clock.now, sleep=node.clock.sleep))

    assert buy(chain).extrinsic_id.endswith("-0000")


@pytest.mark.parametrize(
    ("hyperparameters", "code"),
    [
        ({"registration_allowed": False}, "REGISTRATION_CLOSED"),
        ({"max_uids": 6, "immunity_period": 60_000}, "SUBNET_FULL"),
        ({"min_burn_rao": 2_000 * RAO, "max_burn_rao": 9_000 * RAO}, "BALANCE_TOO_LOW"),
    ],
)
def test_what_is_in_the_way_has_its_code_and_its_mend(make, hyperparameters, code):
    """Closed, full, too poor: each says what to do about it."""
    node, chain = make()

    def change(state):
        state.hyperparameters = replace(state.hyperparameters, **hyperparameters)

    node.change(change)
    with pytest.raises(RegistrationRefused) as refused:
        buy(chain, 5_000)

    assert refused.value.code == code
    assert refused.value.mend


def test_a_hotkey_of_another_coldkey_is_refused(make):
    """Whoever has lost its place still belongs to who registered it first."""
    node, chain = make()
    node.change(lambda state: state.hotkey_owner.update({HOTKEY: node.wallets["v2"].coldkey.ss58_address}))
    with pytest.raises(RegistrationRefused, match="HOTKEY_OF_ANOTHER_COLDKEY"):
        buy(chain)


def test_a_result_that_was_lost_is_looked_up(make):
    """The connection breaks right after the call was sent: the place is there, and is told as bought."""

    class Breaking(LocalSubstrate):
        has_broken = False

        async def submit(self, *given, **more):
            result = await super().submit(*given, **more)
            if not Breaking.has_broken:
                Breaking.has_broken = True
                raise ConnectionResetError("gone")
            return result

    _, chain = make(lambda node: Breaking(node.path, now=node.clock.now, sleep=node.clock.sleep))

    assert (buy(chain).is_new, buy(chain).is_new) == (True, False)


def test_a_call_that_never_came_through_is_told_as_lost(make):
    """Nothing was bought; it may be run again."""

    class Deaf(LocalSubstrate):
        async def submit(self, *_given, **_more):
            raise ConnectionResetError("gone")

    _, chain = make(lambda node: Deaf(node.path, now=node.clock.now, sleep=node.clock.sleep))
    with pytest.raises(ChainAway, match="run it again: it looks first"):
        buy(chain)


def test_a_subnet_that_is_not_there_has_no_price(make):
    """As everywhere, that is a setting."""
    _, chain = make(netuid=7)
    with pytest.raises(SettingError, match="netuid"):
        chain.registration(HOTKEY, COLDKEY)


@pytest.mark.parametrize(
    ("rao", "text"), [(0, "0"), (1, "0.000000001"), (RAO, "1"), (1_500_000_000, "1.5"), (10 * RAO, "10")]
)
def test_amounts_are_written_as_people_do(rao, text):
    """No zeros at the end, nothing rounded."""
    assert tao(rao) == text
