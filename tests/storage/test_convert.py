"""One record, one table, one schema: they agree by name, and nothing is lost between them."""

from dataclasses import fields, replace

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import deposits, health, rental, renter, tables
from storage import records as nouns
from storage.convert import outcome_of, record_of, row_of, tables_of
from storage.records import HostFacts, HostReport, Reason, Severity, Verdict
from storage.schemas import SCHEMAS
from tests.storage.outcomes import anything, outcomes, small_outcome, verdict

_BUT_ITS_CARDS = {f.name for f in fields(rental.Rental)} - {"lease_id", "executor_key"}
_OF_A_DEPOSIT = {f.name for f in fields(deposits.ChainDeposit)}
# table -> its record, columns beside the record's fields, fields without a column
TABLES = {
    "epochs": (
        nouns.EpochOutcome,
        {"run_token", "run_host", "run_boot_id", "run_pid", "run_started_ticks", "touched_at"}
        | {"is_counted", "is_archived"},
        {"replies", "executors", "reports", "verdicts", "scores", "weights", "weight_outcome"}
        | {"grounds", "phases", "events"},
    ),
    "phases": (nouns.Phase, set(), set()),
    "miner_replies": (nouns.MinerReply, {"epoch"}, {"executors", "swaps", "terms", "certificates"}),
    "executors": (nouns.Executor, {"epoch", "executor_key"}, set()),
    "offer_terms": (nouns.OfferTerms, {"epoch"}, set()),
    "reports": (nouns.HostReport, {"epoch"}, set()),
    "verdicts": (nouns.Verdict, {"epoch"}, set()),
    "scores": (nouns.Score, {"epoch"}, set()),
    "grounds": (nouns.Grounds, {"epoch"}, {"standings"}),
    "standings": (nouns.Standing, {"epoch"}, set()),
    "events": (nouns.Event, {"event_id", "epoch"}, set()),
    "bans": (nouns.Ban, set(), set()),
    "landings": (nouns.Landing, set(), set()),
    "weight_sets": (nouns.WeightVector, {f.name for f in fields(nouns.WeightOutcome)}, set()),
    "executor_records": (nouns.ExecutorRecord, {"last_epoch"}, set()),
    "rentals": (rental.Rental, set(), set()),
    "chain_deposits": (deposits.ChainDeposit, set(), set()),
    "deposit_marks": (deposits.ChainDeposit, {"place"}, _OF_A_DEPOSIT - {"block"}),
    "unread_blocks": (deposits.ChainDeposit, {"place"}, _OF_A_DEPOSIT - {"block"}),
    "deposit_memos": (deposits.ChainDeposit, {"memo_blake2b"}, _OF_A_DEPOSIT - {"renter_id"}),
    "lease_health": (health.Health, set(), set()),
    "lease_metrics": (health.Metric, {"grain"}, set()),
    "operations": (rental.Operation, set(), set()),
    "works": (rental.Work, set(), set()),
    "claims": (rental.Claim, set(), set()),
    "lease_events": (rental.LeaseEvent, set(), set()),
    "volumes": (rental.Volume, set(), set()),
    "left_volumes": (rental.LeftVolume, set(), set()),
    "backups": (rental.Backup, set(), set()),
    "certificates": (rental.Certificate, set(), set()),
    "held_cards": (rental.Rental, {"card_uuid"}, _BUT_ITS_CARDS),
    "transfers": (rental.Transfer, set(), {"entries"}),
    "entries": (rental.Entry, {"transfer_id"}, set()),
    "proved_epochs": (nouns.ProvedEpoch, set(), set()),
    "proved_days": (nouns.ProvedDay, set(), set()),
    "quotes_seen": (nouns.Quote, set(), set()),
    "price_answers": (nouns.PriceAnswer, set(), set()),
    "collateral_moves": (nouns.CollateralMove, set(), set()),
    "renters": (renter.Renter, set(), set()),
    "api_keys": (renter.ApiKey, set(), set()),
    "passkeys": (renter.Passkey, set(), set()),
    "page_sessions": (renter.PageSession, set(), set()),
    "ssh_keys": (renter.SshKey, set(), set()),
    "templates": (renter.Template, set(), set()),
    "webhooks": (renter.Webhook, set(), set()),
    "deliveries": (renter.Delivery, set(), set()),
    "blocked_images": (renter.BlockedImage, set(), set()),
    "requests_seen": (renter.RequestSeen, set(), set()),
}
WEIGHT_COLUMNS = {f"weight_{f.name}" for f in fields(nouns.WeightOutcome)} - {"weight_landed"}
BANDWIDTH_COLUMNS = {f"bandwidth_{f.name}" for f in fields(nouns.Bandwidth)}
RECORD_COLUMNS = {f.name for f in fields(nouns.ExecutorRecord)} - {"executor_key"}
HISTORY = {
    "epochs": (
        nouns.EpochOutcome,
        WEIGHT_COLUMNS | {"burn_share", "weight_first_epoch", "scored_at", "policy_values", "owner_hotkey"},
        TABLES["epochs"][2],
    ),
    "miner_replies": TABLES["miner_replies"],
    "executors": TABLES["executors"],
    "reports": (
        nouns.HostReport,
        {"epoch"} | {f.name for f in fields(HostFacts)} | BANDWIDTH_COLUMNS,
        {"facts", "bandwidth"},
    ),
    "verdicts": (nouns.Verdict, {"epoch"}, {"cards"}),
    "proofs": (nouns.CardProof, {"epoch", "executor_key"}, set()),
    "scores": TABLES["scores"],
    "weights": (nouns.WeightTarget, {"epoch", "kind"}, set()),
    "neurons": (nouns.Neuron, {"epoch"}, {"tls_commitment"}),
    "standings": (nouns.Standing, {"epoch"} | RECORD_COLUMNS, {"record"}),
    "prices": (nouns.Quote, {"epoch"}, set()),
    "leases": (nouns.Lease, {"epoch"}, set()),
    "phases": (nouns.Phase, set(), set()),
    "events": (nouns.Event, {"epoch"}, set()),
}
NESTED = {
    "reasons": nouns.Reason,
    "incidents": nouns.Reason,
    "cards": nouns.Card,
    "processes": nouns.GpuProcess,
    "raw": nouns.RawFact,
}
IN_TABLES = [kind for kind, _, _ in TABLES.values() if kind is not nouns.EpochOutcome]


