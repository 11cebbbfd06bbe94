"""Bans: not paid whatever is proved, told why, and no lease is touched."""

from datetime import UTC, datetime

import pytest

from storage.records import Ban, BanKind, ExecutorRecord, HostFacts, HostReport, Reason, Severity
from tasks.inspection.checks.bans import with_bans
from tests.tasks.scoring.worlds import executor, report

SINCE = datetime(2026, 8, 1, tzinfo=UTC)
MACHINE = executor()
REPORT = report(MACHINE)
MINER = Ban(BanKind.MINER, "5Alice", "announces machines of others", SINCE, None, "ops")
CARD = Ban(BanKind.CARD, REPORT.facts.cards[0].uuid.lower(), "its firmware lies", SINCE, None, "ops")


def judged(bans, *, found=REPORT, leased=frozenset(), records=None):
    (one,) = with_bans([found], [MACHINE], records or {}, bans, leased)
    return one.report.reasons[len(found.reasons) :], one.ban


@pytest.mark.parametrize(("ban", "code"), [(MINER, "MINER_BANNED"), (CARD, "CARD_BANNED")])
def test_an_idle_machine_fails_and_is_told_why(ban, code):
    """Code, since when, why, and where to appeal."""

    (told,), found = judged([ban])

    assert (told.code, told.severity, found) == (code, Severity.FAIL, ban)
    assert ban.reason in told.got
    assert "since 2026-08-01, until it is lifted" in told.got
    assert "Write to whoever runs this validator" in told.mend


def test_a_leased_machine_goes_on():
    """It is warned, so it is proved on; what it is paid scoring decides."""

    (told,), found = judged([MINER], leased=frozenset({MACHINE.key}))

    assert (told.code, told.decides, found) == ("BANNED_WHILE_LEASED", False, MINER)


def test_others_are_left_alone():
    """A ban of another miner or card is none of this machine's."""

    other = Ban(BanKind.MINER, "5Bob", "", SINCE, None, "ops")

    assert judged([other]) == ((), None)
    assert judged([Ban(BanKind.CARD, "5Alice", "", SINCE, None, "ops")]) == ((), None)


def test_a_machine_that_hides_is_banned_by_its_known_cards():
    """No answer is no way out: the cards of its record count, and a ban leaves no grace."""

    away = Reason("HOST_UNREACHABLE", Severity.NO_VERDICT, "", "", "")
    silent = HostReport(MACHINE.key, HostFacts(), (), None, (away,), 0.0, 0.0)
    known = ExecutorRecord(MACHINE.key, card_uuids=(REPORT.facts.cards[0].uuid,))

    (told,), _ = judged([CARD], found=silent, records={MACHINE.key: known})

    assert told.code == "CARD_BANNED"
