"""What goes over the wire between a renter and the marketplace, version 1: every request and every answer.

Times are ISO 8601 in UTC. Money is integers of micro-USD (1e-6 USD), and beside it the same as a decimal in text. What is
secret goes in only: no answer has a value of an environment, a registry's password, or a key but at its making.
An answer's `None` is "not yet" or "none"; a request's missing field is its default.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import ConfigDict, Field, HttpUrl

from deployments.marketplace.fields import (
    WHOLE,
    Base64,
    Bytes,
    ExecutorKey,
    Fingerprint,
    Id,
    ImageName,
    MicroUsd,
    Model,
    Moment,
    Name,
    PathInside,
    PortNumber,
    PublicKey,
    Seconds,
    Share,
    Short,
    Text,
    VariableName,
    VariableValue,
)
from storage.rental import Mode, OperationKind, OperationState, Party, RentalState, VolumeState
from storage.renter import DeliveryState, RenterState, Scope

MIB = 1 << 20
Item = TypeVar("Item", bound=Model)
Words = Annotated[tuple[Text, ...], Field(max_length=256)]
PublicKeys = Annotated[tuple[PublicKey, ...], Field(max_length=64)]
KeyNames = Annotated[tuple[Name, ...], Field(max_length=64)]
Environment = Annotated[
    dict[VariableName, VariableValue],
    Field(max_length=256, json_schema_extra={"additionalProperties": False}),
]
Json = dict[str, Any]


def example(body: Json) -> ConfigDict:
    """The OpenAPI shows it: the body of a request that would be taken."""
    return ConfigDict(json_schema_extra={"examples": [body]})


class Page(Model, Generic[Item]):
    """Some of what there is, and where the rest begins."""

    items: tuple[Item, ...]
    next_cursor: str | None = Field(
        default=None, description="Send it as `cursor` for what follows; null: there is no more."
    )


# --- errors ----------------------------------------------------------------------------------------


class Fault(Model):
    """One place of a request that does not fit."""

    where: str = Field(examples=["body.wish.card_count"])
    what: str = Field(examples=["Input should be greater than or equal to 0"])


class Problem(Model):
    """Why a request was refused, and what to do (RFC 9457)."""

    type: str = Field(examples=["/v1/problems#balance-too-low"])
    title: str = Field(examples=["Payment Required"])
    status: int = Field(examples=[402])
    detail: str = Field(examples=["balance is 0.100000 USD, 0.200000 USD are needed to begin"])
    code: str = Field(examples=["BALANCE_TOO_LOW"], description="Stable: programs may rely on it.")
    mend: str = Field(
        examples=["transfer TAO to the address of GET /v1/deposit, or choose a cheaper machine"]
    )
    errors: tuple[Fault, ...] = ()


# --- offers ----------------------------------------------------------------------------------------


class Offer(Model):
    """A machine as the last epoch proved it, with the cards that are free now."""

    executor_key: str = Field(examples=["5F3sa2TJAWMqDhXG6jhV4N8ko9SxwGy8TpaNS1repo5EYjQX/3f0e1a52"])
    model: str = Field(examples=["H100"])
    vram_gib: float = Field(examples=[79.6], description="Of each card.")
    card_count: int = Field(examples=[8])
    free_card_count: int = Field(examples=[8])
    min_card_count: int = Field(
        examples=[1], description="A lease has no fewer, unless it is the whole machine."
    )
    micro_usd_per_card_hour: int = Field(examples=[1_900_000])
    usd_per_card_hour: str = Field(examples=["1.900000"])
    micro_usd_per_hour: int = Field(examples=[15_200_000], description="Of the whole machine.")
    usd_per_hour: str = Field(examples=["15.200000"])
    performance: float = Field(examples=[0.98], description="Proved memory bandwidth over that of its model.")
    bandwidth_gb_s: float = Field(
        examples=[3_283.0], description="Proved of each card, 1e9 bytes a second; 0: the model is not known."
    )
    performance_per_usd: float = Field(
        examples=[0.52], description="Performance over the USD an hour of one card: more is better value."
    )
    reliability: float = Field(
        examples=[0.995], description="Share of its epochs that the machine has passed."
    )
    region: str = Field(examples=["eu-west"], description="Empty: not known.")
    epoch: int = Field(examples=[412], description="In which it was proved.")


class OfferQuery(Model):
    """What the machines are to be like; nothing: all that have a free card."""

    model: Short = ""
    count: Annotated[int, Field(ge=0, le=1_024, description="Free cards; 0: any.")] = 0
    min_vram_gib: Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)] = 0.0
    max_usd_per_hour: Annotated[
        float, Field(ge=0, le=1e9, allow_inf_nan=False, description="For `count` cards; 0: any price.")
    ] = 0.0
    region: Short = ""
    min_performance: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 0.0
    min_reliability: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0
    sort: Annotated[
        Literal["price", "value", "reliability"],
        Field(description="The cheapest card, the most performance per USD, or the most reliable first."),
    ] = "value"
    limit: Annotated[int, Field(ge=1, le=1_000)] = 100
    cursor: Annotated[str, Field(max_length=400, pattern=r"^[A-Za-z0-9_-]*$")] = ""


# --- leases: what is asked for -----------------------------------------------------------------------


class WishBody(Model):
    """Which machine: by its key, or any that fits."""

    executor_key: ExecutorKey | None = None
    model: Annotated[Short, Field(examples=["H100"])] = ""
    card_count: Annotated[
        int, Field(strict=True, ge=0, le=1_024, description="0: the whole machine, whatever it has."), WHOLE
    ] = 0
    min_vram_gib: Annotated[
        float, Field(strict=True, ge=0, le=10_000, allow_inf_nan=False, description="Of each card.")
    ] = 0.0
    max_micro_usd_per_hour: Annotated[
        MicroUsd, Field(description="For all cards together; 0: whatever it costs.")
    ] = 0
    min_performance: Annotated[float, Field(strict=True, ge=0, le=10, allow_inf_nan=False)] = 0.0
    min_reliability: Share = 0.0
    region: Short = ""
    mode: Mode = Mode.ON_DEMAND
    bid_micro_usd_per_hour: Annotated[
        MicroUsd, Field(description="Of a spot lease: the most that all cards together may cost.")
    ] = 0
    hours: Annotated[
        int,
        Field(strict=True, ge=0, le=87_600, description="Of a reserved lease: the hours committed."),
        WHOLE,
    ] = 0


class PortBody(Model):
    """A port of the container that is to be reached from outside; 22/tcp is always there."""

    inside: PortNumber
    protocol: Literal["tcp", "udp"] = "tcp"


class MountBody(Model):
    """A volume of the renter, where the container sees it."""

    volume: Name
    at: PathInside
    is_kept: bool = Field(
        default=True, strict=True, description="False: it is wiped when the lease has ended."
    )


class RegistryBody(Model):
    """Who may pull a private image. It is sealed at once, and never answered."""

    user: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f:]*$")]
    password: Annotated[str, Field(min_length=1, max_length=16_384, pattern=r"^[^\x00\r\n]*$")]
    server: Annotated[
        str,
        Field(max_length=255, pattern=r"^[A-Za-z0-9.:/_-]*$", description="Empty: the image's own registry."),
    ] = ""


class PodBody(Model):
    """What is to run. With a template, what is given here counts instead of the template's."""

    template: Annotated[Name, Field(examples=["pytorch"])] | None = None
    image: ImageName | None = None
    entrypoint: Text | None = None
    words: Annotated[Words, Field(description="Of the command; empty: the image's own.")] | None = None
    ports: Annotated[tuple[PortBody, ...], Field(max_length=31)] | None = None
    mounts: Annotated[tuple[MountBody, ...], Field(max_length=16)] | None = None
    shm_bytes: Annotated[int, Field(strict=True, ge=MIB, le=1 << 40), WHOLE] | None = None
    memory_bytes: Annotated[Bytes, Field(description="0: no limit.")] | None = None
    cpus: (
        Annotated[float, Field(strict=True, ge=0, le=4_096, allow_inf_nan=False, description="0: no limit.")]
        | None
    ) = None
    runtime: Literal["", "runc", "nvidia", "sysbox-runc"] | None = None
    environment: (
        Annotated[
            Environment,
            Field(description="Sealed at once: answers have the names alone."),
        ]
        | None
    ) = None
    registry: RegistryBody | None = None
    ssh_keys: Annotated[
        KeyNames | None, Field(description="Names of keys of /v1/ssh-keys; null: all of them.")
    ] = None
    public_keys: Annotated[
        PublicKeys, Field(description="Beside those: lines of an authorized_keys file.")
    ] = ()


