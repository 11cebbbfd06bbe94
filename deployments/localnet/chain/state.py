"""The chain's state at one block: accounts, stake, one subnet; pallet calls and epochs change it.

It is stored as one JSON document a block, so that a read at a block is a read of one row.
Amounts are integers of rao, shares are u16 unless the name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import TypeAdapter

ROOT_NETUID = 0
TAO_WEIGHT_PERCENT = 18
"""What a TAO staked on the root network counts, in percent of an alpha."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """The subnet's settings. Defaults of the local chain; what a new real subnet has stands beside it."""

    tempo: int = 50
    """Blocks between epochs (360)."""
    weights_rate_limit: int = 20
    """Blocks between two settings of weights, registration counts as one (100)."""
    serving_rate_limit: int = 5
    """Blocks between two publications of an endpoint (50)."""
    weights_version: int = 0
    """Least version key; 0 is unchecked (0)."""
    min_allowed_weights: int = 1
    max_weights_limit: int = 65_535
    stake_threshold_rao: int = 0
    """Stake below this has no say (0; root sets it)."""
    activity_cutoff: int = 5_000
    """Blocks without weights after which a validator is inactive (13.889 tempos of 360)."""
    commit_reveal: bool = False
    """A timelock can't be opened offline (true)."""
    reveal_period_epochs: int = 1
    yuma_version: int = 3
    kappa: int = 32_767
    rho: int = 10
    bonds_moving_average: int = 900_000
    bonds_penalty: int = 65_535
    immunity_period: int = 5_000
    max_uids: int = 256
    max_validators: int = 64
    max_registrations_per_block: int = 1
    registration_allowed: bool = True
    burn_rao: int = 1_000_000_000
    """Price of registration at genesis."""
    min_burn_rao: int = 500_000
    max_burn_rao: int = 100_000_000_000
    burn_increase_percent: int = 126
    burn_half_life: int = 360
    """Blocks."""
    owner_cut: int = 11_796
    """18 %."""
    delegate_take: int = 11_796
    """What a validator keeps of its nominators' dividends: 18 %."""
    collateral_lock_share: int = 0
    """Share of the registration price that is locked instead of burned (0)."""
    collateral_drain_bits: int = 1 << 64
    """U64F64: alpha released per alpha earned (1.0)."""
    alpha_per_block_rao: int = 1_000_000_000
    """Emission to the subnet."""


@dataclass(slots=True)
class Account:
    """A key's free balance, and how many extrinsics it signed."""

    free_rao: int = 0
    nonce: int = 0


@dataclass(slots=True)
class Axon:
    """A published endpoint."""

    block: int
    version: int
    ip: int
    port: int
    ip_type: int
    protocol: int


@dataclass(slots=True)
class NeuronState:
    """One uid."""

    hotkey: str
    registered_at: int
    last_update: int
    axon: Axon | None = None
    is_active: bool = True
    has_permit: bool = False
    rank: int = 0
    trust: int = 0
    validator_trust: int = 0
    consensus: int = 0
    incentive: int = 0
    dividends: int = 0
    pruning_score: int = 65_535
    emission_rao: int = 0
    """Of the last epoch."""
    weights: dict[int, int] = field(default_factory=dict)
    bonds: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Collateral:
    """Alpha that a miner locked: released by earning only."""

    locked_rao: int = 0
    min_locked_rao: int = 0
    earned_rao: int = 0
    drain_bits: int = 1 << 64


@dataclass(slots=True)
class Commitment:
    """What a hotkey published about itself: encoded fields, variant name and 0x-hex each."""

    block: int
    fields: list[tuple[str, str]]


@dataclass(slots=True)
class WeightCommit:
    """Sealed weights that wait for their reveal.

    `opened` is the sealed envelope: what the ciphertext holds, handed over beside it, because no
    drand signature can be had offline. Without it the commit can't be revealed and falls away.
    """

    epoch: int
    hotkey: str
    block: int
    ciphertext: str
    """0x-hex."""
    reveal_round: int
    opened: WeightRow | None


@dataclass(frozen=True, slots=True)
class WeightRow:
    """Weights as a call carries them."""

    uids: list[int]
    values: list[int]
    version_key: int


@dataclass(slots=True)
class Sent:
    """A transfer of TAO, by the extrinsic at this position of its block."""

    position: int
    sender: str
    receiver: str
    rao: int


@dataclass(slots=True)
class Remarked:
    """A remark of the extrinsic at this position of its block: the hash alone is kept."""

    position: int
    sender: str
    hash: str
    """blake2b-256, 0x-hex."""


