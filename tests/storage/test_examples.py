"""The page about the history: its ten questions and its notebook are answered as they stand there."""

import math
import re
from dataclasses import replace
from datetime import timedelta

import pytest

from storage.describe import PAGE
from storage.history import write_epoch
from storage.query import query
from storage.records import Phase, WeightOutcome, WeightStatus
from tests.storage.histories import fold
from tests.tasks.scoring.epochs import World

_TEXT = PAGE.read_text(encoding="utf-8").partition("## Ten questions")
QUESTIONS = re.findall(r"\*\*(\d+)\. ([^*]+)\*\*[^`]*```sql\n(.*?)```", _TEXT[2], re.DOTALL)


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """Two days of 40 machines, eight hours an epoch; the first day is folded."""
    root, made = tmp_path_factory.mktemp("history"), World(machines=40, miners=12)
    for number in range(1, 6):
        outcome = made.epoch(number)
        start = outcome.started_at.replace(hour=0) + timedelta(hours=8 * number)
        phases = tuple(
            Phase(number, name, 1, 1, "", start, start + timedelta(seconds=seconds))
            for name, seconds in (("inspection", 20.5), ("proof", 90))
        )
        landed = tuple(replace(t, weight=round(t.weight * 65535) / 65535) for t in outcome.weights.targets)
        done = WeightOutcome(WeightStatus.CONFIRMED, "", "", 9, "9-1", 0, landed, ())
        write_epoch(root, replace(outcome, started_at=start, phases=phases, weight_outcome=done))
    fold(root, before=start.date())
    return root


def test_there_are_ten():
    """Numbered from 1, all of them found by the tests below."""
    assert [int(number) for number, _, _ in QUESTIONS] == list(range(1, 11))


@pytest.mark.parametrize(("number", "title", "sql"), QUESTIONS, ids=[f"question-{q[0]}" for q in QUESTIONS])
def test_a_question_is_answered(history, number, title, sql):
    """It runs, has rows, and no column of it is empty."""
    answer = query(history, sql)

    assert len(answer) > 0
    assert not answer.isna().all().any(), title


def test_answers_are_right(history):
    """Where a simple sum says what must come out."""
    answers = {int(number): query(history, sql) for number, _, sql in QUESTIONS}

    assert math.isclose(answers[1]["share"].sum(), 1.0, abs_tol=1e-3)
    assert answers[2]["times"].max() <= 40 * 5
    concentration = answers[4]
    assert (concentration["herfindahl"] >= 1 / concentration["miners"] - 1e-4).all()
    assert (concentration["largest"] <= concentration["largest_ten"]).all()
    assert answers[5]["looks"].sum() == 40 * 5
    assert answers[8]["median_s"].tolist() == [90.0, 20.5]
    assert answers[9]["largest_difference"].max() < 1e-5
    assert len(answers[10]) == 5


def test_the_notebook_runs(history):
    """The page's Python gives frames and records."""
    (code,) = re.findall(r"```python\n(.*?)```", _TEXT[0], re.DOTALL)
    names = {}

    exec(code.replace(".local/history", str(history)), names)

    assert set(names["by_model"].columns) == {"model", "usd_per_card_hour"}
    assert len(names["scores"]) == 40 * 5
    assert names["outcome"].epoch == 5
