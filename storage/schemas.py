"""The schemas of the Parquet history: every column with its type, its unit and its meaning, defined once.

Each column's meaning travels in the file itself (field metadata `about`), and docs/history.md is written from
it. A new or changed column raises VERSION; readers fill a column that an older file lacks with nulls.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

import pyarrow as pa

VERSION = 3

_TEXT, _INT, _FLOAT, _BOOL, _BYTES = pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.binary()
_TIME = pa.timestamp("us", tz="UTC")


def _field(name: str, kind: pa.DataType, about: str, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"about": about})


def _maybe(name: str, kind: pa.DataType, about: str) -> pa.Field:
    return _field(name, kind, about, nullable=True)


def _struct(**kinds: pa.DataType) -> pa.DataType:
    return pa.list_(pa.struct([pa.field(name, kind) for name, kind in kinds.items()]))


def _schema(table: str, *fields: pa.Field, since: int = 1) -> pa.Schema:
    """`since`: epochs of older schemas have no file of this table."""
    return pa.schema(fields, metadata={"table": table, "schema_version": str(VERSION), "since": str(since)})


_REASONS = _struct(code=_TEXT, severity=_TEXT, got=_TEXT, wanted=_TEXT, mend=_TEXT, is_shadow=_BOOL)
_CARDS = _struct(
    index=_INT,
    uuid=_TEXT,
    model=_TEXT,
    vram_mib=_INT,
    driver=_TEXT,
    graphics_clock_mhz=_INT,
    memory_clock_mhz=_INT,
    power_limit_w=_FLOAT,
    power_default_w=_FLOAT,
    pcie_generation=_INT,
    pcie_width=_INT,
    utilisation_pct=_INT,
    memory_used_mib=_INT,
)
_PROCESSES = _struct(pid=_INT, card_uuid=_TEXT, name=_TEXT, memory_mib=_INT, owner=_TEXT)
_STEPS = _struct(name=_TEXT, seconds=_FLOAT)
_RAW = _struct(name=_TEXT, exit_code=_INT, blake2s=_TEXT, size_bytes=_INT, duration_s=_FLOAT)

_EPOCH = _field("epoch", _INT, "block // 50: the epoch's name")
_KEY = _field("executor_key", _TEXT, "miner hotkey / executor id: unique over the network")
_REASONS_FIELD = _field(
    "reasons",
    pa.list_(_REASONS.value_type),
    "all reasons: code, severity, got, wanted, mend, whether in shadow",
)

EPOCHS = _schema(
    "epochs",
    _EPOCH,
    _field("netuid", _INT, "the subnet"),
    _field("block", _INT, "the pinned block of the snapshot"),
    _field("block_hash", _TEXT, "its hash, 0x and 64 hex digits"),
    _field("validator_hotkey", _TEXT, "SS58 address of the validator"),
    _field("policy", _TEXT, "name of the policy"),
    _field("policy_digest", _TEXT, "16 hex digits of the policy's values"),
    _field("code_version", _TEXT, "version of the code"),
    _maybe("policy_values", _TEXT, "the policy itself, canonical JSON; null when there are no scores"),
    _maybe("scored_at", _TIME, "UTC; the moment that scores are meant for; null when there are none"),
    _maybe("owner_hotkey", _TEXT, "SS58 address of the subnet's owner; null when there are no scores"),
    _field("started_at", _TIME, "UTC; its day is the partition"),
    _field("finished_at", _TIME, "UTC; of an abandoned epoch, its last sign of life"),
    _field("state", _TEXT, "finished or abandoned"),
    _field("incidents", _REASONS, "trouble of our own side or the chain's, as reasons"),
    _maybe("burn_share", _FLOAT, "share for the owner's uid, 0..1; null when no weights were made"),
    _maybe(
        "weight_first_epoch", _INT, "scores from this epoch on are in the weights; null: of its own alone"
    ),
    _maybe("weight_status", _TEXT, "how setting the weights ended; null when it was not tried"),
    _maybe("weight_code", _TEXT, "the chain's or our name for a refusal"),
    _maybe("weight_message", _TEXT, "the refusal in words"),
    _maybe("weight_block", _INT, "block of inclusion or refusal"),
    _maybe("weight_extrinsic_id", _TEXT, "the extrinsic's id on the chain"),
    _maybe("weight_retry_after_blocks", _INT, "blocks until the chain allows it again"),
    _maybe("weight_dropped_hotkeys", pa.list_(_TEXT), "left out: their uid belongs to another hotkey now"),
)

MINER_REPLIES = _schema(
    "miner_replies",
    _EPOCH,
    _field("hotkey", _TEXT, "SS58 address of the miner"),
    _field("uid", _INT, "its uid at discovery"),
    _REASONS_FIELD,
    _field("evidence", _BYTES, "its signed answer as it came (JSON); empty when there is none"),
)

EXECUTORS = _schema(
    "executors",
    _EPOCH,
    _KEY,
    _field("executor_id", _TEXT, "the miner's own name for the machine"),
    _field("miner_hotkey", _TEXT, "SS58 address of the miner"),
    _field("miner_uid", _INT, "its uid at discovery"),
    _field("miner_registered_at_block", _INT, "block of the miner's registration"),
    _field("address", _TEXT, "literal IPv4 or IPv6 address of the SSH server"),
    _field("port", _INT, "TCP port of the SSH server"),
    _field("user", _TEXT, "user to log in as"),
    _field("python", _TEXT, "absolute path of the interpreter"),
    _field("host_key", _BYTES, "ed25519 host public key, SSH wire form, 51 bytes"),
    _field("price_usd_per_hour", _FLOAT, "USD an hour for the machine, as the miner declares"),
)

REPORTS = _schema(
    "reports",
    _EPOCH,
    _KEY,
    _field("cards", _CARDS, "the cards as nvidia-smi lists them: MiB, MHz, W, per cent"),
    _maybe("gpu_count", _INT, "cards as `nvidia-smi -L` counts them"),
    _field("processes", _PROCESSES, "processes on the cards and who owns them"),
    _maybe("cpu_model", _TEXT, "model of the CPU"),
    _maybe("cpu_count", _INT, "logical CPUs"),
    _maybe("ram_bytes", _INT, "bytes of memory"),
    _maybe("disk_free_bytes", _INT, "free bytes on the working directory's disk"),
    _maybe("os_id", _TEXT, "ID of os-release"),
    _maybe("os_version", _TEXT, "VERSION_ID of os-release"),
    _maybe("kernel", _TEXT, "release of the kernel"),
    _maybe("container_runtime", _TEXT, "name and version of the container engine"),
    _field("container_runtimes", pa.list_(_TEXT), "OCI runtimes that the engine offers"),
    _maybe("uptime_s", _FLOAT, "seconds since the machine's boot"),
    _field("network_interfaces", pa.list_(_TEXT), "names of the network interfaces"),
    _field("raw", _RAW, "each command's output: exit code, blake2s of stdout, bytes, seconds"),
    _maybe("bandwidth_up_mbit_s", _FLOAT, "Mbit/s from the executor, this epoch alone"),
    _maybe("bandwidth_down_mbit_s", _FLOAT, "Mbit/s to the executor, this epoch alone"),
    _maybe("bandwidth_samples", _INT, "samples taken; null when bandwidth was not measured"),
    _maybe("bandwidth_rtt_ms", _FLOAT, "round trip on the channel; null before schema 2"),
    _REASONS_FIELD,
    _field("connect_s", _FLOAT, "seconds until the SSH session stood"),
    _field("duration_s", _FLOAT, "seconds of the whole inspection"),
    _maybe("steps", _STEPS, "seconds of each step of the visit; null in older files"),
)

VERDICTS = _schema(
    "verdicts",
    _EPOCH,
    _KEY,
    _field("code", _TEXT, "PROVED, NOT_TRIED or the code of the failure"),
    _maybe("severity", _TEXT, "null when proved, else fail, no_verdict or warn"),
    _REASONS_FIELD,
    _field("transcript", _BYTES, "canonical JSON of the whole proof, for anyone to verify again"),
    _field("bytes_received", _INT, "bytes that the machine sent during the proof"),
    _maybe("steps", _STEPS, "seconds of each step of the proof; null in older files"),
)

PROOFS = _schema(
    "proofs",
    _EPOCH,
    _KEY,
    _field("card_uuid", _TEXT, "UUID of the card"),
    _field("card_index", _INT, "its index on the machine"),
    _field("passed", _BOOL, "whether this card is proved"),
    _field("code", _TEXT, "PROVED, or the first thing that did not hold"),
    _field("detail", _TEXT, "that thing in words"),
    _field("memory_bytes", _INT, "bytes of proved resident memory"),
    _field("walk_s", _FLOAT, "seconds of the random walk"),
    _field("multiply_s", _FLOAT, "seconds of the multiplication"),
    _field("bandwidth_gb_s", _FLOAT, "10^9 bytes a second, read at random over all of the memory"),
    _field("operations_tera_s", _FLOAT, "10^12 operations a second; a multiply-add is two"),
)

SCORES = _schema(
    "scores",
    _EPOCH,
    _KEY,
    _field("miner_hotkey", _TEXT, "SS58 address of the miner"),
    _field("miner_uid", _INT, "its uid at discovery"),
    _field("model", _TEXT, "model of the cards; empty when unknown"),
    _field("card_count", _INT, "cards"),
    _field("vram_bytes", _INT, "bytes, as nvidia-smi lists them, all cards together"),
    _field("rate_usd_per_hour", _FLOAT, "term: market rate of one card, USD an hour"),
    _field("performance", _FLOAT, "term: proved bandwidth of the slowest card over its class"),
    _field("bandwidth", _FLOAT, "term: network, smoothed, 0..1"),
    _field("uptime", _FLOAT, "term: ramp of unbroken passing, 0..1"),
    _field("collateral", _FLOAT, "term: 1, or the policy's factor without cover"),
    _field("passed", _FLOAT, "term: 1 when inspection and proof let it be paid, else 0"),
    _field("score", _FLOAT, "product of the formula's columns (docs/scoring.md); what weights are made of"),
    _REASONS_FIELD,
    _field("formula", _TEXT, "default, lium-2025 or lium-2026"),
    _maybe("enforced_score", _FLOAT, "score if no term had been in shadow; null before schema 3"),
    _field("isolation", _FLOAT, "term: the container runtime's; of lium-2026, for the leased part"),
    _field("occupancy", _FLOAT, "term: leased or idle"),
    _field("price", _FLOAT, "term: the declared price against the market's"),
    _field("capacity", _FLOAT, "term: cards paid over cards there, of its model and shape, 0..1"),
    _field("portion", _FLOAT, "lium, term: share of the emission for its model, 0..1"),
    _field("card_share", _FLOAT, "lium, term: its cards over all counted cards of its model, 0..1"),
    _field("leased_cards", _INT, "cards that are leased"),
    _field("leased_points", _FLOAT, "lium-2026: product of the leased part's terms"),
    _field("leased_total", _FLOAT, "lium-2026: all machines' leased_points; 1 where they are nothing"),
    _field("leased_pool", _FLOAT, "lium-2026: share of the emission for leased cards, 0..1"),
    _field("idle_cards", _INT, "cards that are not"),
    _field("idle_isolation", _FLOAT, "lium-2026, term: the container runtime's, for the idle part"),
    _field("driver", _FLOAT, "lium-2026, term: 1, or 0 for a driver that is too old; idle part alone"),
    _field("programme", _FLOAT, "lium-2026, term: 1 where the idle programme takes the machine, else 0"),
    _field("idle_points", _FLOAT, "lium-2026: product of the idle part's terms, USD an hour"),
    _field("idle_total", _FLOAT, "lium-2026: all machines' idle_points, USD an hour; 1 where they are 0"),
    _field("idle_pool", _FLOAT, "lium-2026: share of the emission for idle cards, 0..1"),
)

WEIGHTS = _schema(
    "weights",
    _EPOCH,
    _field("kind", _TEXT, "meant: what the epoch wanted; landed: what the chain had afterwards"),
    _field("uid", _INT, "uid: of a meant row at discovery, of a landed row on the chain"),
    _field("hotkey", _TEXT, "SS58 address"),
    _field("weight", _FLOAT, "share of the emission, 0..1; the rows of a kind sum to 1"),
)

NEURONS = _schema(
    "neurons",
    _EPOCH,
    _field("uid", _INT, "uid on the subnet, at the pinned block"),
    _field("hotkey", _TEXT, "SS58 address"),
    _field("coldkey", _TEXT, "SS58 address of its owner"),
    _maybe("endpoint", _TEXT, "host:port of its axon; null when it serves none"),
    _field("is_active", _BOOL, "whether the chain counts it as active"),
    _field("has_permit", _BOOL, "whether it may set weights for others"),
    _field("stake_rao", _INT, "rao of stake that counts for consensus"),
    _field("last_update_block", _INT, "block at which it last set weights"),
    _field("registered_at_block", _INT, "block of its registration"),
    _field("incentive", _FLOAT, "share of the miners' emission, 0..1"),
    _field("dividends", _FLOAT, "share of the validators' emission, 0..1"),
    _maybe("collateral_locked_rao", _INT, "rao locked on the chain; null without the pallet"),
    since=3,
)

STANDINGS = _schema(
    "standings",
    _EPOCH,
    _KEY,
    _maybe("first_seen", _TIME, "UTC"),
    _field("epochs_seen", _INT, "earlier epochs in which it was listed, with a verdict or without"),
    _field("epochs_passed", _INT, "earlier epochs passed"),
    _field("consecutive_passed", _INT, "epochs passed since the last failure"),
    _maybe("passed_since", _TIME, "UTC; begin of the unbroken run of passing"),
    _maybe("model", _TEXT, "model of the first passed epoch"),
    _maybe("card_count", _INT, "cards of the first passed epoch"),
    _field("card_uuids", pa.list_(_TEXT), "UUIDs of the cards of the first passed epoch"),
    _maybe("up_mbit_s", _FLOAT, "Mbit/s from the executor, smoothed over earlier epochs"),
    _maybe("down_mbit_s", _FLOAT, "Mbit/s to the executor, smoothed over earlier epochs"),
    _field("no_verdicts_in_a_row", _INT, "earlier epochs since the last verdict, at most 2"),
    _field("verified_count", _INT, "verdicts since the last reset"),
    _field("verified_failed", _INT, "failed ones among them"),
    _field("resets", _INT, "how often counters and run were set back"),
    _maybe("reset_at", _TIME, "UTC; the last time"),
    _field("reset_code", _TEXT, "why the last time: a reason's code or FAILURE_BUDGET; empty when never"),
    _field("last_score", _FLOAT, "score of the last epoch with a verdict, USD an hour"),
    _maybe("last_score_epoch", _INT, "that epoch"),
    _field("kept_scores", _INT, "epochs without a verdict for which the last score was kept"),
    _maybe("swapped_at", _TIME, "UTC; when the newest swap of cards that counted was signed"),
    _field("announced_uuids", pa.list_(_TEXT), "cards that the swap announced; empty once they passed"),
    _maybe("carried_over", _INT, "earlier epochs in a row that did not come to it; null in older files"),
    _field("is_leased", _BOOL, "whether a renter had it"),
    _field("deposited_rao", _INT, "rao of free collateral in the validator's own ledger"),
    _field("ban_code", _TEXT, "the ban that keeps a leased machine from pay; empty: none"),
    since=3,
)

PRICES = _schema(
    "prices",
    _EPOCH,
    _field(
        "kind", _TEXT, "rate (USD an hour and card), token (USD or TAO), revenue or portion (shares of 1)"
    ),
    _field("name", _TEXT, "the model's name, or tao_usd, alpha_tao"),
    _field("value", _FLOAT, "the number as scoring used it"),
    _field("source", _TEXT, "names of its sources, comma between; table: the code's own"),
    _field("as_of", _TIME, "UTC; when it was true at its source"),
    since=3,
)

LEASES = _schema(
    "leases",
    _EPOCH,
    _field("lease_id", _TEXT, "the lease's name"),
    _KEY,
    _field("card_uuids", pa.list_(_TEXT), "the cards rented; empty: the whole machine"),
    _field("price_usd_per_hour", _FLOAT, "USD an hour, all its cards together"),
    _field("started_at", _TIME, "UTC"),
    since=3,
)

PHASES = _schema(
    "phases",
    _EPOCH,
    _field("name", _TEXT, "discovery, inspection, proof, scoring, weights, archive"),
    _field("done", _INT, "pieces of work done"),
    _field("total", _INT, "pieces of work in all"),
    _field("note", _TEXT, "one line for whoever watches"),
    _field("started_at", _TIME, "UTC"),
    _maybe("finished_at", _TIME, "UTC; null when it did not end"),
    since=3,
)

EVENTS = _schema(
    "events",
    _EPOCH,
    _field("at", _TIME, "UTC"),
    _field("kind", _TEXT, "what happened, e.g. CARDS_SWAPPED"),
    _field("subject", _TEXT, "whom it concerns: an executor key, a hotkey, a card's UUID"),
    _field("message", _TEXT, "in words"),
    _field("statement", _TEXT, "signed JSON that proves it; empty where nothing does"),
    since=3,
)

SCHEMAS = MappingProxyType(
    {
        schema.metadata[b"table"].decode(): schema
        for schema in (
            *(MINER_REPLIES, EXECUTORS, REPORTS, VERDICTS, PROOFS, SCORES, WEIGHTS),
            *(NEURONS, STANDINGS, PRICES, LEASES, PHASES, EVENTS),
            EPOCHS,
        )
    }
)
"""All tables by name, in the order in which an epoch's files are written: `epochs` is last, and so says that
the others are there."""


def since(table: str) -> int:
    """The schema that brought this table."""
    return int(SCHEMAS[table].metadata[b"since"])


def text_columns(schema: pa.Schema) -> list[str]:
    """Parquet paths of all text in a schema, lists and structs walked: these are worth a dictionary."""
    return [path for path, kind in _leaves(schema) if pa.types.is_string(kind)]


def dictionary_columns(schema: pa.Schema) -> list[str]:
    """Parquet paths of all columns but octets: in a file of many epochs most numbers come again, too."""
    return [path for path, kind in _leaves(schema) if not pa.types.is_binary(kind)]


def _leaves(schema: pa.Schema) -> Iterator[tuple[str, pa.DataType]]:
    for field in schema:
        yield from _leaves_of(field.name, field.type)


def _leaves_of(path: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    if pa.types.is_list(kind):
        yield from _leaves_of(f"{path}.list.element", kind.value_type)
    elif pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves_of(f"{path}.{field.name}", field.type)
    else:
        yield path, kind
