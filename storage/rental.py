"""The nouns of renting: frozen records of leases, of what is asked of them, and of the money that they move.

    Wish, Pod, Terms -> Rental (requested -> reserved -> provisioning -> active <-> stopped -> ending -> ended | failed)
    Operation: something that a renter asks of a lease that stands; Work: what a worker is to do, written with the request
    Transfer: two or more entries that sum to zero; a balance is the sum of an account's entries

Money is integers of micro-USD (1e-6 USD); times are aware UTC datetimes; seconds that are paid are whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

MIB = 1 << 20


class RentalState(StrEnum):
    """Where a lease stands; it only moves by compare-and-set on its version, along `tasks/renting/moves.py`."""

    REQUESTED = "requested"
    """Wanted; no machine is held for it."""
    RESERVED = "reserved"
    """A machine's cards are held, nothing has been done on it."""
    PROVISIONING = "provisioning"
    """Something is being done on the machine: from here on there may be something to undo there."""
    ACTIVE = "active"
    """Handed over: the renter pays by the second."""
    STOPPED = "stopped"
    """The container stands still and its data are kept; its cards are free, unless the lease is a reserved one."""
    ENDING = "ending"
    """Torn down: no way back."""
    ENDED = "ended"
    FAILED = "failed"
    """Never handed over, and nothing of it is left."""


class Party(StrEnum):
    """Whose fault the end of a lease is; nobody's when it ended as it should."""

    NOBODY = "nobody"
    MACHINE = "machine"
    RENTER = "renter"
    PLATFORM = "platform"


class Mode(StrEnum):
    """How a lease is paid, and what may take it away."""

    ON_DEMAND = "on_demand"
    RESERVED = "reserved"
    """For committed hours at a discount: its cards are held and paid, stopped or not."""
    SPOT = "spot"
    """At a bid: it gives way to who pays the full price, after a notice."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a renter asks for: a machine by its key, or any that fits."""

    executor_key: str = ""
    """Empty: any that fits the rest."""
    model: str = ""
    """The table's name; empty: any."""
    card_count: int = 0
    """0: the whole machine, whatever it has."""
    min_vram_gib: float = 0.0
    """Of each card."""
    max_micro_usd_per_hour: int = 0
    """For all cards together; 0: whatever it costs."""
    min_performance: float = 0.0
    """Proved bandwidth over the model's class."""
    min_reliability: float = 0.0
    """Share of its epochs that the machine has passed."""
    region: str = ""
    """Empty: anywhere."""
    mode: Mode = Mode.ON_DEMAND
    bid_micro_usd_per_hour: int = 0
    """Of a spot lease, for all cards together."""
    hours: int = 0
    """Committed, of a reserved lease."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The renter's own limits; whichever is reached first ends the lease."""

    ttl_s: int = 0
    """From the hand-over; 0: none."""
    cap_micro_usd: int = 0
    """What the lease may cost in all; 0: no cap."""
    idle_below_percent: float = 0.0
    """GPU use below which it counts as idle."""
    idle_for_s: int = 0
    """Stopped after being idle so long; 0: never."""


@dataclass(frozen=True, slots=True)
class PodPort:
    """A port of the container that is to be reached from outside."""

    inside: int
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True)
class PodMount:
    """A volume of the renter, where the container sees it."""

    volume: str
    at: str
    is_kept: bool = True
    """Whether it outlives the lease; else it is wiped at the teardown."""


@dataclass(frozen=True, slots=True)
class Pod:
    """What runs: nothing of it is secret."""

    image: str = ""
    entrypoint: str = ""
    """Empty: the image's own."""
    words: tuple[str, ...] = ()
    """Of the command; empty: the image's own."""
    ports: tuple[PodPort, ...] = ()
    """Beside 22/tcp, which is always there."""
    mounts: tuple[PodMount, ...] = ()
    shm_bytes: int = 64 * MIB
    memory_bytes: int = 0
    """0: no limit."""
    cpus: float = 0.0
    """0: no limit."""
    runtime: str = ""
    """OCI runtime, e.g. sysbox-runc; empty: the engine's own."""
    template: str = ""
    """The template's name that it was made from; empty: none."""
    public_keys: tuple[str, ...] = ()
    """Lines of an authorized_keys file: who may log in."""
    environment: tuple[str, ...] = ()
    """Names alone: the values are sealed."""


