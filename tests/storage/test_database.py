"""The engine and its schema."""

import multiprocessing
import sqlite3
import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from storage import database
from storage.database import head_revision, migrate, open_database, reading, writing
from storage.errors import DatabaseAway, SchemaUnknown, StorageError
from storage.tables import metadata
from tests.databases import empty_url


@pytest.fixture
def engine(tmp_path):
    """A database that is not migrated yet."""
    engine = open_database(empty_url(tmp_path))
    yield engine
    engine.dispose()


@pytest.fixture
def file(tmp_path):
    """The same on SQLite alone, in a folder that is not there yet."""
    engine = open_database(f"sqlite:///{tmp_path}/state/subnet.db")
    yield engine
    engine.dispose()


def test_migrations_lead_to_the_tables_as_they_are_defined(engine):
    """After all migrations, nothing distinguishes the database from the metadata: no drift."""
    migrate(engine)

    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_migrated_and_created_schemas_are_the_same_sql(file, tmp_path):
    """The migrations write the very SQL that the metadata does: keys, cascades and partial indexes included."""
    migrate(file)
    fresh = sa.create_engine(f"sqlite:///{tmp_path}/fresh.db")
    metadata.create_all(fresh)

    def schema(of):
        query = sa.text("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE '%alembic%'")
        with of.connect() as connection:
            return {row.name: "".join(str(row.sql).split()) for row in connection.execute(query)}

    migrated, created = schema(file), schema(fresh)
    fresh.dispose()
    assert set(migrated) == set(created)
    for name, sql in created.items():
        assert sorted(migrated[name]) == sorted(sql), name


def test_the_newest_file_is_alembics_head():
    """The revision that `migrate` compares with, read off the file names, is the head that Alembic computes."""
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))

    assert ScriptDirectory.from_config(config).get_heads() == [head_revision()]


def test_migrations_go_back(engine):
    """Every migration has a way back: after it, only Alembic's own table is left."""
    migrate(engine)
    from alembic import command

    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")

    assert sa.inspect(engine).get_table_names() == ["alembic_version"]


def test_migrations_are_written_for_postgresql_too():
    """The tables compile for PostgreSQL: times with their zone, the partial index, no SQLite words."""
    statements = []
    engine = sa.create_mock_engine("postgresql+psycopg://", lambda sql, *_: statements.append(sql))
    metadata.create_all(engine, checkfirst=False)
    text = "\n".join(str(sql.compile(dialect=engine.dialect)) for sql in statements)

    assert "TIMESTAMP WITH TIME ZONE" in text
    assert "CREATE UNIQUE INDEX ix_epochs_one_open ON epochs (state) WHERE state = 'open'" in text
    assert "BYTEA" in text
    function = text.index("CREATE FUNCTION ledger_is_append_only()")
    assert function < text.index(
        "CREATE TRIGGER tr_entries_change BEFORE UPDATE OR DELETE OR TRUNCATE ON entries"
    )
    assert "RAISE(ABORT" not in text


def test_who_writes_is_told_how_many_rows_an_insert_has_inserted(tmp_path):
    """All compare-and-set rests on it; the driver of PostgreSQL forgets it unless it is asked to keep it."""
    engine = open_database(f"sqlite:///{tmp_path}/subnet.db")
    with writing(engine) as connection:
        is_kept = connection.get_execution_options()["preserve_rowcount"]
    engine.dispose()

    assert is_kept


def _migrate_and_report(url, results):
    try:
        migrate(open_database(url))
        results.put("")
    except Exception as error:  # noqa: BLE001  the parent process shows it
        results.put(repr(error))


def test_processes_that_migrate_at_once_all_succeed(engine):
    """Three processes find an empty database and migrate it: one does the work, none fails."""
    url = str(engine.url)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_migrate_and_report, args=(url, results)) for _ in range(3)]

    for process in processes:
        process.start()
    answers = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()

    assert answers == ["", "", ""]


def test_a_database_that_is_up_to_date_costs_no_alembic(engine):
    """When there is nothing to migrate, Alembic is not even imported."""
    migrate(engine)
    program = (
        "import sys; from storage.database import migrate, open_database; "
        "migrate(open_database(sys.argv[1])); sys.exit('alembic' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program, str(engine.url)], check=False).returncode == 0


def test_a_database_of_newer_code_is_left_alone(engine):
    """A revision that this code does not know is refused in one sentence."""
    migrate(engine)
    with writing(engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(SchemaUnknown, match="schema is 9999, this code knows"):
        migrate(engine)


def test_a_migration_that_breaks_off_leaves_nothing(engine):
    """DDL and version row are one transaction: what fails half way was never there."""

    def half_way():
        with writing(engine) as connection:
            database._upgrade(connection)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_way()

    assert sa.inspect(engine).get_table_names() == []


def test_sqlite_is_opened_for_many_processes(file):
    """WAL, a full flush at commit, and foreign keys are on for every connection."""
    with reading(file) as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {p}").scalar()
            for p in ("journal_mode", "synchronous", "foreign_keys")
        ]

    assert pragmas == ["wal", 2, 1]


def test_a_locked_database_is_away(tmp_path):
    """A lock that another process keeps beyond our patience is DatabaseAway, which may be tried again."""
    path = tmp_path / "subnet.db"
    engine = sa.create_engine(open_database(f"sqlite:///{path}").url, connect_args={"timeout": 0.05})
    sa.event.listen(engine, "connect", database._set_pragmas)
    sa.event.listen(engine, "begin", database._begin_sqlite)
    with writing(engine) as connection:
        connection.execute(sa.text("CREATE TABLE t (x)"))
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(DatabaseAway, match="locked"), writing(engine):
        pass

    holder.close()
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "not of the form"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("mysql://localhost/x", "driver 'MySQLdb' is not installed"),
        ("oracledb://x", "not of the form"),
    ],
)
def test_a_url_that_does_not_fit_is_refused(url, words):
    """A URL that opens no state says so, and does not repeat a password."""
    with pytest.raises(StorageError, match=words):
        open_database(url)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    """The reason names the database's path and what the system said."""
    (tmp_path / "file").write_text("")

    with pytest.raises(DatabaseAway, match="cannot be made"):
        open_database(f"sqlite:///{tmp_path}/file/state.db")