class TermsBody(Model):
    """The renter's own limits; whichever is reached first counts."""

    ttl_s: Annotated[Seconds, Field(description="From the hand-over; 0: none.")] = 0
    cap_micro_usd: Annotated[MicroUsd, Field(description="What the lease may cost in all; 0: no cap.")] = 0
    idle_below_percent: Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)] = 0.0
    idle_for_s: Annotated[Seconds, Field(description="Stopped after so long below it; 0: never.")] = 0


class LeaseBody(Model):
    """A lease that is asked for."""

    model_config = example(
        {
            "wish": {
                "model": "H100",
                "card_count": 2,
                "max_micro_usd_per_hour": 5_000_000,
                "min_reliability": 0.99,
            },
            "pod": {
                "template": "pytorch",
                "ports": [{"inside": 8888}],
                "mounts": [{"volume": "data", "at": "/data"}],
                "environment": {"HF_HOME": "/data/hf"},
            },
            "terms": {
                "ttl_s": 7_200,
                "cap_micro_usd": 20_000_000,
                "idle_below_percent": 5.0,
                "idle_for_s": 1_800,
            },
        }
    )

    wish: WishBody = WishBody()
    pod: PodBody
    terms: TermsBody = TermsBody()
    ends_by: Moment | None = Field(default=None, description="It ends then at the latest.")