@dataclass(frozen=True, slots=True)
class Published:
    """A port of the container and the port of the machine that leads to it."""

    inside: int
    outside: int
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True)
class Access:
    """How the renter reaches what was handed over."""

    address: str
    ssh_port: int
    ports: tuple[Published, ...]
    """All of them, that of SSH too."""
    host_key: str
    """Of the container's SSH server: `ssh-ed25519 AAAA...`."""
    image_digest: str
    container: str
    """Its name on the machine: `subnet-<lease>-<attempt>`."""


@dataclass(frozen=True, slots=True)
class CardUse:
    """What a card does at a moment; None: it does not say."""

    uuid: str
    percent: float
    """Its utilisation."""
    memory_mib: int
    memory_total_mib: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None


@dataclass(frozen=True, slots=True)
class Rental:
    """One lease, from the request to its end."""

    lease_id: str
    renter_id: str
    idempotency_key: str
    """Chosen by the renter: one key is one lease, whatever the retries."""
    wish: Wish
    state: RentalState
    version: int
    """Counts its moves: each is a compare-and-set on it."""
    requested_at: datetime
    moved_at: datetime
    pod: Pod = Pod()
    terms: Terms = Terms()
    sealed: bytes = b""
    """Secret values of the pod, encrypted (`storage/sealing.py`)."""
    attempt: int = 0
    """Counts what was begun on machines: each has a container's name of its own."""
    executor_key: str = ""
    """Empty while no machine is held."""
    card_uuids: tuple[str, ...] = ()
    """The cards that are its own, held or, while it is stopped, free for others."""
    is_holding: bool = False
    """Whether its cards are held for it."""
    micro_usd_per_hour: int = 0
    """For all its cards, fixed when they are reserved."""
    tried: tuple[str, ...] = ()
    """Machines that failed it, and are not tried again."""
    access: Access | None = None
    active_at: datetime | None = None
    """The first hand-over."""
    stopped_at: datetime | None = None
    """Since when it is stopped."""
    paid_s: int = 0
    """Whole seconds of the paid intervals that are over."""
    paid_from: datetime | None = None
    """Begin of the paid interval that is running; None: nothing is to be paid now."""
    ended_at: datetime | None = None
    """The moment up to which it counts: when its end was asked for, or it failed."""
    ends_by: datetime | None = None
    """The renter's own limit; None: until it is ended."""
    end_asked_at: datetime | None = None
    """Set in any open state; whoever works on the lease then undoes what it began, and ends it."""
    end_party: Party = Party.NOBODY
    end_reason: str = ""
    notice_until: datetime | None = None
    """When a lease that gives way, or that an operator stops, is ended."""
    warned_at: datetime | None = None
    """When its renter was told that the balance ends."""
    party: Party = Party.NOBODY
    reason: str = ""
    """Why it failed or ended: the step and what went wrong, in words."""


class OperationKind(StrEnum):
    """What can be asked of a lease that was handed over."""

    STOP = "stop"
    START = "start"
    REBOOT = "reboot"
    REPLACE = "replace"
    """Run another image, with the same volumes, ports and cards."""
    KEYS = "keys"
    BACKUP = "backup"
    RESTORE = "restore"


class OperationState(StrEnum):
    """Where an operation stands."""

    ASKED = "asked"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Operation:
    """Something asked of a lease: one at a time, in the order in which they were asked."""

    operation_id: str
    lease_id: str
    idempotency_key: str
    kind: OperationKind
    state: OperationState
    asked_at: datetime
    arguments: str = "{}"
    """JSON, nothing secret."""
    sealed: bytes = b""
    """Secret arguments, encrypted."""
    begun_at: datetime | None = None
    ended_at: datetime | None = None
    party: Party = Party.NOBODY
    reason: str = ""
    """Why it failed: the step and what went wrong, in words."""
    result: str = "{}"
    """JSON."""


class WorkKind(StrEnum):
    """Which flow is to run."""

    RENT = "rent"
    TEARDOWN = "teardown"
    OPERATE = "operate"
    COPY = "copy"
    """The same for what copies much data: it has slots of its own, so that nothing else waits for it."""


COPIES = frozenset({OperationKind.BACKUP, OperationKind.RESTORE})
"""Operations that take as long as their data are large."""


