"""False zeros: who passed before and after, unchanged, and was not paid in between."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pandas as pd
import pytest

from storage.history import read_arrow
from storage.records import MinerReply, Reason, Severity
from tasks.reporting.false_zeros import FALSE_ZERO, FORGIVEN, Judge, false_zeros
from tasks.reporting.results import results_of, silences_of
from tests.tasks.reporting.network import AWAY, DISK, LOWERED, NOON, archive, epoch, machine

TEN = timedelta(minutes=10)
BANNED = Reason("MINER_BANNED", Severity.FAIL, "a ban", "none", "Ask the operator.")
SLOW = Reason("MINER_TIMEOUT", Severity.NO_VERDICT, "no answer", "one", "See that the agent runs.")


def lines(*epochs, first=7):
    """Archived epochs that follow each other: of each, its machines or an outcome."""
    return [
        at if not isinstance(at, tuple) else epoch(number, *at, at=NOON + number * TEN)
        for number, at in enumerate(epochs, first)
    ]


def judged(root, *epochs):
    """(rate, {(code, effect): machines}) over the archive of these epochs."""
    archive(root, *lines(*epochs))
    read = partial(reader, root)
    zeros = false_zeros(results_of(read), silences_of(read))
    return zeros.rate, {(row.code, row.effect): row.machines for row in zeros.found.itertuples()}


def reader(root, name, *columns):
    return read_arrow(root, name, columns=columns).drop_columns("day")


A, B, BROKEN, UNHEARD = machine("a"), machine("b"), machine("a", reasons=[DISK]), machine("a", reasons=[AWAY])


def kept(told):
    """The machine's last score was kept."""
    return (*told[:3], replace(told[3], score=1.0))


def placed(told, **changes):
    """The machine with another place or key."""
    return (replace(told[0], **changes), *told[1:])


def carded(told, uuid):
    """The machine with another card."""
    cards = tuple(replace(card, card_uuid=uuid) for card in told[2].cards)
    return (*told[:2], replace(told[2], cards=cards), told[3])


def test_one_of_two_judged_machines_was_zeroed_in_between(tmp_path):
    """Both passed before and after; one was not paid for its disk: half of what was judged."""
    assert judged(tmp_path, (A, B), (BROKEN, B), (A, B)) == (
        0.5,
        {("DISK_BELOW_MINIMUM", FALSE_ZERO): 1},
    )


def test_silence_counts_as_failing_does(tmp_path):
    """No verdict is no pay either, with the code of the silence."""
    assert judged(tmp_path, (A,), (UNHEARD,), (A,)) == (1.0, {("HOST_TIMEOUT", FALSE_ZERO): 1})


def test_a_kept_score_is_forgiven(tmp_path):
    """The epoch was judged, and grace has paid it."""
    assert judged(tmp_path, (A,), (kept(UNHEARD),), (A,)) == (0.0, {("HOST_TIMEOUT", FORGIVEN): 1})


def test_the_gravest_reason_names_it_and_warnings_do_not(tmp_path):
    """Of a warning, a silence and a failure it is the failure; one in shadow is none."""
    shadow = replace(BANNED, code="SHADOWED", is_shadow=True)
    mixed = machine("a", reasons=[shadow, LOWERED, AWAY, DISK])

    assert judged(tmp_path, (A,), (mixed,), (A,)) == (1.0, {("DISK_BELOW_MINIMUM", FALSE_ZERO): 1})


@pytest.mark.parametrize(
    "epochs",
    [
        ((A,), (BROKEN,)),
        ((BROKEN,), (BROKEN,), (A,)),
        ((A,), (BROKEN,), (BROKEN,), (A,)),
        ((BROKEN,), (A,), (BROKEN,)),
    ],
    ids=["not yet followed", "no pass before", "two in a row", "only one pass"],
)
def test_nothing_is_judged_without_both_neighbours(tmp_path, epochs):
    """Who stays away for two epochs, or has not come back yet, tells nothing about us."""
    assert judged(tmp_path, *epochs)[1] == {}


@pytest.mark.parametrize(
    "after",
    [
        placed(A, address="127.0.0.9"),
        placed(A, port=2222),
        placed(A, host_key=b"x" * 51),
        carded(A, "GPU-other"),
    ],
    ids=["address", "port", "host key", "card"],
)
def test_a_machine_that_changed_is_not_judged(tmp_path, after):
    """Another place, key or card afterwards: something was done to it, and the zero may well be true."""
    assert judged(tmp_path, (A,), (BROKEN,), (after,)) == (None, {})