class LeaseChange(Model):
    """Limits to change; what is not given stays."""

    model_config = example({"ttl_s": 14_400, "cap_micro_usd": 40_000_000})

    ends_by: Moment | None = Field(default=None, description="null: no such limit any more.")
    ttl_s: Seconds | None = None
    cap_micro_usd: MicroUsd | None = None
    idle_below_percent: Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)] | None = None
    idle_for_s: Seconds | None = None


class ReplaceBody(Model):
    """Another image in the place of the one that runs: volumes, ports and cards stay."""

    model_config = example({"image": "ubuntu:24.04", "words": ["sleep", "infinity"]})

    template: Name | None = None
    image: ImageName | None = None
    entrypoint: Text | None = None
    words: Words | None = None
    environment: Environment | None = None
    registry: RegistryBody | None = None


class KeysBody(Model):
    """Who may log in from now on: those who may, and `add`, without `remove`."""

    model_config = example(
        {
            "add": [
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti me@laptop"
            ]
        }
    )

    add: Annotated[PublicKeys, Field(description="Lines of an authorized_keys file.")] = ()
    add_named: Annotated[KeyNames, Field(description="Names of keys of /v1/ssh-keys.")] = ()
    remove: Annotated[
        tuple[Fingerprint, ...], Field(max_length=64, description="As ssh-keygen -l shows them.")
    ] = ()


class BackupBody(Model):
    """What to copy: a volume that the lease has mounted, or a folder of its container."""

    model_config = example({"volume": "data"})

    volume: Name | None = None
    path: PathInside | None = None


class RestoreBody(Model):
    """What to write where: the same place by default."""

    model_config = example({"backup_id": "backup-70e112761ca8ca95", "path": "/root/old"})

    backup_id: Id
    volume: Name | None = None
    path: PathInside | None = None


class ExecBody(Model):
    """A command to run in the container: a vector of words, which no shell reads."""

    model_config = example({"argv": ["nvidia-smi", "-L"], "timeout_s": 30})

    argv: Annotated[tuple[Text, ...], Field(min_length=1, max_length=256, examples=[["nvidia-smi", "-L"]])]
    stdin: Annotated[Base64, Field(description="Base64 of what it reads.")] = ""
    timeout_s: Annotated[int, Field(strict=True, ge=1, le=300), WHOLE] = 60


# --- leases: what is answered ------------------------------------------------------------------------


class Wish(Model):
    """Which machine was asked for."""

    executor_key: str
    model: str
    card_count: int
    min_vram_gib: float
    max_micro_usd_per_hour: int
    min_performance: float
    min_reliability: float
    region: str
    mode: Mode
    bid_micro_usd_per_hour: int
    hours: int


