"""What the chain answers: storage items, maps and runtime APIs, in the shapes that the SDK decodes.

Every read is a function of a `View` (the state and the block that is asked for) and its parameters.
An index of weights, bonds and commits is `mechanism * 4096 + netuid`; there is mechanism 0 only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from deployments.localnet.chain.state import (
    ROOT_NETUID,
    TAO_WEIGHT_PERCENT,
    Axon,
    ChainState,
    Collateral,
    NeuronState,
)

RAO = 1_000_000_000
SYMBOL = "\N{GREEK SMALL LETTER ALPHA}"
RUNTIME_VERSION = 468


@dataclass(frozen=True, slots=True)
class View:
    """The state as it is at a block."""

    state: ChainState
    block: int
    time_ms: int

    def has(self, netuid: object) -> bool:
        """Whether this subnet is the one that the chain runs."""
        return netuid == self.state.netuid

    @property
    def names(self) -> list[str]:
        """Hotkeys by uid."""
        return [n.hotkey for n in self.state.neurons]


Read = Callable[[View, Sequence[object]], object]


def value(view: View, item: str, params: Sequence[object]) -> object:
    """One storage value; KeyError when the chain has no such item."""
    return VALUES[item](view, params)


def entries(view: View, item: str, params: Sequence[object]) -> list[tuple[object, object]]:
    """A storage map; KeyError when the chain has no such map."""
    return MAPS[item](view, params)


def api(view: View, method: str, params: Sequence[object]) -> object:
    """A runtime API's answer; KeyError when the chain has no such API."""
    return APIS[method](view, params)


# --- storage values --------------------------------------------------------------------------------


def _of_subnet(read: Callable[[View], object], absent: object = 0) -> Read:
    """A value of the subnet, with the default that other netuids give."""
    return lambda view, params: read(view) if params and view.has(params[0]) else absent


def _account(view: View, params: Sequence[object]) -> object:
    account = view.state.accounts.get(str(params[0]))
    free, nonce = (account.free_rao, account.nonce) if account else (0, 0)
    data = {"free": free, "reserved": 0, "frozen": 0, "flags": 0}
    return {"nonce": nonce, "consumers": 0, "providers": 1, "sufficients": 0, "data": data}


def _uid(view: View, params: Sequence[object]) -> object:
    return view.state.uid(str(params[1])) if view.has(params[0]) else None


def _axon(view: View, params: Sequence[object]) -> object:
    uid = _uid(view, params)
    return None if uid is None else _axon_info(view.state.neurons[int(str(uid))].axon)


def _row(column: Callable[[NeuronState], Mapping[int, int]]) -> Read:
    """One uid's sparse row of a map keyed by index and uid."""

    def read(view: View, params: Sequence[object]) -> object:
        index, uid = params
        known = view.has(index) and isinstance(uid, int) and uid < len(view.state.neurons)
        return list(column(view.state.neurons[uid]).items()) if known and isinstance(uid, int) else []

    return read


def _collateral(view: View, params: Sequence[object]) -> object:
    netuid, hotkey, coldkey = params
    lock = view.state.collateral.get(str(hotkey), {}).get(str(coldkey)) if view.has(netuid) else None
    return None if lock is None else _lock_record(lock)


def _lock_record(lock: Collateral) -> dict[str, object]:
    return {
        "locked": lock.locked_rao,
        "min_locked": lock.min_locked_rao,
        "earned": lock.earned_rao,
        "drain_ratio": {"bits": lock.drain_bits},
    }


def _events(view: View, params: Sequence[object]) -> object:
    """Of transfers and remarks alone: nobody asks for others."""
    del params
    if view.state.block != view.block:
        return []
    told: dict[int, list[dict[str, object]]] = {}
    for sent in view.state.transfers_in_block:
        moved = {"from": sent.sender, "to": sent.receiver, "amount": sent.rao}
        told.setdefault(sent.position, []).append(_event(sent.position, "Balances", "Transfer", moved))
    for said in view.state.remarks_in_block:
        remark = {"sender": said.sender, "hash": said.hash}
        told.setdefault(said.position, []).append(_event(said.position, "System", "Remarked", remark))
    ended = {position: _event(position, "System", "ExtrinsicSuccess", {}) for position in told}
    return [event for position in sorted(told) for event in (*told[position], ended[position])]