def test_what_is_done_to_the_price_changes_no_machine(tmp_path):
    """A miner may ask another price in between."""
    dearer = placed(A, price_usd_per_hour=9.0)

    assert judged(tmp_path, (A,), (BROKEN,), (dearer,))[0] == 1.0


def test_a_ban_is_a_decision(tmp_path):
    """Neither judged nor false."""
    assert judged(tmp_path, (A,), (machine("a", reasons=[BANNED]),), (A,)) == (None, {})


def test_an_agent_that_gave_no_list_zeroes_all_its_machines(tmp_path):
    """The miner's two machines are not even listed: false zeros by the agent's code. Another miner's machine passes."""
    other = machine("c", "5Bob")
    silent = replace(
        epoch(8, other, at=NOON + 8 * TEN),
        replies=(MinerReply("5Alice", 4, (), (SLOW,)), MinerReply("5Bob", 5, (), ())),
    )

    assert judged(tmp_path, (A, B, other), silent, (A, B, other)) == (
        pytest.approx(2 / 3),
        {("MINER_TIMEOUT", FALSE_ZERO): 2},
    )


def test_a_machine_that_its_miner_takes_out_is_not_judged(tmp_path):
    """The agent answered, without it."""
    assert judged(tmp_path, (A, B), (B,), (A, B)) == (0.0, {})


def test_neighbours_are_near(tmp_path):
    """Two missing epochs between are a restart; three are too long to tell."""
    near = [epoch(7, A), epoch(10, BROKEN, at=NOON + TEN), epoch(13, A, at=NOON + 2 * TEN)]
    far = [epoch(7, A), epoch(11, BROKEN, at=NOON + TEN), epoch(12, A, at=NOON + 2 * TEN)]

    assert judged(tmp_path / "near", *near)[0] == 1.0
    assert judged(tmp_path / "far", *far) == (None, {})


def test_epochs_one_at_a_time_tell_what_all_together_do(tmp_path):
    """Whoever reads day by day, or follows the archive, judges each epoch once, with neighbours across the parts."""
    story = [(A, B), (BROKEN, B), (A, UNHEARD_B), (A, B), (A, B), (kept(UNHEARD), B), (A, B)]
    archive(tmp_path, *lines(*story))
    read = partial(reader, tmp_path)
    results, silences = results_of(read), silences_of(read)
    whole = false_zeros(results, silences)

    for parts in ([7], [7, 8], [7, 9, 12], [7, 8, 9, 10, 11, 12, 13]):
        judge, judged_rows, found = Judge(), [], []
        for begin, end in zip(parts, [*parts[1:], 99], strict=True):
            some = results[results["epoch"].between(begin, end - 1)]
            zeros = judge.add(some, silences[silences["epoch"].between(begin, end - 1)])
            judged_rows.append(zeros.judged)
            found.append(zeros.found)
        assert pd.concat(judged_rows).to_numpy().tolist() == whole.judged.to_numpy().tolist()
        assert pd.concat(found).to_numpy().tolist() == whole.found.to_numpy().tolist()
    assert whole.judged["judged"].sum() == 6  # a in 8, 10 and 12, b in 9, 11 and 12


UNHEARD_B = machine("b", reasons=[AWAY])


def test_an_empty_archive_has_no_rate(tmp_path):
    """Nothing was judged, so there is no share of it."""
    assert judged(tmp_path) == (None, {})


def test_a_day_of_a_thousand_machines_is_judged_within_seconds(tmp_path):
    """144 epochs of a thousand machines, one in a hundred zeroed for one epoch."""
    from time import process_time

    keys = [f"5Miner{n % 40}/m-{n}" for n in range(1_000)]
    numbers = [(e, n) for e in range(144) for n in range(1_000)]
    frame = pd.DataFrame(
        {
            "epoch": [e for e, _ in numbers],
            "executor_key": [keys[n] for _, n in numbers],
            "result": ["stopped" if (7 * e + n) % 100 == 0 else "passed" for e, n in numbers],
            "code": "",
            "severity": "",
            "identity": 1,
        }
    )
    begun = process_time()
    zeros = false_zeros(frame, frame[["epoch", "code", "severity"]].assign(miner_hotkey="")[:0])

    assert zeros.rate == pytest.approx(0.01, rel=0.05)
    assert process_time() - begun < 5
