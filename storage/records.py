"""The nouns of the system: frozen records that travel between the steps of an epoch.

    chain -> discovery -> inspection -> proof -> scoring -> weights -> chain
    SubnetView  Executor     HostReport   Verdict  Score      WeightVector

A stage reads only records to its left and changes none. Times are aware UTC datetimes, amounts of
the chain are integers of rao (1e-9 TAO or alpha), sizes are bytes unless the name says another unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

BLOCKS_PER_EPOCH = 50


# --- chain -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Head:
    """The newest block and where the subnet stands in its tempo."""

    block: int
    block_hash: str
    """0x and 64 hex digits."""
    time: datetime
    block_time_s: float
    tempo: int
    last_epoch_block: int
    next_epoch_block: int

    @property
    def epoch(self) -> int:
        """The validation epoch that this block belongs to: block // 50."""
        return self.block // BLOCKS_PER_EPOCH


@dataclass(frozen=True, slots=True)
class Neuron:
    """One uid of the subnet, as the metagraph has it."""

    uid: int
    hotkey: str
    coldkey: str
    endpoint: str | None
    """host:port of the axon, None when it serves none."""
    is_active: bool
    has_permit: bool
    stake_rao: int
    """Total stake that counts for consensus."""
    last_update_block: int
    registered_at_block: int
    incentive: float
    dividends: float
    collateral_locked_rao: int | None
    """None on chains without the collateral pallet."""
    tls_commitment: str = ""
    """What its hotkey has committed of the keys of its door (`tasks/edges/pins.py`); empty: nothing."""


@dataclass(frozen=True, slots=True)
class SubnetView:
    """One pinned snapshot of the subnet: everything in it was read at the same block."""

    netuid: int
    head: Head
    neurons: tuple[Neuron, ...]
    owner_hotkey: str
    weights_version: int
    weights_rate_limit_blocks: int
    min_allowed_weights: int
    is_commit_reveal: bool
    reveal_period_tempos: int = 1
    """After so many a commit is revealed."""

    def by_hotkey(self, hotkey: str) -> Neuron | None:
        """The neuron of this hotkey, None when it is not registered."""
        return next((n for n in self.neurons if n.hotkey == hotkey), None)

    def by_uid(self, uid: int) -> Neuron | None:
        """The neuron with this uid."""
        return next((n for n in self.neurons if n.uid == uid), None)


@dataclass(frozen=True, slots=True)
class WeightTarget:
    """A share of the emission for one hotkey; the uid is where it was at discovery."""

    uid: int
    hotkey: str
    weight: float
    """0..1, all of a vector sum to 1."""


class WeightStatus(StrEnum):
    """How an attempt to set weights ended."""

    CONFIRMED = "confirmed"
    """Set, and read back from the chain as meant."""
    COMMITTED = "committed"
    """Sealed until the reveal; what landed is compared later."""
    ALREADY_SET = "already_set"
    """The chain already holds exactly these weights, set at or after the epoch began."""
    NOT_YET = "not_yet"
    """The chain's rate limit does not allow it yet; the scores are kept."""
    REFUSED = "refused"
    """We or the chain refused, `code` says why."""
    UNKNOWN = "unknown"
    """The chain went away in the middle; the next run reads it back first."""


@dataclass(frozen=True, slots=True)
class WeightOutcome:
    """What became of a weight vector on the chain."""

    status: WeightStatus
    code: str
    """Empty, or a reason such as NeuronNoValidatorPermit or SettingWeightsTooFast."""
    message: str
    block: int
    """The block at which it was included or refused."""
    extrinsic_id: str
    retry_after_blocks: int
    landed: tuple[WeightTarget, ...]
    """Our row as the chain has it afterwards."""
    dropped_hotkeys: tuple[str, ...]
    """Targets left out because their uid belongs to another hotkey now."""


