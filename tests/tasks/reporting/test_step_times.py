"""Durations of steps: from the archive, added up over days, and close to the truth."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.records import RawFact
from tasks.reporting.step_times import MOST_S, added, binned, spread, step_rows, told_steps
from tests.tasks.reporting.network import AWAY, NOON, archive, epoch, machine
from tests.tasks.reporting.test_false_zeros import reader


def timed(name, *, connect_s=0.2, commands_s=(0.5, 0.25), duration_s=2.0, walks_s=(3.0, 4.0), multiply_s=1.5):
    """A machine whose inspection and proof took so long."""
    executor, report, verdict, score = machine(name)
    raw = tuple(RawFact(f"c-{n}", 0, "00", 9, seconds) for n, seconds in enumerate(commands_s))
    cards = tuple(
        replace(verdict.cards[0], card_index=n, walk_s=walk, multiply_s=multiply_s)
        for n, walk in enumerate(walks_s)
    )
    return (
        executor,
        replace(report, raw=raw, connect_s=connect_s, duration_s=duration_s),
        replace(verdict, cards=cards),
        score,
    )


def rows_of(root, *epochs):
    """The rows of an archive of these."""
    archive(root, *epochs)
    return step_rows(partial(reader, root))


def frame(step, seconds):
    """Rows of one step."""
    return pd.DataFrame({"epoch": 7, "step": step, "seconds": np.asarray(seconds, dtype="float64")})


def test_steps_that_the_archive_does_not_name_are_derived(tmp_path):
    """Connecting, all commands together, the whole inspection, and of the proof the slowest card."""
    found = rows_of(tmp_path, epoch(7, timed("a")))

    assert dict(zip(found["step"], found["seconds"], strict=True)) == {
        "inspection: connect": 0.2,
        "inspection: facts": 0.75,
        "inspection: whole": 2.0,
        "proof: walk": 4.0,
        "proof: multiply": 1.5,
    }


def test_a_machine_that_was_not_reached_has_no_time_of_a_step(tmp_path):
    """How long it was waited for says nothing of how long connecting takes."""
    assert rows_of(tmp_path, epoch(7, machine("a", reasons=[AWAY]))).empty


def test_days_are_added_up(tmp_path):
    """Two epochs at once are what two apart are together."""
    first, second = epoch(7, timed("a")), epoch(8, timed("a", connect_s=9.0), at=NOON + timedelta(minutes=10))
    whole = binned(rows_of(tmp_path / "whole", first, second))
    parts = [binned(rows_of(tmp_path / name, one)) for name, one in (("a", first), ("b", second))]

    assert added(parts).equals(whole)
    assert spread(whole).loc["inspection: connect", ["machines", "seconds"]].tolist() == [
        2,
        pytest.approx(9.2),
    ]


@given(st.lists(st.floats(1e-4, 9e4), min_size=1, max_size=60))
def test_quantiles_are_within_a_fortieth(seconds):
    """Whatever the durations: half and 95 % of them are within 2.5 % of the figure or below it."""
    found = spread(binned(frame("fill", seconds))).loc["fill"]
    ordered = np.sort(seconds)
    for share, name in ((0.5, "median"), (0.95, "p95"), (1.0, "longest")):
        true = ordered[int(np.ceil(share * len(ordered))) - 1]
        assert found[name] == pytest.approx(true, rel=0.0251)
    assert found["seconds"] == pytest.approx(sum(seconds))


def test_steps_that_the_archive_names_have_their_stage():
    """Both an inspection and a proof open something; a machine of an older file has none, and a long name is cut."""
    step = pa.struct([("name", pa.string()), ("seconds", pa.float64())])
    lists = [[{"name": "open", "seconds": 0.5}, {"name": "x" * 99, "seconds": 1.0}], None, []]
    tables = {"verdicts": pa.table({"epoch": [7, 7, 8], "steps": pa.array(lists, pa.list_(step))})}
    found = told_steps(lambda name, *columns: tables[name].select(columns), "verdicts", "proof")

    assert found.to_numpy().tolist() == [[7, "proof: open", 0.5], [7, "proof: " + "x" * 32, 1.0]]


def test_steps_are_in_the_order_of_the_epoch():
    """Names that are not known yet come last, and a flood of them is cut."""
    names = ["proof: verify", "proof: polish", "inspection: connect", "proof: start"]
    named = [binned(frame(name, [1.0])) for name in names]
    flood = [frame(f"x-{n:03}", [1.0]) for n in range(99)]

    assert list(spread(added(named)).index) == [names[2], names[3], names[0], names[1]]
    assert len(spread(added([binned(one) for one in flood]))) == 24


def test_nonsense_has_no_place():
    """A negative time is none, and one without an end is as long as any can be."""
    kept = binned(frame("fill", [float("inf"), 1e300]))

    assert spread(kept)["longest"].tolist() == [pytest.approx(MOST_S, rel=0.05)]
    assert spread(added([])).empty
