"""The pallet: what each call checks, in the order of the real one, and what it changes.

A refusal is a `PalletError` with the real pallet's error name; it is raised before anything changes.
"""

from __future__ import annotations

from hashlib import blake2b
from math import isqrt

from deployments.localnet.chain.calls import (
    AddCollateral,
    AddStake,
    AddStakeLimit,
    Args,
    BatchAll,
    BurnedRegister,
    CommitWeights,
    RegisterLimit,
    RemarkWithEvent,
    ServeAxon,
    SetCommitment,
    SetMinCollateral,
    SetWeights,
    SubmitEncrypted,
    TransferKeepAlive,
)
from deployments.localnet.chain.state import (
    ROOT_NETUID,
    Axon,
    ChainState,
    Collateral,
    Commitment,
    NeuronState,
    Remarked,
    Sent,
    WeightCommit,
    WeightRow,
)

RAO = 1_000_000_000
MIN_STAKE_RAO = 2_000_000
MAX_UNREVEALED = 10
MAX_COMMIT_BYTES = 5_000
MAX_COMMITMENT_FIELDS = 3
MAX_COMMITMENT_BYTES = 3_100
COMMIT_REVEAL_VERSION = 4
FEE_RAO = 125_000
U16_MAX = 65_535
IPV4_LOOPBACK, IPV6_LOOPBACK = 0x7F000001, 1

PAID_BY_COLDKEY = (SetWeights, CommitWeights, ServeAxon, SetCommitment)
"""Calls signed by a hotkey whose fee its owner pays."""


