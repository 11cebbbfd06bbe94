"""The Parquet history: whole files only, each epoch once, readable by anyone."""

import multiprocessing
import os
import signal
import time
from dataclasses import MISSING, replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pytest
from hypothesis import HealthCheck, given, settings

from storage.errors import HistoryDamaged, SchemaUnknown, StorageError
from storage.history import (
    archived_epochs,
    archived_since,
    read_arrow,
    read_epoch,
    read_passed,
    read_table,
    read_transcripts,
    write_epoch,
)
from storage.places import parquet, size_of
from storage.query import query
from storage.records import (
    Card,
    EpochState,
    HostFacts,
    HostReport,
    PassedProof,
    ProvedEpoch,
    Score,
    Severity,
)
from storage.schemas import SCHEMAS, VERSION, since
from tests.storage.histories import as_schema, data_set, write_parquet
from tests.storage.outcomes import NOON, outcomes, small_outcome


@given(outcomes())
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_epoch_survives_the_history(root, outcome):
    """What was archived is read back as it was."""
    epoch = max(outcome.epoch, 0)
    weights = outcome.weights and replace(outcome.weights, epoch=epoch)
    phases = tuple(replace(phase, epoch=epoch) for phase in outcome.phases)
    outcome = replace(outcome, epoch=epoch, weights=weights, phases=phases)

    write_epoch(root, outcome)

    assert read_epoch(root, outcome.epoch) == outcome


def test_transcripts_are_read_apart(root):
    """An epoch can be read without its transcripts, and these few at a time, in the order of the verdicts."""
    outcome = small_outcome(7, machines=150)
    verdicts = [replace(v, transcript=b"%d" % n) for n, v in enumerate(outcome.verdicts)]
    write_epoch(root, replace(outcome, verdicts=tuple(verdicts)))

    bare = read_epoch(root, 7, transcripts=False)

    assert bare == replace(outcome, verdicts=tuple(replace(v, transcript=b"") for v in verdicts))
    assert list(read_transcripts(root, 7)) == [(v.executor_key, v.transcript) for v in verdicts]


def test_files_lie_by_table_day_and_epoch(root):
    """One file per table, under the day (UTC) on which the epoch began; `epochs` is written last."""
    tokyo = NOON.astimezone(datetime.fromisoformat("2026-08-01T00:00+09:00").tzinfo) + timedelta(hours=11)

    paths = write_epoch(root, small_outcome(7, day=tokyo))

    assert [p.relative_to(root).as_posix() for p in paths] == [
        f"{name}/day=2026-08-01/epoch-7.parquet"
        for name in (
            "miner_replies",
            "executors",
            "reports",
            "verdicts",
            "proofs",
            "scores",
            "weights",
            "neurons",
            "standings",
            "prices",
            "leases",
            "phases",
            "events",
            "epochs",
        )
    ]


def test_writing_an_epoch_again_replaces_it(root):
    """An epoch is in the history once, also when its second writing falls on another day."""
    write_epoch(root, small_outcome(7, machines=3))
    write_epoch(root, small_outcome(7, machines=2))
    write_epoch(root, small_outcome(7, machines=1, day=NOON + timedelta(days=1)))

    scores = read_table(root, "scores")

    assert (len(scores), set(scores["day"])) == (1, {"2026-08-02"})


def test_tables_are_read_by_epoch_and_day(root):
    """A reader takes all epochs in order, one epoch, or a day; numbers keep their type."""
    for epoch, day in ((10, NOON), (9, NOON), (11, NOON + timedelta(days=1))):
        write_epoch(root, small_outcome(epoch, day=day))

    def epochs(**wanted):
        return list(read_table(root, "scores", **wanted)["epoch"])

    assert epochs() == [9, 9, 10, 10, 11, 11]
    assert epochs(epoch=10) == [10, 10]
    assert epochs(day="2026-08-02") == epochs(day=datetime(2026, 8, 2, tzinfo=UTC).date()) == [11, 11]
    assert epochs(epoch=404) == []
    assert archived_epochs(root) == [9, 10, 11]
    assert read_table(root, "scores").dtypes["vram_bytes"] == pd.Int64Dtype()


