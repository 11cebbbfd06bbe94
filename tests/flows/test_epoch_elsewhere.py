"""Where the state and the history lie changes nothing of what an epoch finds, pays and keeps."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import fields, is_dataclass, replace
from pathlib import PurePath
from typing import NamedTuple

import pytest
import sqlalchemy as sa

from deployments.sites import REPOSITORY
from flows.settings import Settings
from storage import tables
from storage.database import open_database
from storage.history import archived_epochs, read_epoch
from storage.query import query
from storage.records import EpochOutcome, WeightStatus
from tasks.proof.verdict import verify_transcript
from tasks.replaying import replay_epoch
from tasks.scoring.replay import Standing
from tests.flows.engines import found, newest_outcome
from tests.flows.places import MACHINES, MINERS, settings_of
from tests.postgres import postgres
from tests.s3 import s3_environment, s3_folder

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.engine, pytest.mark.xdist_group("engines")]
"""Three epochs, each as long as its slowest machine: more than a minute."""

HERE, POSTGRESQL, S3 = "here", "postgresql", "s3"
ELSEWHERE = pytest.mark.parametrize("place", [POSTGRESQL, S3])

MOMENTS = {"started_at", "finished_at", "scored_at", "as_of"}
MEASURED = {
    *("connect_s", "duration_s", "seconds", "rtt_ms", "up_mbit_s", "down_mbit_s"),
    *("walk_s", "multiply_s", "bandwidth_gb_s", "operations_tera_s"),
}
"""By a clock, on a computer that does other things, too. Nothing of it is in this policy's score."""
DRAWN = {"transcript", "evidence"}
"""Each proof has secrets of its own, each question to a miner a nonce, and answers are signed."""
CAUGHT, CAUGHT_AT = "WALK_PATH_WRONG", {"detail", "got", "wanted"}
"""Of a forged walk: which of its steps was opened, and what it hashes to, is up to those secrets."""
COUNTED = {"done"}
"""Of a phase: the last count that was written on the way, at most twenty times a phase."""
NAMED = {"note"}
"""Of a phase: the archive's says where the history lies."""
EXCLUDED = MOMENTS | MEASURED | DRAWN | COUNTED | NAMED


class Life(NamedTuple):
    """An epoch at one place."""

    settings: Settings
    outcome: EpochOutcome
    """As the state has it."""
    archived: EpochOutcome