@dataclass(slots=True)
class ChainState:
    """Everything that the chain knows at the end of `block`."""

    block: int
    netuid: int
    name: str
    owner_coldkey: str
    owner_hotkey: str
    created_at: int
    hyperparameters: Hyperparameters
    last_epoch_block: int
    epoch_index: int = 0
    extrinsics_in_block: int = 0
    transfers_in_block: list[Sent] = field(default_factory=list)
    remarks_in_block: list[Remarked] = field(default_factory=list)
    registrations_in_block: int = 0
    burn_rao: int = 0
    burn_block: int = 0
    """When `burn_rao` was right: it halves every half-life after."""
    pool_tao_rao: int = 1_000_000 * 1_000_000_000
    pool_alpha_rao: int = 1_000_000 * 1_000_000_000
    burned_alpha_rao: int = 0
    root_alpha_rao: int = 0
    """Dividends of TAO staked on the root network, not claimed."""
    accounts: dict[str, Account] = field(default_factory=dict)
    hotkey_owner: dict[str, str] = field(default_factory=dict)
    alpha: dict[str, dict[str, int]] = field(default_factory=dict)
    """hotkey -> coldkey -> rao staked on the subnet."""
    root_tao: dict[str, dict[str, int]] = field(default_factory=dict)
    """hotkey -> coldkey -> rao staked on the root network."""
    neurons: list[NeuronState] = field(default_factory=list)
    collateral: dict[str, dict[str, Collateral]] = field(default_factory=dict)
    """hotkey -> coldkey -> lock."""
    commitments: dict[str, Commitment] = field(default_factory=dict)
    weight_commits: list[WeightCommit] = field(default_factory=list)
    envelopes: dict[str, WeightRow] = field(default_factory=dict)
    """hotkey -> the plaintext of its next commit."""

    def enter(self, block: int) -> None:
        """Begin this block: what is counted a block starts from zero."""
        if block != self.block:
            self.block, self.extrinsics_in_block, self.registrations_in_block = block, 0, 0
            self.transfers_in_block, self.remarks_in_block = [], []

    def uid(self, hotkey: str) -> int | None:
        """The uid of this hotkey, None when it is not registered."""
        return next((uid for uid, n in enumerate(self.neurons) if n.hotkey == hotkey), None)

    def account(self, address: str) -> Account:
        """The account, made when it is new."""
        return self.accounts.setdefault(address, Account())

    def alpha_of(self, hotkey: str) -> int:
        """Alpha staked on this hotkey, by all coldkeys."""
        return sum(self.alpha.get(hotkey, {}).values())

    def root_tao_of(self, hotkey: str) -> int:
        """TAO staked on this hotkey on the root network, by all coldkeys."""
        return sum(self.root_tao.get(hotkey, {}).values())

    def stake_of(self, hotkey: str) -> int:
        """What counts for consensus: alpha and the weighted TAO."""
        return self.alpha_of(hotkey) + self.root_tao_of(hotkey) * TAO_WEIGHT_PERCENT // 100

    def add_alpha(self, hotkey: str, coldkey: str, rao: int) -> None:
        """Stake alpha."""
        holders = self.alpha.setdefault(hotkey, {})
        holders[coldkey] = holders.get(coldkey, 0) + rao

    def is_owners(self, hotkey: str) -> bool:
        """Whether the hotkey is the subnet owner's: its incentive is burned."""
        return hotkey == self.owner_hotkey or self.hotkey_owner.get(hotkey) == self.owner_coldkey

    def registration_price_rao(self, block: int) -> int:
        """The floating price at a block: it halves every half-life down to the least."""
        elapsed = max(block - self.burn_block, 0)
        price = int(self.burn_rao * 0.5 ** (elapsed / self.hyperparameters.burn_half_life))
        return max(price, self.hyperparameters.min_burn_rao)

    def alpha_price_rao(self) -> int:
        """Rao of TAO for one alpha (1e9 rao of it)."""
        return self.pool_tao_rao * 1_000_000_000 // self.pool_alpha_rao

    def next_epoch_block(self) -> int:
        """The block at which the next epoch runs."""
        return self.last_epoch_block + self.hyperparameters.tempo


_DOCUMENT: TypeAdapter[ChainState] = TypeAdapter(ChainState)


def encoded(state: ChainState) -> bytes:
    """The state as a JSON document."""
    return _DOCUMENT.dump_json(state)


def decoded(document: bytes) -> ChainState:
    """The state of a document; pydantic.ValidationError when it is none of ours."""
    return _DOCUMENT.validate_json(document)