class Pod(Model):
    """What runs; of its environment, the names."""

    template: str
    image: str
    entrypoint: str
    words: tuple[str, ...]
    ports: tuple[PortBody, ...]
    mounts: tuple[MountBody, ...]
    shm_bytes: int
    memory_bytes: int
    cpus: float
    runtime: str
    environment: tuple[str, ...] = Field(examples=[["HF_HOME"]])
    public_keys: tuple[str, ...]


class Terms(Model):
    """The renter's own limits; 0: none."""

    ttl_s: int
    cap_micro_usd: int
    idle_below_percent: float
    idle_for_s: int


class PublishedPort(Model):
    """A port of the container and the port of the machine that leads to it."""

    inside: int
    outside: int
    protocol: str


class Link(Model):
    """A page that the container serves."""

    name: str = Field(examples=["jupyter"])
    url: str = Field(examples=["http://203.0.113.7:31000/lab?token=5f1c"])


class Access(Model):
    """How to reach it."""

    address: str = Field(examples=["203.0.113.7"])
    ssh_port: int = Field(examples=[30_022])
    ports: tuple[PublishedPort, ...]
    host_key: str = Field(
        description="Of the container's SSH server: put it into known_hosts.", examples=["ssh-ed25519 AAAA"]
    )
    ssh_command: str = Field(examples=["ssh -p 30022 root@203.0.113.7"])
    image_digest: str
    container: str
    links: tuple[Link, ...] = Field(description="With their tokens, for keys that may rent.")


class Step(Model):
    """One step of the present attempt to provide it."""

    name: str = Field(examples=["pull"])
    seconds: float = Field(examples=[1.2])
    state: str = Field(examples=["done"], description="running, done, failed, cancelled or undone.")
    party: Party = Field(description="Whose fault it is that it failed.")
    why: str = Field(description="Why it failed.")


class Lease(Model):
    """A lease as it stands."""

    lease_id: str
    state: RentalState
    version: int = Field(description="Counts its changes.")
    queued: bool = Field(
        description="True: what was asked is kept, and begins as soon as there is somebody who does it."
    )
    detail: str = Field(default="", description="What it waits for, in words.")
    wish: Wish
    pod: Pod
    terms: Terms
    executor_key: str = Field(description="Empty while no machine is held.")
    card_uuids: tuple[str, ...]
    micro_usd_per_hour: int
    usd_per_hour: str
    cost_micro_usd: int = Field(description="So far.")
    cost_usd: str
    access: Access | None
    requested_at: Moment
    active_at: Moment | None
    stopped_at: Moment | None
    ended_at: Moment | None
    ends_by: Moment | None
    end_asked_at: Moment | None
    notice_until: Moment | None = Field(description="It is ended then: pre-empted, or by an operator.")
    party: Party
    reason: str
    steps: tuple[Step, ...]
    tried: tuple[str, ...] = Field(description="Machines that failed it.")


class Operation(Model):
    """Something asked of a lease, as it stands."""

    operation_id: str
    lease_id: str
    kind: OperationKind
    state: OperationState
    queued: bool
    asked_at: Moment
    begun_at: Moment | None
    ended_at: Moment | None
    arguments: Json
    party: Party
    reason: str
    result: Json


class ExecAnswer(Model):
    """What a command came to."""

    exit_code: int
    stdout: str = Field(description="Base64.")
    stderr: str = Field(description="Base64.")
    truncated: bool = Field(description="True: it printed more than is answered.")


class Logs(Model):
    """What a lease's program printed, stdout and stderr as they came."""

    lease_id: str
    text: str
    truncated: bool = Field(description="True: there was more than is answered.")


class LeaseEvent(Model):
    """Something that happened to a lease: in feeds, and in webhooks."""

    sequence: int
    lease_id: str
    at: Moment
    kind: str = Field(examples=["ACTIVE"])
    message: str
    facts: Json


class CardUse(Model):
    """One card at one moment."""

    card_uuid: str
    use_percent: float
    memory_used_mib: int
    memory_total_mib: int | None
    temperature_c: int | None
    power_w: float | None
    power_limit_w: float | None


