"""How many machines were proved in past epochs."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from storage.pass_rates import pass_rates
from storage.records import PassRate, Severity
from storage.state import State
from tests.databases import fresh
from tests.tasks.renting.epochs import finish, machine, proof


@pytest.fixture
def engine(tmp_path):
    """An empty state."""
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


def test_finished_epochs_are_counted_newest_first(engine):
    """Those before the one that is asked about, so many of them; a failed verdict proves nothing."""
    machines = [machine(name) for name in "abc"]
    for epoch in (5, 6, 7, 8):
        finish(engine, machines[: epoch - 4] if epoch < 8 else machines, epoch=epoch)

    assert pass_rates(engine, 8, 2) == (PassRate(7, 3, 3), PassRate(6, 2, 2))
    assert pass_rates(engine, 5, 2) == ()


def test_a_verdict_that_failed_is_listed_and_not_proved(engine):
    """And so is a machine without any verdict."""
    finish(engine, [machine("a"), machine("b")], epoch=5)
    failed = replace(proof(machine("a")), severity=Severity.FAIL)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM verdicts WHERE executor_key LIKE '%/b'"))
        connection.exec_driver_sql(f"UPDATE verdicts SET severity = '{failed.severity}'")

    assert pass_rates(engine, 6, 9) == (PassRate(5, 2, 0),)
    assert pass_rates(engine, 6, 9)[0].share == 0.0


def test_an_epoch_that_is_not_finished_is_left_out(engine):
    """It was cut off, or still works."""
    finish(engine, [machine("a")], epoch=5)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE epochs SET state = 'abandoned'")

    assert pass_rates(engine, 6, 9) == ()
    assert State(engine).latest_epochs(1)[0].paid == 1