def test_only_the_columns_asked_for_are_read(root):
    """A reader that needs two columns gets these and the day, as pandas or as Arrow, also where there is no file."""
    write_epoch(root, small_outcome(7))

    frame = read_table(root, "scores", columns=["score", "model"])
    table = read_arrow(root, "scores", columns=["reasons"])

    assert frame.to_dict("list") == {"score": [0.3] * 2, "model": ["RTX 4090"] * 2, "day": ["2026-08-01"] * 2}
    assert [r[0]["code"] for r in table["reasons"].to_pylist()] == ["GPU_VRAM_MISMATCH"] * 2
    assert read_table(root, "scores", epoch=404, columns=["score"]).columns.tolist() == ["score", "day"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_empty_history_has_all_columns(root, name):
    """A table without a file is a frame without rows, with every column and `day`."""
    assert list(read_table(root, name).columns) == [*SCHEMAS[name].names, "day"]


def _card(index, model, vram_mib):
    return Card(index, f"GPU-{index}", model, vram_mib, "580", *[None] * 8)


def test_passed_machines_are_read_with_their_first_and_their_least_card(root):
    """A machine that failed, one without a report and one that lists no card are left out."""
    outcome = small_outcome(7, machines=4)
    passed, failed, unlisted, _ = (v.executor_key for v in outcome.verdicts)
    cards = (_card(0, "NVIDIA L4", 23_034), _card(1, "NVIDIA L40", 46_068))
    slower = replace(outcome.verdicts[0].cards[0], bandwidth_gb_s=899.5, memory_bytes=1 << 29)
    verdicts = (
        replace(outcome.verdicts[0], cards=(*outcome.verdicts[0].cards, slower)),
        replace(outcome.verdicts[1], severity=Severity.FAIL),
        *outcome.verdicts[2:],
    )
    reports = tuple(
        HostReport(key, HostFacts(cards=listed), (), None, (), 0.1, 0.2)
        for key, listed in ((unlisted, ()), (passed, cards), (failed, cards))
    )
    write_epoch(root, replace(outcome, verdicts=verdicts, reports=reports))

    (archived,) = archived_since(root, "2026-08-01")

    assert read_passed(root, archived) == (PassedProof(passed, "NVIDIA L4", 23_034, 1 << 29, 899.5),)


def test_archived_epochs_are_listed_from_a_day_on(root):
    """The newest first, with the day under which they lie; only sealed ones."""
    for epoch, day in ((10, NOON), (9, NOON), (11, NOON + timedelta(days=1)), (8, NOON - timedelta(days=1))):
        *_, seal = write_epoch(root, small_outcome(epoch, day=day))
        if epoch == 9:
            seal.unlink()

    assert archived_since(root, "2026-08-01") == [
        ProvedEpoch(11, "2026-08-02"),
        ProvedEpoch(10, "2026-08-01"),
    ]
    assert archived_since(root / "none", "2026-08-01") == []


def test_what_a_machine_did_not_say_stays_missing(root):
    """A null integer is no zero and turns no column into floats."""
    told = HostReport("5Alice/m-0", HostFacts(ram_bytes=2**53 + 1), (), None, (), 0.1, 0.2)
    silent = HostReport("5Alice/m-1", HostFacts(), (), None, (), 0.1, 0.2)
    write_epoch(root, replace(small_outcome(7), reports=(told, silent)))

    assert list(read_table(root, "reports")["ram_bytes"]) == [2**53 + 1, pd.NA]


def test_other_tools_read_the_folder_as_one_table(root):
    """The folder is a plain hive-partitioned data set: days are a column, hidden files are not seen."""
    write_epoch(root, small_outcome(7))
    write_epoch(root, small_outcome(8, day=NOON + timedelta(days=1)))
    (root / "scores/day=2026-08-01/.epoch-9.parquet.123").write_bytes(b"PAR1 half")

    data = data_set(root, "scores").to_table()

    assert data.num_rows == 4
    assert set(data["day"].to_pylist()) == {"2026-08-01", "2026-08-02"}


def test_files_are_zstd_with_dictionaries_and_say_their_schema(root):
    """Text is dictionary-encoded, transcripts are not; the file names its schema's version and each column's meaning."""
    write_epoch(root, small_outcome(7))
    file = parquet(root / "verdicts/day=2026-08-01/epoch-7.parquet")
    columns = [file.metadata.row_group(0).column(i) for i in range(file.metadata.num_columns)]
    encodings = {c.path_in_schema: "RLE_DICTIONARY" in c.encodings for c in columns}

    assert {c.compression for c in columns} == {"ZSTD"}
    assert (encodings["executor_key"], encodings["transcript"]) == (True, False)
    assert file.schema_arrow.metadata[b"schema_version"] == str(VERSION).encode()
    assert (
        file.schema_arrow.field("bytes_received")
        .metadata[b"about"]
        .startswith(b"bytes that the machine sent")
    )


def _write_for_ever(root):
    for machines in range(1, 10_000):
        write_epoch(root, small_outcome(7, machines=1 + machines % 40))


def test_a_writer_that_is_killed_leaves_no_half_file(tmp_path):
    """Killed anywhere in the middle, again and again: every file that a reader sees is whole."""
    context = multiprocessing.get_context("fork")
    for delay_s in (0.03, 0.05, 0.08):
        writer = context.Process(target=_write_for_ever, args=(tmp_path,))
        writer.start()
        deadline = time.monotonic() + 20
        while not archived_epochs(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(delay_s)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()

        assert read_epoch(tmp_path, 7).validator_hotkey == "5Validator"


def test_an_epoch_without_its_last_file_is_not_archived(root):
    """`epochs` is the seal: before it is there, the epoch is not."""
    *_, seal = write_epoch(root, small_outcome(7))
    seal.unlink()

    assert (archived_epochs(root), read_epoch(root, 7)) == ([], None)


def test_an_epoch_that_lost_a_file_is_damaged(root):
    """A sealed epoch of which a file is gone is named, not read as empty."""
    write_epoch(root, small_outcome(7))[3].unlink()

    with pytest.raises(HistoryDamaged, match="verdicts"):
        read_epoch(root, 7)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"{}"])