# --- discovery -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Executor:
    """One machine of a miner, as the miner's signed answer describes it."""

    executor_id: str
    """`<miner uid>` independent: the miner's own name for it, [a-z0-9-]{1,64}."""
    miner_hotkey: str
    miner_uid: int
    miner_registered_at_block: int
    address: str
    """A literal IPv4 or IPv6 address."""
    port: int
    user: str
    python: str
    """Absolute path of the interpreter that runs what we send."""
    host_key: bytes
    """The full ed25519 host public key, 51 bytes (SSH wire form)."""
    price_usd_per_hour: float

    @property
    def key(self) -> str:
        """Unique over the network: the miner's hotkey and its own name for the machine."""
        return f"{self.miner_hotkey}/{self.executor_id}"


@dataclass(frozen=True, slots=True)
class OfferTerms:
    """What a miner wants of a machine's leases, beside the price; a machine of which it says nothing has none."""

    executor_key: str
    paused_from: datetime | None = None
    """From then on no new lease is wanted; those that run go on."""
    min_cards: int = 1
    """A lease of fewer cards is not wanted, unless it is the whole machine."""


@dataclass(frozen=True, slots=True)
class MinerReply:
    """What came of asking one miner for its executors: executors, or a reason."""

    hotkey: str
    uid: int
    executors: tuple[Executor, ...]
    reasons: tuple[Reason, ...]
    evidence: bytes = b""
    """The miner's signed answer as it came (JSON, `tasks/edges/signing.py` checks it); empty when there is none."""
    swaps: tuple[str, ...] = ()
    """Statements of swapped cards in it, not looked at yet."""
    terms: tuple[OfferTerms, ...] = ()
    """What it wants of its machines' leases; in the history as part of the evidence."""
    certificates: tuple[tuple[str, str], ...] = ()
    """Executor's id and OpenSSH's line of the certificate that lets our key in there; not kept."""


# --- reasons ---------------------------------------------------------------------------------------


class Severity(StrEnum):
    """What a reason does to the machine's pay."""

    FAIL = "fail"
    """The machine is not paid this epoch."""
    NO_VERDICT = "no_verdict"
    """Nothing could be found out; this is not the same as failed."""
    WARN = "warn"
    """Shown to the miner, without effect."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a machine is not paid, or is warned: what was got, what was wanted, and the mend."""

    code: str
    """UPPER_CASE, stable, e.g. GPU_VRAM_MISMATCH."""
    severity: Severity
    got: str
    wanted: str
    mend: str
    """What the miner does about it, one sentence."""
    is_shadow: bool = False
    """Found by a check that the policy runs in shadow: told and archived, without effect."""

    @property
    def decides(self) -> bool:
        """Whether the machine is not paid because of it."""
        return self.severity is not Severity.WARN and not self.is_shadow

    @property
    def fails(self) -> bool:
        """Whether it is a failed verdict, and not only none."""
        return self.severity is Severity.FAIL and not self.is_shadow