@pytest.mark.parametrize("name", tables.metadata.tables)
def test_a_table_has_a_column_per_field(name):
    """A table's columns are its record's fields, but for the exceptions that are listed here."""
    record, more, without = TABLES[name]

    assert (
        set(tables.metadata.tables[name].columns.keys()) == {f.name for f in fields(record)} - without | more
    )


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_has_a_column_per_field(name):
    """A Parquet schema's columns are its record's fields, but for the exceptions that are listed here."""
    record, more, without = HISTORY[name]

    assert set(SCHEMAS[name].names) == {f.name for f in fields(record)} - without | more


@pytest.mark.parametrize(
    ("table", "column"),
    [
        (t, c)
        for t, s in SCHEMAS.items()
        for c in s.names
        if pa.types.is_list(s.field(c).type) and c in NESTED
    ],
)
def test_a_list_in_a_schema_has_the_fields_of_its_record(table, column):
    """A list of structs has a struct's field per field of the record, in the same order."""
    struct = SCHEMAS[table].field(column).type.value_type

    assert [field.name for field in struct] == [f.name for f in fields(NESTED[column])]


@pytest.mark.parametrize("name", sorted(set(SCHEMAS) & set(tables.metadata.tables)))
def test_table_and_schema_of_one_name_hold_the_same(name):
    """A table and a schema of one name share every column that neither of them lists as its own."""
    own = (TABLES[name][1] ^ HISTORY[name][1]) | TABLES[name][2] ^ HISTORY[name][2]

    assert set(SCHEMAS[name].names) ^ set(tables.metadata.tables[name].columns.keys()) == own


