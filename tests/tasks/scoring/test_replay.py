"""Replay: scores and weights of an archived epoch, made again from the archive alone, bit for bit."""

import json
import math
from dataclasses import replace
from datetime import date

import pytest

from storage.compaction import compact
from storage.history import write_epoch
from storage.retention import Keep, forget, forgettable
from tasks.errors import SettingError
from tasks.policy import DEFAULT, PRESETS, policy_of
from tasks.replaying import replay_epoch
from tasks.scoring.replay import Difference, Replay, Standing, is_same, replay
from tests.tasks.scoring.epochs import World, world

TEMPO = 5
"""Epochs whose scores add up to one vector at most."""


def _archive(root, made, numbers):
    """Epochs whose weights add up the scores since the last tempo began."""
    earned, first = [], None
    for number in numbers:
        if number % TEMPO == 0:
            earned, first = [], number
        outcome = made.epoch(number, earned, first if first is not None else number)
        first = number if first is None else first
        earned += outcome.scores
        write_epoch(root, outcome)


@pytest.mark.parametrize("seed", range(2))
def test_epochs_are_identical(tmp_path, seed):
    """Every term of every score and every weight, to the bit, over epochs that add up, folded and unfolded."""
    _check_identical(
        tmp_path, World(machines=150, miners=64, seed=seed), range(100, 107), is_folded=seed == 1
    )


@pytest.mark.long
@pytest.mark.parametrize("part", range(4))
def test_a_hundred_epochs_of_five_hundred_machines_are_identical(tmp_path, part):
    """The same, of many more."""
    numbers = range(100 + 25 * part, 125 + 25 * part)
    _check_identical(tmp_path, World(machines=500, miners=64, seed=part), numbers, is_folded=part % 2 == 1)


def _check_identical(root, made, numbers, *, is_folded):
    _archive(root, made, numbers)
    if is_folded:
        assert not any(folded.trouble for folded in compact(root, date(2027, 1, 1)))

    done = [replay_epoch(root, number) for number in numbers]

    identical = (Standing.IDENTICAL, (), len(made.machines))
    assert [(r.standing, r.differences, r.scores) for r in done] == [identical] * len(numbers)
    assert all(replayed.targets > 40 for replayed in done)


@pytest.mark.parametrize("name", PRESETS)
def test_every_formula_is_replayed(tmp_path, name):
    """Whichever policy an epoch had: it is archived with its values, prices and leases, and gives the same again."""
    made = World(machines=60, miners=9, policy=PRESETS[name])
    write_epoch(tmp_path, made.epoch(3))

    told = replay_epoch(tmp_path, 3)

    assert (told.standing, told.differences, told.scores) == (Standing.IDENTICAL, (), 60)


def test_what_was_changed_is_shown_by_column():
    """A score that is a bit higher is told with what it should be, and so are the weights that it changes."""
    outcome = world().epoch(7)
    first, *others = outcome.scores
    more = math.nextafter(first.score, math.inf)

    told = replay(replace(outcome, scores=(replace(first, score=more), *others)), ())

    assert told == Replay(
        7,
        Standing.DIFFERS,
        scores=20,
        targets=len(outcome.weights.targets),
        differences=(Difference("scores", first.executor_key, "score", more, first.score),),
        code_version="0.1.0",
    )


def test_weights_that_were_changed_are_shown():
    """A weight, an invented target, and the share that burns."""
    outcome = world().epoch(7)
    (first, *others, last) = outcome.weights.targets
    moved = replace(first, weight=first.weight / 2)
    vector = replace(outcome.weights, targets=(moved, *others, replace(last, uid=250)), burn_share=0.5)

    told = replay(replace(outcome, weights=vector), ())

    assert [(d.table, d.subject, d.column) for d in told.differences] == [
        ("epochs", "", "burn_share"),
        ("weights", str(first.uid), "weight"),
        ("weights", "250", ""),
        ("weights", str(last.uid), ""),
    ]
    assert told.differences[2].replayed == "no row"


def test_a_row_that_was_left_out_is_shown():
    """A machine without its score is a difference, and so is a score without its machine."""
    outcome = world().epoch(7)
    stray = replace(outcome.scores[0], executor_key="5Nobody/m-0")

    told = replay(replace(outcome, scores=(stray, *outcome.scores[1:])), ())

    assert [(d.subject, d.archived, d.replayed) for d in told.differences] == [
        (outcome.scores[0].executor_key, "no row", "a row"),
        ("5Nobody/m-0", "a row", "no row"),
    ]