class Sample(Model):
    """What a container used at one moment; null: the machine did not say."""

    at: Moment
    cards: tuple[CardUse, ...]
    cpu_percent: float | None = Field(description="Of one core: 250 is two and a half.")
    memory_bytes: int | None
    memory_limit_bytes: int | None
    received_bytes: int | None = Field(description="Since the container's start, as the next three.")
    sent_bytes: int | None
    read_bytes: int | None = Field(description="From disks.")
    written_bytes: int | None = Field(description="To disks.")
    pids: int | None = Field(description="Its processes.")


class Line(Model):
    """One transfer of money, as the renter's account has it."""

    transfer_id: str
    at: Moment
    kind: str = Field(examples=["METER"])
    lease_id: str
    micro_usd: int = Field(description="Below 0: the renter paid.")
    usd: str
    message: str


class Bill(Model):
    """What a lease has cost so far, line by line."""

    lease_id: str
    lines: tuple[Line, ...]
    micro_usd: int = Field(description="Of all lines: below 0 is what the renter paid.")
    usd: str
    unbilled_micro_usd: int = Field(description="Used, and in no line yet.")
    unbilled_usd: str


class Proof(Model):
    """One proof of a lease's cards, with everything that judges it again."""

    attempt: int
    occasion: str = Field(examples=["hand-over"])
    at: Moment
    executor_key: str
    code: str = Field(examples=["PROVED"])
    card_uuids: tuple[str, ...]
    verdict: Json
    transcript: str = Field(description="Base64 of the canonical JSON: the challenge and every reply.")
    transcript_blake2s: str = Field(description="64 hex digits, of its bytes.")


class Certificate(Model):
    """The proofs of the very cards rented, newest first."""

    lease_id: str
    proofs: tuple[Proof, ...]
    how_to_check: str


# --- what a renter keeps -----------------------------------------------------------------------------


class VolumeBody(Model):
    """A volume to keep; the first lease that mounts it makes it on its machine."""

    model_config = example({"name": "data"})

    name: Name


class Volume(Model):
    """A volume: it outlives the leases that mount it."""

    name: str
    executor_key: str = Field(description="The machine that it is on; empty: none yet.")
    created_at: Moment
    size_bytes: int | None = Field(description="As last measured.")
    lease_id: str = Field(description="The lease that has it mounted; empty: none.")
    state: VolumeState
    is_kept: bool


class Backup(Model):
    """A copy of a volume or of a folder, byte for byte."""

    backup_id: str
    lease_id: str
    source: str = Field(examples=["volume:data"])
    at: Moment
    size_bytes: int
    blake2b: str = Field(description="64 hex digits of its BLAKE2b-256; empty until it is whole.")
    state: str = Field(examples=["kept"])


class TemplateLink(Model):
    """A page that the template's container serves."""

    name: Name
    port: PortNumber
    path: Annotated[
        str,
        Field(max_length=500, pattern=r"^/[!-~]*$", description="`{TOKEN}`: the value of that variable."),
    ] = "/"


class TemplateBody(Model):
    """A template to keep."""

    model_config = example({"about": "training", "pod": {"image": "me/train:3", "shm_bytes": 8_589_934_592}})

    about: Annotated[str, Field(max_length=2_000, pattern=r"^[^\x00]*$")] = ""
    pod: PodBody


class NewTemplateBody(TemplateBody):
    """A template to keep, with its name."""

    model_config = example({"name": "train", "about": "training", "pod": {"image": "me/train:3"}})

    name: Name


class Template(Model):
    """A pod that is started often."""

    name: str
    about: str
    is_own: bool = Field(description="False: it comes with the marketplace.")
    seen_running: bool = Field(description="False: it is defined and pinned, and was not run yet here.")
    note: str = Field(examples=["not yet run here"])
    pod: Pod
    links: tuple[TemplateLink, ...]
    created_at: Moment | None
    updated_at: Moment | None


class SshKeyBody(Model):
    """A public key to keep."""

    model_config = example(
        {
            "name": "laptop",
            "public_line": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti me@laptop",
        }
    )

    name: Name
    public_line: PublicKey


class SshKey(Model):
    """A public key that is kept."""

    name: str
    public_line: str
    fingerprint: str
    created_at: Moment