def test_every_column_says_what_it_is():
    """No column of a table or of the history is without its meaning."""
    state = [c.info.get("about") for t in tables.metadata.tables.values() for c in t.columns]
    history = [field.metadata[b"about"] for schema in SCHEMAS.values() for field in schema]

    assert all([*state, *history])


@pytest.mark.parametrize("kind", IN_TABLES)
@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_a_record_survives_its_table_row(kind, data):
    """Record -> row -> record gives the record, and every value of the row is one that a column takes."""
    record = data.draw(anything(kind))
    without = {"executors", "standings", "entries"} & {f.name for f in fields(kind)}
    row = row_of(record, *without)
    rest = {name: getattr(record, name) for name in without}

    assert record_of(kind, row, **rest) == record
    assert {type(v).__name__ for v in row.values()} <= {
        "str",
        "int",
        "float",
        "bool",
        "bytes",
        "datetime",
        "NoneType",
    }


@given(outcomes())
@settings(max_examples=8, deadline=None)
def test_an_outcome_survives_arrow(outcome):
    """Outcome -> Arrow tables -> outcome gives the outcome, to the last reason."""
    assert outcome_of(tables_of(outcome)) == outcome


@pytest.mark.long
@given(outcomes())
@settings(max_examples=200, deadline=None)
def test_any_outcome_survives_arrow(outcome):
    """The same of many more."""
    assert outcome_of(tables_of(outcome)) == outcome


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_survive_both_ways(number):
    """A machine's NaN or infinity in its facts comes back as what it was."""
    card = nouns.Card(
        0, "GPU-1", "RTX 4090", 24564, "580.65.06", None, None, number, None, None, None, None, None
    )
    report = HostReport("5Alice/m-0", HostFacts(cards=(card,)), (), None, (), 0.1, 0.2)

    from_table = record_of(HostReport, row_of(report))
    from_arrow = outcome_of(tables_of(replace(small_outcome(), reports=(report,)))).reports[0]

    assert repr(from_table) == repr(from_arrow) == repr(report)


def test_what_no_database_holds_is_replaced():
    """Lone surrogates and NUL become U+FFFD and integers saturate at 64 bits, so one machine cannot cost an epoch its archive."""
    facts = HostFacts(
        cpu_model="Xeon\udcff", kernel="6\x008", ram_bytes=10**30, container_runtimes=("a\ud800",)
    )
    reason = Reason("HOST\x00", Severity.WARN, "\ud800", "text", "none")
    report = HostReport("5Alice/m-0", facts, (), None, (reason,), 0.1, 0.2)
    cleaned = HostFacts(
        cpu_model="Xeon\ufffd", kernel="6\ufffd8", ram_bytes=2**63 - 1, container_runtimes=("a\ufffd",)
    )

    from_table = record_of(HostReport, row_of(report))
    from_arrow = outcome_of(tables_of(replace(small_outcome(), reports=(report,)))).reports[0]

    for back in (from_table, from_arrow):
        assert back.facts.cpu_model.startswith("Xeon\ufffd")
        assert back.facts.ram_bytes == cleaned.ram_bytes
        assert back.reasons[0].got.startswith("\ufffd")


def test_a_transcript_is_kept_compressed():
    """A transcript takes less room in its row than it has bytes, and comes back whole; an emptied one is empty."""
    proof = verdict("5Alice/m-0", b'{"opening":"00ff00ff"}' * 1000)

    row = row_of(proof)

    assert len(row["transcript"]) < len(proof.transcript) / 10
    assert record_of(Verdict, row) == proof
    assert record_of(Verdict, row | {"transcript": b""}).transcript == b""


def test_a_time_without_a_zone_is_refused(tmp_path):
    """A naive time never reaches a column: nobody could tell which moment it is."""
    naive = small_outcome().started_at.replace(tzinfo=None)
    statement = sa.insert(tables.phases).values(
        epoch=1, name="proof", done=0, total=1, note="", started_at=naive, finished_at=None
    )

    with sa.create_engine(f"sqlite:///{tmp_path}/x.db").connect() as connection:
        tables.metadata.create_all(connection)
        with pytest.raises(sa.exc.StatementError, match="no time zone"):
            connection.execute(statement)
    connection.engine.dispose()