# --- inspection ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU, as nvidia-smi lists it. Never believed for pay: the proof measures it."""

    index: int
    uuid: str
    model: str
    vram_mib: int
    driver: str
    graphics_clock_mhz: int | None
    memory_clock_mhz: int | None
    power_limit_w: float | None
    power_default_w: float | None
    pcie_generation: int | None
    pcie_width: int | None
    utilisation_pct: int | None
    memory_used_mib: int | None


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that holds a card, and who owns it."""

    pid: int
    card_uuid: str
    name: str
    memory_mib: int | None
    owner: str
    """User name, or the container's short id as `container:<id>`; empty when unknown."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Everything that one SSH round trip tells of a machine. None: the machine did not say."""

    cards: tuple[Card, ...] = ()
    gpu_count: int | None = None
    """As `nvidia-smi -L` counts them."""
    processes: tuple[GpuProcess, ...] = ()
    cpu_model: str | None = None
    cpu_count: int | None = None
    ram_bytes: int | None = None
    disk_free_bytes: int | None = None
    os_id: str | None = None
    os_version: str | None = None
    kernel: str | None = None
    container_runtime: str | None = None
    """Name and version, e.g. `docker 28.2.2`."""
    container_runtimes: tuple[str, ...] = ()
    """OCI runtimes that the engine offers: runc, nvidia, sysbox-runc."""
    uptime_s: float | None = None
    network_interfaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RawFact:
    """What one command of the inspection printed, for the archive: its digest and its size."""

    name: str
    exit_code: int
    blake2s: str
    """64 hex digits, of stdout."""
    size_bytes: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """The channel between executor and validator, in Mbit/s, seen from the executor."""

    up_mbit_s: float
    down_mbit_s: float
    samples: int
    rtt_ms: float | None = None
    """A round trip on the channel, the least that was seen; None when it was not measured."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """How long one step with a machine took."""

    name: str
    """turn, connect, handshake, login, open, facts, bandwidth; start, ready, walk, multiply, open, verify: docs/scale.md."""
    seconds: float


@dataclass(frozen=True, slots=True)
class HostReport:
    """What inspecting one machine told: facts and all reasons at once."""

    executor_key: str
    facts: HostFacts
    raw: tuple[RawFact, ...]
    bandwidth: Bandwidth | None
    """Of this epoch, not smoothed."""
    reasons: tuple[Reason, ...]
    connect_s: float
    duration_s: float
    steps: tuple[StepTime, ...] = ()

    @property
    def may_be_proved(self) -> bool:
        """Whether nothing speaks against proving its cards."""
        return not any(r.decides for r in self.reasons)


# --- proof -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CardProof:
    """One card's part of a verdict."""

    card_uuid: str
    card_index: int
    passed: bool
    code: str
    """PROVED, or the code of the first thing that did not hold."""
    detail: str
    memory_bytes: int
    """Proved resident memory, |D|."""
    walk_s: float
    multiply_s: float
    bandwidth_gb_s: float
    """10^9 bytes a second, read at random over all of D."""
    operations_tera_s: float
    """10^12 multiply-adds, counted as two operations each, a second."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The proof of all cards of one machine: one failed card fails the machine."""

    executor_key: str
    code: str
    """PROVED, NOT_TRIED, or the code of the failure."""
    severity: Severity | None
    """None when proved."""
    cards: tuple[CardProof, ...]
    reasons: tuple[Reason, ...]
    transcript: bytes
    """Canonical JSON: challenge, roots, secret, openings, our timestamps; zstd is the archive's affair."""
    bytes_received: int
    steps: tuple[StepTime, ...] = ()

    @property
    def proved(self) -> bool:
        """Whether every card of the machine is proved."""
        return self.severity is None


# --- history that bounds come from -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PassedProof:
    """One machine whose proof passed in one archived epoch: what it listed and how fast it was."""

    executor_key: str
    model: str
    """As nvidia-smi prints it."""
    vram_mib: int
    """Of its first card."""
    memory_bytes: int
    """Proved resident memory of each card, |D|."""
    bandwidth_gb_s: float
    """Of its slowest card."""


@dataclass(frozen=True, slots=True)
class ProvedEpoch:
    """An archived epoch whose passed proofs are counted into the days."""

    epoch: int
    day: str
    """YYYY-MM-DD, UTC: its partition in the history."""


@dataclass(frozen=True, slots=True)
class ProvedDay:
    """One machine's passed proofs of one day with cards of one model and size."""

    day: str
    """YYYY-MM-DD, UTC."""
    executor_key: str
    model: str
    """The table's name, as in `tasks/inspection/models.py`."""
    nominal_mib: int
    """Of the size that the model is sold with."""
    proofs: int
    sum_kb_s: int
    """Proved bandwidth of the slowest card, 10^3 bytes a second, summed over the proofs: an integer, so that the order
    of counting changes nothing."""

    @property
    def mean_gb_s(self) -> float:
        """The day's mean, 10^9 bytes a second."""
        return self.sum_kb_s / self.proofs / 1e6


