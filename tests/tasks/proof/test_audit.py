"""Whole epochs judged again from their Parquet files."""

from dataclasses import replace

import pytest

from storage.errors import HistoryDamaged
from storage.history import write_epoch
from tasks.errors import SettingError
from tasks.proof import audit
from tasks.proof.evidence import Standing
from tests.tasks.proof.archives import archived, some_talks, talk_to, verdict_of, with_verdict


def everybody(key):
    return True


def nobody(key):
    return False


def audited(root, number=7, wanted=everybody, threads=2):
    heard = []
    found = audit.audit_epoch(root, number, wanted, threads, lambda done, total: heard.append((done, total)))
    return found, heard


def test_an_honest_archive_holds(tmp_path):
    """Every whole proof is judged again from the files alone; how far it is, and what it cost, is told."""
    write_epoch(tmp_path, archived(some_talks()))

    found, heard = audited(tmp_path)

    assert found.holds
    assert (found.cards, found.listed, found.untried, found.is_policy_known) == (3, 4, 0, True)
    assert (found.count(Standing.AGREES), found.count(Standing.NOTHING)) == (2, 2)
    assert heard[-1] == (4, 4)
    assert found.wall_s > 0
    assert found.cpu_ms_a_card > 0


def test_a_tampered_archive_does_not_hold(tmp_path):
    """One machine's damaged transcript and one machine's better figure are found among all others."""
    outcome = archived(some_talks())
    card = verdict_of(outcome, "5Alice/m-1").cards[0]
    better = replace(card, bandwidth_gb_s=2 * card.bandwidth_gb_s)
    outcome = with_verdict(outcome, "5Alice/m-1", cards=(better,))
    write_epoch(tmp_path, with_verdict(outcome, "5Alice/m-0", transcript=b"{"))

    found, _ = audited(tmp_path)

    assert not found.holds
    assert [e.standing for e in found.evidence[:2]] == [Standing.DAMAGED, Standing.DIFFERS]


def test_only_what_is_wanted_is_judged(tmp_path):
    """One machine or one miner can be looked at alone."""
    write_epoch(tmp_path, archived(some_talks()))
    found, heard = audited(tmp_path, wanted=lambda key: key == "5Alice/m-1")
    assert [e.executor_key for e in found.evidence] == ["5Alice/m-1"]
    assert heard == [(1, 1)]
    assert audited(tmp_path, wanted=nobody)[0].listed == 0


def test_threads_and_parts_change_nothing(tmp_path, monkeypatch):
    """The evidence is the same in one part or many, by one thread or several, and in the order of the archive."""
    talks = [talk_to(f"5Alice/m-{n}") for n in range(9)]
    write_epoch(tmp_path, archived(talks))
    whole, _ = audited(tmp_path, threads=1)
    monkeypatch.setattr(audit, "CARDS_AT_ONCE", 2)
    parts, heard = audited(tmp_path, threads=3)
    assert parts.evidence == whole.evidence
    assert [done for done, _ in heard] == [2, 4, 6, 8, 9]


def test_machines_without_a_verdict_are_counted(tmp_path):
    """A machine that inspection let through and nobody judged is told: leaving it out could favour or harm its miner."""
    outcome = archived(some_talks())
    write_epoch(tmp_path, replace(outcome, verdicts=outcome.verdicts[1:]))
    found, _ = audited(tmp_path)
    assert (found.untried, found.listed) == (1, 4)


def test_no_such_epoch_and_no_such_file(tmp_path):
    """An epoch that is not archived is the caller's mistake; a file that is gone or is none is damage."""
    with pytest.raises(SettingError):
        audited(tmp_path)
    paths = write_epoch(tmp_path, archived([talk_to("5Alice/m-0")]))
    verdicts = next(path for path in paths if path.parts[-3] == "verdicts")
    verdicts.write_bytes(verdicts.read_bytes()[:200])
    with pytest.raises(HistoryDamaged):
        audited(tmp_path)


def test_a_paid_machine_without_any_verdict_is_seen(tmp_path):
    """Rows that are taken out of the archive can't hide a payment: a score above 0 asks for a proof."""
    outcome = archived(some_talks())
    paid = {s.executor_key for s in outcome.scores if s.score > 0}
    write_epoch(tmp_path, replace(outcome, verdicts=()))

    found, _ = audited(tmp_path)

    assert paid
    assert not found.holds
    assert {e.executor_key for e in found.evidence if e.differences} == paid
