"""An epoch's progress, as whoever watches sees it."""

from storage.errors import DatabaseAway
from storage.records import Phase
from tasks.progress import PHASES, Progress


def test_a_phase_counts_and_ends_with_a_note():
    """What is written last is the count, the note and the time of the end."""

    written: list[Phase] = []
    progress = Progress(7, written.append)

    progress.begin("inspection", 3)
    progress.step()
    progress.step(2)
    progress.end("3 machines")

    last = written[-1]
    assert (last.epoch, last.name, last.done, last.total, last.note) == (7, "inspection", 3, 3, "3 machines")
    assert last.finished_at is not None
    assert [p.done for p in written] == [0, 1, 3, 3]


def test_a_phase_of_thousands_is_written_a_few_times():
    """Ten thousand machines cost the state about twenty writes."""

    written: list[Phase] = []
    progress = Progress(7, written.append)

    progress.begin("proof", 10_000)
    for _ in range(10_000):
        progress.step()

    assert len(written) <= 22


def test_the_share_grows_over_the_phases():
    """Each phase counts alike, the open one by what is done of it; an epoch goes from 0 to 100."""

    progress = Progress(7, lambda _: None)
    shares = [progress.share]
    for name in PHASES:
        progress.begin(name, 2)
        progress.step()
        shares.append(progress.share)
        progress.end("")

    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert progress.share == 100.0


def test_a_count_that_can_t_be_written_costs_nothing():
    """A database that is locked for too long while machines are counted does not end the epoch; the end is written."""

    written: list[Phase] = []

    def write(phase: Phase) -> None:
        if 0 < phase.done < 3:
            raise DatabaseAway("locked")
        written.append(phase)

    progress = Progress(7, write)
    progress.begin("proof", 3)
    for _ in range(3):
        progress.step()
    progress.end("")

    assert [p.done for p in written] == [0, 3, 3]