# --- history that scoring is given -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExecutorRecord:
    """What earlier epochs know of a machine; a first meeting has `epochs_seen` 0."""

    executor_key: str
    first_seen: datetime | None = None
    epochs_seen: int = 0
    epochs_passed: int = 0
    consecutive_passed: int = 0
    passed_since: datetime | None = None
    """Begin of the unbroken run of passed epochs."""
    model: str | None = None
    card_count: int | None = None
    card_uuids: tuple[str, ...] = ()
    up_mbit_s: float | None = None
    """Smoothed over epochs."""
    down_mbit_s: float | None = None
    no_verdicts_in_a_row: int = 0
    """Epochs since the last verdict; one is forgiven, the second ends the unbroken run."""
    verified_count: int = 0
    """Verdicts since the last reset."""
    verified_failed: int = 0
    """Failed ones among them: within the policy's budget they break no run."""
    resets: int = 0
    """How often the counters and the run were set back."""
    reset_at: datetime | None = None
    reset_code: str = ""
    """Why the last time: the code of a reason, or FAILURE_BUDGET; empty when never."""
    last_score: float = 0.0
    """Of the last epoch with a verdict, USD an hour."""
    last_score_epoch: int | None = None
    kept_scores: int = 0
    """Epochs without a verdict for which the last score was kept."""
    swapped_at: datetime | None = None
    """When the miner signed the newest swap of cards that counted: no older statement counts any more."""
    announced_uuids: tuple[str, ...] = ()
    """Cards that the swap announced; empty once they have passed."""
    carried_over: int = 0
    """Epochs in a row in which we did not come to it: who waits longest is visited first."""


# --- scoring and weights ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Score:
    """One machine's score with every term, so that it can be read like a bill.

    Which columns a formula multiplies, and in which order, is in `tasks/scoring/bills.py`; a term that it does not use is 1.
    """

    executor_key: str
    miner_hotkey: str
    miner_uid: int
    model: str
    card_count: int
    vram_bytes: int
    rate_usd_per_hour: float
    performance: float
    bandwidth: float
    """The network's."""
    uptime: float
    collateral: float
    passed: float
    """1.0 or 0.0: whether inspection and proof let it be paid."""
    score: float
    """What weights are made of: USD an hour of the default formula, a share of the emission of `lium-2026`."""
    reasons: tuple[Reason, ...]
    formula: str = "default"
    enforced_score: float | None = None
    """If no term had been in shadow; None in files from before there was a shadow."""
    isolation: float = 1.0
    """Of the container runtime; of `lium-2026`, for the leased part."""
    occupancy: float = 1.0
    """Leased or idle."""
    price: float = 1.0
    """The declared price against the market's."""
    capacity: float = 1.0
    """Cards that are paid over cards that are there, of its model and shape."""
    portion: float = 1.0
    """Share of the emission for its model."""
    card_share: float = 1.0
    """Its cards over all counted cards of its model."""
    leased_cards: int = 0
    leased_points: float = 0.0
    leased_total: float = 1.0
    """Of all machines; 1 where it is nothing."""
    leased_pool: float = 0.0
    """Share of the emission."""
    idle_cards: int = 0
    idle_isolation: float = 1.0
    driver: float = 1.0
    programme: float = 1.0
    """1 where the idle programme takes the machine."""
    idle_points: float = 0.0
    """USD an hour."""
    idle_total: float = 1.0
    idle_pool: float = 0.0


@dataclass(frozen=True, slots=True)
class WeightVector:
    """What the epoch wants to set."""

    epoch: int
    targets: tuple[WeightTarget, ...]
    burn_share: float
    first_epoch: int | None = None
    """The scores of all epochs from this one on are in it; None: of this epoch alone."""