def _event(position: int, module: str, name: str, attributes: Mapping[str, object]) -> dict[str, object]:
    event = {"module_id": module, "event_id": name, "attributes": attributes}
    return {"phase": "ApplyExtrinsic", "extrinsic_idx": position, "event": event}


VALUES: Mapping[str, Read] = {
    "System.Events": _events,
    "Timestamp.Now": lambda view, _: view.time_ms,
    "System.Account": _account,
    "System.Number": lambda view, _: view.block,
    "SubtensorModule.Uids": _uid,
    "SubtensorModule.Keys": lambda view, params: view.names[int(str(params[1]))],
    "SubtensorModule.Owner": lambda view, params: view.state.hotkey_owner.get(str(params[0])),
    "SubtensorModule.Axons": _axon,
    "SubtensorModule.Weights": _row(lambda neuron: neuron.weights),
    "SubtensorModule.Bonds": _row(lambda neuron: neuron.bonds),
    "SubtensorModule.MinerCollateral": _collateral,
    "Commitments.CommitmentOf": lambda view, params: dict(_commitments(view, params)).get(params[1]),
    "SubtensorModule.StakeThreshold": lambda view, _: view.state.hyperparameters.stake_threshold_rao,
    "SubtensorModule.Burn": _of_subnet(lambda view: view.state.registration_price_rao(view.block)),
    "SubtensorModule.CollateralLockShare": _of_subnet(
        lambda v: v.state.hyperparameters.collateral_lock_share
    ),
    "SubtensorModule.CollateralDrainRatio": _of_subnet(
        lambda v: {"bits": v.state.hyperparameters.collateral_drain_bits}, {"bits": 1 << 64}
    ),
    "SubtensorModule.CommitRevealWeightsEnabled": _of_subnet(
        lambda v: v.state.hyperparameters.commit_reveal, absent=False
    ),
    "SubtensorModule.WeightsSetRateLimit": _of_subnet(lambda v: v.state.hyperparameters.weights_rate_limit),
    "SubtensorModule.WeightsVersionKey": _of_subnet(lambda v: v.state.hyperparameters.weights_version),
    "SubtensorModule.MinAllowedWeights": _of_subnet(lambda v: v.state.hyperparameters.min_allowed_weights),
    "SubtensorModule.MaxWeightsLimit": _of_subnet(lambda v: v.state.hyperparameters.max_weights_limit),
    "SubtensorModule.SubnetEpochConsensus": _of_subnet(lambda _: "Yuma", "Yuma"),
    "SubtensorModule.Tempo": _of_subnet(lambda v: v.state.hyperparameters.tempo),
    "SubtensorModule.RevealPeriodEpochs": _of_subnet(lambda v: v.state.hyperparameters.reveal_period_epochs),
    "SubtensorModule.LastUpdate": _of_subnet(lambda v: [n.last_update for n in v.state.neurons], []),
    "SubtensorModule.ValidatorPermit": _of_subnet(lambda v: [n.has_permit for n in v.state.neurons], []),
    "SubtensorModule.LastEpochBlock": _of_subnet(lambda v: v.state.last_epoch_block),
    "SubtensorModule.PendingEpochAt": _of_subnet(lambda _: 0),
    "SubtensorModule.SubnetEpochIndex": _of_subnet(lambda v: v.state.epoch_index),
    "SubtensorModule.BlocksSinceLastStep": _of_subnet(lambda v: v.block - v.state.last_epoch_block),
    "SubtensorModule.SubnetworkN": _of_subnet(lambda v: len(v.state.neurons)),
    "SubtensorModule.SubnetOwner": _of_subnet(lambda v: v.state.owner_coldkey, None),
    "SubtensorModule.SubnetOwnerHotkey": _of_subnet(lambda v: v.state.owner_hotkey, None),
    "SubtensorModule.NetworksAdded": _of_subnet(lambda _: True, absent=False),
}