def test_a_file_that_is_no_parquet_is_named(root, content):
    """A damaged file gives one sentence with its path."""
    paths = write_epoch(root, small_outcome(7))
    paths[-1].write_bytes(content)

    with pytest.raises(HistoryDamaged, match=r"epochs/day=2026-08-01/epoch-7\.parquet cannot be read"):
        read_table(root, "epochs")


def _rewrite(path, change):
    table = change(parquet(path).read())
    write_parquet(path, table)


@pytest.mark.parametrize(
    ("name", "column", "value", "said"),
    [
        ("scores", "epoch", 2, "it has rows of another epoch"),
        ("epochs", "epoch", 2, "it has rows of another epoch"),
        ("scores", "isolation", None, "isolation is null in places"),
        ("epochs", "burn_share", None, "weights that were meant and no burn_share"),
        ("executors", "executor_key", "5Other/m-0", "has the key '5Other/m-0'"),
    ],
)
def test_an_epoch_with_a_cell_that_can_not_be_is_damaged(root, name, column, value, said):
    """What no code of ours writes is not read as if it were the default, or as if it were not there."""
    write_epoch(root, small_outcome(1))
    (path,) = (root / name).glob("day=*/epoch-1.parquet")
    table = parquet(path).read()
    at = table.column_names.index(column)
    cells = pa.array([value, *table[column].to_pylist()[1:]], table.schema.field(at).type)
    write_parquet(path, table.set_column(at, column, cells))

    with pytest.raises(HistoryDamaged, match=said):
        read_epoch(root, 1)


def test_passed_machines_of_a_file_of_other_types_are_damage(root):
    """Columns of our names with something else in them."""
    write_epoch(root, small_outcome(1))
    (path,) = (root / "verdicts").glob("day=*/epoch-1.parquet")
    table = parquet(path).read()
    write_parquet(path, table.set_column(0, "epoch", pa.array(["one"] * len(table))))
    (archived,) = archived_since(root, "2026-08-01")

    with pytest.raises(HistoryDamaged, match="epoch 1 cannot be read"):
        read_passed(root, archived)