@dataclass(frozen=True, slots=True)
class Work:
    """Something to do, written in the transaction that asked for it: no request is lost with Prefect away."""

    work_id: str
    """Names the flow run too: what is started twice runs once."""
    kind: WorkKind
    subject: str
    """The lease's or the operation's name."""
    asked_at: datetime
    flow_run_id: str = ""
    """Empty: not started yet."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who works on a lease, and until when nobody else may."""

    subject: str
    holder: str
    until: datetime


@dataclass(frozen=True, slots=True)
class LeaseEvent:
    """Something that happened to a lease, kept in the transaction in which it did."""

    sequence: int
    """1, 2, 3 over all leases, without gaps, in the order in which they were kept."""
    lease_id: str
    renter_id: str
    at: datetime
    kind: str
    """UPPER_CASE: a state that it came to, or e.g. STEP, END_ASKED."""
    message: str
    facts: str = "{}"
    """JSON."""


@dataclass(frozen=True, slots=True)
class Happening:
    """What is told of a lease beside its move: an event that has no number yet."""

    kind: str
    message: str = ""
    facts: str = "{}"
    """JSON."""


class VolumeState(StrEnum):
    """Where a volume stands."""

    NEW = "new"
    """On no machine yet: the first lease that mounts it makes it."""
    KEPT = "kept"
    DOOMED = "doomed"
    """To be wiped; its name is free when it is."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A renter's volume: it outlives the leases that mount it, and one lease at a time does."""

    renter_id: str
    name: str
    executor_key: str
    """The machine that it is on; empty while it is new."""
    created_at: datetime
    size_bytes: int | None = None
    """As last measured."""
    lease_id: str = ""
    """The lease that has it mounted; empty: none."""
    state: VolumeState = VolumeState.NEW
    is_kept: bool = True
    """Whether it outlives the lease that mounts it."""


@dataclass(frozen=True, slots=True)
class LeftVolume:
    """What may be left of a volume on a machine that is not, or no more, the volume's: it is wiped there, its name is free."""

    renter_id: str
    name: str
    executor_key: str


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of a volume or of a folder of a container, byte for byte."""

    backup_id: str
    lease_id: str
    renter_id: str
    source: str
    """`volume:<name>` or `path:<absolute path in the container>`."""
    at: datetime
    size_bytes: int = 0
    blake2b: str = ""
    """64 hex digits of the file's BLAKE2b-256; empty until it is whole."""
    state: str = "writing"
    """writing, kept, failed."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The proof of a lease's cards at its hand-over, or after its end, with everything that judges it again."""

    lease_id: str
    attempt: int
    occasion: str
    """`hand-over`, `in-use` or `return`."""
    at: datetime
    executor_key: str
    code: str
    """PROVED or the code of the failure."""
    card_uuids: tuple[str, ...]
    verdict: str
    """JSON: the verdict without its transcript."""
    transcript: bytes
    """Canonical JSON, zstd in the table: challenge and replies (docs/gpu-proof.md)."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A machine as renters find it: what the last epoch proved, and which of its cards are free."""

    executor_key: str
    model: str
    vram_gib: float
    """Of each card."""
    card_uuids: tuple[str, ...]
    """All of its cards, held ones too."""
    micro_usd_per_card_hour: int
    performance: float
    reliability: float
    region: str = ""
    """Empty: not known."""
    epoch: int = 0
    """In which it was proved."""
    min_cards: int = 1
    """Its miner leases no fewer, unless they are the whole machine."""
    paused_from: datetime | None = None
    """Its miner wants no new lease from then on."""

    @property
    def micro_usd_per_hour(self) -> int:
        """Of the whole machine."""
        return self.micro_usd_per_card_hour * len(self.card_uuids)


@dataclass(frozen=True, slots=True)
class Entry:
    """One side of a transfer."""

    account: str
    """`renter:<id>`, `miner:<hotkey>`, `platform`, `escrow:<lease>`, `outside` (the chain, an operator's credit), `unclaimed`
    and `treasury` (rao on the deposit address, before and after they are credited)."""
    micro_usd: int
    """Above 0: the account has more."""
    rao: int = 0
    """The same in rao of TAO; a transfer sums to zero in each of the two."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Money that moved, once and for ever: nothing of it is changed later, what was wrong is transferred back."""

    transfer_id: str
    """Names what it is for: the same event has the same name, so that a retry moves nothing twice."""
    at: datetime
    kind: str
    """UPPER_CASE, e.g. DEPOSIT, METER, CREDIT_NOTE."""
    entries: tuple[Entry, ...]
    lease_id: str = ""
    message: str = ""