def test_a_row_that_is_there_twice_is_shown():
    """Of a machine, a proof or a price only one row can be what was scored; the false one may be hidden by the true."""
    outcome = world().epoch(7)
    grounds = outcome.grounds
    (score, machine, neuron, quote) = (
        outcome.scores[0],
        outcome.executors[0],
        grounds.neurons[0],
        grounds.quotes[0],
    )
    doubled = replace(
        outcome,
        scores=(replace(score, score=9.0), *outcome.scores),
        executors=(machine, *outcome.executors),
        grounds=replace(grounds, neurons=(neuron, *grounds.neurons), quotes=(quote, *grounds.quotes)),
    )

    told = replay(doubled, ())

    assert told.standing is Standing.DIFFERS
    assert {(d.table, d.subject, d.archived, d.replayed) for d in told.differences} == {
        ("executors", machine.key, "2 rows", "a row"),
        ("neurons", str(neuron.uid), "2 rows", "a row"),
        ("prices", f"{quote.kind} {quote.name}", "2 rows", "a row"),
        ("scores", score.executor_key, "2 rows", "a row"),
    }


def test_a_policy_that_is_not_the_one_named_is_shown():
    """Values that decided nothing in this epoch belong to the policy as well: its digest is of all of them."""
    outcome = world().epoch(7)
    values = json.loads(outcome.grounds.policy_values)
    values["weights"]["burn_uids"] = [250]
    changed = json.dumps(values, sort_keys=True)

    told = replay(replace(outcome, grounds=replace(outcome.grounds, policy_values=changed)), ())
    named = replay(replace(outcome, policy="another"), ())

    assert [(d.table, d.column) for d in told.differences] == [("epochs", "policy_digest")]
    assert named.differences == (Difference("epochs", "", "policy", "another", outcome.policy),)


def test_facts_that_were_changed_are_found():
    """Who edits a proof to be paid more has to edit the score as well, which then is not what the proof gives."""
    outcome, policy = world().epoch(7), world().policy
    leased = {standing.executor_key for standing in outcome.grounds.standings if standing.is_leased}
    at = next(
        at
        for at, s in enumerate(outcome.scores)
        if s.performance > policy.scoring.performance_window[0] and s.executor_key not in leased
    )
    verdicts = list(outcome.verdicts)
    cards = verdicts[at].cards
    verdicts[at] = replace(verdicts[at], cards=tuple(replace(c, bandwidth_gb_s=1.0) for c in cards))

    told = replay(replace(outcome, verdicts=tuple(verdicts)), ())

    assert told.standing is Standing.DIFFERS
    assert {d.column for d in told.differences if d.table == "scores"} <= {
        *("performance", "score", "enforced_score"),
        *("capacity", "reasons"),
    }


def test_scores_of_earlier_epochs_are_in_the_weights(tmp_path):
    """Weights are identical only with the scores that they add up; where these are forgotten it is said."""
    made = World(machines=20, miners=5)
    first = made.epoch(1)
    second = made.epoch(2, first.scores, first_epoch=1)
    write_epoch(tmp_path, replace(first, started_at=first.started_at.replace(day=1)))
    write_epoch(tmp_path, replace(second, started_at=second.started_at.replace(day=2)))

    assert replay_epoch(tmp_path, 2).standing is Standing.IDENTICAL
    assert replay(second, ()).standing is Standing.DIFFERS

    for old in forgettable(tmp_path, Keep(days=1), date(2026, 8, 3)):
        forget(tmp_path, old)
    told = replay_epoch(tmp_path, 2)
    assert (told.standing, told.why) == (
        Standing.UNKNOWN,
        "its weights add up scores of earlier epochs that are not archived any more",
    )


def test_an_epoch_without_scores_has_nothing_to_replay():
    """It was stopped before them; one that was archived without its grounds can't be replayed, and says so."""
    outcome = world().epoch(7)

    stopped = replay(replace(outcome, scores=(), weights=None), ())
    older = replay(replace(outcome, grounds=None), ())

    assert (stopped.standing, older.standing) == (Standing.NOTHING, Standing.UNKNOWN)
    assert "before schema 3" in older.why


def test_a_policy_of_newer_code_is_said():
    """Numbers that this code does not know may decide: the epoch can't be replayed here."""
    outcome = world().epoch(7)
    values = json.loads(outcome.grounds.policy_values)
    values["scoring"]["luck"] = 0.5

    told = replay(replace(outcome, grounds=replace(outcome.grounds, policy_values=json.dumps(values))), ())

    assert told.standing is Standing.UNKNOWN
    assert "luck" in told.why
    assert policy_of(DEFAULT.to_json()) == DEFAULT


def test_an_epoch_that_is_not_archived_is_a_mistake(tmp_path):
    """The sentence names it and the folder."""
    with pytest.raises(SettingError, match="--epoch is '7', expected an epoch that is archived in"):
        replay_epoch(tmp_path, 7)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (math.nan, math.nan, True),
        (0.0, -0.0, False),
        (1, 1.0, False),
        (0.1 + 0.2, 0.3, False),
        (None, None, True),
        ("a", "a", True),
    ],
)
def test_sameness_is_of_bits(one, other, expected):
    """A NaN is itself, zeros have signs, and an integer is no float."""
    assert is_same(one, other) is expected