class LandingState(StrEnum):
    """What became of weights that were set, as later looks at the chain have it."""

    OPEN = "open"
    LANDED = "landed"
    """Our row was what was meant, at every look or, where weights are sealed, after their reveal."""
    DIFFERS = "differs"
    """Our row was something else: somebody else sets weights with our key, or a reveal failed."""
    UNSEEN = "unseen"
    """Nobody looked in time: it can't be told any more."""


@dataclass(frozen=True, slots=True)
class Landing:
    """Weights that were set, followed for two tempos."""

    epoch: int
    """Whose weights."""
    set_block: int
    tempo_blocks: int
    """Of one tempo; of all until their reveal, for sealed weights."""
    is_sealed: bool
    """Committed, to be revealed a tempo or more later."""
    seen_block: int | None = None
    """The last block at which our row was what was meant."""
    looks: int = 0
    """At our row, from one tempo later on."""
    state: LandingState = LandingState.OPEN
    difference: float = 0.0
    """Share of the emission that goes elsewhere than meant, at the last look, 0..1."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at our row on the chain, for one set of weights that is followed."""

    landing: Landing
    meant: Mapping[int, float]
    """Share by uid."""
    landed: Mapping[int, float]


# --- what scoring is given -------------------------------------------------------------------------

RATE, TOKEN, REVENUE, PORTION = "rate", "token", "revenue", "portion"
"""Kinds of quotes."""
TAO_USD, ALPHA_TAO = "tao_usd", "alpha_tao"
"""Names of the tokens' quotes."""


@dataclass(frozen=True, slots=True)
class Quote:
    """One number of the market as scoring used it: a rate, a price of a token, a share."""

    kind: str
    """rate (USD an hour and card), token (USD, or TAO for alpha), revenue or portion (shares of 1)."""
    name: str
    """The model's name in our table, or `tao_usd`, `alpha_tao`."""
    value: float
    source: str
    """Where it comes from: names of sources with a comma between, or `table`."""
    as_of: datetime
    """When it was true at its source: the older of several."""


@dataclass(frozen=True, slots=True)
class PriceAnswer:
    """What one source of the market's numbers said when it was last asked."""

    source: str
    """Its name, as in `tasks/pricing/sources.py`, or `chain`."""
    asked_at: datetime
    fault: str
    """Why it said nothing; empty when it answered."""
    quotes: tuple[Quote, ...]
    """What it said when it last answered."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A renter's right to an executor or some of its cards, as it stood when the epoch began."""

    lease_id: str
    executor_key: str
    card_uuids: tuple[str, ...]
    """Empty: the whole machine."""
    price_usd_per_hour: float
    started_at: datetime


class MoveKind(StrEnum):
    """What moves in a machine's collateral."""

    DEPOSIT = "deposit"
    """From the miner's wallet to free."""
    RECLAIM = "reclaim"
    """From free to held: the window begins in which it can be denied."""
    DENY = "deny"
    """From held back to free."""
    FINALISE = "finalise"
    """From held to the miner's wallet, after the window."""
    SLASH = "slash"
    """From free, then from held, to nobody."""


@dataclass(frozen=True, slots=True)
class CollateralMove:
    """One line of the ledger of collateral; lines are only added."""

    executor_key: str
    number: int
    """1, 2, 3 of this machine: whoever adds a line has read all before it."""
    request: str
    """Names what was asked for, unique over the ledger: asked again, nothing moves."""
    kind: MoveKind
    at: datetime
    free_rao: int
    """Change of what is free."""
    held_rao: int
    """Change of what is asked back."""
    due_at: datetime | None
    """Of a reclaim: when its window ends."""
    extrinsic_id: str
    """Of the transfer on the chain, block-index; empty where there is none."""
    decided_by: str
    reason: str
    evidence_blake2s: str
    """64 hex digits of the file that proves a slash; the event in the archive holds the file."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one machine beside this epoch's report and verdict."""

    executor_key: str
    record: ExecutorRecord
    """As earlier epochs left it; this one is not counted yet."""
    is_leased: bool
    deposited_rao: int
    """Free collateral of the machine in our own ledger."""
    ban_code: str = ""
    """MINER_BANNED or CARD_BANNED where a ban keeps a leased machine from pay; empty otherwise."""