# --- storage maps ----------------------------------------------------------------------------------

Entries = list[tuple[object, object]]
ReadMap = Callable[[View, Sequence[object]], Entries]


def _by_netuid(item: str) -> ReadMap:
    """A value of each subnet."""
    return lambda view, _: [(view.state.netuid, VALUES[f"SubtensorModule.{item}"](view, [view.state.netuid]))]


def _rows(column: Callable[[NeuronState], Mapping[int, int]]) -> ReadMap:
    """All sparse rows of the index."""

    def read(view: View, params: Sequence[object]) -> Entries:
        neurons = view.state.neurons if view.has(params[0]) else []
        return [(uid, list(column(n).items())) for uid, n in enumerate(neurons) if column(n)]

    return read


def _weight_commits(view: View, params: Sequence[object]) -> Entries:
    by_epoch: dict[object, list[tuple[str, int, str, int]]] = {}
    for commit in view.state.weight_commits if view.has(params[0]) else []:
        entry = (commit.hotkey, commit.block, commit.ciphertext, commit.reveal_round)
        by_epoch.setdefault(commit.epoch, []).append(entry)
    return list(by_epoch.items())


def _commitments(view: View, params: Sequence[object]) -> Entries:
    kept = view.state.commitments if view.has(params[0]) else {}
    return [
        (
            hotkey,
            {"deposit": 0, "block": c.block, "info": {"fields": [{name: data} for name, data in c.fields]}},
        )
        for hotkey, c in kept.items()
    ]


def _locks(view: View, params: Sequence[object]) -> Entries:
    locks = view.state.collateral if view.has(params[0]) else {}
    return [
        ((hotkey, coldkey), _lock_record(lock))
        for hotkey, own in locks.items()
        for coldkey, lock in own.items()
    ]


def _memberships(view: View, params: Sequence[object]) -> Entries:
    return [(view.state.netuid, True)] if view.state.uid(str(params[0])) is not None else []


MAPS: Mapping[str, ReadMap] = {
    "SubtensorModule.TokenSymbol": lambda view, _: [(view.state.netuid, list(SYMBOL.encode()))],
    "SubtensorModule.NetworksAdded": _by_netuid("NetworksAdded"),
    "SubtensorModule.Tempo": _by_netuid("Tempo"),
    "SubtensorModule.Burn": _by_netuid("Burn"),
    "SubtensorModule.SubnetworkN": _by_netuid("SubnetworkN"),
    "SubtensorModule.IsNetworkMember": _memberships,
    "SubtensorModule.Uids": lambda view, params: list(
        zip(view.names, range(len(view.names)), strict=True) if view.has(params[0]) else []
    ),
    "SubtensorModule.Weights": _rows(lambda neuron: neuron.weights),
    "SubtensorModule.Bonds": _rows(lambda neuron: neuron.bonds),
    "SubtensorModule.TimelockedWeightCommits": _weight_commits,
    "SubtensorModule.MinerCollateral": _locks,
    "Commitments.CommitmentOf": _commitments,
    "Commitments.RevealedCommitments": lambda _view, _params: [],
}


# --- runtime APIs ----------------------------------------------------------------------------------