class PalletError(Exception):
    """The chain refuses a call; `name` is the pallet's error name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def dispatch(state: ChainState, signer: str, args: Args) -> None:  # noqa: C901, PLR0912  one arm a call
    """Apply a call in the name of its signer; PalletError when it is refused."""
    match args:
        case BurnedRegister():
            _register(state, signer, args)
        case RegisterLimit():
            _register_limit(state, signer, args)
        case ServeAxon():
            _serve_axon(state, signer, args)
        case SetWeights():
            _set_weights(state, signer, args)
        case CommitWeights():
            _commit_weights(state, signer, args)
        case AddStake():
            _add_stake(state, signer, args.hotkey, args.netuid, args.amount_staked)
        case AddStakeLimit():
            _add_stake_limit(state, signer, args)
        case AddCollateral():
            _add_collateral(state, signer, args)
        case SetMinCollateral():
            _set_min_collateral(state, signer, args)
        case SetCommitment():
            _set_commitment(state, signer, args)
        case TransferKeepAlive():
            _transfer(state, signer, args)
        case RemarkWithEvent():
            _remark(state, signer, args)
        case BatchAll():
            _batch(state, signer, args)
        case SubmitEncrypted():
            pass  # the carrier itself does nothing; what it carries is dispatched after it
        case _:
            raise PalletError("CallFiltered")


def fee_payer(state: ChainState, signer: str, args: Args) -> str:
    """The account that pays for an extrinsic."""
    return state.hotkey_owner.get(signer, signer) if isinstance(args, PAID_BY_COLDKEY) else signer


def _require(*, that: bool, otherwise: str) -> None:
    if not that:
        raise PalletError(otherwise)


def _require_subnet(state: ChainState, netuid: int) -> None:
    _require(that=netuid == state.netuid, otherwise="SubnetNotExists")


def _transfer(state: ChainState, sender: str, args: TransferKeepAlive) -> None:
    """Move TAO; the sender keeps its account."""
    _require(that=state.account(sender).free_rao > args.value, otherwise="InsufficientBalance")
    state.account(sender).free_rao -= args.value
    state.account(args.dest).free_rao += args.value
    state.transfers_in_block.append(Sent(state.extrinsics_in_block - 1, sender, args.dest, args.value))


def _remark(state: ChainState, sender: str, args: RemarkWithEvent) -> None:
    """Keep the hash of what was said."""
    said = blake2b(bytes.fromhex(args.remark.removeprefix("0x")), digest_size=32).hexdigest()
    state.remarks_in_block.append(Remarked(state.extrinsics_in_block - 1, sender, f"0x{said}"))


def _batch(state: ChainState, signer: str, args: BatchAll) -> None:
    """All calls in order; when one is refused, none has happened."""
    free = {address: account.free_rao for address, account in state.accounts.items()}
    sent, said = list(state.transfers_in_block), list(state.remarks_in_block)
    try:
        for call in args.calls:
            dispatch(state, signer, call.args)
    except PalletError:
        state.transfers_in_block, state.remarks_in_block = sent, said
        for address in tuple(state.accounts):
            if address in free:
                state.accounts[address].free_rao = free[address]
            else:
                del state.accounts[address]
        raise


# --- registration ----------------------------------------------------------------------------------


def _register(state: ChainState, coldkey: str, args: BurnedRegister) -> None:
    """Pay the floating price, partly into a lock where the subnet asks for it, and take a uid."""
    settings = state.hyperparameters
    _require(that=args.netuid != ROOT_NETUID, otherwise="RegistrationNotPermittedOnRootSubnet")
    _require_subnet(state, args.netuid)
    _require(that=settings.registration_allowed, otherwise="SubNetRegistrationDisabled")
    allowed = state.registrations_in_block < settings.max_registrations_per_block
    _require(that=allowed, otherwise="TooManyRegistrationsThisBlock")
    _require(that=state.uid(args.hotkey) is None, otherwise="HotKeyAlreadyRegisteredInSubNet")
    owner = state.hotkey_owner.get(args.hotkey, coldkey)
    _require(that=owner == coldkey, otherwise="NonAssociatedColdKey")
    price = state.registration_price_rao(state.block)
    _require(that=state.account(coldkey).free_rao >= price, otherwise="NotEnoughBalanceToStake")
    uid = _free_uid(state)

    state.hotkey_owner[args.hotkey] = coldkey
    locked = price * settings.collateral_lock_share // U16_MAX
    state.account(coldkey).free_rao -= price
    if locked:
        _lock(state, args.hotkey, coldkey, _buy(state, args.hotkey, coldkey, locked))
    state.burn_rao = min(price * settings.burn_increase_percent // 100, settings.max_burn_rao)
    state.burn_block = state.block
    state.registrations_in_block += 1
    _seat(state, uid, args.hotkey)


def _register_limit(state: ChainState, coldkey: str, args: RegisterLimit) -> None:
    """The same, as long as the price of this block is not above the limit."""
    _require_subnet(state, args.netuid)
    is_within = state.registration_price_rao(state.block) <= args.limit_price
    _require(that=is_within, otherwise="RegistrationPriceLimitExceeded")
    _register(state, coldkey, BurnedRegister(args.netuid, args.hotkey))


def _free_uid(state: ChainState) -> int:
    """A new uid, or that of the neuron to evict: least emission, then oldest, then lowest uid."""
    settings = state.hyperparameters
    if len(state.neurons) < settings.max_uids:
        return len(state.neurons)
    evictable = [
        (neuron.emission_rao, neuron.registered_at, uid)
        for uid, neuron in enumerate(state.neurons)
        if state.block - neuron.registered_at >= settings.immunity_period
        and not state.is_owners(neuron.hotkey)
    ]
    _require(that=bool(evictable), otherwise="NoNeuronIdAvailable")
    return min(evictable)[2]


def _seat(state: ChainState, uid: int, hotkey: str) -> None:
    """Give the uid to the hotkey; bonds to whoever had it are cleared."""
    neuron = NeuronState(hotkey=hotkey, registered_at=state.block, last_update=state.block)
    if uid == len(state.neurons):
        state.neurons.append(neuron)
        return
    state.neurons[uid] = neuron
    for other in state.neurons:
        other.bonds.pop(uid, None)


# --- endpoints and commitments ---------------------------------------------------------------------


def _serve_axon(state: ChainState, hotkey: str, args: ServeAxon) -> None:
    _require_subnet(state, args.netuid)
    uid = state.uid(hotkey)
    if uid is None:
        raise PalletError("HotKeyNotRegisteredInNetwork")
    _require(that=args.ip_type in (4, 6), otherwise="InvalidIpType")
    _require(that=_is_publishable(args.ip, args.ip_type), otherwise="InvalidIpAddress")
    served = state.neurons[uid].axon
    too_soon = served is not None and state.block - served.block < state.hyperparameters.serving_rate_limit
    _require(that=not too_soon, otherwise="ServingRateLimitExceeded")
    _require(that=args.port != 0, otherwise="InvalidPort")
    state.neurons[uid].axon = Axon(
        block=state.block,
        version=args.version,
        ip=args.ip,
        port=args.port,
        ip_type=args.ip_type,
        protocol=args.protocol,
    )


def _is_publishable(ip: int, ip_type: int) -> bool:
    """Not zero, not all ones, not the loopback address itself; 127.0.0.2 and above pass."""
    top, loopback = ((1 << 32) - 1, IPV4_LOOPBACK) if ip_type == 4 else ((1 << 128) - 1, IPV6_LOOPBACK)
    return 0 < ip < top and ip != loopback


def _set_commitment(state: ChainState, hotkey: str, args: SetCommitment) -> None:
    registered = args.netuid == state.netuid and state.uid(hotkey) is not None
    _require(that=registered, otherwise="AccountNotAllowedCommit")
    fields = [item for entry in args.info.get("fields", []) for item in entry.items()]
    _require(that=len(fields) <= MAX_COMMITMENT_FIELDS, otherwise="TooManyFieldsInCommitmentInfo")
    size = sum(len(data) // 2 - 1 for _, data in fields)
    _require(that=size <= MAX_COMMITMENT_BYTES, otherwise="SpaceLimitExceeded")
    state.commitments[hotkey] = Commitment(state.block, fields)


# --- weights ---------------------------------------------------------------------------------------


def _set_weights(state: ChainState, hotkey: str, args: SetWeights) -> None:
    _require_subnet(state, args.netuid)
    _require(that=args.mecid == 0, otherwise="MechanismDoesNotExist")
    _require(that=not state.hyperparameters.commit_reveal, otherwise="CommitRevealEnabled")
    uid = _apply_weights(state, hotkey, WeightRow(args.dests, args.weights, args.version_key))
    state.neurons[uid].last_update = state.block


def reveal_weights(state: ChainState, commit: WeightCommit) -> None:
    """Apply an opened commit: permit, stake and version key are checked only now."""
    if commit.opened is not None:
        _apply_weights(state, commit.hotkey, commit.opened)


def _apply_weights(state: ChainState, hotkey: str, row: WeightRow) -> int:
    """Check a row and store it; the uid that set it."""
    settings = state.hyperparameters
    _require(that=len(row.uids) == len(row.values), otherwise="WeightVecNotEqualSize")
    _require(that=len(row.uids) <= len(state.neurons), otherwise="UidsLengthExceedUidsInSubNet")
    uid = state.uid(hotkey)
    if uid is None:
        raise PalletError("HotKeyNotRegisteredInSubNet")
    enough = state.stake_of(hotkey) >= settings.stake_threshold_rao
    _require(that=enough, otherwise="NotEnoughStakeToSetWeights")
    current = settings.weights_version == 0 or row.version_key >= settings.weights_version
    _require(that=current, otherwise="IncorrectWeightVersionKey")
    if not settings.commit_reveal:
        _require(that=_may_update(state, uid), otherwise="SettingWeightsTooFast")
    to_self = row.uids == [uid]
    permitted = state.neurons[uid].has_permit or to_self or hotkey == state.owner_hotkey
    _require(that=permitted, otherwise="NeuronNoValidatorPermit")
    _require_valid_row(state, row, to_self=to_self)
    top = max(row.values, default=0)
    state.neurons[uid].weights = {
        j: value * U16_MAX // top for j, value in zip(row.uids, row.values, strict=True) if value
    }
    return uid


def _require_valid_row(state: ChainState, row: WeightRow, *, to_self: bool) -> None:
    settings, size = state.hyperparameters, len(state.neurons)
    _require(that=len(set(row.uids)) == len(row.uids), otherwise="DuplicateUids")
    _require(that=all(j < size for j in row.uids), otherwise="UidVecContainInvalidOne")
    enough = to_self or len(row.uids) >= min(settings.min_allowed_weights, size)
    _require(that=enough, otherwise="WeightVecLengthIsLow")
    top, total = max(row.values, default=0), sum(row.values)
    limited = to_self or top * U16_MAX <= settings.max_weights_limit * total
    _require(that=limited, otherwise="MaxWeightExceeded")


def _may_update(state: ChainState, uid: int) -> bool:
    last = state.neurons[uid].last_update
    return last == 0 or state.block - last >= state.hyperparameters.weights_rate_limit


def _commit_weights(state: ChainState, hotkey: str, args: CommitWeights) -> None:
    """Keep sealed weights; whether they may be applied is only seen at their reveal."""
    _require_subnet(state, args.netuid)
    _require(that=args.mecid == 0, otherwise="MechanismDoesNotExist")
    _require(that=state.hyperparameters.commit_reveal, otherwise="CommitRevealDisabled")
    versioned = args.commit_reveal_version == COMMIT_REVEAL_VERSION
    _require(that=versioned, otherwise="IncorrectCommitRevealVersion")
    uid = state.uid(hotkey)
    if uid is None:
        raise PalletError("HotKeyNotRegisteredInSubNet")
    _require(that=_may_update(state, uid), otherwise="CommittingWeightsTooFast")
    waiting = sum(c.hotkey == hotkey for c in state.weight_commits)
    _require(that=waiting < MAX_UNREVEALED, otherwise="TooManyUnrevealedCommits")
    size = len(args.commit) // 2 - 1
    _require(that=size <= MAX_COMMIT_BYTES, otherwise="CommitPayloadTooLarge")
    state.weight_commits.append(
        WeightCommit(
            epoch=state.epoch_index,
            hotkey=hotkey,
            block=state.block,
            ciphertext=args.commit,
            reveal_round=args.reveal_round,
            opened=state.envelopes.pop(hotkey, None),
        )
    )
    state.neurons[uid].last_update = state.block


# --- stake and collateral --------------------------------------------------------------------------


def _add_stake(state: ChainState, coldkey: str, hotkey: str, netuid: int, rao: int) -> None:
    _require(that=netuid in (ROOT_NETUID, state.netuid), otherwise="SubnetNotExists")
    _require(that=hotkey in state.hotkey_owner, otherwise="HotKeyAccountNotExists")
    _require(that=rao >= MIN_STAKE_RAO, otherwise="AmountTooLow")
    _require(that=state.account(coldkey).free_rao >= rao, otherwise="NotEnoughBalanceToStake")
    state.account(coldkey).free_rao -= rao
    if netuid == ROOT_NETUID:
        holders = state.root_tao.setdefault(hotkey, {})
        holders[coldkey] = holders.get(coldkey, 0) + rao
    else:
        _buy(state, hotkey, coldkey, rao)


def _add_stake_limit(state: ChainState, coldkey: str, args: AddStakeLimit) -> None:
    """Stake as much as the price allows, or all, or nothing. On the root network the price is 1."""
    amount = args.amount_staked
    if args.netuid == state.netuid:
        possible = max(_tao_up_to(state, args.limit_price), 0)
        _require(that=args.allow_partial or possible >= amount, otherwise="SlippageTooHigh")
        amount = min(amount, possible)
    _add_stake(state, coldkey, args.hotkey, args.netuid, amount)


def _tao_up_to(state: ChainState, limit_price: int) -> int:
    """TAO that can be paid into the pool before alpha costs more than this (rao for one alpha)."""
    product = state.pool_tao_rao * state.pool_alpha_rao
    return isqrt(limit_price * product // RAO) - state.pool_tao_rao


def _buy(state: ChainState, hotkey: str, coldkey: str, rao: int) -> int:
    """Swap TAO, already taken from the account, into staked alpha: the pool's product stays."""
    product = state.pool_tao_rao * state.pool_alpha_rao
    state.pool_tao_rao += rao
    bought = state.pool_alpha_rao - -(-product // state.pool_tao_rao)
    state.pool_alpha_rao -= bought
    state.add_alpha(hotkey, coldkey, bought)
    return bought


def _lock(state: ChainState, hotkey: str, coldkey: str, rao: int) -> None:
    """Lock staked alpha; a first lock takes the subnet's drain ratio of now."""
    locks = state.collateral.setdefault(hotkey, {})
    drain = state.hyperparameters.collateral_drain_bits
    locks.setdefault(coldkey, Collateral(drain_bits=drain)).locked_rao += rao


def _require_own_hotkey(state: ChainState, coldkey: str, hotkey: str, netuid: int) -> None:
    _require(that=netuid != ROOT_NETUID, otherwise="RegistrationNotPermittedOnRootSubnet")
    _require_subnet(state, netuid)
    _require(that=hotkey in state.hotkey_owner, otherwise="HotKeyAccountNotExists")
    _require(that=state.hotkey_owner[hotkey] == coldkey, otherwise="NonAssociatedColdKey")


def _add_collateral(state: ChainState, coldkey: str, args: AddCollateral) -> None:
    """Lock free alpha of the position first, and buy the rest, fill or kill."""
    _require_own_hotkey(state, coldkey, args.hotkey, args.netuid)
    _require(that=args.alpha > 0, otherwise="AmountTooLow")
    lock = state.collateral.get(args.hotkey, {}).get(coldkey, Collateral())
    free = max(state.alpha.get(args.hotkey, {}).get(coldkey, 0) - lock.locked_rao, 0)
    shortfall = max(args.alpha - free, 0)
    if shortfall:
        cost = _cost_of(state, shortfall)
        _require(that=cost >= MIN_STAKE_RAO, otherwise="AmountTooLow")
        _require(that=state.account(coldkey).free_rao >= cost, otherwise="NotEnoughBalanceToStake")
        _require(that=cost <= _tao_up_to(state, args.limit_price), otherwise="SlippageTooHigh")
        state.account(coldkey).free_rao -= cost
        _buy(state, args.hotkey, coldkey, cost)
    _lock(state, args.hotkey, coldkey, args.alpha)


def _cost_of(state: ChainState, alpha_rao: int) -> int:
    """TAO that buys this much alpha from the pool."""
    _require(that=alpha_rao < state.pool_alpha_rao, otherwise="SlippageTooHigh")
    product = state.pool_tao_rao * state.pool_alpha_rao
    return -(-product // (state.pool_alpha_rao - alpha_rao)) - state.pool_tao_rao


def _set_min_collateral(state: ChainState, coldkey: str, args: SetMinCollateral) -> None:
    _require_own_hotkey(state, coldkey, args.hotkey, args.netuid)
    _lock(state, args.hotkey, coldkey, 0)
    state.collateral[args.hotkey][coldkey].min_locked_rao = args.min_locked
