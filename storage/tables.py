"""The tables of the state: what the next epoch needs, and what a crash must not lose.

A table is named after the record that a row of it is, a column after the record's field. Fields that are
records or tuples themselves are JSON text; `storage/convert.py` is the only place that turns one into the
other. `info={"about": ...}` says what a column means and in which unit, for docs/history.md.

    epochs ─┬─ phases
            ├─ miner_replies
            ├─ executors ─┬─ offer_terms
            │             ├─ reports
            │             ├─ verdicts
            │             ├─ scores
            │             └─ standings
            ├─ grounds
            ├─ landings
            └─ weight_sets

    over all epochs: executor_records, proved_epochs, proved_days, bans, events, quotes_seen, price_answers,
    collateral_moves
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator, TypeEngine

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
"""A whole number of 64 bits: what SQLite means by INTEGER, and PostgreSQL only by BIGINT."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime: stored in UTC without its zone where the database has none, always read as UTC."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[datetime]:
        """PostgreSQL keeps the zone, SQLite has none."""
        return dialect.type_descriptor(sa.DateTime(timezone=dialect.name == "postgresql"))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse a naive time: nobody could tell what it means."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        utc = value.astimezone(UTC)
        return utc if dialect.name == "postgresql" else utc.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """The same moment, aware."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _column(
    name: str, kind: type[TypeEngine[Any]] | TypeEngine[Any], about: str, *, nullable: bool = False
) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=nullable, info={"about": about})


def _added(
    name: str, kind: type[TypeEngine[Any]] | TypeEngine[Any], default: str, about: str
) -> sa.Column[Any]:
    """A column that rows from before a migration have by its default, an SQL literal."""
    return sa.Column(name, kind, nullable=False, server_default=sa.text(default), info={"about": about})


def _renter_column(*, is_key: bool = False) -> sa.Column[Any]:
    return sa.Column(
        "renter_id",
        sa.Text,
        sa.ForeignKey("renters.renter_id"),
        primary_key=is_key,
        nullable=False,
        info={"about": "whose it is"},
    )


def _epoch_column() -> sa.Column[Any]:
    return sa.Column(
        "epoch",
        sa.BigInteger,
        sa.ForeignKey("epochs.epoch", ondelete="CASCADE"),
        primary_key=True,
        info={"about": "the validation epoch"},
    )


def _of_executor() -> tuple[sa.Column[Any], sa.Column[Any], sa.ForeignKeyConstraint]:
    """The key of a row about one machine in one epoch; it goes when discovery no longer lists the machine."""
    return (
        sa.Column("epoch", sa.BigInteger, primary_key=True, info={"about": "the validation epoch"}),
        sa.Column("executor_key", sa.Text, primary_key=True, info={"about": "miner hotkey / executor id"}),
        sa.ForeignKeyConstraint(
            ["epoch", "executor_key"], ["executors.epoch", "executors.executor_key"], ondelete="CASCADE"
        ),
    )


epochs = sa.Table(
    "epochs",
    metadata,
    sa.Column(
        "epoch",
        sa.BigInteger,
        primary_key=True,
        autoincrement=False,
        info={"about": "block // 50: the epoch's name"},
    ),
    _column("netuid", WHOLE, "the subnet"),
    _column("block", sa.BigInteger, "the pinned block of the snapshot"),
    _column("block_hash", sa.Text, "its hash, 0x and 64 hex digits"),
    _column("validator_hotkey", sa.Text, "SS58 address of the validator"),
    _column("policy", sa.Text, "name of the policy"),
    _column("policy_digest", sa.Text, "16 hex digits of the policy's values"),
    _column("code_version", sa.Text, "version of the code"),
    _column("started_at", UtcDateTime, "UTC; a resumed epoch keeps its first start"),
    _column("state", sa.Text, "open, finished or abandoned"),
    _column("finished_at", UtcDateTime, "UTC; of an abandoned epoch, its last sign of life", nullable=True),
    _column("incidents", sa.Text, "JSON list of reasons: trouble of our own side or the chain's"),
    _column("run_token", sa.Text, "names the one run that may write"),
    _column("run_host", sa.Text, "host name of that run"),
    _column("run_boot_id", sa.Text, "the boot of that host"),
    _column("run_pid", sa.BigInteger, "process id there"),
    _column("run_started_ticks", sa.BigInteger, "begin of that process, clock ticks since boot"),
    _column("touched_at", UtcDateTime, "UTC; last write of that run"),
    _column("is_counted", sa.Boolean, "whether executor_records has this epoch"),
    _column("is_archived", sa.Boolean, "whether the Parquet history has this epoch"),
    sa.Index(
        "ix_epochs_one_open",
        "state",
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    ),
)

phases = sa.Table(
    "phases",
    metadata,
    _epoch_column(),
    sa.Column(
        "name",
        sa.Text,
        primary_key=True,
        info={"about": "discovery, inspection, proof, scoring, weights, archive"},
    ),
    _column("done", WHOLE, "pieces of work done"),
    _column("total", WHOLE, "pieces of work in all"),
    _column("note", sa.Text, "one line for whoever watches"),
    _column("started_at", UtcDateTime, "UTC"),
    _column("finished_at", UtcDateTime, "UTC; null while it works", nullable=True),
)

miner_replies = sa.Table(
    "miner_replies",
    metadata,
    _epoch_column(),
    sa.Column("hotkey", sa.Text, primary_key=True, info={"about": "SS58 address of the miner"}),
    _column("uid", WHOLE, "its uid at discovery"),
    _column("reasons", sa.Text, "JSON list of reasons: why it gave no executors, or fewer"),
    _column("evidence", sa.LargeBinary, "its signed answer as it came, zstd; emptied once it is archived"),
)

executors = sa.Table(
    "executors",
    metadata,
    _epoch_column(),
    sa.Column("executor_key", sa.Text, primary_key=True, info={"about": "miner hotkey / executor id"}),
    _column("executor_id", sa.Text, "the miner's own name for the machine"),
    _column("miner_hotkey", sa.Text, "SS58 address"),
    _column("miner_uid", WHOLE, "uid at discovery"),
    _column("miner_registered_at_block", sa.BigInteger, "block of the miner's registration"),
    _column("address", sa.Text, "literal IPv4 or IPv6 address of its SSH server"),
    _column("port", WHOLE, "TCP port of its SSH server"),
    _column("user", sa.Text, "user to log in as"),
    _column("python", sa.Text, "absolute path of the interpreter"),
    _column("host_key", sa.LargeBinary, "ed25519 host public key, SSH wire form, 51 bytes"),
    _column("price_usd_per_hour", sa.Double, "USD an hour, as the miner declares"),
)

offer_terms = sa.Table(
    "offer_terms",
    metadata,
    *_of_executor(),
    _column("paused_from", UtcDateTime, "from then on the miner wants no new lease", nullable=True),
    _column("min_cards", WHOLE, "fewer cards are not leased, unless they are the whole machine"),
)

reports = sa.Table(
    "reports",
    metadata,
    *_of_executor(),
    _column("facts", sa.Text, "JSON: what the machine said of itself"),
    _column("raw", sa.Text, "JSON list: digest, size, exit code and seconds of each command's output"),
    _column("bandwidth", sa.Text, "JSON: Mbit/s each way, of this epoch alone, or null"),
    _column("reasons", sa.Text, "JSON list of reasons"),
    _column("connect_s", sa.Double, "seconds until the SSH session stood"),
    _column("duration_s", sa.Double, "seconds of the whole inspection"),
    _added("steps", sa.Text, "'[]'", "JSON list: seconds of each step of the visit"),
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    *_of_executor(),
    _column("code", sa.Text, "PROVED, NOT_TRIED or the code of the failure"),
    _column("severity", sa.Text, "null when proved, else fail, no_verdict or warn", nullable=True),
    _column("cards", sa.Text, "JSON list: the proof of each card"),
    _column("reasons", sa.Text, "JSON list of reasons"),
    _column("transcript", sa.LargeBinary, "canonical JSON, zstd; emptied once it is archived"),
    _column("bytes_received", sa.BigInteger, "bytes that the machine sent during the proof"),
    _added("steps", sa.Text, "'[]'", "JSON list: seconds of each step of the proof"),
)

MORE_TERMS = (
    *("isolation", "occupancy", "price", "capacity", "portion", "card_share"),
    *("idle_isolation", "driver", "programme"),
)
PARTS = ("leased", "idle")

scores = sa.Table(
    "scores",
    metadata,
    *_of_executor(),
    _column("miner_hotkey", sa.Text, "SS58 address"),
    _column("miner_uid", WHOLE, "uid at discovery"),
    _column("model", sa.Text, "model of the cards"),
    _column("card_count", WHOLE, "cards"),
    _column("vram_bytes", sa.BigInteger, "bytes, as listed, all cards together"),
    _column("rate_usd_per_hour", sa.Double, "market rate of one card, USD an hour"),
    _column("performance", sa.Double, "proved bandwidth over its class, 0..1.25"),
    _column("bandwidth", sa.Double, "network term, 0..1"),
    _column("uptime", sa.Double, "ramp of unbroken passing, 0..1"),
    _column("collateral", sa.Double, "1, or the policy's factor without cover"),
    _column("passed", sa.Double, "1 or 0"),
    _column("score", sa.Double, "product of the formula's columns (docs/scoring.md)"),
    _column("reasons", sa.Text, "JSON list of reasons"),
    _added("formula", sa.Text, "'default'", "default, lium-2025 or lium-2026"),
    _column(
        "enforced_score",
        sa.Double,
        "score if no term had been in shadow; null of older rows",
        nullable=True,
    ),
    *(_added(name, sa.Double, "1", f"term of the score, see docs/scoring.md: {name}") for name in MORE_TERMS),
    *(_added(f"{part}_cards", WHOLE, "0", f"cards that are {part}") for part in PARTS),
    *(_added(f"{part}_points", sa.Double, "0", f"lium-2026: {part} part's product") for part in PARTS),
    *(_added(f"{part}_total", sa.Double, "1", f"lium-2026: all machines' {part}_points") for part in PARTS),
    *(_added(f"{part}_pool", sa.Double, "0", f"lium-2026: emission's share, {part} cards") for part in PARTS),
)

grounds = sa.Table(
    "grounds",
    metadata,
    _epoch_column(),
    _column("scored_at", UtcDateTime, "UTC; the moment that scores are meant for"),
    _column("policy_values", sa.Text, "the policy itself, canonical JSON"),
    _column("owner_hotkey", sa.Text, "SS58 address of the subnet's owner"),
    _column("neurons", sa.Text, "JSON list: the subnet's neurons in the pinned snapshot"),
    _column("quotes", sa.Text, "JSON list: the market's numbers as scoring used them"),
    _column("leases", sa.Text, "JSON list: the leases that were active"),
)

standings = sa.Table(
    "standings",
    metadata,
    *_of_executor(),
    _column("record", sa.Text, "JSON: what earlier epochs knew of the machine"),
    _column("is_leased", sa.Boolean, "whether a renter had it"),
    _column("deposited_rao", sa.BigInteger, "rao of free collateral in our own ledger"),
    _added("ban_code", sa.Text, "''", "the ban that keeps a leased machine from pay; empty: none"),
)

weight_sets = sa.Table(
    "weight_sets",
    metadata,
    _epoch_column(),
    _column("burn_share", sa.Double, "share for the owner's uid, 0..1"),
    _column(
        "first_epoch",
        sa.BigInteger,
        "scores from this epoch on are in it; null: of its own alone",
        nullable=True,
    ),
    _column("targets", sa.Text, "JSON list: uid, hotkey, weight as meant"),
    _column("status", sa.Text, "how setting them ended; null until it was tried", nullable=True),
    _column("code", sa.Text, "the chain's or our name for a refusal", nullable=True),
    _column("message", sa.Text, "the refusal in words", nullable=True),
    _column("block", sa.BigInteger, "block of inclusion or refusal", nullable=True),
    _column("extrinsic_id", sa.Text, "block-index of the extrinsic", nullable=True),
    _column("retry_after_blocks", sa.BigInteger, "blocks until the chain allows it again", nullable=True),
    _column("landed", sa.Text, "JSON list: our row as the chain has it", nullable=True),
    _column("dropped_hotkeys", sa.Text, "JSON list: left out, their uid is another's now", nullable=True),
)

landings = sa.Table(
    "landings",
    metadata,
    _epoch_column(),
    _column("set_block", sa.BigInteger, "block at which the weights were included"),
    _column("tempo_blocks", WHOLE, "blocks of a tempo then"),
    _column("is_sealed", sa.Boolean, "committed, to be revealed later"),
    _column("seen_block", sa.BigInteger, "last block at which our row was what was meant", nullable=True),
    _column("looks", WHOLE, "looks at our row from one tempo later on"),
    _column("state", sa.Text, "open, landed, differs or unseen"),
    _column("difference", sa.Double, "share of the emission elsewhere than meant, at the last look, 0..1"),
)

executor_records = sa.Table(
    "executor_records",
    metadata,
    sa.Column("executor_key", sa.Text, primary_key=True, info={"about": "miner hotkey / executor id"}),
    _column("first_seen", UtcDateTime, "UTC", nullable=True),
    _column("epochs_seen", WHOLE, "epochs in which it was listed, with a verdict or without"),
    _column("epochs_passed", WHOLE, "epochs passed"),
    _column("consecutive_passed", WHOLE, "epochs passed since the last failure"),
    _column("passed_since", UtcDateTime, "UTC; begin of the unbroken run of passing", nullable=True),
    _column("model", sa.Text, "model last listed", nullable=True),
    _column("card_count", WHOLE, "cards last listed", nullable=True),
    _column("card_uuids", sa.Text, "JSON list of card UUIDs, sorted"),
    _column("up_mbit_s", sa.Double, "Mbit/s from the executor, smoothed", nullable=True),
    _column("down_mbit_s", sa.Double, "Mbit/s to the executor, smoothed", nullable=True),
    _column("no_verdicts_in_a_row", WHOLE, "epochs since the last verdict, at most 2"),
    _added("verified_count", WHOLE, "0", "verdicts since the last reset"),
    _added("verified_failed", WHOLE, "0", "failed ones among them"),
    _added("resets", WHOLE, "0", "how often counters and run were set back"),
    _column("reset_at", UtcDateTime, "UTC; the last time", nullable=True),
    _added("reset_code", sa.Text, "''", "why the last time; empty when never"),
    _added("last_score", sa.Double, "0", "score of the last epoch with a verdict, USD an hour"),
    _column("last_score_epoch", sa.BigInteger, "that epoch", nullable=True),
    _added("kept_scores", WHOLE, "0", "epochs without a verdict for which the last score was kept"),
    _column("swapped_at", UtcDateTime, "UTC; the newest swap of cards that counted", nullable=True),
    _added("announced_uuids", sa.Text, "'[]'", "JSON list: cards that the swap announced, until they pass"),
    _added("carried_over", WHOLE, "0", "epochs in a row that did not come to it"),
    _column("last_epoch", sa.BigInteger, "the last epoch that is counted here"),
)

proved_epochs = sa.Table(
    "proved_epochs",
    metadata,
    sa.Column(
        "epoch",
        sa.BigInteger,
        primary_key=True,
        autoincrement=False,
        info={"about": "an archived epoch whose passed proofs proved_days has"},
    ),
    _column("day", sa.Text, "YYYY-MM-DD, UTC: its partition in the history"),
)

proved_days = sa.Table(
    "proved_days",
    metadata,
    sa.Column("day", sa.Text, primary_key=True, info={"about": "YYYY-MM-DD, UTC"}),
    sa.Column("executor_key", sa.Text, primary_key=True, info={"about": "miner hotkey / executor id"}),
    sa.Column("model", sa.Text, primary_key=True, info={"about": "model of the cards, the table's name"}),
    sa.Column(
        "nominal_mib",
        WHOLE,
        primary_key=True,
        autoincrement=False,
        info={"about": "MiB of the size that the model is sold with"},
    ),
    _column("proofs", WHOLE, "epochs of the day in which the machine's proof passed"),
    _column("sum_kb_s", sa.BigInteger, "proved bandwidth of the slowest card, 10^3 bytes a second, summed"),
)

bans = sa.Table(
    "bans",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True, info={"about": "miner or card"}),
    sa.Column("subject", sa.Text, primary_key=True, info={"about": "a hotkey, or a card's UUID"}),
    _column("reason", sa.Text, "in words"),
    _column("since", UtcDateTime, "UTC"),
    _column("until", UtcDateTime, "UTC; null: until it is lifted", nullable=True),
    _column("banned_by", sa.Text, "who decided it"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("event_id", sa.Integer, primary_key=True, info={"about": "number, ascending"}),
    _column("epoch", sa.BigInteger, "the epoch that archives it; null until one is closed", nullable=True),
    _column("at", UtcDateTime, "UTC"),
    _column("kind", sa.Text, "what happened, e.g. CARDS_SWAPPED"),
    _column("subject", sa.Text, "whom it concerns: an executor key, a hotkey, a card's UUID"),
    _column("message", sa.Text, "in words"),
    _column("statement", sa.Text, "signed JSON that proves it; empty where nothing does"),
    sa.Index("ix_events_epoch", "epoch"),
)

quotes_seen = sa.Table(
    "quotes_seen",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True, info={"about": "rate, token or portion"}),
    sa.Column("name", sa.Text, primary_key=True, info={"about": "the model's name, or tao_usd, alpha_tao"}),
    _column("value", sa.Double, "the last good number: USD an hour and card, USD, TAO or a share"),
    _column("source", sa.Text, "the sources that agreed on it, comma between"),
    _column("as_of", UtcDateTime, "UTC; when it was true at its source; of a portion, its last step"),
)

price_answers = sa.Table(
    "price_answers",
    metadata,
    sa.Column("source", sa.Text, primary_key=True, info={"about": "name of the source, or chain"}),
    _column("asked_at", UtcDateTime, "UTC; when it was last asked"),
    _column("fault", sa.Text, "why it said nothing; empty when it answered"),
    _column("quotes", sa.Text, "JSON list: what it said when it last answered"),
)

collateral_moves = sa.Table(
    "collateral_moves",
    metadata,
    sa.Column("executor_key", sa.Text, primary_key=True, info={"about": "miner hotkey / executor id"}),
    sa.Column(
        "number",
        WHOLE,
        primary_key=True,
        autoincrement=False,
        info={"about": "1, 2, 3 of this machine"},
    ),
    _column("request", sa.Text, "names what was asked for; unique"),
    _column("kind", sa.Text, "deposit, reclaim, deny, finalise or slash"),
    _column("at", UtcDateTime, "UTC"),
    _column("free_rao", sa.BigInteger, "change of what is free, rao"),
    _column("held_rao", sa.BigInteger, "change of what is asked back, rao"),
    _column("due_at", UtcDateTime, "UTC; of a reclaim: when its window ends", nullable=True),
    _column("extrinsic_id", sa.Text, "block-index of the transfer; empty where there is none"),
    _column("decided_by", sa.Text, "who asked for it"),
    _column("reason", sa.Text, "in words"),
    _column("evidence_blake2s", sa.Text, "64 hex digits of a slash's evidence; empty else"),
    sa.Index("ix_collateral_moves_request", "request", unique=True),
)

rentals = sa.Table(
    "rentals",
    metadata,
    sa.Column("lease_id", sa.Text, primary_key=True, info={"about": "the lease's name"}),
    _column("renter_id", sa.Text, "who rents"),
    _column("idempotency_key", sa.Text, "chosen by the renter: one key is one lease"),
    _column("wish", sa.Text, "JSON: what was asked for"),
    _column("state", sa.Text, "requested, reserved, provisioning, active, stopped, ending, ended or failed"),
    _column("version", sa.BigInteger, "moves so far: every move is a compare-and-set on it"),
    _column("requested_at", UtcDateTime, "UTC"),
    _column("moved_at", UtcDateTime, "UTC; its last move"),
    _column("executor_key", sa.Text, "the machine; empty while none is held"),
    _column("card_uuids", sa.Text, "JSON list: its cards; held_cards has those that are held for it"),
    _column(
        "micro_usd_per_hour", sa.BigInteger, "1e-6 USD an hour for all its cards, fixed at the reservation"
    ),
    _column("tried", sa.Text, "JSON list: machines that failed it"),
    _column("active_at", UtcDateTime, "UTC; the first hand-over", nullable=True),
    _column("ended_at", UtcDateTime, "UTC; it counts until here", nullable=True),
    _column("ends_by", UtcDateTime, "UTC; the renter's own limit", nullable=True),
    _column("party", sa.Text, "whose fault its end is: nobody, machine, renter or platform"),
    _column("reason", sa.Text, "why it failed or ended, in words"),
    _added("pod", sa.Text, "'{}'", "JSON: what runs; nothing of it is secret"),
    _added("terms", sa.Text, "'{}'", "JSON: the renter's limits in time, money and idleness"),
    _added("sealed", sa.LargeBinary, "''", "secret values of the pod, encrypted"),
    _added("attempt", WHOLE, "0", "counts what was begun on machines"),
    _added("is_holding", sa.Boolean, "false", "whether its cards are held for it"),
    _added("access", sa.Text, "'null'", "JSON: how the renter reaches it, or null"),
    _column("stopped_at", UtcDateTime, "UTC; since when it is stopped", nullable=True),
    _added("paid_s", sa.BigInteger, "0", "whole seconds of paid intervals that are over"),
    _column("paid_from", UtcDateTime, "UTC; begin of the paid interval that runs", nullable=True),
    _column("end_asked_at", UtcDateTime, "UTC; when its end was asked for", nullable=True),
    _added("end_party", sa.Text, "'nobody'", "whose doing the end is that was asked for"),
    _added("end_reason", sa.Text, "''", "why its end was asked for, in words"),
    _column("notice_until", UtcDateTime, "UTC; when a notice runs out", nullable=True),
    _column("warned_at", UtcDateTime, "UTC; when its renter was told that the balance ends", nullable=True),
    sa.Index("ix_rentals_renter_id_idempotency_key", "renter_id", "idempotency_key", unique=True),
    sa.Index("ix_rentals_state", "state"),
)

held_cards = sa.Table(
    "held_cards",
    metadata,
    sa.Column("card_uuid", sa.Text, primary_key=True, info={"about": "a card is held once, or not at all"}),
    sa.Column(
        "lease_id",
        sa.Text,
        sa.ForeignKey("rentals.lease_id"),
        nullable=False,
        info={"about": "the lease that holds it"},
    ),
    _column("executor_key", sa.Text, "the machine that it is in"),
    sa.Index("ix_held_cards_lease_id", "lease_id"),
)

operations = sa.Table(
    "operations",
    metadata,
    sa.Column("operation_id", sa.Text, primary_key=True, info={"about": "the operation's name"}),
    sa.Column(
        "lease_id",
        sa.Text,
        sa.ForeignKey("rentals.lease_id"),
        nullable=False,
        info={"about": "the lease that it is asked of"},
    ),
    _column("idempotency_key", sa.Text, "chosen by the renter: one key is one operation of the lease"),
    _column("kind", sa.Text, "stop, start, reboot, replace, keys, backup or restore"),
    _column("state", sa.Text, "asked, running, done or failed"),
    _column("asked_at", UtcDateTime, "UTC"),
    _column("arguments", sa.Text, "JSON, nothing secret"),
    _column("sealed", sa.LargeBinary, "secret arguments, encrypted"),
    _column("begun_at", UtcDateTime, "UTC; when it was begun first", nullable=True),
    _column("ended_at", UtcDateTime, "UTC", nullable=True),
    _column("party", sa.Text, "whose fault its failure is"),
    _column("reason", sa.Text, "why it failed, in words"),
    _column("result", sa.Text, "JSON"),
    sa.Index("ix_operations_lease_id_idempotency_key", "lease_id", "idempotency_key", unique=True),
    sa.Index("ix_operations_state", "state"),
)

works = sa.Table(
    "works",
    metadata,
    sa.Column("work_id", sa.Text, primary_key=True, info={"about": "names the flow run too: it runs once"}),
    _column("kind", sa.Text, "rent, teardown or operate"),
    _column("subject", sa.Text, "the lease's or the operation's name"),
    _column("asked_at", UtcDateTime, "UTC"),
    _column("flow_run_id", sa.Text, "of Prefect; empty: not started yet"),
    sa.Index("ix_works_flow_run_id", "flow_run_id"),
    sa.Index("ix_works_subject", "subject"),
)

claims = sa.Table(
    "claims",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True, info={"about": "what is worked on: a lease's name"}),
    _column("holder", sa.Text, "the one run that works on it"),
    _column("until", UtcDateTime, "UTC; after it anybody may take it"),
)

lease_events = sa.Table(
    "lease_events",
    metadata,
    sa.Column(
        "sequence",
        sa.BigInteger,
        primary_key=True,
        autoincrement=False,
        info={"about": "1, 2, 3 over all leases, without gaps"},
    ),
    _column("lease_id", sa.Text, "the lease"),
    _column("renter_id", sa.Text, "its renter"),
    _column("at", UtcDateTime, "UTC"),
    _column("kind", sa.Text, "a state in capitals, or e.g. STEP, END_ASKED"),
    _column("message", sa.Text, "in words"),
    _column("facts", sa.Text, "JSON"),
    sa.Index("ix_lease_events_lease_id_sequence", "lease_id", "sequence"),
    sa.Index("ix_lease_events_renter_id_sequence", "renter_id", "sequence"),
    sa.Index("ix_lease_events_at", "at"),
    sa.Index(
        "ix_lease_events_logins",
        "message",
        "renter_id",
        sqlite_where=sa.text("kind = 'REGISTRY_LOGIN'"),
        postgresql_where=sa.text("kind = 'REGISTRY_LOGIN'"),
    ),
)

volumes = sa.Table(
    "volumes",
    metadata,
    sa.Column("renter_id", sa.Text, primary_key=True, info={"about": "whose it is"}),
    sa.Column("name", sa.Text, primary_key=True, info={"about": "as its renter calls it"}),
    _column("executor_key", sa.Text, "the machine that it is on; empty: none yet"),
    _column("created_at", UtcDateTime, "UTC"),
    _column("size_bytes", sa.BigInteger, "bytes as last measured", nullable=True),
    _column("lease_id", sa.Text, "the lease that has it mounted; empty: none"),
    _column("state", sa.Text, "new, kept or doomed"),
    _column("is_kept", sa.Boolean, "whether it outlives the lease that mounts it"),
    sa.Index("ix_volumes_executor_key", "executor_key"),
    sa.Index("ix_volumes_lease_id", "lease_id"),
)

left_volumes = sa.Table(
    "left_volumes",
    metadata,
    sa.Column("renter_id", sa.Text, primary_key=True, info={"about": "whose it was"}),
    sa.Column("name", sa.Text, primary_key=True, info={"about": "as its renter calls it"}),
    sa.Column("executor_key", sa.Text, primary_key=True, info={"about": "the machine that it is left on"}),
)

backups = sa.Table(
    "backups",
    metadata,
    sa.Column("backup_id", sa.Text, primary_key=True, info={"about": "its name, and its file's"}),
    _column("lease_id", sa.Text, "the lease that it is of"),
    _column("renter_id", sa.Text, "whose it is"),
    _column("source", sa.Text, "volume:NAME or path:PATH"),
    _column("at", UtcDateTime, "UTC"),
    _column("size_bytes", sa.BigInteger, "bytes of the file"),
    _column("blake2b", sa.Text, "64 hex digits of its BLAKE2b-256; empty until it is whole"),
    _column("state", sa.Text, "writing, kept or failed"),
    sa.Index("ix_backups_renter_id", "renter_id"),
)

certificates = sa.Table(
    "certificates",
    metadata,
    sa.Column("lease_id", sa.Text, primary_key=True, info={"about": "the lease whose cards were proved"}),
    sa.Column(
        "attempt",
        WHOLE,
        primary_key=True,
        autoincrement=False,
        info={"about": "the lease's attempt"},
    ),
    sa.Column("occasion", sa.Text, primary_key=True, info={"about": "hand-over, in-use or return"}),
    _column("at", UtcDateTime, "UTC"),
    _column("executor_key", sa.Text, "the machine"),
    _column("code", sa.Text, "PROVED or the code of the failure"),
    _column("card_uuids", sa.Text, "JSON list: the cards that were proved"),
    _column("verdict", sa.Text, "JSON: the verdict without its transcript"),
    _column("transcript", sa.LargeBinary, "canonical JSON, zstd: it can be judged again"),
)

transfers = sa.Table(
    "transfers",
    metadata,
    sa.Column("transfer_id", sa.Text, primary_key=True, info={"about": "what it is for: moved once"}),
    _column("at", UtcDateTime, "UTC"),
    _column("kind", sa.Text, "DEPOSIT, METER, CREDIT_NOTE ..."),
    _column("lease_id", sa.Text, "the lease that it is about; empty: none"),
    _column("message", sa.Text, "in words"),
    sa.Index("ix_transfers_lease_id", "lease_id"),
)

entries = sa.Table(
    "entries",
    metadata,
    sa.Column(
        "transfer_id",
        sa.Text,
        sa.ForeignKey("transfers.transfer_id"),
        primary_key=True,
        info={"about": "the transfer whose side it is"},
    ),
    sa.Column(
        "account",
        sa.Text,
        primary_key=True,
        info={
            "about": "renter:<id>, miner:<hotkey>, platform, escrow:<lease>, unclaimed, treasury or outside"
        },
    ),
    _column("micro_usd", sa.BigInteger, "1e-6 USD; above 0: the account has more. A transfer's sum is 0"),
    _added("rao", sa.BigInteger, "0", "rao of TAO, likewise"),
    sa.Index("ix_entries_account_micro_usd_rao", "account", "micro_usd", "rao"),
)

renters = sa.Table(
    "renters",
    metadata,
    sa.Column("renter_id", sa.Text, primary_key=True, info={"about": "the renter's name"}),
    _column("created_at", UtcDateTime, "UTC"),
    _column("state", sa.Text, "allowed, or stopped by an operator"),
    _column("stopped_at", UtcDateTime, "UTC; null: it is allowed", nullable=True),
    _column("grace_until", UtcDateTime, "UTC; when a stopped renter's leases are ended", nullable=True),
    _column("reason", sa.Text, "why it was stopped, in words"),
    _added("is_self_made", sa.Boolean, "false", "whether it made its account by itself"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("key_id", sa.Text, primary_key=True, info={"about": "the key's name, part of what is sent"}),
    _renter_column(),
    _column("name", sa.Text, "chosen by the renter"),
    _column("digest", sa.LargeBinary, "BLAKE2b of the secret: the secret itself is nowhere"),
    _column("scopes", sa.Text, "JSON list: read, rent, money, admin"),
    _column("created_at", UtcDateTime, "UTC"),
    _column("expires_at", UtcDateTime, "UTC; null: never", nullable=True),
    _column("revoked_at", UtcDateTime, "UTC; null: it was not", nullable=True),
    _column("last_used_at", UtcDateTime, "UTC, to the minute; null: never", nullable=True),
    sa.Index("ix_api_keys_renter_id", "renter_id"),
)

passkeys = sa.Table(
    "passkeys",
    metadata,
    sa.Column(
        "passkey_id",
        sa.Text,
        primary_key=True,
        info={"about": "BLAKE2b, hex, of the site's name and the credential's id"},
    ),
    _renter_column(),
    _column("name", sa.Text, "chosen by the renter"),
    _column("credential_id", sa.LargeBinary, "the credential's id, as its authenticator made it"),
    _column("public_key", sa.LargeBinary, "COSE"),
    _column("sign_count", sa.BigInteger, "the authenticator's, at its last use; 0: it does not count"),
    _column("created_at", UtcDateTime, "UTC"),
    _column("last_used_at", UtcDateTime, "UTC; null: never", nullable=True),
    sa.Index("ix_passkeys_renter_id", "renter_id"),
)

page_sessions = sa.Table(
    "page_sessions",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True, info={"about": "BLAKE2b, hex, of what the browser holds"}),
    _column("begun_at", UtcDateTime, "UTC"),
    _column("ends_at", UtcDateTime, "UTC; it opens nothing from then on"),
    sa.Column(
        "key_id",
        sa.Text,
        sa.ForeignKey("api_keys.key_id"),
        info={"about": "the API key that it was signed in with; null: by one of the next two"},
    ),
    sa.Column(
        "passkey_id", sa.Text, sa.ForeignKey("passkeys.passkey_id"), info={"about": "the passkey, likewise"}
    ),
    _column("hotkey", sa.Text, "SS58 of the hotkey, likewise", nullable=True),
    sa.CheckConstraint(
        "CASE WHEN key_id IS NULL THEN 0 ELSE 1 END + CASE WHEN passkey_id IS NULL THEN 0 ELSE 1 END"
        " + CASE WHEN hotkey IS NULL THEN 0 ELSE 1 END = 1",
        name="ck_page_sessions_one_holder",
    ),
    sa.Index("ix_page_sessions_key_id", "key_id"),
    sa.Index("ix_page_sessions_passkey_id", "passkey_id"),
    sa.Index("ix_page_sessions_hotkey", "hotkey"),
    sa.Index("ix_page_sessions_ends_at", "ends_at"),
)

ssh_keys = sa.Table(
    "ssh_keys",
    metadata,
    _renter_column(is_key=True),
    sa.Column("name", sa.Text, primary_key=True, info={"about": "chosen by the renter"}),
    _column("public_line", sa.Text, "OpenSSH: type, base64, name"),
    _column("fingerprint", sa.Text, "SHA256:base64"),
    _column("created_at", UtcDateTime, "UTC"),
)

templates = sa.Table(
    "templates",
    metadata,
    _renter_column(is_key=True),
    sa.Column("name", sa.Text, primary_key=True, info={"about": "chosen by the renter"}),
    _column("about", sa.Text, "in words"),
    _column("pod", sa.Text, "JSON of the pod, without values of its environment"),
    _column("sealed", sa.LargeBinary, "those values, encrypted; empty: none"),
    _column("created_at", UtcDateTime, "UTC"),
    _column("updated_at", UtcDateTime, "UTC"),
)

webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("webhook_id", sa.Text, primary_key=True, info={"about": "its name"}),
    _renter_column(),
    _column("url", sa.Text, "where deliveries are sent"),
    _column("kinds", sa.Text, "JSON list of the kinds of events; empty: all"),
    _column("sealed", sa.LargeBinary, "the secret that signs, encrypted"),
    _column("created_at", UtcDateTime, "UTC"),
    _column("after_sequence", sa.BigInteger, "the last event that has a delivery"),
    _column("failing_since", UtcDateTime, "UTC; null: the last one was taken", nullable=True),
    _column("disabled_at", UtcDateTime, "UTC; after days of failures", nullable=True),
    sa.Index("ix_webhooks_renter_id", "renter_id"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("delivery_id", sa.Text, primary_key=True, info={"about": "the webhook and the event's number"}),
    sa.Column(
        "webhook_id",
        sa.Text,
        sa.ForeignKey("webhooks.webhook_id"),
        nullable=False,
        info={"about": "where it goes"},
    ),
    _column("renter_id", sa.Text, "whose it is"),
    _column("lease_id", sa.Text, "the lease that it is about"),
    _column("kind", sa.Text, "of the event"),
    _column("body", sa.Text, "the JSON that is sent"),
    _column("created_at", UtcDateTime, "UTC"),
    _column("next_at", UtcDateTime, "UTC; when it is tried next"),
    _column("state", sa.Text, "waiting, delivered or given_up"),
    _column("attempts", WHOLE, "so far"),
    _column("ended_at", UtcDateTime, "UTC; null: it waits", nullable=True),
    _column("http_status", WHOLE, "of the last attempt; 0: no answer"),
    _column("fault", sa.Text, "of the last attempt, in words; empty: none"),
    sa.Index("ix_deliveries_webhook_id", "webhook_id"),
    sa.Index("ix_deliveries_state_next_at", "state", "next_at"),
)

blocked_images = sa.Table(
    "blocked_images",
    metadata,
    sa.Column("pattern", sa.Text, primary_key=True, info={"about": "shell-style, over the whole name"}),
    _column("reason", sa.Text, "in words"),
    _column("blocked_by", sa.Text, "who decided it"),
    _column("blocked_at", UtcDateTime, "UTC"),
)

requests_seen = sa.Table(
    "requests_seen",
    metadata,
    _renter_column(is_key=True),
    sa.Column("idempotency_key", sa.Text, primary_key=True, info={"about": "chosen by the renter"}),
    _column("digest", sa.Text, "BLAKE2b, hex, of what was asked with it first"),
    _column("at", UtcDateTime, "UTC"),
    sa.Index("ix_requests_seen_at", "at"),
)


lease_health = sa.Table(
    "lease_health",
    metadata,
    sa.Column("lease_id", sa.Text, primary_key=True, info={"about": "the lease's name"}),
    _column("looked_at", UtcDateTime, "UTC; the last look at its machine"),
    _column("well_at", UtcDateTime, "UTC; its container was last seen alive", nullable=True),
    _column("idle_since", UtcDateTime, "UTC; GPU use below the renter's share since", nullable=True),
    _column("dead", sa.Text, "how its container was found; empty: alive, or not known"),
    _column("dead_looks", WHOLE, "looks in a row that found it so"),
    _column("away_since", UtcDateTime, "UTC; its machine gives no answer since", nullable=True),
    _column("metered_at", UtcDateTime, "UTC; when it was last charged", nullable=True),
    _column("sampled_at", UtcDateTime, "UTC; its newest sample", nullable=True),
)

lease_metrics = sa.Table(
    "lease_metrics",
    metadata,
    sa.Column("lease_id", sa.Text, primary_key=True, info={"about": "the lease's name"}),
    sa.Column("at", UtcDateTime, primary_key=True, info={"about": "UTC"}),
    _column(
        "cards",
        sa.Text,
        "JSON list: UUID, utilisation in percent, memory in MiB, temperature in C, power in W of each card",
    ),
    _column("cpu_percent", sa.Double, "of one core: 250 is two and a half", nullable=True),
    _column("memory_bytes", sa.BigInteger, "of the container", nullable=True),
    _column("memory_limit_bytes", sa.BigInteger, "what it may have", nullable=True),
    _column("received_bytes", sa.BigInteger, "since its start", nullable=True),
    _column("sent_bytes", sa.BigInteger, "likewise", nullable=True),
    _column("read_bytes", sa.BigInteger, "likewise, from disks", nullable=True),
    _column("written_bytes", sa.BigInteger, "likewise, to disks", nullable=True),
    _column("pids", sa.BigInteger, "its processes", nullable=True),
    _column("grain", WHOLE, "1: kept shortest, 2: the first of its minute, 3: the first of its hour"),
    sa.Index("ix_lease_metrics_grain_at", "grain", "at"),
)


chain_deposits = sa.Table(
    "chain_deposits",
    metadata,
    sa.Column("extrinsic_id", sa.Text, primary_key=True, info={"about": "block-index: credited once"}),
    _column("block", sa.BigInteger, "its block"),
    _column("at", UtcDateTime, "UTC; of its block"),
    _column("sender", sa.Text, "SS58 address"),
    _column("rao", sa.BigInteger, "rao of TAO"),
    _column("memos", sa.Text, "JSON list: blake2b-256 of its remarks, 64 hex digits each"),
    _column("state", sa.Text, "seen, unclaimed or credited"),
    _column("renter_id", sa.Text, "whose it is; empty: nobody's yet"),
    _column("micro_usd", sa.BigInteger, "1e-6 USD that were credited"),
    _column("usd_per_tao", sa.Double, "the price at which they were"),
    _column("waits_for", sa.Text, "why it is not credited yet, in words"),
    sa.Index("ix_chain_deposits_state", "state"),
    sa.Index("ix_chain_deposits_renter_id", "renter_id"),
)

deposit_marks = sa.Table(
    "deposit_marks",
    metadata,
    sa.Column("place", sa.Text, primary_key=True, info={"about": "network/address"}),
    _column("block", sa.BigInteger, "the last block that was read for transfers to it"),
)

unread_blocks = sa.Table(
    "unread_blocks",
    metadata,
    sa.Column("place", sa.Text, primary_key=True, info={"about": "network/address"}),
    sa.Column(
        "block",
        sa.BigInteger,
        primary_key=True,
        autoincrement=False,
        info={"about": "a block that no node has told yet"},
    ),
)

deposit_memos = sa.Table(
    "deposit_memos",
    metadata,
    sa.Column("memo_blake2b", sa.Text, primary_key=True, info={"about": "64 hex digits of the memo's hash"}),
    _column("renter_id", sa.Text, "whose memo it is"),
)


def _refuse_changes(table: sa.Table) -> None:
    """Let the database itself refuse to change or delete a line of the ledger."""
    when = f"CREATE TRIGGER tr_{table.name}"
    for change in ("UPDATE", "DELETE"):
        does = "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
        _also(table, "sqlite", f"{when}_{change.lower()} BEFORE {change} ON {table.name} {does}")
    does = "FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()"
    _also(table, "postgresql", f"{when}_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table.name} {does}")


def _also(table: sa.Table, dialect: str, statement: str, moment: str = "after_create") -> None:
    made = sa.DDL(statement)  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
    sa.event.listen(table, moment, made.execute_if(dialect=dialect))


_also(
    transfers,
    "postgresql",
    "CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN RAISE EXCEPTION ''the ledger is append-only''; END'",
    "before_create",
)
for _table in (transfers, entries):
    _refuse_changes(_table)