class ApiKeyBody(Model):
    """A key to make."""

    model_config = example({"name": "ci", "scopes": ["read", "rent"], "expires_at": "2027-01-01T00:00:00Z"})

    name: Annotated[Short, Field(min_length=1, examples=["ci"])]
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=4)]
    expires_at: Moment | None = Field(default=None, description="null: never.")


class RotateBody(Model):
    """How long the old key goes on beside the new one."""

    model_config = example({"overlap_s": 3_600})

    overlap_s: Annotated[int, Field(strict=True, ge=0, le=604_800), WHOLE] = 3_600


class ApiKey(Model):
    """A key, without its secret."""

    key_id: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    last_used_at: Moment | None


class NewApiKey(ApiKey):
    """A key that was just made."""

    token: str = Field(
        description="Shown this once: nobody can read it again.",
        examples=["sn_0123456789abcdef_this-is-an-example-and-opens-nothing-00000"],
    )


class WebhookBody(Model):
    """An address that is told what happens."""

    model_config = example({"url": "https://hooks.example.com/leases", "kinds": ["ACTIVE", "ENDED"]})

    url: Annotated[HttpUrl, Field(examples=["https://hooks.example.com/leases"])]
    kinds: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")], ...],
        Field(max_length=64, description="Of events, e.g. ACTIVE, ENDED; none: all."),
    ] = ()


class WebhookChange(Model):
    """What of a webhook to change; what is not given stays."""

    model_config = example({"is_enabled": True})

    url: HttpUrl | None = None
    kinds: (
        Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")], ...], Field(max_length=64)]
        | None
    ) = None
    is_enabled: bool | None = Field(
        default=None, strict=True, description="True: told again, of what happens from now on."
    )


class Webhook(Model):
    """An address that is told what happens."""

    webhook_id: str
    url: str
    kinds: tuple[str, ...]
    is_enabled: bool
    created_at: Moment
    failing_since: Moment | None = Field(description="null: the last delivery was taken.")
    disabled_at: Moment | None


class NewWebhook(Webhook):
    """A webhook that was just made, or whose secret was changed."""

    secret: str = Field(
        description="Signs its deliveries (HMAC-SHA256). Shown this once.", examples=["whsec_example"]
    )


class Delivery(Model):
    """One event on its way to a webhook."""

    delivery_id: str
    lease_id: str
    kind: str
    state: DeliveryState
    attempts: int
    created_at: Moment
    next_at: Moment | None = Field(description="null: it is not tried again.")
    ended_at: Moment | None
    http_status: int | None = Field(description="Of the last attempt; null: there was no answer.")
    fault: str


# --- money and oneself -------------------------------------------------------------------------------


class Renter(Model):
    """Who the key belongs to."""

    renter_id: str
    state: RenterState
    reason: str
    grace_until: Moment | None
    key_id: str
    scopes: tuple[Scope, ...]


class Balance(Model):
    """What the renter has."""

    micro_usd: int
    usd: str
    micro_usd_per_hour: int = Field(description="What its running leases cost together.")
    usd_per_hour: str
    lasts_s: int | None = Field(description="Seconds that it lasts at that rate; null: nothing runs.")


class InvoiceLease(Model):
    """What one lease cost in a month."""

    lease_id: str
    micro_usd: int
    usd: str


class Invoice(Model):
    """One calendar month (UTC) of the renter's account: opening + deposited + credited - charged = closing."""

    month: str = Field(examples=["2026-08"])
    opening_micro_usd: int
    deposited_micro_usd: int = Field(description="From the chain, and given by an operator.")
    credited_micro_usd: int = Field(description="Given back for faults of machines and of the platform.")
    charged_micro_usd: int
    closing_micro_usd: int
    charged_usd: str
    closing_usd: str
    leases: tuple[InvoiceLease, ...]


class Deposit(Model):
    """How to put money into the account."""

    address: str = Field(description="Where to transfer TAO to; empty: this marketplace takes none.")
    memo: str = Field(description="What to send with it, so that it is known whose it is; empty: nothing.")
    network: str
    how: str


class Health(Model):
    """Whether the marketplace can do its work."""

    status: Literal["ok", "degraded"]
    epoch: int | None = Field(description="The last one whose machines are offered.")
    offers: int
    queued: int = Field(description="Requests that nobody has begun yet.")
    orchestrator: Literal["ok", "away", "failing", "unknown"]
    detail: str