@pytest.mark.parametrize("file", ["epoch-1.parquet", "_folds.json"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path, file):
    """A copy of somebody's history may hold anything; neither our readers nor SQL wait for it."""
    write_epoch(tmp_path, small_outcome(1))
    (folder,) = (tmp_path / "scores").glob("day=*")
    (folder / file).unlink(missing_ok=True)
    os.mkfifo(folder / file)

    for read in (lambda: read_table(tmp_path, "scores"), lambda: query(tmp_path, "select * from scores")):
        with pytest.raises(HistoryDamaged, match="it is no regular file"):
            read()


def test_a_file_in_the_place_of_a_day_is_damage(root):
    """It is named."""
    write_epoch(root, small_outcome(1))
    (root / "scores" / "day=2026-09-09").write_text("a file")

    with pytest.raises(HistoryDamaged, match="day=2026-09-09"):
        read_table(root, "scores")


def test_an_epoch_has_one_file_name(root):
    """`epoch-01` is none of ours: it would have the rows of epoch 1 twice."""
    write_epoch(root, small_outcome(1))
    (path,) = (root / "scores").glob("day=*/epoch-1.parquet")
    for other in ("epoch-01.parquet", "epoch-9999999999999999999.parquet"):
        path.with_name(other).write_bytes(path.read_bytes())

    assert set(read_table(root, "scores")["epoch"]) == {1}
    assert len(read_table(root, "scores")) == len(small_outcome(1).scores)


def test_a_file_of_an_older_schema_is_read_with_nulls(root):
    """A column that an older file lacks is null in its rows."""
    (path,) = [p for p in write_epoch(root, small_outcome(7)) if p.parent.parent.name == "scores"]
    _rewrite(path, lambda table: table.drop_columns(["uptime"]))

    assert read_table(root, "scores")["uptime"].isna().all()


def test_an_epoch_of_an_older_schema_is_read_whole(root):
    """Tables that came later have no file for it: it has no grounds, and everything else."""
    outcome = small_outcome(7)
    for path in write_epoch(root, outcome):
        name = path.parent.parent.name
        if since(name) > 2:
            path.unlink()
        elif name == "epochs":
            _rewrite(path, lambda table: table.replace_schema_metadata({"schema_version": "2"}))

    assert read_epoch(root, 7) == outcome


def test_scores_of_an_older_schema_have_neutral_terms(root):
    """A term that came later counts as 1 in an older file's scores, and nothing of them was ever in shadow."""
    outcome = small_outcome(7)
    (path,) = [p for p in write_epoch(root, outcome) if p.parent.parent.name == "scores"]
    later = {name for name, field in Score.__dataclass_fields__.items() if field.default is not MISSING}
    as_schema(root, 7, 2)

    assert "capacity" in later
    assert not later & set(parquet(path).schema_arrow.names)
    assert read_epoch(root, 7).scores == outcome.scores


def test_a_file_of_a_newer_schema_is_refused(root):
    """Newer code wrote it: guessing what it means would be worse than to say so."""
    *_, path = write_epoch(root, small_outcome(7))
    _rewrite(path, lambda table: table.replace_schema_metadata({"schema_version": str(VERSION + 1)}))

    with pytest.raises(SchemaUnknown, match=f"has schema {VERSION + 1}, this code knows {VERSION}"):
        read_table(root, "epochs")


def test_a_table_that_does_not_exist_is_refused(root):
    """The sentence lists those that do."""
    with pytest.raises(StorageError, match="no table 'score', it has epochs, events"):
        read_table(root, "score")


def test_a_disk_that_does_not_take_it_is_said(tmp_path):
    """A root that cannot be written is our trouble, in one sentence."""
    (tmp_path / "history").write_text("a file where a folder should be")

    with pytest.raises(StorageError, match="cannot be written"):
        write_epoch(tmp_path / "history", small_outcome(7))


def test_an_abandoned_epoch_is_archived_too(root):
    """What a run knew that died is history like any other, and says so."""
    write_epoch(root, small_outcome(7, state=EpochState.ABANDONED))

    assert list(read_table(root, "epochs")["state"]) == ["abandoned"]


def test_five_hundred_machines_take_little(root):
    """An epoch of 500 machines is written in well under a second of CPU, and its scores in a few bytes a row."""
    outcome = small_outcome(7, machines=500)
    start = time.process_time()

    paths = {path.parent.parent.name: path for path in write_epoch(root, outcome)}

    assert time.process_time() - start < 1.5
    assert size_of(paths["scores"]) / 500 < 60
    assert pa.compute.sum(parquet(paths["scores"]).read()["card_count"]).as_py() == 500
