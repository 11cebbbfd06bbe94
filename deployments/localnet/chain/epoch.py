"""What happens at a tempo boundary: consensus, emission, collateral, reveal of sealed weights.

Of the alpha that the subnet got since the last epoch the owner has 18 %; the rest goes half to
miners by incentive and half to validators by dividends (41 % each). Incentive of the owner's hotkeys
is burned. Without any incentive validators have both halves.
"""

from __future__ import annotations

from deployments.localnet.chain.pallet import PalletError, reveal_weights
from deployments.localnet.chain.state import TAO_WEIGHT_PERCENT, ChainState, Collateral, NeuronState
from deployments.localnet.chain.yuma import BITS, Consensus, Subnet, run_epoch

U16_MAX = 65_535


def run_due_epoch(state: ChainState) -> None:
    """Bring the state to its next epoch block and run that epoch."""
    block = state.next_epoch_block()
    state.enter(block)
    _mark_active(state)
    result = run_epoch(_subnet(state), state.hyperparameters.yuma_version)
    _store(state, result)
    _pay(state, result, block - state.last_epoch_block)
    state.last_epoch_block = block
    state.epoch_index += 1
    _reveal_commits(state)


# --- before consensus ------------------------------------------------------------------------------


def _mark_active(state: ChainState) -> None:
    cutoff = state.hyperparameters.activity_cutoff
    for neuron in state.neurons:
        neuron.is_active = neuron.last_update + cutoff >= state.block


def _subnet(state: ChainState) -> Subnet:
    """The state as consensus reads it."""
    settings = state.hyperparameters
    return Subnet(
        stake=[_counted_stake(state, neuron.hotkey) for neuron in state.neurons],
        has_permit=[n.has_permit for n in state.neurons],
        is_active=[n.is_active for n in state.neurons],
        last_update=[n.last_update for n in state.neurons],
        registered_at=[n.registered_at for n in state.neurons],
        weights=[n.weights for n in state.neurons],
        bonds=[n.bonds for n in state.neurons],
        last_epoch_block=state.last_epoch_block,
        owner_uid=state.uid(state.owner_hotkey),
        max_validators=settings.max_validators,
        kappa=settings.kappa,
        bonds_moving_average=settings.bonds_moving_average,
        bonds_penalty=settings.bonds_penalty,
    )


def _counted_stake(state: ChainState, hotkey: str) -> int:
    """Stake, zero below the threshold; the owner is exempt."""
    stake = state.stake_of(hotkey)
    exempt = hotkey == state.owner_hotkey
    return stake if exempt or stake >= state.hyperparameters.stake_threshold_rao else 0


# --- after consensus -------------------------------------------------------------------------------


def _store(state: ChainState, result: Consensus) -> None:
    for uid, neuron in enumerate(state.neurons):
        neuron.has_permit = result.has_permit[uid]
        neuron.rank = result.rank[uid]
        neuron.trust = result.trust[uid]
        neuron.validator_trust = result.validator_trust[uid]
        neuron.consensus = result.consensus[uid]
        neuron.incentive = result.incentive[uid]
        neuron.dividends = result.dividends[uid]
        neuron.bonds = result.bonds[uid]


def _pay(state: ChainState, result: Consensus, blocks: int) -> None:
    """Divide the emission of these blocks."""
    total = blocks * state.hyperparameters.alpha_per_block_rao
    owner_cut = total * state.hyperparameters.owner_cut // U16_MAX
    state.add_alpha(state.owner_hotkey, state.owner_coldkey, owner_cut)
    to_miners = (total - owner_cut) // 2 if any(result.incentive_share) else 0
    to_validators = total - owner_cut - to_miners
    shares = result.dividend_share if any(result.dividend_share) else result.stake_share
    mined = [to_miners * share >> BITS for share in result.incentive_share]
    validated = [to_validators * share >> BITS for share in shares]
    top = max((m + v for m, v in zip(mined, validated, strict=True)), default=0)
    for neuron, incentive, dividend in zip(state.neurons, mined, validated, strict=True):
        _pay_incentive(state, neuron, incentive)
        _pay_dividend(state, neuron.hotkey, dividend)
        neuron.emission_rao = incentive + dividend
        neuron.pruning_score = (incentive + dividend) * U16_MAX // top if top else 0


def _pay_incentive(state: ChainState, neuron: NeuronState, rao: int) -> None:
    if state.is_owners(neuron.hotkey):
        state.burned_alpha_rao += rao
    else:
        _credit(state, neuron.hotkey, state.hotkey_owner[neuron.hotkey], rao)


def _pay_dividend(state: ChainState, hotkey: str, rao: int) -> None:
    """The root's share aside, the hotkey's take to its owner and the rest to all by their stake."""
    alpha, owner = state.alpha_of(hotkey), state.hotkey_owner[hotkey]
    weighted_tao = state.root_tao_of(hotkey) * TAO_WEIGHT_PERCENT // 100
    to_root = rao * weighted_tao // (alpha + weighted_tao) if weighted_tao else 0
    state.root_alpha_rao += to_root
    take = (rao - to_root) * state.hyperparameters.delegate_take // U16_MAX
    shared = rao - to_root - take
    holders = dict(state.alpha.get(hotkey, {}))
    paid = {coldkey: shared * held // alpha for coldkey, held in holders.items() if held}
    for coldkey, part in paid.items():
        _credit(state, hotkey, coldkey, part)
    _credit(state, hotkey, owner, take + shared - sum(paid.values()))


def _credit(state: ChainState, hotkey: str, coldkey: str, rao: int) -> None:
    """Stake what was earned; earning releases collateral, or fills it up to its floor."""
    if not rao:
        return
    state.add_alpha(hotkey, coldkey, rao)
    lock = state.collateral.get(hotkey, {}).get(coldkey)
    if lock is not None:
        _drain(lock, rao)


def _drain(lock: Collateral, earned_rao: int) -> None:
    lock.earned_rao += earned_rao
    headroom = lock.locked_rao - lock.min_locked_rao
    if headroom < 0:
        lock.locked_rao += min(earned_rao, -headroom)
    else:
        lock.locked_rao -= min(earned_rao * lock.drain_bits >> 64, headroom)


def _reveal_commits(state: ChainState) -> None:
    """Open the commits of the epoch that lies a reveal period back; older ones are expired."""
    due = state.epoch_index - state.hyperparameters.reveal_period_epochs
    for commit in (c for c in state.weight_commits if c.epoch == due and c.opened):
        try:
            reveal_weights(state, commit)
        except PalletError:
            continue  # as on the real chain, a commit that may not be applied falls away silently
    state.weight_commits = [c for c in state.weight_commits if c.epoch > due]