@pytest.fixture(scope="module")
def lives(tmp_path_factory):
    """The same block's epoch over the same machines: here, with the state on PostgreSQL, and with the history on S3."""
    folder = tmp_path_factory.mktemp("places")
    places = {
        HERE: {},
        POSTGRESQL: {"SUBNET_DATABASE_URL": postgres().create("epoch_elsewhere")},
        S3: {"SUBNET_HISTORY": str(s3_folder(folder)), **s3_environment()},
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.flows.places", str(folder)],
        input=json.dumps(places) + "\n",
        cwd=REPOSITORY,
        env=os.environ
        | s3_environment()
        | {"PYTHONPATH": str(REPOSITORY), "PREFECT_HOME": str(folder / "prefect")},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return {name: _life(settings_of(folder, name, environment)) for name, environment in places.items()}


def _life(settings):
    outcome = newest_outcome(settings)
    assert archived_epochs(settings.history) == [outcome.epoch]
    return Life(settings, outcome, read_epoch(settings.history, outcome.epoch))


def told(value):
    """A record as plain values, without what is excluded."""
    if is_dataclass(value):
        excluded = EXCLUDED | (CAUGHT_AT if getattr(value, "code", "") == CAUGHT else set())
        return {f.name: told(getattr(value, f.name)) for f in fields(value) if f.name not in excluded}
    return [told(one) for one in value] if isinstance(value, tuple) else value


def rows_of(settings):
    """How many each table of a state has."""
    engine = open_database(settings.database_url)
    try:
        with engine.connect() as connection:
            every = tables.metadata.sorted_tables
            return {t.name: connection.scalar(sa.select(sa.func.count()).select_from(t)) for t in every}
    finally:
        engine.dispose()


def files_of(history):
    """The names of a history's Parquet files, below its folder."""
    return sorted(str(PurePath(f.relative_to(history))) for f in history.glob("*/*/*.parquet"))


def test_the_places_are_what_they_are_called(lives):
    """One is this machine's alone; of the others, one thing lies elsewhere each."""
    lie = {
        name: (life.settings.database_url.partition(":")[0], str(life.settings.history)[:5])
        for name, life in lives.items()
    }

    own = str(lives[HERE].settings.history)[:5]
    assert lie == {HERE: ("sqlite", own), POSTGRESQL: ("postgresql+psycopg", own), S3: ("sqlite", "s3://")}
    assert own.startswith("/")


def test_the_machines_are_worth_comparing(lives):
    """Most are proved and paid, the others fail in many ways, and the owner and every miner get weights."""
    codes = Counter(
        verdict if not reasons else reasons[0] for reasons, verdict, _ in found(lives[HERE].outcome).values()
    )

    assert codes.total() == MACHINES
    assert codes["PROVED"] > MACHINES / 2
    assert len(codes) >= 8
    assert lives[HERE].outcome.weight_outcome.status is WeightStatus.CONFIRMED
    assert len(lives[HERE].outcome.weights.targets) == MINERS + 1


@ELSEWHERE
def test_codes_scores_and_weights_are_the_same(lives, place):
    """At the same block, to the last bit: what machines were found to be, what each is paid, and what the chain has."""
    here, there = lives[HERE].outcome, lives[place].outcome

    assert there.block_hash == here.block_hash
    assert found(there) == found(here)
    assert told(there.scores) == told(here.scores)
    assert (there.weights, there.weight_outcome) == (here.weights, here.weight_outcome)


@ELSEWHERE
def test_the_state_has_the_same_of_the_epoch(lives, place):
    """All of its outcome but for what is excluded by name, and as many rows in every table."""

    assert told(lives[place].outcome) == told(lives[HERE].outcome)
    assert rows_of(lives[place].settings) == rows_of(lives[HERE].settings)


@ELSEWHERE
def test_the_history_has_the_same_of_the_epoch(lives, place):
    """Read back it is the same but for what is excluded; files have the same names, and SQL tells the same scores."""
    here, there = lives[HERE], lives[place]
    scores = (
        f"select * exclude (reasons) from scores where epoch = {here.outcome.epoch} order by executor_key"
    )

    assert told(there.archived) == told(here.archived)
    assert files_of(there.settings.history) == files_of(here.settings.history) != []
    assert query(there.settings.history, scores).equals(query(here.settings.history, scores))


@pytest.mark.parametrize("place", [HERE, POSTGRESQL, S3])
def test_the_history_is_what_the_state_had(lives, place):
    """Nothing is excluded but what a state lets go once the history has it: transcripts and evidence."""
    life = lives[place]

    assert life.outcome == replace(
        life.archived,
        verdicts=tuple(replace(v, transcript=b"") for v in life.archived.verdicts),
        replies=tuple(replace(r, evidence=b"") for r in life.archived.replies),
    )


@pytest.mark.parametrize("place", [HERE, POSTGRESQL, S3])
def test_the_history_proves_what_it_says(lives, place):
    """What is excluded above is there: each passed proof can be checked again, and scores and weights made again."""
    life = lives[place]
    transcripts = [v.transcript for v in life.archived.verdicts if v.proved]
    replayed = replay_epoch(life.settings.history, life.outcome.epoch)

    assert len(transcripts) > MACHINES / 2
    assert all(verify_transcript(transcript).proved for transcript in transcripts)
    assert all(reply.evidence for reply in life.archived.replies)
    assert (replayed.standing, replayed.differences) == (Standing.IDENTICAL, ())