def _metagraph(view: View, params: Sequence[object]) -> object:
    """The subnet with one list a column."""
    state = view.state
    if not view.has(params[0]):
        return None
    neurons, coldkeys = state.neurons, [state.hotkey_owner[n.hotkey] for n in state.neurons]
    locks = [
        state.collateral.get(n.hotkey, {}).get(coldkey, Collateral())
        for n, coldkey in zip(neurons, coldkeys, strict=True)
    ]
    return {
        **_subnet_facts(view),
        "hotkeys": view.names,
        "coldkeys": coldkeys,
        "identities": [None] * len(neurons),
        "axons": [_axon_info(n.axon) for n in neurons],
        "active": [n.is_active for n in neurons],
        "validator_permit": [n.has_permit for n in neurons],
        "last_update": [n.last_update for n in neurons],
        "block_at_registration": [n.registered_at for n in neurons],
        "rank": [n.rank for n in neurons],
        "trust": [n.trust for n in neurons],
        "consensus": [n.consensus for n in neurons],
        "incentives": [n.incentive for n in neurons],
        "dividends": [n.dividends for n in neurons],
        "pruning_score": [n.pruning_score for n in neurons],
        "emission": [n.emission_rao for n in neurons],
        "alpha_stake": [state.alpha_of(n.hotkey) for n in neurons],
        "tao_stake": [state.root_tao_of(n.hotkey) for n in neurons],
        "total_stake": [state.stake_of(n.hotkey) for n in neurons],
        "collateral_locked": [lock.locked_rao for lock in locks],
        "collateral_min": [lock.min_locked_rao for lock in locks],
        "collateral_earned": [lock.earned_rao for lock in locks],
    }