@dataclass(frozen=True, slots=True)
class Grounds:
    """Everything that scores are made from beside executors, reports and verdicts.

    It is kept before the first score is, so that whoever has the archive can make the same scores again.
    """

    scored_at: datetime
    policy_values: str
    """The policy itself, canonical JSON."""
    owner_hotkey: str
    neurons: tuple[Neuron, ...]
    standings: tuple[Standing, ...]
    """By executor key; a machine without one is new."""
    quotes: tuple[Quote, ...] = ()
    leases: tuple[Lease, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened between or in epochs and that explains a later score: a swap, a ban, a slash."""

    at: datetime
    kind: str
    """UPPER_CASE, e.g. CARDS_SWAPPED."""
    subject: str
    """Whom it concerns: an executor key, a hotkey, a card's UUID."""
    message: str
    statement: str = ""
    """Signed JSON that proves it, empty where nothing does."""


class BanKind(StrEnum):
    """What a ban is on."""

    MINER = "miner"
    """All machines of a hotkey."""
    CARD = "card"
    """Any machine that lists the UUID."""


@dataclass(frozen=True, slots=True)
class Ban:
    """Who is not paid whatever it proves, why, and until when."""

    kind: BanKind
    subject: str
    """A hotkey, or a card's UUID in small letters."""
    reason: str
    since: datetime
    until: datetime | None
    """None: until it is lifted."""
    banned_by: str
    """Who decided it, in the operator's words."""


# --- the epoch -------------------------------------------------------------------------------------


class EpochState(StrEnum):
    """Where an epoch stands; only moves by compare-and-set."""

    OPEN = "open"
    FINISHED = "finished"
    ABANDONED = "abandoned"
    """Its process died; what it had found out is archived."""


@dataclass(frozen=True, slots=True)
class EpochHeader:
    """What is fixed when an epoch opens; the same names as in its outcome."""

    epoch: int
    netuid: int
    block: int
    block_hash: str
    validator_hotkey: str
    policy: str
    policy_digest: str
    code_version: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class EpochSummary:
    """One line of the list of epochs."""

    header: EpochHeader
    state: EpochState
    finished_at: datetime | None
    executors: int
    paid: int
    """Executors with a score above 0."""


@dataclass(frozen=True, slots=True)
class PassRate:
    """How many machines of one epoch were proved."""

    epoch: int
    listed: int
    proved: int

    @property
    def share(self) -> float:
        """Proved of listed; 0 where nothing was listed."""
        return self.proved / self.listed if self.listed else 0.0


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of an epoch, for whoever watches it."""

    epoch: int
    name: str
    """discovery, inspection, proof, scoring, weights, archive."""
    done: int
    total: int
    note: str
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class EpochOutcome:
    """Everything that an epoch found out; the archive's input and the flow's result."""

    epoch: int
    netuid: int
    block: int
    block_hash: str
    validator_hotkey: str
    policy: str
    policy_digest: str
    code_version: str
    started_at: datetime
    finished_at: datetime
    state: EpochState
    replies: tuple[MinerReply, ...] = ()
    executors: tuple[Executor, ...] = ()
    reports: tuple[HostReport, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    scores: tuple[Score, ...] = ()
    weights: WeightVector | None = None
    weight_outcome: WeightOutcome | None = None
    incidents: tuple[Reason, ...] = field(default=())
    """What went wrong on our own side or the chain's."""
    grounds: Grounds | None = None
    """None when the epoch did not come as far as its scores."""
    phases: tuple[Phase, ...] = ()
    events: tuple[Event, ...] = ()
    """Those that happened since the last epoch was closed."""