def _subnet_facts(view: View) -> dict[str, object]:
    state = view.state
    return {
        "netuid": state.netuid,
        "name": list(state.name.encode()),
        "symbol": list(SYMBOL.encode()),
        "identity": None,
        "network_registered_at": state.created_at,
        "owner_hotkey": state.owner_hotkey,
        "owner_coldkey": state.owner_coldkey,
        "block": view.block,
        "tempo": state.hyperparameters.tempo,
        "last_step": state.last_epoch_block,
        "blocks_since_last_step": view.block - state.last_epoch_block,
        "tao_in": state.pool_tao_rao,
        "alpha_in": state.pool_alpha_rao,
        "alpha_out_emission": state.hyperparameters.alpha_per_block_rao,
        "moving_price": {"bits": (state.pool_tao_rao << 32) // state.pool_alpha_rao},
        "num_uids": len(state.neurons),
        "max_uids": state.hyperparameters.max_uids,
    }


def _axon_info(axon: Axon | None) -> dict[str, int]:
    """An endpoint as the chain has it; all zero when none was published."""
    if axon is None:
        axon = Axon(block=0, version=0, ip=0, port=0, ip_type=0, protocol=0)
    return {
        "block": axon.block,
        "version": axon.version,
        "ip": axon.ip,
        "port": axon.port,
        "ip_type": axon.ip_type,
        "protocol": axon.protocol,
        "placeholder1": 0,
        "placeholder2": 0,
    }


def _neurons(view: View, params: Sequence[object]) -> object:
    """Every neuron as a record."""
    if not view.has(params[0]):
        return []
    return [_neuron(view.state, uid, neuron) for uid, neuron in enumerate(view.state.neurons)]


def _neuron(state: ChainState, uid: int, neuron: NeuronState) -> dict[str, object]:
    return {
        "uid": uid,
        "hotkey": neuron.hotkey,
        "coldkey": state.hotkey_owner[neuron.hotkey],
        "netuid": state.netuid,
        "active": neuron.is_active,
        "axon_info": _axon_info(neuron.axon),
        "prometheus_info": {"block": 0, "version": 0, "ip": 0, "port": 0, "ip_type": 0},
        "stake": [(state.hotkey_owner[neuron.hotkey], state.stake_of(neuron.hotkey))],
        "rank": neuron.rank,
        "emission": neuron.emission_rao,
        "incentive": neuron.incentive,
        "consensus": neuron.consensus,
        "trust": neuron.trust,
        "validator_trust": neuron.validator_trust,
        "dividends": neuron.dividends,
        "last_update": neuron.last_update,
        "validator_permit": neuron.has_permit,
        "pruning_score": neuron.pruning_score,
    }


def _hyperparameters(view: View, params: Sequence[object]) -> object:
    """Names with tagged values; None for a netuid that is not there."""
    if not view.has(params[0]):
        return None
    s = view.state.hyperparameters
    tagged: dict[str, tuple[str, object]] = {
        "rho": ("U16", s.rho),
        "kappa": ("U16", s.kappa),
        "immunity_period": ("U16", s.immunity_period),
        "min_allowed_weights": ("U16", s.min_allowed_weights),
        "max_weights_limit": ("U16", s.max_weights_limit),
        "tempo": ("U16", s.tempo),
        "weights_version": ("U64", s.weights_version),
        "weights_rate_limit": ("U64", s.weights_rate_limit),
        "activity_cutoff": ("U16", s.activity_cutoff),
        "registration_allowed": ("Bool", s.registration_allowed),
        "min_burn": ("TaoBalance", s.min_burn_rao),
        "max_burn": ("TaoBalance", s.max_burn_rao),
        "burn_half_life": ("U16", s.burn_half_life),
        "burn_increase_mult": ("U64F64", {"bits": (s.burn_increase_percent << 64) // 100}),
        "bonds_moving_avg": ("U64", s.bonds_moving_average),
        "bonds_penalty": ("U16", s.bonds_penalty),
        "max_regs_per_block": ("U16", s.max_registrations_per_block),
        "serving_rate_limit": ("U64", s.serving_rate_limit),
        "max_validators": ("U16", s.max_validators),
        "max_allowed_uids": ("U16", s.max_uids),
        "commit_reveal_period": ("U64", s.reveal_period_epochs),
        "commit_reveal_weights_enabled": ("Bool", s.commit_reveal),
        "liquid_alpha_enabled": ("Bool", False),
        "yuma_version": ("U16", s.yuma_version),
        "subnet_is_active": ("Bool", True),
        "collateral_lock_share": ("U16", s.collateral_lock_share),
        "collateral_drain_ratio": ("U64F64", {"bits": s.collateral_drain_bits}),
        "owner_cut_enabled": ("Bool", s.owner_cut > 0),
    }
    return [{"name": name, "value": {tag: raw}} for name, (tag, raw) in tagged.items()]


def _stake_info(view: View, params: Sequence[object]) -> object:
    hotkey, coldkey, netuid = (str(params[0]), str(params[1]), params[2])
    if netuid == ROOT_NETUID:
        stake = view.state.root_tao.get(hotkey, {}).get(coldkey, 0)
    else:
        stake = view.state.alpha.get(hotkey, {}).get(coldkey, 0) if view.has(netuid) else 0
    lock = view.state.collateral.get(hotkey, {}).get(coldkey, Collateral())
    return {
        "hotkey": hotkey,
        "coldkey": coldkey,
        "netuid": netuid,
        "stake": stake,
        "locked": lock.locked_rao if netuid != ROOT_NETUID else 0,
        "emission": 0,
        "tao_emission": 0,
        "drain": 0,
        "is_registered": view.state.uid(hotkey) is not None,
    }


def _price(view: View, params: Sequence[object]) -> object:
    return view.state.alpha_price_rao() if view.has(params[0]) else RAO


def _next_epoch(view: View, params: Sequence[object]) -> object:
    return view.state.next_epoch_block() if view.has(params[0]) else None


APIS: Mapping[str, Read] = {
    "SubnetInfoRuntimeApi.get_metagraph": _metagraph,
    "SubnetInfoRuntimeApi.get_subnet_hyperparams_v3": _hyperparameters,
    "SubnetInfoRuntimeApi.get_next_epoch_start_block": _next_epoch,
    "NeuronInfoRuntimeApi.get_neurons_lite": _neurons,
    "StakeInfoRuntimeApi.get_stake_info_for_hotkey_coldkey_netuid": _stake_info,
    "SwapRuntimeApi.current_alpha_price": _price,
    "SwapRuntimeApi.current_alpha_price_all": lambda view, _: [
        {"netuid": view.state.netuid, "price": view.state.alpha_price_rao()}
    ],
}

CONSTANTS: Mapping[str, int] = {
    "Balances.ExistentialDeposit": 500,
    "SubtensorModule.InitialStartCallDelay": 0,
    "SubtensorModule.InitialTaoWeight": TAO_WEIGHT_PERCENT * (1 << 64) // 100,
}
